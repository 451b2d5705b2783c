//! Log sync: catch-up and live mode between two nodes (docs/protocol/sync.md).

pub mod message;
