//! Nodes of an overlay connect, stay connected and broadcast.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod broadcasts;
mod bytes;
mod neighbours;
mod network;
mod vectors;
