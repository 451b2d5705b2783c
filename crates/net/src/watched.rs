//! A value whose changes wake anyone who watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// A value that is watched. Dropping it tells the watchers that nothing changes any more.
///
/// A channel of the runtime does the same and takes three times the memory: it spreads those who wait over
/// several lists. Every topic has two of these values, and mostly one watcher of each.
#[derive(Debug, Default)]
pub struct Watched<T>(Arc<Inner<T>>);

/// Sees the value as it is, and how it changes.
#[derive(Debug)]
pub struct Watcher<T> {
    inner: Arc<Inner<T>>,
    /// Changes that were seen.
    seen: u64,
}

#[derive(Debug, Default)]
struct Inner<T> {
    value: RwLock<T>,
    /// Twice the number of changes, and one more when there will be no other.
    version: AtomicU64,
    changed: Notify,
}

/// Nothing changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watched value was dropped")]
pub struct NoMoreChanges;

const CLOSED: u64 = 1;
const CHANGE: u64 = 2;

impl<T> Watched<T> {
    /// Sees changes from here on.
    pub fn subscribe(&self) -> Watcher<T> {
        Watcher {
            inner: self.0.clone(),
            seen: self.0.changes(),
        }
    }

    /// The value.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read()
    }

    /// Changes the value.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value; `change` says whether that is worth to be seen.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut value = self.0.value.write();
        let is_change = change(&mut value);
        if is_change {
            // Under the lock: who sees the number sees the value.
            self.0.version.fetch_add(CHANGE, Ordering::Release);
        }
        drop(value);
        if is_change {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.0.version.fetch_or(CLOSED, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

impl<T> Inner<T> {
    fn changes(&self) -> u64 {
        self.version.load(Ordering::Acquire) & !CLOSED
    }

    fn is_closed(&self) -> bool {
        self.version.load(Ordering::Acquire) & CLOSED != 0
    }
}

impl<T> Clone for Watcher<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Watcher<T> {
    /// The value, whether it was seen or not.
    pub fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.inner.value.read()
    }

    /// The value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.inner.value.read();
        self.seen = self.inner.changes();
        value
    }

    /// The value in its current form counts as a change.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(CHANGE);
    }

    /// Returns `true` if there is a change that was not seen.
    pub fn has_changed(&self) -> bool {
        self.inner.changes() != self.seen
    }

    /// Waits for a change that was not seen, which counts as seen then. May be cancelled.
    ///
    /// # Errors
    /// [`NoMoreChanges`] when the value was dropped and its last change is seen.
    pub async fn changed(&mut self) -> Result<(), NoMoreChanges> {
        loop {
            let changed = self.inner.changed.notified();
            // In this order: the last change comes before the end.
            let is_closed = self.inner.is_closed();
            let changes = self.inner.changes();
            if changes != self.seen {
                self.seen = changes;
                return Ok(());
            }
            if is_closed {
                return Err(NoMoreChanges);
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted. May be cancelled.
    ///
    /// # Errors
    /// [`NoMoreChanges`] when the value was dropped before.
    pub async fn wait_for(&mut self, is_wanted: impl Fn(&T) -> bool) -> Result<(), NoMoreChanges> {
        while !is_wanted(&self.borrow_and_update()) {
            self.changed().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once, zip};

    use super::*;

    #[test]
    fn each_watcher_sees_that_the_value_has_changed_since_it_looked() {
        let watched = Watched::<u32>::default();
        let mut one = watched.subscribe();
        let mut other = one.clone();
        assert_eq!(block_on(poll_once(one.changed())), None);
        watched.send_modify(|value| *value = 1);
        watched.send_if_modified(|value| {
            *value = 2;
            false
        });
        assert_eq!(block_on(one.changed()), Ok(()));
        assert_eq!(block_on(poll_once(one.changed())), None);
        assert!(other.has_changed());
        assert_eq!(*other.borrow_and_update(), 2);
        assert_eq!(block_on(poll_once(other.changed())), None);
        other.mark_changed();
        assert_eq!(block_on(other.changed()), Ok(()));
        assert_eq!(block_on(poll_once(watched.subscribe().changed())), None);
    }

    #[test]
    fn all_waiters_hear_of_the_last_change_before_the_end() {
        let watched = Watched::<u32>::default();
        let (mut one, mut other) = (watched.subscribe(), watched.subscribe());
        let changing = async { watched.send_modify(|value| *value = 1) };
        let waiting = zip(one.changed(), other.changed());
        let (woken, ()) = block_on(zip(waiting, changing));
        assert_eq!(woken, (Ok(()), Ok(())));
        watched.send_modify(|value| *value = 2);
        drop(watched);
        assert_eq!(block_on(one.changed()), Ok(()));
        assert_eq!(*one.borrow(), 2);
        assert_eq!(block_on(one.changed()), Err(NoMoreChanges));
        assert_eq!(block_on(other.wait_for(|value| *value == 2)), Ok(()));
        assert_eq!(block_on(other.wait_for(|_| false)), Err(NoMoreChanges));
    }
}
