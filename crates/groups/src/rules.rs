//! Rule sets, reasons and outcomes of operations.

use core::fmt;

use p2panda_core::Hash;
use thiserror::Error;

use crate::GroupId;

/// Rules that decide about effect (`docs/protocol/groups.md#9`).
///
/// Every node of a network must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rules {
    /// Takes the effect of abusive operations away. It admits what [`Rules::Reference`] admits.
    #[default]
    Hardened,
    /// Exactly the published release 0.7.1.
    Reference,
}

/// A rule of [`Rules::Hardened`] that takes effect away (`docs/protocol/groups.md#9`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// One create per group has effect, and only for operations that saw it (Q1).
    OneCreate,
    /// A create cannot make a group a manager (Q2).
    ManagerGroup,
    /// A create cannot close a nesting cycle that its author could see (Q3).
    NestingCycle,
    /// A promote only raises, a demote only lowers (Q4).
    Direction,
    /// A promote or demote needs a manager and an active member (Q5).
    Standing,
}

impl Rule {
    /// The number of the rule, from 1 to 5.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q{}", self.number())
    }
}

/// Reason why an action cannot be applied (`docs/protocol/groups.md#6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The author was never a member of the group.
    #[error("the author was never a member")]
    UnrecognisedActor,
    /// The author is not a member any more.
    #[error("the author is no longer a member")]
    InactiveActor,
    /// The author does not manage the group.
    #[error("the author does not manage the group")]
    InsufficientAccess,
    /// The member to be added is one.
    #[error("the member was already added")]
    AlreadyAdded,
    /// The member to be removed is none any more.
    #[error("the member was already removed")]
    AlreadyRemoved,
    /// The member was never one.
    #[error("this was never a member")]
    UnrecognisedMember,
    /// The member is none any more.
    #[error("this is no longer a member")]
    InactiveMember,
    /// The group would contain itself.
    #[error("the group would contain itself")]
    GroupCycle,
    /// The group is not in the operation's past.
    #[error("the group is unknown")]
    UnknownGroup,
}

/// Reason why an operation of the graph has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum NoEffect {
    /// A hardening rule forbids it; peers with [`Rules::Reference`] see it applied.
    #[error("rule {0}")]
    Hardened(Rule),
    /// The author or the member is not in the needed state.
    #[error(transparent)]
    Reason(Reason),
}

/// The rule by which a concurrent removal takes the effect of an operation away
/// (`docs/protocol/groups.md#8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// The removal removes the author (F1).
    Author,
    /// The removal removes the member that is added (F2).
    Add,
}

/// Outcome of an operation of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It has its effect.
    Applied,
    /// A concurrent removal took its effect away.
    Filtered {
        /// Rule that took its effect.
        rule: Filter,
        /// The removal; of several the one with the smallest id.
        by: Hash,
    },
    /// Part of a cycle of mutual removals: its target is out no matter what the author's state.
    ForcedRemoval,
    /// It changes nothing.
    NoEffect(NoEffect),
}

/// Event that the caller may want to report to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A hardening rule took effect away, so peers with [`Rules::Reference`] differ. Sent once
    /// for each operation and rule.
    Diverges {
        /// Operation that is affected.
        operation: Hash,
        /// Rule that was applied.
        rule: Rule,
    },
    /// The author was removed concurrently, and yet the operation took effect away from others:
    /// a removed manager that claims an old past, or two managers in conflict.
    Overturns {
        /// Id of the operation.
        operation: Hash,
        /// Number of operations that were here before and have another status now.
        overturned: usize,
    },
    /// The group has lost its last manager, and nobody can change it any more.
    Frozen {
        /// Id of the group.
        group: GroupId,
        /// The operation after which it is so.
        operation: Hash,
    },
}

/// A limit of [`Rules::Hardened`] (`docs/protocol/groups.md#12`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Limit {
    /// More than [`GROUP_DEPENDENCIES_MAX`](p2panda_core::limits::GROUP_DEPENDENCIES_MAX)
    /// dependencies.
    #[error("too many dependencies")]
    Dependencies,
    /// More than [`GROUP_MEMBERS_MAX`](p2panda_core::limits::GROUP_MEMBERS_MAX)
    /// members in one group.
    #[error("too many members")]
    Members,
    /// More than [`GROUP_NESTING_MAX`](p2panda_core::limits::GROUP_NESTING_MAX)
    /// levels of nested groups.
    #[error("groups are nested too deeply")]
    Nesting,
}

/// Reason why an operation did not enter the graph. The graph is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The operation is in the graph or in the queue.
    #[error("the operation is known")]
    Duplicate,
    /// The operation depends on itself.
    #[error("the operation depends on itself")]
    SelfDependency,
    /// A dependency is not in the graph; try again when it is.
    #[error("the dependency {0} is missing")]
    MissingDependency(Hash),
    /// A group cannot manage another one.
    #[error("a group cannot manage a group")]
    ManagerGroup,
    /// The operation is not allowed in its own past.
    #[error(transparent)]
    Rejected(Reason),
    /// The operation is too large.
    #[error(transparent)]
    Limit(#[from] Limit),
}
