//! The graph of operations: who came before whom (`docs/protocol/groups.md#8`).
//!
//! Operations are numbered in the order of processing, which respects dependencies.

use core::num::NonZeroU32;
use p2panda_core::ordered::BTreeMap;
use std::sync::OnceLock;

use p2panda_core::Hash;

use crate::check::Verb;
use crate::few::Few;
use crate::keyed::Map;
use crate::registry::{GroupIndex, KeyIndex, OpIndex, RealmIndex};
use crate::table::Table;
use crate::trie::{Join, Trie};
use crate::{Access, Filter, NoEffect, Rule};

/// Length of a past in each chain of operations.
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
    pub(crate) deps: Few,
    /// The names of its dependencies, if messages are among them.
    pub(crate) named: Option<Box<Named>>,
    pub(crate) place: Place,
    /// Reason why it has no effect, decided once on its claimed past.
    pub(crate) class: Option<NoEffect>,
    /// The operations that it can be in conflict with; none if it never has an effect.
    pub(crate) realm: Option<RealmIndex>,
    /// The place in the realm where the component began that it joined.
    pub(crate) open: u32,
    /// The last operations of the realm before it, sorted.
    pub(crate) inner: Few,
    /// A hardening rule takes something from it or from one before it, no matter what else is
    /// known.
    pub(crate) tainted: bool,
    /// The view of its author. Never changes; `None` if it was not kept.
    pub(crate) view: Option<Seen>,
    pub(crate) fate: Fate,
    /// The hardening rules that were reported, one bit each.
    pub(crate) reported: u8,
    /// Its row has changed.
    pub(crate) dirty: bool,
}

/// Dependencies as they came.
pub(crate) struct Named {
    pub(crate) direct: Few,
    /// Messages that stand for the operations before them.
    pub(crate) messages: Box<[Hash]>,
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

/// Position of an operation in the order.
#[derive(Clone)]
pub(crate) struct Place {
    /// Covers the operation itself.
    pub(crate) clock: Clock,
    chain: u32,
    position: NonZeroU32,
}

/// The table of a group at some point of the past, as if nothing else were known.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// None if the group was not created.
    pub(crate) table: Option<Table>,
    /// A promote or demote had no effect by a hardening rule.
    pub(crate) hardened: bool,
}

/// Outcome of an operation, according to the operations known so far.
#[derive(Clone)]
pub(crate) struct Fate {
    pub(crate) filtered: Option<(OpIndex, Filter)>,
    pub(crate) mutual: bool,
    pub(crate) effect: Effect,
    /// The table of its group after it; empty until somebody asks (`Groups::table`).
    pub(crate) table: OnceLock<Option<Table>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Applied,
    Filtered,
    Forced,
    None(NoEffect),
}

impl Fate {
    pub(crate) fn new(effect: Effect, table: Option<Table>) -> Fate {
        Fate {
            filtered: None,
            mutual: false,
            effect,
            table: OnceLock::from(table),
        }
    }

    /// The table is to be found when somebody asks.
    pub(crate) fn unknown(effect: Effect) -> Fate {
        Fate {
            filtered: None,
            mutual: false,
            effect,
            table: OnceLock::new(),
        }
    }

    /// A hardening rule takes its effect away.
    pub(crate) fn is_hardened(&self) -> bool {
        matches!(self.effect, Effect::None(NoEffect::Hardened(_)))
    }

    /// Returns the outcome as it is reported.
    pub(crate) fn outcome(&self) -> (Effect, Option<(OpIndex, Filter)>) {
        let by = self.filtered.filter(|_| self.effect == Effect::Filtered);
        (self.effect, by)
    }
}

impl Node {
    pub(crate) fn is_create(&self) -> bool {
        matches!(self.content, Content::Create { .. })
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

/// Some operations and everything before them.
#[derive(Clone)]
pub(crate) struct Past {
    /// Sorted, without repeats.
    pub(crate) deps: Few,
    pub(crate) clock: Clock,
}

/// The operations without successor, in order.
#[derive(Default)]
pub(crate) struct Heads(Vec<OpIndex>);

impl Heads {
    /// Takes an operation in, which is later than all others, in place of those before it.
    pub(crate) fn advance(&mut self, before: &[OpIndex], op: OpIndex) {
        for op in before {
            if let Ok(at) = self.0.binary_search(op) {
                self.0.remove(at);
            }
        }
        self.0.push(op);
    }
}

impl core::ops::Deref for Heads {
    type Target = [OpIndex];

    fn deref(&self) -> &[OpIndex] {
        &self.0
    }
}

#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    index: Map<Hash, OpIndex>,
    heads: Heads,
    /// The last operation of each chain.
    tails: Vec<OpIndex>,
    /// Messages that operations may depend on, and the operations that they stand for.
    messages: BTreeMap<Hash, Few>,
}

impl Graph {
    pub(crate) fn len(&self) -> OpIndex {
        self.nodes.len() as OpIndex
    }

    pub(crate) fn find(&self, id: &Hash) -> Option<OpIndex> {
        self.index.get(id).copied()
    }

    /// The operations that an id stands for: itself, or those before a message.
    pub(crate) fn meaning(&self, id: &Hash) -> Option<Few> {
        if let Some(op) = self.find(id) {
            return Some(Few::One(op));
        }
        self.messages.get(id).cloned()
    }

    pub(crate) fn is_message(&self, id: &Hash) -> bool {
        self.messages.contains_key(id)
    }

    pub(crate) fn add_message(&mut self, id: Hash, meant: Few) {
        self.messages.insert(id, meant);
    }

    /// All that cannot be found again.
    pub(crate) fn into_parts(self) -> (Vec<Node>, BTreeMap<Hash, Few>) {
        (self.nodes, self.messages)
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

    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
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

    /// Returns the past of an operation with these dependencies.
    pub(crate) fn past(&self, mut deps: Few) -> Past {
        deps.sort();
        let mut clocks = deps.iter().map(|dep| &self.node(*dep).place.clock);
        let first = clocks.next().cloned().unwrap_or_default();
        let clock = clocks.fold(first, |joined, clock| joined.join(clock));
        Past { deps, clock }
    }

    /// The dependencies that no other dependency has seen.
    pub(crate) fn maximal(&self, deps: &[OpIndex]) -> Few {
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
        }
    }

    /// Makes room for so many operations.
    pub(crate) fn reserve(&mut self, operations: usize) {
        self.nodes.reserve(operations);
        self.index.reserve(operations);
    }

    pub(crate) fn push(&mut self, node: Node) -> OpIndex {
        let op = self.len();
        self.heads.advance(&node.deps, op);
        match self.tails.get_mut(node.place.chain as usize) {
            Some(tail) => *tail = op,
            None => self.tails.push(op),
        }
        self.index.insert(node.id, op);
        self.nodes.push(node);
        op
    }
}
