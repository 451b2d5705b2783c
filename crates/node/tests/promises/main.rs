//! Promises of the node's API, with real sockets on loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod blocked;
mod bodies;
mod changes;
mod consumer_bounds;
mod consumer_kills;
mod consumer_model;
mod consumer_redelivery;
mod consumer_workers;
mod consumers;
mod copies;
mod device_links;
mod ended;
mod errors;
mod flood;
mod forks;
mod health;
#[path = "../../../net/tests/support/hosts.rs"]
mod hosts;
mod keep;
mod lan;
mod large;
mod logs;
mod nodes;
mod own_keys;
mod persons;
mod persons_conflicts;
mod persons_later;
mod publish;
mod quotas;
mod read;
mod receipts;
mod recover;
mod recoveries;
mod refuse;
mod space_ephemeral;
mod space_invites;
mod space_messages;
mod space_uses;
mod spaces;
mod teams;
mod traces;
mod view_loss;
mod view_pages;
mod views;
