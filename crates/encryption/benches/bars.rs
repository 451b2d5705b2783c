//! The bars of `docs/protocol/encryption.md#13.7`: prints what a group costs to store, to open and
//! to keep in memory, and fails above a bar.
//!
//! `cargo bench -p p2panda-encryption`, or with the name of a part after `--`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/support/world.rs"]
mod world;

use std::alloc::System;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{
    Draft, Encrypted, Event, Group, Members, Payload, SecretId, open_stored, secret_key,
};
use p2panda_encryption::{DirectMessage, Member, Message, SuiteConfig, Wire};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use world::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MEMBERS: usize = 128;
const ROTATIONS: usize = 1_000;
/// Groups of which 100 are in use.
const STORED: usize = 10_000;

/// Measurement of some bars.
type Part = fn(&mut Bars);

const PARTS: [(&str, Part); 4] = [
    ("silent", silent),
    ("answered", answered),
    ("in-use", in_use),
    ("hybrid", full_or_sparse),
];

fn main() -> ExitCode {
    let mut bars = Bars { all_held: true };
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for (name, run) in PARTS {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            run(&mut bars);
        }
    }
    match bars.all_held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

struct Bars {
    all_held: bool,
}

impl Bars {
    fn at_most(&mut self, name: &str, value: f64, bar: f64, unit: &str) {
        let held = value <= bar;
        self.all_held &= held;
        let verdict = if held { "holds" } else { "EXCEEDED" };
        println!("{name:<58} {value:>10.2} {unit:<3} bar {bar} {verdict}");
    }
}

/// Author and one reader of a group; the others are names.
struct World {
    rng: ChaCha20Rng,
    people: Vec<Person>,
    groups: [Group; 2],
    stores: [Store; 2],
    /// Bytes that each wrote last, as a part of what came or went.
    ratios: [f64; 2],
}

impl World {
    fn new(members: usize) -> World {
        let mut rng = life_rng("bars", members as u64);
        let mut people = people(members, 0, &mut rng);
        people.truncate(members);
        let group = |who: usize| Group::new(people[who].id, Members::default());
        let mut world = World {
            groups: [group(0), group(1)],
            stores: Default::default(),
            ratios: [0.0; 2],
            rng,
            people,
        };
        let ids: Vec<_> = world.people.iter().map(|person| person.id).collect();
        let context = world.people[0].context(START + 1);
        let draft = world.groups[0].create(&ids, &context, &mut world.rng);
        world.publish(draft.unwrap());
        world
    }

    fn rotate(&mut self) {
        let context = self.people[0].context(START + 1);
        let draft = self.groups[0].update(&context, &mut self.rng);
        self.publish(draft.unwrap());
    }

    /// The author's operation, taken by the reader.
    fn publish(&mut self, draft: Draft) -> Duration {
        let prepared = draft.seal().unwrap();
        let message = Message {
            id: operation(&mut self.rng),
            sender: self.people[0].id,
            dependencies: prepared.dependencies().to_vec(),
            payload: Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = self.people[0].context(START + 1);
        let committed = self.groups[0].commit(prepared, message.id, &mut context);
        committed.unwrap();
        let reader = self.people[1].id;
        let (went, came) = (
            message.payload.encode().len(),
            message_bytes(&message, &reader),
        );
        let time = Instant::now();
        self.groups[1].receive(message).unwrap();
        let mut context = self.people[1].context(START + 1);
        let event = self.groups[1].poll(&mut context);
        let time = time.elapsed();
        let taken = matches!(event, Some(Event::Joined { .. } | Event::Changed { .. }));
        assert!(taken, "{event:?}");
        for (who, bytes) in [(0, went), (1, came)] {
            let written = self.stores[who].write(self.groups[who].changes());
            self.ratios[who] = written as f64 / bytes as f64;
        }
        time
    }

    /// Everybody has read everything: what they wrote does not open, which does not matter here.
    fn answer(&mut self) {
        let dependencies = self.groups[0].send(b"panda", &mut self.rng).unwrap();
        for author in 0..self.people.len() {
            let message = Message {
                id: operation(&mut self.rng),
                sender: self.people[author].id,
                dependencies: dependencies.dependencies.clone(),
                payload: Payload::Application(Encrypted {
                    secret: SecretId::from_bytes([0; 32]),
                    nonce: [0; 24],
                    ciphertext: Vec::new(),
                }),
            };
            for reader in (0..2).filter(|reader| *reader != author) {
                self.groups[reader].receive(message.clone()).unwrap();
                let mut context = self.people[reader].context(START + 1);
                while self.groups[reader].poll(&mut context).is_some() {}
            }
        }
        for who in 0..2 {
            self.stores[who].write(self.groups[who].changes());
        }
    }

    fn keep_newest(&mut self) {
        for who in 0..2 {
            self.groups[who].keep_newest(4);
            self.stores[who].write(self.groups[who].changes());
        }
    }

    fn bytes(&self) -> [usize; 2] {
        [self.stores[0].bytes(), self.stores[1].bytes()]
    }
}

/// Size of what one reader needs of a message: the control message and what was sent to it.
fn message_bytes(message: &Message<Payload>, reader: &Member) -> usize {
    let Payload::Control { control, directs } = &message.payload else {
        panic!("control");
    };
    let ours = directs.iter().filter(|direct| direct.recipient == *reader);
    let bytes: usize = ours.map(|direct| direct.encode().len()).sum();
    32 + 32 + 32 * message.dependencies.len() + control.encode().len() + bytes
}

/// Nobody ever answers.
fn silent(bars: &mut Bars) {
    let mut world = World::new(MEMBERS);
    let mut ratios = [0.0_f64; 2];
    for _ in 0..ROTATIONS {
        world.rotate();
        for (most, ratio) in ratios.iter_mut().zip(world.ratios) {
            *most = most.max(ratio);
        }
    }
    println!("{MEMBERS} members, {ROTATIONS} rotations that nobody answers");
    let [author, reader] = world.bytes().map(|bytes| bytes as f64 / 1e6);
    bars.at_most("stored by the author", author, 1.5, "MB");
    bars.at_most("stored by a reader", reader, 0.6, "MB");
    bars.at_most("written per byte sent, at most", ratios[0], 4.0, "");
    bars.at_most("written per byte received, at most", ratios[1], 4.0, "");
    reading(bars, &mut world);
    adding(bars, &mut world);
}

/// One message is read, with the row of its secret; and the whole group is opened.
fn reading(bars: &mut Bars, world: &mut World) {
    let sent = world.groups[0].send(b"panda", &mut world.rng).unwrap();
    let Payload::Application(encrypted) = sent.payload else {
        panic!("data");
    };
    let name = secret_key(&encrypted.secret);
    let read = || {
        let row = world.stores[1].get(&name);
        assert_eq!(*open_stored(row, &encrypted).unwrap(), b"panda");
    };
    bars.at_most(
        "one message read from stored rows",
        best_ms(read),
        1.0,
        "ms",
    );
    let open = || {
        let group = Group::load(Members::default(), world.stores[1].rows()).unwrap();
        assert_eq!(group.secrets().len(), world.groups[1].secrets().len());
    };
    println!("the reader's whole group opened: {:.2} ms", best_ms(open));
}

/// Receiving an add costs the same at any history.
fn adding(bars: &mut Bars, long: &mut World) {
    let mut short = World::new(MEMBERS);
    short.rotate();
    let time = |world: &mut World| {
        let times = (0..5).map(|_| {
            let person = people(1, 0, &mut world.rng).remove(0);
            let id = person.id;
            let mut keys = person.keys;
            let bundle = keys.long_term_bundle(START).unwrap();
            let registry = &mut world.people[0].registry;
            registry.add_long_term(id, bundle, START + 1).unwrap();
            let _ = keys.changes();
            let context = world.people[0].context(START + 1);
            let draft = world.groups[0].add(id, 4, &context, &mut world.rng);
            world.publish(draft.unwrap().0)
        });
        times.min().unwrap().as_secs_f64()
    };
    let ratio = time(long) / time(&mut short);
    let name = "an add received, against one at the beginning";
    bars.at_most(name, ratio, 2.0, "");
}

/// All read everything, now and then.
fn answered(bars: &mut Bars) {
    let mut world = World::new(MEMBERS);
    for _ in 0..20 {
        world.rotate();
        world.answer();
    }
    let before = world.bytes();
    for _ in 0..100 {
        world.rotate();
        world.answer();
    }
    let after = world.bytes();
    println!("{MEMBERS} members that answer");
    for (who, name) in ["author", "reader"].into_iter().enumerate() {
        let each = (after[who] as f64 - before[who] as f64) / 100.0;
        let name = format!("stored per rotation by the {name}: its id and its secret");
        bars.at_most(&name, each, 120.0, "B");
    }
    world.keep_newest();
    let before = world.bytes();
    for _ in 0..100 {
        world.rotate();
        world.answer();
        world.keep_newest();
    }
    let grown = world.bytes()[1] as f64 - before[1] as f64;
    bars.at_most(
        "the same with the four newest secrets: its id",
        grown / 100.0,
        45.0,
        "B",
    );
}

/// A hundred groups in memory, of 32 members and with 100 rotations.
fn in_use(bars: &mut Bars) {
    let mut world = World::new(32);
    for _ in 0..100 {
        world.rotate();
    }
    let held = || {
        let stats = ALLOCATOR.stats();
        stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
    };
    let open = |who: usize| Group::load(Members::default(), world.stores[who].rows()).unwrap();
    let before = held();
    for _ in 0..STORED {
        drop(open(0));
    }
    let name = "held by 10 000 groups that were opened and closed again";
    bars.at_most(name, held() - before, 0.0, "B");
    for who in 0..2 {
        let before = held();
        let groups: Vec<Group> = (0..50).map(|_| open(who)).collect();
        let bytes = (held() - before) / groups.len() as f64;
        let name = ["author", "reader"][who];
        let name = format!("100 groups of 32 members in use, by the {name}");
        bars.at_most(&name, bytes * 100.0 / 1e6, 40.0, "MB");
    }
}

/// Updates of groups with the hybrid suite, on one thread: drafted and sealed for everybody.
fn full_or_sparse(bars: &mut Bars) {
    println!("{MEMBERS} members, hybrid suite");
    for (every, name) in [(1, "full"), (16, "sparse, on average")] {
        let mut rng = life_rng("hybrid bars", every.into());
        let mut people = people(MEMBERS, 0, &mut rng);
        let mut config = SuiteConfig::new([7; 32]);
        config.hybrid_every = every;
        speak(&mut people, Some(config), 0, 1);
        let ids: Vec<_> = people.iter().map(|person| person.id).collect();
        let mut group = Group::new(ids[0], Members::default()).with_suites(config);
        let draft = group.create(&ids, &people[0].context(START + 2), &mut rng);
        let prepared = draft.unwrap().seal().unwrap();
        let id = operation(&mut rng);
        let mut context = people[0].context(START + 2);
        group.commit(prepared, id, &mut context).unwrap();
        // The best of several rounds of as many updates as have one that is hybrid.
        let (mut best, mut bytes) = (Duration::MAX, 0);
        for _ in 0..5 {
            let (mut took, mut sent) = (Duration::ZERO, 0);
            for _ in 0..every {
                let began = processor_time();
                let context = people[0].context(START + 2);
                let draft = group.update(&context, &mut rng).unwrap();
                let prepared = draft.seal().unwrap();
                took += processor_time() - began;
                let direct = |direct: &DirectMessage| direct.encode().len();
                sent += prepared.directs().map(direct).sum::<usize>();
                let mut context = people[0].context(START + 2);
                let id = operation(&mut rng);
                group.commit(prepared, id, &mut context).unwrap();
            }
            best = best.min(took / every);
            bytes = sent / every as usize;
        }
        let name = format!("one update, {name}");
        bars.at_most(&name, best.as_secs_f64() * 1e3, 60.0, "ms");
        let bar = if every == 1 { 320.0 } else { 60.0 };
        bars.at_most(&format!("{name}, sent"), bytes as f64 / 1e3, bar, "kB");
    }
}

/// The time that this thread has run, so that other processes do not count; Linux only.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

fn best_ms(run: impl Fn()) -> f64 {
    let times = (0..20).map(|_| {
        let time = Instant::now();
        run();
        time.elapsed()
    });
    times.min().unwrap().as_secs_f64() * 1e3
}
