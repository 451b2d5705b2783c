//! The RPC of a node from outside (`docs/protocol/rpc.md`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod access;
mod altered;
mod bad_input;
mod became;
mod connections;
mod devices;
mod elsewhere;
mod headers;
mod http;
mod invites;
mod large;
mod limited;
mod local;
mod messages;
mod metrics;
mod named_reads;
mod openrpc;
mod quotas;
mod scenario;
mod scopes;
mod spaces;
mod support;
mod world;
