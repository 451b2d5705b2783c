//! The heads of a topic, as they follow what is stored (`docs/protocol/ranges.md#2`).

use alloc::vec::Vec;

use super::Heads;
use crate::log::Head;
use crate::{LogId, Topic, VerifyingKey};

/// Changes of the heads of a topic by a commit, or found in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadsChange {
    /// Logs that grew, by their labels, and their heads now. The last one of a log counts.
    pub raised: Vec<(VerifyingKey, Head)>,
    /// Logs of which there is evidence of a fork, by their labels.
    pub forked: Vec<VerifyingKey>,
    /// Blocked logs, by their labels, and the newest operation that was seen of each; none: it
    /// continues (`docs/protocol/streams.md#4.9`).
    pub blocked: Vec<(VerifyingKey, Option<Head>)>,
    /// Everything of the topic up to this arrival number is in the heads by now; 0: nothing is said.
    pub arrival: u64,
}

/// The heads of a topic, and up to which arrival number everything is in them.
///
/// Heads only rise and forks stay known, so changes may come twice and in any order; a look at the
/// store and the commits next to it make up the whole, whichever is taken first. A blocked log has
/// the head that was seen of it, so that it is not asked for again until it has another one
/// (`docs/protocol/ranges.md 2.7`).
#[derive(Clone, Debug)]
pub struct TopicHeads {
    log: LogId,
    heads: Heads,
    arrival: u64,
}

impl TopicHeads {
    /// Knows nothing of the topic yet.
    pub fn new(topic: &Topic) -> TopicHeads {
        TopicHeads {
            log: topic.log_id(),
            heads: Heads::new(),
            arrival: 0,
        }
    }

    /// Takes a change.
    pub fn follow(&mut self, change: &HeadsChange) {
        let goes_on = |author: &VerifyingKey| {
            let mut ended = change.blocked.iter().filter(|(_, seen)| seen.is_none());
            ended.any(|(blocked, _)| blocked == author)
        };
        for (author, head) in &change.raised {
            match goes_on(author) {
                true => self.heads.replace(*author, self.log, *head),
                false => self.heads.raise(*author, self.log, *head),
            };
        }
        for (author, seen) in &change.blocked {
            if let Some(seen) = seen {
                self.heads.raise(*author, self.log, *seen);
            }
        }
        for author in &change.forked {
            self.heads.set_forked(*author, self.log);
        }
        self.arrival = self.arrival.max(change.arrival);
    }

    /// The heads, to compare with those of a peer.
    pub fn heads(&mut self) -> &mut Heads {
        &mut self.heads
    }

    /// Everything of the topic up to this arrival number is in the heads.
    pub fn arrival(&self) -> u64 {
        self.arrival
    }

    /// Bytes of memory that they take.
    pub fn held_bytes(&self) -> usize {
        size_of::<TopicHeads>() + self.heads.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Hash, SigningKey};

    #[test]
    fn a_blocked_log_has_the_head_that_was_seen_until_it_goes_on() {
        let (topic, author) = (
            Topic::from_bytes([7; 32]),
            SigningKey::from_bytes(&[1; 32]).verifying_key(),
        );
        let head = |seq: u32| Head {
            seq,
            id: Hash::digest(&seq.to_be_bytes()),
        };
        let raised = |seq| HeadsChange {
            raised: vec![(author, head(seq))],
            ..HeadsChange::default()
        };
        let blocked = |seen: Option<u32>| HeadsChange {
            blocked: vec![(author, seen.map(head))],
            ..HeadsChange::default()
        };
        let mut heads = TopicHeads::new(&topic);
        let mut told = |change: HeadsChange| {
            heads.follow(&change);
            let head = heads.heads().get(&author, &topic.log_id());
            head.map(|head| (head.seq, head.id))
        };
        let is = |seq| Some((seq, head(seq).id.into()));
        assert_eq!(told(raised(2)), is(2));
        assert_eq!(told(blocked(Some(9))), is(9));
        // A change of before may come once more.
        assert_eq!(told(raised(2)), is(9));
        let goes_on = HeadsChange {
            raised: vec![(author, head(5))],
            ..blocked(None)
        };
        assert_eq!(told(goes_on), is(5));
    }
}
