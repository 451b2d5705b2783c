//! Promises of the engine, over its public API and real directories.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod at_rest_messages;
mod batches;
mod blocked;
mod bodies;
mod branches;
mod consumers;
mod crash;
mod drafts;
mod feed;
mod follower;
mod idempotency;
mod ingest;
mod invites;
mod ladder;
mod logs;
mod node;
mod order;
mod order_vectors;
mod own_key_vectors;
mod own_keys;
mod own_log;
mod parents;
mod person_kills;
mod pruning;
mod publishes;
mod queue;
mod quotas;
mod random;
mod recovery;
mod restated;
mod retention;
mod rotations;
mod slices;
mod space_lives;
mod space_messages;
mod spaces;
mod starts;
mod storage;
mod teams;
