//! The queue in front of the engine, in two lanes: what the application of this node asks for goes
//! before what comes from elsewhere (`docs/protocol/streams.md#8`).

use std::collections::VecDeque;

use p2panda_core::limits::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, BESIDE_OWN_BYTES_MAX, BESIDE_OWN_OPERATIONS_MAX,
};
use p2panda_core::{Phase, VerifyingKey};
use p2panda_store::Durability;

use crate::answer::{Committed, EngineEvent, PublishError, StorageWait};
use crate::authors::Authors;
use crate::command::Command;
use crate::engine::{Announce, Corrupt, Engine, Undone};
use crate::now::Now;
use crate::stall::Stall;
use crate::views::{ViewCommand, ViewQueue};

/// The commands in front of an engine, in two lanes. Each keeps its order.
pub struct Lanes {
    /// Of the node: what it signs is synced to disk.
    authors: Authors,
    own: VecDeque<Queued>,
    others: VecDeque<Queued>,
    /// The last batch was full before anything of the other lane joined it.
    passed_over: bool,
    /// Set while the storage takes nothing.
    stall: Option<Stall>,
    /// Requests for views, between the batches.
    views: ViewQueue,
}

/// A command that is queued.
struct Queued {
    command: Command,
    /// During a stall: since when it waits for the storage, once that was checked.
    since_us: Option<u64>,
}

/// Puts what has come meanwhile into the lanes.
pub(crate) type Refill<'a> = &'a mut dyn FnMut(&mut Lanes);

/// Commands that were taken for one batch.
#[derive(Default)]
struct Taken {
    own: Load,
    others: Load,
    /// Times since which each of them waits for the storage, while there is a stall.
    since_us: Option<Vec<Option<u64>>>,
}

#[derive(Default)]
struct Load {
    commands: usize,
    operations: usize,
    bytes: usize,
}

impl Lanes {
    /// Empty ones, of the node that signs with this key.
    pub fn new(author: VerifyingKey) -> Lanes {
        Lanes {
            authors: Authors::new(author),
            own: VecDeque::new(),
            others: VecDeque::new(),
            passed_over: false,
            stall: None,
            views: ViewQueue::default(),
        }
    }

    /// Puts what is asked of a view behind what was before.
    pub(crate) fn push_view(&mut self, command: ViewCommand) {
        self.views.push(command);
    }

    /// Returns the time at which a step of a view is tried again that the storage did not take.
    pub(crate) fn views_wake(&self) -> Option<u64> {
        self.views.next_wake()
    }

    /// Puts a command at the end of its lane.
    pub fn push(&mut self, command: Command) {
        let queued = Queued {
            command,
            since_us: None,
        };
        self.lane(&queued.command).push_back(queued);
    }

    fn lane(&mut self, command: &Command) -> &mut VecDeque<Queued> {
        match is_own(command) {
            true => &mut self.own,
            false => &mut self.others,
        }
    }

    /// Returns why nothing is stored at the moment, if nothing is.
    pub fn waits_for(&self) -> Option<StorageWait> {
        self.stall.as_ref().map(|stall| stall.reason)
    }

    /// While nothing is stored: when something is to be done, in elapsed microseconds.
    pub fn next_wake(&self) -> Option<u64> {
        self.stall.as_ref().map(Stall::next_wake)
    }

    /// Returns `true` if nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.has_no_commands() && !self.views.is_ready()
    }

    fn has_no_commands(&self) -> bool {
        self.own.is_empty() && self.others.is_empty()
    }

    /// Commands that are queued.
    pub fn len(&self) -> usize {
        self.own.len() + self.others.len()
    }

    /// Has the next batch of what is queued processed; if there is nothing, what is due
    /// by time, and a step of background work.
    ///
    /// While the storage takes nothing, what is queued stays, and nothing happens before
    /// [`Lanes::next_wake`] (`docs/protocol/streams.md#18`).
    ///
    /// # Errors
    ///
    /// Errors do not pass: the engine has stopped.
    pub fn process(&mut self, engine: &mut Engine, now: Now) -> Result<Committed, Corrupt> {
        self.process_and_refill(engine, &mut |_| (), &mut |_| (), now)
    }

    /// The same. A batch is small at first and grows while it is processed: anyone who was answered
    /// after the last commit may have sent the next command by then, and what this node publishes
    /// does not wait for more than what has begun.
    pub(crate) fn process_and_refill(
        &mut self,
        engine: &mut Engine,
        refill: Refill<'_>,
        announce: Announce<'_>,
        now: Now,
    ) -> Result<Committed, Corrupt> {
        if let Some(stall) = &mut self.stall {
            // What came since the last look waits from now on. It came at this moment: the thread looks
            // whenever something comes.
            let own = self.own.iter_mut().rev();
            for queued in own.take_while(|queued| queued.since_us.is_none()) {
                queued.waits(stall, now.elapsed_us);
            }
            if stall.expires(now.elapsed_us) {
                self.expire();
            }
            let is_due = |stall: &Stall| stall.is_due(now.elapsed_us);
            if !self.stall.as_ref().is_some_and(is_due) {
                return Ok(Committed::default());
            }
        }
        self.attempt(engine, refill, announce, now)
    }

    /// Processes all that is queued, since nothing comes any more. What cannot be stored now is not
    /// stored at all.
    ///
    /// # Errors
    ///
    /// The reason why something cannot be stored.
    pub(crate) fn finish(
        &mut self,
        engine: &mut Engine,
        announce: Announce<'_>,
        now: Now,
    ) -> Result<(), Corrupt> {
        for command in engine.recall().into_iter().rev() {
            let since_us = None;
            self.lane(&command).push_front(Queued { command, since_us });
        }
        while !self.has_no_commands() {
            self.attempt(engine, &mut |_| (), announce, now)?;
            if let Some(reason) = self.waits_for() {
                self.refuse(reason, |_| true);
                return Err(Corrupt::GivenUp(reason));
            }
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        engine: &mut Engine,
        refill: Refill<'_>,
        announce: Announce<'_>,
        now: Now,
    ) -> Result<Committed, Corrupt> {
        let now_us = now.elapsed_us;
        let is_later = |wake_us| wake_us > now_us;
        if self.has_no_commands()
            && self.stall.is_none()
            && self.views.is_due(now_us)
            && engine.next_wake().is_none_or(is_later)
        {
            engine.view_turn(&mut self.views, now);
            return Ok(Committed::default());
        }
        self.authors = engine.authors().clone();
        let (commands, mut taken) = self.begin();
        let mut more = |durability| {
            refill(self);
            let (synced, authors) = (durability == Durability::Full, self.authors.clone());
            self.join(&mut taken, |command| {
                !command.is_aside() && (synced || !command.must_sync(&authors))
            })
        };
        let is_idle = commands.is_empty();
        let mut committed = match engine.process_and_more(commands, &mut more, announce, now)? {
            Ok(committed) => committed,
            Err(undone) => return Ok(self.take_back(undone, taken, announce, now)),
        };
        if self.stall.take().is_some() {
            announce(&told(EngineEvent::StorageGoesOn));
            committed.events.push(EngineEvent::StorageGoesOn);
        }
        if is_idle {
            // Whether more is due, `next_wake` tells as well. A step that fails is due again later.
            match engine.idle(now) {
                Err(error) if !error.is_retryable() => return Err(error),
                _ => {}
            }
        }
        if self.views.is_due(now_us) && self.views.may_step() {
            engine.view_turn(&mut self.views, now);
        }
        Ok(committed)
    }

    /// Puts the commands of a batch back where they were, to be tried again.
    fn take_back(
        &mut self,
        undone: Undone,
        taken: Taken,
        announce: Announce<'_>,
        now: Now,
    ) -> Committed {
        let now_us = now.elapsed_us;
        let reason = StorageWait::of(&undone.error).unwrap_or(StorageWait::Busy);
        let news = match &mut self.stall {
            Some(stall) => stall.failed_again(reason, now_us),
            None => {
                let stall = self.stall.insert(Stall::new(reason, now_us));
                for queued in &mut self.own {
                    queued.waits(stall, now_us);
                }
                true
            }
        };
        let mut since_us = taken.since_us.unwrap_or_default().into_iter();
        let put_back = undone.commands.into_iter().map(|command| {
            let since_us = since_us.next().flatten().unwrap_or(now_us);
            (command, since_us)
        });
        for (command, since_us) in put_back.collect::<Vec<_>>().into_iter().rev() {
            let mut queued = Queued {
                command,
                since_us: None,
            };
            if let Some(stall) = &mut self.stall {
                queued.waits(stall, since_us);
            }
            self.lane(&queued.command).push_front(queued);
        }
        if !news {
            return Committed::default();
        }
        let waits = told(EngineEvent::StorageWaits { reason });
        announce(&waits);
        waits
    }

    /// Publishes that have waited long enough are refused: they are not stored later either.
    fn expire(&mut self) {
        let Some(mut stall) = self.stall.take() else {
            return;
        };
        self.refuse(stall.reason, |since_us| {
            since_us.is_some_and(|since_us| stall.is_over(since_us))
        });
        for queued in &mut self.own {
            if let Some(since_us) = queued.since_us {
                queued.waits(&mut stall, since_us);
            }
        }
        self.stall = Some(stall);
    }

    /// Refuses the publishes that wait since such a time.
    fn refuse(&mut self, reason: StorageWait, is_over: impl Fn(Option<u64>) -> bool) {
        for queued in std::mem::take(&mut self.own) {
            match queued.command {
                Command::Publish { reply, .. } if is_over(queued.since_us) => {
                    reply(Err(PublishError::Storage(reason)));
                }
                Command::PublishAll { reply, .. } if is_over(queued.since_us) => {
                    reply(Err(PublishError::Storage(reason)));
                }
                _ => self.own.push_back(queued),
            }
        }
    }

    /// All that is queued of the own lane, within the bounds of a batch; without any, or when the
    /// other lane was passed over, one of that. More joins while the batch is processed.
    fn begin(&mut self) -> (Vec<Command>, Taken) {
        let mut taken = Taken {
            since_us: self.stall.as_ref().map(|_| Vec::new()),
            ..Taken::default()
        };
        let mut commands = Vec::new();
        if self.passed_over || self.own.is_empty() {
            commands.extend(taken.take(&mut self.others, |load| &mut load.others));
        }
        while self
            .own
            .front()
            .is_some_and(|next| taken.own.has_room_for(&next.command))
            && let Some(command) = taken.take(&mut self.own, |load| &mut load.own)
        {
            commands.push(command);
        }
        self.passed_over = false;
        (commands, taken)
    }

    /// A queued command that may join the batch. If the next one of the own lane does not fit, the
    /// batch ends with that: it goes first in the next one.
    fn join(&mut self, taken: &mut Taken, fits: impl Fn(&Command) -> bool) -> Option<Command> {
        if let Some(Queued { command, .. }) = self.own.front() {
            if !taken.own.has_room_for(command) || !fits(command) {
                self.passed_over = taken.others.commands == 0 && !self.others.is_empty();
                return None;
            }
            return taken.take(&mut self.own, |load| &mut load.own);
        }
        let Queued { command, .. } = self.others.front()?;
        if taken.has_room_for_others(command) && fits(command) {
            return taken.take(&mut self.others, |load| &mut load.others);
        }
        None
    }
}

impl Queued {
    /// Waits for the storage since then.
    fn waits(&mut self, stall: &mut Stall, since_us: u64) {
        self.since_us = Some(since_us);
        if self.command.is_publish() {
            stall.waits(since_us);
        }
    }
}

impl Taken {
    fn take(
        &mut self,
        lane: &mut VecDeque<Queued>,
        load: impl FnOnce(&mut Taken) -> &mut Load,
    ) -> Option<Command> {
        let Queued { command, since_us } = lane.pop_front()?;
        if let (Some(all), false) = (&mut self.since_us, command.is_aside()) {
            all.push(since_us);
        }
        let load = load(self);
        load.commands += 1;
        load.operations += command.operations();
        load.bytes += command.bytes();
        Some(command)
    }

    /// Next to own commands, which somebody waits for, there is room for less. The first command
    /// always fits.
    fn has_room_for_others(&self, command: &Command) -> bool {
        let (operations_max, bytes_max) = match self.own.commands {
            0 => (BATCH_OPERATIONS_MAX, BATCH_BYTES_MAX),
            _ => (BESIDE_OWN_OPERATIONS_MAX, BESIDE_OWN_BYTES_MAX),
        };
        let fits = |have: usize, more: usize, max: usize| have.saturating_add(more) <= max;
        self.others.commands == 0
            || (fits(self.others.operations, command.operations(), operations_max)
                && fits(self.others.bytes, command.bytes(), bytes_max))
    }
}

impl Load {
    /// The first command always fits. Several operations go into a transaction together or not at all.
    fn has_room_for(&self, command: &Command) -> bool {
        let (operations, bytes) = match command.operations() {
            0 | 1 => (1, 1),
            operations => (operations, command.bytes()),
        };
        self.commands == 0
            || (self.operations.saturating_add(operations) <= BATCH_OPERATIONS_MAX
                && self.bytes.saturating_add(bytes) <= BATCH_BYTES_MAX)
    }
}

fn told(event: EngineEvent) -> Committed {
    Committed {
        events: vec![event],
        ..Committed::default()
    }
}

/// Returns `true` for commands that somebody at this node waits for, and for what has to be known
/// before: that a session began, and that a peer claims to have more of our own log.
fn is_own(command: &Command) -> bool {
    match command {
        Command::Publish { .. }
        | Command::PublishAll { .. }
        | Command::Republish { .. }
        | Command::Ack { .. }
        | Command::PlaceConsumer { .. }
        | Command::Named(_)
        | Command::KeepTopic { .. }
        | Command::SetQuotas { .. }
        | Command::PeerHas { .. }
        | Command::FindEarly { .. }
        | Command::Space(_)
        | Command::Drafted(_)
        | Command::Restored { .. } => true,
        Command::Session { phase, .. } => *phase == Phase::CatchUp,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use p2panda_core::{Hash, SigningKey, Topic};
    use p2panda_store::RejectReason;

    use super::*;
    use crate::command::{Incoming, NewMessage, Source};

    const TOPIC: Topic = Topic::from_bytes([1; 32]);

    fn lanes(commands: impl IntoIterator<Item = Command>) -> Lanes {
        let mut lanes = Lanes::new(SigningKey::from_bytes(&[1; 32]).verifying_key());
        for command in commands {
            lanes.push(command);
        }
        lanes
    }

    fn publish(body_bytes: usize) -> Command {
        Command::Publish {
            topic: TOPIC,
            message: NewMessage::new(vec![0; body_bytes]),
            reply: Box::new(|_| ()),
        }
    }

    fn ingest(operations: usize) -> Command {
        let one = Incoming::Invalid {
            id: Hash::digest(b""),
            header: Bytes::new(),
            reason: RejectReason::Undecodable,
            genuine: None,
        };
        Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: vec![one; operations],
            reply: None,
        }
    }

    /// The commands of the next batch, with a letter each.
    fn batch(lanes: &mut Lanes, fits: impl Fn(&Command) -> bool) -> String {
        let letter = |command: &Command| match command {
            Command::Publish { .. } => 'p',
            Command::Ingest { .. } => 'i',
            Command::ImportEnded { .. } => 'e',
            _ => '?',
        };
        let (commands, mut taken) = lanes.begin();
        let mut letters: String = commands.iter().map(letter).collect();
        while let Some(command) = lanes.join(&mut taken, &fits) {
            letters.push(letter(&command));
        }
        letters
    }

    fn ended() -> Command {
        Command::ImportEnded {
            topic: TOPIC,
            import: 0,
        }
    }

    #[test]
    fn a_publish_goes_before_all_that_is_queued_from_elsewhere() {
        let mut lanes = lanes((0..50).map(|_| ingest(250)));
        assert_eq!(batch(&mut lanes, |_| true), "iiii");
        lanes.push(publish(1));
        lanes.push(publish(2));
        assert_eq!(batch(&mut lanes, |_| true), "ppi");
        assert_eq!(batch(&mut lanes, |_| true), "iiii");
    }

    #[test]
    fn a_publish_that_may_not_join_starts_the_next_batch() {
        let mut lanes = lanes((0..50).map(|_| ingest(1)));
        let (_, mut taken) = lanes.begin();
        let unsynced = |command: &Command| !is_own(command);
        assert!(lanes.join(&mut taken, unsynced).is_some());
        lanes.push(publish(1));
        assert!(lanes.join(&mut taken, unsynced).is_none());
        assert_eq!(batch(&mut lanes, |_| true).find('p'), Some(0));
    }

    #[test]
    fn a_flood_of_publishes_lets_the_others_into_every_second_batch() {
        let own = (0..40).map(|_| publish(BATCH_BYTES_MAX / 4));
        let mut lanes = lanes(own.chain((0..3).map(|_| ingest(1))));
        let fits = |_: &Command| true;
        let batches: Vec<String> = (0..6).map(|_| batch(&mut lanes, fits)).collect();
        assert_eq!(batches, ["pppp", "ipppp", "pppp", "ipppp", "pppp", "ipppp"]);
    }

    #[test]
    fn each_lane_keeps_its_order() {
        let mut lanes = lanes([ingest(1), publish(1), ended(), publish(2), ingest(1)]);
        assert_eq!(batch(&mut lanes, |_| true), "ppiei");
    }

    #[test]
    fn a_batch_exceeds_its_bounds_by_one_lone_command_only() {
        let mut lanes = lanes([ingest(400), ingest(500), ingest(101), ingest(5_000)]);
        assert_eq!(batch(&mut lanes, |_| true), "ii");
        assert_eq!(batch(&mut lanes, |_| true), "i");
        assert_eq!(batch(&mut lanes, |_| true), "i");
    }

    #[test]
    fn an_empty_queue_holds_up_no_batch() {
        let mut lanes = lanes([]);
        assert!(lanes.join(&mut Taken::default(), |_| true).is_none());
        assert_eq!(batch(&mut lanes, |_| true), "");
    }
}
