//! Random consumers against a naive model: sets of offsets (`docs/protocol/consumers.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2panda::{Consumer, ConsumerStart, Delivery, Node, Publisher, Topic};

use crate::consumer_kills::{Dice, copy, seed};
use crate::consumers::LATE;
use crate::nodes::{self, PATIENCE, network, topic};

/// Model of a consumer, as plain as possible.
#[derive(Debug, Default)]
struct Model {
    waiting: BTreeSet<u64>,
    held: BTreeSet<u64>,
    delayed: BTreeSet<u64>,
    /// Dead letters, by offset; an entry can be dead more than once after a seek.
    dead: Vec<u64>,
    /// Pruned while they were not settled. What was read ahead by then may still come.
    gone: BTreeSet<u64>,
    unsettled: u64,
    untold: bool,
    paused: bool,
}

impl Model {
    fn grew(&mut self, offsets: impl IntoIterator<Item = u64>) {
        self.waiting.extend(offsets);
    }

    fn pruned(&mut self, live: &BTreeSet<u64>) {
        let mut lost = BTreeSet::new();
        for set in [&mut self.waiting, &mut self.held, &mut self.delayed] {
            lost.extend(set.difference(live).copied());
            set.retain(|offset| live.contains(offset));
        }
        self.unsettled += lost.len() as u64;
        self.untold |= !lost.is_empty();
        self.gone.extend(lost);
    }

    /// All readers end.
    fn released(&mut self) {
        self.waiting.append(&mut self.held);
    }

    fn sought(&mut self, live: &BTreeSet<u64>, from: u64) {
        self.waiting = live.range(from..).copied().collect();
        self.held.clear();
        self.delayed.clear();
    }

    fn redriven(&mut self, live: &BTreeSet<u64>) {
        let all = std::mem::take(&mut self.dead).into_iter();
        let (stored, rest): (Vec<u64>, Vec<u64>) = all.partition(|dead| live.contains(dead));
        self.dead = rest;
        let is_open = |offset: &u64| self.held.contains(offset) || self.delayed.contains(offset);
        let again: Vec<u64> = stored.into_iter().filter(|one| !is_open(one)).collect();
        self.waiting.extend(again);
    }
}

/// A consumer, what its reader holds, and what must be so.
struct Side {
    name: &'static str,
    model: Model,
    reader: Option<Consumer>,
    held: BTreeMap<u64, Delivery>,
}

impl Side {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            model: Model::default(),
            reader: None,
            held: BTreeMap::new(),
        }
    }

    async fn open(&mut self, node: &Node, topic: Topic) {
        self.held.clear();
        self.reader = None;
        self.model.released();
        let opened = node.consumer(self.name).topics([topic]).ack_wait(LATE);
        let opened = opened.in_flight_max(2_000);
        self.reader = Some(opened.open().await.unwrap());
    }

    fn reader(&mut self) -> &mut Consumer {
        self.reader.as_mut().expect("it is open")
    }

    async fn fetch(&mut self, most: usize, dice: &mut Dice) {
        let is_there = !self.model.paused && !self.model.waiting.is_empty();
        let batch = self.reader().fetch(most);
        let batch = match is_there {
            true => tokio::time::timeout(PATIENCE, batch).await.unwrap(),
            false => batch.wait(Duration::ZERO).await,
        };
        let batch = batch.unwrap();
        assert!(batch.is_empty() || !self.model.paused, "it is paused");
        let (full, mut came) = (batch.len() == most, Vec::new());
        for delivery in batch {
            if let Some(pruned) = delivery.pruned() {
                assert!(self.model.untold, "told without reason");
                assert_eq!(pruned.unsettled, self.model.unsettled);
                match dice.roll(3) {
                    0 => drop(delivery.nak(None).await.unwrap()),
                    _ => {
                        delivery.ack().await.unwrap();
                        self.model.untold = false;
                    }
                }
                continue;
            }
            let offset = delivery.message().unwrap().offset();
            if self.model.gone.remove(&offset) {
                continue;
            }
            came.push(offset);
            self.model.held.insert(offset);
            self.held.insert(offset, delivery);
        }
        let lowest = self.model.waiting.iter().copied();
        let expected: Vec<u64> = match full {
            true => lowest.take(came.len()).collect(),
            false => lowest.collect(),
        };
        match self.model.paused {
            true => assert!(came.is_empty()),
            false => assert_eq!(came, expected, "{}", self.name),
        }
        for offset in came {
            self.model.waiting.remove(&offset);
        }
    }

    fn pick(&mut self, dice: &mut Dice) -> Option<(u64, Delivery)> {
        // What was pruned meanwhile is settled already.
        let held = &self.model.held;
        self.held.retain(|offset, _| held.contains(offset));
        let place = dice.roll(self.held.len().max(1) as u64) as usize;
        let offset = *self.held.keys().nth(place)?;
        let delivery = self.held.remove(&offset)?;
        self.model.held.remove(&offset);
        Some((offset, delivery))
    }

    async fn settle(&mut self, dice: &mut Dice) {
        let Some((offset, delivery)) = self.pick(dice) else {
            return;
        };
        match dice.roll(6) {
            0 => {
                delivery.nak(Some(Duration::ZERO)).await.unwrap();
                self.model.waiting.insert(offset);
            }
            1 => {
                delivery.nak(Some(LATE)).await.unwrap();
                self.model.delayed.insert(offset);
            }
            2 => {
                delivery.term("no").await.unwrap();
                self.model.dead.push(offset);
            }
            _ => drop(delivery.ack().await.unwrap()),
        }
    }

    async fn seek(&mut self, live: &BTreeSet<u64>, dice: &mut Dice) {
        let place = dice.roll(live.len().max(1) as u64) as usize;
        let (start, from) = match (dice.roll(3), live.iter().nth(place)) {
            (1, _) => (ConsumerStart::Now, u64::MAX),
            (2, Some(offset)) => (ConsumerStart::Offset(*offset), *offset),
            _ => (ConsumerStart::Beginning, 0),
        };
        self.held.clear();
        self.reader().handle().seek(start).await.unwrap();
        self.model.sought(live, from);
    }

    /// Checks what can be seen of it without reading.
    async fn check(&mut self) {
        let handle = self.reader().handle().clone();
        let info = handle.info();
        assert_eq!(info.paused, self.model.paused);
        // What was pruned counts until its reader is done with it.
        match self.model.unsettled {
            0 => assert_eq!(info.in_flight, self.model.held.len()),
            _ => assert!(info.in_flight >= self.model.held.len()),
        }
        let mut dead = handle.dead_letters().list(0).await.unwrap();
        assert_eq!(info.dead, dead.len() as u64);
        dead.sort_by_key(|letter| letter.offset);
        let dead: Vec<u64> = dead.iter().map(|letter| letter.offset).collect();
        self.model.dead.sort_unstable();
        assert_eq!(dead, self.model.dead);
        let pruned = handle.dead_letters().pruned().await.unwrap();
        let unsettled: u64 = pruned.iter().map(|row| row.unsettled).sum();
        assert_eq!(unsettled, self.model.unsettled);
    }
}

/// Reads what the feed holds; what is new is there for everybody.
async fn look(node: &Node, topic: Topic, sides: &mut [Side; 2], live: &mut BTreeSet<u64>) {
    let (mut now, mut from) = (BTreeSet::new(), 0);
    let handle = sides[0].reader().handle().clone();
    loop {
        let page = handle.peek(topic, from, 500).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.offset() + 1;
        now.extend(page.iter().map(p2panda::Message::offset));
    }
    let last = live.last().copied().unwrap_or(0);
    for side in sides {
        side.model.pruned(&now);
        side.model.grew(now.range(last + 1..).copied());
    }
    *live = now;
    assert!(!node.is_closed());
}

async fn publish(tx: &Publisher, dice: &mut Dice) {
    for _ in 0..=dice.roll(6) {
        tx.publish("a message").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_consumers_follow_a_naive_model() {
    let steps = std::env::var("P2PANDA_STEPS").map_or(200, |steps| steps.parse().unwrap());
    let seed = seed();
    println!("seed {seed}");
    let (mut dice, network, topic) = (Dice(seed), network(), topic());
    let mut dir = tempfile::tempdir().unwrap();
    let mut node = nodes::at(network, dir.path()).await;
    let (mut tx, _rx) = node.stream(topic).await.unwrap();
    let (mut sides, mut live) = ([Side::new("one"), Side::new("two")], BTreeSet::new());
    for side in &mut sides {
        side.open(&node, topic).await;
    }
    for _ in 0..steps {
        let side = &mut sides[dice.roll(2) as usize];
        match dice.roll(24) {
            0..6 => side.fetch(1 + dice.roll(5) as usize, &mut dice).await,
            6..15 => side.settle(&mut dice).await,
            15..19 => publish(&tx, &mut dice).await,
            19 => side.seek(&live, &mut dice).await,
            20 => {
                let handle = side.reader().handle().clone();
                side.model.paused = !side.model.paused;
                match side.model.paused {
                    true => handle.pause().await.unwrap(),
                    false => handle.resume().await.unwrap(),
                }
            }
            21 => {
                let handle = side.reader().handle().clone();
                handle.dead_letters().redrive_all().await.unwrap();
                side.model.redriven(&live);
            }
            22 => match dice.roll(2) {
                0 => drop(tx.prune(Some("kept".into())).await.unwrap()),
                _ => side.open(&node, topic).await,
            },
            _ => {
                // The process is killed, and nothing in it ends in order.
                let killed = copy(dir.path());
                for side in &mut sides {
                    side.held.clear();
                    side.reader = None;
                }
                node.shutdown().await.unwrap();
                dir = killed;
                node = nodes::at(network, dir.path()).await;
                tx = node.publisher(topic).await.unwrap();
                for side in &mut sides {
                    side.open(&node, topic).await;
                }
            }
        }
        look(&node, topic, &mut sides, &mut live).await;
        for side in &mut sides {
            side.check().await;
        }
    }
    // In the end everything that is due comes.
    for side in &mut sides {
        side.reader().handle().resume().await.unwrap();
        side.model.paused = false;
        side.fetch(10_000, &mut dice).await;
        assert!(side.model.waiting.is_empty());
    }
}
