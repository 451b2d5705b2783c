//! Settling by topic and offset what any reader, or a process before, was given.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_engine::consumer::{Answer, Consumer, DeadReason, TokenError, TopicNumber};

use super::{Named, fill};
use crate::Error;
use crate::consumer_error::ConsumerError;

impl Named {
    /// Settles what was delivered at an offset.
    pub(crate) async fn ack_at(
        self: &Arc<Self>,
        topic: Topic,
        offset: u64,
    ) -> Result<Answer, Error> {
        let act = |machine: &mut Consumer, number, _| machine.ack_at(number, offset);
        self.settle_at(topic, offset, act).await
    }

    /// Returns it, to be delivered again.
    pub(crate) async fn nak_at(
        self: &Arc<Self>,
        topic: Topic,
        offset: u64,
        delay_us: Option<u64>,
    ) -> Result<Answer, Error> {
        let act = |machine: &mut Consumer, number, now_us| {
            machine.nak_at(number, offset, delay_us, now_us)
        };
        self.settle_at(topic, offset, act).await
    }

    /// Makes it a dead letter.
    pub(crate) async fn term_at(
        self: &Arc<Self>,
        topic: Topic,
        offset: u64,
        reason: &str,
    ) -> Result<Answer, Error> {
        let reason = DeadReason::Terminated(reason.into());
        let act = |machine: &mut Consumer, number, now_us| {
            machine.term_at(number, offset, reason, now_us)
        };
        self.settle_at(topic, offset, act).await
    }

    async fn settle_at(
        self: &Arc<Self>,
        topic: Topic,
        offset: u64,
        act: impl FnOnce(&mut Consumer, TopicNumber, u64) -> Result<Answer, TokenError>,
    ) -> Result<Answer, Error> {
        let number = self.number(topic)?;
        let read = fill::entry_at(&self.storage, topic, offset).await?;
        let is_known = self.state.lock().machine.holds(number, offset);
        if read.is_none() && !is_known {
            return Err(ConsumerError::UnknownOffset.into());
        }
        self.check_given(number, offset)?;
        self.read_until(number, offset).await?;
        let (answer, version) = {
            let mut state = self.state.lock();
            state.check()?;
            let was_full = state.machine.room() == 0;
            let answer = act(&mut state.machine, number, self.clock.now_us());
            let answer = answer.map_err(ConsumerError::from)?;
            if !state.machine.holds(number, offset) {
                state.entries.remove(&(offset, number));
            }
            let version = self.ask(&mut state, true);
            self.wake(&state, was_full);
            (answer, version)
        };
        self.stored(version).await?;
        Ok(answer)
    }

    /// Settles everything of a topic that was delivered up to an offset, without what was returned.
    pub(crate) async fn ack_until(
        self: &Arc<Self>,
        topic: Topic,
        offset: u64,
    ) -> Result<Answer, Error> {
        let number = self.number(topic)?;
        self.check_given(number, offset)?;
        let mut sum = Answer::AlreadySettled;
        // In several steps: what is settled makes room for reading what was delivered after it.
        loop {
            self.read_until(number, offset).await?;
            let (version, is_over) = {
                let mut state = self.state.lock();
                state.check()?;
                let was_full = state.machine.room() == 0;
                let answer = state.machine.ack_until(number, offset);
                let is_done = answer.map_err(ConsumerError::from)? == Answer::Done;
                if is_done {
                    sum = Answer::Done;
                }
                state.forget_settled_until(number, offset);
                let version = self.ask(&mut state, true);
                self.wake(&state, was_full);
                let read = state.machine.read_until(number);
                (version, !is_done || read.is_none_or(|read| read >= offset))
            };
            if is_over {
                self.stored(version).await?;
                return Ok(sum);
            }
        }
    }

    fn number(&self, topic: Topic) -> Result<TopicNumber, ConsumerError> {
        let state = self.state.lock();
        state.check()?;
        let number = state.numbers.get(&topic).copied();
        number.ok_or(ConsumerError::UnknownTopic)
    }

    fn check_given(&self, number: TopicNumber, offset: u64) -> Result<(), ConsumerError> {
        match self.state.lock().machine.has_given(number, offset) {
            true => Ok(()),
            false => Err(ConsumerError::NotDelivered),
        }
    }

    /// Reads a topic up to an offset, as far as there is room.
    async fn read_until(self: &Arc<Self>, number: TopicNumber, offset: u64) -> Result<(), Error> {
        loop {
            let before = self.state.lock().machine.read_until(number);
            if before.is_none_or(|read| read >= offset) {
                return Ok(());
            }
            self.read(fill::When::Ahead).await?;
            let mut state = self.state.lock();
            let read = state.machine.read_until(number);
            if read == before {
                return Ok(());
            }
            if read.is_some_and(|read| read < offset) {
                // One page is held at a time: what is delivered again is read again.
                state.entries.retain(|(_, of), _| *of != number);
            }
        }
    }
}
