//! The promises of the crate, tested from outside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod differential;
mod file;
mod hostile;
mod oracle;
mod past;
mod queries;
mod random;
mod replay;
mod rows;
mod scenario;
mod story;
mod strangers;
mod vector;
mod wire;
