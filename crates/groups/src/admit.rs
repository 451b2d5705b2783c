//! Admission of an operation to the graph, judged in its own past (`docs/protocol/groups.md#7`).

use core::cell::Cell;
use p2panda_core::ordered::BTreeSet;

use p2panda_core::Hash;
use p2panda_core::limits::{GROUP_DEPENDENCIES_MAX, GROUP_MEMBERS_MAX, GROUP_NESTING_MAX};

use crate::check::{Parties, Verb};
use crate::few::Few;
use crate::graph::{Content, Effect, Fate, Initial, Named, Node, Past, Seen};
use crate::groups::Groups;
use crate::nesting::Lookup;
use crate::registry::{GroupIndex, MemberIndex, OpIndex, RealmIndex};
use crate::resolve::{Budget, Ruling, Sight};
use crate::{
    Access, Action, GroupId, Limit, Member, NoEffect, Operation, ProcessError, Reason, Rule, Rules,
};

/// Judgement of the past about an operation.
pub(crate) struct Judged {
    class: Option<NoEffect>,
    /// For each entry of a create the rule that takes it away.
    dropped: Vec<Option<Rule>>,
}

impl Groups {
    /// The checks that need no state, and the past of the operation.
    pub(crate) fn check_structure(&self, operation: &Operation) -> Result<Past, ProcessError> {
        self.check_alone(operation)?;
        let mut deps = Few::default();
        for id in &operation.arguments.dependencies {
            let missing = ProcessError::MissingDependency(*id);
            deps.extend(self.graph.meaning(id).ok_or(missing)?.iter().copied());
        }
        if let Action::Add {
            member: Member::Group(_),
            access: Access::Manage,
        }
        | Action::Promote {
            member: Member::Group(_),
            access: Access::Manage,
        } = operation.arguments.action
        {
            return Err(ProcessError::ManagerGroup);
        }
        Ok(self.graph.past(deps))
    }

    /// The checks that need nothing but the operation and its id.
    pub(crate) fn check_alone(&self, operation: &Operation) -> Result<(), ProcessError> {
        let arguments = &operation.arguments;
        if self.graph.find(&operation.id).is_some() {
            return Err(ProcessError::Duplicate);
        }
        if arguments.dependencies.contains(&operation.id) {
            return Err(ProcessError::SelfDependency);
        }
        if self.rules == Rules::Hardened {
            if arguments.dependencies.len() > GROUP_DEPENDENCIES_MAX {
                return Err(Limit::Dependencies.into());
            }
            if let Action::Create { initial_members } = &arguments.action
                && initial_members.len() > GROUP_MEMBERS_MAX
            {
                return Err(Limit::Members.into());
            }
        }
        Ok(())
    }

    /// Judges an operation in its past, or says why it is refused. `None` if it touches too much.
    pub(crate) fn judge(
        &self,
        operation: &Operation,
        past: &Past,
        sight: &Sight,
        budget: &Budget,
    ) -> Result<Option<Judged>, ProcessError> {
        let exceeded = Cell::new(false);
        let own = self.registry.find_group(&operation.arguments.group);
        let table = |group: GroupIndex| {
            if Some(group) == own {
                return sight.seen.table.clone();
            }
            let seen = self.alone(group, past, budget);
            exceeded.set(exceeded.get() || seen.is_none());
            seen?.table
        };
        let judged = self.judge_by(operation, past, &table, budget);
        if exceeded.get() {
            return Ok(None);
        }
        judged
    }

    fn judge_by(
        &self,
        operation: &Operation,
        past: &Past,
        table: Lookup<'_>,
        budget: &Budget,
    ) -> Result<Option<Judged>, ProcessError> {
        let hardened = self.rules == Rules::Hardened;
        if hardened {
            self.check_size(operation, table)?;
        }
        let class = match self.verdict(operation, table) {
            Ok(class) => class,
            Err(reason) if hardened => match self.poisoned(past, budget) {
                Some(true) => Some(NoEffect::Reason(reason)),
                Some(false) => return Err(ProcessError::Rejected(reason)),
                None => return Ok(None),
            },
            Err(reason) => return Err(ProcessError::Rejected(reason)),
        };
        let dropped = match &operation.arguments.action {
            Action::Create { initial_members } if hardened => {
                let group = &operation.arguments.group;
                let rule = |(member, access): &(Member, Access)| {
                    self.forbidden_entry(member, *access, group, table)
                };
                initial_members.iter().map(rule).collect()
            }
            _ => Vec::new(),
        };
        Ok(Some(Judged { class, dropped }))
    }

    /// True if a hardening rule took something away in a past, resolved by itself
    /// (`docs/protocol/groups.md#9`). None if finding out touches too much.
    ///
    /// Looked up only for operations that fail a check, so that it costs no others.
    fn poisoned(&self, past: &Past, budget: &Budget) -> Option<bool> {
        let covers = |op: &OpIndex| self.graph.covers(&past.clock, *op);
        if past.deps.iter().any(|dep| self.graph.node(*dep).tainted) {
            return Some(true);
        }
        for group in &self.contested {
            let creates = self.registry.group(*group).creates.iter();
            if creates.copied().filter(covers).nth(1).is_some() {
                return Some(true);
            }
        }
        for realm in self.realms.iter().filter(|realm| realm.directs) {
            if realm.ops.first().is_some_and(covers)
                && self.alone(realm.group, past, budget)?.hardened
            {
                return Some(true);
            }
        }
        Some(false)
    }

    fn verdict(
        &self,
        operation: &Operation,
        lookup: Lookup<'_>,
    ) -> Result<Option<NoEffect>, Reason> {
        let arguments = &operation.arguments;
        if let Action::Add {
            member: Member::Group(child),
            ..
        } = &arguments.action
            && self.nests(lookup, child, &arguments.group)
        {
            return Err(Reason::GroupCycle);
        }
        let (Some(verb), Some(member)) = (verb(&arguments.action), arguments.action.member())
        else {
            return Ok(None);
        };
        let group = self.registry.find_group(&arguments.group);
        let table = group.and_then(|index| Some((self.registry.group(index), lookup(index)?)));
        let (group, table) = table.ok_or(Reason::UnknownGroup)?;
        let entry = |member: &Member| {
            let slot = group.slot(self.registry.find_member(member)?)?;
            table.get(slot).copied()
        };
        let author = Member::Individual(operation.author);
        let parties = Parties {
            actor: entry(&author),
            target: entry(&member),
            own: member == author,
        };
        verb.check(parties)?;
        if self.rules == Rules::Reference {
            return Ok(None);
        }
        Ok(match verb.check_hardened(parties) {
            Ok(_) => None,
            Err(NoEffect::Hardened(rule)) => Some(NoEffect::Hardened(rule)),
            Err(NoEffect::Reason(_)) => Some(NoEffect::Hardened(Rule::Standing)),
        })
    }

    /// The rule that takes an entry of a create away.
    fn forbidden_entry(
        &self,
        member: &Member,
        access: Access,
        group: &GroupId,
        table: Lookup<'_>,
    ) -> Option<Rule> {
        match member {
            Member::Group(_) if access == Access::Manage => Some(Rule::ManagerGroup),
            Member::Group(child) if self.nests(table, child, group) => Some(Rule::NestingCycle),
            _ => None,
        }
    }

    /// The limits that depend on the past (`docs/protocol/groups.md#12`).
    fn check_size(&self, operation: &Operation, lookup: Lookup<'_>) -> Result<(), ProcessError> {
        let arguments = &operation.arguments;
        let group = self.registry.find_group(&arguments.group);
        if let (Action::Add { member, .. }, Some(index)) = (&arguments.action, group) {
            let known = self.registry.group(index);
            // Everybody ever named is more than those in any one past.
            if known.members.len() >= GROUP_MEMBERS_MAX {
                let slot = self
                    .registry
                    .find_member(member)
                    .and_then(|member| known.slot(member));
                let table = lookup(index);
                let entry = table.as_ref().zip(slot);
                let is_new = entry.and_then(|(table, slot)| table.get(slot)).is_none();
                if is_new && table.is_some_and(|table| table.iter().count() >= GROUP_MEMBERS_MAX) {
                    return Err(Limit::Members.into());
                }
            }
        }
        let nested: Vec<&GroupId> = match &arguments.action {
            Action::Add {
                member: Member::Group(child),
                ..
            } => vec![child],
            Action::Create { initial_members } => {
                let groups = initial_members
                    .iter()
                    .filter_map(|(member, _)| match member {
                        Member::Group(child) => Some(child),
                        Member::Individual(_) => None,
                    });
                groups.collect()
            }
            _ => Vec::new(),
        };
        if nested.is_empty() || self.registry.nesting_groups() < GROUP_NESTING_MAX {
            return Ok(());
        }
        let above = self.levels_above(lookup, &arguments.group, &operation.author);
        let below = nested
            .into_iter()
            .map(|child| self.levels_below(lookup, child))
            .max();
        if above + 1 + below.unwrap_or(0) > GROUP_NESTING_MAX {
            return Err(Limit::Nesting.into());
        }
        Ok(())
    }

    /// Gives names their numbers, and applies the operation as its author saw it.
    pub(crate) fn build(
        &mut self,
        operation: &Operation,
        judged: Judged,
        past: &Past,
        realm: Option<RealmIndex>,
        sight: Sight,
    ) -> Node {
        let arguments = &operation.arguments;
        let group = self.registry.add_group(&arguments.group);
        let author = self.registry.add_key(&operation.author);
        let own = MemberIndex::Individual(author);
        let author_slot = self.registry.add_slot(group, own);
        let content = self.content(operation, group, judged.dropped, past);
        let hardened = self.rules == Rules::Hardened;
        let mut class = judged.class;
        let mut realm = realm.filter(|_| class.is_none());
        if let (true, Content::Create { candidate, .. }) = (hardened, &content) {
            // Others may rely on it, or it never has an effect.
            class = (!candidate).then_some(NoEffect::Hardened(Rule::OneCreate));
            realm = None;
        }
        let joins = realm.is_some();
        let mut node = Node {
            id: operation.id,
            author,
            author_slot,
            group,
            content,
            deps: past.deps.clone(),
            named: self.named(operation),
            open: 0,
            place: self.graph.place(past),
            class,
            realm,
            inner: if joins { sight.inner } else { Few::default() },
            tainted: false,
            view: None,
            fate: Fate::new(Effect::Applied, None),
            reported: 0,
            dirty: false,
        };
        let start = sight.start.filter(|_| joins);
        let (table, effect) = self.step(&node, start, Ruling::default());
        node.fate.effect = effect;
        let takes_away = node.fate.is_hardened();
        if class.is_none() {
            let hardened = takes_away || joins && sight.seen.hardened;
            node.view = Some(Seen { table, hardened });
        }
        node
    }

    /// Returns how it named its dependencies, where they cannot tell.
    fn named(&self, operation: &Operation) -> Option<Box<Named>> {
        let ids = &operation.arguments.dependencies;
        if !ids.iter().any(|id| self.graph.is_message(id)) {
            return None;
        }
        let messages: BTreeSet<Hash> = ids.iter().copied().collect();
        let (direct, messages): (BTreeSet<_>, BTreeSet<_>) = messages
            .into_iter()
            .partition(|id| self.graph.find(id).is_some());
        let direct = direct.iter().filter_map(|id| self.graph.find(id));
        Some(Box::new(Named {
            direct: direct.collect(),
            messages: messages.into_iter().collect(),
        }))
    }

    fn content(
        &mut self,
        operation: &Operation,
        group: GroupIndex,
        dropped: Vec<Option<Rule>>,
        past: &Past,
    ) -> Content {
        let arguments = &operation.arguments;
        if let (Some(verb), Some(member)) = (verb(&arguments.action), arguments.action.member()) {
            let (slot, target) = self.registry.add_member(group, &member);
            return Content::Change { verb, slot, target };
        }
        let Action::Create { initial_members } = &arguments.action else {
            unreachable!("all other actions are about a member");
        };
        let mut dropped = dropped.into_iter();
        let mut initial: Vec<Initial> = Vec::new();
        for (member, access) in initial_members {
            let (slot, _) = self.registry.add_member(group, member);
            let dropped = dropped.next().flatten();
            initial.push(Initial {
                slot,
                access: *access,
                dropped,
            });
        }
        let bound = operation.is_bound_create();
        let covered = |create: &OpIndex| self.graph.covers(&past.clock, *create);
        let creates = self.registry.group(group).creates.iter().copied();
        let seen: Vec<OpIndex> = creates.filter(covered).collect();
        let is_bound = |create: &OpIndex| {
            matches!(
                self.graph.node(*create).content,
                Content::Create { bound: true, .. }
            )
        };
        Content::Create {
            initial: initial.into(),
            nonce: arguments.nonce.map(Box::new),
            bound,
            candidate: seen.is_empty() || bound && !seen.iter().any(is_bound),
        }
    }
}

fn verb(action: &Action) -> Option<Verb> {
    Some(match action {
        Action::Create { .. } => return None,
        Action::Add { access, .. } => Verb::Add(*access),
        Action::Remove { .. } => Verb::Remove,
        Action::Promote { access, .. } => Verb::Promote(*access),
        Action::Demote { access, .. } => Verb::Demote(*access),
    })
}

impl Node {
    /// The operation as it came, except that repeated dependencies are gone.
    pub(crate) fn operation(&self, groups: &Groups) -> Operation {
        let group = groups.registry.group(self.group);
        let member = |slot: u32| {
            let member = group.members.get(slot as usize).copied();
            let member = member.unwrap_or(MemberIndex::Individual(self.author));
            groups.registry.member(member)
        };
        let (action, nonce) = match &self.content {
            Content::Create { initial, nonce, .. } => {
                let entries = initial
                    .iter()
                    .map(|entry| (member(entry.slot), entry.access));
                let action = Action::Create {
                    initial_members: entries.collect(),
                };
                (action, nonce.as_ref().map(|nonce| **nonce))
            }
            Content::Change { verb, slot, .. } => {
                let member = member(*slot);
                let action = match *verb {
                    Verb::Add(access) => Action::Add { member, access },
                    Verb::Remove => Action::Remove { member },
                    Verb::Promote(access) => Action::Promote { member, access },
                    Verb::Demote(access) => Action::Demote { member, access },
                };
                (action, None)
            }
        };
        let (direct, messages): (&[OpIndex], &[Hash]) = match &self.named {
            Some(named) => (&named.direct, &named.messages),
            None => (&self.deps, &[]),
        };
        let direct = direct.iter().map(|dep| groups.graph.node(*dep).id);
        let dependencies = direct.chain(messages.iter().copied());
        Operation {
            id: self.id,
            author: groups.registry.key(self.author),
            arguments: crate::Arguments {
                group: groups.registry.group_id(self.group),
                dependencies: dependencies.collect(),
                action,
                nonce,
            },
        }
    }
}
