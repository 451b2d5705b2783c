//! Deliveries of named consumers, and how they are settled (`docs/protocol/consumers.md#2`).

use std::sync::Arc;
use std::time::Duration;

use p2panda_core::limits::{CONSUMER_DELAY_MAX, CONSUMER_REASON_BYTES_MAX};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_engine::consumer::{Answer, ReaderNumber, Token};
use p2panda_store::{Change, NamedKey};

use crate::Error;
use crate::body::{DecodeError, Raw};
use crate::consumer_error::ConsumerError;
use crate::consumer_settings::micros;
use crate::inner::named::Named;
use crate::message::Message;

/// A delivery of a named consumer: a message, or a report that messages were pruned before they
/// were settled.
#[derive(Debug)]
pub struct Delivery<M = Raw> {
    named: Arc<Named>,
    reader: ReaderNumber,
    what: What<M>,
}

#[derive(Debug)]
enum What<M> {
    Message {
        topic: Topic,
        message: Box<Message<M>>,
        token: Token,
        count: u32,
    },
    Pruned(Pruned),
}

/// The kind of a delivery: a message, a change or a prune, so that code can tell them apart even
/// where messages have a type.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivered<'d, M = Raw> {
    /// A message with content.
    Message(&'d Message<M>),
    /// A change to an earlier operation: the message has no content.
    Changed(Change, &'d Message<M>),
    /// Messages were pruned before they were settled.
    Pruned(&'d Pruned),
}

/// Messages of a log that were pruned before the consumer had settled them, so they are not delivered
/// (`docs/protocol/consumers.md#6`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the log.
    pub author: VerifyingKey,
    /// Everything below this sequence number is gone.
    pub below: u32,
    /// Number of messages that were not settled.
    pub unsettled: u64,
}

/// Outcome of an acknowledgement of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// The acknowledgement counts, and is on disk.
    Done,
    /// The message was settled before, or delivered again since: nothing changed.
    Already,
}

/// Names a delivery, so that it can be acknowledged without the message. It is valid while the
/// consumer is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryToken {
    consumer: NamedKey,
    token: Token,
}

impl DeliveryToken {
    /// The token, if it belongs to this consumer.
    pub(crate) fn of(self, named: &Named) -> Result<Token, ConsumerError> {
        match self.consumer == named.key() {
            true => Ok(self.token),
            false => Err(ConsumerError::ForeignToken),
        }
    }
}

impl From<Answer> for Settled {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done => Self::Done,
            Answer::AlreadySettled => Self::Already,
        }
    }
}

impl<M> Delivery<M> {
    pub(crate) fn message_of(
        (named, reader): (Arc<Named>, ReaderNumber),
        topic: Topic,
        message: Message<M>,
        (token, count): (Token, u32),
    ) -> Self {
        let message = Box::new(message);
        let what = What::Message {
            topic,
            message,
            token,
            count,
        };
        Self {
            named,
            reader,
            what,
        }
    }

    pub(crate) fn pruned_of(named: Arc<Named>, reader: ReaderNumber, pruned: Pruned) -> Self {
        let what = What::Pruned(pruned);
        Self {
            named,
            reader,
            what,
        }
    }

    /// Returns the kind of the delivery: a message, a change or a prune.
    pub fn what(&self) -> Delivered<'_, M> {
        match &self.what {
            What::Pruned(pruned) => Delivered::Pruned(pruned),
            What::Message { message, .. } => match message.change() {
                Some(change) => Delivered::Changed(change, message),
                None => Delivered::Message(message),
            },
        }
    }

    /// The message, which may report a change; `None` if this reports a prune.
    pub fn message(&self) -> Option<&Message<M>> {
        match &self.what {
            What::Message { message, .. } => Some(message),
            What::Pruned(_) => None,
        }
    }

    /// Returns what was pruned; `None` if this is a message.
    pub fn pruned(&self) -> Option<&Pruned> {
        match &self.what {
            What::Message { .. } => None,
            What::Pruned(pruned) => Some(pruned),
        }
    }

    /// The topic that this was opened for.
    pub fn topic(&self) -> Topic {
        match &self.what {
            What::Message { topic, .. } => *topic,
            What::Pruned(pruned) => pruned.topic,
        }
    }

    /// Returns how often this consumer has delivered the message, including this time.
    pub fn count(&self) -> u32 {
        match &self.what {
            What::Message { count, .. } => *count,
            What::Pruned(_) => 1,
        }
    }

    /// Returns the author of the message, or of the log in which messages were pruned.
    pub fn author(&self) -> VerifyingKey {
        match &self.what {
            What::Message { message, .. } => message.author(),
            What::Pruned(pruned) => pruned.author,
        }
    }

    /// As [`Message::text`].
    ///
    /// # Errors
    /// As there; and where this is not a message.
    pub fn text(&self) -> Result<&str, DecodeError> {
        self.message().ok_or(DecodeError::Change)?.text()
    }

    /// As [`Message::value`].
    ///
    /// # Errors
    /// As there; and where this is not a message.
    pub fn value(&self) -> Result<&M, &DecodeError> {
        self.message().ok_or(&DecodeError::Change)?.value()
    }

    /// The token of this delivery; `None` if it is not a message.
    pub fn token(&self) -> Option<DeliveryToken> {
        let consumer = self.named.key();
        let token = self.engine_token()?;
        Some(DeliveryToken { consumer, token })
    }

    pub(crate) fn engine_token(&self) -> Option<Token> {
        match &self.what {
            What::Message { token, .. } => Some(*token),
            What::Pruned(_) => None,
        }
    }

    /// Header and content bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.message().map_or(0, Message::size)
    }

    /// Acknowledges the message. Once this returns, that is on disk, and the message is not
    /// redelivered, even after a crash.
    ///
    /// # Errors
    /// [`ConsumerError::StaleToken`] after a seek, or when another reader took over: the message
    /// is redelivered. [`Error::Closed`] when the node is shut down.
    pub async fn ack(&self) -> Result<Settled, Error> {
        match &self.what {
            What::Message { token, .. } => {
                self.check()?;
                Ok(self.named.ack(*token).await?.into())
            }
            What::Pruned(pruned) => {
                let told = self.named.told(pruned.topic, pruned.author);
                let Some(version) = told else {
                    return Ok(Settled::Already);
                };
                self.named.stored(version).await?;
                Ok(Settled::Done)
            }
        }
    }

    /// Returns the message, which cannot be processed now: it is redelivered after this delay, or
    /// after that of the backoff.
    ///
    /// # Errors
    /// As [`Delivery::ack`]; [`ConsumerError::Invalid`] for a delay above 7 days.
    pub async fn nak(&self, delay: Option<Duration>) -> Result<Settled, Error> {
        if delay.is_some_and(|delay| delay > CONSUMER_DELAY_MAX) {
            return Err(ConsumerError::Invalid("delay").into());
        }
        match &self.what {
            What::Message { token, .. } => {
                self.check()?;
                Ok(self.named.nak(*token, delay.map(micros)).await?.into())
            }
            What::Pruned(pruned) => {
                self.named.untold(pruned.topic, pruned.author);
                Ok(Settled::Done)
            }
        }
    }

    /// Makes the message a dead letter, with this reason of at most 512 bytes.
    ///
    /// # Errors
    /// As [`Delivery::ack`]; [`ConsumerError::Limit`] for a longer reason.
    pub async fn term(&self, reason: &str) -> Result<Settled, Error> {
        if reason.len() > CONSUMER_REASON_BYTES_MAX {
            return Err(ConsumerError::Limit("bytes of a reason").into());
        }
        match &self.what {
            What::Message { token, .. } => {
                self.check()?;
                Ok(self.named.term(*token, reason).await?.into())
            }
            What::Pruned(_) => self.ack().await,
        }
    }

    /// Restarts the ack wait of the message, which is still being processed.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn progress(&self) -> Result<Settled, Error> {
        match &self.what {
            What::Message { token, .. } => {
                self.check()?;
                Ok(self.named.progress(*token)?.into())
            }
            What::Pruned(_) => Ok(Settled::Already),
        }
    }

    /// Fails when another reader took over.
    fn check(&self) -> Result<(), ConsumerError> {
        match self.named.was_taken_over(self.reader) {
            true => Err(ConsumerError::StaleToken),
            false => Ok(()),
        }
    }
}
