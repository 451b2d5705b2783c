//! From a set of operations to the state after each (`docs/protocol/groups.md#8`).

use std::collections::BTreeMap;

use crate::check::Parties;
use crate::conflict::{self, Arrow, Fact, Work};
use crate::graph::{Content, Effect, Fate, Initial, Node, Past};
use crate::groups::Groups;
use crate::registry::{GroupIndex, MemberIndex, OpIndex};
use crate::table::{Entry, Table, Tables};
use crate::trie::Join;
use crate::{NoEffect, Reason, Rule, Rules};

/// What the author of an operation that is to be added could know.
pub(crate) struct Seen {
    /// The state at the heads of its past, on which it is judged.
    pub(crate) current: Tables,
    /// The state at its dependencies, to which it is applied.
    pub(crate) start: Tables,
    /// A hardening rule took something away in its past.
    pub(crate) poisoned: bool,
}

/// Some operations resolved as if only they and everything before them were known.
pub(crate) struct Resolved {
    pub(crate) ops: Vec<OpIndex>,
    pub(crate) fates: Vec<Fate>,
}

impl Resolved {
    pub(crate) fn fate(&self, op: OpIndex) -> Option<&Fate> {
        let at = self.ops.binary_search(&op).ok()?;
        self.fates.get(at)
    }
}

/// What concurrent operations do to one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ruling {
    pub(crate) lacking: bool,
    pub(crate) filtered: bool,
    pub(crate) mutual: bool,
}

impl Groups {
    /// Resolves a past. None if that touches more operations than allowed.
    ///
    /// A single dependency has its view stored, and everything before the last component that
    /// the past reaches into is final, so only that component is resolved.
    pub(crate) fn seen(&self, past: &Past, touched_max: usize) -> Option<Seen> {
        if let [dep] = *past.deps {
            let node = self.graph.node(dep);
            let current = node.view.clone();
            return Some(Seen {
                start: current.clone(),
                current,
                poisoned: node.poisoned,
            });
        }
        let from = self.unsettled_from(past);
        if from == past.end {
            return Some(self.seen_completely(past));
        }
        let covered = |op: &OpIndex| self.graph.covers(&past.clock, *op);
        let ops: Vec<OpIndex> = (from..past.end).filter(covered).collect();
        if ops.len() > touched_max {
            return None;
        }
        let effective = |group| self.effective(group, |op| self.graph.covers(&past.clock, op));
        let mut work = Work::touching(touched_max);
        let resolved = self.resolve(ops, effective, &mut work)?;
        let state = |op: &OpIndex| match resolved.fate(*op) {
            Some(fate) => &fate.state,
            None => &self.graph.node(*op).fate.state,
        };
        let maximal = self.graph.maximal(&past.deps);
        let hardened =
            |(op, fate): (&OpIndex, &Fate)| self.graph.node(*op).is_hardened(fate.effect);
        let poisoned =
            self.hardened_before(from) || resolved.ops.iter().zip(&resolved.fates).any(hardened);
        Some(Seen {
            current: join(maximal.iter().map(state)),
            start: join(past.deps.iter().map(state)),
            poisoned,
        })
    }

    fn seen_completely(&self, past: &Past) -> Seen {
        let state = |op: &OpIndex| &self.graph.node(*op).fate.state;
        let current = if past.len == self.graph.len() {
            self.current().clone()
        } else {
            join(self.graph.maximal(&past.deps).iter().map(state))
        };
        Seen {
            current,
            start: join(past.deps.iter().map(state)),
            poisoned: self.hardened_before(past.end),
        }
    }

    /// The first operation whose state is not the same with the past alone as with everything.
    fn unsettled_from(&self, past: &Past) -> OpIndex {
        let mut from = past.bubble_start();
        if past.len == self.graph.len() {
            return from;
        }
        // A create that the past does not know may decide about operations long before it.
        for group in self.contested.iter().copied() {
            let known = self.registry.group(group);
            let first = known.ops.first().copied().unwrap_or(from);
            if first < from {
                let covers = |op| self.graph.covers(&past.clock, op);
                if self.effective(group, covers) != known.effective {
                    from = self.graph.component(first).0.min(from);
                }
            }
        }
        from
    }

    /// The create of a group that has effect among those that are seen (hardened rules).
    pub(crate) fn effective(
        &self,
        group: GroupIndex,
        sees: impl Fn(OpIndex) -> bool,
    ) -> Option<OpIndex> {
        let creates = self.registry.group(group).creates.iter().copied();
        creates
            .filter(|op| self.graph.node(*op).create_rank().is_some() && sees(*op))
            .min_by_key(|op| self.graph.node(*op).create_rank())
    }

    /// Resolves operations, given in order, on top of everything before the first.
    ///
    /// None if that takes more work than there is.
    ///
    /// Components need not be told apart: operations of different ones are not concurrent, and
    /// no cycle of mutual removals spans two, because between two all edges lead forward.
    pub(crate) fn resolve(
        &self,
        ops: Vec<OpIndex>,
        effective: impl Fn(GroupIndex) -> Option<OpIndex>,
        work: &mut Work,
    ) -> Option<Resolved> {
        let lacking = self.lacking(&ops, effective);
        let fact = |(op, lacking): (&OpIndex, &bool)| {
            let node = self.graph.node(*op);
            Fact::of(*op, node, node.class.is_none() && !lacking)
        };
        let facts: Vec<Fact> = ops.iter().zip(&lacking).map(fact).collect();
        let filtered = conflict::filtered(&facts, |a, b| self.graph.precedes(a, b), work)?;
        let mutual = self.mutual(&facts, work)?;
        let mut resolved = Resolved {
            ops: Vec::new(),
            fates: Vec::new(),
        };
        for ((op, lacking), filtered) in ops.into_iter().zip(lacking).zip(filtered) {
            let node = self.graph.node(op);
            let state = |dep: &OpIndex| match resolved.fate(*dep) {
                Some(fate) => &fate.state,
                None => &self.graph.node(*dep).fate.state,
            };
            let start = join(node.deps.iter().map(state));
            let mutual = mutual.binary_search(&op).is_ok();
            let ruling = Ruling {
                lacking,
                filtered: filtered.is_some(),
                mutual,
            };
            let (state, effect) = self.step(node, start, ruling);
            resolved.ops.push(op);
            resolved.fates.push(Fate {
                lacking,
                filtered,
                mutual,
                effect,
                state,
            });
        }
        Some(resolved)
    }

    fn lacking(
        &self,
        ops: &[OpIndex],
        effective: impl Fn(GroupIndex) -> Option<OpIndex>,
    ) -> Vec<bool> {
        let mut known: BTreeMap<GroupIndex, Option<OpIndex>> = BTreeMap::new();
        let lacks = |op: &OpIndex| {
            let node = self.graph.node(*op);
            if self.rules == Rules::Reference || self.registry.group(node.group).creates.len() < 2 {
                return false;
            }
            let effective = *known
                .entry(node.group)
                .or_insert_with(|| effective(node.group));
            !effective.is_some_and(|create| match node.is_create() {
                true => create == *op,
                false => self.graph.precedes(create, *op),
            })
        };
        ops.iter().map(lacks).collect()
    }

    fn mutual(&self, facts: &[Fact], work: &mut Work) -> Option<Vec<OpIndex>> {
        let mut arrows: BTreeMap<GroupIndex, Vec<Arrow>> = BTreeMap::new();
        for fact in facts {
            if let Some(arrow) = fact.arrow() {
                arrows.entry(fact.group).or_default().push(arrow);
            }
        }
        let mut found = Vec::new();
        for arrows in arrows.values() {
            found.extend(conflict::mutual(
                arrows,
                |a, b| self.graph.precedes(a, b),
                work,
            )?);
        }
        found.sort_unstable();
        Some(found)
    }

    /// Applies one operation to the state before it.
    pub(crate) fn step(&self, node: &Node, start: Tables, ruling: Ruling) -> (Tables, Effect) {
        if let Some(class) = node.class {
            return (start, Effect::None(class));
        }
        if ruling.lacking {
            return (start, Effect::None(NoEffect::Hardened(Rule::OneCreate)));
        }
        if ruling.mutual {
            return (self.force_remove(node, start), Effect::Forced);
        }
        if ruling.filtered {
            return (start, Effect::Filtered);
        }
        match &node.content {
            Content::Create { initial, .. } => {
                (created(node.group, start, initial), Effect::Applied)
            }
            Content::Change { .. } => self.change(node, start),
        }
    }

    fn change(&self, node: &Node, mut start: Tables) -> (Tables, Effect) {
        let Content::Change { verb, slot, .. } = node.content else {
            return (start, Effect::Applied);
        };
        let Some(table) = start.get(node.group) else {
            return (start, Effect::None(NoEffect::Reason(Reason::UnknownGroup)));
        };
        let parties = Parties {
            actor: table.get(node.author_slot).copied(),
            target: table.get(slot).copied(),
            own: slot == node.author_slot,
        };
        let outcome = match self.rules {
            Rules::Hardened => verb.check_hardened(parties),
            Rules::Reference => verb.check(parties).map_err(NoEffect::Reason),
        };
        match outcome {
            Ok(Some(entry)) => {
                start = with_entry(start, node.group, slot, entry);
                (start, Effect::Applied)
            }
            Ok(None) => (start, Effect::Applied),
            Err(reason) => (start, Effect::None(reason)),
        }
    }

    /// The target is out; nothing else is checked.
    fn force_remove(&self, node: &Node, start: Tables) -> Tables {
        let Content::Change { target, .. } = node.content else {
            return start;
        };
        let slot = self
            .registry
            .group(node.group)
            .slot(MemberIndex::Individual(target));
        let entry = slot.and_then(|slot| Some((slot, *start.get(node.group)?.get(slot)?)));
        match entry {
            Some((slot, entry)) if entry.is_active() => {
                with_entry(start, node.group, slot, entry.forced_out())
            }
            _ => start,
        }
    }

    fn hardened_before(&self, op: OpIndex) -> bool {
        self.hardened.first().is_some_and(|first| *first < op)
    }
}

/// The join of states; nothing if there are none.
pub(crate) fn join<'a>(states: impl Iterator<Item = &'a Tables>) -> Tables {
    states
        .fold(None, |joined: Option<Tables>, state| {
            Some(joined.map_or_else(|| state.clone(), |joined| joined.join(state)))
        })
        .unwrap_or_default()
}

fn created(group: GroupIndex, mut tables: Tables, initial: &[Initial]) -> Tables {
    let mut table = Table::default();
    for entry in initial.iter().filter(|entry| entry.dropped.is_none()) {
        table.set(entry.slot, Entry::new(1, entry.access, 0));
    }
    tables.set(group, table);
    tables
}

fn with_entry(mut tables: Tables, group: GroupIndex, slot: u32, entry: Entry) -> Tables {
    let mut table = tables.get(group).cloned().unwrap_or_default();
    table.set(slot, entry);
    tables.set(group, table);
    tables
}
