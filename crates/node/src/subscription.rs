//! Reading a topic: the topic's consumer, and a type.

use p2panda_core::Topic;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::body::{self, Raw};
use crate::ended::Ended;
use crate::inner::consumer::{Consumer, Delivery};
use crate::message::Message;
use crate::node::Node;

/// The reading half of a topic stream.
///
/// It pulls from the stored feed: even if it is slow, it holds at most two pages in memory, stalls
/// nobody and loses nothing. Every subscription of a topic sees every message.
#[derive(Debug)]
pub struct Subscription<M = Raw> {
    pub(crate) node: Node,
    pub(crate) topic: Topic,
    pub(crate) consumer: Consumer,
    pub(crate) ended: Option<Ended>,
    pub(crate) decode: fn(&[u8]) -> Option<Result<M, body::DecodeError>>,
}

/// The peers with which a node has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaughtUp {
    /// Number of peers with a session at that moment.
    pub peers: usize,
    /// Logs that are blocked here ([`crate::Event::LogBlocked`]): later entries did not arrive.
    pub blocked: usize,
}

pub(crate) fn untyped(_: &[u8]) -> Option<Result<Raw, body::DecodeError>> {
    None
}

pub(crate) fn typed<M: DeserializeOwned>(body: &[u8]) -> Option<Result<M, body::DecodeError>> {
    Some(body::value(body))
}

impl<M> Subscription<M> {
    /// The next message of the topic, waiting until there is one. `None` when the topic was left,
    /// the node was shut down, or the feed cannot be read: [`Subscription::ended`] says which. In
    /// the last case nothing was skipped, and calling again tries again.
    ///
    /// A damaged stored message is skipped and reported as [`crate::Event::Damaged`].
    ///
    /// Under [`crate::Ack::Automatic`] asking for the next message acknowledges the one before: what
    /// was being worked on in a crash comes again.
    ///
    /// Cancel safe: a message is only taken when the future completes.
    pub async fn next(&mut self) -> Option<Message<M>> {
        self.ended = None;
        match self.consumer.next().await {
            Ok(Delivery { entry, acks }) => Some(Message::new(entry, self.decode, Some(acks))),
            Err(ended) => {
                if let Ended::Failed(error) = &ended {
                    tracing::error!(%error, "the feed cannot be read");
                }
                self.ended = Some(ended);
                None
            }
        }
    }

    /// Waits until this node has caught up with every peer that has a session on the topic, and
    /// with at least one: what they had is stored here, except for blocked logs.
    /// [`Subscription::next`] delivers the messages among it; those that wait for others are
    /// delivered after these. Without a peer, it waits for one. Peers without a session may have
    /// more.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::Left`] when the topic was left, [`Error::Closed`] or the reason when the node has ended.
    pub async fn caught_up(&self) -> Result<CaughtUp, Error> {
        self.node.caught_up(self.topic).await
    }

    /// Returns why [`Subscription::next`] returned `None`; `None` before that.
    pub fn ended(&self) -> Option<Ended> {
        self.ended.clone()
    }

    /// The topic that this was opened for.
    pub fn topic(&self) -> Topic {
        self.topic
    }
}
