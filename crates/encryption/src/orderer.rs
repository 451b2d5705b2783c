//! Holds messages back until those they depend on were processed
//! (`docs/protocol/encryption.md#12`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{
    APPLICATION_IDS_MAX, DIRECT_MESSAGE_BYTES_MAX, ENCRYPTION_WAITING_MAX, GROUP_MEMBERS_MAX,
    NAMED_APPLICATIONS_MAX,
};
use thiserror::Error;

use crate::applications::Applications;
use crate::control::ControlMessage;
use crate::direct::{DirectMessage, Kind};
use crate::graph::Graph;
use crate::limit::Limit;
use crate::payload::Payload;
use crate::rows::{LoadError, Rows, Table, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, list, tuple, write_list};
use crate::{Member, OperationId};

/// A message as it came out of its signed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<P> {
    /// The id of the operation that carried it.
    pub id: OperationId,
    /// The member that signed the envelope.
    pub sender: Member,
    /// The messages it names as processed before it.
    pub dependencies: Vec<OperationId>,
    /// Control message or data, as the sender made it.
    pub payload: P,
}

/// While we are not in the group, one of so many messages goes at once.
const WAITING_ROOM: usize = 16;

/// A message of a scheme with these control messages and this encryption.
type GroupMessage<C, E> = Message<Payload<C, E>>;

/// Reason why a message is not taken; nothing has changed.
///
/// What one member refuses permanently, everybody refuses; what is wrong only for some is taken
/// and fails when its turn comes, so that nobody waits for a message that others have processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The message was processed or waits already.
    #[error("the message was already received")]
    Replayed,
    /// The message is our own.
    #[error("the message is our own")]
    OwnMessage,
    /// A bound was reached that is the same for every member.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// The graph of processed control messages and the messages that wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Orderer<C, E> {
    me: Member,
    stage: Stage,
    graph: Graph,
    applications: Applications,
    /// Data can be opened twice, and is named by others than its sender.
    is_data: bool,
    /// Messages that wait, in the order in which they came.
    waiting: Table<u64, Kept<C, E>>,
    arrivals: BTreeMap<OperationId, u64>,
    /// Those that count for the bound, by sender and arrival.
    bounded: BTreeMap<Class, BTreeMap<Member, BTreeSet<u64>>>,
    /// Messages by one of those that they wait for, in the order in which they came.
    blocked: BTreeMap<OperationId, BTreeSet<u64>>,
    /// The operation that each of them waits for.
    blocked_by: BTreeMap<u64, OperationId>,
    /// Messages whose whole past was processed; no bound keeps them out.
    ready: BTreeSet<u64>,
    /// Messages whose whole past was received, while we are not in the group.
    complete: BTreeSet<OperationId>,
    /// Those of them that let us join.
    joins: BTreeSet<u64>,
}

/// A message as it is kept: of its direct messages only those for us, which are all that we open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept<C, E> {
    pub(crate) id: OperationId,
    pub(crate) sender: Member,
    pub(crate) dependencies: Vec<OperationId>,
    pub(crate) payload: Payload<C, E>,
    /// Members that were sent direct messages; none where we were not, since then it does not
    /// matter. Of our own messages, all of them, since a copy that was restored has lost what they
    /// carried.
    pub(crate) recipients: Vec<(Kind, Member)>,
}

/// Control messages and others are counted apart, so that neither keeps the other out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Control,
    Application,
}

/// The message by which we join, and its context.
pub(crate) struct Join<C, E> {
    /// Messages in the past of the welcome, oldest first.
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

impl<C: ControlMessage, E> Orderer<C, E> {
    pub(crate) fn new(me: Member) -> Orderer<C, E> {
        Orderer {
            me,
            stage: Stage::Invited,
            graph: Graph::default(),
            applications: Applications::default(),
            is_data: false,
            waiting: Table::default(),
            arrivals: BTreeMap::new(),
            bounded: BTreeMap::new(),
            blocked: BTreeMap::new(),
            blocked_by: BTreeMap::new(),
            ready: BTreeSet::new(),
            complete: BTreeSet::new(),
            joins: BTreeSet::new(),
        }
    }

    /// The order of the data scheme.
    pub(crate) fn of_data(mut self) -> Orderer<C, E> {
        self.is_data = true;
        self
    }

    pub(crate) fn me(&self) -> Member {
        self.me
    }

    /// Returns the graph of processed control messages.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// To tell it what members have passed.
    pub(crate) fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
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
        if self.is_repeat(&message) {
            return Err(match is_own {
                true => QueueError::OwnMessage,
                false => QueueError::Replayed,
            });
        }
        check_size(&message.payload)?;
        let id = message.id;
        let message = Kept::of(message, &self.me);
        let class = message.class();
        let last = self.waiting.last();
        let arrival = last.map_or(0, |last| last.saturating_add(1));
        self.count(arrival, &message);
        self.arrivals.insert(id, arrival);
        self.waiting.insert(arrival, message);
        self.resolve(arrival);
        self.place(arrival);
        Ok(self.make_room(class, waiting_max))
    }

    /// Takes the next message whose dependencies were processed.
    pub(crate) fn next(&mut self) -> Option<Kept<C, E>> {
        let arrival = self.ready.pop_first()?;
        self.take(arrival)
    }

    /// Returns `true` if we are or were in the group.
    pub(crate) fn has_joined(&self) -> bool {
        self.stage != Stage::Invited
    }

    /// Takes a message that lets us join and whose whole past was received, of those the first that
    /// follows no other.
    pub(crate) fn take_join(&mut self) -> Option<Join<C, E>> {
        while let Some(arrival) = self.pop_join() {
            // Drop what an earlier attempt needed.
            self.applications.trim(self.ids_max());
            let Some(welcome) = self.take(arrival) else {
                continue;
            };
            let past = self.waiting_past(&welcome);
            let past = past.iter().filter_map(|arrival| self.take(*arrival));
            let past: Vec<_> = past.collect();
            return Some(Join { past, welcome });
        }
        None
    }

    fn pop_join(&mut self) -> Option<u64> {
        let arrival = self.joins.first().copied()?;
        let past = self
            .waiting
            .get(&arrival)
            .map(|join| self.waiting_past(join));
        let mut past = past.into_iter().flatten();
        // The past has the oldest first.
        let first = past.find(|earlier| self.joins.contains(earlier));
        let first = first.unwrap_or(arrival);
        self.joins.remove(&first);
        Some(first)
    }

    /// We are in the group, by a message that was processed. What waited takes its place.
    pub(crate) fn enter(&mut self, join: OperationId) {
        self.graph.enter(&join);
        self.stage = Stage::Joined;
        let arrivals: Vec<_> = self.waiting.keys().copied().collect();
        for arrival in arrivals {
            self.resolve(arrival);
        }
        self.applications.trim(self.ids_max());
        self.place_all();
    }

    /// We are in the group without a message that says so. What waited takes its place.
    pub(crate) fn begin(&mut self) {
        self.stage = Stage::Joined;
        self.place_all();
    }

    /// Another message that was processed made us a member as well.
    pub(crate) fn enter_again(&mut self, join: OperationId) {
        self.graph.enter_again(&join);
    }

    /// We are not in the group any more: every message waits for the next join.
    pub(crate) fn leave(&mut self) {
        self.stage = Stage::Left;
        self.place_all();
    }

    /// Returns `true` if a message with these dependencies comes after one by which we joined.
    pub(crate) fn is_ours(&self, dependencies: &[OperationId]) -> bool {
        self.graph.is_ours(dependencies)
    }

    /// Records that a message of another member or of ours was processed.
    pub(crate) fn processed(
        &mut self,
        id: OperationId,
        sender: Member,
        dependencies: &[OperationId],
        is_control: bool,
    ) {
        let named = self.controls(dependencies);
        if is_control {
            self.graph.processed(id, &named);
            self.unblock(id);
            return;
        }
        self.applications.insert(id, sender, named);
        self.unblock(id);
        // Before we join, what lets us join may follow any number of them.
        if self.is_open() {
            let ids_max = self.ids_max();
            self.applications.keep_newest(&sender, ids_max);
        }
    }

    /// A message of the application was processed. The id of one whose sender is no member, and never
    /// was, is not remembered, since there can be any number of strangers: only what waits for it now
    /// goes on.
    pub(crate) fn pass(
        &mut self,
        id: OperationId,
        sender: Member,
        named: &[OperationId],
        is_member: bool,
    ) {
        if is_member {
            return self.processed(id, sender, named, false);
        }
        let named = self.controls(named);
        self.applications.insert(id, sender, named);
        self.unblock(id);
        self.applications.remove(&id);
    }

    /// The same for one of which the caller says that it was processed before. Gives what of its own
    /// past was not, in which case nothing has changed.
    pub(crate) fn known(
        &mut self,
        id: OperationId,
        sender: Member,
        named: &[OperationId],
        is_member: bool,
    ) -> Vec<OperationId> {
        let missing = self.missing(named);
        if missing.is_empty() && self.has_joined() {
            self.pass(id, sender, named, is_member);
        }
        missing
    }

    /// Hands a processed message of the application in again: it is ready once we have joined.
    pub(crate) fn again(&mut self, message: Kept<C, E>) {
        let last = self.waiting.last();
        let arrival = last.map_or(0, |last| last.saturating_add(1));
        self.count(arrival, &message);
        self.arrivals.insert(message.id, arrival);
        self.waiting.insert(arrival, message);
        self.place(arrival);
    }

    /// These dependencies, with the control messages for which each application message stands,
    /// but for those that others of them come after.
    pub(crate) fn controls(&self, dependencies: &[OperationId]) -> Vec<OperationId> {
        let (mut named, mut through) = (Vec::new(), BTreeSet::new());
        for id in dependencies {
            match self.applications.follows(id) {
                Some(follows) => through.extend(follows.iter().copied()),
                None => named.push(*id),
            }
        }
        if through.is_empty() {
            return named;
        }
        let direct: BTreeSet<_> = named.iter().copied().collect();
        let all = || direct.iter().chain(&through);
        let covered = all().map(|id| self.graph.covers(id)).max().unwrap_or(0);
        let is_last = |id: &OperationId| self.graph.order(id).is_none_or(|order| order >= covered);
        let through = through.difference(&direct).filter(|id| is_last(id));
        named.extend(through.copied());
        named
    }

    /// Stops waiting for a message that is lost permanently. Since it cannot be told what it
    /// followed, it counts as following everything that was processed.
    pub(crate) fn give_up(&mut self, id: OperationId) {
        if self.is_processed(&id) || self.arrivals.contains_key(&id) {
            return;
        }
        self.graph.give_up(id);
        self.unblock(id);
    }

    /// The processed control messages that no other one names.
    pub(crate) fn heads(&self) -> Vec<OperationId> {
        self.graph.heads()
    }

    fn is_open(&self) -> bool {
        self.stage == Stage::Joined
    }

    fn is_repeat(&self, message: &GroupMessage<C, E>) -> bool {
        let id = &message.id;
        let is_opened_again = self.is_data && matches!(message.payload, Payload::Application(_));
        let was_opened = || self.applications.contains(id) && !is_opened_again;
        self.graph.contains(id) || self.arrivals.contains_key(id) || was_opened()
    }

    fn is_processed(&self, id: &OperationId) -> bool {
        self.graph.contains(id) || self.applications.contains(id)
    }

    fn ids_max(&self) -> usize {
        match self.is_data {
            true => NAMED_APPLICATIONS_MAX,
            false => APPLICATION_IDS_MAX,
        }
    }

    /// Puts control messages in place of the processed application messages that a waiting message
    /// names, since their ids may be forgotten before its turn comes.
    fn resolve(&mut self, arrival: u64) {
        let Some(message) = self.waiting.get(&arrival) else {
            return;
        };
        let mut named = message.dependencies.iter();
        if !named.any(|id| self.applications.contains(id)) {
            return;
        }
        let named = self.controls(&message.dependencies);
        if let Some(message) = self.waiting.get_mut(&arrival) {
            message.dependencies = named;
        }
    }

    /// Returns those of these dependencies that were not processed.
    pub(crate) fn missing(&self, dependencies: &[OperationId]) -> Vec<OperationId> {
        let named = dependencies.iter().copied();
        named.filter(|id| !self.is_processed(id)).collect()
    }

    fn take(&mut self, arrival: u64) -> Option<Kept<C, E>> {
        let message = self.waiting.remove(&arrival)?;
        self.arrivals.remove(&message.id);
        self.uncount(arrival, message.class(), &message.sender);
        if let Some(entry) = self.blocked_by.remove(&arrival)
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
        let Some(senders) = self.bounded.get_mut(&class) else {
            return;
        };
        if let Some(arrivals) = senders.get_mut(sender) {
            arrivals.remove(&arrival);
            if arrivals.is_empty() {
                senders.remove(sender);
            }
        }
        if senders.is_empty() {
            self.bounded.remove(&class);
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
        // many go at once, so that few have to be placed again for each that comes.
        let keep = match self.is_open() {
            true => waiting_max,
            false => waiting_max - waiting_max / WAITING_ROOM,
        };
        let mut displaced = Vec::new();
        while counted > keep {
            let senders = self.bounded.get(&class).into_iter().flatten();
            let most = senders.max_by_key(|(_, arrivals)| arrivals.len());
            let oldest = most.and_then(|(_, arrivals)| arrivals.first().copied());
            let Some(message) = oldest.and_then(|arrival| self.take(arrival)) else {
                break;
            };
            displaced.push(message.id);
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
        self.blocked_by.clear();
        self.bounded.clear();
        for (arrival, message) in self.waiting.iter() {
            let senders = self.bounded.entry(message.class()).or_default();
            senders.entry(message.sender).or_default().insert(*arrival);
        }
        let arrivals: Vec<_> = self.waiting.keys().copied().collect();
        for arrival in arrivals {
            self.place(arrival);
        }
    }

    /// Puts a message, and those that then wait for nothing any more, where they belong.
    fn place(&mut self, arrival: u64) {
        let mut open = vec![arrival];
        while let Some(arrival) = open.pop() {
            let Some(message) = self.waiting.get(&arrival) else {
                continue;
            };
            let id = message.id;
            let missing = message.dependencies.iter().find(|dependency| {
                let complete = !self.is_open() && self.complete.contains(dependency);
                !complete && !self.is_processed(dependency)
            });
            if let Some(missing) = missing.copied() {
                self.blocked.entry(missing).or_default().insert(arrival);
                self.blocked_by.insert(arrival, missing);
            } else if self.is_open() {
                let (class, sender) = (message.class(), message.sender);
                self.uncount(arrival, class, &sender);
                self.ready.insert(arrival);
            } else {
                let change = message.payload.control().and_then(C::change);
                if change.is_some_and(|change| change.admits(&self.me)) {
                    self.joins.insert(arrival);
                }
                self.complete.insert(id);
                open.extend(self.unblocked(&id).into_iter().rev());
            }
        }
    }

    fn unblock(&mut self, id: OperationId) {
        self.complete.remove(&id);
        for arrival in self.unblocked(&id) {
            self.resolve(arrival);
            self.place(arrival);
        }
    }

    /// Takes out those that waited for a message.
    fn unblocked(&mut self, id: &OperationId) -> BTreeSet<u64> {
        let arrivals = self.blocked.remove(id).unwrap_or_default();
        for arrival in &arrivals {
            self.blocked_by.remove(arrival);
        }
        arrivals
    }

    /// The waiting messages that one follows, oldest first.
    fn waiting_past(&self, message: &Kept<C, E>) -> Vec<u64> {
        let (mut order, mut done) = (Vec::new(), BTreeSet::new());
        let mut open: Vec<_> = message.dependencies.iter().map(|id| (*id, false)).collect();
        while let Some((id, expanded)) = open.pop() {
            let Some(arrival) = self.arrivals.get(&id).copied() else {
                continue;
            };
            if expanded {
                order.push(arrival);
                continue;
            }
            let waiting = self.waiting.get(&arrival).filter(|_| done.insert(id));
            let Some(waiting) = waiting else {
                continue;
            };
            open.push((id, true));
            open.extend(waiting.dependencies.iter().map(|id| (*id, false)));
        }
        order
    }
}

impl<C: ControlMessage, E: Wire> Orderer<C, E> {
    pub(crate) fn rows(&self, out: &mut Rows) {
        self.graph.rows(out);
        self.applications.rows(out);
        self.waiting.rows(tag::WAITING, out);
    }

    pub(crate) fn settle(&mut self) {
        self.graph.settle();
        self.applications.settle();
        self.waiting.settle();
    }

    /// Takes over a stored row, if it is one of the order.
    pub(crate) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::APPLICATION => self.applications.load(name, value)?,
            tag::WAITING => self.waiting.load(name, value)?,
            _ => return self.graph.load(kind, name, value),
        }
        Ok(true)
    }

    /// All rows were taken over.
    pub(crate) fn loaded(&mut self) -> Result<(), LoadError> {
        if !self.graph.is_whole() {
            return Err(LoadError::Corrupt);
        }
        let arrivals = self.waiting.iter().map(|(at, message)| (message.id, *at));
        self.arrivals = arrivals.collect();
        self.place_all();
        Ok(())
    }

    /// Writes the header of the state.
    pub(crate) fn write_header(&self, w: &mut Writer) {
        w.array(3).item(&self.me).uint(self.stage as u64);
        self.graph.write_header(w);
    }

    pub(crate) fn read_header(r: &mut Reader<'_>) -> Result<Orderer<C, E>, DecodeError> {
        tuple(r, 3, |r| {
            let mut orderer = Orderer::new(Member::read(r)?);
            orderer.stage = match r.uint()? {
                0 => Stage::Invited,
                1 => Stage::Joined,
                2 => Stage::Left,
                _ => return Err(DecodeError::Range),
            };
            orderer.graph.read_header(r)?;
            Ok(orderer)
        })
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
            if sender == *me || directs.iter().any(|direct| direct.recipient == *me) {
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

/// The bounds that are the same for every member.
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
