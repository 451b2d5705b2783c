//! A named consumer while it is in use: its machine, what it has read ahead, who reads with it, and what
//! of it is on the way to the store (`docs/protocol/consumers.md`).
//!
//! All handles and readers of a name share one of these. Anything that changes its machine happens
//! under one lock, which nobody holds while waiting for something.

mod at;
mod fill;
mod flush;
mod idle;
mod look;
mod open;
mod registry;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use p2panda_core::limits::CONSUMER_DEAD_MAX;
use p2panda_core::{Timestamp, Topic, VerifyingKey};
use p2panda_engine::consumer::{
    Answer, Consumer, DeadReason, Delivery, ReaderNumber, Token, TokenError, TopicNumber,
};
use p2panda_store::{Content, Covered, FeedEntry, NamedChanges, NamedKey, PrunedRow, TopicKey};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::consumer_error::ConsumerError;
use crate::consumer_settings::{Acking, Settings, micros};
use crate::event::EventSender;
use crate::inner::queue::Queue;
use crate::inner::storage::Storage;
use crate::{Error, Message};

pub(crate) use flush::Flushed;
pub(crate) use open::{Asked, Opening};
pub(crate) use registry::Registry;

/// Key that holds messages in order instead of their author.
pub(crate) type KeyOf = Arc<dyn Fn(&Message) -> u64 + Send + Sync>;

/// See the [module](self).
pub(crate) struct Named {
    name: String,
    key: NamedKey,
    queue: Queue,
    storage: Storage,
    clock: Clock,
    events: EventSender,
    idle: idle::Idle,
    state: Mutex<State>,
    /// Topics in which something was delivered into the feed, with the last offset.
    grown: Mutex<HashMap<Topic, u64>>,
    /// Something may be there to deliver.
    changed: watch::Sender<u64>,
    flushed: watch::Sender<Flushed>,
    /// One reads ahead at a time.
    reading: tokio::sync::Mutex<()>,
}

/// State under the lock.
struct State {
    machine: Consumer,
    settings: Settings,
    key_of: Option<KeyOf>,
    paused: bool,
    end: Option<ConsumerError>,
    /// Dead letters.
    dead: u64,
    /// That there are too many of them was told.
    told_full_of_dead: bool,
    sources: BTreeMap<TopicNumber, Source>,
    numbers: HashMap<Topic, TopicNumber>,
    /// Topics of which there may be more in the feed.
    unread: BTreeSet<TopicNumber>,
    /// The next page is being read before it is needed.
    reads_ahead: bool,
    /// Entries of the last page that was read: this many at most are left when the next one is read ahead.
    page_entries: usize,
    /// Entries that were read and not delivered.
    entries: BTreeMap<(u64, TopicNumber), Box<FeedEntry>>,
    readers: BTreeMap<ReaderNumber, Option<ConsumerError>>,
    last_number: u64,
    /// Prunes of what was not settled, and who was told of them.
    notices: Vec<Notice>,
    /// Rows that the application has to hear of have changed.
    notices_changed: bool,
    /// Changes to store next to those of the machine.
    pending: NamedChanges,
    flush: flush::Flush,
}

struct Source {
    topic: Topic,
    key: TopicKey,
    /// The last offset that was heard of since.
    heard: Option<u64>,
    covered: Option<Passing>,
}

/// Heights that are skipped.
struct Passing {
    heights: HashMap<VerifyingKey, u32>,
    until: u64,
}

struct Notice {
    row: PrunedRow,
    to: Option<ReaderNumber>,
}

/// Something for a reader.
#[derive(Debug)]
pub(crate) enum Given {
    Entry {
        topic: Topic,
        entry: Box<FeedEntry>,
        delivery: Delivery,
    },
    Pruned(PrunedRow),
}

/// Result of the search for something to deliver.
enum Found {
    Given(Given),
    /// The content of this entry has to be read.
    Unread(Topic, TopicNumber, u64),
    /// That a delivery is about to be made has to be stored first.
    Unstored(u64),
    Nothing,
}

/// The wall clock when it was opened, and what has passed since.
struct Clock {
    wall_us: u64,
    start: Instant,
}

impl Clock {
    fn now_us(&self) -> u64 {
        self.wall_us.saturating_add(micros(self.start.elapsed()))
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("name", &self.name).finish()
    }
}

impl From<Covered> for Passing {
    fn from(covered: Covered) -> Self {
        Self {
            heights: covered.heights.into_iter().collect(),
            until: covered.until,
        }
    }
}

impl Passing {
    /// Returns `true` if the entry was seen before. Having seen an operation does not cover a
    /// change of it.
    fn covers(&self, entry: &FeedEntry) -> bool {
        let height = self.heights.get(&entry.header.label());
        let is_change = matches!(entry.content, Content::Change(_));
        !is_change
            && entry.offset <= self.until
            && height.is_some_and(|seq| entry.header.seq() <= *seq)
    }
}

/// Reading.
impl Named {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn key(&self) -> NamedKey {
        self.key
    }

    /// The next one for a reader, waiting until there is one or the time is over.
    ///
    /// Cancel safe: what is given is given when the future completes.
    pub(crate) async fn next(
        self: &Arc<Self>,
        reader: ReaderNumber,
        until: Option<tokio::time::Instant>,
    ) -> Result<Option<Given>, Error> {
        // Most often there is one, and nothing has to be waited for.
        let mut found = self.take_held(reader)?;
        if let Some(Found::Given(given)) = found {
            return Ok(Some(given));
        }
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let found = match found.take() {
                Some(found) => found,
                None => self.take_read(reader).await?,
            };
            match found {
                Found::Given(given) => return Ok(Some(given)),
                Found::Unread(topic, number, offset) => {
                    self.read_one(topic, number, offset).await?;
                    continue;
                }
                Found::Unstored(version) => {
                    self.stored(version).await?;
                    continue;
                }
                Found::Nothing => {}
            }
            let due = self.next_due();
            let wait = match (due, until) {
                (Some(due), Some(until)) => Some(due.min(until)),
                (due, until) => due.or(until),
            };
            let woken = match wait {
                None => changed.changed().await.is_ok(),
                Some(wait) => match tokio::time::timeout_at(wait, changed.changed()).await {
                    Ok(woken) => woken.is_ok(),
                    Err(_) if until.is_some_and(|until| until <= tokio::time::Instant::now()) => {
                        return Ok(None);
                    }
                    Err(_) => true,
                },
            };
            if !woken {
                return Err(self.queue.ended());
            }
        }
    }

    /// One that is there already.
    pub(crate) async fn next_ready(
        self: &Arc<Self>,
        reader: ReaderNumber,
    ) -> Result<Option<Given>, Error> {
        self.next(reader, Some(tokio::time::Instant::now())).await
    }

    /// Takes the next of the entries that were read; `None` where more has to be read first, or
    /// there is nothing.
    fn take_held(self: &Arc<Self>, reader: ReaderNumber) -> Result<Option<Found>, Error> {
        let mut state = self.state.lock();
        self.check_reader(&state, reader)?;
        if state.notices_changed || state.is_paused() || self.is_behind(&mut state) {
            return Ok(None);
        }
        let found = self.take(&mut state, reader);
        Ok(match found {
            Found::Nothing => None,
            found => Some(found),
        })
    }

    /// The same once everything is read that may come first.
    async fn take_read(self: &Arc<Self>, reader: ReaderNumber) -> Result<Found, Error> {
        self.check_reader(&self.state.lock(), reader)?;
        self.read_notices().await?;
        if !self.is_paused() {
            self.fill().await?;
        }
        Ok(self.take(&mut self.state.lock(), reader))
    }

    fn check_reader(&self, state: &State, reader: ReaderNumber) -> Result<(), Error> {
        state.check()?;
        match state.readers.get(&reader) {
            Some(None) => Ok(()),
            Some(Some(ended)) => Err((*ended).into()),
            None => Err(self.queue.ended()),
        }
    }

    fn is_paused(&self) -> bool {
        self.state.lock().is_paused()
    }

    fn next_due(&self) -> Option<tokio::time::Instant> {
        let state = self.state.lock();
        let due_us = state.machine.next_due()?;
        let wait_us = due_us.saturating_sub(self.clock.now_us());
        let wait = std::time::Duration::from_micros(wait_us);
        tokio::time::Instant::now().checked_add(wait)
    }

    fn take(self: &Arc<Self>, state: &mut State, reader: ReaderNumber) -> Found {
        let notice = state.notices.iter_mut().find(|notice| notice.to.is_none());
        if let (false, Some(notice)) = (state.paused, notice) {
            notice.to = Some(reader);
            return Found::Given(Given::Pruned(notice.row.clone()));
        }
        let now_us = self.clock.now_us();
        state.expire(now_us);
        if state.is_paused() {
            return Found::Nothing;
        }
        let Some((offset, number)) = state.machine.head() else {
            // What expired may have become dead letters.
            if state.flush.is_wanted() {
                self.send(state);
            }
            return Found::Nothing;
        };
        let Some(topic) = state.sources.get(&number).map(|source| source.topic) else {
            return Found::Nothing;
        };
        if !state.entries.contains_key(&(offset, number)) {
            return Found::Unread(topic, number, offset);
        }
        if state.machine.marks_first() {
            state.machine.mark();
            let version = self.ask(state, false);
            if state.settings.deliveries_max.is_some() {
                return Found::Unstored(version);
            }
        }
        let delivery = state.machine.next(reader, now_us);
        let (Some(delivery), Some(entry)) = (delivery, state.entries.remove(&(offset, number)))
        else {
            return Found::Nothing;
        };
        if state.settings.acking == Acking::None {
            self.ask_soon(state);
        }
        self.read_ahead(state);
        Found::Given(Given::Entry {
            topic,
            entry,
            delivery,
        })
    }
}

/// Results of messages.
impl Named {
    /// Settles messages now, and waits for the disk.
    pub(crate) async fn ack(self: &Arc<Self>, token: Token) -> Result<Answer, Error> {
        let act = |machine: &mut Consumer, _| machine.ack(token);
        self.settle(token, act).await
    }

    /// Settles messages with the next commit.
    pub(crate) fn ack_soon(self: &Arc<Self>, tokens: &[Token]) {
        let mut state = self.state.lock();
        let was_stuck = state.machine.room() == 0 || state.machine.head().is_none();
        for token in tokens {
            // One that is stale comes again.
            let _ = state.machine.ack(*token);
        }
        self.ask_soon(&mut state);
        // Otherwise nobody waits for what this makes possible.
        if was_stuck {
            self.wake(&state, true);
        }
    }

    pub(crate) async fn nak(
        self: &Arc<Self>,
        token: Token,
        delay_us: Option<u64>,
    ) -> Result<Answer, Error> {
        let act = |machine: &mut Consumer, now_us| machine.nak(token, delay_us, now_us);
        self.settle(token, act).await
    }

    pub(crate) async fn term(
        self: &Arc<Self>,
        token: Token,
        reason: &str,
    ) -> Result<Answer, Error> {
        let reason = DeadReason::Terminated(reason.into());
        let act = |machine: &mut Consumer, now_us| machine.term(token, reason, now_us);
        self.settle(token, act).await
    }

    /// That is kept in memory: after a crash it waits again anyway.
    pub(crate) fn progress(&self, token: Token) -> Result<Answer, Error> {
        let mut state = self.state.lock();
        state.check()?;
        let answer = state.machine.progress(token, self.clock.now_us());
        let answer = answer.map_err(ConsumerError::from)?;
        drop(state);
        // The others wait for another time now.
        self.changed.send_modify(|number| *number += 1);
        Ok(answer)
    }

    async fn settle(
        self: &Arc<Self>,
        token: Token,
        act: impl FnOnce(&mut Consumer, u64) -> Result<Answer, TokenError>,
    ) -> Result<Answer, Error> {
        let (answer, version) = {
            let mut state = self.state.lock();
            state.check()?;
            let was_full = state.machine.room() == 0;
            let answer = act(&mut state.machine, self.clock.now_us());
            let answer = answer.map_err(ConsumerError::from)?;
            state.forget_settled(token);
            let version = self.ask(&mut state, true);
            self.wake(&state, was_full);
            (answer, version)
        };
        self.stored(version).await?;
        Ok(answer)
    }

    /// The application has heard of what was pruned.
    pub(crate) fn told(self: &Arc<Self>, topic: Topic, author: VerifyingKey) -> Option<u64> {
        let mut state = self.state.lock();
        let before = state.notices.len();
        let is_it = |row: &PrunedRow| row.topic == topic && row.author == author;
        state.notices.retain(|notice| !is_it(&notice.row));
        let number = state.numbers.get(&topic).copied();
        let key = number.and_then(|number| Some(state.sources.get(&number)?.key));
        match (key, before == state.notices.len()) {
            (Some(key), false) => {
                state.pending.told.push((key, author));
                Some(self.ask(&mut state, true))
            }
            _ => None,
        }
    }

    /// The application has not taken it.
    pub(crate) fn untold(&self, topic: Topic, author: VerifyingKey) {
        let mut state = self.state.lock();
        for notice in &mut state.notices {
            if notice.row.topic == topic && notice.row.author == author {
                notice.to = None;
            }
        }
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    /// A reader ends: what it held can be given to others at once.
    pub(crate) fn reader_gone(self: &Arc<Self>, reader: ReaderNumber) {
        let mut state = self.state.lock();
        state.release(reader, self.clock.now_us());
        // Tokens of one that another took over from stay stale.
        state
            .readers
            .retain(|number, ended| *number != reader || ended.is_some());
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Wakes anyone who waits, if there is something to deliver, or room for it.
    fn wake(&self, state: &State, was_full: bool) {
        if was_full || state.machine.head().is_some() || state.machine.next_due().is_some() {
            self.changed.send_modify(|number| *number += 1);
        }
    }

    /// Something was delivered into the feed of a topic.
    pub(crate) fn grew(&self, topic: Topic, last_offset: u64) {
        self.grown.lock().insert(topic, last_offset);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Something was pruned that it had not settled.
    pub(crate) fn pruned(&self) {
        self.state.lock().notices_changed = true;
        self.changed.send_modify(|number| *number += 1);
    }
}

impl State {
    /// Checks that it continues.
    fn check(&self) -> Result<(), ConsumerError> {
        self.end.map_or(Ok(()), Err)
    }

    fn is_paused(&self) -> bool {
        self.paused || is_full_of_dead(self.dead)
    }

    fn expire(&mut self, now_us: u64) {
        if self.machine.next_due().is_some_and(|due| due <= now_us) {
            self.machine.expire(now_us);
            self.flush.want();
        }
    }

    /// Its content is no longer needed.
    fn forget_settled(&mut self, token: Token) {
        if !self.machine.holds(token.topic, token.offset) {
            self.entries.remove(&(token.offset, token.topic));
        }
    }

    /// The same for everything of a topic up to an offset.
    fn forget_settled_until(&mut self, topic: TopicNumber, offset: u64) {
        let (machine, entries) = (&self.machine, &mut self.entries);
        entries.retain(|(at, of), _| *of != topic || *at > offset || machine.holds(topic, *at));
    }

    fn release(&mut self, reader: ReaderNumber, now_us: u64) {
        self.machine.reader_gone(reader, now_us);
        for notice in &mut self.notices {
            if notice.to == Some(reader) {
                notice.to = None;
            }
        }
    }

    /// Forgets what was read of topics, and reads them again.
    fn reread(&mut self, topics: &HashSet<TopicNumber>) {
        self.entries.retain(|(_, topic), _| !topics.contains(topic));
        self.unread.extend(topics);
    }
}

/// Returns `true` if no message is delivered any more: this many dead letters are kept, and none
/// is lost.
pub(crate) fn is_full_of_dead(dead: u64) -> bool {
    dead >= CONSUMER_DEAD_MAX
}

/// This node's time.
pub(crate) fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_micros(micros(since.unwrap_or_default()))
}
