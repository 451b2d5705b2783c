//! Lower heights for peers that know heights only, so that they send bodies that have not arrived
//! (`docs/protocol/sync.md#5`).

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::{VerifyingKey, limits};

use crate::time::Time;

/// Logs of the topic that the peer has sent without a body although it was told a lower height.
///
/// Kept in memory only: after a restart the question is asked once more.
#[derive(Debug, Default)]
pub(super) struct Lowered(BTreeMap<VerifyingKey, Rest>);

/// A log that is told with its full height for a while.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Time,
    wait: Duration,
}

impl Lowered {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `true` if the log of this author may be told with a lower height.
    pub(super) fn may_lower(&self, author: &VerifyingKey, now: Time) -> bool {
        self.0.get(author).is_none_or(|rest| rest.until <= now)
    }

    /// The peer sent a header of the log without its body once more.
    pub(super) fn withheld(&mut self, author: VerifyingKey, now: Time) {
        let wait = match self.0.get(&author) {
            Some(rest) => (rest.wait * 2).min(limits::HEIGHT_LOWERED_AGAIN_MAX),
            None => limits::HEIGHT_LOWERED_AGAIN_FIRST,
        };
        if self.0.len() >= limits::HEIGHTS_LOWERED_MAX && !self.0.contains_key(&author) {
            let next = self.0.iter().min_by_key(|(_, rest)| rest.until);
            if let Some(author) = next.map(|(author, _)| *author) {
                self.0.remove(&author);
            }
        }
        let until = now + wait;
        self.0.insert(author, Rest { until, wait });
    }

    /// Forgets the logs that lack no body any more.
    pub(super) fn retain(&mut self, lacks: impl Fn(&VerifyingKey) -> bool) {
        self.0.retain(|author, _| lacks(author));
    }

    /// Returns the time at which a log may be told with a lower height again.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.values().map(|rest| rest.until).min()
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn the_question_returns_ever_later_up_to_a_day() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let mut lowered = Lowered::default();
        let mut now = Time::ZERO;
        let mut hours = Vec::new();
        for _ in 0..7 {
            assert!(lowered.may_lower(&author, now));
            lowered.withheld(author, now);
            let next = lowered.next().unwrap_or(Time::ZERO);
            assert!(!lowered.may_lower(&author, Time::from_micros(next.as_micros() - 1)));
            hours.push(next.ms_since(now) / 3_600_000);
            now = next;
        }
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
    }

    #[test]
    fn logs_beyond_the_limit_make_room_for_the_newest() {
        let key = |number: u32| {
            let mut seed = [3; 32];
            let (first, _) = seed.split_at_mut(4);
            first.copy_from_slice(&number.to_be_bytes());
            SigningKey::from_bytes(&seed).verifying_key()
        };
        let mut lowered = Lowered::default();
        for number in 0..=limits::HEIGHTS_LOWERED_MAX as u32 {
            let now = Time::from_micros(u64::from(number));
            lowered.withheld(key(number), now);
        }
        assert_eq!(lowered.0.len(), limits::HEIGHTS_LOWERED_MAX);
        assert!(lowered.may_lower(&key(0), Time::ZERO));
        assert!(!lowered.may_lower(&key(1), Time::ZERO));
        lowered.retain(|_| false);
        assert!(lowered.is_empty());
    }
}
