//! Operations that a session has sent, as far as the sessions of its pair need to know it
//! (`docs/protocol/sync.md#11`).

use std::collections::{BTreeMap, VecDeque};

use p2panda_core::limits::SEEN_IDS_MAX;
use p2panda_core::{Few, LogRange, VerifyingKey};

use super::pair::{Span, Spans};

/// Entries that a session sends in catch-up, and the last ones that crossed in it.
///
/// It does not grow with what crosses in live mode: a topic may get very many logs.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Spans that catch-up sends, ascending by author and place. A span that ends before it starts
    /// holds nothing.
    planned: Vec<(VerifyingKey, Span)>,
    /// Rest of planned spans above entries that were taken out.
    split: BTreeMap<VerifyingKey, Spans>,
    recent: Few<(VerifyingKey, u32), ()>,
    /// The same, the oldest first.
    order: VecDeque<(VerifyingKey, u32)>,
}

impl Sent {
    /// Catch-up is about to send these ranges, which are ascending by author and place.
    pub(super) fn plan(&mut self, ranges: &[LogRange]) {
        let spans = ranges.iter().map(|range| {
            let first = range.after.map_or(0, |after| after.saturating_add(1));
            let last = range.until;
            (range.author, Span { first, last })
        });
        self.planned = spans.collect();
    }

    /// Nobody compares any more: what catch-up has sent is in the heights that the peer tells next.
    pub(super) fn forget_plan(&mut self) {
        self.planned = Vec::new();
        self.split = BTreeMap::new();
    }

    /// Forgets the recent entries: what crossed does not show any more what the peer has.
    pub(super) fn forget_recent(&mut self) {
        (self.recent, self.order) = (Few::new(), VecDeque::new());
    }

    /// An entry crossed. Of many the last ones count.
    pub(super) fn add(&mut self, author: VerifyingKey, seq: u32) {
        if self.recent.insert((author, seq), ()).is_some() {
            return;
        }
        if self.order.is_empty() {
            self.order.reserve_exact(1);
        }
        self.order.push_back((author, seq));
        if self.order.len() > SEEN_IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }

    /// An entry was not sent after all.
    pub(super) fn remove(&mut self, author: &VerifyingKey, seq: u32) {
        // Its place in `order` stays until it is the oldest.
        self.recent.remove(&(*author, seq));
        if let Some(spans) = self.split.get_mut(author) {
            spans.remove(seq);
        }
        let place = self.place_of(author);
        let planned = self.planned.iter_mut().skip(place);
        let mut planned = planned.take_while(|(one, _)| one == author);
        let Some((_, span)) = planned.find(|(_, span)| span.contains(seq)) else {
            return;
        };
        let above = seq.checked_add(1).map(|first| Span {
            first,
            last: span.last,
        });
        match seq.checked_sub(1) {
            Some(last) => span.last = last,
            None => (span.first, span.last) = (1, 0),
        }
        if let Some(above) = above.filter(|above| above.first <= above.last) {
            self.split.entry(*author).or_default().add(above);
        }
    }

    pub(super) fn contains(&self, author: &VerifyingKey, seq: u32) -> bool {
        let split = |spans: &Spans| spans.contains(seq);
        self.recent.contains_key(&(*author, seq))
            || self.planned_of(author).any(|span| span.contains(seq))
            || self.split.get(author).is_some_and(split)
    }

    /// Adds all that is known of a log.
    pub(super) fn add_to(&self, spans: &mut Spans, author: &VerifyingKey) {
        self.planned_of(author).for_each(|span| spans.add(span));
        if let Some(split) = self.split.get(author) {
            split.iter().for_each(|span| spans.add(span));
        }
        let recent = self.recent.range((*author, 0)..=(*author, u32::MAX));
        recent.for_each(|((_, seq), ())| spans.add(Span::single(*seq)));
    }

    /// Bytes that grow with the logs that the peer lacks.
    pub(super) fn held_bytes(&self) -> usize {
        self.planned.capacity() * size_of::<(VerifyingKey, Span)>()
    }

    fn planned_of(&self, author: &VerifyingKey) -> impl Iterator<Item = Span> {
        let planned = self.planned.iter().skip(self.place_of(author));
        let planned = planned.take_while(move |(one, _)| one == author);
        let spans = planned.map(|(_, span)| *span);
        spans.filter(|span| span.first <= span.last)
    }

    fn place_of(&self, author: &VerifyingKey) -> usize {
        self.planned.partition_point(|(one, _)| one < author)
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::{LogId, SigningKey};

    use super::*;

    fn author(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn range(author: VerifyingKey, after: Option<u32>, until: u32) -> LogRange {
        LogRange {
            author,
            log: LogId::from_bytes([7; 32]),
            after,
            until,
        }
    }

    fn known(sent: &Sent, author: &VerifyingKey) -> Vec<u32> {
        (0..12).filter(|seq| sent.contains(author, *seq)).collect()
    }

    #[test]
    fn what_was_taken_out_of_a_plan_is_not_sent() {
        let (one, other) = (author(1), author(2));
        let mut ranges = [range(one, None, 9), range(other, Some(3), 5)];
        ranges.sort_by_key(|range| range.author);
        let mut sent = Sent::default();
        sent.plan(&ranges);
        for (seq, left) in [
            (4, &[0, 1, 2, 3, 5, 6, 7, 8, 9][..]),
            (7, &[0, 1, 2, 3, 5, 6, 8, 9]),
            (0, &[1, 2, 3, 5, 6, 8, 9]),
            (9, &[1, 2, 3, 5, 6, 8]),
            (11, &[1, 2, 3, 5, 6, 8]),
        ] {
            sent.remove(&one, seq);
            assert_eq!(known(&sent, &one), left, "{seq}");
            let mut spans = Spans::default();
            sent.add_to(&mut spans, &one);
            let in_spans = (0..12).filter(|seq| spans.contains(*seq));
            assert_eq!(in_spans.collect::<Vec<_>>(), left, "{seq}");
        }
        assert_eq!(known(&sent, &other), [4, 5]);
        sent.forget_plan();
        assert_eq!((known(&sent, &one).len(), sent.held_bytes()), (0, 0));
    }

    #[test]
    fn what_crossed_is_forgotten_and_a_plan_is_not() {
        let one = author(1);
        let mut sent = Sent::default();
        sent.plan(&[range(one, Some(3), 5)]);
        for seq in [5, 7, 8] {
            sent.add(one, seq);
        }
        assert_eq!(known(&sent, &one), [4, 5, 7, 8]);
        sent.forget_recent();
        assert_eq!(known(&sent, &one), [4, 5]);
        sent.add(one, 7);
        assert_eq!(known(&sent, &one), [4, 5, 7]);
    }

    #[test]
    fn of_what_crossed_the_last_entries_count() {
        let one = author(1);
        let mut sent = Sent::default();
        let many = 3 * SEEN_IDS_MAX as u32;
        for seq in 0..many {
            sent.add(one, seq);
            sent.add(one, seq);
        }
        assert_eq!(
            (sent.recent.len(), sent.order.len()),
            (SEEN_IDS_MAX, SEEN_IDS_MAX)
        );
        let first = many - SEEN_IDS_MAX as u32;
        assert!(!sent.contains(&one, first - 1));
        assert!(sent.contains(&one, first) && sent.contains(&one, many - 1));
        sent.remove(&one, many - 1);
        assert!(!sent.contains(&one, many - 1));
    }
}
