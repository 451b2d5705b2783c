//! Groups of p2panda: who is a member, with which access, without a server to ask.
//!
//! The rules are those of `docs/protocol/groups.md`. Nothing here reads a clock, a file, a socket
//! or a random generator.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod admit;
mod bound;
mod check;
mod conflict;
mod graph;
mod groups;
mod insert;
mod nesting;
mod operation;
mod registry;
mod resolve;
mod rules;
mod table;
mod trie;
mod view;
mod why;
mod wire;

pub use access::{Access, AccessParseError};
pub use bound::bound_group_id;
pub use groups::{Admitted, Groups, Processed};
pub use operation::{Action, Arguments, GroupId, Member, Operation};
pub use rules::{
    DEPENDENCIES_MAX, Event, Filter, Limit, MEMBERS_MAX, NESTING_MAX, NoEffect, ProcessError,
    Reason, Rule, Rules, Status, TOUCHED_MAX,
};
pub use view::{Record, UnknownOperation, View};
pub use why::{Verdict, Why};
pub use wire::Invalid;
