//! Inspecting, keeping and leaving a topic.

use bytes::Bytes;
use p2panda_core::{Hash, LogName, Topic, VerifyingKey, limits};
use p2panda_net::{CatchUp, SessionStatus};
use p2panda_store::{ForkRow, GivenUp, OwnFork, PageLimits, RejectedRow, TopicStatus};

use crate::Error;
use crate::following::Following;
use crate::message::Message;
use crate::node::Node;
use crate::not_kept::NotKept;
use crate::publisher::label_of;
use crate::subscription::untyped;

/// Status, evidence and settings of one topic. Made by [`Node::topic`].
#[derive(Clone, Debug)]
pub struct TopicHandle {
    node: Node,
    topic: Topic,
}

/// A stored operation, as the bytes that sync would send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOperation {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Place in the log.
    pub seq: u32,
    /// Arrival number on this node: the key of the next page.
    pub arrival: u64,
    /// Signed header.
    pub header: Bytes,
    /// Body, unless it has not arrived or there is none.
    pub body: Option<Bytes>,
}

/// A peer with which a topic is exchanged. Made by [`TopicHandle::peers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicPeer {
    /// Its node id.
    pub peer: VerifyingKey,
    /// State of the session with the peer.
    pub session: SessionStatus,
    /// The progress of the catch-up; none before it has begun, and when it is over: the session is
    /// live then.
    pub catch_up: Option<CatchUp>,
    /// Stored operations of the topic that the transport of the peer has not acknowledged and that
    /// the peer is not known to have.
    pub unsent: u64,
    /// The last entry of this node's own log that the peer says it has stored; none if it was not asked
    /// or cannot say so (`docs/protocol/link.md#10`).
    pub stores_own: Option<u32>,
}

impl TopicHandle {
    pub(crate) fn new(node: Node, topic: Topic) -> Self {
        Self { node, topic }
    }

    /// Counts what is stored, waits or was refused. Reads each log of the topic.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn status(&self) -> Result<TopicStatus, Error> {
        let topic = self.topic;
        self.node
            .storage()
            .read(move |reader| reader.status(&topic))
            .await
    }

    /// The peers with which the topic is exchanged now, and what each side lacks, as far as that
    /// is known. Counts what each of them was not sent. Empty if the topic is not open.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn peers(&self) -> Result<Vec<TopicPeer>, Error> {
        let topic = self.topic;
        let Some(state) = self.node.topics().get(&topic) else {
            return Ok(Vec::new());
        };
        let sessions = self.node.net_handle().sessions_of(&topic);
        let mut peers = Vec::with_capacity(sessions.len());
        for (peer, session, catch_up) in sessions {
            let (sent, stores_own) = state.receipts().of(&peer);
            let unsent = self
                .node
                .storage()
                .read(move |reader| reader.arrived_above(&topic, sent));
            peers.push(TopicPeer {
                peer,
                session,
                catch_up,
                unsent: unsent.await?,
                stores_own,
            });
        }
        Ok(peers)
    }

    /// The logs of the topic of which a peer keeps nothing new, because a quota of that peer is used up
    /// (`docs/protocol/streams.md#21`): what peers say that have a link with this node. Empty if the topic is
    /// not open.
    pub fn not_kept(&self) -> Vec<NotKept> {
        let state = self.node.topics().get(&self.topic);
        state.map_or_else(Vec::new, |state| state.not_kept().all())
    }

    /// Refused operations with their reasons, oldest first, at most 1 000 after row `after`.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn rejected(&self, after: u64) -> Result<Vec<RejectedRow>, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| {
            reader.rejected_page(&topic, after, limits::EVIDENCE_PAGE_ROWS_MAX)
        };
        self.node.storage().read(read).await
    }

    /// Evidence of forks: two headers by one author for the same place, at most 1 000.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn forks(&self) -> Result<Vec<ForkRow>, Error> {
        let topic = self.topic;
        self.node
            .storage()
            .read(move |reader| reader.forks(&topic, limits::EVIDENCE_PAGE_ROWS_MAX))
            .await
    }

    /// The state of the fork of this node's first log of the topic, if a copy of its directory
    /// has published to it as well: the log is closed then. The remedies are
    /// [`Restored::NewIdentity`](crate::Restored) and, unless a peer holds our branch,
    /// [`Restored::PullOwnLog`](crate::Restored).
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn own_fork(&self) -> Result<Option<OwnFork>, Error> {
        let (topic, author) = (self.topic, self.node.author_in(&self.topic));
        let read = move |reader: &p2panda_store::Reader| reader.own_fork(&topic, &author);
        self.node.storage().read(read).await
    }

    /// The same for all logs of this node in the topic, with the hash of the name of those that have one
    /// ([`Publisher::to_log`](crate::Publisher::to_log)).
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn own_forks(&self) -> Result<Vec<(Option<LogName>, OwnFork)>, Error> {
        let (topic, author) = (self.topic, self.node.author_in(&self.topic));
        let read = move |reader: &p2panda_store::Reader| reader.own_forks(&topic, &author);
        self.node.storage().read(read).await
    }

    /// This node's operations on branches that were given up, or that only it had under an earlier key,
    /// at most 1 000 behind row `after`. [`Node::republish`] publishes their content again.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn given_up(&self, after: u64) -> Result<Vec<GivenUp>, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| {
            reader.given_up(&topic, after, limits::EVIDENCE_PAGE_ROWS_MAX)
        };
        self.node.storage().read(read).await
    }

    /// A page of stored operations in the order of their arrival, after arrival number `after`;
    /// empty at the end. For exports and comparisons; applications read the stream.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn operations(&self, after: u64) -> Result<Vec<StoredOperation>, Error> {
        self.arrivals(after, PageLimits::default()).await
    }

    /// The same, at most that many operations and bytes, unless the first one has more.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn operations_page(
        &self,
        after: u64,
        operations: usize,
        bytes: usize,
    ) -> Result<Vec<StoredOperation>, Error> {
        let most = PageLimits::default();
        let limits = PageLimits {
            rows: operations.clamp(1, most.rows),
            bytes: bytes.min(most.bytes),
        };
        self.arrivals(after, limits).await
    }

    /// Waits until an operation is stored after arrival number `after` and the feed of the topic
    /// has grown; the node is interested in the topic from then on, as with [`Node::stream`].
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`TopicHandle::grown`].
    pub async fn arrived(&self, after: u64) -> Result<(), Error> {
        self.follow().await?.arrived(after).await
    }

    async fn arrivals(
        &self,
        after: u64,
        limits: PageLimits,
    ) -> Result<Vec<StoredOperation>, Error> {
        let topic = self.topic;
        let mut after = after;
        let page = loop {
            let read =
                move |reader: &p2panda_store::Reader| reader.arrivals_page(&topic, after, limits);
            let page = self.node.storage().read(read).await?;
            if !page.entries.is_empty() || !page.more {
                break page;
            }
            after = page.last_arrival;
        };
        let operations = page.entries.into_iter().map(|entry| StoredOperation {
            author: entry.header.author(),
            seq: entry.header.seq(),
            arrival: entry.arrival,
            header: entry.header.as_bytes().clone(),
            body: entry.body,
        });
        Ok(operations.collect())
    }

    /// Messages of the topic after offset `after`, in the order of the feed: at most that many and
    /// 512, with at most that many bytes and 256 KiB, unless the first one has more. Empty at the
    /// end. The node remembers nothing of the read.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn messages(
        &self,
        after: u64,
        messages: usize,
        bytes: usize,
    ) -> Result<Vec<Message>, Error> {
        let topic = self.topic;
        let limits = PageLimits {
            rows: messages.clamp(1, limits::FEED_PAGE_ROWS_MAX),
            bytes: bytes.min(limits::FEED_PAGE_BYTES_MAX),
        };
        let mut after = after;
        let page = loop {
            let read =
                move |reader: &p2panda_store::Reader| reader.feed_page(&topic, after, limits, None);
            let page = self.node.storage().read(read).await?;
            self.node.event_sender().damaged(topic, &page.unreadable);
            if !page.entries.is_empty() || !page.more {
                break page;
            }
            after = page.last_offset;
        };
        let entries = page.entries.into_iter();
        Ok(entries
            .map(|entry| Message::new(entry, untyped, None))
            .collect())
    }

    /// Waits until the feed of the topic has an entry after offset `after`; the node is interested
    /// in the topic from then on, as with [`Node::stream`].
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`TopicHandle::status`]; [`Error::Left`] when the topic is left meanwhile.
    pub async fn grown(&self, after: u64) -> Result<(), Error> {
        self.follow().await?.grown(after).await
    }

    /// Follows the topic, to wait for its growth more than once: the node is interested in it from
    /// then on, as with [`Node::stream`], until it is left.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn follow(&self) -> Result<Following, Error> {
        let state = self.node.join(self.topic).await?;
        Ok(Following::new(self.clone(), state))
    }

    pub(crate) async fn last_offset(&self) -> Result<u64, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| reader.last_offset(&topic);
        self.node.storage().read(read).await
    }

    /// Returns where a log of the topic continues, as far as this node knows: the sequence number
    /// of its next operation, and the id of the one before it. For operations that are signed
    /// elsewhere and imported with [`Node::import`]; the author may have written more.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn next_entry(
        &self,
        author: VerifyingKey,
        log: Option<LogName>,
    ) -> Result<(u32, Option<Hash>), Error> {
        let topic = self.topic;
        let label = label_of(&topic, &author, log);
        let read = move |reader: &p2panda_store::Reader| reader.newest_entry(&topic, &label);
        let newest = self.node.storage().read(read).await?;
        Ok(newest.map_or((0, None), |newest| {
            (newest.seq.saturating_add(1), Some(newest.id))
        }))
    }

    /// Number of operations whose body has not arrived; peers are asked for it.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn wanted_bodies(&self) -> Result<u64, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| reader.wanted(&topic);
        self.node.storage().read(read).await
    }

    /// Deletes the body of an operation on this node permanently; the header stays, since it links
    /// the log. Nobody is asked for the body again, and a copy that comes is not kept. Its message
    /// is no longer delivered.
    ///
    /// Returns false if there is no such operation, or it never had a body.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn drop_body(&self, author: VerifyingKey, seq: u32) -> Result<bool, Error> {
        self.drop_body_in(None, author, seq).await
    }

    /// The same in a log with a name ([`Message::log`](crate::Message::log)); none: the first log of the
    /// author.
    ///
    /// # Errors
    /// As [`TopicHandle::drop_body`].
    pub async fn drop_body_in(
        &self,
        log: Option<LogName>,
        author: VerifyingKey,
        seq: u32,
    ) -> Result<bool, Error> {
        let label = label_of(&self.topic, &author, log);
        self.node.queue().drop_body(self.topic, label, seq).await
    }

    /// Stored header and payload bytes of the topic. `None` without quotas
    /// ([`Builder::quotas`](crate::Builder::quotas)): nothing is counted then.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn kept_bytes(&self) -> Result<Option<u64>, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| reader.kept_bytes(Some(&topic));
        self.node.storage().read(read).await
    }

    /// The highest offset in the topic's feed whose content was deleted by age
    /// ([`Builder::retention`](crate::Builder::retention)); 0 if none was. A reader that continues
    /// after a lower offset misses messages.
    ///
    /// # Errors
    /// As [`TopicHandle::status`].
    pub async fn aged_until(&self) -> Result<u64, Error> {
        let topic = self.topic;
        let read = move |reader: &p2panda_store::Reader| reader.aged_until(&topic);
        self.node.storage().read(read).await
    }

    /// Starts or ends keeping the topic.
    ///
    /// The node is interested in a kept topic from its start on, whether or not the application opens
    /// it: it stores and serves the topic, and later readers find what arrived meanwhile. The interest
    /// begins at once. Ending to keep a topic takes effect at the next start;
    /// [`TopicHandle::leave`] ends the present interest, and only that.
    ///
    /// Returns once that is on disk. [`Node::kept_topics`] lists them.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn keep(&self, keep: bool) -> Result<(), Error> {
        self.node.queue().keep_topic(self.topic, keep).await?;
        if keep {
            self.node.join(self.topic).await?;
        }
        Ok(())
    }

    /// Ends the node's interest: sessions are ended cleanly, and both halves of the topic's
    /// streams end: subscriptions give nothing more, and publishing fails with [`Error::Left`].
    /// Stored operations remain. [`Node::stream`] opens the topic again, and so does the next
    /// start if it is kept.
    pub async fn leave(&self) {
        self.node.leave(&self.topic).await;
    }
}
