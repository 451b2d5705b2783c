//! Changes of access by an operation: who has another one than before, in which groups.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::VerifyingKey;

use crate::few::Few;
use crate::graph::Content;
use crate::groups::Groups;
use crate::nesting::Lookup;
use crate::registry::{GroupIndex, MemberIndex, OpIndex};
use crate::table::{Entry, Table};
use crate::{Access, Event, GroupId};

/// An individual whose access to a group, directly or through nested groups, is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MemberChange {
    /// Group in which the access changed.
    pub group: GroupId,
    /// Member whose access changed.
    pub member: VerifyingKey,
    /// The access before; none if it was no member.
    pub before: Option<Access>,
    /// The access now; none if it is no member any more.
    pub after: Option<Access>,
}

/// The table of a group before and after an operation.
pub(crate) struct Turn {
    pub(crate) group: GroupIndex,
    pub(crate) before: Option<Table>,
    pub(crate) after: Option<Table>,
}

impl Groups {
    /// Tells [`Admitted::members_changed`](crate::Admitted::members_changed) to inspect a group
    /// also when a group in it changes. The group that an operation is about is always looked at.
    ///
    /// Anybody can nest a group in groups of their own; it is those that one cares about that are
    /// watched. The group need not exist yet.
    pub fn watch(&mut self, group: GroupId) {
        self.watched.insert(group);
    }

    /// Ends [`Groups::watch`].
    pub fn unwatch(&mut self, group: &GroupId) {
        self.watched.remove(group);
    }

    /// Returns the members whose access an operation changed, in its own group and in the watched
    /// ones around it.
    pub(crate) fn members_changed(&self, slots: &[u32], turn: &Turn) -> Vec<MemberChange> {
        if slots.is_empty() {
            return Vec::new();
        }
        let own = self.registry.group_id(turn.group);
        let inside = |outer: &&GroupId| self.nests(&|group| self.current(group), outer, &own);
        let around = self.watched.iter().filter(|outer| **outer != own);
        let mut changes = Vec::new();
        for group in around.filter(inside).copied().chain([own]) {
            self.changes_of(&group, slots, turn, &mut changes);
        }
        changes.sort_unstable();
        changes
    }

    /// The slots of the members whose entry gives another access.
    pub(crate) fn changed_slots(&self, op: OpIndex, others: bool, turn: &Turn) -> Few {
        let access = |table: &Option<Table>, slot: u32| table.as_ref()?.get(slot)?.active_access();
        let differs = |slot: &u32| access(&turn.before, *slot) != access(&turn.after, *slot);
        match &self.graph.node(op).content {
            Content::Change { slot, .. } if !others => {
                Some(*slot).into_iter().filter(differs).collect()
            }
            _ => {
                let nobody = Table::default();
                let (before, after) = (turn.before.as_ref(), turn.after.as_ref());
                let slots = before
                    .unwrap_or(&nobody)
                    .differing(after.unwrap_or(&nobody));
                slots.into_iter().filter(differs).collect()
            }
        }
    }

    fn changes_of(
        &self,
        group: &GroupId,
        slots: &[u32],
        turn: &Turn,
        changes: &mut Vec<MemberChange>,
    ) {
        let Some(index) = self.registry.find_group(group) else {
            return;
        };
        let old = |group: GroupIndex| match group == turn.group {
            true => turn.before.clone(),
            false => self.current(group),
        };
        let new = |group: GroupIndex| match group == turn.group {
            true => turn.after.clone(),
            false => self.current(group),
        };
        let mut note = |key: u32, before: Option<Access>, after: Option<Access>| {
            if before != after {
                let (group, member) = (*group, self.registry.key(key));
                changes.push(MemberChange {
                    group,
                    member,
                    before,
                    after,
                });
            }
        };
        let members = &self.registry.group(turn.group).members;
        let members = || slots.iter().filter_map(|slot| members.get(*slot as usize));
        if members().any(|member| matches!(member, MemberIndex::Group(_))) {
            // Anyone who is in there may have another access now.
            let (old, new) = (self.reached(&old, index), self.reached(&new, index));
            for (key, before, after) in differences(&old, &new) {
                note(key, before, after);
            }
            return;
        }
        for member in members() {
            let access = |table: Lookup<'_>| self.access_of(table, index, *member);
            if let MemberIndex::Individual(key) = member {
                note(*key, access(&old), access(&new));
            }
        }
    }

    /// The access of a member to a group, directly or through nested groups.
    pub(crate) fn access_of(
        &self,
        table: Lookup<'_>,
        group: GroupIndex,
        member: MemberIndex,
    ) -> Option<Access> {
        let known = self.registry.group(group);
        let own = table(group);
        let entry = known.slot(member).and_then(|slot| own.as_ref()?.get(slot));
        let direct = entry.and_then(|entry: &Entry| entry.active_access());
        if known.nested.is_empty() {
            return direct;
        }
        direct.max(self.path(table, group, member).map(|(access, _)| access))
    }

    /// An event if the group had managers before, and has none any more.
    pub(crate) fn frozen(&self, op: OpIndex, slots: &[u32], turn: &Turn) -> Option<Event> {
        let lost = |slot: &u32| {
            let entry = |table: &Option<Table>| table.as_ref()?.get(*slot)?.active_access();
            entry(&turn.before) == Some(Access::Manage)
                && entry(&turn.after) != Some(Access::Manage)
        };
        if !slots.iter().any(lost) || !self.managers(turn.group).is_empty() {
            return None;
        }
        let (operation, group) = (self.graph.node(op).id, self.registry.group_id(turn.group));
        Some(Event::Frozen { group, operation })
    }
}

type Reached = BTreeMap<MemberIndex, Access>;

/// The individuals whose access differs, with both.
fn differences(old: &Reached, new: &Reached) -> Vec<(u32, Option<Access>, Option<Access>)> {
    let members: BTreeSet<&MemberIndex> = old.keys().chain(new.keys()).collect();
    let both = |member: &MemberIndex| match member {
        MemberIndex::Individual(key) => {
            Some((*key, old.get(member).copied(), new.get(member).copied()))
        }
        MemberIndex::Group(_) => None,
    };
    members.into_iter().filter_map(both).collect()
}
