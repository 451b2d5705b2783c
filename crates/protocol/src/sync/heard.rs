//! Own entries of which a peer has only heard (`docs/protocol/link.md#9`).

use std::collections::VecDeque;

use p2panda_core::{VerifyingKey, limits};

use super::sources::Place;

/// Entries of this node that a peer was told of and not sent, with their arrival numbers, ascending.
#[derive(Debug, Default)]
pub(super) struct Heard {
    entries: VecDeque<(u64, Place)>,
    /// Arrival number of the first one that found no room.
    beyond: Option<u64>,
}

impl Heard {
    /// The peer only hears of this entry.
    pub(super) fn add(&mut self, arrival: u64, place: Place) {
        match self.beyond {
            None if self.entries.len() < limits::FETCHED_MAX => {
                self.entries.push_back((arrival, place));
            }
            _ => drop(self.beyond.get_or_insert(arrival)),
        }
    }

    /// The peer was sent this entry.
    pub(super) fn sent(&mut self, place: &Place) {
        self.entries.retain(|(_, heard)| heard != place);
    }

    /// The peer has a log up to this entry.
    pub(super) fn has(&mut self, author: &VerifyingKey, last: u32) {
        self.entries
            .retain(|(_, (log, seq))| log != author || *seq > last);
    }

    /// Returns the arrival number, of those up to `position`, up to which the peer has not only heard of
    /// an entry.
    pub(super) fn sent_up_to(&self, position: u64) -> u64 {
        let first = self.entries.front().map(|(arrival, _)| *arrival);
        match first.or(self.beyond) {
            Some(first) => position.min(first.saturating_sub(1)),
            None => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn what_a_peer_only_heard_of_bounds_what_it_was_sent() {
        let [one, other] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let mut heard = Heard::default();
        assert_eq!(heard.sent_up_to(9), 9);
        heard.add(4, (one, 0));
        heard.add(6, (other, 0));
        heard.add(7, (one, 1));
        assert_eq!((heard.sent_up_to(9), heard.sent_up_to(2)), (3, 2));
        heard.sent(&(one, 0));
        assert_eq!(heard.sent_up_to(9), 5);
        heard.has(&other, 3);
        assert_eq!(heard.sent_up_to(9), 6);
        heard.has(&one, 1);
        assert_eq!(heard.sent_up_to(9), 9);
    }

    #[test]
    fn without_room_it_counts_as_not_sent() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let mut heard = Heard::default();
        for seq in 0..=limits::FETCHED_MAX as u32 {
            heard.add(u64::from(seq) + 1, (author, seq));
        }
        heard.has(&author, u32::MAX);
        let most = limits::FETCHED_MAX as u64;
        assert_eq!(heard.sent_up_to(2 * most), most);
    }
}
