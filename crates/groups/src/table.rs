//! The tables of members, packed.

use core::num::NonZeroU64;

use crate::Access;
use crate::trie::{Join, Trie};

/// The members of one group, by their slot in it.
pub(crate) type Table = Trie<Entry>;

/// Entry of one member: `(m, access, a)` of `docs/protocol/groups.md#5`.
///
/// Packed so that the larger number wins a join: membership counter, access counter, and then
/// the lower access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(NonZeroU64);

const ACCESS_BITS: u32 = 2;
const COUNTER_BITS: u32 = 31;

impl Entry {
    pub(crate) fn new(memberships: u32, access: Access, changes: u32) -> Entry {
        // Each counts operations, of which there are fewer than 2^31.
        let counters = u64::from(memberships) << COUNTER_BITS | u64::from(changes);
        let packed = counters << ACCESS_BITS | (Access::Manage as u64 - access as u64);
        Entry(NonZeroU64::new(packed).expect("the membership counter starts at 1"))
    }

    pub(crate) fn memberships(self) -> u32 {
        (self.0.get() >> (ACCESS_BITS + COUNTER_BITS)) as u32
    }

    pub(crate) fn changes(self) -> u32 {
        (self.0.get() >> ACCESS_BITS) as u32 & ((1 << COUNTER_BITS) - 1)
    }

    pub(crate) fn access(self) -> Access {
        match self.0.get() & 3 {
            0 => Access::Manage,
            1 => Access::Write,
            2 => Access::Read,
            _ => Access::Pull,
        }
    }

    pub(crate) fn is_active(self) -> bool {
        self.memberships() % 2 == 1
    }

    /// The access, if the member is active.
    pub(crate) fn active_access(self) -> Option<Access> {
        self.is_active().then(|| self.access())
    }

    /// The next membership or its end, with the counter of access changes back at 0.
    pub(crate) fn next_membership(self, access: Access) -> Entry {
        Entry::new(self.memberships() + 1, access, 0)
    }

    pub(crate) fn with_access(self, access: Access) -> Entry {
        Entry::new(self.memberships(), access, self.changes() + 1)
    }

    /// The end of the membership, with access and counter left alone.
    pub(crate) fn forced_out(self) -> Entry {
        Entry::new(self.memberships() + 1, self.access(), self.changes())
    }
}

impl Join for Entry {
    fn join(&self, other: &Entry) -> Entry {
        *self.max(other)
    }

    fn same(&self, other: &Entry) -> bool {
        self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts_and_the_lower_access_wins_last() {
        let entry = Entry::new(3, Access::Write, 5);
        assert_eq!((entry.memberships(), entry.changes()), (3, 5));
        assert_eq!(entry.access(), Access::Write);
        assert!(Entry::new(4, Access::Pull, 0) > Entry::new(3, Access::Pull, 9));
        assert!(Entry::new(3, Access::Manage, 6) > entry);
        assert!(Entry::new(3, Access::Read, 5) > entry);
    }
}
