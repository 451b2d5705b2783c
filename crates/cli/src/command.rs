//! One file per command.

pub mod bench;
pub mod chat;
pub mod compact;
pub mod completions;
pub mod config;
pub mod consumer;
pub mod contact;
pub mod context;
pub mod device;
pub mod events;
pub mod help;
pub mod id;
pub mod invite;
pub mod join;
pub mod man;
pub mod node;
pub mod peers;
pub mod publish;
pub mod screen;
pub mod space;
pub mod status;
pub mod subscribe;
pub mod sync;
pub mod topic;
pub mod trace;
pub mod view;
