//! Waits until a peer has what was published.

use p2panda::{Error, Node, PeerStatus, PersonState, Receipt, Topic, VerifyingKey};
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

/// Counts the operations of the node in its spaces that no other node is known to have. Messages to other
/// devices count only if there are other devices.
///
/// # Errors
/// As [`Node::unsent`].
pub async fn unsent_in_spaces(node: &Node, look: &PersonState) -> Result<u64, Error> {
    let is_device = |device: &&VerifyingKey| !look.recovery.contains(device);
    let is_alone = look.devices.iter().filter(is_device).count() <= 1;
    let mut operations = 0;
    for unsent in node.unsent().await? {
        let is_waited_for = match look.of_devices == Some(unsent.topic) {
            true => !is_alone,
            false => node.spaces().carries(unsent.topic).await?,
        };
        if is_waited_for {
            operations += unsent.operations;
        }
    }
    Ok(operations)
}

/// The newest message of this node in a topic, on its way.
pub struct Delivery<'a> {
    /// This node.
    pub node: &'a Node,
    /// Topic of the message.
    pub topic: Topic,
    /// The message.
    pub newest: &'a Receipt,
    /// Peers that should have it in the first place.
    pub named: Vec<VerifyingKey>,
}

impl Delivery<'_> {
    /// Returns how many peers have it now.
    pub fn delivered(&self) -> Delivered {
        let (stored, sent) = (self.newest.held_by().len(), self.newest.sent_to().len());
        Delivered {
            stored,
            sent,
            is_enough: stored > 0 || self.is_sent_to_old(),
        }
    }

    /// Waits until one peer has stored it, or was sent it where none can say that it is stored, or none is asked; or until only
    /// peers are left that refuse it because of a quota ([`Receipt::refused_by`]).
    pub async fn wait(&self) -> Result<(), Error> {
        let waited = tokio::select! {
            stored = self.stored() => stored,
            sent = self.sent() => sent,
        };
        match waited {
            Err(Error::NotKept(_)) => Ok(()),
            waited => waited,
        }
    }

    async fn stored(&self) -> Result<(), Error> {
        if !self.newest.asks_peers() {
            return std::future::pending().await;
        }
        self.newest.stored(1).await?;
        match timeout(RPC_NAMED_WAIT, self.stored_by_named()).await {
            Ok(stored) => stored,
            Err(_) => Ok(()),
        }
    }

    /// One of those that are named, if any are.
    async fn stored_by_named(&self) -> Result<(), Error> {
        let held_by = || self.newest.held_by();
        let is_named = || held_by().iter().any(|peer| self.named.contains(peer));
        while !self.named.is_empty() && !is_named() {
            self.newest.stored(held_by().len() + 1).await?;
        }
        Ok(())
    }

    async fn sent(&self) -> Result<(), Error> {
        loop {
            self.newest.sent().await?;
            if !self.sessions().any_receipts && self.is_sent_to_old() {
                return Ok(());
            }
            sleep(RPC_LOOK_INTERVAL).await;
        }
    }

    /// Returns `true` if it was sent to a peer that cannot say more.
    fn is_sent_to_old(&self) -> bool {
        let old = self.sessions().old;
        let sent_to = self.newest.sent_to();
        sent_to.iter().any(|peer| old.contains(peer))
    }

    fn sessions(&self) -> Sessions {
        let mut sessions = Sessions::default();
        for peer in self.node.net().peers() {
            match receipts(&peer, self.topic) {
                Some(true) if self.newest.asks_peers() => sessions.any_receipts = true,
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
