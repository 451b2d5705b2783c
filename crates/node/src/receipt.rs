//! Delivery state of a published message.

use std::sync::Arc;

use p2panda_core::{Hash, LogName, VerifyingKey};
use p2panda_store::NewestEntry;

use crate::Error;
use crate::inner::queue::Published;
use crate::inner::receipts::Place;
use crate::inner::topic::TopicState;
use crate::not_kept::NotKept;

/// Proof that a message is stored durably on this node, and what is known of others
/// (`docs/protocol/streams.md#19`).
///
/// *Sent*: the transport of a peer has acknowledged the message and everything before it. It is
/// not known what the peer did with it. *Stored*: the peer says that it has stored the message and
/// everything before it, on a disk. Peers of release 0.7.1 cannot say that.
///
/// A receipt is the peer's word, and identities are free: one machine can be any number of peers. Where it
/// matters who has a message, wait for peers by name.
///
/// ```no_run
/// # async fn example(tx: p2panda::Publisher) -> Result<(), p2panda::Error> {
/// let receipt = tx.publish("Hello, Panda!").await?;
/// receipt.stored(2).await?;
/// println!("on the disks of {:?}", receipt.held_by());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Receipt {
    id: Hash,
    place: Place,
    state: Arc<TopicState>,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt")
            .field("id", &self.id)
            .field("seq", &self.place.seq)
            .finish_non_exhaustive()
    }
}

impl Receipt {
    pub(crate) fn new(published: &Published, state: Arc<TopicState>) -> Self {
        let place = Place {
            log: published.log,
            seq: published.seq,
            arrival: published.arrival,
        };
        let id = published.id;
        Self { id, place, state }
    }

    pub(crate) fn of_entry(
        entry: &NewestEntry,
        log: Option<LogName>,
        state: Arc<TopicState>,
    ) -> Self {
        let place = Place {
            log,
            seq: entry.seq,
            arrival: entry.arrival,
        };
        let id = entry.id;
        Self { id, place, state }
    }

    /// The operation id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// Place in the log of this node that the message was published to.
    pub fn seq(&self) -> u32 {
        self.place.seq
    }

    /// The peers that were sent the message since this node started, those that stored it among them.
    pub fn sent_to(&self) -> Vec<VerifyingKey> {
        self.state.receipts().sent_to(self.place)
    }

    /// The peers that said since this node started that they have stored the message. They are asked
    /// only when somebody waits for it, or for a later message of the topic, to be stored.
    pub fn held_by(&self) -> Vec<VerifyingKey> {
        self.state.receipts().held_by(self.place)
    }

    /// The peers that said that they do not keep the message, because a quota of theirs is used up: as far as
    /// this is known of peers with a link with this node.
    pub fn refused_by(&self) -> Vec<NotKept> {
        self.state.refusers(self.place)
    }

    /// Waits until the message was sent to a peer.
    ///
    /// Cancel safe. Waits without a limit.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is shut down meanwhile, [`Error::Left`] when it leaves the topic,
    /// [`Error::Corrupt`] when it stops by itself, [`Error::Publish`] when another branch of the log
    /// turns up: what was sent then says nothing.
    pub async fn sent(&self) -> Result<(), Error> {
        self.state.wait_sent(self.place, 1).await
    }

    /// Returns `true` if peers are asked whether they have stored the message. They are not in a space in which
    /// this node has a key of its own: [`Receipt::stored`] fails there.
    pub fn asks_peers(&self) -> bool {
        self.state.asks_peers()
    }

    /// Asks the peers, and waits until that many of them say that they have stored the message.
    ///
    /// Cancel safe. Takes about 200 ms longer than the delivery. Waits without a limit, and
    /// forever if there are only peers of release 0.7.1.
    ///
    /// # Errors
    /// As [`Receipt::sent`]; [`Error::OwnKey`] in a space with a key of its own;
    /// [`Error::NotKept`] when peers refuse the message because of a quota, and too few
    /// others have it or are connected in the topic.
    pub async fn stored(&self, peers: usize) -> Result<(), Error> {
        self.state.wait_stored(self.place, peers).await
    }

    /// The same for these peers, all of them.
    ///
    /// # Errors
    /// As [`Receipt::sent`]; [`Error::NotKept`] when one of them refuses the message because of a quota.
    pub async fn stored_by(
        &self,
        peers: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<(), Error> {
        let peers: Vec<_> = peers.into_iter().collect();
        self.state.wait_stored_by(self.place, &peers).await
    }
}
