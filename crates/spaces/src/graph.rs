//! The messages of one space: who came before whom (`docs/protocol/spaces.md#4`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};

use crate::sealed::Note;
use crate::{Role, Verdict};

/// Number of messages of each author that something has seen. An author's messages come in the
/// order of its log, so that seeing one means having seen those before it.
pub(crate) type Clock = BTreeMap<VerifyingKey, u64>;

/// Place of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) author: VerifyingKey,
    /// Counts the author's messages, from 1.
    pub(crate) position: u64,
    /// Messages that it has seen, without itself.
    pub(crate) clock: Clock,
    /// Messages that it names, with the author's message before it.
    pub(crate) named: Vec<Hash>,
    /// The last of the messages before it that carry secrets.
    pub(crate) controls: Vec<Hash>,
}

/// A message that was processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// Notes about invites, in the form of our own nodes.
    pub(crate) notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has no effect, and honest members do not build on it.
    Refused,
    /// It represents its past.
    Plain,
    /// It represents its past, and its author asks for all secrets.
    Asks,
    Pointer(Pointed),
    Application {
        /// The author's role at the past.
        role: Role,
        /// Verdict that the application was told last, once it was opened.
        told: Option<Verdict>,
    },
}

/// Changes by a pointer, by its own past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointed {
    pub(crate) auth: Hash,
    /// It carries secrets.
    pub(crate) is_control: bool,
    /// Authors that may not write any more.
    pub(crate) silenced: Vec<VerifyingKey>,
    /// Members that have secrets from now on.
    pub(crate) admitted: Vec<VerifyingKey>,
    /// A member has no secrets any more.
    pub(crate) removes: bool,
    /// It makes a secret.
    pub(crate) rotates: bool,
    /// Members to which it sends that secret.
    pub(crate) sent: Vec<VerifyingKey>,
    /// Members to which it sends all that its author has.
    pub(crate) welcomed: Vec<VerifyingKey>,
    /// Amount of content of those who may not write any more that its author had, in the form of
    /// our own nodes.
    pub(crate) heights: BTreeMap<VerifyingKey, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: BTreeMap<Hash, Node>,
    /// Of each author, how many messages there are and which was the last.
    authors: BTreeMap<VerifyingKey, (u64, Hash)>,
    heads: BTreeSet<Hash>,
    /// Those that say something of invites.
    noting: BTreeSet<Hash>,
    pub(crate) dirty: BTreeSet<Hash>,
}

impl Graph {
    pub(crate) fn get(&self, id: &Hash) -> Option<&Node> {
        self.nodes.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All messages, each after those that it has seen.
    pub(crate) fn in_order(&self) -> Vec<Hash> {
        let seen = |node: &Node| node.place.clock.values().sum::<u64>();
        let mut order: Vec<(u64, Hash)> = self
            .nodes
            .iter()
            .map(|(id, node)| (seen(node), *id))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, id)| id).collect()
    }

    /// The messages that say something of invites, by id.
    pub(crate) fn noting(&self) -> impl Iterator<Item = &Hash> {
        self.noting.iter()
    }

    /// Returns `true` if there is a message of an author.
    pub(crate) fn has_author(&self, key: &VerifyingKey) -> bool {
        self.authors.contains_key(key)
    }

    /// The messages without successor.
    pub(crate) fn heads(&self) -> Vec<Hash> {
        self.heads.iter().copied().collect()
    }

    /// Those that are not here.
    pub(crate) fn missing(&self, ids: &[Hash]) -> Vec<Hash> {
        let absent = ids.iter().filter(|id| !self.nodes.contains_key(*id));
        absent.copied().collect()
    }

    /// Returns the place of the next message of an author that names these.
    pub(crate) fn place(&self, author: VerifyingKey, dependencies: &[Hash]) -> Place {
        let (count, last) = match self.authors.get(&author) {
            Some((count, last)) => (*count, Some(*last)),
            None => (0, None),
        };
        let named: BTreeSet<Hash> = dependencies.iter().copied().chain(last).collect();
        let mut clock = Clock::new();
        let mut controls = BTreeSet::new();
        for (id, node) in named
            .iter()
            .filter_map(|id| Some((id, self.nodes.get(id)?)))
        {
            join(&mut clock, &node.place.clock);
            let own = clock.entry(node.place.author).or_default();
            *own = node.place.position.max(*own);
            match node.is_control() {
                true => {
                    controls.insert(*id);
                }
                false => controls.extend(&node.place.controls),
            }
        }
        Place {
            author,
            position: count.saturating_add(1),
            clock,
            named: named.into_iter().collect(),
            controls: self.last_of(controls),
        }
    }

    /// Those that no other of them has seen.
    pub(crate) fn last_of(&self, ids: BTreeSet<Hash>) -> Vec<Hash> {
        let seen_by_another = |id: &&Hash| ids.iter().any(|later| self.precedes(id, later));
        let last = ids.iter().filter(|id| !seen_by_another(id));
        last.copied().collect()
    }

    /// Returns `true` if the later one has seen the earlier one.
    pub(crate) fn precedes(&self, earlier: &Hash, later: &Hash) -> bool {
        let (Some(earlier), Some(later)) = (self.nodes.get(earlier), self.nodes.get(later)) else {
            return false;
        };
        later.place.has_seen(&earlier.place)
    }

    pub(crate) fn insert(&mut self, id: Hash, node: Node) {
        let author = node.place.author;
        self.authors.insert(author, (node.place.position, id));
        if node.kind != Kind::Refused {
            let seen = |head: &Hash| {
                let head = self.nodes.get(head).map(|node| &node.place);
                let seen = head.and_then(|head| Some((node.place.clock.get(&head.author)?, head)));
                seen.is_some_and(|(seen, head)| *seen >= head.position)
            };
            let passed: Vec<Hash> = self
                .heads
                .iter()
                .filter(|head| seen(head))
                .copied()
                .collect();
            for head in passed {
                self.heads.remove(&head);
            }
            self.heads.insert(id);
        }
        if !node.notes.is_empty() {
            self.noting.insert(id);
        }
        self.nodes.insert(id, node);
        self.dirty.insert(id);
    }

    /// Stores what the application was told of a message.
    pub(crate) fn tell(&mut self, id: &Hash, verdict: Verdict) {
        let node = self.nodes.get_mut(id).map(|node| &mut node.kind);
        if let Some(Kind::Application { told, .. }) = node {
            *told = Some(verdict);
            self.dirty.insert(*id);
        }
    }

    /// The graph of nodes that were stored.
    pub(crate) fn of_nodes(nodes: BTreeMap<Hash, Node>) -> Graph {
        let mut seen = Clock::new();
        let mut authors = BTreeMap::new();
        for (id, node) in &nodes {
            let place = &node.place;
            let last = authors.entry(place.author).or_insert((place.position, *id));
            *last = (*last).max((place.position, *id));
            if node.kind != Kind::Refused {
                join(&mut seen, &place.clock);
            }
        }
        let is_head = |node: &Node| {
            let seen = seen.get(&node.place.author).copied().unwrap_or_default();
            node.kind != Kind::Refused && seen < node.place.position
        };
        let heads = nodes.iter().filter(|(_, node)| is_head(node));
        let heads = heads.map(|(id, _)| *id).collect();
        let noting = nodes.iter().filter(|(_, node)| !node.notes.is_empty());
        let noting = noting.map(|(id, _)| *id).collect();
        Graph {
            nodes,
            authors,
            heads,
            noting,
            dirty: BTreeSet::new(),
        }
    }
}

impl Place {
    /// Returns `true` if the message of another place comes before one that stands here.
    pub(crate) fn has_seen(&self, other: &Place) -> bool {
        let seen = self.clock.get(&other.author);
        seen.is_some_and(|seen| *seen >= other.position)
    }
}

impl Node {
    pub(crate) fn is_control(&self) -> bool {
        matches!(&self.kind, Kind::Pointer(pointed) if pointed.is_control)
    }
}

fn join(into: &mut Clock, other: &Clock) {
    for (author, count) in other {
        let known = into.entry(*author).or_default();
        *known = (*known).max(*count);
    }
}
