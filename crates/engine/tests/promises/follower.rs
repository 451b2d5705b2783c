//! A follower that knows the store only by what commits hand out, and is compared with it.

use std::collections::BTreeMap;

use p2panda_core::{HeadsChange, Operation, Prefix, Topic, TopicHeads};
use p2panda_engine::{Committed, TopicChange};
use p2panda_store::{FeedEntry, PageLimits, Reader};

/// Operations that are compared after a commit; changes of older ones would go unnoticed.
const COMPARED: usize = 100;

const ALL: PageLimits = PageLimits {
    rows: usize::MAX,
    bytes: usize::MAX,
};

#[derive(Default)]
pub struct Follower {
    known: BTreeMap<Topic, Known>,
    /// Heads of each topic, looked up once.
    heads: BTreeMap<Topic, TopicHeads>,
}

/// Knowledge about a topic.
#[derive(Debug, Default, PartialEq)]
struct Known {
    arrived: Vec<(u64, Operation)>,
    delivered: Vec<FeedEntry>,
}

impl Follower {
    /// Takes what a commit hands out, reads the store where it hands out nothing, and compares.
    pub fn follow(&mut self, committed: &Committed, reader: &Reader) {
        for change in &committed.topics {
            let heads = self.heads.entry(change.topic);
            let heads = heads.or_insert_with(|| look_up(reader, &change.topic));
            // The look may have found it already.
            heads.follow(&change.heads);
            if change.heads_anew {
                *heads = look_up(reader, &change.topic);
            }
            let known = self.known.entry(change.topic).or_default();
            let untold = change.last_arrival.is_some() && change.recent.is_empty();
            if known.arrived.is_empty() || change.rewritten || untold {
                *known = Known::read(reader, &change.topic, 0, 0);
            } else {
                known.take(change);
            }
        }
        for (topic, known) in &self.known {
            known.check(reader, topic);
        }
        for (topic, heads) in &mut self.heads {
            let mut stored = look_up(reader, topic);
            let (known, stored) = (heads.heads(), stored.heads());
            let all =
                |heads: &p2panda_core::Heads| heads.within(&Prefix::WHOLE).collect::<Vec<_>>();
            assert_eq!(all(known), all(stored));
            assert_eq!(known.hash(&Prefix::WHOLE), stored.hash(&Prefix::WHOLE));
            let arrival = reader.last_arrival(topic).unwrap();
            assert!(heads.arrival() >= arrival, "{} {arrival}", heads.arrival());
        }
    }
}

/// The heads as they are stored.
pub fn look_up(reader: &Reader, topic: &Topic) -> TopicHeads {
    let mut heads = TopicHeads::new(topic);
    let mut after = None;
    loop {
        let (found, next): (HeadsChange, _) = reader.heads(topic, after).unwrap();
        heads.follow(&found);
        if next.is_none() {
            return heads;
        }
        after = next;
    }
}

impl Known {
    fn read(reader: &Reader, topic: &Topic, arrival: u64, offset: u64) -> Known {
        let arrived = reader.arrivals_page(topic, arrival, ALL).unwrap().entries;
        let delivered = reader.feed_page(topic, offset, ALL, None).unwrap().entries;
        let operation = |header, body| Operation { header, body };
        Known {
            arrived: arrived
                .into_iter()
                .map(|entry| (entry.arrival, operation(entry.header, entry.body)))
                .collect(),
            delivered,
        }
    }

    fn take(&mut self, change: &TopicChange) {
        let mut delivered = Vec::new();
        for one in &change.recent {
            self.arrived.push((one.arrival, one.operation.clone()));
            delivered.extend(one.feed_entry());
        }
        delivered.sort_by_key(|entry| entry.offset);
        self.delivered.append(&mut delivered);
        let last = |numbers: Option<u64>| numbers.unwrap_or(0);
        if let Some(arrival) = change.last_arrival {
            assert_eq!(last(self.arrived.last().map(|one| one.0)), arrival);
        }
        if let Some(offset) = change.last_offset {
            assert_eq!(
                last(self.delivered.last().map(|entry| entry.offset)),
                offset
            );
        }
    }

    fn check(&self, reader: &Reader, topic: &Topic) {
        let before = |len: usize| len.checked_sub(COMPARED + 1);
        let arrival = before(self.arrived.len()).map_or(0, |at| self.arrived[at].0);
        let offset = before(self.delivered.len()).map_or(0, |at| self.delivered[at].offset);
        let stored = Known::read(reader, topic, arrival, offset);
        assert!(
            self.arrived.ends_with(&stored.arrived),
            "{self:?} {stored:?}"
        );
        assert!(self.delivered.ends_with(&stored.delivered));
        let behind = |numbers: usize, stored: usize| numbers.min(COMPARED) == stored;
        assert!(behind(self.arrived.len(), stored.arrived.len()));
        assert!(behind(self.delivered.len(), stored.delivered.len()));
    }
}
