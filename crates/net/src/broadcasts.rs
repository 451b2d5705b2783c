//! The broadcasts of each neighbour that the gossip layer keeps (`docs/protocol/network.md#11`).
//!
//! Every message is kept for a while, to hand it to neighbours that miss it. A neighbour is not made
//! to wait: one of 0.7.1 that waits for one peer serves no other. So the messages are charged as they
//! come, what is too much is dropped, and the gossip connections of a neighbour that continues like
//! that are closed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use p2panda_core::budget::{Budget, Charge};
use p2panda_core::{VerifyingKey, limits};

/// The messages of all neighbours, while the layer keeps them.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    budget: Budget,
    peers: HashMap<VerifyingKey, Kept>,
    bytes: usize,
    /// The second up to which all that ended was released.
    second: u64,
}

/// Broadcasts of one neighbour.
#[derive(Debug, Default)]
struct Kept {
    /// By the second in which it came.
    charges: VecDeque<(u64, Charge)>,
    bytes: usize,
    /// Of what it brought, what is more than it may bring in the long run.
    ahead_bytes: usize,
    /// The same of what was dropped.
    dropped_bytes: usize,
    /// Its connections were closed for it, and no other is admitted before all of it is released.
    refused: bool,
}

/// Decision about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be kept and passed on.
    Kept,
    /// There is no room for it.
    Dropped,
    /// There is none, and the neighbour's gossip connections are to be closed.
    Closed,
    /// It may be kept; another neighbour's gossip connections are to be closed for it.
    OtherClosed(VerifyingKey),
}

impl Broadcasts {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            peers: HashMap::new(),
            bytes: 0,
            second: 0,
        }
    }

    /// Charges a message, if there is room for it.
    ///
    /// `now` is the time since any moment that stays the same.
    pub(crate) fn received(
        &mut self,
        from: VerifyingKey,
        payload_bytes: usize,
        now: Duration,
    ) -> Verdict {
        self.release(now);
        let bytes = payload_bytes.saturating_add(limits::GOSSIP_MESSAGE_BYTES);
        let of_each = self.of_each();
        let kept = self.peers.entry(from).or_default();
        if kept.refused {
            return Verdict::Dropped;
        }
        let burst = of_each - of_each / limits::GOSSIP_BURST_PART;
        if kept.ahead_bytes.saturating_add(bytes) > burst {
            kept.dropped_bytes = kept.dropped_bytes.saturating_add(bytes);
            if kept.dropped_bytes <= of_each.saturating_mul(limits::GOSSIP_DROPPED_PART) {
                return Verdict::Dropped;
            }
            kept.refused = true;
            return Verdict::Closed;
        }
        kept.ahead_bytes += bytes;
        match kept.charges.back_mut() {
            Some((second, charge)) if *second == now.as_secs() => charge.grow(bytes),
            _ => {
                let charge = self.budget.charge(&from, bytes);
                kept.charges.push_back((now.as_secs(), charge));
            }
        }
        kept.bytes = kept.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        match self.refuse_one() {
            Some(peer) if peer == from => Verdict::Closed,
            Some(peer) => Verdict::OtherClosed(peer),
            None => Verdict::Kept,
        }
    }

    fn of_each(&self) -> usize {
        self.budget.status().bytes / limits::BUDGET_GOSSIP_PART / limits::BUDGET_PEER_PART
    }

    /// Returns `true` if a neighbour has to wait before it connects to the gossip layer again.
    pub(crate) fn refuses(&mut self, peer: &VerifyingKey, now: Duration) -> bool {
        self.release(now);
        self.peers.get(peer).is_some_and(|kept| kept.refused)
    }

    /// Releases what the layer does not keep any more.
    pub(crate) fn release(&mut self, now: Duration) {
        if now.as_secs() == self.second {
            return;
        }
        let seconds = now.as_secs().saturating_sub(self.second) as usize;
        self.second = now.as_secs();
        // A second more, for what came at the end of the first one.
        let kept_seconds = limits::GOSSIP_CACHE_TIME.as_secs() + 1;
        let again = seconds.saturating_mul(self.of_each() / kept_seconds as usize);
        let mut released: usize = 0;
        self.peers.retain(|_, kept| {
            kept.ahead_bytes = kept.ahead_bytes.saturating_sub(again);
            kept.dropped_bytes = kept.dropped_bytes.saturating_sub(again);
            while let Some((second, charge)) = kept.charges.front()
                && second.saturating_add(kept_seconds) <= now.as_secs()
            {
                released = released.saturating_add(charge.bytes());
                kept.bytes = kept.bytes.saturating_sub(charge.bytes());
                kept.charges.pop_front();
            }
            let remembers = kept.ahead_bytes > 0 || kept.dropped_bytes > 0;
            !kept.charges.is_empty() || (remembers && !kept.refused)
        });
        self.bytes = self.bytes.saturating_sub(released);
    }

    /// The one that brought the most, where all together brought too much.
    fn refuse_one(&mut self) -> Option<VerifyingKey> {
        let status = self.budget.status();
        let of_all = status.bytes / limits::BUDGET_GOSSIP_PART;
        if self.bytes <= of_all && status.used_bytes <= status.bytes {
            return None;
        }
        // Those with little are never closed for what others brought.
        let least = self.of_each() / limits::BUDGET_PEER_PART;
        let open = self.peers.iter_mut().filter(|(_, kept)| !kept.refused);
        let (most, kept) = open.max_by_key(|(_, kept)| kept.bytes)?;
        if kept.bytes <= least {
            return None;
        }
        kept.refused = true;
        Some(*most)
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;
    use p2panda_core::budget::{Prefix, Standing};

    use super::*;

    const MIB: usize = 1024 * 1024;
    const PAYLOAD: usize = 4_000;

    fn peer(number: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[number; 32]).verifying_key()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends for this many seconds; answers who was closed, in order.
    fn send(
        broadcasts: &mut Broadcasts,
        from: u8,
        per_second: usize,
        time: std::ops::Range<u64>,
    ) -> Vec<VerifyingKey> {
        let mut closed = Vec::new();
        for second in time {
            for _ in 0..per_second {
                match broadcasts.received(peer(from), PAYLOAD, seconds(second)) {
                    Verdict::Kept | Verdict::Dropped => {}
                    Verdict::Closed => closed.push(peer(from)),
                    Verdict::OtherClosed(peer) => closed.push(peer),
                }
            }
        }
        closed
    }

    #[test]
    fn of_a_flood_a_part_is_kept_and_it_flows_on_in_the_next_second() {
        let budget = Budget::new(64 * MIB, MIB);
        let account = budget.account(peer(1), Standing::Unproven(Prefix::RELAYED));
        let mut broadcasts = Broadcasts::new(budget.clone());
        assert_eq!(send(&mut broadcasts, 1, 2_000, 0..1), []);
        let each = PAYLOAD + limits::GOSSIP_MESSAGE_BYTES;
        let burst = account.used_bytes();
        assert!(burst <= 3 * MIB && burst > 3 * MIB - each);
        assert_eq!(send(&mut broadcasts, 1, 75, 1..2), []);
        assert_eq!(account.used_bytes(), burst + 75 * each);
        assert_eq!(send(&mut broadcasts, 1, 75, 2..100), []);
        assert!(account.used_bytes() >= 10 * 75 * each);
    }

    #[test]
    fn an_endless_flooder_is_closed_once_and_released() {
        let budget = Budget::new(64 * MIB, MIB);
        let account = budget.account(peer(1), Standing::Unproven(Prefix::RELAYED));
        let mut broadcasts = Broadcasts::new(budget.clone());
        let closed = send(&mut broadcasts, 1, 1_000, 0..9);
        assert_eq!(closed, [peer(1)]);
        assert!(account.used_bytes() <= 7 * MIB);
        assert!(broadcasts.refuses(&peer(1), seconds(9)));
        assert!(!broadcasts.refuses(&peer(1), seconds(20)));
        assert_eq!(account.used_bytes(), 0);
        assert_eq!(send(&mut broadcasts, 1, 75, 20..120), []);
    }

    #[test]
    fn a_heavy_sender_is_closed_when_others_use_up_the_budget() {
        let budget = Budget::new(64 * MIB, MIB);
        let account = |number| budget.account(peer(number), Standing::Unproven(Prefix::RELAYED));
        let (_one, _two, other) = (account(1), account(2), account(3));
        let mut broadcasts = Broadcasts::new(budget.clone());
        assert_eq!(send(&mut broadcasts, 1, 200, 0..1), []);
        let _held = other.charge(64 * MIB);
        let closed = send(&mut broadcasts, 2, 50, 0..1);
        assert_eq!(closed, [peer(1)]);
    }

    #[test]
    fn many_light_neighbours_stay_below_the_sum() {
        let budget = Budget::new(64 * MIB, MIB);
        let mut broadcasts = Broadcasts::new(budget.clone());
        let mut closed = Vec::new();
        for second in 0..8 {
            for number in 1..=64 {
                if !broadcasts.refuses(&peer(number), seconds(second)) {
                    closed.extend(send(&mut broadcasts, number, 100, second..second + 1));
                }
            }
            closed.extend(send(&mut broadcasts, 100, 10, second..second + 1));
        }
        assert!(broadcasts.bytes < 64 * MIB, "{}", broadcasts.bytes);
        assert!(!closed.contains(&peer(100)));
    }
}
