//! Drops repeats of ephemeral messages.

use std::collections::{BTreeSet, VecDeque};

use p2panda_core::{HybridTimestamp, VerifyingKey, limits};

use crate::time::Time;

/// Recognises messages of one overlay that come again within
/// [`limits::GOSSIP_REPEAT_WINDOW`] (docs/protocol/network.md#6).
///
/// A message is known by author and timestamp. There is no rule that timestamps must grow: what
/// is late and new is delivered. Remembers at most [`limits::GOSSIP_REPEATS_MAX`] messages and
/// forgets the oldest first.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: BTreeSet<(VerifyingKey, HybridTimestamp)>,
    by_age: VecDeque<(Time, (VerifyingKey, HybridTimestamp))>,
}

impl Repeats {
    /// Nothing seen yet.
    pub fn new() -> Repeats {
        Repeats::default()
    }

    /// Remembers a message whose signature was verified; false when it is a repeat.
    pub fn is_new(&mut self, author: VerifyingKey, at: HybridTimestamp, now: Time) -> bool {
        while let Some((seen, _)) = self.by_age.front() {
            let full = self.by_age.len() >= limits::GOSSIP_REPEATS_MAX;
            if !full && now < *seen + limits::GOSSIP_REPEAT_WINDOW {
                break;
            }
            if let Some((_, message)) = self.by_age.pop_front() {
                self.seen.remove(&message);
            }
        }
        let is_new = self.seen.insert((author, at));
        if is_new {
            self.by_age.push_back((now, (author, at)));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn author(byte: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[byte; 32]).verifying_key()
    }

    #[test]
    fn a_repeat_is_dropped_for_five_minutes() {
        let mut repeats = Repeats::new();
        let at = |micros| HybridTimestamp::new(micros, 0);
        assert!(repeats.is_new(author(1), at(9), Time::ZERO));
        assert!(repeats.is_new(author(2), at(9), Time::ZERO));
        assert!(repeats.is_new(author(1), at(3), Time::ZERO));
        assert!(repeats.is_new(author(1), HybridTimestamp::new(9, 1), Time::ZERO));
        let end = Time::ZERO.after(300_000);
        assert!(!repeats.is_new(author(1), at(9), Time::from_micros(end.as_micros() - 1)));
        assert!(repeats.is_new(author(1), at(9), end));
    }

    #[test]
    fn a_flood_is_forgotten_oldest_first_and_costs_bounded_memory() {
        let mut repeats = Repeats::new();
        let author = author(1);
        for micros in 0..limits::GOSSIP_REPEATS_MAX as u64 {
            assert!(repeats.is_new(author, HybridTimestamp::new(micros, 0), Time::ZERO));
        }
        assert!(!repeats.is_new(author, HybridTimestamp::new(1, 0), Time::ZERO));
        assert!(repeats.is_new(author, HybridTimestamp::new(0, 0), Time::ZERO));
        assert!(repeats.seen.len() <= limits::GOSSIP_REPEATS_MAX);
        assert_eq!(repeats.seen.len(), repeats.by_age.len());
    }
}
