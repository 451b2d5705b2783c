//! Two and more networks on loopback, each with an in-memory node behind it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod budget;
mod catch_up;
mod clocks;
mod contacts;
mod digest;
mod ephemeral;
mod fake_node;
mod gossip;
mod hearsay;
#[path = "../support/hosts.rs"]
mod hosts;
mod lan;
mod limits;
mod links;
mod multicast;
mod names;
mod need;
mod probe;
mod ranges;
mod recovery;
mod relay;
mod revisits;
mod stranger;
mod strangers;
