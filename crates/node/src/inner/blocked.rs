//! The blocked logs of a topic, and when a peer that knows heights only is asked for one of them again
//! (`docs/protocol/streams.md#4.9`).

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::limits::{BLOCKED_ASK_FIRST, BLOCKED_ASK_MAX};
use p2panda_core::{Heights, LogId, VerifyingKey};
use p2panda_store::BlockedLog;
use tokio::time::Instant;

/// Blocked logs. In memory only: after a restart the first wait restarts.
#[derive(Debug, Default)]
pub(crate) struct Blocked(BTreeMap<VerifyingKey, Option<Rest>>);

/// Time for which a log is told with the height that was seen of it.
#[derive(Debug)]
struct Rest {
    until: Instant,
    wait: Duration,
}

impl Blocked {
    /// Returns the number of logs.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A log is blocked, or continues.
    pub(crate) fn note(&mut self, author: VerifyingKey, is_blocked: bool) {
        match is_blocked {
            true => drop(self.0.entry(author).or_default()),
            false => drop(self.0.remove(&author)),
        }
    }

    /// Raises the heights of blocked logs to what was seen of them, but for those that are due to be
    /// asked for once more.
    pub(crate) fn raise(
        &mut self,
        heights: &mut Heights,
        log_id: LogId,
        blocked: &[BlockedLog],
        now: Instant,
    ) {
        // Peers that know heights only know no logs with a name.
        for log in blocked.iter().filter(|log| log.label == log.author) {
            let rest = self.0.entry(log.author).or_default();
            let rest = rest.get_or_insert(Rest {
                until: now + BLOCKED_ASK_FIRST,
                wait: BLOCKED_ASK_FIRST,
            });
            if rest.until > now {
                heights.raise(log.author, log_id, log.seen.seq);
            } else {
                rest.wait = (rest.wait * 2).min(BLOCKED_ASK_MAX);
                rest.until = now + rest.wait;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::log::Head;
    use p2panda_core::{Hash, SigningKey, Timestamp, Topic};
    use p2panda_store::RejectReason;

    use super::*;

    #[test]
    fn a_blocked_log_is_asked_for_ever_later_up_to_a_day() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let log_id = Topic::from_bytes([7; 32]).log_id();
        let blocked = [BlockedLog {
            author,
            label: author,
            seq: 3,
            reason: RejectReason::TooLarge,
            bytes: 20,
            seen: Head {
                seq: 9,
                id: Hash::digest(b"head"),
            },
            at: Timestamp::from_micros(0),
        }];
        let mut logs = Blocked::default();
        let begin = Instant::now();
        let mut asked = Vec::new();
        for hours in 0..100 {
            let mut heights = Heights::default();
            heights.raise(author, log_id, 2);
            let now = begin + Duration::from_secs(hours * 3_600);
            logs.raise(&mut heights, log_id, &blocked, now);
            match heights.get(&author, &log_id) {
                Some(2) => asked.push(hours),
                told => assert_eq!(told, Some(9)),
            }
        }
        assert_eq!(asked, [1, 3, 7, 15, 31, 55, 79]);
        assert_eq!(logs.len(), 1);
        logs.note(author, false);
        assert_eq!(logs.len(), 0);
    }
}
