//! Groups of p2panda: who is a member, with which access, without a server to ask.
//!
//! The rules are those of `docs/protocol/groups.md`. Nothing here reads a clock, a file, a socket
//! or a random generator.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod bound;
mod operation;
mod wire;

pub use access::{Access, AccessParseError};
pub use bound::bound_group_id;
pub use operation::{Action, Arguments, GroupId, Member, Operation};
pub use wire::Invalid;
