//! The promises of the crate, tested from outside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod differential;
mod file;
mod hostile;
mod oracle;
mod queries;
mod random;
mod replay;
mod scenario;
mod story;
mod vector;
mod wire;
