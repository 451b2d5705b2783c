//! Reasons why someone is or is not a member.

use core::fmt;

use p2panda_core::Hash;
use p2panda_core::ordered::BTreeSet;

use crate::conflict::{self, Arrow, Fact, Work};
use crate::graph::{Content, Effect, Node};
use crate::groups::Groups;
use crate::registry::{GroupIndex, MemberIndex, OpIndex};
use crate::table::Entry;
use crate::{Access, GroupId, Member, Status};

/// Reason why a member has the access that it has, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Why {
    /// The group that was asked about.
    pub group: GroupId,
    /// The member that was asked about.
    pub member: Member,
    /// The answer in a word.
    pub verdict: Verdict,
    /// The operations that made it so, sorted: along a path through nested groups those of each
    /// step, and of a forced removal all removals of the cycle.
    pub decided_by: Vec<Hash>,
    /// The operations about the member that have no effect, sorted.
    pub overruled: Vec<(Hash, Status)>,
}

/// Relation of somebody to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The group was never created.
    UnknownGroup,
    /// No operation with effect ever named the member.
    NeverMember,
    /// The membership has ended, that of the member itself or one through a nested group.
    FormerMember,
    /// A direct member.
    Member {
        /// With this access.
        access: Access,
    },
    /// A member through nested groups, with more access than directly.
    Nested {
        /// The lowest on the path.
        access: Access,
        /// The groups from the first nested one to the one with the member.
        path: Vec<GroupId>,
    },
}

impl Groups {
    /// Explains why somebody is or is not a member of a group now. `to_string` gives the sentence.
    pub fn why(&self, group: &GroupId, member: &Member) -> Why {
        let mut why = Why {
            group: *group,
            member: *member,
            verdict: Verdict::UnknownGroup,
            decided_by: Vec::new(),
            overruled: Vec::new(),
        };
        let index = self.registry.find_group(group);
        let Some(index) = index.filter(|index| self.current(*index).is_some()) else {
            return why;
        };
        why.verdict = Verdict::NeverMember;
        let Some(known) = self.registry.find_member(member) else {
            return why;
        };
        let direct = self.entry(index, known);
        let path = self.path(&|group| self.current(group), index, known);
        why.verdict = match (direct.and_then(Entry::active_access), &path) {
            (access, Some((capped, path))) if access.is_none_or(|access| access < *capped) => {
                let path = path
                    .iter()
                    .map(|group| self.registry.group_id(*group))
                    .collect();
                Verdict::Nested {
                    access: *capped,
                    path,
                }
            }
            (Some(access), _) => Verdict::Member { access },
            (None, _) if direct.is_some() => Verdict::FormerMember,
            _ => Verdict::NeverMember,
        };
        let mut steps = vec![(index, known)];
        if let (Verdict::Nested { .. }, Some((_, path))) = (&why.verdict, &path) {
            steps = self.steps(index, path, known);
        }
        if matches!(why.verdict, Verdict::FormerMember | Verdict::NeverMember) {
            steps = self.ended(index, known);
            if !steps.is_empty() {
                why.verdict = Verdict::FormerMember;
            }
        }
        for (group, member) in steps {
            why.decided_by.extend(self.deciding(group, member));
        }
        why.overruled = self.overruled(index, known);
        why.decided_by.sort_unstable();
        why.decided_by.dedup();
        why.overruled.sort_unstable_by_key(|(id, _)| *id);
        why
    }

    fn entry(&self, group: GroupIndex, member: MemberIndex) -> Option<Entry> {
        let slot = self.registry.group(group).slot(member)?;
        self.current(group)?.get(slot).copied()
    }

    /// The memberships of which a path consists.
    fn steps(
        &self,
        group: GroupIndex,
        path: &[GroupIndex],
        member: MemberIndex,
    ) -> Vec<(GroupIndex, MemberIndex)> {
        let mut steps = Vec::new();
        let mut at = group;
        for next in path {
            steps.push((at, MemberIndex::Group(self.registry.group(*next).key)));
            at = *next;
        }
        steps.push((at, member));
        steps
    }

    /// The memberships that have ended, of those by which somebody was a member of a group: its own ones in the
    /// group and in groups that are or were nested there, and those of groups that it is still a member of.
    fn ended(&self, group: GroupIndex, member: MemberIndex) -> Vec<(GroupIndex, MemberIndex)> {
        let (mut ended, mut seen) = (Vec::new(), BTreeSet::from([group]));
        let mut waiting = vec![group];
        while let Some(at) = waiting.pop() {
            let own = self.entry(at, member);
            if own.is_some_and(|entry| entry.active_access().is_none()) {
                ended.push((at, member));
            }
            for (_, key) in &self.registry.group(at).nested {
                let as_member = MemberIndex::Group(*key);
                let (Some(entry), Some(inner)) =
                    (self.entry(at, as_member), self.registry.group_of_key(*key))
                else {
                    continue;
                };
                let within = self
                    .entry(inner, member)
                    .and_then(|own| own.active_access());
                if entry.active_access().is_none() && within.is_some() {
                    ended.push((at, as_member));
                }
                if seen.insert(inner) {
                    waiting.push(inner);
                }
            }
        }
        ended
    }

    /// The operations after which the entry was first what it is now.
    pub(crate) fn deciding(&self, group: GroupIndex, member: MemberIndex) -> Vec<Hash> {
        let known = self.registry.group(group);
        let (Some(slot), Some(entry)) = (known.slot(member), self.entry(group, member)) else {
            return Vec::new();
        };
        let after = |op: OpIndex| {
            let table = self.table(op).as_ref();
            table.and_then(|table| table.get(slot)) == Some(&entry)
        };
        let mut deciding = Vec::new();
        let realm = known.effective.map(|realm| self.realm(realm));
        for op in realm.iter().flat_map(|realm| realm.ops.iter().copied()) {
            let node = self.graph.node(op);
            let has_effect = matches!(node.fate.effect, Effect::Applied | Effect::Forced);
            if !has_effect || !after(op) || node.inner.iter().any(|before| after(*before)) {
                continue;
            }
            match node.fate.effect {
                Effect::Forced => deciding.extend(self.cycle_of(op)),
                _ => deciding.push(node.id),
            }
        }
        deciding
    }

    /// The removals of the cycle that an operation is part of.
    fn cycle_of(&self, op: OpIndex) -> Vec<Hash> {
        let Some(realm) = self.graph.node(op).realm else {
            return Vec::new();
        };
        let realm = self.realm(realm);
        let (start, end) = realm.component(op);
        let arrow = |other: OpIndex| Fact::of(other, self.graph.node(other)).arrow();
        let inside = realm.range(start, end).iter().copied();
        let arrows: Vec<Arrow> = inside.filter_map(arrow).collect();
        let Some(own) = arrow(op) else {
            return Vec::new();
        };
        let precedes = |a, b| self.graph.precedes(a, b);
        let cycle = conflict::cycle_through(own, &arrows, precedes, &mut Work::unlimited());
        let ids = cycle.into_iter().flatten().map(|op| self.graph.node(op).id);
        ids.collect()
    }

    fn overruled(&self, group: GroupIndex, member: MemberIndex) -> Vec<(Hash, Status)> {
        let known = self.registry.group(group);
        let Some(slot) = known.slot(member) else {
            return Vec::new();
        };
        let concerned = |node: &Node| match &node.content {
            Content::Create { initial, .. } => initial.iter().any(|entry| entry.slot == slot),
            Content::Change { slot: other, .. } => *other == slot,
        };
        let without_effect = |op: &OpIndex| {
            let node = self.graph.node(*op);
            let none = matches!(self.effect_of(*op), Effect::Filtered | Effect::None(_));
            none && concerned(node)
        };
        let ops = known.ops.iter().copied().filter(without_effect);
        ops.map(|op| (self.graph.node(op).id, self.status_of(op)))
            .collect()
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Why { group, member, .. } = self;
        match &self.verdict {
            Verdict::UnknownGroup => write!(f, "group {group} is unknown")?,
            Verdict::NeverMember => write!(f, "{member} was never a member of group {group}")?,
            Verdict::FormerMember => write!(f, "{member} is no longer a member of group {group}")?,
            Verdict::Member { access } => write!(f, "{member} may {access} in group {group}")?,
            Verdict::Nested { access, path } => {
                write!(f, "{member} may {access} in group {group} through")?;
                for (at, group) in path.iter().enumerate() {
                    write!(f, "{} group {group}", if at == 0 { "" } else { "," })?;
                }
            }
        }
        for (at, id) in self.decided_by.iter().enumerate() {
            write!(f, "{} {id}", if at == 0 { "; decided by" } else { "," })?;
        }
        for (id, status) in &self.overruled {
            write!(f, "; {id} {status}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Applied => f.write_str("has its effect"),
            Status::Filtered { by, .. } => write!(f, "has no effect because of the removal {by}"),
            Status::ForcedRemoval => f.write_str("removes as part of a mutual removal"),
            Status::NoEffect(reason) => write!(f, "has no effect: {reason}"),
        }
    }
}
