//! Times at which offsets are given out: the points of a sparse index by this node's time
//! (`docs/protocol/consumers.md#5`).

use std::collections::HashMap;

use p2panda_core::Timestamp;
use p2panda_core::limits::{FEED_TIME_ENTRIES_MAX, FEED_TIME_WAIT};
use p2panda_store::{StoreError, TopicKey, Tx};

use crate::now::micros;

/// The last point of each topic.
#[derive(Default)]
pub(crate) struct FeedTimes(HashMap<TopicKey, Point>);

struct Point {
    at: Timestamp,
    /// Entries since then, this one included.
    entries: usize,
}

impl FeedTimes {
    /// Notes the time of an offset that is given out, where a point is due.
    pub fn note(
        &mut self,
        tx: &mut Tx<'_>,
        topic: TopicKey,
        offset: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.is_covered(topic, now) {
            return Ok(());
        }
        // A clock that was set back stands still.
        let last = tx.last_feed_time(topic)?;
        let at = last.map_or(now, |(_, last)| last.max(now));
        tx.note_feed_time(topic, offset, at)?;
        self.0.insert(topic, Point { at, entries: 1 });
        Ok(())
    }

    fn is_covered(&mut self, topic: TopicKey, now: Timestamp) -> bool {
        let Some(point) = self.0.get_mut(&topic) else {
            return false;
        };
        let since_us = now.as_micros().saturating_sub(point.at.as_micros());
        if point.entries >= FEED_TIME_ENTRIES_MAX || since_us >= micros(FEED_TIME_WAIT) {
            return false;
        }
        point.entries += 1;
        true
    }
}
