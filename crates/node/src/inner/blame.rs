//! Peers that bring invalid operations are slowed (`docs/protocol/sync.md#5`).
//!
//! To find out that a signature is wrong costs as much as to find out that it is right, and an
//! identity costs nothing. So a peer that is not known yet is trusted with few operations at once,
//! one that brought many invalid ones with few per second, and all those together with not many
//! more.

use std::collections::HashMap;
use std::time::Duration;

use p2panda_core::VerifyingKey;
use p2panda_core::limits::{
    BLAMED_PEERS_MAX, CHECKED_AT_ONCE_BLAMED, CHECKED_AT_ONCE_FIRST, CHECKED_AT_ONCE_MAX,
    INVALID_AT_ONCE_MAX, INVALID_BYTES, INVALID_PER_SECOND, INVALID_SHARED_PER_SECOND,
    SLOWED_WAIT_MAX,
};
use p2panda_engine::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Recent invalid operations of peers.
#[derive(Debug, Default)]
pub(crate) struct Blame(Mutex<Peers>);

#[derive(Debug, Default)]
struct Peers {
    by_key: HashMap<VerifyingKey, Peer>,
    /// Shared by all peers that were to blame already.
    shared: Bucket,
    /// Number of remembered peers at which those that can be are forgotten.
    forget_at: usize,
}

#[derive(Debug)]
struct Peer {
    invalid: Bucket,
    chunk: usize,
    /// It brought too much, and nothing without fault since.
    slowed: bool,
}

/// Fills by what comes and drains with time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    level: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn drain(&mut self, per_second: usize, now: Instant) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.at = Some(now);
        self.level = (self.level - passed.as_secs_f64() * per_second as f64).max(0.0);
        self.level
    }

    /// Returns the time until it is down to `free`.
    fn wait(&mut self, free: usize, per_second: usize, now: Instant) -> Duration {
        let above = self.drain(per_second, now) - free as f64;
        Duration::from_secs_f64((above / per_second as f64).max(0.0)).min(SLOWED_WAIT_MAX)
    }
}

impl Peer {
    fn wait(&mut self, now: Instant) -> Duration {
        self.invalid
            .wait(INVALID_AT_ONCE_MAX, INVALID_PER_SECOND, now)
    }
}

impl Blame {
    /// Returns the number of operations of this peer to check next, and the wait before that.
    pub(crate) fn next(&self, peer: &VerifyingKey, now: Instant) -> (usize, Duration) {
        let mut peers = self.0.lock();
        let Some(one) = peers.by_key.get_mut(peer) else {
            return (CHECKED_AT_ONCE_FIRST, Duration::ZERO);
        };
        let (chunk, own) = (one.chunk, one.wait(now));
        if !one.slowed {
            return (chunk, own);
        }
        let shared = INVALID_SHARED_PER_SECOND;
        (chunk, own.max(peers.shared.wait(shared, shared, now)))
    }

    /// Counts the results of checking a few operations, with the bytes of each.
    pub(crate) fn checked(
        &self,
        peer: VerifyingKey,
        found: &[Incoming],
        bytes: &[usize],
        now: Instant,
    ) {
        let invalid = |(one, bytes): (&Incoming, &usize)| match one {
            Incoming::Invalid { .. } => 1 + bytes / INVALID_BYTES,
            Incoming::Valid(_) => 0,
        };
        let invalid: usize = found.iter().zip(bytes).map(invalid).sum();
        let mut peers = self.0.lock();
        peers.forget(now);
        let one = peers.by_key.entry(peer).or_insert_with(|| Peer {
            invalid: Bucket::default(),
            chunk: CHECKED_AT_ONCE_FIRST,
            slowed: false,
        });
        if invalid == 0 {
            one.slowed = false;
            one.chunk = (2 * one.chunk).min(CHECKED_AT_ONCE_MAX);
            return;
        }
        one.chunk = CHECKED_AT_ONCE_BLAMED;
        let was_slowed = one.slowed;
        one.invalid.drain(INVALID_PER_SECOND, now);
        let full =
            INVALID_AT_ONCE_MAX as f64 + SLOWED_WAIT_MAX.as_secs_f64() * INVALID_PER_SECOND as f64;
        one.invalid.level = (one.invalid.level + invalid as f64).min(full);
        one.slowed |= one.invalid.level > INVALID_AT_ONCE_MAX as f64;
        if was_slowed {
            peers.shared.drain(INVALID_SHARED_PER_SECOND, now);
            peers.shared.level += invalid as f64;
        }
    }
}

impl Peers {
    fn forget(&mut self, now: Instant) {
        if self.by_key.len() < self.forget_at.max(BLAMED_PEERS_MAX) {
            return;
        }
        self.by_key
            .retain(|_, peer| peer.invalid.drain(INVALID_PER_SECOND, now) > 0.0);
        // Not again for every peer that is added.
        self.forget_at = 2 * self.by_key.len();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use p2panda_core::{Hash, SigningKey};
    use p2panda_store::RejectReason;

    use super::*;

    fn key(number: u32) -> VerifyingKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        VerifyingKey::from_bytes_unchecked(key)
    }

    fn invalid(count: usize) -> Vec<Incoming> {
        let one = Incoming::Invalid {
            id: Hash::digest(b""),
            header: Bytes::new(),
            reason: RejectReason::InvalidSignature,
            genuine: None,
        };
        vec![one; count]
    }

    fn small(count: usize) -> Vec<usize> {
        vec![200; count]
    }

    fn valid(count: usize) -> Vec<Incoming> {
        let draft = p2panda_core::Draft {
            seq: 0,
            backlink: None,
            body: None,
            extensions: None,
        };
        let key = SigningKey::from_bytes(&[1; 32]);
        let operation = p2panda_core::Operation::create(&key, draft).unwrap();
        vec![Incoming::Valid(operation); count]
    }

    #[test]
    fn a_peer_without_fault_never_waits() {
        let (blame, now) = (Blame::default(), Instant::now());
        let mut checked = 0;
        while blame.next(&key(1), now).0 < CHECKED_AT_ONCE_MAX {
            let (chunk, wait) = blame.next(&key(1), now);
            assert_eq!(wait, Duration::ZERO);
            blame.checked(key(1), &valid(chunk), &small(chunk), now);
            checked += chunk;
        }
        assert!(checked <= CHECKED_AT_ONCE_MAX);
    }

    #[test]
    fn a_hundred_invalid_operations_are_free() {
        let (blame, start) = (Blame::default(), Instant::now());
        blame.checked(key(1), &invalid(100), &small(100), start);
        assert_eq!(
            blame.next(&key(1), start),
            (CHECKED_AT_ONCE_BLAMED, Duration::ZERO)
        );
        blame.checked(key(1), &invalid(1), &small(1), start);
        assert_eq!(blame.next(&key(1), start).1, Duration::from_millis(100));
        // No matter what comes, over a long time it is ten per second.
        let (mut now, mut taken) = (start, 101);
        while now < start + Duration::from_secs(600) {
            let (chunk, wait) = blame.next(&key(1), now);
            now += wait;
            blame.checked(key(1), &invalid(chunk), &small(chunk), now);
            taken += chunk;
        }
        assert!(taken <= 6_000 + 200, "{taken} in ten minutes");
        assert_eq!(
            blame.next(&key(2), now),
            (CHECKED_AT_ONCE_FIRST, Duration::ZERO)
        );
        // It is forgiven.
        let later = now + Duration::from_secs(100);
        assert_eq!(blame.next(&key(1), later).1, Duration::ZERO);
    }

    #[test]
    fn large_invalid_operations_count_by_their_bytes() {
        let (blame, now) = (Blame::default(), Instant::now());
        // 17 each.
        blame.checked(key(1), &invalid(5), &[1024 * 1024; 5], now);
        assert_eq!(blame.next(&key(1), now).1, Duration::ZERO);
        blame.checked(key(1), &invalid(1), &[1024 * 1024], now);
        assert_eq!(blame.next(&key(1), now).1, Duration::from_millis(200));
        // Large valid ones do not.
        blame.checked(key(2), &valid(64), &[1024 * 1024; 64], now);
        assert_eq!(blame.next(&key(2), now).1, Duration::ZERO);
    }

    #[test]
    fn no_peer_waits_longer_than_a_minute() {
        let (blame, now) = (Blame::default(), Instant::now());
        for _ in 0..100 {
            blame.checked(key(1), &invalid(1_000), &small(1_000), now);
        }
        assert_eq!(blame.next(&key(1), now).1, SLOWED_WAIT_MAX);
    }

    #[test]
    fn many_peers_to_blame_share_one_rate() {
        let (blame, start) = (Blame::default(), Instant::now());
        let count = 1_000;
        let mut due: Vec<Instant> = vec![start; count];
        let mut taken = 0;
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            for (number, due) in due.iter_mut().enumerate() {
                if now < *due {
                    continue;
                }
                let key = key(number as u32);
                let (chunk, wait) = blame.next(&key, now);
                *due = now + wait;
                if wait.is_zero() {
                    blame.checked(key, &invalid(chunk), &small(chunk), now);
                    taken += chunk;
                }
            }
        }
        // What is free for each, and the rate that all share; by itself each would get ten per
        // second.
        let free =
            count * (INVALID_AT_ONCE_MAX + CHECKED_AT_ONCE_FIRST + 2 * CHECKED_AT_ONCE_BLAMED);
        let bound = free + 200 * INVALID_SHARED_PER_SECOND;
        assert!(taken <= bound, "{taken}");
        assert!(bound < count * 200 * INVALID_PER_SECOND / 3);
        assert_eq!(
            blame.next(&key(5_000), start),
            (CHECKED_AT_ONCE_FIRST, Duration::ZERO)
        );
    }

    #[test]
    fn peers_without_blame_are_forgotten() {
        let (blame, start) = (Blame::default(), Instant::now());
        blame.checked(key(0), &invalid(500), &small(500), start);
        for number in 1..3 * BLAMED_PEERS_MAX as u32 {
            blame.checked(key(number), &valid(1), &small(1), start);
            let known = blame.0.lock().by_key.len();
            assert!(known <= BLAMED_PEERS_MAX + 1);
        }
        assert!(!blame.next(&key(0), start).1.is_zero());
    }
}
