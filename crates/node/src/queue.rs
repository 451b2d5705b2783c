//! The one bounded queue into the engine, as the asynchronous side sees it.

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::limits::{
    ADDRESSES_QUEUED_MAX, BESIDE_OWN_BYTES_MAX, BESIDE_OWN_OPERATIONS_MAX, QUEUE_LANE_BYTES_MAX,
    QUEUE_UNTRUSTED_BYTES_MAX,
};
use p2panda_core::{Operation, Topic, VerifyingKey};
use p2panda_engine::{Command, Durability, Incoming, Outcome, Phase, PublishError, Reply, Source};
use p2panda_protocol::sync::SessionId;
use p2panda_store::RejectReason;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::coop::unconstrained;

use crate::Error;

pub(crate) use p2panda_engine::Published;

const LANE_KIB_MAX: u32 = (QUEUE_LANE_BYTES_MAX / 1024) as u32;
const UNTRUSTED_KIB_MAX: u32 = (QUEUE_UNTRUSTED_BYTES_MAX / 1024) as u32;

/// Operations of one command.
const PART_OPERATIONS_MAX: usize = BESIDE_OWN_OPERATIONS_MAX;
/// Their bytes; one operation may have more.
const PART_BYTES_MAX: usize = BESIDE_OWN_BYTES_MAX;

/// Sends commands to the engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    engine: p2panda_engine::thread::Queue,
    /// For what comes from elsewhere.
    room: Arc<Semaphore>,
    /// The same from peers that are not trusted.
    untrusted_room: Arc<Semaphore>,
    /// For what the application asks for: no peer can take it.
    own_room: Arc<Semaphore>,
    /// For records of the address book.
    address_room: Arc<Semaphore>,
    /// Publishes get room in the order in which they were asked for.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("room_kib", &self.room.available_permits())
            .finish()
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Stored now.
    pub stored: usize,
    /// Stored before, with a body filled in now or not, or pruned before.
    pub duplicates: usize,
    /// Kept in memory until the operations before them come.
    pub early: usize,
    /// Refused; a row says why.
    pub rejected: usize,
    /// Among the refused: with a wrong signature, a wrong body or no header at all.
    pub invalid: usize,
    /// Among the stored: the first of a log that is new here.
    pub new_logs: usize,
    /// Came too early and found no room; to be brought again.
    pub dropped: usize,
}

impl IngestReport {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut report = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Stored { new_log, .. } => {
                    report.stored += 1;
                    report.new_logs += usize::from(*new_log);
                }
                Outcome::Early => report.early += 1,
                Outcome::Dropped => report.dropped += 1,
                Outcome::Rejected(reason) => {
                    report.rejected += 1;
                    report.invalid += usize::from(is_invalid(*reason));
                }
                _ => report.duplicates += 1,
            }
        }
        report
    }

    /// Adds up two reports.
    pub(crate) fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.early += other.early;
        self.rejected += other.rejected;
        self.invalid += other.invalid;
        self.new_logs += other.new_logs;
        self.dropped += other.dropped;
    }
}

fn is_invalid(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::InvalidSignature | RejectReason::Undecodable | RejectReason::PayloadMismatch
    )
}

impl Queue {
    pub(crate) fn new(engine: p2panda_engine::thread::Queue) -> Self {
        Self {
            engine,
            room: Arc::new(Semaphore::new(LANE_KIB_MAX as usize)),
            untrusted_room: Arc::new(Semaphore::new(UNTRUSTED_KIB_MAX as usize)),
            own_room: Arc::new(Semaphore::new(LANE_KIB_MAX as usize)),
            address_room: Arc::new(Semaphore::new(ADDRESSES_QUEUED_MAX)),
            turn: Arc::default(),
        }
    }

    /// Queues a batch; the returned receiver hears when it is durable.
    pub(crate) async fn ingest(
        &self,
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let room = (&self.room, LANE_KIB_MAX);
        self.ingest_within(room, topic, source, operations).await
    }

    /// The same for a peer that is not trusted.
    pub(crate) async fn ingest_untrusted(
        &self,
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let room = (&self.untrusted_room, UNTRUSTED_KIB_MAX);
        self.ingest_within(room, topic, source, operations).await
    }

    async fn ingest_within(
        &self,
        (room, kib_max): (&Arc<Semaphore>, u32),
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let bytes = operations.iter().map(incoming_bytes).sum();
        let permit = room_for(room, kib_max, bytes).await?;
        let (sender, receiver) = oneshot::channel();
        let parts = parts(operations);
        let rest = Arc::new(parking_lot::Mutex::new(Unanswered {
            parts: parts.len(),
            report: IngestReport::default(),
            sender: Some(sender),
            _permit: permit,
        }));
        for part in parts {
            let rest = Arc::clone(&rest);
            self.send(Command::Ingest {
                topic,
                source,
                operations: part,
                reply: Some(Box::new(move |outcomes: Vec<Outcome>| {
                    let mut rest = rest.lock();
                    rest.answered(IngestReport::of(&outcomes));
                })),
            })?;
        }
        Ok(receiver)
    }

    pub(crate) async fn publish(
        &self,
        topic: Topic,
        body: Option<Bytes>,
        prune: bool,
    ) -> Result<Published, Error> {
        // Without a budget: a first poll that the runtime cut short would lose its place.
        let published = unconstrained(self.enqueue(topic, body, prune)).await?;
        Ok(published.await.map_err(|_| self.stopped())??)
    }

    /// Queues a publish behind those whose futures were polled before.
    async fn enqueue(
        &self,
        topic: Topic,
        body: Option<Bytes>,
        prune: bool,
    ) -> Result<oneshot::Receiver<Result<Published, PublishError>>, Error> {
        let _turn = self.turn.lock().await;
        let bytes = body.as_ref().map_or(0, Bytes::len);
        let permit = room_for(&self.own_room, LANE_KIB_MAX, bytes).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Publish {
            topic,
            body,
            prune,
            reply: Box::new(move |published| {
                drop(permit);
                let _ = sender.send(published);
            }),
        })?;
        Ok(receiver)
    }

    /// Acknowledges for the application and waits for the disk.
    pub(crate) async fn ack(
        &self,
        consumer: String,
        topic: Topic,
        offsets: Vec<u64>,
    ) -> Result<(), Error> {
        let permit = room_for(&self.own_room, LANE_KIB_MAX, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Ack {
            consumer,
            topic,
            offsets,
            durability: Durability::Full,
            reply: Some(Box::new(move |()| {
                drop(permit);
                let _ = sender.send(());
            })),
        })?;
        receiver.await.map_err(|_| self.stopped())
    }

    /// Acknowledges without waiting; `then` is called when it is stored.
    pub(crate) fn ack_in_background(
        &self,
        consumer: String,
        topic: Topic,
        offsets: Vec<u64>,
        then: impl FnOnce() + Send + 'static,
    ) {
        // Fails only when the node is shut down; the messages come again then.
        let _ = self.send(Command::Ack {
            consumer,
            topic,
            offsets,
            durability: Durability::Normal,
            reply: Some(Box::new(move |()| then())),
        });
    }

    /// Drops a body for good. False if there is no such operation, or it has none.
    pub(crate) async fn drop_body(
        &self,
        topic: Topic,
        author: VerifyingKey,
        seq: u32,
    ) -> Result<bool, Error> {
        let permit = room_for(&self.own_room, LANE_KIB_MAX, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::DropBody {
            topic,
            author,
            seq,
            reply: Some(Box::new(move |dropped| {
                drop(permit);
                let _ = sender.send(dropped);
            })),
        })?;
        receiver.await.map_err(|_| self.stopped())
    }

    pub(crate) fn session(&self, topic: Topic, session: SessionId, phase: p2panda_net::Phase) {
        let phase = match phase {
            p2panda_net::Phase::CatchUp => Phase::Started,
            p2panda_net::Phase::Live => Phase::CaughtUp,
            p2panda_net::Phase::Ended => Phase::Ended,
        };
        let _ = self.send(Command::Session {
            topic,
            session: session.0,
            phase,
        });
    }

    pub(crate) fn peer_has(
        &self,
        topic: Topic,
        session: SessionId,
        peer: VerifyingKey,
        own_seq: u32,
    ) {
        let _ = self.send(Command::PeerHas {
            topic,
            session: session.0,
            peer,
            own_seq,
        });
    }

    pub(crate) fn import_ended(&self, topic: Topic, import: u64) {
        let _ = self.send(Command::ImportEnded { topic, import });
    }

    /// Stores a record of the address book. Without room it is only stored when it changes again.
    pub(crate) fn put_address(&self, node: VerifyingKey, record: Bytes) {
        self.address(|reply| Command::PutAddress {
            node,
            record,
            reply,
        });
    }

    /// Forgets a record. Without room it stays stored until the book is read and checked again.
    pub(crate) fn remove_address(&self, node: VerifyingKey) {
        self.address(|reply| Command::RemoveAddress { node, reply });
    }

    fn address(&self, command: impl FnOnce(Option<Reply<()>>) -> Command) {
        if let Ok(permit) = Arc::clone(&self.address_room).try_acquire_owned() {
            let _ = self.send(command(Some(Box::new(move |()| drop(permit)))));
        }
    }

    /// Lets the engine finish what is queued, closes the store and waits for it. Blocks.
    pub(crate) fn close(&self) {
        self.room.close();
        self.untrusted_room.close();
        self.own_room.close();
        if let Err(error) = self.engine.close() {
            tracing::error!(%error, "the directory was not closed cleanly");
        }
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.engine.send(command).map_err(|_| self.stopped())
    }

    /// Why nothing is taken any more.
    fn stopped(&self) -> Error {
        self.engine.failure().map_or(Error::Closed, Error::Corrupt)
    }
}

/// Room of a lane, all of it for what is larger.
async fn room_for(
    room: &Arc<Semaphore>,
    kib_max: u32,
    bytes: usize,
) -> Result<OwnedSemaphorePermit, Error> {
    let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(kib_max);
    let kib = kib.min(kib_max);
    let room = Arc::clone(room);
    room.acquire_many_owned(kib)
        .await
        .map_err(|_| Error::Closed)
}

/// A batch that was queued in parts, and what became of those that were answered.
struct Unanswered {
    parts: usize,
    report: IngestReport,
    sender: Option<oneshot::Sender<IngestReport>>,
    _permit: OwnedSemaphorePermit,
}

impl Unanswered {
    fn answered(&mut self, part: IngestReport) {
        self.report.add(part);
        self.parts -= 1;
        if self.parts == 0
            && let Some(sender) = self.sender.take()
        {
            // Nobody may be waiting any more.
            let _ = sender.send(self.report);
        }
    }
}

/// Parts that the engine processes in a moment, so that a publish can go between them. One at least,
/// so that there is an answer.
fn parts(operations: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut parts: Vec<Vec<Incoming>> = vec![Vec::new()];
    let mut bytes = 0;
    for operation in operations {
        bytes += incoming_bytes(&operation);
        match parts.last_mut() {
            Some(part) if part.len() < PART_OPERATIONS_MAX && bytes <= PART_BYTES_MAX => {
                part.push(operation);
            }
            _ => {
                bytes = incoming_bytes(&operation);
                parts.push(vec![operation]);
            }
        }
    }
    parts
}

/// Header and body bytes, and the value itself: many small ones are not nothing.
fn incoming_bytes(incoming: &Incoming) -> usize {
    let bytes = match incoming {
        Incoming::Valid(Operation { header, body }) => {
            header.as_bytes().len() + body.as_ref().map_or(0, Bytes::len)
        }
        Incoming::Invalid { header, .. } => header.len(),
    };
    size_of::<Incoming>() + bytes
}
