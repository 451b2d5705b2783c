//! Puts an operation into the graph and applies again what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use p2panda_core::Hash;

use crate::check::Verb;
use crate::conflict::{self, Arrow, Fact, Work};
use crate::graph::{Content, Effect, Fate, Node, Past};
use crate::groups::{Admitted, Groups};
use crate::registry::{MemberIndex, OpIndex};
use crate::resolve::{Ruling, join};
use crate::trie::Join;
use crate::{Access, Event, Filter, NoEffect, Rule, Rules};

/// What a new operation will do.
#[derive(Default)]
pub(crate) struct Plan {
    /// It is the create of its group that has effect.
    effective: bool,
    lacking: bool,
    /// Everything from here on is to be resolved again, because another create counts now.
    rebuild_from: Option<OpIndex>,
    own_filtered: Option<(OpIndex, Filter)>,
    /// Earlier operations that it filters.
    filtered: BTreeMap<OpIndex, Filter>,
    /// Operations that are part of a cycle now and were not before, itself included.
    mutual: BTreeSet<OpIndex>,
    /// How many operations have to be looked at.
    pub(crate) touched: usize,
}

impl Plan {
    /// The first earlier operation of which the ruling changes.
    fn first_changed(&self) -> Option<OpIndex> {
        let filtered = self.filtered.keys().next();
        filtered
            .into_iter()
            .chain(self.mutual.first())
            .min()
            .copied()
    }

    fn touches(&self, op: OpIndex) -> bool {
        self.filtered.contains_key(&op) || self.mutual.contains(&op)
    }
}

impl Groups {
    /// What the new operation does to those that are here, before it is one of them. None if
    /// that touches more operations than allowed.
    pub(crate) fn plan(&self, node: &Node, past: &Past, touched_max: usize) -> Option<Plan> {
        let mut work = Work::touching(touched_max);
        let plan = self.plan_within(node, past, &mut work)?;
        (plan.touched <= touched_max).then_some(plan)
    }

    fn plan_within(&self, node: &Node, past: &Past, work: &mut Work) -> Option<Plan> {
        let op = self.graph.len();
        let mut plan = Plan::default();
        let group = self.registry.group(node.group);
        if self.rules == Rules::Hardened && node.is_create() {
            plan.effective = self.beats(node, group.effective);
            plan.lacking = !plan.effective;
            if let (true, Some(first)) = (plan.effective, group.ops.first()) {
                let from = self.graph.component(*first).0.min(past.bubble_start());
                plan.rebuild_from = Some(from);
                // The view of a create that replaces one of its own past is resolved from the
                // start.
                let first = if self.replaces(node, past) { 0 } else { from };
                plan.touched = (op - first) as usize;
                let known = |group| self.registry.group(group).effective;
                self.resolve((first..op).collect(), known, work)?;
                return Some(plan);
            }
        } else if self.rules == Rules::Hardened && group.creates.len() > 1 {
            let sees = |create| self.graph.covers(&past.clock, create);
            plan.lacking = !group.effective.is_some_and(sees);
        }
        self.plan_conflicts(node, past, &mut plan, work)?;
        Some(plan)
    }

    fn plan_conflicts(
        &self,
        node: &Node,
        past: &Past,
        plan: &mut Plan,
        work: &mut Work,
    ) -> Option<()> {
        let op = self.graph.len();
        let bubble = self
            .registry
            .group(node.group)
            .ops_from(past.bubble_start());
        let own = Fact::of(op, node, node.class.is_none() && !plan.lacking);
        let mut arrows: Vec<Arrow> = own.arrow().into_iter().collect();
        let conflicts = !arrows.is_empty();
        let mut best: Option<(Hash, Filter, OpIndex)> = None;
        for other in bubble.iter().copied() {
            let node = self.graph.node(other);
            let fact = Fact::of(other, node, node.class.is_none() && !node.fate.lacking);
            if conflicts {
                arrows.extend(fact.arrow());
            }
            let (taken, given) = (fact.filters(&own), own.filters(&fact));
            if taken.is_none() && given.is_none() || self.graph.covers(&past.clock, other) {
                continue;
            }
            if let Some(rule) = taken {
                let by = (fact.id, rule, other);
                best = Some(best.map_or(by, |best| best.min(by)));
            }
            let known = node.fate.filtered.map(|(by, _)| self.graph.node(by).id);
            if let Some(rule) = given
                && known.is_none_or(|known| own.id < known)
            {
                plan.filtered.insert(other, rule);
            }
        }
        plan.own_filtered = best.map(|(_, rule, by)| (by, rule));
        if let Some(arrow) = own.arrow() {
            let precedes = |a, b| match (a == op, b == op) {
                (true, _) => b == op,
                (_, true) => self.graph.covers(&past.clock, a),
                _ => self.graph.precedes(a, b),
            };
            let mutual = conflict::cycle_through(arrow, &arrows, precedes, work)?;
            let is_new = |other: &OpIndex| *other == op || !self.graph.node(*other).fate.mutual;
            plan.mutual = mutual.into_iter().filter(is_new).collect();
        }
        let first = plan.first_changed().unwrap_or(op);
        plan.touched = bubble.len() + (op - first) as usize;
        Some(())
    }

    /// Whether a create takes the place of the one that has effect.
    fn beats(&self, node: &Node, effective: Option<OpIndex>) -> bool {
        let Some(own) = node.create_rank() else {
            return false;
        };
        let known = effective.and_then(|op| self.graph.node(op).create_rank());
        known.is_none_or(|known| own < known)
    }

    /// Executes the plan. The operation is part of the graph for ever.
    pub(crate) fn insert(&mut self, node: Node, past: &Past, plan: &Plan) -> Admitted {
        let (index, is_create) = (node.group, node.is_create());
        let op = self.graph.push(node, past);
        self.note_knowledge(op);
        let group = self.registry.group_mut(index);
        group.ops.push(op);
        if is_create {
            group.creates.push(op);
            if group.creates.len() == 2 {
                self.contested.push(index);
            }
            if plan.effective {
                group.effective = Some(op);
            }
        }
        let changed = if let Some(from) = plan.rebuild_from {
            self.rebuild(from, op)
        } else if past.len == op {
            self.append(op, plan.lacking);
            Vec::new()
        } else {
            self.merge(plan, op)
        };
        self.look_back(op, past);
        let events = self.events(op, &changed);
        let ids = changed.iter().map(|op| self.graph.node(*op).id).collect();
        Admitted {
            status: self.status_of(op),
            changed: ids,
            events,
        }
    }

    /// Notes who must have seen the operation: its author, and those whom it makes managers.
    fn note_knowledge(&mut self, op: OpIndex) {
        let node = self.graph.node(op);
        let group = self.registry.group(node.group);
        let slots: Vec<u32> = match &node.content {
            Content::Create { initial, .. } => {
                let managers = initial
                    .iter()
                    .filter(|entry| entry.access == Access::Manage);
                managers.map(|entry| entry.slot).collect()
            }
            Content::Change {
                verb: Verb::Add(access) | Verb::Promote(access),
                slot,
                ..
            } if *access == Access::Manage => {
                vec![*slot]
            }
            Content::Change { .. } => Vec::new(),
        };
        let key = |slot: u32| match group.members.get(slot as usize) {
            Some(MemberIndex::Individual(key)) => Some(*key),
            _ => None,
        };
        let managers: Vec<u32> = slots.into_iter().filter_map(key).collect();
        self.registry.note_author(node.author, op);
        for manager in managers {
            self.registry.note_manager(manager, op);
        }
    }

    /// An operation that saw everything: what its author saw is the state, and is shared.
    fn append(&mut self, op: OpIndex, lacking: bool) {
        let node = self.graph.node(op);
        let fate = Fate {
            lacking,
            state: node.view.clone(),
            ..node.fate.clone()
        };
        self.current = OnceLock::from(fate.state.clone());
        self.set_fate(op, fate);
    }

    /// An operation beside others: applies it, and again those that it touches.
    fn merge(&mut self, plan: &Plan, op: OpIndex) -> Vec<OpIndex> {
        let first = plan.first_changed().unwrap_or(op).min(op);
        let mut moved = vec![false; (op - first) as usize + 1];
        let mut changed = Vec::new();
        for at in first..=op {
            let node = self.graph.node(at);
            let has_moved = |dep: &OpIndex| {
                let place = dep.checked_sub(first);
                place.is_some_and(|place| moved.get(place as usize) == Some(&true))
            };
            if at != op && !plan.touches(at) && !node.deps.iter().any(has_moved) {
                continue;
            }
            let fate = self.fate_after(at, op, plan);
            if let Some(place) = moved.get_mut((at - first) as usize) {
                *place = !fate.state.same(&node.fate.state);
            }
            if at != op && fate.outcome() != node.fate.outcome() {
                changed.push(at);
            }
            self.set_fate(at, fate);
        }
        self.refresh_current(op, first == op);
        changed
    }

    fn fate_after(&self, at: OpIndex, op: OpIndex, plan: &Plan) -> Fate {
        let node = self.graph.node(at);
        let mut fate = node.fate.clone();
        if at == op {
            fate.lacking = plan.lacking;
            fate.filtered = plan.own_filtered;
        } else if let Some(rule) = plan.filtered.get(&at) {
            fate.filtered = Some((op, *rule));
        }
        fate.mutual |= plan.mutual.contains(&at);
        let start = join(
            node.deps
                .iter()
                .map(|dep| &self.graph.node(*dep).fate.state),
        );
        let ruling = Ruling {
            lacking: fate.lacking,
            filtered: fate.filtered.is_some(),
            mutual: fate.mutual,
        };
        (fate.state, fate.effect) = self.step(node, start, ruling);
        fate
    }

    /// Another create has effect: resolves again what may depend on it.
    fn rebuild(&mut self, from: OpIndex, op: OpIndex) -> Vec<OpIndex> {
        let known = |group| self.registry.group(group).effective;
        let resolved = self.resolve((from..=op).collect(), known, &mut Work::unlimited());
        let resolved = resolved.expect("unlimited work is always done");
        let mut changed = Vec::new();
        for (at, fate) in resolved.ops.into_iter().zip(resolved.fates) {
            if at != op && fate.outcome() != self.graph.node(at).fate.outcome() {
                changed.push(at);
            }
            self.set_fate(at, fate);
        }
        self.current.take();
        changed
    }

    /// The view of a create that replaces one in its own past is not what was seen before it.
    fn look_back(&mut self, op: OpIndex, past: &Past) {
        let node = self.graph.node(op);
        if !self.replaces(node, past) {
            return;
        }
        let clock = &node.place.clock;
        let covered = |other: &OpIndex| self.graph.covers(clock, *other);
        let effective = |group| self.effective(group, |create| self.graph.covers(clock, create));
        let ops = (0..=op).filter(covered).collect();
        let resolved = self.resolve(ops, effective, &mut Work::unlimited());
        let resolved = resolved.expect("unlimited work is always done");
        let mut fates = resolved.ops.iter().zip(&resolved.fates);
        let poisoned = fates.any(|(op, fate)| self.graph.node(*op).is_hardened(fate.effect));
        let view = resolved.fate(op).map(|fate| fate.state.clone());
        let node = self.graph.node_mut(op);
        node.view = view.unwrap_or_default();
        node.poisoned = poisoned;
    }

    /// True for a create that has effect although there is one in its past.
    fn replaces(&self, node: &Node, past: &Past) -> bool {
        let creates = &self.registry.group(node.group).creates;
        self.rules == Rules::Hardened
            && node.create_rank().is_some()
            && creates
                .iter()
                .any(|create| self.graph.covers(&past.clock, *create))
    }

    fn set_fate(&mut self, op: OpIndex, fate: Fate) {
        let node = self.graph.node_mut(op);
        if node.is_hardened(fate.effect) {
            self.hardened.insert(op);
        } else {
            self.hardened.remove(&op);
        }
        node.fate = fate;
    }

    fn refresh_current(&mut self, op: OpIndex, others_stayed: bool) {
        // States only grow, except where the reference replaces the table of a group.
        let grows = others_stayed && self.rules == Rules::Hardened;
        if let Some(current) = self.current.take()
            && grows
        {
            self.current = OnceLock::from(current.join(&self.graph.node(op).fate.state));
        }
    }

    fn events(&mut self, op: OpIndex, changed: &[OpIndex]) -> Vec<Event> {
        let mut events = Vec::new();
        for at in changed.iter().copied().chain([op]) {
            let node = self.graph.node_mut(at);
            let of_effect = match node.fate.effect {
                Effect::None(NoEffect::Hardened(rule)) => Some(rule),
                _ => None,
            };
            let rules: BTreeSet<Rule> = node.dropped().chain(of_effect).collect();
            for rule in rules {
                let bit = 1 << rule.number();
                if node.reported & bit == 0 {
                    node.reported |= bit;
                    let operation = node.id;
                    events.push(Event::Diverges { operation, rule });
                }
            }
        }
        let node = self.graph.node(op);
        let removed = matches!(
            node.fate.outcome(),
            (Effect::Forced, _) | (Effect::Filtered, Some((_, Filter::Author)))
        );
        if removed && !changed.is_empty() {
            let (operation, overturned) = (node.id, changed.len());
            events.push(Event::Overturns {
                operation,
                overturned,
            });
        }
        events
    }
}

impl Node {
    /// The smaller the better; none if it is no create or can never have effect.
    pub(crate) fn create_rank(&self) -> Option<(bool, Hash)> {
        match self.content {
            Content::Create {
                bound,
                candidate: true,
                ..
            } => Some((!bound, self.id)),
            _ => None,
        }
    }
}
