//! Events on a node, apart from messages.

use p2panda_core::log::Fork;
use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_engine::{EngineEvent, SpaceNews, StorageWait};
use p2panda_net::{ClockDifference, Contact, NetEvent, Refusal, SessionEnd, Transfer};
use p2panda_protocol::sync::SessionId;
use p2panda_store::{BlockedLog, RejectReason, StopReason};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::inner::topic::Topics;
use crate::not_kept::NotKept;

/// Something that happened on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node was heard of for the first time, or its addresses changed.
    PeerFound {
        /// The node.
        peer: VerifyingKey,
    },
    /// A peer became a neighbour in the overlay of a topic.
    NeighbourUp {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// A peer is a neighbour no longer.
    NeighbourDown {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// A sync session passed its handshake.
    SessionStarted {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
    },
    /// Both sides know what they are about to send.
    CatchUpStarted {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Amount that is about to be exchanged: an estimate, for progress only.
        expected: Transfer,
    },
    /// A catch-up that takes longer is still in progress; reported about once a second.
    CatchUpGoesOn {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Amount that is to be exchanged, an estimate.
        expected: Transfer,
        /// Amount that was exchanged so far.
        transfer: Transfer,
    },
    /// Everything was sent, and everything received is durable: the session is live.
    CatchUpEnded {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Amount that was exchanged so far.
        transfer: Transfer,
        /// Logs of the topic that are blocked, in all its sessions together: with more than none this
        /// node has not caught up ([`Event::LogBlocked`]).
        blocked: usize,
    },
    /// A sync session is over.
    SessionEnded {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// `true` if it ended cleanly.
        ok: bool,
        /// Reason why it ended.
        reason: SessionEnd,
        /// Amount that was exchanged in all.
        transfer: Transfer,
    },
    /// A peer answered, and serves no session of this topic for now. It is asked again later.
    SessionRefused {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Reason for the refusal.
        reason: Refusal,
    },
    /// There are more topics than peers are told of: this one is not synced, and nothing ephemeral is
    /// exchanged in it, until another one is left ([`crate::Counters::untold_topics`]). Publishing works.
    TopicUntold {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Something happened in the space that a topic carries.
    Space {
        /// The topic that this is about.
        topic: Topic,
        /// Event in the space.
        news: SpaceNews,
    },
    /// The recovery file of this node's person was written more than 30 days ago: write it again
    /// ([`Recovery::export`](crate::Recovery::export)).
    RecoveryDue {
        /// Time of writing, in seconds since 1970.
        written: u64,
    },
    /// Another node with this node's key has a connection with a peer, which therefore refuses this one:
    /// a home directory was copied. Both publish to the same logs (`docs/protocol/streams.md#16`); give
    /// one of them a key of its own.
    CopyRuns {
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// The addresses that this node announces have changed.
    AddressChanged,
    /// A peer's clock is far from this node's, or much further than before. Which of the two is
    /// right, nobody knows; they meet and sync all the same (`docs/protocol/network.md#4`).
    ClockDiffers {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Smallest possible difference.
        by: ClockDifference,
    },
    /// The state of contact with a node that the configuration names has changed.
    ContactChanged {
        /// The node.
        peer: VerifyingKey,
        /// The new state.
        contact: Contact,
    },
    /// The network changed or the machine slept; everything is tried again at once.
    Recovering,
    /// An author signed operations that exclude each other. The first one stays.
    Forked {
        /// The topic that this is about.
        topic: Topic,
        /// Both headers.
        fork: Box<Fork>,
    },
    /// That author is this node: a copy of its directory is in use. The log is closed, and
    /// [`crate::TopicHandle::own_fork`] reports it; [`crate::Builder::restored`] are the remedies.
    OwnFork {
        /// The topic that this is about.
        topic: Topic,
        /// Both headers.
        fork: Box<Fork>,
    },
    /// An operation was refused, for the first time.
    Rejected {
        /// The topic in which it arrived.
        topic: Topic,
        /// Id of the operation.
        id: Hash,
        /// Reason for the refusal.
        reason: RejectReason,
        /// Peer that sent it; `None` if it was imported.
        peer: Option<VerifyingKey>,
    },
    /// A log cannot continue here, since this node does not take its next operation. Other logs do
    /// (`docs/protocol/streams.md#4.9`).
    LogBlocked {
        /// The topic that this is about.
        topic: Topic,
        /// Blocked log, and why.
        log: BlockedLog,
    },
    /// A log that was blocked continues.
    LogGoesOn {
        /// The topic that this is about.
        topic: Topic,
        /// Author of the log.
        author: VerifyingKey,
    },
    /// A peer keeps nothing new of a log, because a quota of that peer is used up
    /// (`docs/protocol/streams.md#21`).
    NotKept {
        /// The topic that this is about.
        topic: Topic,
        /// Log that is not kept, since when, and by whom.
        log: NotKept,
    },
    /// A peer has room again, and takes a log that it refused.
    KeptAgain {
        /// The topic that this is about.
        topic: Topic,
        /// Log that it refused.
        log: NotKept,
    },
    /// A stored operation is damaged. Readers pass it over, and its log may be served and delivered
    /// no further. Each reader that comes across it reports it.
    Damaged {
        /// The topic that this is about.
        topic: Topic,
        /// Author of its log.
        author: VerifyingKey,
        /// Its place in the log.
        seq: u32,
    },
    /// A peer has more of this node's own log: publishing waits for it.
    PublishesHeld {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// Nothing can be stored at the moment; the node continues by itself when it can
    /// ([`crate::Health::Waiting`]).
    StorageWaits {
        /// Reason for the wait.
        reason: StorageWait,
    },
    /// Operations that waited for the storage are stored.
    StorageGoesOn,
    /// The node has stopped; [`crate::Node::health`] says why.
    Stopped,
    /// A view is stopped ([`crate::View::status`]); everything else continues.
    ViewStopped {
        /// The name under which it is stored.
        name: String,
        /// Version of the view.
        version: u32,
        /// The feed offset of the entry that it did not come past.
        offset: u64,
        /// Reason for the stop.
        reason: StopReason,
    },
    /// A version of a view answers from now on; the one before is deleted.
    ViewSwapped {
        /// The name under which it is stored.
        name: String,
        /// Version of the view.
        version: u32,
    },
    /// A version of a view waits before it replaces the one before, since the feed lacks what that
    /// had applied ([`crate::View::accept_loss`]).
    ViewLacks {
        /// The name under which it is stored.
        name: String,
        /// Version of the view.
        version: u32,
        /// Entries that the feed lacks.
        entries: u64,
    },
    /// A consumer is gone: nobody had it open for as long as its threshold
    /// ([`crate::ConsumerRequest::inactive`]).
    ConsumerInactive {
        /// The name under which it is stored.
        name: String,
    },
    /// A consumer has as many dead letters as are kept, and delivers nothing until some are redriven or
    /// dropped ([`crate::ConsumerHandle::dead_letters`]).
    ConsumerFullOfDead {
        /// The name under which it is stored.
        name: String,
    },
    /// This node's own logs are back where a newer copy had left them: publishing continues.
    OwnLogPulled,
    /// The listener fell behind: this many events were lost. Messages are never among them.
    Lagged(u64),
}

impl Event {
    fn of_net(event: NetEvent, topics: &Topics) -> Option<Self> {
        Some(match event {
            NetEvent::PeerFound { node } => Self::PeerFound { peer: node },
            NetEvent::NeighbourUp { topic, peer } => Self::NeighbourUp { topic, peer },
            NetEvent::NeighbourDown { topic, peer } => Self::NeighbourDown { topic, peer },
            NetEvent::SessionStarted {
                topic,
                peer,
                session,
            } => Self::SessionStarted {
                topic,
                peer,
                session,
            },
            NetEvent::CatchUpStarted {
                topic,
                peer,
                session,
                expected,
            } => Self::CatchUpStarted {
                topic,
                peer,
                session,
                expected,
            },
            NetEvent::CatchUpGoesOn {
                topic,
                peer,
                session,
                expected,
                transfer,
            } => Self::CatchUpGoesOn {
                topic,
                peer,
                session,
                expected,
                transfer,
            },
            NetEvent::CatchUpEnded {
                topic,
                peer,
                session,
                transfer,
            } => Self::CatchUpEnded {
                topic,
                peer,
                session,
                transfer,
                blocked: topics.get(&topic).map_or(0, |state| state.blocked()),
            },
            NetEvent::SessionEnded {
                topic,
                peer,
                session,
                ok,
                reason,
                transfer,
            } => Self::SessionEnded {
                topic,
                peer,
                session,
                ok,
                reason,
                transfer,
            },
            NetEvent::SessionRefused {
                topic,
                peer,
                reason,
            } => Self::SessionRefused {
                topic,
                peer,
                reason,
            },
            NetEvent::CopyRuns { peer } => Self::CopyRuns { peer },
            NetEvent::TopicUntold { topic } => Self::TopicUntold { topic },
            NetEvent::AddressChanged => Self::AddressChanged,
            NetEvent::ContactChanged { peer, contact } => Self::ContactChanged { peer, contact },
            NetEvent::ClockDiffers { peer, by } => Self::ClockDiffers { peer, by },
            NetEvent::Recovering => Self::Recovering,
            _ => return None,
        })
    }

    /// Converts an event of the engine. Early operations that made room for others are brought
    /// again by themselves: nobody needs to know.
    pub(crate) fn of_engine(event: &EngineEvent) -> Option<Self> {
        Some(match event {
            EngineEvent::Forked { topic, fork, .. } => Self::Forked {
                topic: *topic,
                fork: Box::new(fork.clone()),
            },
            EngineEvent::OwnFork { topic, fork, .. } => Self::OwnFork {
                topic: *topic,
                fork: Box::new(fork.clone()),
            },
            EngineEvent::Rejected {
                topic,
                id,
                reason,
                peer,
            } => Self::Rejected {
                topic: *topic,
                id: *id,
                reason: *reason,
                peer: *peer,
            },
            EngineEvent::LogBlocked { topic, log } => Self::LogBlocked {
                topic: *topic,
                log: *log,
            },
            EngineEvent::LogGoesOn { topic, author } => Self::LogGoesOn {
                topic: *topic,
                author: *author,
            },
            EngineEvent::LogUnreadable { topic, author, seq } => Self::Damaged {
                topic: *topic,
                author: *author,
                seq: *seq,
            },
            EngineEvent::PublishesHeld { topic, peer } => Self::PublishesHeld {
                topic: *topic,
                peer: *peer,
            },
            EngineEvent::Space { topic, news } => Self::Space {
                topic: *topic,
                news: news.clone(),
            },
            EngineEvent::RecoveryDue { written } => Self::RecoveryDue { written: *written },
            EngineEvent::OwnLogPulled => Self::OwnLogPulled,
            EngineEvent::StorageWaits { reason } => Self::StorageWaits { reason: *reason },
            EngineEvent::StorageGoesOn => Self::StorageGoesOn,
            _ => return None,
        })
    }
}

/// Listens to the events of a node. Made by [`crate::Node::events`].
pub struct Events {
    node: broadcast::Receiver<Event>,
    net: broadcast::Receiver<NetEvent>,
    topics: Topics,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(
        node: broadcast::Receiver<Event>,
        net: broadcast::Receiver<NetEvent>,
        topics: Topics,
    ) -> Self {
        Self { node, net, topics }
    }

    /// The next event, waiting until there is one. `None` when the node is gone. A listener that
    /// falls behind loses the oldest events; [`Event::Lagged`] says how many.
    ///
    /// Cancel safe: an event is only taken when the future completes.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = tokio::select! {
                event = self.node.recv() => event.map(Some),
                event = self.net.recv() => event.map(|event| Event::of_net(event, &self.topics)),
            };
            match event {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(RecvError::Lagged(lost)) => return Some(Event::Lagged(lost)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Sender of events, for the parts of a node. Nobody may be listening.
#[derive(Clone, Debug)]
pub(crate) struct EventSender(broadcast::Sender<Event>);

impl EventSender {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(p2panda_core::limits::EVENTS_MAX).0)
    }

    pub(crate) fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// Rows that a page of a topic had to leave out.
    pub(crate) fn damaged(&self, topic: Topic, rows: &[p2panda_core::Unreadable]) {
        for row in rows {
            let (author, seq) = (row.author, row.seq);
            tracing::error!(%author, seq, "a stored operation is damaged");
            self.tell(Event::Damaged { topic, author, seq });
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use p2panda_engine::{Engine, Options, thread};

    use super::*;
    use crate::inner::levels::Levels;
    use crate::inner::storage::Storage;

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_how_many_events_it_lost() {
        let dir = tempfile::tempdir().unwrap();
        let engine =
            Engine::open(dir.path(), Options::default(), thread::system_clock()()).unwrap();
        let levels = Levels::new(Storage::new(engine.readers()), engine.journal());
        let (sender, (_net, net)) = (EventSender::new(), broadcast::channel(1));
        let own = engine.signing_key().verifying_key();
        let topics = Topics::new(p2panda_engine::Authors::new(own), levels);
        let mut events = Events::new(sender.listen(), net, topics);
        let sent = p2panda_core::limits::EVENTS_MAX as u64 + 5;
        for _ in 0..sent {
            sender.tell(Event::OwnLogPulled);
        }
        let Some(Event::Lagged(lost)) = events.next().await else {
            panic!("nothing was lost");
        };
        let mut came = 0;
        while came < sent - lost {
            assert_eq!(events.next().await, Some(Event::OwnLogPulled));
            came += 1;
        }
        sender.tell(Event::Recovering);
        assert_eq!(events.next().await, Some(Event::Recovering));
    }
}
