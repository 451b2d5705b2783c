//! Realms: the operations of one group that can be in conflict with each other
//! (`docs/protocol/groups.md#8`).
//!
//! Under the hardened rules those that rely on one create, under those of the reference all of
//! the group. Everything else costs them nothing: what becomes of an operation follows from its
//! realm alone. A new operation is concurrent with all of the realm that it did not see, so it
//! can only merge the last components into one: components are ranges of the order.

use p2panda_core::ordered::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::Rules;
use crate::few::Few;
use crate::graph::{Clock, Heads, Past};
use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, OpIndex, RealmIndex};
use crate::table::Table;

#[derive(Default)]
pub(crate) struct Realm {
    pub(crate) group: GroupIndex,
    /// The create on which all others rely (hardened rules).
    pub(crate) create: Option<OpIndex>,
    /// In the order of processing.
    pub(crate) ops: Vec<OpIndex>,
    /// The places in `ops` where the components begin.
    components: Vec<u32>,
    pub(crate) heads: Heads,
    /// The last operation that a key is known to have seen: its own, or else the one that first
    /// made it a manager.
    seen_by: BTreeMap<KeyIndex, OpIndex>,
    /// The table at the heads.
    pub(crate) current: OnceLock<Option<Table>>,
    /// Operations of which a hardening rule takes the effect away at present.
    pub(crate) hardened: BTreeSet<OpIndex>,
    /// It has a promote or demote, which can lose its effect that way.
    pub(crate) directs: bool,
}

/// Length of a past in a realm, as places in its order.
pub(crate) struct Reach {
    /// The last component of which it has something.
    pub(crate) start: usize,
    /// The one after.
    pub(crate) end: usize,
    /// It has all of it.
    pub(crate) complete: bool,
}

impl Reach {
    /// The first place of the last component once an operation with this past is added.
    pub(crate) fn open(&self) -> usize {
        if self.complete { self.end } else { self.start }
    }
}

impl Realm {
    pub(crate) fn new(group: GroupIndex, create: Option<OpIndex>) -> Realm {
        Realm {
            group,
            create,
            ..Realm::default()
        }
    }

    /// The operations at these places.
    pub(crate) fn range(&self, start: usize, end: usize) -> &[OpIndex] {
        self.ops.get(start..end).unwrap_or_default()
    }

    pub(crate) fn from(&self, start: usize) -> &[OpIndex] {
        self.range(start, self.ops.len())
    }

    /// The place of an operation in the order.
    pub(crate) fn place(&self, op: OpIndex) -> usize {
        // Mostly it is the last one.
        match self.ops.split_last() {
            Some((last, before)) if *last == op => before.len(),
            _ => self.ops.partition_point(|other| *other < op),
        }
    }

    /// The places of a component, by its number.
    fn bounds(&self, number: usize) -> (usize, usize) {
        let at = |number: usize| self.components.get(number).map(|place| *place as usize);
        let end = at(number + 1).unwrap_or(self.ops.len());
        (at(number).unwrap_or(end), end)
    }

    /// The places of the component of an operation.
    pub(crate) fn component(&self, op: OpIndex) -> (usize, usize) {
        let place = self.place(op) as u32;
        let after = self.components.partition_point(|start| *start <= place);
        self.bounds(after.saturating_sub(1))
    }

    pub(crate) fn push(&mut self, op: OpIndex, open: usize, inner: &[OpIndex]) {
        let begins_before = |start: &u32| (*start as usize) < open;
        // Mostly it joins none of them.
        if !self.components.last().is_none_or(begins_before) {
            let kept = self.components.partition_point(begins_before);
            self.components.truncate(kept);
        }
        self.components.push(open as u32);
        self.heads.advance(inner, op);
        self.ops.push(op);
    }

    pub(crate) fn note_author(&mut self, key: KeyIndex, op: OpIndex) {
        self.seen_by.insert(key, op);
    }

    pub(crate) fn note_manager(&mut self, key: KeyIndex, op: OpIndex) {
        self.seen_by.entry(key).or_insert(op);
    }

    /// Returns the number of operations that a key is known to have seen completely.
    pub(crate) fn known_to(&self, key: KeyIndex) -> usize {
        let Some(op) = self.seen_by.get(&key) else {
            return 0;
        };
        let (start, end) = self.component(*op);
        if end - start == 1 { end } else { start }
    }
}

impl Groups {
    pub(crate) fn realm(&self, realm: RealmIndex) -> &Realm {
        self.realms
            .get(realm as usize)
            .expect("realms are never forgotten")
    }

    pub(crate) fn realm_mut(&mut self, realm: RealmIndex) -> &mut Realm {
        self.realms
            .get_mut(realm as usize)
            .expect("realms are never forgotten")
    }

    /// The realm of a group that counts if only what the clock covers is known.
    pub(crate) fn realm_in(&self, group: GroupIndex, clock: &Clock) -> Option<RealmIndex> {
        let known = self.registry.group(group);
        let covered = |realm: &RealmIndex| match self.realm(*realm).create {
            Some(create) => self.graph.covers(clock, create),
            None => true,
        };
        // It beats all others.
        if let Some(effective) = known.effective
            && covered(&effective)
        {
            return Some(effective);
        }
        let candidates = known.realms.iter().copied().filter(covered);
        candidates.min_by_key(|realm| {
            let create = self.realm(*realm).create;
            create.and_then(|create| self.graph.node(create).create_rank())
        })
    }

    /// Returns the length of a past in a realm.
    pub(crate) fn reach(&self, realm: &Realm, clock: &Clock) -> Reach {
        let covers = |op: &OpIndex| self.graph.covers(clock, *op);
        let count = realm.components.len();
        if realm.heads.iter().all(covers) {
            let (start, end) = realm.bounds(count.saturating_sub(1));
            return Reach {
                start,
                end,
                complete: true,
            };
        }
        // Of a component that ends in something covered, all before it are covered.
        let mut last = search(count, |number| {
            let (_, end) = realm.bounds(number);
            realm.range(end - 1, end).iter().all(covers)
        });
        let (start, end) = realm.bounds(last);
        if last == count || !realm.range(start, end).iter().any(covers) {
            let Some(before) = last.checked_sub(1) else {
                return Reach {
                    start: 0,
                    end: 0,
                    complete: true,
                };
            };
            last = before;
        }
        let (start, end) = realm.bounds(last);
        let complete = realm.range(start, end).iter().all(covers);
        Reach {
            start,
            end,
            complete,
        }
    }

    /// The operations of a realm from which a past gets the table.
    ///
    /// Tables only grow along the order, so these are the last ones. The exception is a group of
    /// the reference rules that was created again, which replaces its table: there it matters on
    /// which ways the past leads to the group.
    pub(crate) fn sources(&self, realm: RealmIndex, past: &Past) -> Few {
        let known = self.realm(realm);
        if self.rules == Rules::Reference && self.registry.group(known.group).recreated {
            return self.ways(realm, &past.deps);
        }
        if let [dep] = *past.deps
            && self.graph.node(dep).realm == Some(realm)
        {
            return Few::One(dep);
        }
        let covers = |op: &&OpIndex| self.graph.covers(&past.clock, **op);
        if known.heads.iter().all(|op| covers(&op)) {
            return known.heads.iter().copied().collect();
        }
        let reach = self.reach(known, &past.clock);
        let inside = known.range(reach.start, reach.end).iter().filter(covers);
        let covered: Vec<OpIndex> = inside.copied().collect();
        let before = covered
            .iter()
            .flat_map(|op| self.graph.node(*op).inner.iter());
        let before: BTreeSet<OpIndex> = before.copied().collect();
        let last = |op: &OpIndex| !before.contains(op);
        covered.into_iter().filter(last).collect()
    }

    /// The first operations of the realm on each way back.
    fn ways(&self, realm: RealmIndex, deps: &[OpIndex]) -> Few {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut todo = deps.to_vec();
        while let Some(op) = todo.pop() {
            let node = self.graph.node(op);
            if node.realm == Some(realm) {
                found.insert(op);
            } else if seen.insert(op) {
                todo.extend(node.deps.iter());
            }
        }
        found.into_iter().collect()
    }
}

/// The first number that does not hold, of which all before hold.
fn search(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
