//! What the gossip layer keeps of what each neighbour broadcast (`docs/protocol/network.md#11`).
//!
//! The layer caches every message for a while, to hand it to neighbours that miss it, and reads its
//! streams by itself: nobody can make a neighbour wait without stopping the neighbour's own gossip
//! layer. So the messages are charged as they come out of the layer, and who brought too much is
//! closed.

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

/// What one neighbour brought.
#[derive(Debug, Default)]
struct Kept {
    /// By the second in which it came.
    charges: VecDeque<(u64, Charge)>,
    bytes: usize,
    /// Its connections were closed for it, and no other is let in before all of it is released.
    refused: bool,
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

    /// Charges a message. Answers whose gossip connections are to be closed because of it.
    ///
    /// `now` is the time since any moment that stays the same.
    pub(crate) fn received(
        &mut self,
        from: VerifyingKey,
        payload_bytes: usize,
        now: Duration,
    ) -> Option<VerifyingKey> {
        self.release(now);
        let bytes = payload_bytes.saturating_add(limits::GOSSIP_MESSAGE_BYTES);
        let kept = self.peers.entry(from).or_default();
        match kept.charges.back_mut() {
            Some((second, charge)) if *second == now.as_secs() => charge.grow(bytes),
            _ => {
                let charge = self.budget.charge(&from, bytes);
                kept.charges.push_back((now.as_secs(), charge));
            }
        }
        kept.bytes = kept.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        self.refuse_one(from)
    }

    /// Whether a neighbour has to wait before it connects to the gossip layer again.
    pub(crate) fn refuses(&mut self, peer: &VerifyingKey, now: Duration) -> bool {
        self.release(now);
        self.peers.get(peer).is_some_and(|kept| kept.refused)
    }

    /// Releases what the layer does not keep any more.
    pub(crate) fn release(&mut self, now: Duration) {
        if now.as_secs() == self.second {
            return;
        }
        self.second = now.as_secs();
        // A second more, for what came at the end of the first one.
        let kept_seconds = limits::GOSSIP_CACHE_TIME.as_secs() + 1;
        let mut released: usize = 0;
        self.peers.retain(|_, kept| {
            while let Some((second, charge)) = kept.charges.front()
                && second.saturating_add(kept_seconds) <= now.as_secs()
            {
                released = released.saturating_add(charge.bytes());
                kept.bytes = kept.bytes.saturating_sub(charge.bytes());
                kept.charges.pop_front();
            }
            !kept.charges.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(released);
    }

    /// Who brought more than a neighbour may, or the most where all together brought too much.
    fn refuse_one(&mut self, from: VerifyingKey) -> Option<VerifyingKey> {
        let status = self.budget.status();
        let of_all = status.bytes / limits::BUDGET_GOSSIP_PART;
        let of_each = of_all / limits::BUDGET_PEER_PART;
        let all_is_full = self.bytes > of_all || status.used_bytes > status.bytes;
        let kept = self.peers.get(&from)?;
        let peer = if kept.bytes > of_each {
            from
        } else if all_is_full {
            // Those with little are never closed for what others brought.
            let least = of_each / limits::BUDGET_PEER_PART;
            let open = self.peers.iter().filter(|(_, kept)| !kept.refused);
            let (most, kept) = open.max_by_key(|(_, kept)| kept.bytes)?;
            (kept.bytes > least).then_some(*most)?
        } else {
            return None;
        };
        let kept = self.peers.get_mut(&peer)?;
        let closes = !kept.refused;
        kept.refused = true;
        closes.then_some(peer)
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

    /// Sends for so many seconds; answers who was closed, in order.
    fn send(
        broadcasts: &mut Broadcasts,
        from: u8,
        per_second: usize,
        time: std::ops::Range<u64>,
    ) -> Vec<VerifyingKey> {
        let mut closed = Vec::new();
        for second in time {
            for _ in 0..per_second {
                closed.extend(broadcasts.received(peer(from), PAYLOAD, seconds(second)));
            }
        }
        closed
    }

    #[test]
    fn a_neighbour_over_half_a_share_is_closed_once_and_comes_back_when_it_is_released() {
        let budget = Budget::new(64 * MIB, MIB);
        let account = budget.account(peer(1), Standing::Unproven(Prefix::RELAYED));
        let mut broadcasts = Broadcasts::new(budget.clone());
        let closed = send(&mut broadcasts, 1, 1_000, 0..2);
        assert_eq!(closed, [peer(1)]);
        assert!(broadcasts.refuses(&peer(1), seconds(9)));
        assert_eq!(
            account.used_bytes(),
            2_000 * (PAYLOAD + limits::GOSSIP_MESSAGE_BYTES)
        );
        assert!(broadcasts.refuses(&peer(1), seconds(11)));
        assert!(!broadcasts.refuses(&peer(1), seconds(12)));
        assert_eq!(account.used_bytes(), 0);
        assert_eq!(send(&mut broadcasts, 1, 75, 12..100), []);
    }

    #[test]
    fn who_brought_much_is_closed_when_the_budget_is_used_up_by_something_else() {
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
    fn many_neighbours_stay_below_the_sum_and_who_brought_little_is_not_closed_for_them() {
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
