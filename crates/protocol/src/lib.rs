//! Every wire protocol of p2panda as a machine without sockets, clock or randomness.
//!
//! Time, randomness and received bytes are arguments, results are values. A machine has a `handle`
//! that takes one input and a `poll` that is drained until it answers `None`. `handle` never
//! blocks, never fails on what a peer sent (it closes with a [`close::CloseCode`]) and never holds
//! more than its limits allow. A driver with real sockets, a simulator or a browser runs it.
//!
//! | Module | What | Rules |
//! |---|---|---|
//! | [`frame`], [`wire`] | frames of postcard messages | `docs/protocol/sync.md#2` |
//! | [`handshake`] | which topic a connection is about | `docs/protocol/sync.md#3` |
//! | [`sync`] | log sync: catch-up and live mode | `docs/protocol/sync.md#4` |
//! | [`sync::digest`] | whether both sides hold the same | `docs/protocol/digest.md` |
//! | [`link`] | one connection between two nodes of this project | `docs/protocol/link.md` |
//! | [`ranges`] | where two nodes' heads differ | `docs/protocol/ranges.md` |
//! | [`discovery`], [`walk`] | shared overlays, records of nodes | `docs/protocol/discovery.md` |
//! | [`record`], [`book`] | signed addresses and the address book | `docs/protocol/network.md#3` |
//! | [`mdns`] | nodes on the local network | `docs/protocol/network.md#5` |
//! | [`reach`], [`dialing`] | which addresses of others we send to | `docs/protocol/network.md#5` |
//! | [`gossip`], [`overlay`], [`ephemeral`] | neighbours and broadcasts | `docs/protocol/network.md#6` |
//! | [`close`] | what connections are closed with | `docs/protocol/sync.md#6` |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod book;
pub mod close;
pub mod dialing;
pub mod discovery;
pub mod draws;
pub mod ephemeral;
pub mod frame;
pub mod gossip;
pub mod handshake;
pub mod link;
pub mod mdns;
pub mod overlay;
pub mod ranges;
pub mod reach;
pub mod record;
pub mod revisit;
pub mod sync;
pub mod time;
pub mod walk;
pub mod wire;
