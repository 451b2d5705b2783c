#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

/// Stored rows of a consumer, as a database would have them.
#[derive(Clone, Debug, Default)]
struct Rows {
    places: BTreeMap<TopicNumber, PlaceRow>,
    seen: BTreeMap<TopicNumber, u64>,
    open: BTreeMap<(TopicNumber, u64), OpenRow>,
    dead: BTreeMap<(TopicNumber, u64), DeadRow>,
}

impl Rows {
    fn apply(&mut self, changes: Changes) {
        self.places.extend(changes.places);
        self.seen.extend(changes.seen);
        for (topic, offset, row) in changes.open {
            match row {
                Some(row) => self.open.insert((topic, offset), row),
                None => self.open.remove(&(topic, offset)),
            };
        }
        for (topic, offset, row) in changes.dead {
            self.dead.insert((topic, offset), row);
        }
    }

    fn stored(&self, topic: TopicNumber) -> Stored {
        let open = self.open.iter().filter(|((of, _), _)| *of == topic);
        Stored {
            place: self.places.get(&topic).copied().unwrap_or_default(),
            open: open.map(|((_, offset), row)| (*offset, *row)).collect(),
            seen: self.seen.get(&topic).copied().unwrap_or_default(),
        }
    }
}

/// A consumer with its rows and the feeds that it reads: offsets that are there, by topic.
struct Driven {
    machine: Consumer,
    rows: Rows,
    feeds: BTreeMap<TopicNumber, BTreeSet<u64>>,
    config: Config,
    now_us: u64,
    keys: u64,
    stores: u32,
    /// The last offset that was given out.
    last: u64,
}

impl Driven {
    fn new(config: Config, feeds: &[&[u64]]) -> Self {
        let feeds = feeds.iter().zip(0..);
        let feeds: BTreeMap<_, _> = feeds
            .map(|(offsets, topic)| (topic, offsets.iter().copied().collect()))
            .collect();
        let mut driven = Self {
            machine: Consumer::new(config.clone(), 0),
            rows: Rows::default(),
            feeds,
            config,
            now_us: SECOND,
            keys: 3,
            stores: 0,
            last: 40,
        };
        driven.open();
        driven
    }

    fn open(&mut self) {
        self.machine = Consumer::new(self.config.clone(), self.machine.generation());
        for topic in self.feeds.keys() {
            self.machine
                .add(*topic, &self.rows.stored(*topic), self.now_us);
        }
    }

    /// The process is killed: what was not stored is forgotten.
    fn crash(&mut self) {
        self.open();
    }

    fn read(&mut self) {
        for (topic, feed) in &self.feeds {
            while let Some(after) = self.machine.reads_after(*topic) {
                let Some(offset) = feed.range(after + 1..).next().copied() else {
                    self.machine.passed(*topic, self.last, self.now_us);
                    break;
                };
                let key = offset % self.keys;
                self.machine.offer(
                    *topic,
                    Offered {
                        offset,
                        key,
                        passes: offset % 7 != 6,
                    },
                    self.now_us,
                );
            }
        }
    }

    fn next(&mut self, reader: ReaderNumber) -> Option<Delivery> {
        self.machine.expire(self.now_us);
        self.read();
        loop {
            if self.machine.marks_first() {
                self.machine.mark();
                self.store();
            }
            let delivery = self.machine.next(reader, self.now_us)?;
            let Token { topic, offset, .. } = delivery.token;
            if self.feeds[&topic].contains(&offset) {
                return Some(delivery);
            }
            self.machine.lost(topic, offset, self.now_us);
        }
    }

    fn store(&mut self) {
        let changes = self.machine.changes();
        self.stores += 1;
        self.rows.apply(changes);
    }

    fn ack(&mut self, token: Token) {
        self.machine.ack(token).unwrap();
        self.store();
    }

    fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| {
            let token = self.next(1)?.token;
            self.ack(token);
            Some(token.offset)
        })
        .collect()
    }
}

fn feed(offsets: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    offsets.filter(|offset| offset % 7 != 6).collect()
}

#[test]
fn acks_out_of_order_cost_as_many_rows_as_are_open() {
    let all: Vec<u64> = (1..=5_000).collect();
    let mut driven = Driven::new(Config::default(), &[&all]);
    let first = driven.next(1).unwrap().token;
    let mut rows_max = 0;
    while let Some(delivery) = driven.next(1) {
        driven.ack(delivery.token);
        rows_max = rows_max.max(driven.rows.open.len());
    }
    assert_eq!(rows_max, 1);
    driven.crash();
    assert_eq!(driven.next(1).unwrap().token.offset, first.offset);
    assert_eq!(driven.next(1), None);
}

#[test]
fn an_ack_looks_only_at_the_topic_that_it_changes() {
    let feeds: Vec<Vec<u64>> = (1..=1_000).map(|offset| vec![offset]).collect();
    let feeds: Vec<&[u64]> = feeds.iter().map(Vec::as_slice).collect();
    let mut driven = Driven::new(Config::default(), &feeds);
    driven.read();
    driven.store();
    let looked_at = |machine: &mut Consumer| {
        let mut topics = Vec::new();
        machine
            .places
            .for_each_changed(|topic, _| topics.push(topic));
        topics
    };
    assert!(looked_at(&mut driven.machine).is_empty());
    let delivery = driven.machine.next(1, driven.now_us).unwrap();
    driven.machine.ack(delivery.token).unwrap();
    assert_eq!(looked_at(&mut driven.machine), [delivery.token.topic]);
}

#[test]
fn a_nak_comes_back_after_its_delay_until_it_is_dead() {
    let config = Config {
        deliveries_max: Some(3),
        backoff: Backoff::new(vec![SECOND, 2 * SECOND]),
        ..Config::default()
    };
    let mut driven = Driven::new(config, &[&[1, 2]]);
    for (count, wait_us) in [(1, SECOND), (2, 2 * SECOND), (3, 0)] {
        let delivery = driven.next(1).unwrap();
        assert_eq!((delivery.token.offset, delivery.count), (1, count));
        let now_us = driven.now_us;
        driven.machine.nak(delivery.token, None, now_us).unwrap();
        driven.store();
        if count == 1 {
            let other = driven.next(1).unwrap().token;
            driven.ack(other);
        }
        if wait_us > 0 {
            assert_eq!(driven.next(1), None);
            assert_eq!(driven.machine.next_due(), Some(now_us + wait_us));
            driven.now_us += wait_us;
        }
    }
    assert_eq!(driven.next(1), None);
    let dead = &driven.rows.dead[&(0, 1)];
    assert_eq!((&dead.reason, dead.count), (&DeadReason::MaxDeliveries, 3));
    driven.machine.redrive(0, 1, 0);
    let again = driven.next(1).unwrap();
    assert_eq!((again.token.offset, again.count), (1, 1));
}

#[test]
fn an_entry_that_kills_its_process_each_time_is_dead_in_the_end() {
    let config = Config {
        deliveries_max: Some(4),
        ..Config::default()
    };
    let mut driven = Driven::new(config, &[&[1, 2]]);
    let mut deliveries = 0;
    while let Some(delivery) = driven.next(1)
        && delivery.token.offset == 1
    {
        deliveries += 1;
        assert!(deliveries <= 4, "delivered more often than allowed");
        driven.crash();
    }
    assert_eq!(deliveries, 4);
    assert_eq!(driven.rows.dead[&(0, 1)].reason, DeadReason::MaxDeliveries);
}

#[test]
fn a_reader_that_goes_leaves_what_it_had_to_the_others() {
    let config = Config {
        mode: Mode::Shared,
        ..Config::default()
    };
    let all: Vec<u64> = feed(1..=20);
    let mut driven = Driven::new(config, &[&all]);
    let held: Vec<u64> = (0..5)
        .map(|_| driven.next(1).unwrap().token.offset)
        .collect();
    let other = driven.next(2).unwrap().token.offset;
    assert!(!held.contains(&other));
    driven.machine.reader_gone(1, driven.now_us);
    let again: Vec<u64> = (0..5)
        .map(|_| driven.next(2).unwrap().token.offset)
        .collect();
    assert_eq!(again, held);
}

#[test]
fn entries_of_a_key_come_one_at_a_time_and_others_pass_them() {
    let config = Config {
        mode: Mode::Ordered,
        ..Config::default()
    };
    let mut driven = Driven::new(config, &[&[1, 4, 7, 2, 3]]);
    let one = driven.next(1).unwrap().token;
    assert_eq!(one.offset, 1);
    let others: Vec<u64> = std::iter::from_fn(|| Some(driven.next(2)?.token.offset)).collect();
    assert_eq!(others, [2, 3]);
    driven
        .machine
        .nak(one, Some(SECOND), driven.now_us)
        .unwrap();
    assert_eq!(driven.next(2), None, "a delay holds the key");
    driven.now_us += SECOND;
    let again = driven.next(2).unwrap().token;
    assert_eq!(again.offset, 1);
    driven.ack(again);
    assert_eq!(driven.next(2).unwrap().token.offset, 4);
}

#[test]
fn the_bound_of_looking_behind_a_held_key_holds() {
    let config = Config {
        mode: Mode::Ordered,
        ..Config::default()
    };
    let mut machine = Consumer::new(config, 0);
    machine.add(0, &Stored::default(), SECOND);
    let offer = |machine: &mut Consumer, offset| {
        let offered = Offered {
            offset,
            key: 7,
            passes: true,
        };
        machine.offer(0, offered, SECOND);
    };
    offer(&mut machine, 1);
    let held = machine.next(1, SECOND).unwrap().token;
    for offset in 2..=CONSUMER_AHEAD_MAX as u64 {
        offer(&mut machine, offset);
    }
    // One less than the bound waits behind the one that is held.
    assert_eq!((machine.head(), machine.room()), (None, 1));
    let last = CONSUMER_AHEAD_MAX as u64;
    assert_eq!(machine.reads_after(0), Some(last));
    offer(&mut machine, last + 1);
    assert_eq!((machine.reads_after(0), machine.room()), (None, 0));
    machine.ack(held).unwrap();
    assert_eq!(machine.head(), Some((2, 0)));
    assert_eq!(machine.reads_after(0), Some(last + 1));
}

#[test]
fn tokens_from_before_a_seek_are_stale() {
    let mut driven = Driven::new(Config::default(), &[&[1, 2, 3]]);
    let token = driven.next(1).unwrap().token;
    let unknown = Token {
        offset: 99,
        ..token
    };
    assert_eq!(driven.machine.ack(unknown), Err(TokenError::NotDelivered));
    let early = Token { offset: 3, ..token };
    assert_eq!(driven.machine.ack(early), Err(TokenError::NotDelivered));
    driven.machine.seek(0, 1);
    assert_eq!(driven.machine.ack(token), Err(TokenError::Stale));
    assert_eq!(driven.drain(), [2, 3]);
}

#[test]
fn acknowledging_twice_or_late_changes_nothing() {
    let mut driven = Driven::new(Config::default(), &[&[1]]);
    let first = driven.next(1).unwrap().token;
    driven.now_us += 31 * SECOND;
    let second = driven.next(1).unwrap();
    assert_eq!(second.count, 2);
    let now_us = driven.now_us;
    assert_eq!(
        driven.machine.nak(first, None, now_us),
        Ok(Answer::AlreadySettled)
    );
    assert_eq!(driven.machine.ack(first), Ok(Answer::Done));
    assert_eq!(driven.machine.ack(second.token), Ok(Answer::AlreadySettled));
}

#[test]
fn a_cumulative_ack_settles_what_was_delivered_before() {
    let config = Config {
        acknowledgement: Acknowledgement::Cumulative,
        ..Config::default()
    };
    let mut driven = Driven::new(config, &[&[1, 2, 3, 4]]);
    let tokens: Vec<Token> = (0..3).map(|_| driven.next(1).unwrap().token).collect();
    driven.ack(tokens[1]);
    driven.crash();
    assert_eq!(driven.drain(), [3, 4]);
}

#[test]
fn an_ack_up_to_an_offset_leaves_what_was_returned() {
    let all: Vec<u64> = (1..=5).collect();
    for (delay_us, crashes) in [(0, false), (0, true), (SECOND, false), (SECOND, true)] {
        let mut driven = Driven::new(Config::default(), &[&all]);
        for _ in 0..4 {
            driven.next(1).unwrap();
        }
        let now_us = driven.now_us;
        let nak = driven.machine.nak_at(0, 2, Some(delay_us), now_us);
        assert_eq!(nak, Ok(Answer::Done));
        driven.machine.reader_gone(1, now_us);
        driven.now_us += 2 * SECOND;
        driven.machine.expire(driven.now_us);
        driven.store();
        if crashes {
            driven.crash();
            driven.read();
        }
        assert_eq!(driven.machine.ack_until(0, 3), Ok(Answer::Done));
        assert_eq!(driven.machine.ack_until(0, 3), Ok(Answer::AlreadySettled));
        driven.store();
        driven.crash();
        assert_eq!(driven.drain(), [2, 4, 5], "{delay_us} {crashes}");
    }
}

#[test]
fn a_message_that_no_reader_holds_can_be_returned() {
    let mut driven = Driven::new(Config::default(), &[&[1, 2]]);
    driven.next(1).unwrap();
    driven.machine.reader_gone(1, driven.now_us);
    let nak = driven.machine.nak_at(0, 1, Some(SECOND), driven.now_us);
    assert_eq!(nak, Ok(Answer::Done));
    assert_eq!(driven.next(1).unwrap().token.offset, 2);
    assert_eq!(driven.next(1), None);
    driven.now_us += SECOND;
    let again = driven.next(1).unwrap();
    assert_eq!((again.token.offset, again.count), (1, 2));
}

#[test]
fn what_was_delivered_again_is_settled_with_the_others() {
    let mut driven = Driven::new(Config::default(), &[&[1, 2, 3]]);
    let first = driven.next(1).unwrap().token;
    driven.machine.nak(first, Some(0), driven.now_us).unwrap();
    let again = driven.next(1).unwrap();
    assert_eq!((again.token.offset, again.count), (1, 2));
    driven.next(1).unwrap();
    assert_eq!(driven.machine.ack_until(0, 2), Ok(Answer::Done));
    driven.store();
    driven.crash();
    assert_eq!(driven.drain(), [3]);
}

#[test]
fn only_what_was_delivered_is_settled_by_its_offset() {
    let mut driven = Driven::new(Config::default(), &[&[1, 2, 3]]);
    let token = driven.next(1).unwrap().token;
    let now_us = driven.now_us;
    let reason = || DeadReason::Terminated("bad".into());
    for offset in [2, 3, 9] {
        let refused = Err(TokenError::NotDelivered);
        assert_eq!(driven.machine.ack_until(0, offset), refused);
        assert_eq!(driven.machine.nak_at(0, offset, None, now_us), refused);
        assert_eq!(driven.machine.term_at(0, offset, reason(), now_us), refused);
    }
    driven.machine.seek(0, 0);
    assert_eq!(
        driven.machine.ack_until(0, 1),
        Err(TokenError::NotDelivered)
    );
    driven.read();
    let again = driven.next(1).unwrap().token;
    assert_eq!((again.offset, token.offset), (1, 1));
    let term = driven.machine.term_at(0, 1, reason(), now_us);
    assert_eq!(term, Ok(Answer::Done));
    assert_eq!(driven.machine.ack_until(0, 1), Ok(Answer::AlreadySettled));
    let nak = driven.machine.nak_at(0, 1, None, now_us);
    assert_eq!(nak, Ok(Answer::AlreadySettled));
}

#[derive(Clone, Debug)]
enum Step {
    Next(u64),
    Ack(usize),
    AckUnstored(usize),
    Nak(usize, u64),
    Term(usize),
    Wait(u64),
    Store,
    Crash,
    Gone(u64),
    Prune(usize),
    Append(u32),
    Redrive,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4u64).prop_map(Step::Next),
        4 => any::<usize>().prop_map(Step::Ack),
        1 => any::<usize>().prop_map(Step::AckUnstored),
        1 => (any::<usize>(), 0..3 * SECOND).prop_map(|(which, delay)| Step::Nak(which, delay)),
        1 => any::<usize>().prop_map(Step::Term),
        1 => (0..40 * SECOND).prop_map(Step::Wait),
        1 => Just(Step::Store),
        1 => Just(Step::Crash),
        1 => (1..4u64).prop_map(Step::Gone),
        1 => any::<usize>().prop_map(Step::Prune),
        2 => (0..2u32).prop_map(Step::Append),
        1 => Just(Step::Redrive),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let mode = prop_oneof![
        Just(Mode::Exclusive),
        Just(Mode::Shared),
        Just(Mode::Ordered)
    ];
    (
        mode,
        1..20usize,
        prop_oneof![Just(None), (2..5u32).prop_map(Some)],
    )
        .prop_map(|(mode, in_flight_max, deliveries_max)| Config {
            mode,
            in_flight_max,
            deliveries_max,
            ..Config::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 60_000, cases: 400, ..ProptestConfig::default() })]

    /// No matter what happens, an entry is settled, dead or delivered again; never two readers at
    /// once; and what was settled durably does not come again.
    #[test]
    fn nothing_is_lost_and_nothing_settled_comes_again(
        config in config(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let first: Vec<u64> = (1..40).filter(|offset| offset % 2 == 0).collect();
        let second: Vec<u64> = (1..40).filter(|offset| offset % 2 == 1).collect();
        let mut driven = Driven::new(config.clone(), &[&first, &second]);
        let mut held: Vec<Token> = Vec::new();
        let mut durable: BTreeSet<u64> = BTreeSet::new();
        let mut unsure: BTreeSet<u64> = BTreeSet::new();
        for step in steps {
            let pick = |which: usize| (!held.is_empty()).then(|| which % held.len());
            match step {
                Step::Next(reader) => {
                    let stores = driven.stores;
                    if let Some(delivery) = driven.next(reader) {
                        let token = delivery.token;
                        prop_assert!(!durable.contains(&token.offset), "{token:?} was settled");
                        held.retain(|other| other.offset != token.offset);
                        held.push(token);
                        prop_assert!(driven.machine.unsettled() <= config.in_flight_max + CONSUMER_AHEAD_MAX);
                    }
                    if stores != driven.stores { durable.append(&mut unsure); }
                }
                Step::Ack(which) => if let Some(which) = pick(which) {
                    let token = held.swap_remove(which);
                    if driven.machine.ack(token) == Ok(Answer::Done) {
                        driven.store();
                        durable.insert(token.offset);
                        durable.append(&mut unsure);
                    }
                },
                Step::AckUnstored(which) => if let Some(which) = pick(which) {
                    let token = held.swap_remove(which);
                    if driven.machine.ack(token) == Ok(Answer::Done) {
                        unsure.insert(token.offset);
                    }
                },
                Step::Nak(which, delay_us) => if let Some(which) = pick(which) {
                    let now_us = driven.now_us;
                    let _ = driven.machine.nak(held[which], Some(delay_us), now_us);
                },
                Step::Term(which) => if let Some(which) = pick(which) {
                    let token = held.swap_remove(which);
                    let (reason, now_us) = (DeadReason::Terminated("bad".into()), driven.now_us);
                    if driven.machine.term(token, reason, now_us) == Ok(Answer::Done) {
                        driven.store();
                        durable.insert(token.offset);
                        durable.append(&mut unsure);
                    }
                },
                Step::Wait(us) => {
                    driven.now_us += us;
                    driven.machine.expire(driven.now_us);
                }
                Step::Store => {
                    driven.store();
                    durable.append(&mut unsure);
                }
                Step::Crash => {
                    driven.crash();
                    held.clear();
                    unsure.clear();
                }
                Step::Gone(reader) => {
                    driven.machine.reader_gone(reader, driven.now_us);
                }
                Step::Prune(which) => {
                    let feed = driven.feeds.get_mut(&0).unwrap();
                    let offset = feed.iter().nth(which % feed.len().max(1)).copied();
                    if let Some(offset) = offset { feed.remove(&offset); }
                }
                Step::Append(topic) => {
                    driven.last += 1;
                    let last = driven.last;
                    driven.feeds.get_mut(&topic).unwrap().insert(last);
                }
                Step::Redrive => {
                    if let Some(((topic, offset), _)) = driven.rows.dead.pop_first() {
                        durable.remove(&offset);
                        driven.machine.redrive(topic, offset, offset % driven.keys);
                        driven.store();
                        durable.append(&mut unsure);
                    }
                }
            }
        }
        // All readers go; in the end everything was settled or is dead.
        driven.crash();
        let mut rounds = 0;
        while driven.machine.unsettled() > 0 || rounds < 3 {
            for offset in driven.drain() {
                prop_assert!(!durable.contains(&offset));
                durable.insert(offset);
            }
            driven.now_us += 400 * SECOND;
            rounds += 1;
            prop_assert!(rounds < 10, "{:?}", driven.machine);
        }
        driven.store();
        let dead: BTreeSet<u64> = driven.rows.dead.keys().map(|(_, offset)| *offset).collect();
        for feed in driven.feeds.values() {
            for offset in feed.iter().filter(|offset| *offset % 7 != 6) {
                let done = durable.contains(offset) || dead.contains(offset) || unsure.contains(offset);
                prop_assert!(done, "{offset} was lost");
            }
        }
        prop_assert!(driven.rows.open.is_empty(), "{:?}", driven.rows.open);
    }
}
