//! Opening, changing, moving and deleting a named consumer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_core::limits::{
    CONSUMER_DELAY_MAX, CONSUMER_HEIGHTS_MAX, CONSUMER_NAME_BYTES_MAX, CONSUMER_READERS_MAX,
    CONSUMER_TOPICS_MAX, FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX,
};
use p2panda_core::{Hash, Timestamp, Topic};
use p2panda_engine::consumer::{Consumer, ReaderNumber, Stored, TopicNumber};
use p2panda_engine::{NewNamed, OpenedNamed};
use p2panda_store::{
    Covered, DeadLetter, NamedChanges, PageLimits, PlaceRow, Reader, StoreError, StoredPlace,
    TopicKey,
};
use tokio::sync::watch;

use super::flush::Flush;
use super::{Clock, KeyOf, Named, Notice, Registry, Source, State, wall};
use crate::Error;
use crate::consumer_error::ConsumerError;
use crate::consumer_settings::{
    Acking, ConsumerFilter, ConsumerMode, ConsumerStart, Settings, micros,
};
use crate::inner::queue::Queue;
use crate::inner::storage::Storage;

/// Requested settings. A missing one keeps its stored value, or has the default.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub name: String,
    pub topics: Option<Vec<Topic>>,
    pub acking: Option<Acking>,
    pub mode: Option<ConsumerMode>,
    pub ack_wait: Option<Duration>,
    pub backoff: Option<Vec<Duration>>,
    pub deliveries_max: Option<Option<u32>>,
    pub in_flight_max: Option<usize>,
    pub inactive: Option<Option<Duration>>,
    pub filter: Option<ConsumerFilter>,
    pub start: Option<ConsumerStart>,
    pub start_if_new: Option<ConsumerStart>,
    pub key_of: Option<KeyOf>,
    pub take_over: bool,
}

/// Way to open a consumer: whether it is made where there is none, and whether somebody reads with
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Reader,
    Handle,
}

/// Start in a topic.
struct Begin {
    after: u64,
    covered: Option<Covered>,
}

impl Asked {
    fn apply(&self, before: &Settings) -> Settings {
        let before = before.clone();
        Settings {
            acking: self.acking.unwrap_or(before.acking),
            mode: self.mode.unwrap_or(before.mode),
            ack_wait: self.ack_wait.unwrap_or(before.ack_wait),
            backoff: self.backoff.clone().unwrap_or(before.backoff),
            deliveries_max: self.deliveries_max.unwrap_or(before.deliveries_max),
            in_flight_max: self.in_flight_max.unwrap_or(before.in_flight_max),
            inactive: self.inactive.unwrap_or(before.inactive),
            filter: self.filter.clone().unwrap_or(before.filter),
        }
    }
}

/// A name that a consumer may have (`docs/protocol/consumers.md#1`).
pub(super) fn check_name(name: &str) -> Result<(), ConsumerError> {
    let is_valid = (1..=CONSUMER_NAME_BYTES_MAX).contains(&name.len())
        && !name.contains(char::is_control)
        && !name.starts_with("topic ");
    match is_valid {
        true => Ok(()),
        false => Err(ConsumerError::InvalidName),
    }
}

impl Registry {
    /// Opens a consumer. With [`Opening::Reader`] one that does not exist is made, and the number of a
    /// new reader comes with it.
    pub(crate) async fn open(
        &self,
        queue: &Queue,
        storage: &Storage,
        asked: Asked,
        opening: Opening,
    ) -> Result<(Arc<Named>, ReaderNumber), Error> {
        check_name(&asked.name)?;
        asked.apply(&Settings::default()).check_alone(&asked)?;
        let mut topics = asked.topics.clone().unwrap_or_default();
        let mut seen = HashSet::new();
        topics.retain(|topic| seen.insert(*topic));
        if topics.len() > CONSUMER_TOPICS_MAX {
            return Err(ConsumerError::Limit("topics").into());
        }
        let _opening = self.opening().await;
        let (named, is_new) = match self.get(&asked.name) {
            Some(named) => (named, false),
            None => {
                let loaded = self.load(queue, storage, &asked, &topics, opening);
                loaded.await?
            }
        };
        if opening == Opening::Handle {
            return Ok((named, 0));
        }
        let keys = queue.open_named(asked.name.clone(), None, topics.clone());
        let keys = match topics.is_empty() || is_new {
            // They are known by now.
            true => Vec::new(),
            false => keys.await?.map_or_else(Vec::new, |opened| opened.topics),
        };
        let keys: HashMap<Topic, TopicKey> = topics.iter().copied().zip(keys).collect();
        let topics = asked.topics.is_some().then_some(topics);
        let reader = named.adjust(self, &asked, topics, keys, is_new).await?;
        Ok((named, reader))
    }

    async fn load(
        &self,
        queue: &Queue,
        storage: &Storage,
        asked: &Asked,
        topics: &[Topic],
        opening: Opening,
    ) -> Result<(Arc<Named>, bool), Error> {
        let found = queue.open_named(asked.name.clone(), None, Vec::new());
        let (opened, is_new) = match (found.await?, opening) {
            (Some(opened), _) => (opened, false),
            (None, Opening::Handle) => return Err(ConsumerError::Unknown.into()),
            (None, Opening::Reader) if topics.is_empty() => {
                return Err(ConsumerError::NoTopics.into());
            }
            (None, Opening::Reader) => {
                let settings = asked.apply(&Settings::default());
                settings.check()?;
                // An error of the start leaves nothing behind.
                let start = asked.start.clone().or(asked.start_if_new.clone());
                let start = start.unwrap_or_default();
                let begins = resolve(storage, topics.to_vec(), start).await?;
                let create = Some(NewNamed {
                    settings: settings.encode(),
                    inactive_us: settings.inactive.map(micros),
                });
                let made = queue.open_named(asked.name.clone(), create, topics.to_vec());
                let mut made = made.await?.ok_or_else(|| queue.ended())?;
                place(&mut made, topics, begins);
                (made, true)
            }
        };
        let named = Named::new((queue, storage), self, opened, is_new)?;
        let named = Arc::new(named);
        self.add(&named);
        let topics: Vec<Topic> = named.state.lock().numbers.keys().copied().collect();
        self.listen(&named, topics);
        Ok((named, is_new))
    }
}

/// The topics of a consumer that was made just now.
fn place(made: &mut OpenedNamed, topics: &[Topic], begins: Vec<Begin>) {
    let rows = topics.iter().zip(&made.topics).zip(begins);
    let places = rows.map(|((topic, key), begin)| {
        let place = PlaceRow {
            position: begin.after,
            handed: begin.after,
        };
        StoredPlace::new(*key, *topic, place, begin.covered)
    });
    made.consumer.places = places.collect();
}

impl Settings {
    /// Checks the requested settings by themselves.
    fn check_alone(&self, asked: &Asked) -> Result<(), ConsumerError> {
        match asked.acking == Some(Acking::Cumulative) && asked.mode.is_none() {
            // The stored mode decides.
            true => Ok(()),
            false => self.check(),
        }
    }
}

impl Named {
    fn new(
        (queue, storage): (&Queue, &Storage),
        registry: &Registry,
        opened: OpenedNamed,
        is_new: bool,
    ) -> Result<Named, ConsumerError> {
        let OpenedNamed {
            consumer,
            pruned,
            torn_until,
            ..
        } = opened;
        // A new one was given nothing.
        let torn_until = if is_new { 0 } else { torn_until };
        let settings = Settings::decode(&consumer.settings).ok_or(ConsumerError::Damaged)?;
        let clock = Clock {
            wall_us: wall().as_micros(),
            start: Instant::now(),
        };
        let mut state = State {
            machine: Consumer::new(settings.config(), consumer.generation),
            settings,
            key_of: None,
            paused: consumer.paused,
            end: None,
            dead: consumer.dead,
            told_full_of_dead: false,
            sources: BTreeMap::new(),
            numbers: HashMap::new(),
            unread: BTreeSet::new(),
            reads_ahead: false,
            page_entries: 0,
            entries: BTreeMap::new(),
            readers: BTreeMap::new(),
            last_number: 0,
            notices: pruned
                .into_iter()
                .map(|row| Notice { row, to: None })
                .collect(),
            notices_changed: false,
            pending: NamedChanges::default(),
            flush: Flush::default(),
        };
        for place in consumer.places {
            if is_new {
                state.pending.places.push((place.key, place.place));
                if place.covered.is_some() {
                    let covered = (place.key, place.covered.clone());
                    state.pending.covered.push(covered);
                }
            }
            state.add(place, torn_until, clock.now_us());
        }
        Ok(Named {
            name: consumer.name,
            key: consumer.key,
            queue: queue.clone(),
            storage: storage.clone(),
            clock,
            events: registry.events().clone(),
            idle: registry.idle().clone(),
            state: parking_lot::Mutex::new(state),
            grown: parking_lot::Mutex::default(),
            changed: watch::Sender::new(0),
            flushed: watch::Sender::default(),
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// Makes it what was asked for, and adds a reader. An error changes nothing.
    async fn adjust(
        self: &Arc<Self>,
        registry: &Registry,
        asked: &Asked,
        topics: Option<Vec<Topic>>,
        keys: HashMap<Topic, TopicKey>,
        is_new: bool,
    ) -> Result<ReaderNumber, Error> {
        let (settings, known, added, removed) = {
            let state = self.state.lock();
            state.check()?;
            let settings = asked.apply(&state.settings);
            settings.check()?;
            state.check_change(&settings, asked, is_new)?;
            let known: Vec<Topic> = state.numbers.keys().copied().collect();
            let listed = topics.as_ref();
            let is_added = |topic: &&Topic| !state.numbers.contains_key(*topic);
            let added = listed.into_iter().flatten().filter(is_added).copied();
            let is_removed = |topic: &&Topic| listed.is_some_and(|list| !list.contains(topic));
            let removed: HashSet<Topic> = known.iter().filter(is_removed).copied().collect();
            let added: Vec<Topic> = added.collect();
            (settings, known, added, removed)
        };
        if topics.is_some_and(|topics| topics.is_empty()) {
            return Err(ConsumerError::NoTopics.into());
        }
        let start = asked.start.clone().unwrap_or_default();
        let first = asked.start_if_new.clone().unwrap_or(start.clone());
        let begins = resolve(&self.storage, added.clone(), first).await?;
        let kept: Vec<Topic> = known
            .into_iter()
            .filter(|topic| !removed.contains(topic))
            .collect();
        let moves = match start == ConsumerStart::Resume || is_new {
            true => Vec::new(),
            false => {
                let moved = resolve(&self.storage, kept.clone(), start).await?;
                kept.into_iter().zip(moved).collect()
            }
        };
        self.change_mode(&settings).await?;
        registry.listen(self, added.iter().copied());
        let (reader, version) = {
            let mut state = self.state.lock();
            state.check_change(&settings, asked, is_new)?;
            for topic in removed {
                state.remove(topic);
            }
            for (topic, begin) in added.into_iter().zip(begins) {
                if let Some(key) = keys.get(&topic) {
                    state.add_new(topic, *key, begin, self.clock.now_us());
                }
            }
            state.seek(moves);
            state.configure(settings);
            if asked.key_of.is_some() {
                state.key_of = asked.key_of.clone();
            }
            let reader = state.attach(asked.take_over, self.clock.now_us());
            let version = match state.pending.is_empty() {
                true => None,
                false => Some(self.ask(&mut state, true)),
            };
            (reader, version)
        };
        self.changed.send_modify(|number| *number += 1);
        if let Some(version) = version {
            let stored = self.stored(version).await;
            stored.inspect_err(|_| self.reader_gone(reader))?;
        }
        Ok(reader)
    }

    /// Another mode needs another machine, from what is stored.
    async fn change_mode(self: &Arc<Self>, settings: &Settings) -> Result<(), Error> {
        let version = {
            let mut state = self.state.lock();
            if state.settings.mode == settings.mode {
                return Ok(());
            }
            state.machine.close();
            self.ask(&mut state, false)
        };
        self.stored(version).await?;
        let opened = self
            .queue
            .open_named(self.name.clone(), None, Vec::new())
            .await?
            .ok_or(ConsumerError::Deleted)?;
        let mut state = self.state.lock();
        let generation = state.machine.generation().wrapping_add(1);
        state.pending.generation = Some(generation);
        state.machine = Consumer::new(settings.config(), generation);
        state.sources.clear();
        state.numbers.clear();
        state.unread.clear();
        state.entries.clear();
        for place in opened.consumer.places {
            state.add(place, opened.torn_until, self.clock.now_us());
        }
        Ok(())
    }

    /// Moves in these topics, or in all. What is open there is forgotten.
    pub(crate) async fn seek(
        self: &Arc<Self>,
        topics: Option<Vec<Topic>>,
        start: ConsumerStart,
    ) -> Result<(), Error> {
        let topics = {
            let state = self.state.lock();
            state.check()?;
            let topics = topics.unwrap_or_else(|| state.numbers.keys().copied().collect());
            let is_known = |topic: &Topic| state.numbers.contains_key(topic);
            if !topics.iter().all(is_known) {
                return Err(ConsumerError::UnknownTopic.into());
            }
            topics
        };
        if start == ConsumerStart::Resume {
            return Ok(());
        }
        let begins = resolve(&self.storage, topics.clone(), start).await?;
        let version = {
            let mut state = self.state.lock();
            state.check()?;
            state.seek(topics.into_iter().zip(begins).collect());
            self.ask(&mut state, true)
        };
        self.changed.send_modify(|number| *number += 1);
        self.stored(version).await
    }

    pub(crate) async fn pause(self: &Arc<Self>, paused: bool) -> Result<(), Error> {
        let version = {
            let mut state = self.state.lock();
            state.check()?;
            state.paused = paused;
            state.pending.paused = Some(paused);
            self.ask(&mut state, true)
        };
        self.changed.send_modify(|number| *number += 1);
        self.stored(version).await
    }

    pub(crate) async fn delete(self: &Arc<Self>) -> Result<(), Error> {
        {
            let mut state = self.state.lock();
            state.check()?;
            state.end = Some(ConsumerError::Deleted);
        }
        self.changed.send_modify(|number| *number += 1);
        self.queue.delete_named(self.key).await
    }

    /// Makes dead letters wait again.
    pub(crate) async fn redrive(self: &Arc<Self>, letters: &[DeadLetter]) -> Result<u64, Error> {
        let mut found = Vec::new();
        for letter in letters {
            let entry = super::fill::entry_at(&self.storage, letter.topic, letter.offset).await?;
            found.push((letter, entry));
        }
        let (redriven, version) = {
            let mut state = self.state.lock();
            state.check()?;
            let mut redriven = 0;
            for (letter, entry) in found {
                let number = state.numbers.get(&letter.topic).copied();
                let (Some(number), Some(entry)) = (number, entry) else {
                    continue;
                };
                let key = state.key(entry);
                state.machine.redrive(number, letter.offset, key);
                state.pending.revived.push(letter.number);
                redriven += 1;
            }
            state.dead = state.dead.saturating_sub(redriven);
            (redriven, self.ask(&mut state, true))
        };
        self.changed.send_modify(|number| *number += 1);
        self.stored(version).await?;
        Ok(redriven)
    }

    /// Removes dead letters permanently.
    pub(crate) async fn drop_dead(self: &Arc<Self>, numbers: Vec<u64>) -> Result<(), Error> {
        let version = {
            let mut state = self.state.lock();
            state.check()?;
            state.dead = state.dead.saturating_sub(numbers.len() as u64);
            state.pending.revived.extend(numbers);
            self.ask(&mut state, true)
        };
        self.changed.send_modify(|number| *number += 1);
        self.stored(version).await
    }
}

impl State {
    fn check_change(
        &self,
        settings: &Settings,
        asked: &Asked,
        is_new: bool,
    ) -> Result<(), ConsumerError> {
        let before = &self.settings;
        let readers = self.readers.values().filter(|ended| ended.is_none());
        let readers = readers.count();
        if readers > 0 && before.acking != settings.acking {
            return Err(ConsumerError::Conflict("acknowledgement"));
        }
        if readers > 0 && before.mode != settings.mode {
            return Err(ConsumerError::Conflict("mode"));
        }
        let seeks = !matches!(asked.start, None | Some(ConsumerStart::Resume));
        if !is_new && !seeks && before.filter != settings.filter {
            return Err(ConsumerError::Conflict("filter"));
        }
        match settings.mode {
            ConsumerMode::Exclusive if readers > 0 && !asked.take_over => Err(ConsumerError::InUse),
            _ if readers >= CONSUMER_READERS_MAX => Err(ConsumerError::Limit("readers")),
            _ => Ok(()),
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn add(&mut self, place: StoredPlace, torn_until: u64, now_us: u64) {
        let number = TopicNumber::try_from(self.number()).unwrap_or(TopicNumber::MAX);
        // The clock may have been set back meanwhile.
        let due_max = now_us.saturating_add(micros(CONSUMER_DELAY_MAX));
        let mut open = place.open;
        for (_, row) in &mut open {
            row.due_us = row.due_us.map(|due| due.min(due_max));
        }
        let stored = Stored {
            place: place.place,
            open,
            seen: place.seen.max(torn_until),
        };
        let source = Source {
            topic: place.topic,
            key: place.key,
            heard: None,
            covered: place.covered.map(Into::into),
        };
        self.sources.insert(number, source);
        self.unread.insert(number);
        self.numbers.insert(place.topic, number);
        self.machine.add(number, &stored, now_us);
    }

    fn add_new(&mut self, topic: Topic, key: TopicKey, begin: Begin, now_us: u64) {
        let place = PlaceRow {
            position: begin.after,
            handed: begin.after,
        };
        self.pending.places.push((key, place));
        self.pending.covered.push((key, begin.covered.clone()));
        let place = StoredPlace::new(key, topic, place, begin.covered);
        self.add(place, 0, now_us);
    }

    fn remove(&mut self, topic: Topic) {
        let Some(number) = self.numbers.remove(&topic) else {
            return;
        };
        self.machine.remove(number);
        self.unread.remove(&number);
        self.entries.retain(|(_, of), _| *of != number);
        if let Some(source) = self.sources.remove(&number) {
            self.pending.removed.push(source.key);
        }
    }

    fn seek(&mut self, moves: Vec<(Topic, Begin)>) {
        if moves.is_empty() {
            return;
        }
        let mut moved = HashSet::new();
        for (topic, begin) in moves {
            let Some(number) = self.numbers.get(&topic).copied() else {
                continue;
            };
            self.machine.seek(number, begin.after);
            if let Some(source) = self.sources.get_mut(&number) {
                self.pending
                    .covered
                    .push((source.key, begin.covered.clone()));
                source.covered = begin.covered.map(Into::into);
            }
            moved.insert(number);
        }
        self.reread(&moved);
        self.pending.generation = Some(self.machine.generation());
    }

    fn configure(&mut self, settings: Settings) {
        if settings != self.settings {
            self.machine.configure(settings.config());
            let inactive_us = settings.inactive.map(micros);
            self.pending.settings = Some((settings.encode(), inactive_us));
            self.settings = settings;
        }
    }

    /// Adds a reader.
    fn attach(&mut self, take_over: bool, now_us: u64) -> ReaderNumber {
        if take_over && self.settings.mode == ConsumerMode::Exclusive {
            let before: Vec<_> = self.readers.keys().copied().collect();
            for reader in before {
                self.release(reader, now_us);
                self.readers.insert(reader, Some(ConsumerError::TakenOver));
            }
        }
        let reader = self.number();
        self.readers.insert(reader, None);
        reader
    }

    /// Returns the key that orders an entry.
    fn key(&self, entry: p2panda_store::FeedEntry) -> u64 {
        let is_ordered = self.settings.mode == ConsumerMode::Ordered;
        super::fill::key(&entry, is_ordered.then(|| self.key_of.clone()).as_ref())
    }
}

/// Finds the start in each of these topics.
async fn resolve(
    storage: &Storage,
    topics: Vec<Topic>,
    start: ConsumerStart,
) -> Result<Vec<Begin>, Error> {
    let plain = |after| Begin {
        after,
        covered: None,
    };
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    match start {
        ConsumerStart::Resume | ConsumerStart::Beginning => {
            Ok(topics.iter().map(|_| plain(0)).collect())
        }
        ConsumerStart::Now => {
            let ends = ends(storage, topics).await?;
            Ok(ends.into_iter().map(plain).collect())
        }
        ConsumerStart::Offset(offset) => {
            let ends = ends(storage, topics).await?;
            if offset > 0 && ends.iter().all(|end| offset > *end) {
                return Err(ConsumerError::UnknownOffset.into());
            }
            Ok(ends
                .iter()
                .map(|_| plain(offset.saturating_sub(1)))
                .collect())
        }
        ConsumerStart::Time(time) => {
            let read = move |reader: &Reader| at_time(reader, &topics, time);
            let offsets = storage.read(read).await?.into_iter();
            Ok(offsets
                .map(|offset| plain(offset.saturating_sub(1)))
                .collect())
        }
        ConsumerStart::Operation(id) => {
            let offset = find(storage, &topics, id).await?;
            let offset = offset.ok_or(ConsumerError::UnknownOperation)?;
            Ok(topics
                .iter()
                .map(|_| plain(offset.saturating_sub(1)))
                .collect())
        }
        ConsumerStart::StateVector(heights) => {
            if heights.len() > CONSUMER_HEIGHTS_MAX {
                return Err(ConsumerError::Limit("heights").into());
            }
            let ends = ends(storage, topics).await?.into_iter();
            let covered = |until| Covered {
                heights: heights.clone(),
                until,
            };
            let begin = |until| Begin {
                after: 0,
                covered: Some(covered(until)),
            };
            Ok(ends.map(begin).collect())
        }
    }
}

async fn ends(storage: &Storage, topics: Vec<Topic>) -> Result<Vec<u64>, Error> {
    let read = move |reader: &Reader| {
        let ends = topics.iter().map(|topic| reader.last_offset(topic));
        ends.collect::<Result<Vec<_>, StoreError>>()
    };
    storage.read(read).await
}

fn at_time(reader: &Reader, topics: &[Topic], time: Timestamp) -> Result<Vec<u64>, StoreError> {
    let offsets = topics.iter().map(|topic| reader.offset_at(topic, time));
    offsets.collect()
}

/// The offset of an operation. There is no index by id: this reads the feeds.
async fn find(storage: &Storage, topics: &[Topic], id: Hash) -> Result<Option<u64>, Error> {
    let limits = PageLimits {
        rows: FEED_PAGE_ROWS_MAX,
        bytes: FEED_PAGE_BYTES_MAX,
    };
    for topic in topics {
        let topic = *topic;
        let mut after = 0;
        loop {
            let page = storage.read(move |reader| reader.feed_page(&topic, after, limits, None));
            let page = page.await?;
            let mut entries = page.entries.iter();
            if let Some(entry) = entries.find(|entry| entry.header.id() == id) {
                return Ok(Some(entry.offset));
            }
            if !page.more {
                break;
            }
            after = page.last_offset;
        }
    }
    Ok(None)
}
