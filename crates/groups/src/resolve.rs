//! From the operations of a realm to the table after each (`docs/protocol/groups.md#8`).

use core::cell::Cell;

use crate::check::Parties;
use crate::conflict::{self, Arrow, Fact, Work};
use crate::few::Few;
use crate::graph::{Content, Effect, Fate, Initial, Node, Past, Seen};
use crate::groups::Groups;
use crate::registry::{GroupIndex, MemberIndex, OpIndex, RealmIndex};
use crate::table::{Entry, Table};
use crate::trie::Join;
use crate::{NoEffect, Reason, Rules};

/// Knowledge of the author of a new operation about its realm.
#[derive(Default)]
pub(crate) struct Sight {
    /// The table at the heads of its past, on which it is judged.
    pub(crate) seen: Seen,
    /// The table at its dependencies, to which it is applied.
    pub(crate) start: Option<Table>,
    /// The operations from which it comes.
    pub(crate) inner: Few,
}

/// Number of operations that may still be touched.
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new(touched_max: usize) -> Budget {
        Budget(Cell::new(touched_max))
    }

    pub(crate) fn unlimited() -> Budget {
        Budget::new(usize::MAX)
    }

    pub(crate) fn left(&self) -> usize {
        self.0.get()
    }

    /// None if there is not as much left.
    pub(crate) fn touch(&self, operations: usize) -> Option<()> {
        self.0.set(self.left().checked_sub(operations)?);
        Some(())
    }
}

/// Some operations of a realm resolved as if only they and everything before them were known.
pub(crate) struct Resolved {
    pub(crate) ops: Vec<OpIndex>,
    pub(crate) fates: Vec<(Fate, Option<Table>)>,
}

impl Resolved {
    fn table(&self, op: OpIndex) -> Option<&Option<Table>> {
        let at = self.ops.binary_search(&op).ok()?;
        self.fates.get(at).map(|(_, table)| table)
    }
}

/// Effect of concurrent operations on one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ruling {
    pub(crate) filtered: bool,
    pub(crate) mutual: bool,
}

impl Fate {
    pub(crate) fn ruling(&self) -> Ruling {
        Ruling {
            filtered: self.filtered.is_some(),
            mutual: self.mutual,
        }
    }
}

impl Groups {
    /// The table of a group if nothing but a past is known. None if that touches too much.
    pub(crate) fn alone(&self, group: GroupIndex, past: &Past, budget: &Budget) -> Option<Seen> {
        match self.realm_in(group, &past.clock) {
            Some(realm) => Some(self.sight(realm, past, budget)?.seen),
            None => Some(Seen::default()),
        }
    }

    /// Returns what a past has of a realm. `None` if that touches too much.
    ///
    /// The view of the author of a single last operation is stored, and all but the last component
    /// of which the past has something is final, so at most that component is resolved.
    pub(crate) fn sight(&self, realm: RealmIndex, past: &Past, budget: &Budget) -> Option<Sight> {
        let inner = self.sources(realm, past);
        if let [op] = *inner
            && let Some(seen) = &self.graph.node(op).view
        {
            let (seen, start) = (seen.clone(), seen.table.clone());
            return Some(Sight { seen, start, inner });
        }
        let known = self.realm(realm);
        let top = self.top_sources(realm, past);
        let top = top.as_ref().unwrap_or(&inner);
        let reach = self.reach(known, &past.clock);
        if reach.complete {
            let end = known.ops.get(reach.end);
            let hardened = known.hardened.first();
            let seen = Seen {
                table: join(top.iter().map(|op| self.table(*op))),
                hardened: hardened.is_some_and(|op| end.is_none_or(|end| op < end)),
            };
            let start = join(inner.iter().map(|op| self.table(*op)));
            return Some(Sight { seen, start, inner });
        }
        let covered = |op: &&OpIndex| self.graph.covers(&past.clock, **op);
        let ops = known.range(reach.start, reach.end).iter().filter(covered);
        let ops: Vec<OpIndex> = ops.copied().collect();
        let mut work = Work::touching(budget.left());
        budget.touch(ops.len())?;
        let resolved = self.resolve(ops, &mut work)?;
        let table = |op: &OpIndex| match resolved.table(*op) {
            Some(table) => table,
            None => self.table(*op),
        };
        let first = known.ops.get(reach.start);
        let earlier = known.hardened.first().zip(first);
        let seen = Seen {
            table: join(top.iter().map(table)),
            hardened: earlier.is_some_and(|(earlier, first)| earlier < first)
                || resolved.fates.iter().any(|(fate, _)| fate.is_hardened()),
        };
        let start = join(inner.iter().map(table));
        Some(Sight { seen, start, inner })
    }

    /// The sources of the last dependencies alone, where they are not those of all.
    fn top_sources(&self, realm: RealmIndex, past: &Past) -> Option<Few> {
        let recreated = self.registry.group(self.realm(realm).group).recreated;
        if self.rules == Rules::Hardened || !recreated || past.deps.len() < 2 {
            return None;
        }
        let deps = self.graph.maximal(&past.deps);
        let clock = past.clock.clone();
        Some(self.sources(realm, &Past { deps, clock }))
    }

    /// The table of its group after an operation, as all operations known now make it.
    pub(crate) fn table(&self, op: OpIndex) -> &Option<Table> {
        let node = self.graph.node(op);
        let Some(realm) = node.realm else {
            return &None;
        };
        if node.fate.table.get().is_none() {
            self.current_of(realm);
        }
        if node.fate.table.get().is_none() {
            self.fill(realm);
        }
        node.fate.table.get_or_init(|| None)
    }

    /// The table of a group now.
    pub(crate) fn current(&self, group: GroupIndex) -> Option<Table> {
        let known = self.registry.group(group);
        let realm = known.effective?;
        if self.rules == Rules::Reference && known.recreated {
            let heads: Few = self.graph.heads().iter().copied().collect();
            let sources = self.sources(realm, &self.graph.past(heads));
            return join(sources.iter().map(|op| self.table(*op)));
        }
        self.current_of(realm).clone()
    }

    fn current_of(&self, realm: RealmIndex) -> &Option<Table> {
        let known = self.realm(realm);
        let is_known = |op: &OpIndex| self.graph.node(*op).fate.table.get();
        known.current.get_or_init(|| {
            let tables: Option<Vec<_>> = known.heads.iter().map(is_known).collect();
            match tables {
                Some(tables) => join(tables.into_iter()),
                None => self.replay(realm),
            }
        })
    }

    /// The table at the heads of a realm of which the tables were not kept, changed in place
    /// where nobody else needs it.
    fn replay(&self, realm: RealmIndex) -> Option<Table> {
        let known = self.realm(realm);
        let inner = |op: &OpIndex| self.graph.node(*op).inner.iter();
        let mut needed = vec![0_u32; known.ops.len()];
        for before in known.ops.iter().flat_map(inner) {
            if let Some(needed) = needed.get_mut(known.place(*before)) {
                *needed += 1;
            }
        }
        let mut tables: Vec<Option<Table>> = vec![None; known.ops.len()];
        for (at, op) in known.ops.iter().enumerate() {
            let node = self.graph.node(*op);
            let mut start: Option<Table> = None;
            for before in node.inner.iter() {
                let place = known.place(*before);
                let (Some(needed), Some(table)) = (needed.get_mut(place), tables.get_mut(place))
                else {
                    continue;
                };
                *needed -= 1;
                let table = match *needed {
                    0 => table.take(),
                    _ => table.clone(),
                };
                start = merged(start, table);
            }
            let (table, _) = self.step(node, start, node.fate.ruling());
            if known.heads.contains(op) {
                node.fate.table.get_or_init(|| table.clone());
            }
            if let Some(place) = tables.get_mut(at) {
                *place = table;
            }
        }
        let heads = known.heads.iter().map(|op| self.graph.node(*op));
        join(heads.filter_map(|node| node.fate.table.get()))
    }

    /// Applies again what was not kept.
    fn fill(&self, realm: RealmIndex) {
        for op in &self.realm(realm).ops {
            let node = self.graph.node(*op);
            node.fate.table.get_or_init(|| {
                let tables = node.inner.iter();
                let tables = tables.filter_map(|op| self.graph.node(*op).fate.table.get());
                self.step(node, join(tables), node.fate.ruling()).0
            });
        }
    }

    /// Resolves operations of one realm, given in order, on top of everything before the first.
    ///
    /// None if that takes more work than there is.
    ///
    /// Components need not be told apart: operations of different ones are not concurrent, and
    /// no cycle of mutual removals spans two, because between two all edges lead forward.
    pub(crate) fn resolve(&self, ops: Vec<OpIndex>, work: &mut Work) -> Option<Resolved> {
        let fact = |op: &OpIndex| Fact::of(*op, self.graph.node(*op));
        let facts: Vec<Fact> = ops.iter().map(fact).collect();
        let precedes = |a, b| self.graph.precedes(a, b);
        let filtered = conflict::filtered(&facts, precedes, work)?;
        let arrows: Vec<Arrow> = facts.iter().filter_map(Fact::arrow).collect();
        let mut mutual = conflict::mutual(&arrows, precedes, work)?;
        mutual.sort_unstable();
        let mut resolved = Resolved {
            ops: Vec::new(),
            fates: Vec::new(),
        };
        for (op, filtered) in ops.into_iter().zip(filtered) {
            let node = self.graph.node(op);
            let table = |op: &OpIndex| match resolved.table(*op) {
                Some(table) => table,
                None => self.table(*op),
            };
            let start = join(node.inner.iter().map(table));
            let mutual = mutual.binary_search(&op).is_ok();
            let ruling = Ruling {
                filtered: filtered.is_some(),
                mutual,
            };
            let (table, effect) = self.step(node, start, ruling);
            let mut fate = Fate::new(effect, None);
            (fate.filtered, fate.mutual) = (filtered, mutual);
            resolved.ops.push(op);
            resolved.fates.push((fate, table));
        }
        Some(resolved)
    }

    /// Applies one operation to the table before it.
    pub(crate) fn step(
        &self,
        node: &Node,
        start: Option<Table>,
        ruling: Ruling,
    ) -> (Option<Table>, Effect) {
        if let Some(class) = node.class {
            return (start, Effect::None(class));
        }
        if ruling.mutual {
            return (self.force_remove(node, start), Effect::Forced);
        }
        if ruling.filtered {
            return (start, Effect::Filtered);
        }
        match &node.content {
            Content::Create { initial, .. } => (Some(created(initial)), Effect::Applied),
            Content::Change { .. } => self.change(node, start),
        }
    }

    fn change(&self, node: &Node, start: Option<Table>) -> (Option<Table>, Effect) {
        let Content::Change { verb, slot, .. } = node.content else {
            return (start, Effect::Applied);
        };
        let Some(mut table) = start else {
            return (None, Effect::None(NoEffect::Reason(Reason::UnknownGroup)));
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
        let effect = match outcome {
            Ok(Some(entry)) => {
                table.set(slot, entry);
                Effect::Applied
            }
            Ok(None) => Effect::Applied,
            Err(reason) => Effect::None(reason),
        };
        (Some(table), effect)
    }

    /// The target is out; nothing else is checked.
    fn force_remove(&self, node: &Node, start: Option<Table>) -> Option<Table> {
        let Content::Change { target, .. } = node.content else {
            return start;
        };
        let slot = self
            .registry
            .group(node.group)
            .slot(MemberIndex::Individual(target));
        let mut table = start?;
        if let Some(slot) = slot
            && let Some(entry) = table.get(slot).copied()
            && entry.is_active()
        {
            table.set(slot, entry.forced_out());
        }
        Some(table)
    }
}

/// The join of tables; none if there is none.
pub(crate) fn join<'a>(tables: impl Iterator<Item = &'a Option<Table>>) -> Option<Table> {
    tables.fold(None, |joined, table| match (joined, table) {
        (Some(joined), Some(table)) => Some(joined.join(table)),
        (joined, None) => joined,
        (None, table) => table.clone(),
    })
}

pub(crate) fn merged(a: Option<Table>, b: Option<Table>) -> Option<Table> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(&b)),
        (one, None) | (None, one) => one,
    }
}

fn created(initial: &[Initial]) -> Table {
    let mut table = Table::default();
    for entry in initial.iter().filter(|entry| entry.dropped.is_none()) {
        table.set(entry.slot, Entry::new(1, entry.access, 0));
    }
    table
}
