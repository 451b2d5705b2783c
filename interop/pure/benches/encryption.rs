//! What the encryption costs, next to the published crate in the same run.
//!
//! `cargo bench --ignore-rust-version --bench encryption`, in `interop/pure`; sizes of groups as
//! arguments after `--`. Prints, for each size, bytes and processor time of initiator and one
//! receiver, and fails if a bar is missed. One thread each, both sides in turn, medians. Nothing
//! of the harness counts: encodings, ids and the membership of the published group (the cheapest
//! there is) are left out or are the same on both sides.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng as _;
use p2panda_core::Hash;
use p2panda_encryption::{Context, Member, OperationId, OwnKeys, Registry, Sealing, Wire};
use p2panda_interop_pure::clock::{Cost, median, now, timed};
use p2panda_interop_pure::dice::generator;
use p2panda_interop_pure::keys::Person;
use p2panda_interop_pure::{Body, Frame, Kind, data, message, to_published_key};
use published_encryption::data_scheme::GroupOutput;
use published_encryption::message_scheme::GroupEvent;

/// 64 is there for its bar.
const SIZES: [usize; 6] = [8, 32, 64, 128, 512, 1024];
/// Updates and messages in each round.
const REPEATS: usize = 8;
const TEXT: [u8; 1024] = [0x5a; 1024];

fn main() -> ExitCode {
    let sizes: Vec<_> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        SIZES.to_vec()
    } else {
        sizes
    };
    let mut bars = Bars { all_held: true };
    for size in sizes {
        let rounds = match size {
            0..100 => 9,
            100..200 => 7,
            _ => 3,
        };
        for scheme in ["data", "message"] {
            let table = measure(scheme, size, rounds);
            table.print(scheme, size);
            bars.check(scheme, size, &table);
        }
        if size == 128 {
            bars.split(size);
        }
    }
    match bars.all_held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// An operation to be measured.
#[derive(Clone, Copy)]
enum Step<'a> {
    Create(&'a [Member]),
    Add(Member),
    Remove(Member),
    Update,
    Send,
}

/// A member of either side and scheme.
trait Measured {
    fn make(&mut self, step: Step<'_>) -> (Cost, Frame);
    /// Gives the answers too.
    fn take(&mut self, frame: &Frame) -> (Cost, Vec<Frame>);
}

/// Initiator, receiver, and the one who is added later.
type Cast = [Box<dyn Measured>; 3];

/// Costs by step, of both sides, and the bytes.
#[derive(Default)]
struct Table {
    costs: BTreeMap<&'static str, [Vec<Cost>; 2]>,
    bytes: BTreeMap<&'static str, [usize; 2]>,
}

const STEPS: [&str; 13] = [
    "create",
    "create, receiver",
    "update",
    "update, receiver",
    "add",
    "add, receiver",
    "add, who is added",
    "remove",
    "remove, receiver",
    "answer",
    "answer, receiver",
    "encrypt 1 KiB",
    "decrypt 1 KiB",
];

fn measure(scheme: &str, size: usize, rounds: u64) -> Table {
    let mut table = Table::default();
    for round in 0..rounds {
        let mut casts = [Kind::Ours, Kind::Published].map(|kind| cast(scheme, kind, size, round));
        // Who goes first changes with the round.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut step = |name: usize, who: usize, step: usize| {
            for side in order {
                let (members, people) = &mut casts[side];
                let ids: Vec<_> = people[..size].to_vec();
                let step = match step {
                    0 => Step::Create(&ids),
                    1 => Step::Update,
                    2 => Step::Add(people[size]),
                    3 => Step::Remove(people[size - 1]),
                    _ => Step::Send,
                };
                let (cost, frame) = members[who].make(step);
                table.add(STEPS[name], side, cost, Some(frame.bytes()));
                let (cost, answers) = members[1 - who].take(&frame);
                table.add(STEPS[name + 1], side, cost, None);
                if matches!(step, Step::Add(_)) {
                    let (cost, _) = members[2].take(&frame);
                    table.add(STEPS[6], side, cost, None);
                }
                for answer in answers {
                    table.size(STEPS[9], side, answer.bytes());
                    let (cost, _) = members[who].take(&answer);
                    table.add(STEPS[10], side, cost, None);
                }
            }
        };
        step(0, 0, 0);
        for _ in 0..REPEATS {
            step(2, 0, 1);
        }
        for _ in 0..REPEATS {
            step(11, 0, 4);
        }
        step(4, 0, 2);
        step(7, 0, 3);
    }
    table
}

impl Table {
    fn add(&mut self, step: &'static str, side: usize, cost: Cost, bytes: Option<usize>) {
        self.costs.entry(step).or_default()[side].push(cost);
        if let Some(bytes) = bytes {
            self.size(step, side, bytes);
        }
    }

    fn size(&mut self, step: &'static str, side: usize, bytes: usize) {
        self.bytes.entry(step).or_default()[side] = bytes;
    }

    fn cpu(&self, step: &str, side: usize) -> Option<Duration> {
        let costs = &self.costs.get(step)?[side];
        Some(median(costs.clone()).cpu)
    }

    /// Our time as a part of the published.
    fn ratio(&self, step: &str) -> Option<f64> {
        let [ours, theirs] = [self.cpu(step, 0)?, self.cpu(step, 1)?];
        Some(ours.as_secs_f64() / theirs.as_secs_f64())
    }

    fn print(&self, scheme: &str, size: usize) {
        println!("\n{scheme} scheme, {size} members");
        println!(
            "{:<20} {:>11} {:>11} {:>7} {:>11} {:>11}",
            "", "ours", "0.7.1", "ratio", "bytes", "of 0.7.1"
        );
        for step in STEPS {
            let time = |side| self.cpu(step, side).map(|time| format!("{time:.1?}"));
            let bytes = |side: usize| self.bytes.get(step).map(|bytes| bytes[side].to_string());
            let ratio = self.ratio(step).map(|ratio| format!("{ratio:.2}"));
            if time(0).is_none() && bytes(0).is_none() {
                continue;
            }
            let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            println!(
                "{step:<20} {:>11} {:>11} {:>7} {:>11} {:>11}",
                or(time(0)),
                or(time(1)),
                or(ratio),
                or(bytes(0)),
                or(bytes(1))
            );
        }
    }
}

/// The bars of `docs/protocol/interop.md#7`.
struct Bars {
    all_held: bool,
}

impl Bars {
    fn check(&mut self, scheme: &str, size: usize, table: &Table) {
        if size == 128 {
            for step in [STEPS[2], STEPS[3]] {
                self.bar(
                    &format!("{scheme}: {step}"),
                    table.ratio(step).unwrap(),
                    1.1,
                );
            }
        }
        if size == 64 && scheme == "message" {
            self.bar("message: decrypt", table.ratio(STEPS[12]).unwrap(), 0.5);
        }
    }

    fn bar(&mut self, name: &str, ratio: f64, max: f64) {
        let held = ratio <= max;
        self.all_held &= held;
        let verdict = if held { "holds" } else { "MISSED" };
        println!("bar: {name} takes {ratio:.2} of the published time, at most {max}: {verdict}");
    }

    /// An update on one thread and on two. What counts is the processor time of the longer way
    /// through both threads: the wall only shows it while nothing else runs.
    fn split(&mut self, size: usize) {
        let mut rng = generator("split", 0);
        let (mut people, ids) = people(Kind::Ours, size, &mut rng);
        let mut first = data::OurParty::new(people.remove(0), rng);
        first.make(Step::Create(&ids[..size]));
        let [mut one, mut two] = [const { Vec::new() }; 2];
        for _ in 0..30 {
            one.push(update_on(&mut first, 1));
            two.push(update_on(&mut first, 2));
        }
        let least = |costs: &[Cost]| costs.iter().map(|cost| cost.wall).min().unwrap();
        let walls = [&one, &two].map(|costs| least(costs));
        let [one, two] = [one, two].map(|costs| median(costs).cpu);
        let faster = one.as_secs_f64() / two.as_secs_f64();
        let held = faster >= 1.5;
        self.all_held &= held;
        let verdict = if held { "holds" } else { "MISSED" };
        println!(
            "bar: data: update of {size} on one thread {one:.1?}, on two {two:.1?}: {faster:.2} \
             times faster, at least 1.5: {verdict} (on the wall {:.1?} and {:.1?})",
            walls[0], walls[1]
        );
    }
}

/// An update with the work spread over one or two threads.
fn update_on(party: &mut data::OurParty, threads: usize) -> Cost {
    let id = random_id(&mut party.rng);
    let mut context = context(&mut party.keys, &mut party.registry);
    let (group, rng) = (&mut party.group, &mut party.rng);
    let (mut cost, waited) = timed(|| {
        let mut draft = group.update(&context, rng).unwrap();
        let mut waited = Duration::ZERO;
        if threads == 2 {
            let mut first = draft.take();
            let second = first.split_off(first.len() / 2);
            let seal = |half: Vec<Sealing>| -> Vec<_> {
                half.into_iter().map(|s| s.seal().unwrap()).collect()
            };
            std::thread::scope(|scope| {
                let other = scope.spawn(|| timed(|| seal(second)));
                let (first_cost, first) = timed(|| seal(first));
                let (second_cost, second) = other.join().unwrap();
                waited = second_cost.cpu.saturating_sub(first_cost.cpu);
                draft.put(first);
                draft.put(second);
            });
        }
        let prepared = draft.seal().unwrap();
        group.commit(prepared, id, &mut context).unwrap();
        waited
    });
    cost.cpu += waited;
    cost
}

/// People of one kind: the first two and the last know everybody's bundles.
fn people(kind: Kind, size: usize, rng: &mut ChaCha20Rng) -> (Vec<Person>, Vec<Member>) {
    let mut people: Vec<_> = (0..size + 1).map(|_| Person::new(kind, rng)).collect();
    let ids = people.iter().map(|person| person.id).collect();
    let readers = [0, 1, size];
    for owner in 0..people.len() {
        let (id, long_term) = (people[owner].id, people[owner].long_term_bundle());
        for reader in readers {
            let one_time = people[owner].one_time_bundle(rng);
            people[reader].learn_long_term(id, &long_term);
            if reader != owner {
                people[reader].learn_one_time(id, &one_time);
            }
        }
    }
    (people, ids)
}

fn cast(scheme: &str, kind: Kind, size: usize, round: u64) -> (Cast, Vec<Member>) {
    let mut rng = generator("cast", round);
    let (mut people, ids) = people(kind, size, &mut rng);
    let [last, second, first] = [size, 1, 0].map(|place| people.remove(place));
    let cast = [first, second, last].map(|person| -> Box<dyn Measured> {
        let rng = generator("party", rng.next_u64());
        match (scheme, kind) {
            ("data", Kind::Ours) => Box::new(data::OurParty::new(person, rng)),
            ("data", Kind::Published) => Box::new(data::PublishedParty::new(person)),
            (_, Kind::Ours) => Box::new(message::OurParty::new(person, rng)),
            (_, Kind::Published) => {
                let members = message::PlainState::default();
                let party: message::PublishedParty<message::PlainMembership> =
                    message::PublishedParty::new(person, members);
                Box::new(party)
            }
        }
    });
    (cast, ids)
}

fn context<'a>(keys: &'a mut OwnKeys, registry: &'a mut Registry) -> Context<'a> {
    Context::new(keys, registry, now())
}

fn random_id(rng: &mut ChaCha20Rng) -> OperationId {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    Hash::from_bytes(bytes)
}

fn sum(one: Cost, other: Cost) -> Cost {
    Cost {
        cpu: one.cpu + other.cpu,
        wall: one.wall + other.wall,
    }
}

impl Measured for data::OurParty {
    fn make(&mut self, step: Step<'_>) -> (Cost, Frame) {
        let id = random_id(&mut self.rng);
        if let Step::Send = step {
            let (cost, sent) = timed(|| self.group.send(&TEXT, &mut self.rng));
            return (cost, data::our_frame(self.id, &sent.unwrap()));
        }
        let mut context = context(&mut self.keys, &mut self.registry);
        let (group, rng) = (&mut self.group, &mut self.rng);
        let (sealing, prepared) = timed(|| {
            let draft = match step {
                Step::Create(members) => group.create(members, &context, rng),
                Step::Add(id) => group.add(id, 4, &context, rng).map(|(draft, _)| draft),
                Step::Remove(id) => group.remove(id, &context, rng),
                _ => group.update(&context, rng),
            };
            draft.unwrap().seal().unwrap()
        });
        let frame = Frame {
            id,
            sender: self.id,
            dependencies: prepared.dependencies().to_vec(),
            body: Body::Control {
                control: prepared.control().encode().to_vec(),
                directs: prepared.directs().map(|d| d.encode().to_vec()).collect(),
            },
        };
        let (commit, done) = timed(|| group.commit(prepared, id, &mut context));
        done.unwrap();
        (sum(sealing, commit), frame)
    }

    fn take(&mut self, frame: &Frame) -> (Cost, Vec<Frame>) {
        let message = data::our_message(frame);
        if self.group.members().is_err() {
            // Who is added has not received the past here.
            let past = frame.dependencies.iter();
            past.for_each(|id| self.group.give_up(*id));
        }
        let mut context = context(&mut self.keys, &mut self.registry);
        let group = &mut self.group;
        let (cost, event) = timed(|| {
            group.receive(message).unwrap();
            group.poll(&mut context).unwrap()
        });
        assert!(
            !matches!(event, p2panda_encryption::data::Event::Failed { .. }),
            "{event:?}"
        );
        (cost, Vec::new())
    }
}

impl Measured for data::PublishedParty {
    fn make(&mut self, step: Step<'_>) -> (Cost, Frame) {
        use data::PublishedGroup;
        let (state, rng) = (self.state.take().unwrap(), &self.rng);
        let (cost, made) = match step {
            Step::Create(members) => {
                let members = members.iter().map(to_published_key).collect();
                timed(|| PublishedGroup::create(state, members, rng))
            }
            Step::Add(id) => timed(|| PublishedGroup::add(state, to_published_key(&id), rng)),
            Step::Remove(id) => timed(|| PublishedGroup::remove(state, to_published_key(&id), rng)),
            Step::Update => timed(|| PublishedGroup::update(state, rng)),
            Step::Send => timed(|| PublishedGroup::send(state, &TEXT, rng)),
        };
        let (state, message) = made.unwrap();
        self.state = Some(state);
        (cost, message.to_frame())
    }

    fn take(&mut self, frame: &Frame) -> (Cost, Vec<Frame>) {
        let message = data::DataMessage::from_frame(frame);
        let state = self.state.take().unwrap();
        let (cost, received) = timed(|| data::PublishedGroup::receive(state, &message));
        let (state, outputs) = received.unwrap();
        self.state = Some(state);
        let opened = matches!(&outputs[..], [GroupOutput::Application { .. }]);
        assert_eq!(opened, matches!(frame.body, Body::Data { .. }));
        (cost, Vec::new())
    }
}

impl Measured for message::OurParty {
    fn make(&mut self, step: Step<'_>) -> (Cost, Frame) {
        if let Step::Send = step {
            let (cost, sent) = timed(|| self.group.send(&TEXT));
            let frame = message::our_frame(self.id, &sent.unwrap());
            let (publish, ()) = timed(|| self.group.published(frame.id));
            return (sum(cost, publish), frame);
        }
        let id = random_id(&mut self.rng);
        let mut context = context(&mut self.keys, &mut self.registry);
        let (group, rng) = (&mut self.group, &mut self.rng);
        let (sealing, prepared) = timed(|| {
            let draft = match step {
                Step::Create(members) => group.create(members, &context, rng),
                Step::Add(id) => group.add(id, &context, rng),
                Step::Remove(id) => group.remove(id, &context, rng),
                _ => group.update(&context, rng),
            };
            draft.unwrap().seal().unwrap()
        });
        let frame = Frame {
            id,
            sender: self.id,
            dependencies: prepared.dependencies().to_vec(),
            body: Body::Control {
                control: prepared.control().encode().to_vec(),
                directs: prepared.directs().map(|d| d.encode().to_vec()).collect(),
            },
        };
        let (commit, done) = timed(|| group.commit(prepared, id, &mut context, rng));
        done.unwrap();
        (sum(sealing, commit), frame)
    }

    fn take(&mut self, frame: &Frame) -> (Cost, Vec<Frame>) {
        use p2panda_encryption::message::Event;
        let message = message::our_message(frame);
        if self.group.members().is_err() {
            let past = frame.dependencies.iter();
            past.for_each(|id| self.group.give_up(*id));
        }
        let mut context = context(&mut self.keys, &mut self.registry);
        let (group, rng) = (&mut self.group, &mut self.rng);
        let (cost, event) = timed(|| {
            group.receive(message).unwrap();
            group.poll(&mut context, rng).unwrap()
        });
        let answer = match event {
            Event::Joined { answer, .. } | Event::Changed { answer, .. } => answer,
            Event::Application { .. } => None,
            other => panic!("{other:?}"),
        };
        let answer = answer.map(|answer| message::our_frame(self.id, &answer));
        let published = answer.iter().map(|frame| frame.id);
        published.for_each(|id| self.group.published(id));
        (cost, answer.into_iter().collect())
    }
}

type PublishedChain = message::PublishedParty<message::PlainMembership>;

impl Measured for PublishedChain {
    fn make(&mut self, step: Step<'_>) -> (Cost, Frame) {
        use message::PublishedGroup;
        let (state, rng) = (self.state.take().unwrap(), &self.rng);
        let (cost, made) = match step {
            Step::Create(members) => {
                let members = members.iter().map(to_published_key).collect();
                timed(|| PublishedGroup::create(state, members, rng))
            }
            Step::Add(id) => timed(|| PublishedGroup::add(state, to_published_key(&id), rng)),
            Step::Remove(id) => timed(|| PublishedGroup::remove(state, to_published_key(&id), rng)),
            Step::Update => timed(|| PublishedGroup::update(state, rng)),
            Step::Send => timed(|| PublishedGroup::send(state, &TEXT)),
        };
        let (state, message) = made.unwrap();
        self.state = Some(state);
        (cost, message.to_frame())
    }

    fn take(&mut self, frame: &Frame) -> (Cost, Vec<Frame>) {
        let message = message::ChainMessage::from_frame(frame);
        let (state, rng) = (self.state.take().unwrap(), &self.rng);
        let (cost, received) = timed(|| message::PublishedGroup::receive(state, &message, rng));
        let (state, output) = received.unwrap();
        self.state = Some(state);
        let (mut answers, mut opened) = (Vec::new(), false);
        for event in output.into_iter().flat_map(|output| output.events) {
            match event {
                GroupEvent::Control(message) => answers.push(message.to_frame()),
                GroupEvent::Application { .. } => opened = true,
                GroupEvent::RemovedOurselves => panic!("nobody was removed"),
            }
        }
        assert_eq!(opened, matches!(frame.body, Body::Message { .. }));
        (cost, answers)
    }
}
