//! Waits until a peer has what was published.

use futures_lite::future::poll_once;
use p2panda::{Error, Node, NotKept, PeerStatus, PersonState, Receipt, Topic, VerifyingKey};
use p2panda_core::limits::{RPC_LOOK_INTERVAL, RPC_NAMED_WAIT};
use serde::Serialize;
use tokio::time::{sleep, timeout};

/// Delivery state of what this node published to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Peers that say that they have stored all of it.
    pub stored: usize,
    /// Peers that were sent all of it.
    pub sent: usize,
    /// One has stored it, or was sent it and cannot say whether it is stored.
    #[serde(skip)]
    pub is_enough: bool,
}

impl Delivered {
    /// In words.
    pub fn plain(&self) -> String {
        let peers = if self.stored == 1 { "peer" } else { "peers" };
        let Delivered { stored, sent, .. } = self;
        format!("stored by {stored} {peers}, sent to {sent}")
    }
}

/// Counts the operations of the node in its spaces that no other node is known to have; asks the peers whether
/// they have stored them. Where all were sent and not all are stored yet, a space counts as one operation.
/// Messages to other devices count only if there are other devices.
///
/// # Errors
/// As [`Node::unsent`].
pub async fn unsent_in_spaces(node: &Node, look: &PersonState) -> Result<u64, Error> {
    let is_device = |device: &&VerifyingKey| !look.recovery.contains(device);
    let is_alone = look.devices.iter().filter(is_device).count() <= 1;
    let spaces = node.spaces().states().await?;
    let spaces = spaces.into_iter().map(|(topic, _)| topic);
    let of_devices = look.of_devices.filter(|_| !is_alone);
    let mut operations = 0;
    for topic in spaces.chain(of_devices) {
        if look.of_devices == Some(topic) && is_alone {
            continue;
        }
        let delivery = Delivery {
            node,
            topic,
            newest: node.newest_in(topic).await?,
            named: Vec::new(),
        };
        delivery.ask().await?;
        if !delivery.delivered().is_enough {
            operations += node.unsent_in(topic).await?.max(1);
        }
    }
    Ok(operations)
}

/// The newest operations of this node in a topic, on their way.
pub struct Delivery<'a> {
    node: &'a Node,
    topic: Topic,
    /// One for each log that counts.
    newest: Vec<Receipt>,
    /// Peers that should have them in the first place.
    named: Vec<VerifyingKey>,
}

impl<'a> Delivery<'a> {
    /// Those of all logs of this node in the topic of a space: what it did to members and secrets is in another
    /// log than its messages. In another topic, that of the first log.
    ///
    /// # Errors
    /// As [`Node::publisher`] and [`Node::newest_in`].
    pub async fn of(
        node: &'a Node,
        topic: Topic,
        named: Vec<VerifyingKey>,
    ) -> Result<Delivery<'a>, Error> {
        let publisher = node.publisher(topic).await?;
        let newest = match node.spaces().carries(topic).await? {
            true => node.newest_in(topic).await?,
            false => publisher.newest().await?.into_iter().collect(),
        };
        Ok(Delivery {
            node,
            topic,
            newest,
            named,
        })
    }

    /// Returns the topic that this is about.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Returns `true` if this node has published nothing.
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Returns who refuses one of them because of a quota.
    pub fn refused_by(&self) -> Vec<NotKept> {
        self.newest.iter().flat_map(Receipt::refused_by).collect()
    }

    /// Returns how many peers have all of them now.
    pub fn delivered(&self) -> Delivered {
        let is_at_a_peer = |one: &Receipt| !one.held_by().is_empty() || self.is_sent_to_old(one);
        Delivered {
            stored: self.with_all(Receipt::held_by),
            sent: self.with_all(Receipt::sent_to),
            is_enough: self.newest.iter().all(is_at_a_peer),
        }
    }

    /// Returns the number of peers that have each one.
    fn with_all(&self, peers: impl Fn(&Receipt) -> Vec<VerifyingKey>) -> usize {
        let mut each = self.newest.iter().map(peers);
        let mut all = each.next().unwrap_or_default();
        each.for_each(|peers| all.retain(|peer| peers.contains(peer)));
        all.len()
    }

    /// Asks the peers whether they have stored them, without waiting.
    ///
    /// # Errors
    /// As [`Receipt::stored`].
    pub async fn ask(&self) -> Result<(), Error> {
        for newest in self.newest.iter().filter(|one| one.asks_peers()) {
            match poll_once(newest.stored(1)).await {
                None | Some(Ok(()) | Err(Error::NotKept(_))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until one peer has stored each, or was sent it where none can say that it is stored, or none is asked; or until only
    /// peers are left that refuse it because of a quota ([`Receipt::refused_by`]).
    ///
    /// # Errors
    /// As [`Receipt::stored`].
    pub async fn wait(&self) -> Result<(), Error> {
        self.ask().await?;
        for newest in &self.newest {
            let waited = tokio::select! {
                stored = self.stored(newest) => stored,
                sent = self.sent(newest) => sent,
            };
            match waited {
                Err(Error::NotKept(_)) => return Ok(()),
                waited => waited?,
            }
        }
        Ok(())
    }

    async fn stored(&self, newest: &Receipt) -> Result<(), Error> {
        if !newest.asks_peers() {
            return std::future::pending().await;
        }
        newest.stored(1).await?;
        match timeout(RPC_NAMED_WAIT, self.stored_by_named(newest)).await {
            Ok(stored) => stored,
            Err(_) => Ok(()),
        }
    }

    /// One of those that are named, if any are.
    async fn stored_by_named(&self, newest: &Receipt) -> Result<(), Error> {
        let held_by = || newest.held_by();
        let is_named = || held_by().iter().any(|peer| self.named.contains(peer));
        while !self.named.is_empty() && !is_named() {
            newest.stored(held_by().len() + 1).await?;
        }
        Ok(())
    }

    async fn sent(&self, newest: &Receipt) -> Result<(), Error> {
        loop {
            newest.sent().await?;
            if !self.sessions(newest).any_receipts && self.is_sent_to_old(newest) {
                return Ok(());
            }
            sleep(RPC_LOOK_INTERVAL).await;
        }
    }

    /// Returns `true` if one was sent to a peer that cannot say more.
    fn is_sent_to_old(&self, newest: &Receipt) -> bool {
        let old = self.sessions(newest).old;
        let sent_to = newest.sent_to();
        sent_to.iter().any(|peer| old.contains(peer))
    }

    fn sessions(&self, newest: &Receipt) -> Sessions {
        let mut sessions = Sessions::default();
        for peer in self.node.net().peers() {
            match receipts(&peer, self.topic) {
                Some(true) if newest.asks_peers() => sessions.any_receipts = true,
                Some(_) => sessions.old.push(peer.id),
                None => {}
            }
        }
        sessions
    }
}

/// Peers with a session of the topic.
#[derive(Default)]
struct Sessions {
    /// Some can say that they have stored something.
    any_receipts: bool,
    /// Those that cannot, or are not asked.
    old: Vec<VerifyingKey>,
}

/// Returns `Some` for a peer with a session of the topic, with `true` if it can say that it has
/// stored something.
fn receipts(peer: &PeerStatus, topic: Topic) -> Option<bool> {
    let sessions = peer.sessions.iter();
    let mut of_topic = sessions.filter(|session| session.topic == topic).peekable();
    of_topic.peek()?;
    Some(of_topic.any(|session| session.receipts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_line_has_the_numbers_of_stored_and_sent() {
        let one = Delivered {
            stored: 1,
            sent: 2,
            is_enough: true,
        };
        assert_eq!(one.plain(), "stored by 1 peer, sent to 2");
    }
}
