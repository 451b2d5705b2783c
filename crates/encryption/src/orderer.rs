//! Holds messages back until those they depend on were processed
//! (`docs/protocol/encryption.md#12`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::limits::{
    APPLICATION_IDS_MAX, DIRECT_MESSAGE_BYTES_MAX, ENCRYPTION_WAITING_MAX, GROUP_MEMBERS_MAX,
};
use thiserror::Error;

use crate::control::ControlMessage;
use crate::direct::{DirectMessage, Kind};
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

/// While we are not in the group, one of so many messages goes at once.
const WAITING_ROOM: usize = 16;

/// A message of a scheme with these control messages and this encryption.
type GroupMessage<C, E> = Message<Payload<C, E>>;

/// Why a message is not taken; nothing has changed.
///
/// What one member refuses for good, everybody refuses; whatever is wrong only for some is taken
/// and fails when its turn comes, so that nobody waits for a message that others have processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The message was processed or waits already.
    #[error("the message was received before")]
    Replayed,
    /// The message is our own.
    #[error("the message is our own")]
    OwnMessage,
    /// A bound was reached that is the same for everybody.
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
    waiting: BTreeMap<OperationId, Waiting<C, E>>,
    /// In which order they came.
    arrivals: BTreeMap<u64, OperationId>,
    next_arrival: u64,
    /// Those that count for the bound, by sender and arrival.
    bounded: BTreeMap<Class, BTreeMap<Member, BTreeSet<u64>>>,
    /// Messages by one of those that they wait for, in the order in which they came.
    blocked: BTreeMap<OperationId, BTreeSet<u64>>,
    /// Messages whose whole past was processed; no bound keeps them out.
    ready: VecDeque<OperationId>,
    /// Messages whose whole past was received, while we are not in the group.
    complete: BTreeSet<OperationId>,
    /// Those of them that let us join, in the order in which they became complete.
    joins: VecDeque<OperationId>,
}

/// A message as it is kept: of its direct messages only those for us, which are all that we open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept<C, E> {
    pub(crate) id: OperationId,
    pub(crate) sender: Member,
    pub(crate) dependencies: Vec<OperationId>,
    pub(crate) payload: Payload<C, E>,
    /// Who was sent direct messages; nobody where we were not, since then it does not matter.
    pub(crate) recipients: Vec<(Kind, Member)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting<C, E> {
    message: Kept<C, E>,
    arrival: u64,
    blocked_by: Option<OperationId>,
}

/// Control messages and others are counted apart, so that neither keeps the other out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Control,
    Application,
}

/// How we join.
pub(crate) struct Join<C, E> {
    /// What the welcome follows, oldest first.
    pub(crate) past: Vec<Kept<C, E>>,
    /// The create or add of us.
    pub(crate) welcome: Kept<C, E>,
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
    /// How many were processed before it.
    order: u64,
    /// It follows all of which fewer were processed before.
    covers: u64,
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
            arrivals: BTreeMap::new(),
            next_arrival: 0,
            bounded: BTreeMap::new(),
            blocked: BTreeMap::new(),
            ready: VecDeque::new(),
            complete: BTreeSet::new(),
            joins: VecDeque::new(),
        }
    }

    /// Takes a message of another member, which then waits for what it depends on. Gives those
    /// that lose their place.
    pub(crate) fn receive(
        &mut self,
        message: GroupMessage<C, E>,
    ) -> Result<Vec<OperationId>, QueueError> {
        self.receive_within(message, ENCRYPTION_WAITING_MAX)
    }

    fn receive_within(
        &mut self,
        message: GroupMessage<C, E>,
        waiting_max: usize,
    ) -> Result<Vec<OperationId>, QueueError> {
        let is_own = message.sender == self.me;
        if self.knows(&message.id, &message.sender) {
            return Err(match is_own {
                true => QueueError::OwnMessage,
                false => QueueError::Replayed,
            });
        }
        check_size(&message.payload)?;
        let id = message.id;
        let message = Kept::of(message, &self.me);
        let class = message.class();
        self.put(message);
        self.place(id);
        Ok(self.make_room(class, waiting_max))
    }

    /// Takes the next message whose dependencies were processed.
    pub(crate) fn next(&mut self) -> Option<Kept<C, E>> {
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
        self.place_all();
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
        self.place_all();
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
            let is_all = self.heads.is_empty();
            self.heads.insert(id);
            let node = self.node_after(dependencies, is_all);
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
        let node = self.node_after(dependencies, true);
        self.nodes.insert(id, node);
        self.unblock(id);
    }

    /// The processed control messages that no other one names.
    pub(crate) fn heads(&self) -> Vec<OperationId> {
        self.heads.iter().copied().collect()
    }

    /// Whether a processed control message comes causally after another.
    pub(crate) fn follows(&self, later: &OperationId, earlier: &OperationId) -> bool {
        let Some((floor, order)) = self.nodes.get(earlier).map(|node| (node.depth, node.order))
        else {
            return false;
        };
        if self
            .nodes
            .get(later)
            .is_some_and(|node| order < node.covers)
        {
            return true;
        }
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

    /// The node of what is processed now, after all that was before or not.
    fn node_after(&self, dependencies: Vec<OperationId>, is_all: bool) -> Node {
        let known = || dependencies.iter().filter_map(|id| self.nodes.get(id));
        let depth = known().map(|node| node.depth).max().unwrap_or(0);
        let order = self.nodes.len() as u64;
        let covered = known().map(|node| node.covers).max().unwrap_or(0);
        Node {
            depth: depth.saturating_add(1),
            order,
            covers: if is_all { order } else { covered },
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

    fn put(&mut self, message: Kept<C, E>) {
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        self.put_at(arrival, message);
    }

    fn put_at(&mut self, arrival: u64, message: Kept<C, E>) {
        let id = message.id;
        self.count(arrival, &message);
        self.arrivals.insert(arrival, id);
        let waiting = Waiting {
            message,
            arrival,
            blocked_by: None,
        };
        self.waiting.insert(id, waiting);
    }

    fn take(&mut self, id: &OperationId) -> Option<Kept<C, E>> {
        let waiting = self.waiting.remove(id)?;
        let Waiting {
            message,
            arrival,
            blocked_by,
        } = waiting;
        self.arrivals.remove(&arrival);
        self.uncount(arrival, message.class(), &message.sender);
        if let Some(entry) = blocked_by
            && let Some(blocked) = self.blocked.get_mut(&entry)
        {
            blocked.remove(&arrival);
            if blocked.is_empty() {
                self.blocked.remove(&entry);
            }
        }
        Some(message)
    }

    fn count(&mut self, arrival: u64, message: &Kept<C, E>) {
        let senders = self.bounded.entry(message.class()).or_default();
        senders.entry(message.sender).or_default().insert(arrival);
    }

    fn uncount(&mut self, arrival: u64, class: Class, sender: &Member) {
        let senders = self.bounded.entry(class).or_default();
        if let Some(arrivals) = senders.get_mut(sender) {
            arrivals.remove(&arrival);
            if arrivals.is_empty() {
                senders.remove(sender);
            }
        }
    }

    /// While too many wait, the sender with the most loses its oldest.
    fn make_room(&mut self, class: Class, waiting_max: usize) -> Vec<OperationId> {
        let Some(senders) = self.bounded.get(&class) else {
            return Vec::new();
        };
        let mut counted: usize = senders.values().map(BTreeSet::len).sum();
        if counted <= waiting_max {
            return Vec::new();
        }
        // While we are not in the group, what follows a message that goes is no longer complete;
        // many go at once, so that few have to be placed anew for each that comes.
        let keep = match self.is_open() {
            true => waiting_max,
            false => waiting_max - waiting_max / WAITING_ROOM,
        };
        let mut displaced = Vec::new();
        while counted > keep {
            let senders = self.bounded.get(&class).into_iter().flatten();
            let most = senders.max_by_key(|(_, arrivals)| arrivals.len());
            let oldest = most.and_then(|(_, arrivals)| arrivals.first());
            let Some(id) = oldest
                .and_then(|arrival| self.arrivals.get(arrival))
                .copied()
            else {
                break;
            };
            self.take(&id);
            displaced.push(id);
            counted -= 1;
        }
        if !self.is_open() {
            self.place_all();
        }
        displaced
    }

    /// Puts every message where it belongs now.
    fn place_all(&mut self) {
        self.complete.clear();
        self.joins.clear();
        self.ready.clear();
        self.blocked.clear();
        self.bounded.clear();
        let order: Vec<_> = self.arrivals.iter().map(|(at, id)| (*at, *id)).collect();
        for (arrival, id) in &order {
            if let Some(waiting) = self.waiting.get_mut(id) {
                waiting.blocked_by = None;
                let (class, sender) = (waiting.message.class(), waiting.message.sender);
                let senders = self.bounded.entry(class).or_default();
                senders.entry(sender).or_default().insert(*arrival);
            }
        }
        for (_, id) in order {
            self.place(id);
        }
    }

    /// Puts a message, and those that then wait for nothing any more, where they belong.
    fn place(&mut self, id: OperationId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(waiting) = self.waiting.get(&id) else {
                continue;
            };
            let (message, arrival) = (&waiting.message, waiting.arrival);
            let missing = message.dependencies.iter().find(|dependency| {
                let complete = !self.is_open() && self.complete.contains(dependency);
                !complete && !self.is_processed(dependency, &message.sender)
            });
            if let Some(missing) = missing.copied() {
                self.blocked.entry(missing).or_default().insert(arrival);
                if let Some(waiting) = self.waiting.get_mut(&id) {
                    waiting.blocked_by = Some(missing);
                }
            } else if self.is_open() {
                let (class, sender) = (message.class(), message.sender);
                self.uncount(arrival, class, &sender);
                self.ready.push_back(id);
            } else {
                let change = message.payload.control().and_then(C::change);
                if change.is_some_and(|change| change.admits(&self.me)) {
                    self.joins.push_back(id);
                }
                self.complete.insert(id);
                open.extend(self.unblocked(&id).into_iter().rev());
            }
        }
    }

    fn unblock(&mut self, id: OperationId) {
        self.complete.remove(&id);
        for id in self.unblocked(&id) {
            self.place(id);
        }
    }

    /// Takes out those that waited for a message.
    fn unblocked(&mut self, id: &OperationId) -> Vec<OperationId> {
        let arrivals = self.blocked.remove(id).unwrap_or_default();
        let ids = arrivals.iter().filter_map(|at| self.arrivals.get(at));
        let ids: Vec<_> = ids.copied().collect();
        for id in &ids {
            if let Some(waiting) = self.waiting.get_mut(id) {
                waiting.blocked_by = None;
            }
        }
        ids
    }

    /// The waiting messages that one follows, oldest first.
    fn waiting_past(&self, message: &Kept<C, E>) -> Vec<OperationId> {
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        let mut open: Vec<_> = message.dependencies.iter().map(|id| (*id, false)).collect();
        while let Some((id, expanded)) = open.pop() {
            if expanded {
                order.push(id);
                continue;
            }
            let Some(waiting) = self.waiting.get(&id).filter(|_| done.insert(id)) else {
                continue;
            };
            open.push((id, true));
            open.extend(waiting.message.dependencies.iter().map(|id| (*id, false)));
        }
        order
    }
}

impl<C: ControlMessage, E> Kept<C, E> {
    fn of(message: GroupMessage<C, E>, me: &Member) -> Kept<C, E> {
        let Message {
            id,
            sender,
            dependencies,
            mut payload,
        } = message;
        let mut recipients = Vec::new();
        if let Payload::Control { directs, .. } = &mut payload {
            if directs.iter().any(|direct| direct.recipient == *me) {
                let to = |direct: &DirectMessage| (direct.content.kind(), direct.recipient);
                recipients = directs.iter().map(to).collect();
            }
            directs.retain(|direct| direct.recipient == *me);
            directs.shrink_to_fit();
        }
        Kept {
            id,
            sender,
            dependencies,
            payload,
            recipients,
        }
    }

    fn class(&self) -> Class {
        match self.payload {
            Payload::Control { .. } => Class::Control,
            Payload::Application(_) => Class::Application,
        }
    }
}

/// The bounds that are the same for everybody.
fn check_size<C: ControlMessage, E>(payload: &Payload<C, E>) -> Result<(), Limit> {
    let directs = payload.directs();
    let change = payload.control().and_then(C::change);
    let members = change.map_or(0, |change| change.initial_members().len());
    if directs.map_or(0, <[_]>::len).max(members) > GROUP_MEMBERS_MAX {
        return Err(Limit::Members);
    }
    let too_large = |direct: &DirectMessage| direct.content.bytes() > DIRECT_MESSAGE_BYTES_MAX;
    match directs.into_iter().flatten().any(too_large) {
        true => Err(Limit::DirectMessage),
        false => Ok(()),
    }
}

impl<C: ControlMessage, E: Wire> Wire for Orderer<C, E> {
    fn write(&self, w: &mut Writer) {
        w.array(7).item(&self.me).uint(self.stage as u64);
        w.map(self.nodes.len());
        for (id, node) in &self.nodes {
            w.item(id).array(5).uint(node.depth).uint(node.order);
            w.uint(node.covers).bool(node.ours);
            write_list(&node.dependencies, w);
        }
        write_list(&self.heads, w);
        w.map(self.applications.len());
        for (member, recent) in &self.applications {
            w.item(member);
            write_list(recent, w);
        }
        w.array(self.arrivals.len());
        let waiting = self.arrivals.values().filter_map(|id| self.waiting.get(id));
        for waiting in waiting {
            w.array(2).uint(waiting.arrival).item(&waiting.message);
        }
        // Messages that are ready keep their place by being placed again in this order.
        write_list(&self.ready, w);
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
            for _ in 0..r.array()? {
                let waiting = |r: &mut Reader<'_>| Ok((r.uint()?, Kept::read(r)?));
                let (arrival, message) = tuple(r, 2, waiting)?;
                orderer.put_at(arrival, message);
                orderer.next_arrival = orderer.next_arrival.max(arrival.saturating_add(1));
            }
            let ready: Vec<OperationId> = list(r, usize::MAX)?;
            let first: BTreeSet<_> = ready.iter().copied().collect();
            let waiting = orderer.arrivals.values().filter(|id| !first.contains(id));
            let rest: Vec<_> = waiting.copied().collect();
            for id in ready.into_iter().chain(rest) {
                orderer.place(id);
            }
            Ok(orderer)
        })
    }
}

impl Node {
    fn read(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
        tuple(r, 5, |r| {
            Ok(Node {
                depth: r.uint()?,
                order: r.uint()?,
                covers: r.uint()?,
                ours: r.bool()?,
                dependencies: list(r, usize::MAX)?,
            })
        })
    }
}

impl<C: Wire, E: Wire> Wire for Kept<C, E> {
    fn write(&self, w: &mut Writer) {
        w.array(5).item(&self.id).item(&self.sender);
        write_list(&self.dependencies, w);
        w.item(&self.payload).array(self.recipients.len());
        for (kind, recipient) in &self.recipients {
            w.array(2).uint(*kind as u64).item(recipient);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Kept<C, E>, DecodeError> {
        let recipient = |r: &mut Reader<'_>| {
            tuple(r, 2, |r| {
                let kind = match r.uint()? {
                    0 => Kind::Welcome,
                    1 => Kind::TwoParty,
                    2 => Kind::Forward,
                    _ => return Err(DecodeError::Range),
                };
                Ok((kind, Member::read(r)?))
            })
        };
        tuple(r, 5, |r| {
            let (id, sender) = (OperationId::read(r)?, Member::read(r)?);
            let (dependencies, payload) = (list(r, usize::MAX)?, Payload::read(r)?);
            let recipients = (0..r.array()?).map(|_| recipient(r));
            Ok(Kept {
                id,
                sender,
                dependencies,
                payload,
                recipients: recipients.collect::<Result<_, _>>()?,
            })
        })
    }
}
