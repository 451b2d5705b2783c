//! Holds messages back until those they depend on were processed
//! (`docs/protocol/encryption.md#12`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::limits::{
    APPLICATION_IDS_MAX, DIRECT_MESSAGE_BYTES_MAX, ENCRYPTION_MEMBERS_MAX, ENCRYPTION_WAITING_MAX,
};
use thiserror::Error;

use crate::control::ControlMessage;
use crate::direct::DirectMessage;
use crate::limit::Limit;
use crate::payload::Payload;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, list, map, tuple, write_list};
use crate::{Member, OperationId};

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

/// A message of a scheme with these control messages and this encryption.
type GroupMessage<C, E> = Message<Payload<C, E>>;

/// Why a message is not taken; nothing has changed.
///
/// What one member refuses for good, everybody refuses; whatever is wrong only for some is taken
/// and fails when its turn comes, so that nobody waits for a message that others have processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The message was processed or waits already.
    #[error("the message was received before")]
    Replayed,
    /// The message is our own.
    #[error("the message is our own")]
    OwnMessage,
    /// A bound was reached. After [`Limit::Waiting`] hand the message in again later.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// The graph of processed control messages and the messages that wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Orderer<C, E> {
    me: Member,
    stage: Stage,
    nodes: BTreeMap<OperationId, Node>,
    heads: BTreeSet<OperationId>,
    /// The last application messages of each sender, newest last.
    applications: BTreeMap<Member, VecDeque<OperationId>>,
    waiting: BTreeMap<OperationId, GroupMessage<C, E>>,
    /// How many of them are control messages.
    waiting_controls: usize,
    /// In which order messages came, while we are not in the group.
    arrivals: VecDeque<OperationId>,
    /// Messages by one of those that they wait for.
    blocked: BTreeMap<OperationId, Vec<OperationId>>,
    /// Messages whose whole past was processed.
    ready: VecDeque<OperationId>,
    /// Messages whose whole past was received, while we are not in the group.
    complete: BTreeSet<OperationId>,
    /// Those of them that let us join, in the order in which they became complete.
    joins: VecDeque<OperationId>,
}

/// How we join.
pub(crate) struct Join<C, E> {
    /// What the welcome follows, oldest first.
    pub(crate) past: Vec<GroupMessage<C, E>>,
    /// The create or add of us.
    pub(crate) welcome: GroupMessage<C, E>,
}

/// While we are not in the group every message waits for the one that lets us join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Invited,
    Joined,
    Left,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    dependencies: Vec<OperationId>,
    /// Above that of every dependency.
    depth: u64,
    /// Whether it lets us join or follows a message that did.
    ours: bool,
}

impl<C: ControlMessage, E> Orderer<C, E> {
    pub(crate) fn new(me: Member) -> Orderer<C, E> {
        Orderer {
            me,
            stage: Stage::Invited,
            nodes: BTreeMap::new(),
            heads: BTreeSet::new(),
            applications: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_controls: 0,
            arrivals: VecDeque::new(),
            blocked: BTreeMap::new(),
            ready: VecDeque::new(),
            complete: BTreeSet::new(),
            joins: VecDeque::new(),
        }
    }

    /// Takes a message of another member, which then waits for what it depends on.
    pub(crate) fn receive(&mut self, message: GroupMessage<C, E>) -> Result<(), QueueError> {
        if message.sender == self.me {
            return Err(QueueError::OwnMessage);
        }
        if self.knows(&message.id, &message.sender) {
            return Err(QueueError::Replayed);
        }
        self.check_bounds(&message.payload)?;
        let id = message.id;
        self.put(message);
        if !self.is_open() {
            self.arrivals.push_back(id);
        }
        self.place(id);
        Ok(())
    }

    /// Takes the next message whose dependencies were processed.
    pub(crate) fn next(&mut self) -> Option<GroupMessage<C, E>> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(message) = self.take(&id) {
                return Some(message);
            }
        }
        None
    }

    /// Whether we are or were in the group.
    pub(crate) fn has_joined(&self) -> bool {
        self.stage != Stage::Invited
    }

    /// Takes the first message that lets us join and whose whole past was received.
    pub(crate) fn take_join(&mut self) -> Option<Join<C, E>> {
        while let Some(id) = self.joins.pop_front() {
            let Some(welcome) = self.take(&id) else {
                continue;
            };
            let past = self.waiting_past(&welcome);
            let past = past.iter().filter_map(|id| self.take(id));
            let past: Vec<_> = past.collect();
            self.arrivals.retain(|id| self.waiting.contains_key(id));
            return Some(Join { past, welcome });
        }
        None
    }

    /// We are in the group, by a message that was processed. What waited takes its place.
    pub(crate) fn enter(&mut self, join: OperationId) {
        for node in self.nodes.values_mut() {
            node.ours = false;
        }
        self.enter_again(join);
        self.stage = Stage::Joined;
        self.complete.clear();
        self.joins.clear();
        self.blocked.clear();
        for id in std::mem::take(&mut self.arrivals) {
            self.place(id);
        }
    }

    /// Another message that was processed made us a member as well.
    pub(crate) fn enter_again(&mut self, join: OperationId) {
        if let Some(node) = self.nodes.get_mut(&join) {
            node.ours = true;
        }
    }

    /// We are not in the group any more: every message waits for the next join.
    pub(crate) fn leave(&mut self) {
        self.stage = Stage::Left;
        self.ready.clear();
        self.blocked.clear();
        self.arrivals = self.waiting.keys().copied().collect();
        for id in self.arrivals.clone() {
            self.place(id);
        }
    }

    /// Whether a message with these dependencies comes after one by which we joined.
    pub(crate) fn is_ours(&self, dependencies: &[OperationId]) -> bool {
        let mut nodes = dependencies.iter().filter_map(|id| self.nodes.get(id));
        nodes.any(|node| node.ours)
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
            for id in &dependencies {
                self.heads.remove(id);
            }
            self.heads.insert(id);
            let node = self.node_after(dependencies);
            self.nodes.insert(id, node);
        } else {
            let recent = self.applications.entry(sender).or_default();
            recent.push_back(id);
            if recent.len() > APPLICATION_IDS_MAX {
                recent.pop_front();
            }
        }
        self.unblock(id);
    }

    /// Stops waiting for a message that is lost for good. Since it cannot be told what it followed,
    /// it counts as following everything that was processed.
    pub(crate) fn give_up(&mut self, id: OperationId) {
        if self.nodes.contains_key(&id) || self.waiting.contains_key(&id) {
            return;
        }
        let dependencies = self.heads();
        let node = self.node_after(dependencies);
        self.nodes.insert(id, node);
        self.unblock(id);
    }

    /// The processed control messages that no other one names.
    pub(crate) fn heads(&self) -> Vec<OperationId> {
        self.heads.iter().copied().collect()
    }

    /// Whether a processed control message comes causally after another.
    pub(crate) fn follows(&self, later: &OperationId, earlier: &OperationId) -> bool {
        let Some(floor) = self.nodes.get(earlier).map(|node| node.depth) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut open = self.dependencies(later).to_vec();
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

    /// Every processed control message that one comes causally after.
    pub(crate) fn past(&self, later: &OperationId) -> BTreeSet<OperationId> {
        let mut past = BTreeSet::new();
        let mut open = self.dependencies(later).to_vec();
        while let Some(id) = open.pop() {
            if past.insert(id) {
                open.extend(self.dependencies(&id));
            }
        }
        past
    }

    fn node_after(&self, dependencies: Vec<OperationId>) -> Node {
        let known = dependencies.iter().filter_map(|id| self.nodes.get(id));
        let depth = known.map(|node| node.depth).max().unwrap_or(0);
        Node {
            depth: depth.saturating_add(1),
            ours: self.is_ours(&dependencies),
            dependencies,
        }
    }

    fn is_open(&self) -> bool {
        self.stage == Stage::Joined
    }

    fn dependencies(&self, id: &OperationId) -> &[OperationId] {
        let node = self.nodes.get(id);
        node.map_or(&[], |node| &node.dependencies)
    }

    fn knows(&self, id: &OperationId, sender: &Member) -> bool {
        self.is_processed(id, sender) || self.waiting.contains_key(id)
    }

    /// Whether what a sender depends on was processed; of application messages senders only name
    /// their own.
    fn is_processed(&self, id: &OperationId, sender: &Member) -> bool {
        let recent = self.applications.get(sender);
        self.nodes.contains_key(id) || recent.is_some_and(|recent| recent.contains(id))
    }

    /// The bounds that are the same for everybody come first.
    fn check_bounds(&self, payload: &Payload<C, E>) -> Result<(), Limit> {
        let directs = payload.directs();
        let change = payload.control().and_then(C::change);
        let members = change.map_or(0, |change| change.initial_members().len());
        if directs.map_or(0, <[_]>::len).max(members) > ENCRYPTION_MEMBERS_MAX {
            return Err(Limit::Members);
        }
        let too_large = |direct: &DirectMessage| direct.content.bytes() > DIRECT_MESSAGE_BYTES_MAX;
        if directs.into_iter().flatten().any(too_large) {
            return Err(Limit::DirectMessage);
        }
        // Control messages and others are counted apart, so that neither keeps the other out.
        let waiting = match directs {
            Some(_) => self.waiting_controls,
            None => self.waiting.len() - self.waiting_controls,
        };
        match waiting < ENCRYPTION_WAITING_MAX {
            true => Ok(()),
            false => Err(Limit::Waiting),
        }
    }

    fn put(&mut self, message: GroupMessage<C, E>) {
        let is_control = message.payload.directs().is_some();
        if self.waiting.insert(message.id, message).is_none() {
            self.waiting_controls += usize::from(is_control);
        }
    }

    fn take(&mut self, id: &OperationId) -> Option<GroupMessage<C, E>> {
        let message = self.waiting.remove(id)?;
        self.waiting_controls -= usize::from(message.payload.directs().is_some());
        Some(message)
    }

    /// Puts a message, and those that then wait for nothing any more, where they belong.
    fn place(&mut self, id: OperationId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(message) = self.waiting.get(&id) else {
                continue;
            };
            let missing = message.dependencies.iter().find(|dependency| {
                let complete = !self.is_open() && self.complete.contains(dependency);
                !complete && !self.is_processed(dependency, &message.sender)
            });
            if let Some(missing) = missing {
                self.blocked.entry(*missing).or_default().push(id);
            } else if self.is_open() {
                self.ready.push_back(id);
            } else {
                let change = message.payload.control().and_then(C::change);
                if change.is_some_and(|change| change.admits(&self.me)) {
                    self.joins.push_back(id);
                }
                self.complete.insert(id);
                open.extend(self.blocked.remove(&id).unwrap_or_default());
            }
        }
    }

    fn unblock(&mut self, id: OperationId) {
        self.complete.remove(&id);
        for id in self.blocked.remove(&id).unwrap_or_default() {
            self.place(id);
        }
    }

    /// The waiting messages that one follows, oldest first.
    fn waiting_past(&self, message: &GroupMessage<C, E>) -> Vec<OperationId> {
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        let mut open: Vec<_> = message.dependencies.iter().map(|id| (*id, false)).collect();
        while let Some((id, expanded)) = open.pop() {
            if expanded {
                order.push(id);
                continue;
            }
            let Some(message) = self.waiting.get(&id).filter(|_| done.insert(id)) else {
                continue;
            };
            open.push((id, true));
            open.extend(message.dependencies.iter().map(|id| (*id, false)));
        }
        order
    }
}

impl<C: ControlMessage, E: Wire> Wire for Orderer<C, E> {
    fn write(&self, w: &mut Writer) {
        w.array(7).item(&self.me).uint(self.stage as u64);
        w.map(self.nodes.len());
        for (id, node) in &self.nodes {
            w.item(id).array(3).uint(node.depth).bool(node.ours);
            write_list(&node.dependencies, w);
        }
        write_list(&self.heads, w);
        w.map(self.applications.len());
        for (member, recent) in &self.applications {
            w.item(member);
            write_list(recent, w);
        }
        write_list(self.waiting.values(), w);
        // Messages that are placed keep their place by being placed again in this order.
        let order: Vec<_> = self.arrivals.iter().chain(&self.ready).collect();
        write_list(order, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Orderer<C, E>, DecodeError> {
        tuple(r, 7, |r| {
            let mut orderer = Orderer::new(Member::read(r)?);
            orderer.stage = match r.uint()? {
                0 => Stage::Invited,
                1 => Stage::Joined,
                2 => Stage::Left,
                _ => return Err(DecodeError::Range),
            };
            orderer.nodes = map(r, OperationId::read, Node::read)?;
            orderer.heads = list(r, usize::MAX)?.into_iter().collect();
            let recent = |r: &mut Reader<'_>| list(r, APPLICATION_IDS_MAX).map(VecDeque::from);
            orderer.applications = map(r, Member::read, recent)?;
            let waiting: Vec<GroupMessage<C, E>> = list(r, usize::MAX)?;
            let order: Vec<OperationId> = list(r, usize::MAX)?;
            let first: BTreeSet<_> = order.iter().copied().collect();
            let rest = waiting.iter().map(|message| message.id);
            let rest: Vec<_> = rest.filter(|id| !first.contains(id)).collect();
            for message in waiting {
                orderer.put(message);
            }
            let order: VecDeque<_> = order.into_iter().chain(rest).collect();
            for id in &order {
                orderer.place(*id);
            }
            if !orderer.is_open() {
                orderer.arrivals = order;
            }
            Ok(orderer)
        })
    }
}

impl Node {
    fn read(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
        tuple(r, 3, |r| {
            Ok(Node {
                depth: r.uint()?,
                ours: r.bool()?,
                dependencies: list(r, usize::MAX)?,
            })
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
