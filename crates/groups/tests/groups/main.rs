//! The promises of the crate, tested from outside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod file;
mod oracle;
mod scenario;
mod vector;
mod wire;
