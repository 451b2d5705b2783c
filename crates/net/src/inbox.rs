//! Accepted sessions on their way to the task of their topic.

use std::collections::VecDeque;

use p2panda_core::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A bounded queue. Takes no memory while it is empty: there is one for every topic.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    /// `None`: closed.
    waiting: Mutex<Option<VecDeque<T>>>,
    changed: Notify,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Some(VecDeque::new())),
            changed: Notify::new(),
        }
    }
}

impl<T> Inbox<T> {
    /// Puts something in; gives it back if there is no room, or if nobody takes anything any more.
    pub(crate) fn put(&self, item: T) -> Result<(), T> {
        {
            let mut waiting = self.waiting.lock();
            let Some(waiting) = &mut *waiting else {
                return Err(item);
            };
            if waiting.len() >= limits::INCOMING_WAITING_MAX {
                return Err(item);
            }
            waiting.push_back(item);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the first item. Cancel safe. Never resolves once the inbox is closed.
    pub(crate) async fn next(&self) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(item) = self.take() {
                return item;
            }
            changed.await;
        }
    }

    /// Takes nothing more. Returns what has not been taken out.
    pub(crate) fn close(&self) -> VecDeque<T> {
        self.waiting.lock().take().unwrap_or_default()
    }

    fn take(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let waiting = waiting.as_mut()?;
        let item = waiting.pop_front();
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn what_exceeds_the_limit_or_the_end_comes_back() {
        let inbox = Inbox::default();
        for number in 0..limits::INCOMING_WAITING_MAX {
            assert_eq!(inbox.put(number), Ok(()));
        }
        assert_eq!(inbox.put(99), Err(99));
        assert_eq!(block_on(inbox.next()), 0);
        assert_eq!(inbox.put(99), Ok(()));
        assert_eq!(inbox.close().len(), limits::INCOMING_WAITING_MAX);
        assert_eq!(inbox.put(1), Err(1));
        assert_eq!(block_on(poll_once(inbox.next())), None);
    }
}
