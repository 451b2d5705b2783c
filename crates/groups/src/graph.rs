//! The graph of operations: who came before whom, and the components of concurrency
//! (`docs/protocol/groups.md#8`).
//!
//! Operations are numbered in the order of processing, which respects dependencies. A new
//! operation is concurrent with all that it did not see, so it can only merge the last
//! components into one: components are ranges of that order.

use core::num::NonZeroU32;
use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::Hash;

use crate::check::Verb;
use crate::registry::{GroupIndex, KeyIndex, OpIndex};
use crate::table::Tables;
use crate::trie::{Join, Trie};
use crate::{Access, Filter, NoEffect, Rule};

/// How far a past reaches into each chain of operations.
///
/// A chain is a sequence of operations that each depend on the one before. Whether one operation
/// precedes another is then one look-up, at any size of the history.
pub(crate) type Clock = Trie<NonZeroU32>;

impl Join for NonZeroU32 {
    fn join(&self, other: &NonZeroU32) -> NonZeroU32 {
        *self.max(other)
    }

    fn same(&self, other: &NonZeroU32) -> bool {
        self == other
    }
}

/// An operation of the graph.
pub(crate) struct Node {
    pub(crate) id: Hash,
    pub(crate) author: KeyIndex,
    /// The slot of the author in the group.
    pub(crate) author_slot: u32,
    pub(crate) group: GroupIndex,
    pub(crate) content: Content,
    /// Sorted, without repeats.
    pub(crate) deps: Box<[OpIndex]>,
    pub(crate) place: Place,
    /// Why it has no effect, decided once on its claimed past.
    pub(crate) class: Option<NoEffect>,
    /// A hardening rule took something away in its past or from itself, as its author saw it.
    pub(crate) poisoned: bool,
    /// The state after it, as its author saw it. Never changes.
    pub(crate) view: Tables,
    pub(crate) fate: Fate,
    /// The hardening rules that were reported, one bit each.
    pub(crate) reported: u8,
}

pub(crate) enum Content {
    Create {
        initial: Box<[Initial]>,
        nonce: Option<Box<[u8; 32]>>,
        bound: bool,
        /// May have effect, if no better create of the group is known.
        candidate: bool,
    },
    Change {
        verb: Verb,
        slot: u32,
        target: KeyIndex,
    },
}

/// An entry of a create.
#[derive(Clone, Copy)]
pub(crate) struct Initial {
    pub(crate) slot: u32,
    pub(crate) access: Access,
    /// The hardening rule that takes the entry away.
    pub(crate) dropped: Option<Rule>,
}

/// Where an operation stands in the order.
#[derive(Clone)]
pub(crate) struct Place {
    /// Covers the operation itself.
    pub(crate) clock: Clock,
    chain: u32,
    position: NonZeroU32,
    /// Operations before it.
    past_len: u32,
}

/// What the operations known so far make of an operation.
#[derive(Clone)]
pub(crate) struct Fate {
    /// The create that counts is not in its past, or it is another create.
    pub(crate) lacking: bool,
    pub(crate) filtered: Option<(OpIndex, Filter)>,
    pub(crate) mutual: bool,
    pub(crate) effect: Effect,
    /// The state after it.
    pub(crate) state: Tables,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Applied,
    Filtered,
    Forced,
    None(NoEffect),
}

impl Fate {
    /// What people see of it.
    pub(crate) fn outcome(&self) -> (Effect, Option<(OpIndex, Filter)>) {
        let by = self.filtered.filter(|_| self.effect == Effect::Filtered);
        (self.effect, by)
    }
}

impl Node {
    pub(crate) fn is_create(&self) -> bool {
        matches!(self.content, Content::Create { .. })
    }

    /// A hardening rule takes something away from it, with this effect.
    pub(crate) fn is_hardened(&self, effect: Effect) -> bool {
        matches!(effect, Effect::None(NoEffect::Hardened(_))) || self.dropped().next().is_some()
    }

    /// The rules that take entries of a create away.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = Rule> + '_ {
        let initial: &[Initial] = match &self.content {
            Content::Create { initial, .. } => initial,
            Content::Change { .. } => &[],
        };
        initial.iter().filter_map(|entry| entry.dropped)
    }
}

/// What an operation that is to be added has seen.
pub(crate) struct Past {
    /// Its dependencies, sorted, without repeats.
    pub(crate) deps: Box<[OpIndex]>,
    pub(crate) clock: Clock,
    /// The operations seen.
    pub(crate) len: u32,
    /// The last component of which it saw something: its first operation and the one after it.
    pub(crate) start: OpIndex,
    pub(crate) end: OpIndex,
}

impl Past {
    /// It saw everything up to the end of a component.
    pub(crate) fn is_complete(&self) -> bool {
        self.len == self.end
    }

    /// The first operation of the last component once the operation is added.
    pub(crate) fn bubble_start(&self) -> OpIndex {
        if self.is_complete() {
            self.end
        } else {
            self.start
        }
    }
}

#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    index: BTreeMap<Hash, OpIndex>,
    /// The first operation of each component.
    components: Vec<OpIndex>,
    heads: BTreeSet<OpIndex>,
    /// The last operation of each chain.
    tails: Vec<OpIndex>,
}

impl Graph {
    pub(crate) fn len(&self) -> OpIndex {
        self.nodes.len() as OpIndex
    }

    pub(crate) fn find(&self, id: &Hash) -> Option<OpIndex> {
        self.index.get(id).copied()
    }

    pub(crate) fn node(&self, op: OpIndex) -> &Node {
        self.nodes
            .get(op as usize)
            .expect("operations are never forgotten")
    }

    pub(crate) fn node_mut(&mut self, op: OpIndex) -> &mut Node {
        self.nodes
            .get_mut(op as usize)
            .expect("operations are never forgotten")
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn heads(&self) -> &BTreeSet<OpIndex> {
        &self.heads
    }

    /// The component of an operation: its first operation and the one after its last.
    pub(crate) fn component(&self, op: OpIndex) -> (OpIndex, OpIndex) {
        let after = self.components.partition_point(|start| *start <= op);
        let start = after.checked_sub(1).and_then(|at| self.components.get(at));
        let end = self.components.get(after).copied().unwrap_or(self.len());
        (start.copied().unwrap_or(0), end)
    }

    /// True if `a` comes before `b`, or is `b`.
    pub(crate) fn precedes(&self, a: OpIndex, b: OpIndex) -> bool {
        self.covers(&self.node(b).place.clock, a)
    }

    pub(crate) fn covers(&self, clock: &Clock, op: OpIndex) -> bool {
        let place = &self.node(op).place;
        clock
            .get(place.chain)
            .is_some_and(|reached| *reached >= place.position)
    }

    /// What one sees who depends on these.
    pub(crate) fn past(&self, deps: Box<[OpIndex]>) -> Past {
        let Some(&last) = deps.last() else {
            let clock = Clock::default();
            return Past {
                deps,
                clock,
                len: 0,
                start: 0,
                end: 0,
            };
        };
        let (start, end) = self.component(last);
        let mut clock = self.node(last).place.clock.clone();
        for dep in deps.iter() {
            clock = clock.join(&self.node(*dep).place.clock);
        }
        let len = if deps.len() == 1 {
            self.node(last).place.past_len + 1
        } else if self
            .heads
            .iter()
            .all(|head| deps.binary_search(head).is_ok())
        {
            self.len()
        } else {
            clock.iter().map(|(_, reached)| reached.get()).sum()
        };
        Past {
            deps,
            clock,
            len,
            start,
            end,
        }
    }

    /// The dependencies that no other dependency has seen.
    pub(crate) fn maximal(&self, deps: &[OpIndex]) -> Vec<OpIndex> {
        let seen = |op: OpIndex| {
            deps.iter()
                .any(|other| *other != op && self.precedes(op, *other))
        };
        deps.iter().copied().filter(|op| !seen(*op)).collect()
    }

    /// The place that an operation with this past would get.
    pub(crate) fn place(&self, past: &Past) -> Place {
        let extends = |dep: &&OpIndex| {
            let chain = self.node(**dep).place.chain;
            self.tails.get(chain as usize) == Some(dep)
        };
        let first = NonZeroU32::MIN;
        let (chain, position) = match past.deps.iter().rev().find(extends) {
            Some(dep) => {
                let place = &self.node(*dep).place;
                (place.chain, place.position.saturating_add(1))
            }
            None => (self.tails.len() as u32, first),
        };
        let mut clock = past.clock.clone();
        clock.set(chain, position);
        Place {
            clock,
            chain,
            position,
            past_len: past.len,
        }
    }

    pub(crate) fn push(&mut self, node: Node, past: &Past) -> OpIndex {
        let op = self.len();
        self.merge_components(past);
        for dep in past.deps.iter() {
            self.heads.remove(dep);
        }
        self.heads.insert(op);
        match self.tails.get_mut(node.place.chain as usize) {
            Some(tail) => *tail = op,
            None => self.tails.push(op),
        }
        self.index.insert(node.id, op);
        self.nodes.push(node);
        op
    }

    /// All components of which the new operation missed something become one with it.
    fn merge_components(&mut self, past: &Past) {
        let start = past.bubble_start();
        let kept = self.components.partition_point(|known| *known < start);
        self.components.truncate(kept);
        self.components.push(start);
    }
}
