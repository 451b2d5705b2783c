//! Gossip: how nodes with a common interest keep in touch and broadcast (`docs/protocol/network.md#6`).
//!
//! The wire is that of iroh-gossip 0.101: HyParView for who is whose neighbour, PlumTree for what
//! is broadcast. A [`Member`] is this node in one overlay. It looks for few neighbours and serves
//! as many as ask, it remembers a bounded number of messages, and it is silent while nothing
//! changes.

mod member;
mod message;
mod tree;
mod views;

pub use member::{Context, Input, Kind, Member, Output};
pub use message::{
    Message, MessageError, MessageId, Named, Priority, Scope, decode_header, encode_addresses,
    encode_header,
};
