//! A p2panda node behind requests: what goes over the wire, the server that carries it out, and the
//! transports that carry it. `README.md` lists the requests.
//!
//! | Layer | What | Knows |
//! |---|---|---|
//! | [`wire`] | requests, replies and events as types, serde both ways | nothing of the others |
//! | [`Server`] | carries requests out on a node | `wire` |
//! | [`lines`] | one line of JSON each, on a pair of byte streams | both |
//!
//! The binary `p2panda-driver` serves [`lines`] on standard input and output, for `interop` and
//! benchmarks; the demo of `panda` serves the same in its own binary.
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod daemon;
pub mod delivery;
pub mod lines;
mod mapping;
pub mod reachable;
mod server;
pub mod wire;

pub use server::{Next, Server};
