//! Limit of the new logs that a peer may bring at a time (`docs/protocol/sync.md#10`). Anyone who
//! brings more is slowed: its batches wait, and with them the stream they come from.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2panda_core::limits::{
    BUDGET_BYTES_DEFAULT, HEAD_BYTES, HEADS_BUDGET_PART, HEADS_PEER_PART, HEADS_PEERS_MAX,
    NEW_LOGS_BUCKETS_SPARE, NEW_LOGS_FREE, NEW_LOGS_FREE_PER_SECOND, NEW_LOGS_MAX,
    NEW_LOGS_OF_ALL_MAX, NEW_LOGS_OF_ALL_PER_SECOND, NEW_LOGS_PER_SECOND,
};
use p2panda_core::{Received, Topic, VerifyingKey};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::inner::held_heads::HeldHeads;

/// New logs that untrusted peers have brought to each topic recently. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NewLogs {
    of_each: Rate,
    free: Rate,
    of_all: Rate,
    budget_bytes: usize,
    /// In memory, no matter who brought them.
    heads: HeldHeads,
    buckets: Arc<Mutex<Buckets>>,
    /// Some of what was counted was there already: others may continue.
    given_back: Arc<Notify>,
}

#[derive(Default)]
struct Buckets {
    /// One for all sessions of a peer, the next ones included.
    peers: HashMap<(Topic, VerifyingKey), OfPeer>,
    topics: HashMap<Topic, Bucket>,
    /// Number of logs that each has brought since the node started. Of too many, those with most
    /// are kept.
    brought: HashMap<VerifyingKey, u32>,
    /// Number of buckets at which the next search for full ones is due.
    until: usize,
}

/// Size of a burst, and the time that each of it takes to come back.
#[derive(Clone, Copy)]
struct Rate {
    at_once: u32,
    each: Duration,
}

/// Not full before this time.
#[derive(Clone, Copy)]
struct Bucket(Instant);

/// New logs that one peer has brought to a topic.
#[derive(Clone, Copy)]
struct OfPeer {
    all: Bucket,
    /// Of the logs that do not count among those of all peers.
    free: Bucket,
}

/// New logs that were counted before it was known how many of them there are.
pub(crate) struct Counted {
    topic: Topic,
    peer: VerifyingKey,
    logs: u32,
    among_all: bool,
}

impl Default for NewLogs {
    fn default() -> Self {
        let rate = (NEW_LOGS_MAX, NEW_LOGS_PER_SECOND);
        Self::new(rate, BUDGET_BYTES_DEFAULT, HeldHeads::default())
    }
}

impl NewLogs {
    pub(crate) fn new(
        (at_once, per_second): (u32, u32),
        budget_bytes: usize,
        heads: HeldHeads,
    ) -> Self {
        Self {
            of_each: Rate::new(at_once, per_second),
            free: Rate::new(NEW_LOGS_FREE, NEW_LOGS_FREE_PER_SECOND),
            // All together bring as many as one of them may at least.
            of_all: Rate::new(
                NEW_LOGS_OF_ALL_MAX.max(at_once),
                NEW_LOGS_OF_ALL_PER_SECOND.max(per_second),
            ),
            budget_bytes,
            heads,
            buckets: Arc::default(),
            given_back: Arc::default(),
        }
    }

    /// Waits until a batch may be taken, and counts the operations in it that may begin a log.
    /// One without any never waits.
    pub(crate) async fn wait(
        &self,
        topic: Topic,
        peer: VerifyingKey,
        operations: &[Received],
    ) -> Option<Counted> {
        match beginnings(operations) {
            0 => None,
            logs => Some(self.wait_for(topic, peer, logs).await),
        }
    }

    async fn wait_for(&self, topic: Topic, peer: VerifyingKey, logs: u32) -> Counted {
        loop {
            // From now on, so that nothing is missed that is given back meanwhile.
            let given_back = self.given_back.notified();
            match self.count(topic, peer, logs) {
                Ok(counted) => return counted,
                Err(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    () = given_back => {}
                },
            }
        }
    }

    /// This many of them were new.
    pub(crate) fn settle(&self, counted: &Counted, new: usize) {
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        let Counted {
            topic,
            peer,
            logs,
            among_all,
        } = *counted;
        let mut buckets = self.lock();
        buckets.bring(peer, logs, new);
        if let Some(of_peer) = buckets.peers.get_mut(&(topic, peer)) {
            of_peer.all.change(self.of_each, logs, new);
            if !among_all {
                of_peer.free.change(self.free, logs, new);
            }
        }
        if among_all && let Some(bucket) = buckets.topics.get_mut(&topic) {
            bucket.change(self.of_all, logs, new);
        }
        drop(buckets);
        if new < logs {
            self.given_back.notify_waiters();
        }
    }

    /// Counts them, or says how long that has to wait.
    fn count(&self, topic: Topic, peer: VerifyingKey, logs: u32) -> Result<Counted, Duration> {
        let now = Instant::now();
        let mut buckets = self.lock();
        buckets.forget_full(now);
        let of_peer = buckets.peers.get(&(topic, peer)).copied();
        let mut of_peer = of_peer.unwrap_or(OfPeer::new(now));
        // A peer that brings few is not slowed by those that bring many.
        let is_used_up = self.is_used_up(&buckets, &peer);
        let among_all = !is_used_up && !of_peer.free.has(self.free, logs, now);
        let of_all = buckets.topics.get(&topic).filter(|_| among_all);
        let of_all = of_all.copied().unwrap_or(Bucket(now));
        let wait = match is_used_up {
            true => of_peer.free.wait(self.free, now),
            false => of_peer.all.wait(self.of_each, now),
        };
        let wait = wait.max(of_all.wait(self.of_all, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        of_peer.all = of_peer.all.take(self.of_each, logs, now);
        if among_all {
            let taken = of_all.take(self.of_all, logs, now);
            buckets.topics.insert(topic, taken);
        } else {
            of_peer.free = of_peer.free.take(self.free, logs, now);
        }
        buckets.peers.insert((topic, peer), of_peer);
        buckets.bring(peer, 0, logs);
        Ok(Counted {
            topic,
            peer,
            logs,
            among_all,
        })
    }

    /// Returns `true` if heads in memory leave no room for more than a few of a peer: those that
    /// it has brought, or all of them.
    fn is_used_up(&self, buckets: &Buckets, peer: &VerifyingKey) -> bool {
        let brought = buckets.brought.get(peer).copied().unwrap_or(0);
        let of_peer = (brought as usize).saturating_mul(HEAD_BYTES);
        of_peer > self.budget_bytes / HEADS_PEER_PART
            || self.heads.bytes() > self.budget_bytes / HEADS_BUDGET_PART
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock()
    }
}

/// Operations of a batch that may begin a log here.
fn beginnings(operations: &[Received]) -> u32 {
    let begins = |received: &&Received| match received {
        Received::Operation { header, .. } => {
            header.seq() == 0 || header.node_extensions().is_ok_and(|found| found.prune)
        }
        _ => false,
    };
    let count = operations.iter().filter(begins).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Buckets {
    fn forget_full(&mut self, now: Instant) {
        if self.peers.len() + self.topics.len() > self.until {
            self.peers.retain(|_, of_peer| !of_peer.is_full(now));
            self.topics.retain(|_, bucket| !bucket.is_full(now));
            self.until = 2 * (self.peers.len() + self.topics.len()) + NEW_LOGS_BUCKETS_SPARE;
        }
    }
}

impl Buckets {
    /// A peer brings this many logs instead of as many as were counted.
    fn bring(&mut self, peer: VerifyingKey, counted: u32, new: u32) {
        let brought = self.brought.entry(peer).or_default();
        *brought = brought.saturating_sub(counted).saturating_add(new);
        if self.brought.len() > HEADS_PEERS_MAX {
            let least = self.brought.iter().min_by_key(|(_, brought)| **brought);
            if let Some(least) = least.map(|(peer, _)| *peer) {
                self.brought.remove(&least);
            }
        }
    }
}

impl OfPeer {
    fn new(now: Instant) -> Self {
        let (all, free) = (Bucket(now), Bucket(now));
        Self { all, free }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.all.is_full(now) && self.free.is_full(now)
    }
}

impl Rate {
    fn new(at_once: u32, per_second: u32) -> Self {
        Self {
            at_once,
            each: Duration::from_secs(1) / per_second.max(1),
        }
    }
}

impl Bucket {
    fn take(self, rate: Rate, logs: u32, now: Instant) -> Self {
        Self(self.0.max(now) + rate.each * logs)
    }

    fn change(&mut self, rate: Rate, counted: u32, new: u32) {
        let before = self.0.checked_sub(rate.each * counted).unwrap_or(self.0);
        self.0 = before + rate.each * new;
    }

    /// Returns the time for which it is still overdrawn.
    fn wait(self, rate: Rate, now: Instant) -> Duration {
        let behind = self.0.saturating_duration_since(now);
        behind.saturating_sub(rate.each * rate.at_once)
    }

    /// Returns `true` if there is room for all of these.
    fn has(self, rate: Rate, logs: u32, now: Instant) -> bool {
        let behind = self.take(rate, logs, now).0;
        behind.saturating_duration_since(now) <= rate.each * rate.at_once
    }

    fn is_full(self, now: Instant) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_core::SigningKey;

    use super::*;

    const TOPIC: Topic = Topic::from_bytes([1; 32]);

    fn peer(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    /// Seconds that it takes one peer to bring this many in batches of 100 that are all new.
    async fn seconds(new_logs: &NewLogs, peer: VerifyingKey, logs: u32) -> u64 {
        let start = Instant::now();
        for _ in 0..logs / 100 {
            let counted = new_logs.wait_for(TOPIC, peer, 100).await;
            new_logs.settle(&counted, 100);
        }
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_brings_ten_thousand_logs_then_five_hundred_a_second() {
        let new_logs = NewLogs::default();
        assert_eq!(seconds(&new_logs, peer(1), 10_000).await, 0);
        let more = seconds(&new_logs, peer(1), 5_000).await;
        assert!((9..=10).contains(&more), "{more} s");
        // Another one that brings few, and another topic, are not slowed by it.
        assert_eq!(seconds(&new_logs, peer(2), NEW_LOGS_FREE).await, 0);
        let other = Topic::from_bytes([2; 32]);
        assert!(new_logs.count(other, peer(1), 10_000).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn parallel_sessions_share_what_their_peer_may_bring() {
        let new_logs = NewLogs::default();
        let admitted = (0..64).filter(|_| new_logs.count(TOPIC, peer(1), 5_000).is_ok());
        assert_eq!(admitted.count(), 3);
    }

    /// Returns how many logs 64 peers bring in this many seconds, in batches of this size.
    async fn brought(new_logs: &NewLogs, seconds: u32, batch: u32) -> u32 {
        let mut brought = 0;
        for _ in 0..seconds * 5 {
            for seed in 0..64 {
                while let Ok(counted) = new_logs.count(TOPIC, peer(seed), batch) {
                    new_logs.settle(&counted, batch as usize);
                    brought += batch;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        brought
    }

    #[tokio::test(start_paused = true)]
    async fn many_identities_share_a_rate() {
        for batch in [500, 100, 10] {
            let new_logs = NewLogs::default();
            let brought = brought(&new_logs, 60, batch).await;
            let free = 64 * (NEW_LOGS_FREE + 60 * NEW_LOGS_FREE_PER_SECOND);
            let most = NEW_LOGS_OF_ALL_MAX + 61 * NEW_LOGS_OF_ALL_PER_SECOND;
            assert!(brought <= most + free, "{brought} logs by {batch}");
            assert!(brought >= most / 2, "{brought} logs by {batch}");
            let honest = new_logs.count(TOPIC, peer(100), NEW_LOGS_FREE);
            assert!(honest.is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_peer_with_known_logs_goes_on() {
        let new_logs = NewLogs::default();
        let first = new_logs.wait_for(TOPIC, peer(1), NEW_LOGS_OF_ALL_MAX).await;
        new_logs.settle(&first, NEW_LOGS_OF_ALL_MAX as usize);
        let start = Instant::now();
        let same = new_logs.wait_for(TOPIC, peer(2), 5_000).await;
        let more = tokio::spawn({
            let new_logs = new_logs.clone();
            async move { new_logs.wait_for(TOPIC, peer(3), 5_000).await }
        });
        tokio::task::yield_now().await;
        assert!(!more.is_finished());
        new_logs.settle(&same, 0);
        assert!(more.await.is_ok());
        assert_eq!(start.elapsed().as_secs(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn logs_that_are_stored_already_cost_nothing() {
        let new_logs = NewLogs::default();
        for _ in 0..100 {
            let counted = new_logs.count(TOPIC, peer(1), 5_000).unwrap_or_else(|_| {
                unreachable!("nothing of it was new");
            });
            new_logs.settle(&counted, 0);
        }
    }

    /// A budget of which one peer may take the heads of 1 000 logs, and all may take 8 000.
    fn small(heads: &HeldHeads) -> NewLogs {
        let bytes = HEADS_PEER_PART * 1_000 * HEAD_BYTES;
        NewLogs::new((NEW_LOGS_MAX, NEW_LOGS_PER_SECOND), bytes, heads.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn heads_of_a_peer_take_a_part_of_the_budget() {
        let new_logs = small(&HeldHeads::default());
        assert_eq!(seconds(&new_logs, peer(1), 1_100).await, 0);
        let more = seconds(&new_logs, peer(1), 1_000).await;
        assert!((700..=1_000).contains(&more), "{more} s");
        // It is the peer that counts, not the topic, and no other peer is slowed.
        let other = Topic::from_bytes([2; 32]);
        let begun = Instant::now();
        for _ in 0..4 {
            let counted = new_logs.wait_for(other, peer(1), 100).await;
            new_logs.settle(&counted, 100);
        }
        assert!(begun.elapsed() >= Duration::from_secs(100));
        assert_eq!(seconds(&new_logs, peer(2), 1_000).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn held_heads_count_in_sum_until_their_topic_is_left() {
        let heads = HeldHeads::default();
        let new_logs = small(&heads);
        let (one, other) = (heads.of_topic(), heads.of_topic());
        one.set(5_000);
        other.set(2_000);
        assert_eq!(seconds(&new_logs, peer(1), 500).await, 0);
        other.set(4_000);
        // Who brings few is not slowed.
        assert!(new_logs.count(TOPIC, peer(3), NEW_LOGS_FREE).is_ok());
        let more = seconds(&new_logs, peer(2), 500).await;
        assert!((200..=500).contains(&more), "{more} s");
        drop(one);
        assert_eq!(seconds(&new_logs, peer(4), 500).await, 0);
        drop(other);
        assert_eq!(heads.bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_peers_that_brought_most_are_remembered() {
        let new_logs = small(&HeldHeads::default());
        assert_eq!(seconds(&new_logs, peer(1), 1_100).await, 0);
        for number in 0..2 * HEADS_PEERS_MAX as u64 {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let stranger = VerifyingKey::from_bytes_unchecked(bytes);
            let topic = Topic::from_bytes(bytes);
            let counted = new_logs.count(topic, stranger, 1);
            new_logs.settle(&counted.unwrap_or_else(|_| unreachable!("few")), 1);
        }
        let buckets = new_logs.lock();
        assert_eq!(buckets.brought.len(), HEADS_PEERS_MAX);
        assert!(new_logs.is_used_up(&buckets, &peer(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten() {
        let new_logs = NewLogs::default();
        for seed in 0..200_u8 {
            for topic in 0..50 {
                let topic = Topic::from_bytes([topic; 32]);
                let counted = new_logs.count(topic, peer(seed), 1);
                assert!(counted.is_ok());
            }
            sleep(Duration::from_secs(1)).await;
        }
        assert!(new_logs.lock().peers.len() < 2_000);
    }
}
