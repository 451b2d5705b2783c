//! The one bounded queue into the engine, as the asynchronous side sees it.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::limits::{ADDRESSES_QUEUED_MAX, PUBLISH_STORAGE_WAIT, REPUBLISHED_BYTES_MAX};
use p2panda_core::{Hash, Label, Phase, Topic, VerifyingKey};
use p2panda_engine::{
    AgedNamed, Command, Durability, EarlyTrace, Incoming, IngestReport, NamedCommand, NewMessage,
    NewNamed, OpenedNamed, Outcome, PartAnswers, PublishError, Quotas, Reply, Room, Source,
    SpaceCommand, StorageWait, ViewCommand, parts,
};
use p2panda_protocol::sync::SessionId;
use p2panda_store::{NamedChanges, NamedKey};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use super::space_topics::SpaceTopics;
use crate::Error;
use crate::health::Health;

pub(crate) use p2panda_engine::Published;

/// Sends commands to the engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    engine: p2panda_engine::thread::Handle,
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
    health: watch::Receiver<Health>,
    /// Topics that carry spaces.
    pub(crate) spaces: Arc<SpaceTopics>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("room_kib", &self.room.available_permits())
            .finish()
    }
}

impl Queue {
    pub(crate) fn new(
        engine: p2panda_engine::thread::Handle,
        health: watch::Receiver<Health>,
        spaces: Arc<SpaceTopics>,
    ) -> Self {
        Self {
            engine,
            room: Arc::new(semaphore(Room::Others)),
            untrusted_room: Arc::new(semaphore(Room::Untrusted)),
            own_room: Arc::new(semaphore(Room::Own)),
            address_room: Arc::new(Semaphore::new(ADDRESSES_QUEUED_MAX)),
            spaces,
            turn: Arc::default(),
            health,
        }
    }

    /// Queues a batch; the returned receiver hears when it is durable.
    pub(crate) async fn ingest(
        &self,
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let room = (&self.room, Room::Others);
        self.ingest_within(room, topic, source, operations).await
    }

    /// The same for a peer that is not trusted.
    pub(crate) async fn ingest_untrusted(
        &self,
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let room = (&self.untrusted_room, Room::Untrusted);
        self.ingest_within(room, topic, source, operations).await
    }

    async fn ingest_within(
        &self,
        (semaphore, room): (&Arc<Semaphore>, Room),
        topic: Topic,
        source: Source,
        operations: Vec<Incoming>,
    ) -> Result<oneshot::Receiver<IngestReport>, Error> {
        let bytes = operations.iter().map(Incoming::held_bytes).sum();
        let permit = room_for(semaphore, room, bytes).await?;
        let (sender, receiver) = oneshot::channel();
        let parts = parts(operations);
        let rest = Arc::new(parking_lot::Mutex::new(Waiting {
            answers: PartAnswers::new(parts.len()),
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
                    rest.answered(&outcomes);
                })),
            })?;
        }
        Ok(receiver)
    }

    pub(crate) async fn publish(
        &self,
        topic: Topic,
        message: NewMessage,
    ) -> Result<Published, Error> {
        let publish = |message: NewMessage, reply| Command::Publish {
            topic,
            message,
            reply,
        };
        let bytes = message.body_bytes();
        self.publish_as(bytes, |reply| publish(message, reply))
            .await
    }

    /// Publishes all of them or none.
    pub(crate) async fn publish_all(
        &self,
        topic: Topic,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Published>, Error> {
        let publish = |messages, reply| Command::PublishAll {
            topic,
            messages,
            reply,
        };
        let bytes = messages.iter().map(NewMessage::held_bytes).sum();
        self.publish_as(bytes, |reply| publish(messages, reply))
            .await
    }

    async fn publish_as<T: Send + 'static>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<Result<T, PublishError>>) -> Command,
    ) -> Result<T, Error> {
        // Without a budget: a first poll that the runtime cut short would lose its place.
        let mut queued = pin!(unconstrained(self.enqueue(bytes, command)));
        let published = loop {
            // One that has no room yet would wait longer for the storage than the others.
            match (
                timeout(PUBLISH_STORAGE_WAIT, &mut queued).await,
                self.waits_for(),
            ) {
                (Ok(published), _) => break published?,
                (Err(_), Some(reason)) => return Err(PublishError::Storage(reason).into()),
                (Err(_), None) => {}
            }
        };
        Ok(published.await.map_err(|_| self.ended())??)
    }

    fn waits_for(&self) -> Option<StorageWait> {
        match *self.health.borrow() {
            Health::Waiting { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Queues a publish behind those whose futures were polled before.
    async fn enqueue<T: Send + 'static>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<Result<T, PublishError>>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T, PublishError>>, Error> {
        let _turn = self.turn.lock().await;
        let permit = room_for(&self.own_room, Room::Own, bytes).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(command(Box::new(move |published| {
            drop(permit);
            let _ = sender.send(published);
        })))?;
        Ok(receiver)
    }

    /// Publishes again the next messages that were given up; 0: all are.
    pub(crate) async fn republish(&self, topic: Topic) -> Result<u64, Error> {
        let permit = room_for(&self.own_room, Room::Own, REPUBLISHED_BYTES_MAX).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Republish {
            topic,
            reply: Box::new(move |republished| {
                drop(permit);
                let _ = sender.send(republished);
            }),
        })?;
        let republished = receiver.await.map_err(|_| self.ended())??;
        Ok(republished.published)
    }

    /// Acknowledges for the application and waits for the disk.
    pub(crate) async fn ack(
        &self,
        consumer: String,
        topic: Topic,
        offsets: Vec<u64>,
    ) -> Result<(), Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
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
        receiver.await.map_err(|_| self.ended())
    }

    /// From now on the node is interested in a topic from its open on, or not.
    pub(crate) async fn keep_topic(&self, topic: Topic, keep: bool) -> Result<(), Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::KeepTopic {
            topic,
            keep,
            reply: Box::new(move |()| {
                drop(permit);
                let _ = sender.send(());
            }),
        })?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Keeps so much of others at most from now on.
    pub(crate) async fn set_quotas(&self, quotas: Quotas) -> Result<(), Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::SetQuotas {
            quotas,
            reply: Box::new(move |()| {
                drop(permit);
                let _ = sender.send(());
            }),
        })?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Asks something of spaces.
    pub(crate) async fn space<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> SpaceCommand,
    ) -> Result<T, Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Space(command(Box::new(move |answer| {
            drop(permit);
            let _ = sender.send(answer);
        }))))?;
        receiver.await.map_err(|_| self.ended())
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

    /// Looks up a named consumer, and makes it if there are settings to make it with.
    pub(crate) async fn open_named(
        &self,
        name: String,
        create: Option<NewNamed>,
        topics: Vec<Topic>,
    ) -> Result<Option<OpenedNamed>, Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Named(NamedCommand::Open {
            name,
            create,
            topics,
            reply: Box::new(move |opened| {
                drop(permit);
                let _ = sender.send(opened);
            }),
        }))?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Stores what has changed of a named consumer. Each has one such command under way, and one
    /// more when it ends. A reply that is dropped reports a failure.
    pub(crate) fn change_named(
        &self,
        consumer: NamedKey,
        changes: NamedChanges,
        durability: Durability,
        reply: Reply<bool>,
    ) {
        let changes = Arc::new(changes);
        let _ = self.send(Command::Named(NamedCommand::Change {
            consumer,
            changes,
            durability,
            reply,
        }));
    }

    /// Deletes a named consumer.
    pub(crate) async fn delete_named(&self, consumer: NamedKey) -> Result<(), Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Named(NamedCommand::Delete {
            consumer,
            reply: Box::new(move |()| {
                drop(permit);
                let _ = sender.send(());
            }),
        }))?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Counts for how long nobody has had consumers open, and deletes those for which that is too long.
    pub(crate) async fn age_named(
        &self,
        idle: Vec<(NamedKey, u64)>,
        elapsed_us: u64,
    ) -> Result<AgedNamed, Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Named(NamedCommand::Age {
            idle,
            elapsed_us,
            reply: Some(Box::new(move |aged| {
                drop(permit);
                let _ = sender.send(aged);
            })),
        }))?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Counts it, and deletes nothing.
    pub(crate) fn count_idle(&self, idle: Vec<(NamedKey, u64)>, elapsed_us: u64) {
        let _ = self.send(Command::Named(NamedCommand::Age {
            idle,
            elapsed_us,
            reply: None,
        }));
    }

    /// Drops a body for good. False if there is no such operation, or it has none.
    pub(crate) async fn drop_body(
        &self,
        topic: Topic,
        log: Label,
        seq: u32,
    ) -> Result<bool, Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::DropBody {
            topic,
            log,
            seq,
            reply: Some(Box::new(move |dropped| {
                drop(permit);
                let _ = sender.send(dropped);
            })),
        })?;
        receiver.await.map_err(|_| self.ended())
    }

    /// Looks for an operation that waits for those before it in its log.
    pub(crate) async fn find_early(&self, id: Hash) -> Result<Option<EarlyTrace>, Error> {
        let permit = room_for(&self.own_room, Room::Own, 0).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::FindEarly {
            id,
            reply: Box::new(move |early| {
                drop(permit);
                let _ = sender.send(early);
            }),
        })?;
        receiver.await.map_err(|_| self.ended())
    }

    pub(crate) fn session(&self, topic: Topic, session: SessionId, phase: Phase) {
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

    /// A peer has stored this node's log up to an entry, on this node's branch.
    pub(crate) fn own_held(&self, topic: Topic, log: Label, seq: u32) {
        let _ = self.send(Command::OwnHeld { topic, log, seq });
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

    /// Hands over what is asked of a view.
    pub(crate) fn view(&self, command: ViewCommand) -> Result<(), Error> {
        self.engine.view(command).map_err(|_| self.ended())
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        self.engine.send(command).map_err(|_| self.ended())
    }

    /// Returns the error with which nothing is taken any more.
    pub(crate) fn ended(&self) -> Error {
        self.engine.failure().map_or(Error::Closed, Error::Corrupt)
    }
}

fn semaphore(room: Room) -> Semaphore {
    Semaphore::new(room.kib_max() as usize)
}

/// Room in front of a lane.
async fn room_for(
    semaphore: &Arc<Semaphore>,
    room: Room,
    bytes: usize,
) -> Result<OwnedSemaphorePermit, Error> {
    let semaphore = Arc::clone(semaphore);
    let permit = semaphore.acquire_many_owned(room.kib(bytes)).await;
    permit.map_err(|_| Error::Closed)
}

/// A batch that was queued in parts, and who waits for what became of it.
struct Waiting {
    answers: PartAnswers,
    sender: Option<oneshot::Sender<IngestReport>>,
    _permit: OwnedSemaphorePermit,
}

impl Waiting {
    fn answered(&mut self, outcomes: &[Outcome]) {
        if let Some(report) = self.answers.add(outcomes)
            && let Some(sender) = self.sender.take()
        {
            // Nobody may be waiting any more.
            let _ = sender.send(report);
        }
    }
}
