//! Topics that carry spaces, without asking the engine each time.

use std::collections::{HashMap, HashSet};

use p2panda_core::Topic;
use p2panda_engine::{EngineEvent, SpaceCommand};
use tokio::sync::{OnceCell, watch};

use super::queue::Queue;
use crate::Error;

/// The topics that carry spaces. One that does never stops.
#[derive(Default)]
pub(crate) struct SpaceTopics {
    /// Those that were made or followed since the node was opened, and those that are about to be, with
    /// the number of calls and events that said so.
    begun: watch::Sender<HashMap<Topic, usize>>,
    /// Those of before, once somebody asked.
    stored: OnceCell<HashSet<Topic>>,
}

impl SpaceTopics {
    /// Before the engine hears of it: nothing is opened that is not known to be of a space.
    pub(crate) fn begin(&self, topic: Topic) {
        self.begun
            .send_modify(|begun| *begun.entry(topic).or_default() += 1);
    }

    /// The engine follows one by itself: on its thread, before anything of the commit is signalled.
    pub(crate) fn told(&self, events: &[EngineEvent]) {
        for event in events {
            if let EngineEvent::FollowsSpace { topic } = event {
                self.begin(*topic);
            }
        }
    }

    /// The engine refused what one call began: the topic is what it was, unless the refusal came after
    /// the engine had begun to follow the space.
    pub(crate) async fn refused(&self, queue: &Queue, topic: Topic) {
        let asked = queue.space(|reply| SpaceCommand::IsSpace { topic, reply });
        if !matches!(asked.await, Ok(false)) {
            return;
        }
        self.begun.send_modify(|begun| {
            let left = begun.remove(&topic).unwrap_or_default();
            if left > 1 {
                begun.insert(topic, left - 1);
            }
        });
    }

    /// Returns `true` if the topic carries one, or is about to.
    pub(crate) async fn has(&self, queue: &Queue, topic: &Topic) -> Result<bool, Error> {
        if self.has_begun(topic) {
            return Ok(true);
        }
        let stored = self.stored.get_or_try_init(|| async {
            let all = queue.space(|reply| SpaceCommand::List { reply }).await?;
            Ok::<_, Error>(all.into_iter().map(|(topic, _)| topic).collect())
        });
        Ok(stored.await?.contains(topic))
    }

    /// The same for a topic that carried none when somebody asked.
    pub(crate) fn has_begun(&self, topic: &Topic) -> bool {
        self.begun.borrow().contains_key(topic)
    }

    /// Completes when one of the topics carries a space, or is about to.
    pub(crate) async fn one_of(&self, queue: &Queue, topics: &[Topic]) -> Result<(), Error> {
        let mut begun = self.begun.subscribe();
        for topic in topics {
            if self.has(queue, topic).await? {
                return Ok(());
            }
        }
        let is_one = |begun: &HashMap<Topic, usize>| topics.iter().any(|of| begun.contains_key(of));
        // The sender lives as long as this.
        let _ = begun.wait_for(is_one).await;
        Ok(())
    }
}
