//! Whether an operation may enter the graph, judged in its own past
//! (`docs/protocol/groups.md#7`).

use p2panda_core::limits::{GROUP_DEPENDENCIES_MAX, GROUP_MEMBERS_MAX, GROUP_NESTING_MAX};

use crate::check::{Parties, Verb};
use crate::graph::{Content, Effect, Fate, Initial, Node, Past};
use crate::groups::Groups;
use crate::registry::{MemberIndex, OpIndex};
use crate::resolve::{Ruling, Seen};
use crate::table::Tables;
use crate::{
    Access, Action, GroupId, Limit, Member, NoEffect, Operation, ProcessError, Reason, Rule, Rules,
};

/// What the past says about an operation.
pub(crate) struct Judged {
    class: Option<NoEffect>,
    /// For each entry of a create the rule that takes it away.
    dropped: Vec<Option<Rule>>,
}

impl Groups {
    /// The checks that need no state, and the past of the operation.
    pub(crate) fn check_structure(&self, operation: &Operation) -> Result<Past, ProcessError> {
        self.check_alone(operation)?;
        let mut deps: Vec<OpIndex> = Vec::new();
        for id in &operation.arguments.dependencies {
            let missing = ProcessError::MissingDependency(*id);
            deps.push(self.graph.find(id).ok_or(missing)?);
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
        deps.sort_unstable();
        deps.dedup();
        Ok(self.graph.past(deps.into()))
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

    pub(crate) fn judge(&self, operation: &Operation, seen: &Seen) -> Result<Judged, ProcessError> {
        let hardened = self.rules == Rules::Hardened;
        if hardened {
            self.check_size(operation, &seen.current)?;
        }
        let class = match self.verdict(operation, &seen.current) {
            Ok(class) => class,
            Err(reason) if hardened && seen.poisoned => Some(NoEffect::Reason(reason)),
            Err(reason) => return Err(ProcessError::Rejected(reason)),
        };
        let dropped = match &operation.arguments.action {
            Action::Create { initial_members } if hardened => {
                let group = &operation.arguments.group;
                let rule = |(member, access): &(Member, Access)| {
                    self.forbidden_entry(member, *access, group, &seen.current)
                };
                initial_members.iter().map(rule).collect()
            }
            _ => Vec::new(),
        };
        Ok(Judged { class, dropped })
    }

    fn verdict(&self, operation: &Operation, current: &Tables) -> Result<Option<NoEffect>, Reason> {
        let arguments = &operation.arguments;
        if let Action::Add {
            member: Member::Group(child),
            ..
        } = &arguments.action
            && self.nests(current, child, &arguments.group)
        {
            return Err(Reason::GroupCycle);
        }
        let (Some(verb), Some(member)) = (verb(&arguments.action), arguments.action.member())
        else {
            return Ok(None);
        };
        let group = self.registry.find_group(&arguments.group);
        let table = group.and_then(|index| Some((self.registry.group(index), current.get(index)?)));
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
        current: &Tables,
    ) -> Option<Rule> {
        match member {
            Member::Group(_) if access == Access::Manage => Some(Rule::ManagerGroup),
            Member::Group(child) if self.nests(current, child, group) => Some(Rule::NestingCycle),
            _ => None,
        }
    }

    /// The limits that depend on the past (`docs/protocol/groups.md#12`).
    fn check_size(&self, operation: &Operation, current: &Tables) -> Result<(), ProcessError> {
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
                let table = current.get(index);
                let entry = table.zip(slot).and_then(|(table, slot)| table.get(slot));
                let is_new = entry.is_none();
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
        let above = self.levels_above(current, &arguments.group);
        let below = nested
            .into_iter()
            .map(|child| self.levels_below(current, child))
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
        seen: Seen,
    ) -> Node {
        let arguments = &operation.arguments;
        let group = self.registry.add_group(&arguments.group);
        let author_slot = self
            .registry
            .add_member(group, &Member::Individual(operation.author));
        let content = self.content(operation, judged.dropped, past);
        let mut node = Node {
            id: operation.id,
            author: self.registry.add_key(&operation.author),
            author_slot,
            group,
            content,
            deps: past.deps.clone(),
            place: self.graph.place(past),
            class: judged.class,
            poisoned: false,
            view: Tables::default(),
            fate: Fate {
                lacking: false,
                filtered: None,
                mutual: false,
                effect: Effect::Applied,
                state: Tables::default(),
            },
            reported: 0,
        };
        let lacking = self.rules == Rules::Hardened
            && matches!(
                node.content,
                Content::Create {
                    candidate: false,
                    ..
                }
            );
        let ruling = Ruling {
            lacking,
            ..Ruling::default()
        };
        let (view, effect) = self.step(&node, seen.start, ruling);
        node.poisoned = seen.poisoned || node.is_hardened(effect);
        node.view = view;
        node.fate.effect = effect;
        node
    }

    fn content(
        &mut self,
        operation: &Operation,
        dropped: Vec<Option<Rule>>,
        past: &Past,
    ) -> Content {
        let arguments = &operation.arguments;
        let group = self.registry.add_group(&arguments.group);
        if let (Some(verb), Some(member)) = (verb(&arguments.action), arguments.action.member()) {
            let slot = self.registry.add_member(group, &member);
            let target = self.registry.add_key(member.key());
            return Content::Change { verb, slot, target };
        }
        let Action::Create { initial_members } = &arguments.action else {
            unreachable!("all other actions are about a member");
        };
        let mut dropped = dropped.into_iter();
        let mut initial: Vec<Initial> = Vec::new();
        for (member, access) in initial_members {
            let slot = self.registry.add_member(group, member);
            let dropped = dropped.next().flatten();
            initial.push(Initial {
                slot,
                access: *access,
                dropped,
            });
        }
        let bound = operation.is_bound_create();
        let creates = self.registry.group(group).creates.iter().copied();
        let seen: Vec<OpIndex> = creates
            .filter(|create| self.graph.covers(&past.clock, *create))
            .collect();
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
        let dependencies = self.deps.iter().map(|dep| groups.graph.node(*dep).id);
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
