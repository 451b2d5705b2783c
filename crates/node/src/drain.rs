//! Messages that nobody else has yet, and a shutdown that waits for them (`docs/protocol/streams.md#19`).

use std::sync::Arc;
use std::time::Duration;

use p2panda_core::{Label, LogName, Topic, limits};
use p2panda_net::{PeerStatus, SessionStatus};

use crate::Error;
use crate::inner::receipts::Place;
use crate::inner::topic::TopicState;
use crate::node::Node;
use crate::receipt::Receipt;

/// Own messages of a topic that nobody else is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsent {
    /// The topic that this is about.
    pub topic: Topic,
    /// Number of operations.
    pub operations: u64,
}

impl Node {
    /// All topics with stored data in this directory, and the kept ones.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn stored_topics(&self) -> Result<Vec<Topic>, Error> {
        let read = |reader: &p2panda_store::Reader| {
            let mut topics: Vec<Topic> = Vec::new();
            loop {
                let page = reader.topics(topics.last(), limits::TOPICS_PAGE_ROWS)?;
                if page.is_empty() {
                    return Ok(topics);
                }
                topics.extend(page);
            }
        };
        self.storage().read(read).await
    }

    /// Returns what this node published and nobody is known to have: neither sent to a peer nor
    /// stored by one since this node started (`docs/protocol/streams.md#19`). Topics without any
    /// are left out, and so are topics that are not open.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn unsent(&self) -> Result<Vec<Unsent>, Error> {
        let mut unsent = Vec::new();
        for state in self.topics().all() {
            let operations = self.unsent_of(&state).await?;
            if operations > 0 {
                unsent.push(Unsent {
                    topic: state.topic(),
                    operations,
                });
            }
        }
        Ok(unsent)
    }

    /// The same for one topic: the number of operations.
    ///
    /// # Errors
    /// As [`Node::unsent`].
    pub async fn unsent_in(&self, topic: Topic) -> Result<u64, Error> {
        match self.topics().get(&topic) {
            Some(state) => self.unsent_of(&state).await,
            None => Ok(0),
        }
    }

    /// Returns the receipt of the newest operation of each log of this node in a topic, whenever it was
    /// published: a peer that has them has everything that this node published there. In a space these are
    /// the log of its messages and the one of what it did to members and secrets. Empty if the topic is not
    /// open.
    ///
    /// # Errors
    /// As [`Node::unsent`].
    pub async fn newest_in(&self, topic: Topic) -> Result<Vec<Receipt>, Error> {
        let Some(state) = self.topics().get(&topic) else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for (log, label) in self.own_logs(topic).await? {
            let read = move |reader: &p2panda_store::Reader| reader.newest_entry(&topic, &label);
            let newest = self.storage().read(read).await?;
            all.extend(newest.map(|newest| Receipt::of_entry(&newest, log, Arc::clone(&state))));
        }
        Ok(all)
    }

    async fn unsent_of(&self, state: &TopicState) -> Result<u64, Error> {
        let topic = state.topic();
        let mut unsent = 0;
        for (log, label) in self.own_logs(topic).await? {
            let (arrival, stored) = state.receipts().furthest(log);
            let read = move |reader: &p2panda_store::Reader| {
                let Some(newest) = reader.newest_entry(&topic, &label)? else {
                    return Ok(0);
                };
                let after_stored = stored.map_or(u64::MAX, |stored| {
                    u64::from(newest.seq.saturating_sub(stored))
                });
                Ok(reader
                    .newer_than(&topic, &label, arrival)?
                    .min(after_stored))
            };
            unsent += self.storage().read(read).await?;
        }
        Ok(unsent)
    }

    /// The logs of this node in a topic: the first one, and those with a name, with their labels.
    async fn own_logs(&self, topic: Topic) -> Result<Vec<(Option<LogName>, Label)>, Error> {
        let own = self.author_in(&topic);
        let read = move |reader: &p2panda_store::Reader| reader.named_logs_of(&topic, &own);
        let named = self.storage().read(read).await?;
        let mut logs = vec![(None, own.into())];
        logs.extend(named.into_iter().map(|(name, label)| (Some(name), label)));
        Ok(logs)
    }

    /// Waits until everything that this node published in its open topics was sent: to one peer at
    /// least, and, but for spaces with an own key, to every peer that has a session by then. At most so long; then, or with the last
    /// acknowledgement, it shuts the node down. Returns what nobody is known to have.
    ///
    /// # Errors
    /// As [`Node::shutdown`].
    pub async fn shutdown_after(&self, wait: Duration) -> Result<Vec<Unsent>, Error> {
        // If the wait ends early, the call below reports why.
        let _ = tokio::time::timeout(wait, self.drained()).await;
        let unsent = self.unsent().await;
        self.shutdown().await?;
        unsent
    }

    /// Resolves when there is nothing left to send.
    async fn drained(&self) -> Result<(), Error> {
        for state in self.topics().all() {
            let topic = state.topic();
            for (log, label) in self.own_logs(topic).await? {
                let read =
                    move |reader: &p2panda_store::Reader| reader.newest_entry(&topic, &label);
                let Some(newest) = self.storage().read(read).await? else {
                    continue;
                };
                let place = Place {
                    log,
                    seq: newest.seq,
                    arrival: newest.arrival,
                };
                self.sent_to_all(&state, place).await?;
            }
        }
        Ok(())
    }

    async fn sent_to_all(&self, state: &TopicState, place: Place) -> Result<(), Error> {
        state.wait_sent(place, 1).await?;
        // Of what an own key signs a peer may only have been told, and have it from another one.
        if !state.asks_peers() {
            return Ok(());
        }
        while !self.is_sent_to_all(state, place) {
            // A session may end as well.
            let changed = state.receipts().changed();
            let _ = tokio::time::timeout(limits::DRAIN_LOOK_INTERVAL, changed).await;
        }
        Ok(())
    }

    /// Returns `true` if every peer with a session of a topic was sent everything up to here.
    fn is_sent_to_all(&self, state: &TopicState, place: Place) -> bool {
        let (topic, sent_to) = (state.topic(), state.receipts().sent_to(place));
        let has_session = |peer: &PeerStatus| {
            let mut sessions = peer.sessions.iter();
            // Others are never sent what is in a log with a name.
            let carries = |session: &SessionStatus| place.log.is_none() || session.receipts;
            sessions.any(|session| session.topic == topic && carries(session))
        };
        let peers = self.net().peers();
        let mut peers = peers.iter().filter(|peer| has_session(peer));
        peers.all(|peer| sent_to.contains(&peer.id))
    }
}
