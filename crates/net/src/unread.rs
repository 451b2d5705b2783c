//! Messages that some listener has not read yet: bounded, and without memory while there are none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Number of ephemeral messages that arrived and were not delivered, repeats aside
/// (`docs/protocol/network.md#6`).
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    invalid: AtomicU64,
    lost: AtomicU64,
}

impl Skipped {
    /// Counts a message that is invalid.
    pub(crate) fn invalid(&self) {
        self.invalid.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages for which there was no room.
    pub(crate) fn lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Those that were invalid, and those that were lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.invalid), read(&self.lost))
    }
}

/// Messages that several listeners read, each at its own pace. The slowest loses the oldest ones.
#[derive(Debug)]
pub(crate) struct Unread<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    max: usize,
    skipped: Arc<Skipped>,
}

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<T>,
    /// The number of the first of them.
    first: u64,
    /// Position of each listener.
    positions: BTreeMap<u64, u64>,
    listeners: u64,
    closed: bool,
}

impl<T> State<T> {
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Drops what everyone has read.
    fn release(&mut self) {
        let slowest = self.positions.values().min().copied();
        let slowest = slowest.unwrap_or_else(|| self.end());
        while self.first < slowest && self.messages.pop_front().is_some() {
            self.first += 1;
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }
}

impl<T: Clone> Unread<T> {
    /// Keeps this many messages for those who are slow, and counts those that they miss.
    pub(crate) fn new(max: usize, skipped: Arc<Skipped>) -> Arc<Unread<T>> {
        Arc::new(Unread {
            state: Mutex::new(State {
                messages: VecDeque::new(),
                first: 0,
                positions: BTreeMap::new(),
                listeners: 0,
                closed: false,
            }),
            changed: Notify::new(),
            max,
            skipped,
        })
    }

    /// A message for everyone who listens now.
    pub(crate) fn push(&self, message: T) {
        let mut state = self.state.lock();
        if state.positions.is_empty() {
            return;
        }
        if state.messages.len() >= self.max && state.messages.pop_front().is_some() {
            state.first += 1;
        }
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Listens from now on.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener<T> {
        let mut state = self.state.lock();
        state.listeners += 1;
        let (number, end) = (state.listeners, state.end());
        state.positions.insert(number, end);
        Listener {
            unread: self.clone(),
            number,
        }
    }
}

/// Receiver of events, with those that it has not read.
#[derive(Debug)]
pub(crate) struct Listener<T> {
    unread: Arc<Unread<T>>,
    number: u64,
}

impl<T: Clone> Listener<T> {
    /// The next message, `None` when nothing more will come. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<T> {
        loop {
            let changed = self.unread.changed.notified();
            {
                let mut state = self.unread.state.lock();
                let first = state.first;
                let position = state.positions.get_mut(&self.number)?;
                if *position < first {
                    let missed = first - *position;
                    tracing::debug!(missed, "a slow listener missed ephemeral messages");
                    self.unread.skipped.lost(missed);
                    *position = first;
                }
                let place = *position - first;
                if let Some(message) = state.messages.get(place as usize).cloned() {
                    state.positions.insert(self.number, first + place + 1);
                    state.release();
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Another listener, from now on.
    pub(crate) fn again(&self) -> Listener<T> {
        self.unread.listen()
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        let mut state = self.unread.state.lock();
        state.positions.remove(&self.number);
        state.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_reads_all_and_what_all_have_read_is_dropped() {
        let unread = Unread::new(4, Arc::default());
        unread.push(0);
        let (mut one, mut other) = (unread.listen(), unread.listen());
        unread.push(1);
        unread.push(2);
        assert_eq!((one.next().await, one.next().await), (Some(1), Some(2)));
        assert_eq!(unread.state.lock().messages.len(), 2);
        assert_eq!(other.next().await, Some(1));
        assert_eq!(unread.state.lock().messages.len(), 1);
        drop(other);
        assert!(unread.state.lock().messages.is_empty());
        let mut late = one.again();
        unread.push(3);
        unread.close();
        assert_eq!((one.next().await, one.next().await), (Some(3), None));
        assert_eq!((late.next().await, late.next().await), (Some(3), None));
    }

    #[tokio::test]
    async fn a_slow_reader_misses_the_oldest_and_continues() {
        let skipped = Arc::new(Skipped::default());
        let unread = Unread::new(4, skipped.clone());
        let mut slow = unread.listen();
        for number in 0..10 {
            unread.push(number);
        }
        for number in 6..10 {
            assert_eq!(slow.next().await, Some(number));
        }
        assert_eq!(skipped.counts(), (0, 6));
        let waiting = tokio::spawn(async move { slow.next().await });
        tokio::task::yield_now().await;
        unread.push(10);
        assert!(matches!(waiting.await, Ok(Some(10))));
    }
}
