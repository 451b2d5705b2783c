//! A time in which the storage takes nothing (`docs/protocol/streams.md#18`): what is queued stays
//! in its order and is tried again, and a publish does not wait forever.

use p2panda_core::limits::{PUBLISH_STORAGE_WAIT, STORAGE_RETRY_WAIT, STORAGE_RETRY_WAIT_MAX};

use crate::answer::StorageWait;
use crate::now::micros;

/// From the first attempt that failed on, until one succeeds.
pub(crate) struct Stall {
    pub reason: StorageWait,
    wait_us: u64,
    /// Time at which it is tried again.
    retry_us: u64,
    /// Time at which the first of the publishes that wait fails.
    expiry_us: Option<u64>,
    /// The time when it was last checked.
    now_us: u64,
}

impl Stall {
    pub fn new(reason: StorageWait, now_us: u64) -> Stall {
        let wait_us = micros(STORAGE_RETRY_WAIT);
        Stall {
            reason,
            wait_us,
            retry_us: now_us.saturating_add(wait_us),
            expiry_us: None,
            now_us,
        }
    }

    /// Another attempt failed. Whether it is for another reason.
    pub fn failed_again(&mut self, reason: StorageWait, now_us: u64) -> bool {
        self.wait_us = (self.wait_us * 2).min(micros(STORAGE_RETRY_WAIT_MAX));
        self.retry_us = now_us.saturating_add(self.wait_us);
        std::mem::replace(&mut self.reason, reason) != reason
    }

    /// A publish waits since then.
    pub fn waits(&mut self, since_us: u64) {
        let expiry_us = since_us.saturating_add(micros(PUBLISH_STORAGE_WAIT));
        self.expiry_us = Some(
            self.expiry_us
                .map_or(expiry_us, |first| first.min(expiry_us)),
        );
    }

    /// Returns `true` if a publish that waits since then has waited long enough.
    pub fn is_over(&self, since_us: u64) -> bool {
        since_us.saturating_add(micros(PUBLISH_STORAGE_WAIT)) <= self.now_us
    }

    /// Returns `true` if one has. The next one is no longer known then: all are to be checked.
    pub fn expires(&mut self, now_us: u64) -> bool {
        self.now_us = now_us;
        let is_over = self.expiry_us.is_some_and(|expiry| expiry <= now_us);
        if is_over {
            self.expiry_us = None;
        }
        is_over
    }

    pub fn is_due(&self, now_us: u64) -> bool {
        self.retry_us <= now_us
    }

    pub fn next_wake(&self) -> u64 {
        self.expiry_us
            .map_or(self.retry_us, |expiry| expiry.min(self.retry_us))
    }
}
