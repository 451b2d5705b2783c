//! Puts an operation into the graph and applies again what it touches.

use p2panda_core::ordered::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use p2panda_core::Hash;

use crate::change::Turn;
use crate::check::Verb;
use crate::conflict::{self, Arrow, Fact, Work};
use crate::graph::{Content, Effect, Fate, Node, Past};
use crate::groups::{Admitted, Groups};
use crate::realm::Realm;
use crate::registry::{GroupIndex, MemberIndex, OpIndex, RealmIndex};
use crate::resolve::{Budget, Ruling, join, merged};
use crate::table::Table;
use crate::{Access, Event, Filter, NoEffect, Rule, Rules};

/// Planned effects of a new operation.
#[derive(Default)]
pub(crate) struct Plan {
    /// It begins a realm, and that is the one of its group that has its effect.
    effective: bool,
    /// The first place of the component that it joins.
    open: usize,
    own_filtered: Option<(OpIndex, Filter)>,
    /// Earlier operations that it filters.
    filtered: BTreeMap<OpIndex, Filter>,
    /// Operations that are part of a cycle now and were not before, itself included.
    mutual: BTreeSet<OpIndex>,
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
    /// Plans the effects of the new operation on those that are here, before it is one of them.
    /// `None` if that touches more operations than allowed.
    pub(crate) fn plan(&self, node: &Node, past: &Past, budget: &Budget) -> Option<Plan> {
        let mut plan = Plan::default();
        if let Some(realm) = node.realm {
            self.plan_conflicts(self.realm(realm), node, past, &mut plan, budget)?;
        } else if node.begins_realm() {
            let effective = self.registry.group(node.group).effective;
            plan.effective = self.beats(node, effective);
            let replaced = effective.filter(|_| plan.effective);
            budget.touch(replaced.map_or(0, |realm| self.realm(realm).ops.len()))?;
        }
        Some(plan)
    }

    fn plan_conflicts(
        &self,
        realm: &Realm,
        node: &Node,
        past: &Past,
        plan: &mut Plan,
        budget: &Budget,
    ) -> Option<()> {
        let op = self.graph.len();
        plan.open = self.reach(realm, &past.clock).open();
        let bubble = realm.from(plan.open);
        let mut work = Work::touching(budget.left());
        budget.touch(bubble.len())?;
        let own = Fact::of(op, node);
        let mut arrows: Vec<Arrow> = own.arrow().into_iter().collect();
        let conflicts = !arrows.is_empty();
        let mut best: Option<(Hash, Filter, OpIndex)> = None;
        for other in bubble.iter().copied() {
            let node = self.graph.node(other);
            let fact = Fact::of(other, node);
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
            let mutual = conflict::cycle_through(arrow, &arrows, precedes, &mut work)?;
            let is_new = |other: &OpIndex| *other == op || !self.graph.node(*other).fate.mutual;
            plan.mutual = mutual.into_iter().filter(is_new).collect();
        }
        let first = plan.first_changed().unwrap_or(op);
        budget.touch(realm.ops.len() - realm.place(first))
    }

    /// Returns `true` if a create replaces the one that has effect.
    fn beats(&self, node: &Node, effective: Option<RealmIndex>) -> bool {
        let rank = |realm| {
            let create = self.realm(realm).create?;
            self.graph.node(create).create_rank()
        };
        match effective {
            Some(effective) => node.create_rank() < rank(effective),
            None => true,
        }
    }

    /// Executes the plan. The operation is part of the graph permanently.
    pub(crate) fn insert(&mut self, mut node: Node, plan: &Plan) -> Admitted {
        let group = node.group;
        let before = self.current(group);
        let effective = self.registry.group(group).effective;
        let inner = node.inner.len();
        let sees_all = node.realm.map(|realm| {
            let known = self.realm(realm);
            inner == known.heads.len() && plan.open == known.ops.len()
        });
        node.open = plan.open as u32;
        let op = self.link(node);
        self.remember(op);
        let changed = match (self.graph.node(op).realm, sees_all) {
            (None, _) => Vec::new(),
            (Some(realm), Some(false)) => self.merge(realm, plan, op),
            (Some(realm), _) => {
                self.append(realm, op);
                self.replaced(group, effective)
            }
        };
        let counts = self
            .graph
            .node(op)
            .realm
            .is_some_and(|realm| self.counts(realm));
        let changed = match counts {
            true => changed,
            false => Vec::new(),
        };
        self.admitted(op, changed, before)
    }

    fn admitted(&mut self, op: OpIndex, changed: Vec<OpIndex>, before: Option<Table>) -> Admitted {
        let group = self.graph.node(op).group;
        let mut events = self.events(op, &changed);
        let ids = changed.iter().map(|op| self.graph.node(*op).id).collect();
        let turn = Turn {
            group,
            before,
            after: self.current(group),
        };
        let slots = self.changed_slots(op, !changed.is_empty(), &turn);
        events.extend(self.frozen(op, &slots, &turn));
        Admitted {
            status: self.status_of(op),
            changed: ids,
            events,
            members_changed: self.members_changed(&slots, &turn),
        }
    }

    /// Puts an operation into the graph and its realm, no matter what its fate; one of which the
    /// place and the dependencies are known.
    pub(crate) fn link(&mut self, mut node: Node) -> OpIndex {
        let (index, is_create) = (node.group, node.is_create());
        let clock = &node.place.clock;
        let mut creates = self.registry.group(index).creates.iter();
        let recreates = is_create && creates.any(|create| self.graph.covers(clock, *create));
        let hardened = self.rules == Rules::Hardened;
        node.tainted = hardened
            && (matches!(node.class, Some(NoEffect::Hardened(_)))
                || node.dropped().next().is_some()
                || recreates
                || node.deps.iter().any(|dep| self.graph.node(*dep).tainted));
        let known = self.registry.group(index);
        let joined = match (hardened, is_create) {
            (true, true) => None,
            (true, false) => node.inner.first().and_then(|op| self.graph.node(*op).realm),
            (false, _) => known.realms.first().copied(),
        };
        let begins = joined.is_none() && is_create;
        let beats = begins && self.beats(&node, known.effective);
        let next = self.realms.len() as RealmIndex;
        let realm = joined.or(begins.then_some(next));
        node.realm = realm.filter(|_| node.class.is_none());
        let (realm, open, directs) = (node.realm, node.open as usize, node.directs());
        let inner = core::mem::take(&mut node.inner);
        let takes_away = node.fate.is_hardened();
        let op = self.graph.push(node);
        let group = self.registry.group_mut(index);
        group.recreated |= recreates;
        group.ops.push(op);
        if is_create {
            group.creates.push(op);
            if group.creates.len() == 2 {
                self.contested.push(index);
            }
        }
        let Some(realm) = realm else {
            self.graph.node_mut(op).inner = inner;
            return op;
        };
        if realm == next {
            group.realms.push(realm);
            if beats {
                group.effective = Some(realm);
            }
            self.realms.push(Realm::new(index, hardened.then_some(op)));
        }
        let known = self.realm_mut(realm);
        known.push(op, open, &inner);
        known.directs |= directs;
        if takes_away {
            known.hardened.insert(op);
        }
        self.graph.node_mut(op).inner = inner;
        self.note_knowledge(realm, op);
        op
    }

    /// Returns the operations without effect now, because another create of the group counts.
    fn replaced(&self, group: GroupIndex, effective: Option<RealmIndex>) -> Vec<OpIndex> {
        let Some(before) = effective.filter(|before| !self.counts(*before)) else {
            return Vec::new();
        };
        debug_assert_eq!(self.realm(before).group, group);
        let counted = |op: &OpIndex| self.graph.node(*op).fate.effect != LACKING;
        let ops = self.realm(before).ops.iter().copied();
        ops.filter(counted).collect()
    }

    /// Returns `true` if a realm is the one of its group that has its effect.
    pub(crate) fn counts(&self, realm: RealmIndex) -> bool {
        self.registry.group(self.realm(realm).group).effective == Some(realm)
    }

    /// Notes who must have seen the operation: its author, and those whom it makes managers.
    fn note_knowledge(&mut self, realm: RealmIndex, op: OpIndex) {
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
        let author = node.author;
        let realm = self.realm_mut(realm);
        realm.note_author(author, op);
        for manager in managers {
            realm.note_manager(manager, op);
        }
    }

    /// An operation that saw all of its realm: what its author saw is the state, and is shared.
    fn append(&mut self, realm: RealmIndex, op: OpIndex) {
        let node = self.graph.node(op);
        let table = node.view.as_ref().and_then(|seen| seen.table.clone());
        let fate = Fate::new(node.fate.effect, table.clone());
        self.set_fate(realm, op, fate);
        self.realm_mut(realm).current = OnceLock::from(table);
    }

    /// An operation next to others: applies it, and again those that it touches.
    fn merge(&mut self, realm: RealmIndex, plan: &Plan, op: OpIndex) -> Vec<OpIndex> {
        let known = self.realm(realm);
        let first = known.place(plan.first_changed().unwrap_or(op));
        let ops = known.from(first).to_vec();
        let mut moved = vec![false; ops.len()];
        let mut changed = Vec::new();
        for (place, at) in ops.iter().copied().enumerate() {
            let node = self.graph.node(at);
            let has_moved = |before: &OpIndex| {
                // Mostly it is the one just before.
                let previous = place.checked_sub(1);
                let previous = previous.filter(|at| ops.get(*at) == Some(before));
                let place = previous.or_else(|| ops.binary_search(before).ok());
                place.is_some_and(|place| moved.get(place) == Some(&true))
            };
            if at != op && !plan.touches(at) && !node.inner.iter().any(has_moved) {
                continue;
            }
            let (fate, table) = self.fate_after(at, op, plan);
            let stayed = node
                .fate
                .table
                .get()
                .is_some_and(|known| same(known, &table));
            if let Some(place) = moved.get_mut(place) {
                *place = !stayed;
            }
            if at != op && fate.outcome() != node.fate.outcome() {
                changed.push(at);
            }
            self.set_fate(
                realm,
                at,
                Fate {
                    table: OnceLock::from(table),
                    ..fate
                },
            );
        }
        self.refresh_current(realm, op, ops.len() == 1);
        changed
    }

    fn fate_after(&self, at: OpIndex, op: OpIndex, plan: &Plan) -> (Fate, Option<Table>) {
        let node = self.graph.node(at);
        let mut fate = Fate {
            filtered: node.fate.filtered,
            mutual: node.fate.mutual || plan.mutual.contains(&at),
            effect: node.fate.effect,
            table: OnceLock::new(),
        };
        if at == op {
            fate.filtered = plan.own_filtered;
        } else if let Some(rule) = plan.filtered.get(&at) {
            fate.filtered = Some((op, *rule));
        }
        let start = join(node.inner.iter().map(|op| self.table(*op)));
        let ruling: Ruling = fate.ruling();
        let (table, effect) = self.step(node, start, ruling);
        fate.effect = effect;
        (fate, table)
    }

    fn set_fate(&mut self, realm: RealmIndex, op: OpIndex, fate: Fate) {
        let hardened = &mut self.realm_mut(realm).hardened;
        if fate.is_hardened() {
            hardened.insert(op);
        } else if !hardened.is_empty() {
            hardened.remove(&op);
        }
        self.remember(op);
        self.graph.node_mut(op).fate = fate;
    }

    fn refresh_current(&mut self, realm: RealmIndex, op: OpIndex, others_stayed: bool) {
        // Tables only grow, except where the reference replaces one.
        let grows = others_stayed && self.rules == Rules::Hardened;
        let current = self.realm_mut(realm).current.take();
        if let Some(current) = current
            && grows
        {
            let table = merged(current, self.table(op).clone());
            self.realm_mut(realm).current = OnceLock::from(table);
        }
    }

    fn events(&mut self, op: OpIndex, changed: &[OpIndex]) -> Vec<Event> {
        let mut events = Vec::new();
        for at in changed.iter().copied().chain([op]) {
            let of_effect = match self.effect_of(at) {
                Effect::None(NoEffect::Hardened(rule)) => Some(rule),
                _ => None,
            };
            let node = self.graph.node(at);
            let rules: BTreeSet<Rule> = node.dropped().chain(of_effect).collect();
            for rule in rules {
                let bit = 1 << rule.number();
                if self.graph.node(at).reported & bit == 0 {
                    self.remember(at);
                    let node = self.graph.node_mut(at);
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

/// The effect of what relies on a create that does not count.
pub(crate) const LACKING: Effect = Effect::None(NoEffect::Hardened(Rule::OneCreate));

fn same(a: &Option<Table>, b: &Option<Table>) -> bool {
    use crate::trie::Join;
    match (a, b) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a.is_none() && b.is_none(),
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

    /// A create on which others may rely, before it is inserted.
    fn begins_realm(&self) -> bool {
        self.realm.is_none() && self.class.is_none() && self.is_create()
    }

    fn directs(&self) -> bool {
        matches!(
            self.content,
            Content::Change {
                verb: Verb::Promote(_) | Verb::Demote(_),
                ..
            }
        )
    }
}
