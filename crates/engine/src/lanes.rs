//! The queue in front of the engine, in two lanes: what the application of this node asks for goes
//! before what comes from elsewhere (`docs/protocol/streams.md#8`).

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use p2panda_core::limits::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, BESIDE_OWN_BYTES_MAX, BESIDE_OWN_OPERATIONS_MAX,
    ENGINE_AWAKE_MAX,
};

use crate::command::{Command, Phase};

pub(crate) enum Message {
    Command(Command),
    Close,
}

/// Sorts what is sent into the lanes. Each keeps its order.
pub(crate) struct Lanes {
    receiver: Receiver<Message>,
    own: VecDeque<Command>,
    others: VecDeque<Command>,
    /// The last batch was full before anything of the other lane joined it.
    passed_over: bool,
    close: bool,
}

/// What has been taken for one batch.
#[derive(Default)]
pub(crate) struct Taken {
    own: Load,
    others: Load,
}

#[derive(Default)]
struct Load {
    commands: usize,
    operations: usize,
    bytes: usize,
}

/// What the engine does next.
pub(crate) enum Next {
    /// A batch that begins with these.
    Batch(Vec<Command>, Taken),
    /// What is due by time.
    Tick,
    Close,
}

impl Lanes {
    pub(crate) fn new(receiver: Receiver<Message>) -> Lanes {
        Lanes {
            receiver,
            own: VecDeque::new(),
            others: VecDeque::new(),
            passed_over: false,
            close: false,
        }
    }

    /// Waits for a command, at most until something is due, and begins a batch with it.
    pub(crate) fn next(&mut self, due: impl FnOnce() -> Option<Duration>) -> Next {
        if !self.look() {
            match due().map(|wait| self.receiver.recv_timeout(wait)) {
                None => match self.receiver.recv() {
                    Ok(message) => self.sort(message),
                    // Nobody is left who could send: that is the end, too.
                    Err(_) => self.close = true,
                },
                Some(Ok(message)) => self.sort(message),
                Some(Err(RecvTimeoutError::Timeout)) => return Next::Tick,
                Some(Err(RecvTimeoutError::Disconnected)) => self.close = true,
            }
        }
        self.begin()
    }

    /// All that is queued of the own lane, within the bounds of a batch; without any, or when the
    /// other lane was passed over, one of that. More joins while the batch is processed.
    fn begin(&mut self) -> Next {
        let mut taken = Taken::default();
        let mut commands = Vec::new();
        if self.passed_over || self.own.is_empty() {
            commands.extend(taken.take(&mut self.others, |load| &mut load.others));
        }
        while taken.own.has_room(BATCH_OPERATIONS_MAX, BATCH_BYTES_MAX)
            && let Some(command) = taken.take(&mut self.own, |load| &mut load.own)
        {
            commands.push(command);
        }
        self.passed_over = false;
        match commands.is_empty() {
            // Only when both lanes are: what was queued before the close is processed.
            true => Next::Close,
            false => Next::Batch(commands, taken),
        }
    }

    /// A command that is queued by now and may join the batch. If the next one of the own lane
    /// does not fit, the batch ends with that: it goes first in the next one.
    pub(crate) fn join(
        &mut self,
        taken: &mut Taken,
        fits: impl Fn(&Command) -> bool,
    ) -> Option<Command> {
        self.sort_queued();
        if let Some(command) = self.own.front() {
            let room = taken.own.has_room(BATCH_OPERATIONS_MAX, BATCH_BYTES_MAX);
            if !room || !fits(command) {
                self.passed_over = taken.others.commands == 0 && !self.others.is_empty();
                return None;
            }
            return taken.take(&mut self.own, |load| &mut load.own);
        }
        let command = self.others.front()?;
        if taken.has_room_for_others(command) && fits(command) {
            return taken.take(&mut self.others, |load| &mut load.others);
        }
        None
    }

    /// What comes within a moment: whoever was answered may send the next command at once, and to
    /// fall asleep and be woken takes longer than that. Other threads go first meanwhile.
    fn look(&mut self) -> bool {
        let start = Instant::now();
        loop {
            self.sort_queued();
            if self.close || !self.own.is_empty() || !self.others.is_empty() {
                return true;
            }
            if start.elapsed() >= ENGINE_AWAKE_MAX {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn sort_queued(&mut self) {
        while !self.close
            && let Ok(message) = self.receiver.try_recv()
        {
            self.sort(message);
        }
    }

    fn sort(&mut self, message: Message) {
        match message {
            Message::Command(command) if is_own(&command) => self.own.push_back(command),
            Message::Command(command) => self.others.push_back(command),
            Message::Close => self.close = true,
        }
    }
}

impl Taken {
    fn take(
        &mut self,
        lane: &mut VecDeque<Command>,
        load: impl FnOnce(&mut Taken) -> &mut Load,
    ) -> Option<Command> {
        let command = lane.pop_front()?;
        let load = load(self);
        load.commands += 1;
        load.operations += command.operations();
        load.bytes += command.bytes();
        Some(command)
    }

    /// Beside own commands, which somebody waits for, there is room for less. The first command
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
    fn has_room(&self, operations_max: usize, bytes_max: usize) -> bool {
        self.operations < operations_max && self.bytes < bytes_max
    }
}

/// What somebody at this node waits for, and what has to be known before it: that a session began,
/// and that a peer claims to have more of our own log.
fn is_own(command: &Command) -> bool {
    match command {
        Command::Publish { .. }
        | Command::Ack { .. }
        | Command::PlaceConsumer { .. }
        | Command::PeerHas { .. }
        | Command::Restored { .. } => true,
        Command::Session { phase, .. } => *phase == Phase::Started,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::mpsc::{Sender, channel};

    use bytes::Bytes;
    use p2panda_core::{Hash, Topic};
    use p2panda_store::RejectReason;

    use super::*;
    use crate::command::{Incoming, Source};

    const TOPIC: Topic = Topic::from_bytes([1; 32]);

    fn lanes(commands: impl IntoIterator<Item = Command>) -> (Lanes, Sender<Message>) {
        let (sender, receiver) = channel();
        for command in commands {
            sender.send(Message::Command(command)).unwrap();
        }
        (Lanes::new(receiver), sender)
    }

    fn publish(body_bytes: usize) -> Command {
        Command::Publish {
            topic: TOPIC,
            body: Some(vec![0; body_bytes].into()),
            prune: false,
            reply: Box::new(|_| ()),
        }
    }

    fn ingest(operations: usize) -> Command {
        let one = Incoming::Invalid {
            id: Hash::digest(b""),
            header: Bytes::new(),
            reason: RejectReason::Undecodable,
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
        let Next::Batch(commands, mut taken) = lanes.next(|| Some(Duration::ZERO)) else {
            return String::new();
        };
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
        let (mut lanes, sender) = lanes((0..50).map(|_| ingest(250)));
        assert_eq!(batch(&mut lanes, |_| true), "iiii");
        sender.send(Message::Command(publish(1))).unwrap();
        sender.send(Message::Command(publish(2))).unwrap();
        assert_eq!(batch(&mut lanes, |_| true), "ppi");
        assert_eq!(batch(&mut lanes, |_| true), "iiii");
    }

    #[test]
    fn a_publish_that_may_not_join_a_batch_ends_it_and_is_in_the_next_one() {
        let (mut lanes, sender) = lanes((0..50).map(|_| ingest(1)));
        let Next::Batch(_, mut taken) = lanes.next(|| None) else {
            panic!("something is queued")
        };
        let unsynced = |command: &Command| !is_own(command);
        assert!(lanes.join(&mut taken, unsynced).is_some());
        sender.send(Message::Command(publish(1))).unwrap();
        assert!(lanes.join(&mut taken, unsynced).is_none());
        assert_eq!(batch(&mut lanes, |_| true).find('p'), Some(0));
    }

    #[test]
    fn a_flood_of_publishes_lets_the_others_into_every_second_batch() {
        let own = (0..40).map(|_| publish(BATCH_BYTES_MAX / 4));
        let (mut lanes, _sender) = lanes(own.chain((0..3).map(|_| ingest(1))));
        let fits = |_: &Command| true;
        let batches: Vec<String> = (0..6).map(|_| batch(&mut lanes, fits)).collect();
        assert_eq!(batches, ["pppp", "ipppp", "pppp", "ipppp", "pppp", "ipppp"]);
    }

    #[test]
    fn each_lane_keeps_its_order() {
        let (mut lanes, _sender) = lanes([ingest(1), publish(1), ended(), publish(2), ingest(1)]);
        assert_eq!(batch(&mut lanes, |_| true), "ppiei");
    }

    #[test]
    fn a_batch_from_elsewhere_exceeds_its_bounds_only_by_one_command_alone() {
        let (mut lanes, _sender) = lanes([ingest(400), ingest(500), ingest(101), ingest(5_000)]);
        assert_eq!(batch(&mut lanes, |_| true), "ii");
        assert_eq!(batch(&mut lanes, |_| true), "i");
        assert_eq!(batch(&mut lanes, |_| true), "i");
    }

    #[test]
    fn what_was_queued_before_a_close_is_processed_and_nothing_after_it() {
        let (mut lanes, sender) = lanes([ingest(1), publish(1)]);
        sender.send(Message::Close).unwrap();
        sender.send(Message::Command(publish(1))).unwrap();
        assert_eq!(batch(&mut lanes, |_| true), "pi");
        assert!(matches!(lanes.next(|| None), Next::Close));
    }

    #[test]
    fn an_empty_queue_holds_up_no_batch() {
        let (mut lanes, _sender) = lanes([]);
        assert!(lanes.join(&mut Taken::default(), |_| true).is_none());
        assert!(matches!(lanes.next(|| Some(Duration::ZERO)), Next::Tick));
    }
}
