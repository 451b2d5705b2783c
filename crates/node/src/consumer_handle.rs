//! Inspecting, moving and deleting a named consumer
//! (`docs/protocol/consumers.md#5`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use p2panda_core::limits::{
    CONSUMER_DELAY_MAX, CONSUMER_PAGE_ROWS, CONSUMER_REASON_BYTES_MAX, FEED_PAGE_BYTES_MAX,
    FEED_PAGE_ROWS_MAX,
};
use p2panda_core::{Timestamp, Topic, VerifyingKey};
use p2panda_store::{DeadLetter, NamedConsumer, PageLimits};

use crate::Error;
use crate::consumer_error::ConsumerError;
use crate::consumer_settings::{Acking, ConsumerMode, ConsumerStart, Settings, micros};
use crate::delivery::{DeliveryToken, Settled};
use crate::inner::named::{Named, is_full_of_dead, wall};
use crate::message::Message;
use crate::node::Node;
use crate::subscription::untyped;

/// A handle to a named consumer, without a reader. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConsumerHandle {
    node: Node,
    named: Arc<Named>,
}

/// The state of a consumer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// The name under which it is stored.
    pub name: String,
    /// Its position, by topic.
    pub positions: Vec<ConsumerPosition>,
    /// Acknowledgement of messages.
    pub acking: Acking,
    /// Distribution of messages to readers.
    pub mode: ConsumerMode,
    /// Readers that have it open in this process.
    pub readers: usize,
    /// `true` if it is paused and delivers nothing.
    pub paused: bool,
    /// `true` if its list of dead letters is full, so that it delivers nothing.
    pub full_of_dead: bool,
    /// Number of messages that readers hold.
    pub in_flight: usize,
    /// Number of dead letters, without what was pruned.
    pub dead: u64,
    /// The time without a reader or handle after which it is deleted; `None`: never.
    pub inactive: Option<Duration>,
}

/// The position of a consumer in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerPosition {
    /// The topic that this is about.
    pub topic: Topic,
    /// Everything at or below this offset is settled, except what is open.
    pub position: u64,
    /// Unsettled messages at or below it, and those above it that were read ahead.
    pub open: u64,
}

/// Messages that a consumer has not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Unsettled messages. Those that the filter will not admit count too.
    pub messages: u64,
    /// Bytes of their headers and bodies, without those that are open below the position.
    pub bytes: u64,
    /// About how long ago the oldest one above the position was delivered into the feed here.
    pub oldest: Option<Duration>,
}

/// Range of a log that was pruned before the consumer had settled it.
pub type PrunedLetter = p2panda_store::PrunedRow;

impl ConsumerHandle {
    pub(crate) fn new(node: Node, named: Arc<Named>) -> Self {
        Self { node, named }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The name under which it is stored.
    pub fn name(&self) -> &str {
        self.named.name()
    }

    /// The state of the consumer now.
    pub fn info(&self) -> ConsumerInfo {
        self.named.info()
    }

    /// Its position, by topic.
    pub fn position(&self) -> Vec<ConsumerPosition> {
        self.named.info().positions
    }

    /// Counts what it has not settled yet, in the index of the feeds and in time proportional to
    /// it.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn lag(&self) -> Result<Lag, Error> {
        let places = self.named.behind();
        let read = move |reader: &p2panda_store::Reader| {
            let (mut lag, mut since) = (Lag::default(), None::<Timestamp>);
            for (topic, position, open) in places {
                let ahead = reader.ahead(&topic, position)?;
                lag.messages += ahead.entries + open;
                lag.bytes += ahead.bytes;
                since = match (since, ahead.since) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            let age = |since: Timestamp| {
                let us = wall().as_micros().saturating_sub(since.as_micros());
                Duration::from_micros(us)
            };
            lag.oldest = since.map(age);
            Ok(lag)
        };
        self.node.storage().read(read).await
    }

    /// Moves it in all topics. Open messages are forgotten, dead letters stay, and messages that
    /// were delivered before can no longer be acknowledged.
    ///
    /// # Errors
    /// [`ConsumerError::UnknownOffset`], [`ConsumerError::UnknownOperation`]: nothing is changed.
    pub async fn seek(&self, start: ConsumerStart) -> Result<(), Error> {
        self.named.seek(None, start).await
    }

    /// The same in these topics.
    ///
    /// # Errors
    /// As [`ConsumerHandle::seek`]; [`ConsumerError::UnknownTopic`].
    pub async fn seek_in(
        &self,
        topics: impl IntoIterator<Item = Topic>,
        start: ConsumerStart,
    ) -> Result<(), Error> {
        let topics = topics.into_iter().collect();
        self.named.seek(Some(topics), start).await
    }

    /// Stops delivery until it is resumed, also across restarts. Messages that readers hold can
    /// still be settled.
    ///
    /// # Errors
    /// [`ConsumerError::Deleted`], [`Error::Closed`].
    pub async fn pause(&self) -> Result<(), Error> {
        self.named.pause(true).await
    }

    /// Continues delivery.
    ///
    /// # Errors
    /// As [`ConsumerHandle::pause`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.named.pause(false).await
    }

    /// Deletes it with all its stored state. Its readers end.
    ///
    /// # Errors
    /// As [`ConsumerHandle::pause`].
    pub async fn delete(&self) -> Result<(), Error> {
        self.named.delete().await
    }

    /// Acknowledges a delivery by its token.
    ///
    /// # Errors
    /// [`ConsumerError::ForeignToken`], [`ConsumerError::StaleToken`]; and as [`crate::Delivery::ack`].
    pub async fn ack(&self, token: DeliveryToken) -> Result<Settled, Error> {
        let token = token.of(&self.named)?;
        Ok(self.named.ack(token).await?.into())
    }

    /// Returns a delivery by its token, as [`crate::Delivery::nak`].
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack`]; [`ConsumerError::Invalid`] for a delay above 7 days.
    pub async fn nak(
        &self,
        token: DeliveryToken,
        delay: Option<Duration>,
    ) -> Result<Settled, Error> {
        let delay_us = bounded(delay)?;
        let token = token.of(&self.named)?;
        Ok(self.named.nak(token, delay_us).await?.into())
    }

    /// Makes a delivery a dead letter by its token, as [`crate::Delivery::term`].
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack`]; [`ConsumerError::Limit`] for a reason of more than 512 bytes.
    pub async fn term(&self, token: DeliveryToken, reason: &str) -> Result<Settled, Error> {
        if reason.len() > CONSUMER_REASON_BYTES_MAX {
            return Err(ConsumerError::Limit("bytes of a reason").into());
        }
        let token = token.of(&self.named)?;
        Ok(self.named.term(token, reason).await?.into())
    }

    /// Restarts the ack wait of a delivery by its token, as [`crate::Delivery::progress`].
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack`].
    pub fn progress(&self, token: DeliveryToken) -> Result<Settled, Error> {
        let token = token.of(&self.named)?;
        Ok(self.named.progress(token)?.into())
    }

    /// Acknowledges a message that was delivered at an offset of a topic, in this process or an
    /// earlier one.
    ///
    /// # Errors
    /// [`ConsumerError::UnknownTopic`], [`ConsumerError::UnknownOffset`] for one that is not in the feed of
    /// that topic, [`ConsumerError::NotDelivered`].
    pub async fn ack_at(&self, topic: Topic, offset: u64) -> Result<Settled, Error> {
        Ok(self.named.ack_at(topic, offset).await?.into())
    }

    /// Acknowledges everything of a topic that was delivered at or below an offset, in this process or an
    /// earlier one, except what was returned and not delivered since.
    ///
    /// # Errors
    /// [`ConsumerError::UnknownTopic`], [`ConsumerError::NotDelivered`].
    pub async fn ack_until(&self, topic: Topic, offset: u64) -> Result<Settled, Error> {
        Ok(self.named.ack_until(topic, offset).await?.into())
    }

    /// Returns a message that was delivered at an offset of a topic, as [`crate::Delivery::nak`].
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack_at`]; [`ConsumerError::Invalid`] for a delay above 7 days.
    pub async fn nak_at(
        &self,
        topic: Topic,
        offset: u64,
        delay: Option<Duration>,
    ) -> Result<Settled, Error> {
        let delay_us = bounded(delay)?;
        Ok(self.named.nak_at(topic, offset, delay_us).await?.into())
    }

    /// Makes a message that was delivered at an offset of a topic a dead letter, as
    /// [`crate::Delivery::term`].
    ///
    /// # Errors
    /// As [`ConsumerHandle::ack_at`]; [`ConsumerError::Limit`] for a reason of more than 512 bytes.
    pub async fn term_at(&self, topic: Topic, offset: u64, reason: &str) -> Result<Settled, Error> {
        if reason.len() > CONSUMER_REASON_BYTES_MAX {
            return Err(ConsumerError::Limit("bytes of a reason").into());
        }
        Ok(self.named.term_at(topic, offset, reason).await?.into())
    }

    /// Messages of a topic from an offset on, at most that many, without a change of state.
    ///
    /// # Errors
    /// As [`ConsumerHandle::lag`].
    pub async fn peek(
        &self,
        topic: Topic,
        offset: u64,
        messages: usize,
    ) -> Result<Vec<Message>, Error> {
        let limits = PageLimits {
            rows: messages.min(FEED_PAGE_ROWS_MAX),
            bytes: FEED_PAGE_BYTES_MAX,
        };
        let after = offset.saturating_sub(1);
        let storage = self.node.storage();
        let page = storage.read(move |reader| reader.feed_page(&topic, after, limits, None));
        let entries = page.await?.entries.into_iter();
        Ok(entries
            .map(|entry| Message::new(entry, untyped, None))
            .collect())
    }

    /// The messages that its readers could not process.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters(self.clone())
    }
}

/// A delay that is possible, in microseconds.
fn bounded(delay: Option<Duration>) -> Result<Option<u64>, ConsumerError> {
    match delay.is_some_and(|delay| delay > CONSUMER_DELAY_MAX) {
        true => Err(ConsumerError::Invalid("delay")),
        false => Ok(delay.map(micros)),
    }
}

/// The dead letters of a consumer (`docs/protocol/consumers.md#6`).
#[derive(Clone, Debug)]
pub struct DeadLetters(ConsumerHandle);

impl DeadLetters {
    /// Lists them, oldest first, at most 1 000 after the number `after`.
    ///
    /// # Errors
    /// As [`ConsumerHandle::lag`].
    pub async fn list(&self, after: u64) -> Result<Vec<DeadLetter>, Error> {
        let key = self.0.named.key();
        let storage = self.0.node.storage();
        let read = move |reader: &p2panda_store::Reader| {
            reader.dead_letters(key, after, CONSUMER_PAGE_ROWS)
        };
        storage.read(read).await
    }

    /// Lists what was pruned before it was settled, by log, at most 1 000. It cannot be redriven.
    ///
    /// # Errors
    /// As [`ConsumerHandle::lag`].
    pub async fn pruned(&self) -> Result<Vec<PrunedLetter>, Error> {
        let key = self.0.named.key();
        let storage = self.0.node.storage();
        let read =
            move |reader: &p2panda_store::Reader| reader.pruned_unsettled(key, CONSUMER_PAGE_ROWS);
        storage.read(read).await
    }

    /// Delivers one again, with a delivery count of 0.
    ///
    /// # Errors
    /// [`ConsumerError::UnknownDeadLetter`] when there is none of this number, or its message is
    /// no longer stored.
    pub async fn redrive(&self, number: u64) -> Result<(), Error> {
        let letter = self.find(number).await?;
        match self.0.named.redrive(&[letter]).await? {
            0 => Err(ConsumerError::UnknownDeadLetter.into()),
            _ => Ok(()),
        }
    }

    /// The same for all whose messages are stored. Returns how many.
    ///
    /// # Errors
    /// As [`ConsumerHandle::pause`].
    pub async fn redrive_all(&self) -> Result<u64, Error> {
        let (mut after, mut redriven) = (0, 0);
        loop {
            let letters = self.list(after).await?;
            let Some(last) = letters.last() else {
                return Ok(redriven);
            };
            after = last.number;
            redriven += self.0.named.redrive(&letters).await?;
        }
    }

    /// Drops one permanently.
    ///
    /// # Errors
    /// [`ConsumerError::UnknownDeadLetter`].
    pub async fn drop_one(&self, number: u64) -> Result<(), Error> {
        self.find(number).await?;
        self.0.named.drop_dead(vec![number]).await
    }

    /// Drops all permanently.
    ///
    /// # Errors
    /// As [`ConsumerHandle::pause`].
    pub async fn drop_all(&self) -> Result<(), Error> {
        loop {
            let letters = self.list(0).await?;
            if letters.is_empty() {
                return Ok(());
            }
            let numbers = letters.iter().map(|letter| letter.number).collect();
            self.0.named.drop_dead(numbers).await?;
        }
    }

    async fn find(&self, number: u64) -> Result<DeadLetter, Error> {
        let letters = self.list(number.saturating_sub(1)).await?;
        let found = letters.into_iter().find(|letter| letter.number == number);
        Ok(found.ok_or(ConsumerError::UnknownDeadLetter)?)
    }
}

/// All consumers of a node; those in use with their state in memory.
pub(crate) async fn list(node: &Node, after: Option<String>) -> Result<Vec<ConsumerInfo>, Error> {
    let read = move |reader: &p2panda_store::Reader| {
        reader.named_consumers(after.as_deref(), CONSUMER_PAGE_ROWS)
    };
    let stored = node.storage().read(read).await?;
    let used: BTreeMap<String, ConsumerInfo> = node.consumers_in_use().infos();
    let infos = stored.into_iter().filter_map(|stored| {
        let info = used.get(&stored.name).cloned();
        info.or_else(|| info_of(stored))
    });
    Ok(infos.collect())
}

/// A consumer that nobody has open.
pub(crate) fn info_of(stored: NamedConsumer) -> Option<ConsumerInfo> {
    let settings = Settings::decode(&stored.settings)?;
    let position = |place: &p2panda_store::StoredPlace| ConsumerPosition {
        topic: place.topic,
        position: place.place.position,
        open: place.open_rows,
    };
    Some(ConsumerInfo {
        positions: stored.places.iter().map(position).collect(),
        name: stored.name,
        acking: settings.acking,
        mode: settings.mode,
        readers: 0,
        paused: stored.paused,
        full_of_dead: is_full_of_dead(stored.dead),
        in_flight: 0,
        dead: stored.dead,
        inactive: settings.inactive,
    })
}

impl Named {
    pub(crate) fn info(&self) -> ConsumerInfo {
        let looked = self.look();
        let positions = looked.places.iter();
        let positions = positions.map(|place| ConsumerPosition {
            topic: place.topic,
            position: place.position,
            open: place.open,
        });
        ConsumerInfo {
            name: self.name().to_owned(),
            positions: positions.collect(),
            acking: looked.acking,
            mode: looked.mode,
            readers: looked.readers,
            paused: looked.paused,
            full_of_dead: is_full_of_dead(looked.dead),
            in_flight: looked.in_flight,
            dead: looked.dead,
            inactive: looked.inactive,
        }
    }

    /// For each topic, its position and the number of open messages.
    fn behind(&self) -> Vec<(Topic, u64, u64)> {
        let places = self.look().places.into_iter();
        places
            .map(|place| (place.topic, place.position, place.open_behind))
            .collect()
    }
}

impl crate::inner::named::Registry {
    fn infos(&self) -> BTreeMap<String, ConsumerInfo> {
        let used = self.used().into_iter();
        used.map(|named| (named.name().to_owned(), named.info()))
            .collect()
    }
}

/// The author of a log of which something was pruned, for output.
impl From<&PrunedLetter> for crate::Pruned {
    fn from(row: &PrunedLetter) -> Self {
        let author: VerifyingKey = row.author;
        crate::Pruned {
            topic: row.topic,
            author,
            below: row.below,
            unsettled: row.unsettled,
        }
    }
}
