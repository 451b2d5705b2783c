//! One file per command.

pub mod bench;
pub mod chat;
pub mod compact;
pub mod consumer;
pub mod contact;
pub mod id;
pub mod peers;
pub mod publish;
pub mod status;
pub mod subscribe;
pub mod sync;
pub mod topic;
pub mod trace;
pub mod view;
