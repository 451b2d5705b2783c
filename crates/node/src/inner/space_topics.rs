//! Topics that carry spaces, without asking the engine each time.

use std::collections::{HashMap, HashSet};

use p2panda_core::Topic;
use p2panda_engine::{EngineEvent, SpaceCommand};
use parking_lot::RwLock;
use tokio::sync::OnceCell;

use super::queue::Queue;
use crate::Error;

/// The topics that carry spaces. One that does never stops.
#[derive(Default)]
pub(crate) struct SpaceTopics {
    /// Those that were made or followed since the node was opened, and those that were meant to; by how
    /// many calls.
    begun: RwLock<HashMap<Topic, usize>>,
    /// Those of before, once somebody asked.
    stored: OnceCell<HashSet<Topic>>,
}

impl SpaceTopics {
    /// Before the engine hears of it: nothing is opened that is not known to be of a space.
    pub(crate) fn begin(&self, topic: Topic) {
        *self.begun.write().entry(topic).or_default() += 1;
    }

    /// The engine did not do so: for this call the topic is what it was before.
    pub(crate) fn take_back(&self, topic: &Topic) {
        let mut begun = self.begun.write();
        if let Some(calls) = begun.get_mut(topic) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                begun.remove(topic);
            }
        }
    }

    /// The engine follows one by itself: on its thread, before anything of the commit is signalled.
    pub(crate) fn told(&self, events: &[EngineEvent]) {
        for event in events {
            if let EngineEvent::FollowsSpace { topic } = event {
                self.begin(*topic);
            }
        }
    }

    /// Returns `true` if the topic carries one, or is about to.
    pub(crate) async fn has(&self, queue: &Queue, topic: &Topic) -> Result<bool, Error> {
        if self.begun.read().contains_key(topic) {
            return Ok(true);
        }
        let stored = self.stored.get_or_try_init(|| async {
            let all = queue.space(|reply| SpaceCommand::List { reply }).await?;
            Ok::<_, Error>(all.into_iter().map(|(topic, _)| topic).collect())
        });
        Ok(stored.await?.contains(topic))
    }
}
