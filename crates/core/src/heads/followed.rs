//! The heads of a topic, as they follow what is stored (`docs/protocol/ranges.md#2`).

use alloc::vec::Vec;

use super::Heads;
use crate::log::Head;
use crate::{LogId, Topic, VerifyingKey};

/// What a commit changed in the heads of a topic, or what a look at the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadsChange {
    /// Whose logs grew, and their heads now. The last one of an author counts.
    pub raised: Vec<(VerifyingKey, Head)>,
    /// Of whose logs there is evidence of a fork.
    pub forked: Vec<VerifyingKey>,
    /// Everything of the topic up to this arrival number is in the heads by now; 0: nothing is said.
    pub arrival: u64,
}

/// The heads of a topic, and up to which arrival number everything is in them.
///
/// Heads only rise and forks stay known, so changes may come twice and in any order; a look at the
/// store and the commits beside it make up the whole, whichever is taken first.
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
        for (author, head) in &change.raised {
            self.heads.raise(*author, self.log, *head);
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
