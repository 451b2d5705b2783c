//! Assumed round trips of unmeasured paths, and remembered ones of slow paths
//! (`docs/protocol/network.md#1`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2panda_core::{VerifyingKey, limits};
use parking_lot::Mutex;

/// The slow paths that were measured. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    usual: Duration,
    slow: Arc<Mutex<HashMap<VerifyingKey, Duration>>>,
}

impl Paths {
    /// `usual` is what the round trip of a path is taken for that was not measured.
    pub(crate) fn new(usual: Duration) -> Paths {
        Paths {
            usual,
            slow: Arc::default(),
        }
    }

    /// The round trip to expect on a new connection with anybody.
    pub(crate) fn usual(&self) -> Duration {
        self.usual
    }

    /// The round trip to expect on a new connection with a peer.
    pub(crate) fn expected(&self, peer: &VerifyingKey) -> Duration {
        let slow = self.slow.lock();
        slow.get(peer).copied().unwrap_or(self.usual)
    }

    /// A connection with a peer has measured its round trip.
    pub(crate) fn measured(&self, peer: VerifyingKey, round_trip: Duration) {
        let mut slow = self.slow.lock();
        if round_trip <= self.usual {
            slow.remove(&peer);
            return;
        }
        if slow.len() >= limits::SLOW_PATHS_REMEMBERED_MAX && !slow.contains_key(&peer) {
            slow.clear();
        }
        slow.insert(peer, round_trip);
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn key(seed: u64) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        SigningKey::from_bytes(&bytes).verifying_key()
    }

    #[test]
    fn the_next_dial_expects_the_measured_slow_path() {
        let usual = limits::FIRST_ROUND_TRIP;
        let paths = Paths::new(usual);
        assert_eq!(paths.expected(&key(1)), usual);
        paths.measured(key(1), usual * 6);
        paths.measured(key(2), usual / 9);
        assert_eq!(paths.expected(&key(1)), usual * 6);
        assert_eq!(paths.expected(&key(2)), usual);
        paths.measured(key(1), usual / 2);
        assert_eq!(paths.expected(&key(1)), usual);
    }

    #[test]
    fn what_is_remembered_of_slow_paths_is_bounded() {
        let paths = Paths::new(limits::FIRST_ROUND_TRIP);
        for seed in 0..limits::SLOW_PATHS_REMEMBERED_MAX as u64 + 1 {
            paths.measured(key(seed), Duration::from_secs(2));
        }
        assert!(paths.slow.lock().len() <= limits::SLOW_PATHS_REMEMBERED_MAX);
    }
}
