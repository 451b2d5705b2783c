//! Dependencies of a new operation (`docs/protocol/groups.md#3`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::{GROUP_DEPENDENCIES_MAX, GROUP_DEPENDENCIES_SENT};
use p2panda_core::{Hash, VerifyingKey};

use crate::check::{Parties, Verb};
use crate::conflict::Fact;
use crate::graph::Clock;
use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, MemberIndex, OpIndex, RealmIndex};
use crate::table::Table;
use crate::trie::Join;
use crate::{Access, Action, Arguments, GroupId, Member};

/// An operation on a group before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// The arguments for the header.
    pub arguments: Arguments,
    /// The group has no manager afterwards, and nobody can change it any more. Ask before you
    /// send it.
    pub freezes: bool,
}

impl Groups {
    /// Prepares an operation with the dependencies of [`Groups::dependencies`]. Whether it is
    /// allowed says [`Groups::process`].
    pub fn draft(&self, author: &VerifyingKey, group: &GroupId, action: Action) -> Draft {
        let freezes = self.freezes(author, group, &action);
        let dependencies = self.dependencies(author, group, &action);
        let arguments = Arguments {
            group: *group,
            dependencies,
            action,
            nonce: None,
        };
        Draft { arguments, freezes }
    }

    /// Returns the dependencies of a new operation: the last operations about its group and about
    /// the groups that it or the action's member contains, sorted.
    ///
    /// Operations of others on other groups, and those that never have an effect, are not among
    /// them. They are at most [`GROUP_DEPENDENCIES_SENT`], except where more are needed to see all
    /// removals and demotes: then at most [`GROUP_DEPENDENCIES_MAX`].
    pub fn dependencies(
        &self,
        author: &VerifyingKey,
        group: &GroupId,
        action: &Action,
    ) -> Vec<Hash> {
        let members: Vec<Member> = match action {
            Action::Create { initial_members } => {
                initial_members.iter().map(|(member, _)| *member).collect()
            }
            _ => action.member().into_iter().collect(),
        };
        let nested = members.iter().filter_map(|member| match member {
            Member::Group(nested) => Some(*nested),
            Member::Individual(_) => None,
        });
        let groups: Vec<GroupId> = nested.chain([*group]).collect();
        let realms = self.concerned(&groups);
        let heads = self.last_of(&realms);
        if heads.len() <= GROUP_DEPENDENCIES_SENT {
            return self.ids(heads);
        }
        let needed = self.needed(author, group, action, &realms);
        self.ids(self.choose(heads, needed))
    }

    /// The last operations about these groups and those that they contain, sorted, however many
    /// there are. What never has an effect is not among them.
    pub fn heads_of(&self, groups: &[GroupId]) -> Vec<Hash> {
        self.ids(self.last_of(&self.concerned(groups)))
    }

    fn ids(&self, ops: Vec<OpIndex>) -> Vec<Hash> {
        let mut ids: Vec<Hash> = ops.iter().map(|op| self.graph.node(*op).id).collect();
        ids.sort_unstable();
        ids
    }

    /// The realms that count of these groups and of those that they contain.
    fn concerned(&self, groups: &[GroupId]) -> Vec<RealmIndex> {
        let keys = groups.iter().map(GroupId::as_key);
        let keys = keys.filter_map(|key| self.registry.find_key(key)).collect();
        let reached = self.within(&|group| self.current(group), keys);
        let groups = reached.iter().map(|key| self.registry.group_of_key(*key));
        let effective = |group: GroupIndex| self.registry.group(group).effective;
        groups.flatten().filter_map(effective).collect()
    }

    /// The operations of some realms that no other of them has seen.
    fn last_of(&self, realms: &[RealmIndex]) -> Vec<OpIndex> {
        let heads = realms
            .iter()
            .flat_map(|realm| self.realm(*realm).heads.iter());
        let heads: BTreeSet<OpIndex> = heads.copied().collect();
        let mut clock = Clock::default();
        let mut last = Vec::new();
        for op in heads.into_iter().rev() {
            if !self.graph.covers(&clock, op) {
                clock = clock.join(&self.graph.node(op).place.clock);
                last.push(op);
            }
        }
        last
    }

    /// Returns the required dependencies, the most important first: removals of the author and of
    /// the member, the operations that gave both their access, and all other removals and demotes.
    fn needed(
        &self,
        author: &VerifyingKey,
        group: &GroupId,
        action: &Action,
        realms: &[RealmIndex],
    ) -> Vec<OpIndex> {
        let members = [Some(Member::Individual(*author)), action.member()];
        let known = members.iter().flatten();
        let known = known.filter_map(|member| self.registry.find_member(member));
        let known: Vec<MemberIndex> = known.collect();
        let keys = [Some(author), action.member().as_ref().map(Member::key)]
            .map(|key| self.registry.find_key(key?));
        let mut ranked: Vec<(u8, Hash, OpIndex)> = Vec::new();
        let own = self.registry.find_group(group);
        for realm in realms {
            let realm = self.realm(*realm);
            let is_own = Some(realm.group) == own;
            for op in &realm.ops {
                let node = self.graph.node(*op);
                let fact = Fact::of(*op, node);
                let concerns = is_own && keys.contains(&fact.removed);
                let mine = realm.heads.contains(op) && keys.first() == Some(&Some(node.author));
                match fact.removed {
                    Some(_) if concerns => ranked.push((0, node.id, *op)),
                    _ if mine => ranked.push((1, node.id, *op)),
                    Some(_) => ranked.push((2, node.id, *op)),
                    None => {}
                }
            }
        }
        for member in known {
            let decided = own.map(|own| self.deciding(own, member));
            for id in decided.into_iter().flatten() {
                ranked.extend(self.graph.find(&id).map(|op| (1, id, op)));
            }
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, _, op)| op).collect()
    }

    /// For each needed operation the head with the smallest id that has seen it; then others.
    fn choose(&self, mut heads: Vec<OpIndex>, needed: Vec<OpIndex>) -> Vec<OpIndex> {
        heads.sort_unstable_by_key(|op| self.graph.node(*op).id);
        let mut clock = Clock::default();
        let mut chosen: BTreeSet<OpIndex> = BTreeSet::new();
        for op in needed {
            if chosen.len() == GROUP_DEPENDENCIES_MAX {
                break;
            }
            if self.graph.covers(&clock, op) {
                continue;
            }
            let sees = |head: &&OpIndex| self.graph.precedes(op, **head);
            if let Some(head) = heads.iter().find(sees) {
                clock = clock.join(&self.graph.node(*head).place.clock);
                chosen.insert(*head);
            }
        }
        for head in heads {
            if chosen.len() >= GROUP_DEPENDENCIES_SENT {
                break;
            }
            chosen.insert(head);
        }
        chosen.into_iter().collect()
    }

    /// True if the group has managers now, and none after the action.
    fn freezes(&self, author: &VerifyingKey, group: &GroupId, action: &Action) -> bool {
        if let Action::Create { initial_members } = action {
            let manages = |(member, access): &(Member, Access)| {
                *access == Access::Manage && matches!(member, Member::Individual(_))
            };
            return !initial_members.iter().any(manages);
        }
        let Some(index) = self.registry.find_group(group) else {
            return false;
        };
        let managers = self.managers(index);
        let [manager] = *managers else {
            return false;
        };
        let verb = match action {
            Action::Remove { .. } => Verb::Remove,
            Action::Demote { access, .. } => Verb::Demote(*access),
            _ => return false,
        };
        self.allows(index, author, action, verb) && self.is_about(action, manager)
    }

    fn is_about(&self, action: &Action, key: KeyIndex) -> bool {
        let member = action.member();
        let known = member.and_then(|member| self.registry.find_member(&member));
        known == Some(MemberIndex::Individual(key))
    }

    fn allows(
        &self,
        group: GroupIndex,
        author: &VerifyingKey,
        action: &Action,
        verb: Verb,
    ) -> bool {
        let author = Member::Individual(*author);
        let table: Option<Table> = self.current(group);
        let entry = |member: &Member| {
            let member = self.registry.find_member(member)?;
            let slot = self.registry.group(group).slot(member)?;
            table.as_ref()?.get(slot).copied()
        };
        let parties = Parties {
            actor: entry(&author),
            target: action.member().and_then(|member| entry(&member)),
            own: action.member() == Some(author),
        };
        verb.check_hardened(parties).is_ok()
    }
}
