//! Nodes of an overlay find together, stay together, and broadcast.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod broadcasts;
mod bytes;
mod neighbours;
mod network;
mod vectors;
