//! Newest operations in memory, for those who read right behind the writer
//! (`docs/protocol/streams.md 8.3`).

use p2panda_core::{Absent, Entry, Operation, Tail};
use p2panda_store::FeedEntry;

use crate::answer::{RecentOperation, TopicChange};

impl TopicChange {
    /// For the sessions of the topic.
    pub fn add_arrivals(&self, newest: &mut Tail<Entry>) {
        for one in &self.recent {
            let entry = one.entry();
            newest.push(one.arrival, entry.bytes(), entry);
        }
        self.end(newest, self.last_arrival);
    }

    /// For the consumers of the topic.
    pub fn add_feed(&self, newest: &mut Tail<FeedEntry>) {
        let delivered = self.recent.iter().filter_map(RecentOperation::feed_entry);
        let mut delivered: Vec<_> = delivered.collect();
        delivered.sort_unstable_by_key(|entry| entry.offset);
        for entry in delivered {
            newest.push(entry.offset, entry.bytes(), entry);
        }
        self.end(newest, self.last_offset);
    }

    /// It reaches up to here, whether or not it holds what came last.
    fn end<T>(&self, newest: &mut Tail<T>, last: Option<u64>) {
        newest.skip_to(last.unwrap_or_default());
        if self.rewritten {
            newest.forget();
        }
    }
}

impl RecentOperation {
    /// As a page of the store has it.
    pub fn entry(&self) -> Entry {
        let Operation { header, body } = self.operation.clone();
        // Without its body it came a moment ago.
        let lacks = body.is_none() && header.payload_size() > 0;
        Entry {
            arrival: self.arrival,
            header,
            body,
            absent: lacks.then_some(Absent::Wanted { since: None }),
        }
    }
}
