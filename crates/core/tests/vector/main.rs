//! Runs every entry of the vector files that concern the core.
//!
//! The files record what the published 0.7.1 does. Where our rules ask for more, the verdict
//! follows from the rule, never from a list of names (`docs/protocol/operations.md#10`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod ephemeral;
mod file;
mod headers;
mod log_names;
mod logs;
mod made;
mod primitives;
mod tampering;
mod tickets;
