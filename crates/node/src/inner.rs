//! The internals of the public types: the queue into the engine, the readers of the store, the state
//! of each topic, and the responder that serves the network.

pub(crate) mod acks;
pub(crate) mod blame;
pub(crate) mod blocked;
pub(crate) mod blocking;
pub(crate) mod commits;
pub(crate) mod consumer;
pub(crate) mod cursor;
pub(crate) mod group_sync;
pub(crate) mod held_heads;
pub(crate) mod hops;
pub(crate) mod known;
pub(crate) mod levels;
pub(crate) mod named;
pub(crate) mod new_logs;
pub(crate) mod not_kept;
pub(crate) mod queue;
pub(crate) mod receipts;
pub(crate) mod serve;
pub(crate) mod space_topics;
pub(crate) mod storage;
pub(crate) mod topic;
pub(crate) mod verify;
pub(crate) mod view_ahead;
pub(crate) mod view_thread;
pub(crate) mod view_worker;
pub(crate) mod views;
