//! Acknowledgements on their way to the engine.

/// Gathers the automatic acknowledgements of one consumer in one topic: one batch is in progress
/// at a time, the rest waits for it, so that a fast reader neither waits for commits nor floods
/// the engine, and a slow one does not double the commits.
#[derive(Debug, Default)]
pub struct GatheredAcks {
    waiting: Vec<u64>,
    under_way: bool,
}

impl GatheredAcks {
    /// Adds an offset. If nothing is in progress, that is begun: the caller takes the batch after
    /// [`ACKS_GATHER_DELAY`](p2panda_core::limits::ACKS_GATHER_DELAY).
    #[must_use]
    pub fn add(&mut self, offset: u64) -> bool {
        self.waiting.push(offset);
        !std::mem::replace(&mut self.under_way, true)
    }

    /// The next batch; the one after it is taken when this one is stored. `None`: nothing waits.
    pub fn take(&mut self) -> Option<Vec<u64>> {
        let offsets = std::mem::take(&mut self.waiting);
        self.under_way = !offsets.is_empty();
        (!offsets.is_empty()).then_some(offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_is_under_way_at_a_time_and_the_rest_waits_for_it() {
        let mut acks = GatheredAcks::default();
        assert!(acks.add(1));
        assert!(!acks.add(2));
        assert_eq!(acks.take(), Some(vec![1, 2]));
        assert!(!acks.add(3));
        assert_eq!(acks.take(), Some(vec![3]));
        assert_eq!(acks.take(), None);
        assert!(acks.add(4));
    }
}
