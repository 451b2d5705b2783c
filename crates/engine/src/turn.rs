//! The state that a stage or a command borrows.

use p2panda_core::{Hash, Header, Timestamp, Topic, VerifyingKey};
use p2panda_store::{Log, LogKey, Reject, RejectReason, StoreError, Tx};

use crate::answer::{EngineEvent, Outcome};
use crate::batch::Batch;
use crate::command::{Command, Source};
use crate::now::Now;
use crate::reply::Reply;
use crate::space_news::SpaceNews;
use crate::state::State;
use crate::topics::{TopicRef, TopicState};
use crate::waiting::Times;

/// One transaction on its way through the pipeline.
pub(crate) struct Turn<'e> {
    /// State that outlasts the transaction.
    pub state: &'e mut State,
    pub tx: Tx<'e>,
    /// State of this transaction only.
    pub batch: Batch,
    pub now: Now,
}

impl Turn<'_> {
    /// Finds a topic, makes it if there is none. Commands do so where they enter.
    pub fn resolve(&mut self, topic: &Topic) -> Result<TopicRef, StoreError> {
        self.state.topics.resolve(&mut self.tx, topic)
    }

    pub fn topic(&mut self, topic: &TopicRef) -> &mut TopicState {
        self.state.topics.get_mut(topic)
    }

    /// A log, by its label.
    pub fn log(
        &mut self,
        topic: &TopicRef,
        label: &VerifyingKey,
    ) -> Result<Option<&Log>, StoreError> {
        self.state.logs.get(&self.tx, topic.key, label)
    }

    /// A log that the caller is about to change.
    pub fn log_mut(
        &mut self,
        topic: &TopicRef,
        label: &VerifyingKey,
    ) -> Result<Option<&mut Log>, StoreError> {
        self.state.logs.get_mut(&self.tx, topic.key, label)
    }

    /// Returns the height of a log in a topic, with the operations of this batch.
    pub fn height(
        &mut self,
        topic: &TopicRef,
        label: &VerifyingKey,
    ) -> Result<Option<u32>, StoreError> {
        Ok(self.log(topic, label)?.map(|log| log.head.seq))
    }

    /// Returns the author whose log a label represents.
    pub fn author_of(&self, label: &VerifyingKey) -> Result<VerifyingKey, StoreError> {
        let named = self.tx.named_log(label)?;
        Ok(named.map_or(*label, |named| named.author))
    }

    /// The header that a log has at a place, if it can be read.
    pub fn stored_header(&mut self, log: LogKey, seq: u32) -> Result<Option<Header>, StoreError> {
        if let Some((_, arrived)) = self.batch.arrived_at(log, seq) {
            return Ok(Some(arrived.header.clone()));
        }
        let stored = self.tx.operation(log, seq)?;
        Ok(stored.and_then(|stored| Header::decode_unverified(stored.header).ok()))
    }

    /// Returns the time since which idempotency keys are remembered.
    pub fn keys_since(&self) -> Timestamp {
        let now_us = self.now.wall.as_micros();
        Timestamp::from_micros(now_us.saturating_sub(self.state.limits.idempotency_window_us))
    }

    /// Returns the waits in the order stage of an operation that arrives now.
    pub fn times(&self) -> Times {
        self.state.limits.times(self.now)
    }

    /// Refuses an operation, of which the id and what came as header are given.
    pub fn reject(
        &mut self,
        topic: &TopicRef,
        source: Source,
        (id, header): (Hash, &[u8]),
        reason: RejectReason,
    ) -> Result<Outcome, StoreError> {
        let peer = source.peer();
        let row = Reject {
            id,
            header,
            reason,
            peer,
            at: self.now.wall,
        };
        if self.tx.reject(topic.key, &row)? {
            self.batch.events.push(EngineEvent::Rejected {
                topic: topic.topic,
                id,
                reason,
                peer,
            });
        }
        Ok(Outcome::Rejected(reason))
    }

    /// Something happened in a space. In that of our person's devices it concerns nobody.
    pub fn tell_of_space(&mut self, topic: Topic, news: SpaceNews) {
        if !self.state.spaces.person.is_of_devices(&topic) {
            self.batch.events.push(EngineEvent::Space { topic, news });
        }
    }

    /// Answers after the commit.
    pub fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: T) {
        self.batch.answers.push(Box::new(move || reply(answer)));
    }

    /// A command waits for what is computed elsewhere.
    pub fn postpone(&mut self, command: Command) {
        if let Some(topic) = command.space() {
            self.batch.postponed.push((topic, command));
        }
    }

    /// Commits, and gives back what is to be told of.
    pub fn commit(self) -> Result<Batch, StoreError> {
        self.tx.commit()?;
        Ok(self.batch)
    }
}
