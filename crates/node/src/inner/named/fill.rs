//! Reads the feeds ahead of the readers of a consumer, a page at a time.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::{FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX};
use p2panda_engine::consumer::{Offered, TopicNumber};
use p2panda_store::{Change, Content, FeedEntry, FeedPage, PageLimits, Reader, StoreError};

use super::{KeyOf, Named, Notice, State};
use crate::consumer_settings::ConsumerMode;
use crate::inner::storage::Storage;
use crate::subscription::untyped;
use crate::{Error, Message};

/// A page that is to be read.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    number: TopicNumber,
    topic: Topic,
    after: u64,
    /// The last offset that was heard of; none: unknown.
    heard: Option<u64>,
}

/// Occasion on which a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing before it can be delivered.
    Needed,
    /// Before it is needed.
    Ahead,
}

/// The entry at an offset, if it is there.
pub(super) async fn entry_at(
    storage: &Storage,
    topic: Topic,
    offset: u64,
) -> Result<Option<FeedEntry>, Error> {
    let Some(after) = offset.checked_sub(1) else {
        return Ok(None);
    };
    let limits = PageLimits { rows: 1, bytes: 0 };
    let page = storage.read(move |reader| reader.feed_page(&topic, after, limits, None));
    let mut entries = page.await?.entries;
    Ok(entries.pop().filter(|entry| entry.offset == offset))
}

impl Named {
    /// Reads on where there may be something that is to be delivered next.
    pub(super) async fn fill(self: &Arc<Self>) -> Result<(), Error> {
        let is_behind = self.is_behind(&mut self.state.lock());
        match is_behind {
            true => self.read(When::Needed).await,
            false => Ok(()),
        }
    }

    /// Has the next page read while the readers work on this one, where one topic is read.
    pub(super) fn read_ahead(self: &Arc<Self>, state: &mut State) {
        // Two pages at most are held, and small ones are not worth it.
        let is_due = state.entries.len() <= state.page_entries
            && state.machine.room() >= FEED_PAGE_ROWS_MAX / 2;
        if is_due && state.unread.len() == 1 && !state.reads_ahead {
            state.reads_ahead = true;
            let named = Arc::clone(self);
            tokio::spawn(async move {
                // Anyone who needs it meets the same error.
                let _ = named.read(When::Ahead).await;
                named.state.lock().reads_ahead = false;
            });
        }
    }

    pub(super) async fn read(self: &Arc<Self>, when: When) -> Result<(), Error> {
        let _reading = self.reading.lock().await;
        loop {
            let (wanted, rows, generation, key_of) = {
                let mut state = self.state.lock();
                self.note_grown(&mut state);
                let (wanted, rows) = state.wanted(when);
                let is_ordered = state.settings.mode == ConsumerMode::Ordered;
                let key_of = is_ordered.then(|| state.key_of.clone());
                (wanted, rows, state.machine.generation(), key_of)
            };
            if wanted.is_empty() {
                return Ok(());
            }
            let pages = self.read_pages(wanted, rows).await?;
            let keys = keys(&pages, key_of);
            let mut state = self.state.lock();
            if state.machine.generation() == generation {
                let now_us = self.clock.now_us();
                for ((wanted, page), keys) in pages.into_iter().zip(keys) {
                    state.offer(wanted, page, &keys, now_us);
                }
            }
            if when == When::Ahead {
                return Ok(());
            }
        }
    }

    /// Returns `true` if something has to be read.
    pub(super) fn is_behind(&self, state: &mut State) -> bool {
        self.note_grown(state);
        state.lacks_next()
    }

    fn note_grown(&self, state: &mut State) {
        let mut grown = self.grown.lock();
        for (topic, last) in grown.drain() {
            if let Some(number) = state.numbers.get(&topic)
                && let Some(source) = state.sources.get_mut(number)
            {
                state.unread.insert(*number);
                source.heard = Some(last);
            }
        }
    }

    async fn read_pages(
        &self,
        wanted: Vec<Wanted>,
        rows: usize,
    ) -> Result<Vec<(Wanted, FeedPage)>, Error> {
        let limits = PageLimits {
            rows,
            bytes: (FEED_PAGE_BYTES_MAX / wanted.len().max(1)).max(1),
        };
        // What came a moment ago is read in place.
        let newest = wanted.iter().map(|wanted| {
            let heard = wanted.heard?;
            Some(heard.saturating_sub(wanted.after).max(1))
        });
        let newest = newest.sum::<Option<u64>>().unwrap_or(u64::MAX);
        let read = move |reader: &Reader| {
            let pages = wanted.into_iter().map(|wanted| {
                let page = reader.feed_page(&wanted.topic, wanted.after, limits, None)?;
                Ok((wanted, page))
            });
            pages.collect::<Result<Vec<_>, StoreError>>()
        };
        self.storage.read_newest(newest, read).await
    }

    /// Reads the content of an entry that is to be delivered again.
    pub(super) async fn read_one(
        &self,
        topic: Topic,
        number: TopicNumber,
        offset: u64,
    ) -> Result<(), Error> {
        let entry = entry_at(&self.storage, topic, offset).await?;
        let mut state = self.state.lock();
        match entry {
            Some(entry) if state.machine.holds(number, offset) => {
                state.entries.insert((offset, number), Box::new(entry));
            }
            Some(_) => {}
            None => state.machine.lost(number, offset, self.clock.now_us()),
        }
        Ok(())
    }

    /// Learns of what was pruned before it was settled.
    pub(super) async fn read_notices(&self) -> Result<(), Error> {
        if !std::mem::take(&mut self.state.lock().notices_changed) {
            return Ok(());
        }
        let key = self.key;
        let read = self.storage.read(move |reader| {
            reader.pruned_unsettled(key, p2panda_core::limits::CONSUMER_PAGE_ROWS)
        });
        let rows = read.await.inspect_err(|_| {
            self.state.lock().notices_changed = true;
        })?;
        let mut state = self.state.lock();
        // Some of them may be gone.
        state.entries.clear();
        let known = std::mem::take(&mut state.notices);
        let untold = rows.into_iter().filter(|row| !row.told);
        state.notices = untold
            .map(|row| {
                let to = known.iter().find(|notice| notice.row == row);
                let to = to.and_then(|notice| notice.to);
                Notice { row, to }
            })
            .collect();
        Ok(())
    }
}

impl State {
    /// Returns `true` if a topic may have an entry before the next one that can be delivered.
    fn lacks_next(&self) -> bool {
        let head = self.machine.head().map(|(offset, _)| offset);
        let mut unread = self.unread.iter();
        unread.any(|number| {
            let after = self.machine.reads_after(*number);
            after.is_some_and(|after| head.is_none_or(|head| head > after))
        })
    }

    /// Topics that may have an entry before the next one that can be delivered, and rows for each.
    fn wanted(&self, when: When) -> (Vec<Wanted>, usize) {
        let head = self.machine.head().map(|(offset, _)| offset);
        let wanted = self.unread.iter().filter_map(|number| {
            let source = self.sources.get(number)?;
            let after = self.machine.reads_after(*number)?;
            let is_first = when == When::Ahead || head.is_none_or(|head| head > after);
            is_first.then_some(Wanted {
                number: *number,
                topic: source.topic,
                after,
                heard: source.heard,
            })
        });
        let wanted: Vec<_> = wanted.collect();
        let rows = self.machine.room() / wanted.len().max(1);
        (wanted, rows.clamp(1, FEED_PAGE_ROWS_MAX))
    }

    /// Returns `true` if an entry withdraws what this consumer found withdrawn when it came to it.
    /// Where heights are skipped, somebody else came to it.
    fn has_passed(&self, number: TopicNumber, entry: &FeedEntry) -> bool {
        let source = self.sources.get(&number);
        let is_plain = source.is_some_and(|source| source.covered.is_none());
        let is_withdrawn = entry.content == Content::Change(Change::Withdrawn);
        let passed = |first| self.machine.has_passed(number, first, entry.offset);
        is_plain && is_withdrawn && entry.first.is_some_and(passed)
    }

    fn offer(&mut self, wanted: Wanted, page: FeedPage, keys: &[u64], now_us: u64) {
        let number = wanted.number;
        if self.machine.read_until(number) != Some(wanted.after) {
            return;
        }
        self.machine.sight(number, wanted.after, page.feed_end);
        for offset in page.left {
            if self.machine.holds(number, offset) {
                self.machine.moved(number, offset);
                self.entries.remove(&(offset, number));
                self.flush.want();
            }
        }
        let before = self.entries.len();
        for (entry, key) in page.entries.into_iter().zip(keys) {
            if self.machine.reads_after(number).is_none() {
                return;
            }
            let source = self.sources.get(&number);
            let covered = source.and_then(|source| source.covered.as_ref());
            let is_covered = covered.is_some_and(|covered| covered.covers(&entry));
            let passes = !is_covered
                && !self.has_passed(number, &entry)
                && self.settings.filter.admits(&entry);
            let offset = entry.offset;
            let offered = Offered {
                offset,
                key: *key,
                passes,
            };
            self.machine.offer(number, offered, now_us);
            if !self.machine.holds(number, offset) {
                // Settled in passing, or a dead letter.
                self.flush.want();
            }
            let keeps = self.entries.len() < 2 * FEED_PAGE_ROWS_MAX;
            if keeps && self.machine.holds(number, offset) {
                self.entries.insert((offset, number), Box::new(entry));
            }
        }
        self.page_entries = self.entries.len().saturating_sub(before);
        let Some(source) = self.sources.get_mut(&number) else {
            return;
        };
        if page.last_offset > 0 {
            self.machine.passed(number, page.last_offset, now_us);
        }
        if !page.more {
            self.unread.remove(&number);
        }
        source.heard = source.heard.filter(|_| page.more);
        let read = self.machine.read_until(number).unwrap_or(0);
        if source
            .covered
            .as_ref()
            .is_some_and(|covered| read >= covered.until)
        {
            source.covered = None;
            self.pending.covered.push((source.key, None));
        }
    }
}

/// Returns the keys that hold the entries of pages in order.
fn keys(pages: &[(Wanted, FeedPage)], key_of: Option<Option<KeyOf>>) -> Vec<Vec<u64>> {
    let key = |entry| key(entry, key_of.as_ref());
    let pages = pages.iter();
    pages
        .map(|(_, page)| page.entries.iter().map(key).collect())
        .collect()
}

/// Returns the key that holds an entry in order: nothing, its author, or what the application
/// says.
pub(super) fn key(entry: &FeedEntry, key_of: Option<&Option<KeyOf>>) -> u64 {
    match key_of {
        None => 0,
        Some(None) => {
            let author = entry.header.author();
            let first = author.as_bytes().first_chunk::<8>();
            first.map_or(0, |bytes| u64::from_be_bytes(*bytes))
        }
        Some(Some(key_of)) => key_of(&Message::new(entry.clone(), untyped, None)),
    }
}
