//! A consumer in memory: what it has given out, what comes again and when, and which rows change
//! (`docs/protocol/consumers.md`).
//!
//! The machine reads no clock, no feed and no database. Its driver offers it the entries of the feed
//! in order, asks for the next delivery, tells what became of each, and stores what
//! [`Consumer::changes`] gives before it answers the application.

mod config;
mod delivery;
mod item;
mod keys;
mod place;
mod places;
mod rows;
mod sights;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use p2panda_core::limits::CONSUMER_AHEAD_MAX;

pub use config::{Acknowledgement, Backoff, Config, Mode};
pub use delivery::{Answer, Delivery, Offered, ReaderNumber, Token, TokenError};
pub use rows::{Changes, DeadReason, DeadRow, OpenRow, PlaceRow, Stored, TopicNumber};

use item::{Item, Stand};
use keys::Keys;
use place::Place;
use places::Places;

/// See the [module](self).
#[derive(Debug)]
pub struct Consumer {
    config: Config,
    generation: u32,
    places: Places,
    /// Entries ready for delivery, lowest offset first.
    ready: BTreeSet<(u64, TopicNumber)>,
    /// The ends of ack waits and delays.
    due: BTreeSet<(u64, TopicNumber, u64)>,
    keys: Keys,
    /// Unsettled entries, without those that wait for their key.
    unsettled: usize,
    /// Entries that wait for their key.
    behind: usize,
    deliveries: u64,
}

impl Consumer {
    /// A consumer without topics.
    pub fn new(config: Config, generation: u32) -> Self {
        Self {
            config,
            generation,
            places: Places::default(),
            ready: BTreeSet::new(),
            due: BTreeSet::new(),
            keys: Keys::default(),
            unsettled: 0,
            behind: 0,
            deliveries: 0,
        }
    }

    /// The generation; a token of another one is stale.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Adds a topic as it is stored. Open entries whose delay is over are given out first.
    pub fn add(&mut self, topic: TopicNumber, stored: &Stored, now_us: u64) {
        self.remove(topic);
        let place = Place::load(stored);
        self.places.insert(topic, place);
        for (offset, row) in stored.behind() {
            self.enter(topic, offset, row.key, Item::load(&row, now_us), now_us);
        }
    }

    /// Changes the configuration from the next delivery on. The mode must be the same.
    pub fn configure(&mut self, config: Config) {
        let mode = self.config.mode;
        self.config = Config { mode, ..config };
    }

    /// The next entry ready for delivery.
    pub fn head(&self) -> Option<(u64, TopicNumber)> {
        self.ready.first().copied()
    }

    /// The offset up to which a topic was read.
    pub fn read_until(&self, topic: TopicNumber) -> Option<u64> {
        self.places.get(topic).map(Place::read)
    }

    /// Returns `true` if an entry is known and not settled.
    pub fn holds(&self, topic: TopicNumber, offset: u64) -> bool {
        let place = self.places.get(topic);
        place.is_some_and(|place| place.holds(offset))
    }

    /// Returns its position in a topic, and the number of open entries; what was read and not
    /// delivered counts as open.
    pub fn stands_at(&self, topic: TopicNumber) -> Option<(u64, usize)> {
        let place = self.places.get(topic)?;
        Some((place.position(), place.offsets().count()))
    }

    /// The number of open entries at or below the position of a topic.
    pub fn open_behind(&self, topic: TopicNumber) -> usize {
        let place = self.places.get(topic);
        place.map_or(0, Place::open_behind)
    }

    /// The number of entries that readers hold.
    pub fn in_flight(&self) -> usize {
        self.places.values().map(Place::in_flight).sum()
    }

    /// Settles a delivered entry, for any reader and any process.
    pub fn ack_at(&mut self, topic: TopicNumber, offset: u64) -> Result<Answer, TokenError> {
        if self.given_at(topic, offset)?.is_none() {
            return Ok(Answer::AlreadySettled);
        }
        self.settle(topic, offset);
        Ok(Answer::Done)
    }

    /// Returns `true` if everything of a topic up to an offset was delivered, or is settled.
    pub fn has_given(&self, topic: TopicNumber, offset: u64) -> bool {
        let place = self.places.get(topic);
        place.is_some_and(|place| place.has_given(offset))
    }

    /// Settles what was delivered up to an offset, for any reader and any process, without what was
    /// returned since. Of what was delivered by a process before, it settles what was read again.
    pub fn ack_until(&mut self, topic: TopicNumber, offset: u64) -> Result<Answer, TokenError> {
        if !self.has_given(topic, offset) {
            return Err(TokenError::NotDelivered);
        }
        let place = self.places.get(topic);
        let given = place.map_or_else(Vec::new, |place| place.given_until(offset));
        for offset in &given {
            self.settle(topic, *offset);
        }
        Ok(match given.is_empty() {
            true => Answer::AlreadySettled,
            false => Answer::Done,
        })
    }

    /// As [`Consumer::nak`], for any reader and any process.
    pub fn nak_at(
        &mut self,
        topic: TopicNumber,
        offset: u64,
        delay_us: Option<u64>,
        now_us: u64,
    ) -> Result<Answer, TokenError> {
        let Some(count) = self.given_at(topic, offset)? else {
            return Ok(Answer::AlreadySettled);
        };
        let delay_us = delay_us.unwrap_or_else(|| self.config.backoff.after(count));
        self.hand_back(topic, offset, delay_us, now_us);
        Ok(Answer::Done)
    }

    /// As [`Consumer::term`], for any reader and any process.
    pub fn term_at(
        &mut self,
        topic: TopicNumber,
        offset: u64,
        reason: DeadReason,
        now_us: u64,
    ) -> Result<Answer, TokenError> {
        if self.given_at(topic, offset)?.is_none() {
            return Ok(Answer::AlreadySettled);
        }
        self.bury(topic, offset, reason, now_us);
        Ok(Answer::Done)
    }

    /// Returns the number of deliveries of the entry at an offset; `None` if it is settled.
    fn given_at(&self, topic: TopicNumber, offset: u64) -> Result<Option<u32>, TokenError> {
        let place = self.places.get(topic).ok_or(TokenError::NotDelivered)?;
        match place.stand(offset) {
            Some((_, 0)) => Err(TokenError::NotDelivered),
            Some((_, count)) => Ok(Some(count)),
            None if offset > place.position() => Err(TokenError::NotDelivered),
            None => Ok(None),
        }
    }

    /// Ends cleanly: what was not delivered does not count as delivered.
    pub fn close(&mut self) {
        self.places.for_each(Place::close);
    }

    /// Removes a topic. Returns how many entries were open.
    pub fn remove(&mut self, topic: TopicNumber) -> usize {
        let Some(place) = self.places.get(topic) else {
            return 0;
        };
        let offsets: Vec<u64> = place.offsets().collect();
        for offset in &offsets {
            self.take_out(topic, *offset);
        }
        self.places.remove(topic);
        offsets.len()
    }

    /// The offset after which the driver reads the feed of this topic next; `None` while the limit of
    /// unsettled entries is reached.
    pub fn reads_after(&self, topic: TopicNumber) -> Option<u64> {
        let room = self.unsettled < self.config.in_flight_max && self.behind < CONSUMER_AHEAD_MAX;
        let place = self.places.get(topic)?;
        room.then_some(place.read())
    }

    /// The number of entries that may be offered before [`Consumer::reads_after`] returns none.
    pub fn room(&self) -> usize {
        let room = self.config.in_flight_max.saturating_sub(self.unsettled);
        room.min(CONSUMER_AHEAD_MAX.saturating_sub(self.behind))
    }

    /// Notes that the feed was read up to `feed_end` for what lies above an offset of a topic.
    pub fn sight(&mut self, topic: TopicNumber, after: u64, feed_end: u64) {
        if let Some(place) = self.places.get_mut(topic) {
            place.sight(after, feed_end);
        }
    }

    /// Returns `true` if the entry of an operation that stood at `first` before tells this
    /// consumer nothing, since it was no longer there when the consumer came to it.
    pub fn has_passed(&self, topic: TopicNumber, first: u64, offset: u64) -> bool {
        let place = self.places.get(topic);
        place.is_some_and(|place| place.has_passed(first, offset))
    }

    /// The operation of an entry has moved in the feed: it is no longer delivered here.
    pub fn moved(&mut self, topic: TopicNumber, offset: u64) {
        self.settle(topic, offset);
    }

    /// Offers the next entry of the feed, in the order of the offsets of its topic. Entries offered
    /// before are skipped.
    pub fn offer(&mut self, topic: TopicNumber, offered: Offered, now_us: u64) {
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        let Some(item) = place.reach(offered.offset, now_us) else {
            return;
        };
        match offered.passes {
            true => self.enter(topic, offered.offset, offered.key, item, now_us),
            false => place.decline(offered.offset, &item),
        }
    }

    /// Everything of the topic up to this offset was read: entries that were not offered do not exist.
    pub fn passed(&mut self, topic: TopicNumber, offset: u64, now_us: u64) {
        if let Some(place) = self.places.get_mut(topic) {
            place.pass(offset, now_us);
        }
    }

    /// Returns `true` if [`Consumer::changes`] must be stored before the next delivery: it may be
    /// the one that ends this process, and has to count then.
    pub fn marks_first(&self) -> bool {
        let Some((offset, topic)) = self.ready.first() else {
            return false;
        };
        let place = self.places.get(*topic);
        place.is_some_and(|place| place.marks_first(*offset, self.config.deliveries_max))
    }

    /// Notes that what is ready is about to be delivered; see [`Consumer::marks_first`].
    pub fn mark(&mut self) {
        let Some((offset, topic)) = self.ready.first() else {
            return;
        };
        // With a single delivery, none may be counted that was not made.
        let exactly = self.config.deliveries_max == Some(1);
        if let Some(place) = self.places.get_mut(*topic) {
            place.mark(*offset, exactly);
        }
    }

    /// The next delivery to a reader.
    pub fn next(&mut self, reader: ReaderNumber, now_us: u64) -> Option<Delivery> {
        let (offset, topic) = self.ready.pop_first()?;
        self.deliveries += 1;
        let until_us = self
            .config
            .ack_wait_us
            .map(|wait| now_us.saturating_add(wait));
        let place = self.places.get_mut(topic)?;
        let count = place.deliver(
            offset,
            Stand::Flight {
                reader,
                delivery: self.deliveries,
                until_us,
            },
        )?;
        if let Some(until_us) = until_us {
            self.due.insert((until_us, topic, offset));
        }
        if self.config.acknowledgement == Acknowledgement::None {
            self.settle(topic, offset);
        }
        Some(Delivery {
            token: Token {
                generation: self.generation,
                topic,
                offset,
                delivery: self.deliveries,
            },
            count,
        })
    }

    /// Acknowledges an entry.
    pub fn ack(&mut self, token: Token) -> Result<Answer, TokenError> {
        if self.find(token)?.is_none() {
            return Ok(Answer::AlreadySettled);
        }
        if self.config.acknowledgement == Acknowledgement::Cumulative {
            let place = self.places.get(token.topic);
            let below: Vec<u64> =
                place.map_or_else(Vec::new, |place| place.given_below(token.offset));
            for offset in below {
                self.settle(token.topic, offset);
            }
        }
        self.settle(token.topic, token.offset);
        Ok(Answer::Done)
    }

    /// Asks for redelivery of an entry, after this delay or that of the backoff.
    pub fn nak(
        &mut self,
        token: Token,
        delay_us: Option<u64>,
        now_us: u64,
    ) -> Result<Answer, TokenError> {
        let Some(count) = self.latest(token)? else {
            return Ok(Answer::AlreadySettled);
        };
        let delay_us = delay_us.unwrap_or_else(|| self.config.backoff.after(count));
        self.hand_back(token.topic, token.offset, delay_us, now_us);
        Ok(Answer::Done)
    }

    /// Makes an entry a dead letter.
    pub fn term(
        &mut self,
        token: Token,
        reason: DeadReason,
        now_us: u64,
    ) -> Result<Answer, TokenError> {
        if self.find(token)?.is_none() {
            return Ok(Answer::AlreadySettled);
        }
        self.bury(token.topic, token.offset, reason, now_us);
        Ok(Answer::Done)
    }

    /// Restarts the ack wait of an entry.
    pub fn progress(&mut self, token: Token, now_us: u64) -> Result<Answer, TokenError> {
        if self.latest(token)?.is_none() {
            return Ok(Answer::AlreadySettled);
        }
        if let Some(wait_us) = self.config.ack_wait_us
            && let Some(place) = self.places.get_mut(token.topic)
        {
            let until_us = now_us.saturating_add(wait_us);
            if let Some(before_us) = place.prolong(token.offset, until_us) {
                self.due.remove(&(before_us, token.topic, token.offset));
                self.due.insert((until_us, token.topic, token.offset));
            }
        }
        Ok(Answer::Done)
    }

    /// Removes an entry that was pruned before it was settled.
    pub fn lost(&mut self, topic: TopicNumber, offset: u64, now_us: u64) {
        self.bury(topic, offset, DeadReason::Pruned, now_us);
    }

    /// Redrives a dead letter.
    pub fn redrive(&mut self, topic: TopicNumber, offset: u64, key: u64) {
        let place = self.places.get(topic);
        // What is not read yet comes by itself.
        if place.is_some_and(|place| offset <= place.read() && !place.holds(offset)) {
            self.enter(topic, offset, key, Item::redriven(), 0);
        }
    }

    /// Ends a reader: its entries can go to others at once.
    pub fn reader_gone(&mut self, reader: ReaderNumber, now_us: u64) {
        let mut held = Vec::new();
        for (topic, place) in self.places.iter() {
            held.extend(place.held_by(reader).map(|offset| (*topic, offset)));
        }
        for (topic, offset) in held {
            self.give_back(topic, offset, None, now_us);
        }
    }

    /// Makes entries ready whose ack wait or delay is over.
    pub fn expire(&mut self, now_us: u64) {
        while let Some((until_us, topic, offset)) = self.due.first().copied()
            && until_us <= now_us
        {
            self.give_back(topic, offset, None, now_us);
        }
    }

    /// The next time at which [`Consumer::expire`] has something to do.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(until_us, ..)| *until_us)
    }

    /// Moves to after an offset of a topic. Open entries there are forgotten; earlier tokens become
    /// stale.
    pub fn seek(&mut self, topic: TopicNumber, after: u64) {
        let Some(place) = self.places.get(topic) else {
            return;
        };
        let offsets: Vec<u64> = place.offsets().collect();
        for offset in offsets {
            self.take_out(topic, offset);
        }
        if let Some(place) = self.places.get_mut(topic) {
            place.seek(after);
        }
        self.generation = self.generation.wrapping_add(1);
    }

    /// The number of unsettled entries.
    pub fn unsettled(&self) -> usize {
        self.unsettled + self.behind
    }

    /// The changes since the last call, to be stored in one transaction. The cost depends on the
    /// changes, not on the number of topics.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        self.places
            .for_each_changed(|topic, place| place.changes(topic, &mut changes));
        changes
    }
}

/// Moves an entry from one state to another.
impl Consumer {
    /// Adds an unsettled entry.
    fn enter(&mut self, topic: TopicNumber, offset: u64, key: u64, mut item: Item, now_us: u64) {
        item.key = key;
        if self.config.mode == Mode::Ordered && !self.keys.enter(key, (offset, topic)) {
            item.stand = Stand::Behind;
        }
        match item.stand {
            Stand::Behind => self.behind += 1,
            _ => self.unsettled += 1,
        }
        self.index(topic, offset, item.stand);
        if let Some(place) = self.places.get_mut(topic) {
            place.insert(offset, item);
        }
        if self.is_spent(item.deliveries) {
            self.bury(topic, offset, DeadReason::MaxDeliveries, now_us);
        }
    }

    /// Returns `true` if an entry was delivered as often as is allowed.
    fn is_spent(&self, deliveries: u32) -> bool {
        self.config
            .deliveries_max
            .is_some_and(|max| deliveries >= max)
    }

    fn index(&mut self, topic: TopicNumber, offset: u64, stand: Stand) {
        match stand {
            Stand::Ready => {
                self.ready.insert((offset, topic));
            }
            Stand::Delayed { until_us } => {
                self.due.insert((until_us, topic, offset));
            }
            Stand::Flight { .. } | Stand::Behind => {}
        }
    }

    /// Removes an entry for any reason; the next one of its key may follow.
    fn take_out(&mut self, topic: TopicNumber, offset: u64) -> Option<Item> {
        let item = self.places.get_mut(topic)?.take(offset)?;
        match item.stand {
            Stand::Behind => self.behind -= 1,
            _ => self.unsettled -= 1,
        }
        self.ready.remove(&(offset, topic));
        if let Some(until_us) = item.stand.until_us() {
            self.due.remove(&(until_us, topic, offset));
        }
        if self.config.mode == Mode::Ordered {
            self.free_key(item.key, topic, offset);
        }
        Some(item)
    }

    fn free_key(&mut self, key: u64, topic: TopicNumber, offset: u64) {
        let Some((offset, topic)) = self.keys.leave(key, (offset, topic)) else {
            return;
        };
        let place = self.places.get_mut(topic);
        if place.is_some_and(|place| place.come_forward(offset)) {
            self.behind -= 1;
            self.unsettled += 1;
            self.ready.insert((offset, topic));
        }
    }

    fn settle(&mut self, topic: TopicNumber, offset: u64) {
        if self.take_out(topic, offset).is_some()
            && let Some(place) = self.places.get_mut(topic)
        {
            place.settled(offset);
        }
    }

    fn bury(&mut self, topic: TopicNumber, offset: u64, reason: DeadReason, now_us: u64) {
        if let Some(item) = self.take_out(topic, offset)
            && let Some(place) = self.places.get_mut(topic)
        {
            place.settled(offset);
            let (count, at_us) = (item.deliveries, now_us);
            place.bury(
                offset,
                DeadRow {
                    reason,
                    count,
                    at_us,
                },
            );
        }
    }

    /// An entry is wanted again after a delay. One that waits for its key comes when that is free.
    fn hand_back(&mut self, topic: TopicNumber, offset: u64, delay_us: u64, now_us: u64) {
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        place.returned(offset);
        match place.stand(offset) {
            Some((Stand::Behind, _)) => return,
            Some((Stand::Ready, _)) => {
                self.ready.remove(&(offset, topic));
            }
            _ => {}
        }
        let until_us = now_us.saturating_add(delay_us);
        self.give_back(topic, offset, Some(until_us), now_us);
    }

    /// An entry that is in flight or delayed waits for its next delivery, or is dead.
    fn give_back(&mut self, topic: TopicNumber, offset: u64, until_us: Option<u64>, now_us: u64) {
        let stand = self.places.get(topic).and_then(|place| place.stand(offset));
        let Some((before, count)) = stand else {
            return;
        };
        if let Some(before_us) = before.until_us() {
            self.due.remove(&(before_us, topic, offset));
        }
        if self.is_spent(count) {
            return self.bury(topic, offset, DeadReason::MaxDeliveries, now_us);
        }
        let stand = match until_us {
            Some(until_us) if until_us > now_us => Stand::Delayed { until_us },
            _ => Stand::Ready,
        };
        if let Some(place) = self.places.get_mut(topic) {
            place.change(offset, stand);
        }
        self.index(topic, offset, stand);
    }

    /// The count of the entry that a token names; `None` if it is settled.
    fn find(&self, token: Token) -> Result<Option<u32>, TokenError> {
        if token.generation != self.generation {
            return Err(TokenError::Stale);
        }
        let place = self.places.get(token.topic).ok_or(TokenError::Stale)?;
        if token.delivery == 0 || token.delivery > self.deliveries {
            return Err(TokenError::NotDelivered);
        }
        match place.stand(token.offset) {
            Some((_, 0)) => Err(TokenError::NotDelivered),
            Some((_, count)) => Ok(Some(count)),
            None if token.offset > place.read() => Err(TokenError::NotDelivered),
            None => Ok(None),
        }
    }

    /// The same, if the token is that of the delivery in flight.
    fn latest(&self, token: Token) -> Result<Option<u32>, TokenError> {
        let count = self.find(token)?;
        let place = self.places.get(token.topic);
        let stand = place.and_then(|place| place.stand(token.offset));
        Ok(match stand {
            Some((Stand::Flight { delivery, .. }, _)) if delivery == token.delivery => count,
            _ => None,
        })
    }
}
