//! Holds messages back until those they depend on were processed
//! (`docs/protocol/encryption.md#12`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

use crate::limits::{Limit, WAITING_MAX};
use crate::wire::{DecodeError, Reader, Wire, Writer, list, map, tuple};
use crate::{Member, OperationId};

/// How many application messages of each sender are known by id, to tell repeats.
const APPLICATIONS_KEPT: usize = 64;

/// A message as it came out of its signed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<P> {
    /// The id of the operation that carried it.
    pub id: OperationId,
    /// Who signed the envelope.
    pub sender: Member,
    /// The messages it names as processed before it.
    pub dependencies: Vec<OperationId>,
    /// What it says.
    pub payload: P,
}

/// Why a message is not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The message was processed or waits already.
    #[error("the message was received before")]
    Replayed,
    /// The message is our own.
    #[error("the message is our own")]
    OwnMessage,
    /// Several direct messages name us.
    #[error("several direct messages name us")]
    AmbiguousDirectMessage,
    /// The group exists already, so nobody can create it.
    #[error("the group exists already")]
    GroupAlreadyEstablished,
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// What the orderer needs to know of a payload.
pub(crate) trait Payload: Wire {
    /// Whether later messages of everybody depend on it.
    fn is_control(&self) -> bool;
}

/// The graph of processed control messages and the messages that wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Orderer<P> {
    nodes: BTreeMap<OperationId, Node>,
    heads: BTreeSet<OperationId>,
    /// The last application messages of each sender, newest last.
    applications: BTreeMap<Member, VecDeque<OperationId>>,
    waiting: BTreeMap<OperationId, Message<P>>,
    arrivals: VecDeque<OperationId>,
    blocked: BTreeMap<OperationId, Vec<OperationId>>,
    ready: VecDeque<OperationId>,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    dependencies: Vec<OperationId>,
    /// Above that of every dependency.
    depth: u64,
}

impl<P> Default for Orderer<P> {
    fn default() -> Orderer<P> {
        Orderer {
            nodes: BTreeMap::new(),
            heads: BTreeSet::new(),
            applications: BTreeMap::new(),
            waiting: BTreeMap::new(),
            arrivals: VecDeque::new(),
            blocked: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }
}

impl<P: Payload> Orderer<P> {
    /// Takes a message. While the gate is closed it stays until a join or [`Orderer::open`].
    pub(crate) fn queue(&mut self, message: Message<P>, gate_open: bool) -> Result<(), QueueError> {
        let id = message.id;
        if self.knows(&id, &message.sender) {
            return Err(QueueError::Replayed);
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(Limit::Waiting.into());
        }
        self.waiting.insert(id, message);
        if gate_open {
            self.place(id);
        } else {
            self.arrivals.push_back(id);
        }
        Ok(())
    }

    /// Whether the message was processed or waits already.
    pub(crate) fn knows(&self, id: &OperationId, sender: &Member) -> bool {
        self.nodes.contains_key(id)
            || self.waiting.contains_key(id)
            || self.has_application(sender, id)
    }

    /// Takes the next message whose dependencies were processed.
    pub(crate) fn next(&mut self) -> Option<Message<P>> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(message) = self.waiting.remove(&id) {
                return Some(message);
            }
        }
        None
    }

    /// Puts every message that waited for the join in its place.
    pub(crate) fn open(&mut self) {
        for id in std::mem::take(&mut self.arrivals) {
            self.place(id);
        }
    }

    /// Makes every message wait for the next join.
    pub(crate) fn close(&mut self) {
        self.ready.clear();
        self.blocked.clear();
        self.arrivals = self.waiting.keys().copied().collect();
    }

    /// A waiting message that lets us join, is told apart by `joins`, and follows no other such
    /// message, once everything it follows was received.
    pub(crate) fn join_candidate(
        &self,
        joins: impl Fn(&Message<P>) -> bool,
    ) -> Option<OperationId> {
        let candidates: Vec<_> = self
            .arrivals
            .iter()
            .filter(|id| self.waiting.get(id).is_some_and(&joins))
            .copied()
            .collect();
        candidates.iter().copied().find(|id| {
            self.ancestors(id).is_some_and(|ancestors| {
                let first = |other: &OperationId| !candidates.contains(other);
                ancestors.iter().all(first)
            })
        })
    }

    /// Takes a joining message and what it follows, oldest first, the joining one last.
    pub(crate) fn take_join(&mut self, id: &OperationId) -> Vec<Message<P>> {
        let Some(ancestors) = self.ancestors(id) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for id in ancestors.into_iter().chain([*id]) {
            taken.extend(self.waiting.remove(&id));
        }
        taken
    }

    /// Records that a message of another member or of ours was processed.
    pub(crate) fn processed(
        &mut self,
        id: OperationId,
        sender: Member,
        dependencies: Vec<OperationId>,
        is_control: bool,
    ) {
        if is_control {
            let depth = dependencies
                .iter()
                .filter_map(|id| self.nodes.get(id))
                .map(|node| node.depth)
                .max();
            for id in &dependencies {
                self.heads.remove(id);
            }
            self.heads.insert(id);
            let depth = depth.unwrap_or(0).saturating_add(1);
            let node = Node {
                dependencies,
                depth,
            };
            self.nodes.insert(id, node);
        } else {
            let recent = self.applications.entry(sender).or_default();
            recent.push_back(id);
            if recent.len() > APPLICATIONS_KEPT {
                recent.pop_front();
            }
        }
        for id in self.blocked.remove(&id).unwrap_or_default() {
            self.place(id);
        }
    }

    /// Stops waiting for a message that is lost for good.
    pub(crate) fn give_up(&mut self, id: OperationId) {
        if self.nodes.contains_key(&id) || self.waiting.contains_key(&id) {
            return;
        }
        let node = Node {
            dependencies: Vec::new(),
            depth: 0,
        };
        self.nodes.insert(id, node);
        for id in self.blocked.remove(&id).unwrap_or_default() {
            self.place(id);
        }
    }

    /// The processed control messages that no other one names.
    pub(crate) fn heads(&self) -> Vec<OperationId> {
        self.heads.iter().copied().collect()
    }

    /// Whether a message with these dependencies comes causally after another.
    pub(crate) fn follow(&self, dependencies: &[OperationId], earlier: &OperationId) -> bool {
        let Some(floor) = self.nodes.get(earlier).map(|node| node.depth) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut open = dependencies.to_vec();
        while let Some(id) = open.pop() {
            if id == *earlier {
                return true;
            }
            if !seen.insert(id) {
                continue;
            }
            // Depth only falls towards the past, so below the floor nothing is found.
            let node = self.nodes.get(&id).filter(|node| node.depth > floor);
            open.extend(node.into_iter().flat_map(|node| &node.dependencies));
        }
        false
    }

    /// Whether a processed control message comes causally after another.
    pub(crate) fn follows(&self, later: &OperationId, earlier: &OperationId) -> bool {
        let node = self.nodes.get(later);
        node.is_some_and(|node| self.follow(&node.dependencies, earlier))
    }

    fn has_application(&self, sender: &Member, id: &OperationId) -> bool {
        let recent = self.applications.get(sender);
        recent.is_some_and(|recent| recent.contains(id))
    }

    fn place(&mut self, id: OperationId) {
        let Some(message) = self.waiting.get(&id) else {
            return;
        };
        let sender = &message.sender;
        let missing = message.dependencies.iter().find(|id| {
            // Senders name application messages of their own only.
            !self.nodes.contains_key(id) && !self.has_application(sender, id)
        });
        match missing {
            Some(missing) => self.blocked.entry(*missing).or_default().push(id),
            None => self.ready.push_back(id),
        }
    }

    /// The waiting messages that one follows, oldest first; `None` while one was not received.
    fn ancestors(&self, id: &OperationId) -> Option<Vec<OperationId>> {
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        let mut open = vec![(*id, false)];
        while let Some((id, expanded)) = open.pop() {
            if expanded {
                order.push(id);
                continue;
            }
            let known = self.nodes.contains_key(&id)
                || self
                    .applications
                    .values()
                    .any(|recent| recent.contains(&id));
            if known || !done.insert(id) {
                continue;
            }
            let message = self.waiting.get(&id)?;
            open.push((id, true));
            open.extend(message.dependencies.iter().map(|id| (*id, false)));
        }
        order.pop();
        Some(order)
    }
}

impl<P: Payload> Wire for Orderer<P> {
    fn write(&self, w: &mut Writer) {
        w.array(5).map(self.nodes.len());
        for (id, node) in &self.nodes {
            w.item(id).array(2).uint(node.depth);
            write_list(&node.dependencies, w);
        }
        w.array(self.heads.len());
        for id in &self.heads {
            w.item(id);
        }
        w.map(self.applications.len());
        for (member, recent) in &self.applications {
            w.item(member).array(recent.len());
            for id in recent {
                w.item(id);
            }
        }
        w.array(self.waiting.len());
        for message in self.waiting.values() {
            w.item(message);
        }
        // Messages that are placed keep their place by being placed again in this order.
        let order: Vec<_> = self.arrivals.iter().chain(&self.ready).copied().collect();
        write_list(&order, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Orderer<P>, DecodeError> {
        tuple(r, 5, |r| {
            let nodes = map(r, OperationId::read, |r| {
                tuple(r, 2, |r| {
                    let depth = r.uint()?;
                    let dependencies = list(r, usize::MAX)?;
                    Ok(Node {
                        dependencies,
                        depth,
                    })
                })
            })?;
            let heads: Vec<OperationId> = list(r, usize::MAX)?;
            let recent = |r: &mut Reader<'_>| list(r, APPLICATIONS_KEPT).map(VecDeque::from);
            let applications = map(r, Member::read, recent)?;
            let waiting: Vec<Message<P>> = list(r, usize::MAX)?;
            let first: Vec<OperationId> = list(r, usize::MAX)?;
            let mut orderer = Orderer {
                nodes,
                heads: heads.into_iter().collect(),
                applications,
                ..Orderer::default()
            };
            let rest = waiting.iter().map(|message| message.id);
            let rest: Vec<_> = rest.filter(|id| !first.contains(id)).collect();
            orderer.arrivals = first.into_iter().chain(rest).collect();
            orderer.waiting = waiting.into_iter().map(|m| (m.id, m)).collect();
            Ok(orderer)
        })
    }
}

impl<P: Wire> Wire for Message<P> {
    fn write(&self, w: &mut Writer) {
        w.array(4).item(&self.id).item(&self.sender);
        write_list(&self.dependencies, w);
        w.item(&self.payload);
    }

    fn read(r: &mut Reader<'_>) -> Result<Message<P>, DecodeError> {
        tuple(r, 4, |r| {
            Ok(Message {
                id: OperationId::read(r)?,
                sender: Member::read(r)?,
                dependencies: list(r, usize::MAX)?,
                payload: P::read(r)?,
            })
        })
    }
}

pub(crate) fn write_list<T: Wire>(items: &[T], w: &mut Writer) {
    w.array(items.len());
    for item in items {
        w.item(item);
    }
}
