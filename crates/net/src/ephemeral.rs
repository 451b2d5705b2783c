//! Ephemeral messages: broadcast to connected nodes, never stored.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::budget::Charge;
use p2panda_core::{
    EphemeralError as SealError, EphemeralMessage, HybridTimestamp, SigningKey, Topic,
    VerifyingKey, limits,
};
use p2panda_protocol::ephemeral::Repeats;
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::clock::wall;
use crate::error::EphemeralError;
use crate::membership::{Meets, Membership, MembershipEvent};
use crate::shared::Shared;
use crate::unread::{Listener, Unread};

/// Says whether a message may still go out.
pub type MayGo = Arc<dyn Fn() -> bool + Send + Sync>;

/// Bytes of a gossip message around its payload, at most (`docs/protocol/network.md#6`).
const GOSSIP_OVERHEAD_BYTES: usize = 39;

/// Publishes on one topic. Clones share the topic; it is left when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct EphemeralSender {
    room: Arc<Room>,
    /// What it signs with instead of the key of the node.
    key: Option<Arc<SigningKey>>,
}

/// Receives from one topic, from the moment it was made.
#[derive(Debug)]
pub struct EphemeralReceiver {
    room: Arc<Room>,
    received: Listener<Received>,
}

/// A message that is to be broadcast.
struct Outgoing {
    message: Bytes,
    /// Asked when it is broadcast. `None`: it goes.
    may_go: Option<MayGo>,
}

impl Outgoing {
    fn goes(&self) -> bool {
        self.may_go.as_ref().is_none_or(|may_go| may_go())
    }
}

/// A message that some handle has not read yet.
#[derive(Clone, Debug)]
struct Received {
    message: EphemeralMessage,
    /// Its charge on the share of the neighbour that passed it on.
    _held: Arc<Charge>,
}

impl EphemeralSender {
    /// Signs with another key than that of the node.
    pub fn signed_by(mut self, key: SigningKey) -> Self {
        self.key = Some(Arc::new(key));
        self
    }

    /// Signs and broadcasts a body: one item of canonical CBOR.
    ///
    /// Nobody confirms anything. While there is no neighbour, the last 128 messages are held for
    /// the first one.
    pub async fn publish(&self, body: Bytes) -> Result<(), EphemeralError> {
        self.send(body, None).await
    }

    /// The same for a message that is dropped if it may no longer go when it would be broadcast, which
    /// is later while it waits for the first neighbour.
    pub async fn publish_while(&self, body: Bytes, may_go: MayGo) -> Result<(), EphemeralError> {
        self.send(body, Some(may_go)).await
    }

    async fn send(&self, body: Bytes, may_go: Option<MayGo>) -> Result<(), EphemeralError> {
        let key = self.key.as_deref().unwrap_or(&self.room.shared.key);
        let message = self.room.seal(key, body)?;
        let sent = self.room.outbox.send(Outgoing { message, may_go });
        sent.await.map_err(|_| EphemeralError::Closed)
    }
}

impl EphemeralReceiver {
    /// The next valid message of anyone but this node. `None` after the network was shut down.
    ///
    /// Messages that do not verify are skipped, and a listener that was too slow continues with
    /// the oldest message that is still there.
    pub async fn recv(&mut self) -> Option<EphemeralMessage> {
        self.received.next().await.map(|received| received.message)
    }

    /// Counts a received message as invalid: its reader found that it may not be in the topic.
    pub fn count_invalid(&self) {
        self.room.shared.skipped.invalid();
    }
}

impl Clone for EphemeralReceiver {
    fn clone(&self) -> Self {
        Self {
            room: self.room.clone(),
            received: self.received.again(),
        }
    }
}

/// One ephemeral topic of this node, shared by its handles.
#[derive(Debug)]
pub(crate) struct Room {
    shared: Arc<Shared>,
    topic: Topic,
    outbox: mpsc::Sender<Outgoing>,
    received: Arc<Unread<Received>>,
    previous: Mutex<HybridTimestamp>,
}

impl Room {
    /// Joins the overlay of `topic`; the task ends with the last handle.
    pub(crate) fn open(shared: Arc<Shared>, topic: Topic) -> Arc<Room> {
        let (outbox, sending) = mpsc::channel(limits::EPHEMERAL_SENDING_MAX);
        let received = Unread::new(limits::EPHEMERAL_RECEIVED_MAX, shared.skipped.clone());
        let room = Room {
            shared: shared.clone(),
            topic,
            outbox,
            received: received.clone(),
            previous: Mutex::default(),
        };
        let overlay = Overlay::of_ephemeral(&topic);
        shared.overlays.join(overlay);
        let membership = Membership::new(shared.clone(), overlay, Meets::All);
        // Boxed: a future holds what it is called with more than once.
        let task = Box::new(RoomTask {
            shared,
            membership,
            sending,
            received,
        });
        tokio::spawn(task.run());
        Arc::new(room)
    }

    pub(crate) fn handles(self: Arc<Room>) -> (EphemeralSender, EphemeralReceiver) {
        let received = self.received.listen();
        let sender = EphemeralSender {
            room: self.clone(),
            key: None,
        };
        (
            sender,
            EphemeralReceiver {
                room: self,
                received,
            },
        )
    }

    fn seal(&self, key: &SigningKey, body: Bytes) -> Result<Bytes, EphemeralError> {
        let timestamp = {
            let mut previous = self.previous.lock();
            *previous = HybridTimestamp::next(*previous, wall());
            *previous
        };
        let max = self
            .shared
            .gossip_message_bytes_max
            .saturating_sub(GOSSIP_OVERHEAD_BYTES);
        let sealed = EphemeralMessage::seal(key, timestamp, &body);
        match sealed {
            Ok(sealed) if sealed.len() <= max => Ok(sealed),
            Ok(_) | Err(SealError::TooLarge) => Err(EphemeralError::TooLarge {
                len: body.len(),
                max,
            }),
            Err(_) => Err(EphemeralError::Body),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared
            .overlays
            .part(Overlay::of_ephemeral(&self.topic));
    }
}

/// Serves the overlay of one room.
struct RoomTask {
    shared: Arc<Shared>,
    membership: Membership,
    sending: mpsc::Receiver<Outgoing>,
    received: Arc<Unread<Received>>,
}

impl Drop for RoomTask {
    fn drop(&mut self) {
        self.received.close();
    }
}

impl RoomTask {
    async fn run(mut self: Box<Self>) {
        let mut held: VecDeque<Outgoing> = VecDeque::new();
        let mut repeats = Repeats::default();
        loop {
            tokio::select! {
                event = self.membership.next() => match event {
                    MembershipEvent::Message { content, from } => {
                        self.receive(content, from, &mut repeats);
                    }
                    MembershipEvent::Up(_) => {
                        for held in held.drain(..).filter(Outgoing::goes) {
                            self.membership.broadcast(held.message).await;
                        }
                    }
                    MembershipEvent::Down(_) | MembershipEvent::Sign(_) | MembershipEvent::Reset => {}
                },
                message = self.sending.recv() => match message {
                    Some(outgoing) if self.membership.has_neighbours() => {
                        if outgoing.goes() {
                            self.membership.broadcast(outgoing.message).await;
                        }
                    }
                    Some(outgoing) => {
                        if held.len() >= limits::EPHEMERAL_HELD_MAX {
                            held.pop_front();
                        }
                        held.push_back(outgoing);
                    }
                    None => return,
                },
                () = self.shared.signals.stopped() => return,
            }
            // The listeners are to run in between, else they miss most of a flood.
            tokio::task::consume_budget().await;
        }
    }

    fn receive(&self, content: Bytes, from: VerifyingKey, repeats: &mut Repeats) {
        let bytes = content.len();
        let message = match EphemeralMessage::open(content) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "an ephemeral message was dropped");
                self.shared.skipped.invalid();
                return;
            }
        };
        let is_own = message.author == self.shared.local;
        let now = self.shared.clock.now();
        if is_own || !repeats.is_new(message.author, message.timestamp, now) {
            return;
        }
        let Some(held) = self.shared.budget.try_keep(&from, bytes) else {
            tracing::debug!(%from, "no room for an ephemeral message until others are read");
            self.shared.skipped.lost(1);
            return;
        };
        let _held = Arc::new(held);
        self.received.push(Received { message, _held });
    }
}
