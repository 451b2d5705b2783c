//! Groups: members, roles and nesting.

/// Dependencies of one group operation (`docs/protocol/groups.md#12`).
pub const GROUP_DEPENDENCIES_MAX: usize = 512;
/// Dependencies that we name where no more are needed to see all removals and demotes
/// (`docs/protocol/groups.md#3`).
pub const GROUP_DEPENDENCIES_SENT: usize = 64;
/// Members of one group, former ones included, in the past of the operation that adds one
/// (`docs/protocol/groups.md#12`).
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Levels of groups below a group, in the past of the operation that nests one
/// (`docs/protocol/groups.md#12`).
pub const GROUP_NESTING_MAX: usize = 64;
/// Operations that one input may touch before it is queued (`docs/protocol/groups.md#12`).
pub const GROUP_TOUCHED_MAX: usize = 10_000;
/// Comparisons of two operations for each of these, before the input is queued
/// (`docs/protocol/groups.md#12`).
pub const GROUP_COMPARISONS_PER_TOUCHED: usize = 64;
