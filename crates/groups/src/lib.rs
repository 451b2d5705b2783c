//! Groups of p2panda: who is a member, with which access, without a server to ask.
//!
//! [`Groups`] takes operations in and answers who is a member of what. Any two nodes that hold the
//! same operations hold the same groups, in any order of arrival. The rules are those of
//! `docs/protocol/groups.md`. Nothing here reads a clock, a file, a socket or a random generator;
//! authors were verified by the layer above.
//!
//! ```
//! use p2panda_core::{Hash, SigningKey};
//! use p2panda_groups::{
//!     Access, Action, Arguments, Groups, Member, Operation, Rules, bound_group_id,
//! };
//!
//! let [alice, bob] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
//! let nonce = [7; 32]; // drawn afresh for every group
//! let group = bound_group_id(&alice, &nonce);
//! let create = Operation {
//!     id: Hash::digest(b"the header of the first operation"),
//!     author: alice,
//!     arguments: Arguments {
//!         group,
//!         dependencies: vec![],
//!         action: Action::Create {
//!             initial_members: vec![(Member::Individual(alice), Access::Manage)],
//!         },
//!         nonce: Some(nonce),
//!     },
//! };
//! let mut groups = Groups::new(Rules::Hardened);
//! groups.process(&create)?;
//!
//! let action = Action::Add { member: Member::Individual(bob), access: Access::Write };
//! let draft = groups.draft(&alice, &group, action);
//! assert!(!draft.freezes);
//! let add = Operation {
//!     id: Hash::digest(b"the header of the second operation"),
//!     author: alice,
//!     arguments: draft.arguments,
//! };
//! groups.process(&add)?;
//! assert_eq!(groups.now().access(&group, &bob), Some(Access::Write));
//! println!("{}", groups.why(&group, &Member::Individual(bob)));
//! # Ok::<(), p2panda_groups::ProcessError>(())
//! ```
//!
//! # Inside
//!
//! * `graph`: who came before whom. A *clock* per operation says how far its past reaches into
//!   each chain, so this is one look-up.
//! * `realm`: the operations that can be in conflict with each other, and nobody else's.
//! * `admit`: whether an operation may enter the graph, judged in its own past.
//! * `conflict`: who takes effect away from whom among concurrent operations.
//! * `insert`, `resolve`: what a new operation touches is applied again, and nothing else.
//! * `trie`, `table`: persistent tables; those after all operations share what is equal.
//! * `few`, `keyed`: short lists, and maps whose keys strangers choose.
//! * `heads`: what an operation that is about to be made depends on.
//! * `view`, `nesting`, `why`, `change`: the questions, and whose access has changed.
//! * `rows`, `undo`: what is stored, and back to where a transaction began.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod admit;
mod bound;
mod change;
mod check;
mod conflict;
mod few;
mod graph;
mod groups;
mod heads;
mod insert;
mod keyed;
mod nesting;
mod operation;
mod realm;
mod registry;
mod resolve;
mod rows;
mod rules;
mod table;
mod trie;
mod undo;
mod view;
mod why;
mod wire;

pub use access::{Access, AccessParseError};
pub use bound::bound_group_id;
pub use change::MemberChange;
pub use groups::{Admitted, Groups, Processed};
pub use heads::Draft;
pub use operation::{Action, Arguments, GroupId, Member, Operation};
pub use rows::{LoadError, Row};
pub use rules::{Event, Filter, Limit, NoEffect, ProcessError, Reason, Rule, Rules, Status};
pub use view::{Record, UnknownOperation, View};
pub use why::{Verdict, Why};
pub use wire::Invalid;
