//! The cases of this project's node next to a node of the published crates.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod bodies;
mod case;
mod catch_up;
mod causal;
mod discovery;
mod ephemeral;
mod live;
mod logs;
mod mdns;
mod namespace;
mod page;
mod pruned;
mod published_alone;
mod restart;
mod spaces;
mod star;
mod third;
