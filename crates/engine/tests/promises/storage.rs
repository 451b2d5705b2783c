//! A storage that takes nothing for a while, or never again.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use p2panda_core::{Operation, Phase, SigningKey};
use p2panda_engine::{
    Command, Corrupt, Durability, EngineEvent, Fault, Incoming, Lanes, Options, Outcome,
    PublishError, StorageWait, StoreErrorKind, thread,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::node::{Answer, Author, Node, SECOND_US, TOPIC, publish, session};

const FULL: Fault = Fault::Full { after: 0 };

/// A node with the queue in front of it.
struct Queued {
    node: Node,
    lanes: Lanes,
    events: Vec<EngineEvent>,
}

impl Queued {
    fn new() -> Queued {
        let node = Node::open(Options {
            key: Some(SigningKey::from_bytes(&[7; 32])),
            ..Options::default()
        });
        let lanes = Lanes::new(node.key());
        let events = Vec::new();
        Queued {
            node,
            lanes,
            events,
        }
    }

    fn publish(&mut self, text: &str) -> Answer {
        let (command, answer) = publish(TOPIC, Some(text), false);
        self.lanes.push(command);
        answer
    }

    fn ingest(&mut self, operations: &[Operation]) -> Receiver<Vec<Outcome>> {
        let (sender, receiver) = channel();
        self.lanes.push(Command::Ingest {
            topic: TOPIC,
            source: session(1),
            operations: operations.iter().cloned().map(Incoming::Valid).collect(),
            reply: Some(Box::new(move |outcomes| drop(sender.send(outcomes)))),
        });
        receiver
    }

    fn session(&mut self, phase: Phase) {
        self.lanes.push(Command::Session {
            topic: TOPIC,
            session: 1,
            phase,
        });
    }

    /// Once, at this moment.
    fn step(&mut self) {
        let (engine, now) = (&mut self.node.engine, self.node.now);
        let committed = self.lanes.process(engine, now).unwrap();
        self.events.extend(committed.events);
    }

    /// So much time passes, and what is due in it is done.
    fn run(&mut self, us: u64) {
        let end_us = self.node.now.elapsed_us + us;
        loop {
            let wakes = [self.lanes.next_wake(), self.node.engine.next_wake()];
            let wake_us = match self.lanes.waits_for() {
                Some(_) => wakes[0],
                None if !self.lanes.is_empty() => Some(self.node.now.elapsed_us),
                None => wakes[1],
            };
            let Some(wake_us) = wake_us.filter(|wake_us| *wake_us <= end_us) else {
                break;
            };
            self.node.now.elapsed_us = self.node.now.elapsed_us.max(wake_us);
            self.step();
        }
        self.node.now.elapsed_us = end_us;
    }
}

#[test]
fn queued_commands_are_stored_in_order_after_a_long_fault() {
    for (fault, reason) in [(Fault::Busy, StorageWait::Busy), (FULL, StorageWait::Full)] {
        let (mut queued, mut author) = (Queued::new(), Author::new(1));
        queued.node.engine.set_fault(Some(fault));
        let operations = [author.says("one"), author.says("two")];
        let outcomes = queued.ingest(&operations[1..]);
        let first = queued.ingest(&operations[..1]);
        queued.step();
        assert_eq!(queued.events, [EngineEvent::StorageWaits { reason }]);
        queued.run(3_600 * SECOND_US);
        assert_eq!(outcomes.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(queued.node.texts(), [""; 0]);
        // Tried every second, and told once.
        assert_eq!(queued.events.len(), 1);

        queued.node.engine.set_fault(None);
        let answer = queued.publish("mine");
        queued.run(SECOND_US);
        assert_eq!(outcomes.recv().unwrap(), [Outcome::Early]);
        assert!(matches!(
            first.recv().unwrap()[..],
            [Outcome::Stored { .. }]
        ));
        assert_eq!(answer.recv().unwrap().unwrap().seq, 0);
        let mut texts = queued.node.texts();
        texts.sort();
        assert_eq!(texts, ["mine", "one", "two"]);
        assert_eq!(queued.events[1..], [EngineEvent::StorageGoesOn]);
    }
}

#[test]
fn a_publish_fails_after_5_s_and_is_not_stored_later() {
    let mut queued = Queued::new();
    queued.node.engine.set_fault(Some(FULL));
    let first = queued.publish("first");
    queued.step();
    queued.run(3 * SECOND_US);
    let second = queued.publish("second");
    queued.step();
    queued.run(2 * SECOND_US - 1);
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty));
    queued.run(1);
    let refused = PublishError::Storage(StorageWait::Full);
    assert_eq!(first.try_recv(), Ok(Err(refused)));
    assert!(refused.is_retryable());
    assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
    queued.run(3 * SECOND_US);
    assert_eq!(second.try_recv(), Ok(Err(refused)));

    queued.node.engine.set_fault(None);
    let third = queued.publish("third");
    queued.run(SECOND_US);
    assert_eq!(third.recv().unwrap().unwrap().seq, 0);
    assert_eq!(queued.node.texts(), ["third"]);
}

#[test]
fn a_publish_waits_since_it_came() {
    let mut queued = Queued::new();
    queued.node.engine.set_fault(Some(FULL));
    drop(queued.ingest(&[Author::new(1).says("one")]));
    queued.step();
    assert_eq!(queued.lanes.waits_for(), Some(StorageWait::Full));
    queued.node.now.elapsed_us += 5 * SECOND_US;
    let answer = queued.publish("mine");
    queued.step();
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    queued.run(5 * SECOND_US - 1);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    queued.run(1);
    let refused = PublishError::Storage(StorageWait::Full);
    assert_eq!(answer.try_recv(), Ok(Err(refused)));
}

#[test]
fn held_publishes_are_neither_lost_nor_stored_early() {
    let mut queued = Queued::new();
    let mut copy = {
        let temp = queued.node.copy();
        Node::open_in(temp, Options::default())
    };
    copy.publish("elsewhere");
    let elsewhere = copy.operations();
    let claim = Command::PeerHas {
        topic: TOPIC,
        session: 1,
        peer: Author::new(9).key(),
        own_seq: 0,
    };
    queued.lanes.push(claim);
    queued.step();
    let held = queued.publish("held");
    queued.step();
    // What ends the wait is in the batch that fails, with the publishes that it lets go.
    let fault = Fault::Full { after: 6 };
    queued.node.engine.set_fault(Some(fault));
    queued.ingest(&elsewhere);
    queued.session(Phase::Live);
    let later = queued.publish("later");
    queued.step();
    assert_eq!(queued.lanes.waits_for(), Some(StorageWait::Full));
    queued.run(SECOND_US);
    assert_eq!(held.try_recv(), Err(TryRecvError::Empty));
    queued.node.engine.set_fault(None);
    queued.run(SECOND_US);
    assert_eq!(held.recv().unwrap().unwrap().seq, 1);
    assert_eq!(later.recv().unwrap().unwrap().seq, 2);
    assert_eq!(queued.node.texts(), ["elsewhere", "held", "later"]);
    assert!(queued.events.iter().all(|event| matches!(
        event,
        EngineEvent::StorageWaits { .. }
            | EngineEvent::StorageGoesOn
            | EngineEvent::PublishesHeld { .. }
    )));
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    /// Operations of the others, by place.
    Ingest(Vec<prop::sample::Index>),
    Phase(bool),
    Ack(u64),
    Prune,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>();
    prop_oneof![
        3 => Just(Step::Publish),
        6 => vec(index, 1..6).prop_map(Step::Ingest),
        1 => any::<bool>().prop_map(Step::Phase),
        1 => (1..9_u64).prop_map(Step::Ack),
        1 => Just(Step::Prune),
        2 => (0..4 * SECOND_US).prop_map(Step::Wait),
    ]
}

fn take(queued: &mut Queued, said: &[Operation], step: &Step) {
    match step {
        Step::Publish => drop(queued.publish("mine")),
        Step::Ingest(indexes) => {
            let operations: Vec<_> = indexes.iter().map(|at| at.get(said).clone()).collect();
            queued.lanes.push(Command::Ingest {
                topic: TOPIC,
                source: session(1),
                operations: operations.into_iter().map(Incoming::Valid).collect(),
                reply: None,
            });
        }
        Step::Phase(starts) => queued.session(match starts {
            true => Phase::CatchUp,
            false => Phase::Ended,
        }),
        Step::Ack(offset) => queued.lanes.push(Command::Ack {
            consumer: "app".into(),
            topic: TOPIC,
            offsets: vec![*offset],
            durability: Durability::Full,
            reply: None,
        }),
        Step::Prune => queued.lanes.push(publish(TOPIC, Some("snapshot"), true).0),
        Step::Wait(us) => queued.node.now.elapsed_us += us,
    }
}

/// Two who answer each other, and one of them prunes.
fn conversation() -> Vec<Operation> {
    let (mut one, mut two) = (Author::new(1), Author::new(2));
    let mut said = vec![one.says("0")];
    for number in 1..12 {
        let last = said.last().cloned().unwrap();
        let author = if number % 2 == 0 { &mut one } else { &mut two };
        said.push(author.answers(&number.to_string(), &[&last]));
    }
    said.push(two.prunes(Some("pruned")));
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Wherever batches fail: in the end everything is as if they had not.
    #[test]
    fn a_batch_that_was_taken_back_leaves_no_trace(
        steps in vec((step(), any::<bool>(), prop::option::of(0..60_u32)), 1..30),
    ) {
        let said = conversation();
        let (mut smooth, mut rough) = (Queued::new(), Queued::new());
        for (step, runs, fault) in &steps {
            take(&mut smooth, &said, step);
            take(&mut rough, &said, step);
            if !runs {
                continue;
            }
            if let Some(after) = fault {
                rough.node.engine.set_fault(Some(Fault::Full { after: *after }));
                rough.step();
                rough.node.engine.set_fault(None);
                if rough.lanes.waits_for().is_some() {
                    let wake_us = rough.lanes.next_wake().unwrap();
                    rough.node.now.elapsed_us = wake_us;
                }
            }
            smooth.node.now = rough.node.now;
            for queued in [&mut smooth, &mut rough] {
                // Also where work that was due by time failed, and nothing is queued: a publish that comes
                // later does not wait since then.
                while !queued.lanes.is_empty() || queued.lanes.waits_for().is_some() {
                    queued.step();
                }
            }
        }
        // Everything comes once more, so that nothing waits for its turn.
        for queued in [&mut smooth, &mut rough] {
            drop(queued.ingest(&said));
            queued.run(700 * SECOND_US);
        }
        let shown = |queued: &Queued| {
            let mut shown: Vec<_> = queued.node.feed().iter().map(|entry| {
                (entry.header.author(), entry.header.seq(), entry.content.clone())
            }).collect();
            shown.sort_by_key(|(author, seq, _)| (*author, *seq));
            shown
        };
        prop_assert_eq!(shown(&smooth), shown(&rough));
        prop_assert_eq!(smooth.node.status().rejected, rough.node.status().rejected);
        prop_assert_eq!(rough.node.status().waiting, 0);
        prop_assert_eq!(rough.node.engine.early_bytes(), smooth.node.engine.early_bytes());
        prop_assert_eq!(smooth.node.rows(), rough.node.rows());
    }
}

#[test]
fn a_lasting_fault_stops_the_engine_and_tells_all_waiters() {
    let mut node = Node::new();
    node.engine.set_fault(Some(Fault::Broken));
    let Node { engine, .. } = node;
    let (failed, failure) = channel();
    let queue = thread::spawn_watched(
        engine,
        thread::system_clock(),
        Box::new(|_| ()),
        Box::new(move |error| failed.send(error).unwrap()),
    );
    let (command, answer) = publish(TOPIC, Some("lost"), false);
    queue.send(command).unwrap();
    assert!(answer.recv().is_err());
    let error = queue.failure().expect("known as soon as nobody answers");
    let is_io = matches!(&*error, Corrupt::Store(error) if *error.kind() == StoreErrorKind::Io);
    assert!(is_io && !error.is_retryable());
    assert_eq!(failure.recv().unwrap().to_string(), error.to_string());
    assert!(queue.close().is_err());
}

#[test]
fn a_close_during_a_fault_says_that_something_is_lost() {
    let mut node = Node::new();
    node.engine.set_fault(Some(FULL));
    let Node { engine, dir, .. } = node;
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (command, answer) = publish(TOPIC, Some("lost"), false);
    queue.send(command).unwrap();
    let closed = queue.close();
    let error = closed.unwrap_err();
    assert!(matches!(*error, Corrupt::GivenUp(StorageWait::Full)));
    let refused = PublishError::Storage(StorageWait::Full);
    assert_eq!(answer.recv().unwrap(), Err(refused));
    drop(dir);
}
