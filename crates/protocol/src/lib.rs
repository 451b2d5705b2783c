//! Every wire protocol of p2panda as a machine without sockets, clock or randomness.
//!
//! Time, randomness and received bytes are arguments, results are values. A machine has a `handle`
//! that takes one input and a `poll` that is drained until it answers `None`. `handle` never
//! blocks, never fails on what a peer sent (it closes with a [`close::CloseCode`]) and never holds
//! more than its limits allow. A driver with real sockets, a simulator or a browser turns the
//! crank.
//!
//! | Module | Protocol | Rules |
//! |---|---|---|
//! | [`frame`], [`wire`] | length-prefixed frames of postcard messages | `docs/protocol/sync.md#2` |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod book;
pub mod close;
pub mod draws;
pub mod frame;
pub mod handshake;
pub mod overlay;
pub mod record;
pub mod sync;
pub mod time;
pub mod wire;
