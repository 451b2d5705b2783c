//! The control stream of a link (docs/protocol/link.md#3): two honest sides no matter what the
//! order of things, and one side against a peer that does not keep to the page.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod agree;
mod blocked;
mod bounds;
mod members;
mod order;
mod receipts;
mod records;
mod tags;
mod world;
