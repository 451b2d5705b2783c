//! The state of a consumer at one moment.

use std::sync::Arc;
use std::time::Duration;

use p2panda_core::Topic;
use p2panda_engine::consumer::{ReaderNumber, Token};

use super::{Named, Registry};
use crate::consumer_error::ConsumerError;
use crate::consumer_settings::{Acking, ConsumerMode};

/// See the [module](self).
pub(crate) struct Looked {
    pub places: Vec<LookedPlace>,
    pub acking: Acking,
    pub mode: ConsumerMode,
    pub readers: usize,
    pub paused: bool,
    pub in_flight: usize,
    pub dead: u64,
    pub inactive: Option<Duration>,
}

pub(crate) struct LookedPlace {
    pub topic: Topic,
    pub position: u64,
    /// Not settled, and read.
    pub open: u64,
    /// Those of them that are at or below the position.
    pub open_behind: u64,
}

impl Named {
    pub(crate) fn look(&self) -> Looked {
        let state = self.state.lock();
        let places = state.sources.iter().filter_map(|(number, source)| {
            let (position, open) = state.machine.stands_at(*number)?;
            let behind = state.machine.open_behind(*number);
            Some(LookedPlace {
                topic: source.topic,
                position,
                open: open as u64,
                open_behind: behind as u64,
            })
        });
        let readers = state.readers.values().filter(|ended| ended.is_none());
        Looked {
            places: places.collect(),
            acking: state.settings.acking,
            mode: state.settings.mode,
            readers: readers.count(),
            paused: state.paused,
            in_flight: state.machine.in_flight(),
            dead: state.dead,
            inactive: state.settings.inactive,
        }
    }

    pub(crate) fn acking(&self) -> Acking {
        self.state.lock().settings.acking
    }

    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.state.lock().numbers.keys().copied().collect()
    }

    pub(crate) fn was_taken_over(&self, reader: ReaderNumber) -> bool {
        let state = self.state.lock();
        state.readers.get(&reader) == Some(&Some(ConsumerError::TakenOver))
    }

    /// A reader that did not get to hand it out: it can be delivered at once.
    pub(crate) fn give_back(&self, token: Token) {
        let mut state = self.state.lock();
        // One that is stale comes again anyway.
        let _ = state.machine.nak(token, Some(0), self.clock.now_us());
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }
}

impl Registry {
    pub(crate) fn used(&self) -> Vec<Arc<Named>> {
        self.all()
    }
}
