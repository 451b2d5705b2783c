//! The heads of a topic, once for all its sessions (`docs/protocol/ranges.md#2`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use p2panda_core::{HeadsChange, Topic, TopicHeads};

/// The heads of a topic. Clones are the same heads.
///
/// Anyone who commits says what changed with [`SharedHeads::follow`] and is never kept waiting;
/// anyone who compares locks them and sees everything that was said before.
#[derive(Clone)]
pub struct SharedHeads(Arc<Inner>);

struct Inner {
    known: Mutex<TopicHeads>,
    /// Was said while somebody looked at them.
    untold: Mutex<Vec<HeadsChange>>,
}

impl SharedHeads {
    /// Of a topic of which nothing is known yet.
    pub fn new(topic: &Topic) -> SharedHeads {
        SharedHeads(Arc::new(Inner {
            known: Mutex::new(TopicHeads::new(topic)),
            untold: Mutex::default(),
        }))
    }

    /// Takes a change. It waits for nobody: what cannot be taken at once is taken before the next
    /// look.
    pub fn follow(&self, change: &HeadsChange) {
        match self.0.known.try_lock() {
            Ok(mut known) => known.follow(change),
            Err(TryLockError::Poisoned(error)) => error.into_inner().follow(change),
            Err(TryLockError::WouldBlock) => lock(&self.0.untold).push(change.clone()),
        }
    }

    /// Returns the number of logs. `None` while somebody looks at them.
    pub fn try_len(&self) -> Option<usize> {
        match self.0.known.try_lock() {
            Ok(mut known) => Some(known.heads().len()),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner().heads().len()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The heads with all changes. Held for as long as it takes to answer a message, not longer.
    pub fn lock(&self) -> MutexGuard<'_, TopicHeads> {
        let mut known = lock(&self.0.known);
        let untold = std::mem::take(&mut *lock(&self.0.untold));
        untold.iter().for_each(|change| known.follow(change));
        known
    }
}

impl fmt::Debug for SharedHeads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedHeads")
    }
}

/// Nothing panics while a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use p2panda_core::log::Head;
    use p2panda_core::{Hash, SigningKey};

    use super::*;

    #[test]
    fn a_change_during_a_look_is_there_at_the_next() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let change = |seq| HeadsChange {
            raised: vec![(
                author,
                Head {
                    seq,
                    id: Hash::digest(b"id"),
                },
            )],
            arrival: u64::from(seq),
            ..HeadsChange::default()
        };
        let shared = SharedHeads::new(&Topic::from_bytes([7; 32]));
        shared.follow(&change(1));
        let looking = shared.lock();
        assert_eq!(shared.try_len(), None);
        shared.follow(&change(3));
        shared.follow(&change(2));
        assert_eq!(looking.arrival(), 1);
        drop(looking);
        assert_eq!(shared.lock().arrival(), 3);
        assert_eq!(shared.try_len(), Some(1));
    }
}
