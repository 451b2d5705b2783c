//! Random lives of data groups, with the security table played as a game.
//!
//! Readers of each secret are tracked apart from the code under test, from nothing but the direct
//! messages that were sent. `LIVES` and `FIRST_LIFE` choose how many lives and from which seed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{
    Control, Draft, Encrypted, Event, Failure, Group, HistoryError, Membership, OperationError,
    Payload, Rekey, SecretId,
};
use p2panda_encryption::{
    DecodeError, Items, Member, Message, OperationId, OwnKeys, QueueError, Reader, Registry, Wire,
    Writer,
};
use world::*;

thread_local! {
    /// Effect of each control message of a life on the membership, and what it follows.
    static GRAPH: RefCell<BTreeMap<OperationId, Node>> = const { RefCell::new(BTreeMap::new()) };
}

struct Node {
    adds: BTreeSet<Member>,
    removes: Option<Member>,
    past: BTreeSet<OperationId>,
}

/// Membership that is decided elsewhere, here by a graph that everybody can see: anyone who was
/// added and not removed by a later operation is a member, in any order of arrival.
#[derive(Clone, Default, Debug, PartialEq)]
struct Elsewhere(BTreeSet<OperationId>);

impl Elsewhere {
    fn evaluate(&self) -> BTreeSet<Member> {
        GRAPH.with_borrow(|graph| {
            let known = || self.0.iter().filter_map(|id| Some((id, graph.get(id)?)));
            let stays = |id: &OperationId, member: &Member| {
                !known().any(|(_, later)| later.removes == Some(*member) && later.past.contains(id))
            };
            known()
                .flat_map(|(id, node)| node.adds.iter().map(move |member| (id, *member)))
                .filter(|(id, member)| stays(id, member))
                .map(|(_, member)| member)
                .collect()
        })
    }

    fn take(&mut self, operation: OperationId) {
        GRAPH.with_borrow(|graph| self.0.extend(graph[&operation].past.iter().copied()));
        self.0.insert(operation);
    }
}

impl Membership for Elsewhere {
    fn create(&mut self, _: &[Member]) {
        let first = |graph: &BTreeMap<OperationId, Node>| {
            let created = graph.iter().find(|(_, node)| node.past.is_empty());
            *created.unwrap().0
        };
        self.0.insert(GRAPH.with_borrow(first));
    }

    fn add(&mut self, _: Member, _: Member, operation: OperationId) {
        self.take(operation);
    }

    fn remove(&mut self, _: Member, _: Member, operation: OperationId) {
        self.take(operation);
    }

    fn welcome(&mut self, history: &[u8]) -> Result<BTreeSet<Member>, HistoryError> {
        let theirs = Elsewhere::decode(history).map_err(|_| HistoryError)?;
        let members = theirs.evaluate();
        self.0.extend(theirs.0);
        Ok(members)
    }

    fn history(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn members(&self) -> BTreeSet<Member> {
        self.evaluate()
    }
}

impl Wire for Elsewhere {
    fn write(&self, w: &mut Writer) {
        w.array(self.0.len());
        for operation in &self.0 {
            w.item(operation);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Elsewhere, DecodeError> {
        let count = r.array()?;
        let operations = (0..count)
            .map(|_| OperationId::read(r))
            .collect::<Result<_, _>>()?;
        Ok(Elsewhere(operations))
    }
}

/// One person, with the messages on their way to it.
struct Actor {
    person: Person,
    group: Group<Elsewhere>,
    inbox: Vec<usize>,
    processed: BTreeSet<OperationId>,
    erased: BTreeSet<SecretId>,
    opened: BTreeSet<OperationId>,
    /// Stored state: group, own keys, registry.
    stored: [Store; 3],
}

impl Actor {
    /// Stores what has changed, after which what is stored is the state.
    fn store(&mut self) {
        let [group, keys, registry] = &mut self.stored;
        group.write(self.group.changes());
        keys.write(self.person.keys.changes());
        registry.write(self.person.registry.changes());
        let loaded = Group::load(Elsewhere::default(), group.rows()).unwrap();
        assert_eq!(loaded.encode(), self.group.encode());
        assert_eq!(loaded, self.group);
        assert_eq!(OwnKeys::load(keys.rows()).unwrap(), self.person.keys);
        let loaded = Registry::load(registry.rows()).unwrap();
        assert_eq!(loaded, self.person.registry);
    }
}

/// A message of the application and who may read it.
struct Data {
    operation: OperationId,
    secret: SecretId,
    readers: BTreeSet<Member>,
}

/// A copy of somebody's whole state, kept by an attacker who reads all traffic.
struct Theft {
    victim: Member,
    copy: Actor,
    /// Members that have opened a direct message that the victim sent after the theft.
    healed: BTreeSet<Member>,
    /// Messages that the victim sent direct messages with after the theft.
    fresh: BTreeMap<OperationId, BTreeSet<Member>>,
    /// Secrets that the attacker must not learn.
    safe: BTreeSet<SecretId>,
}

struct Life {
    seed: u64,
    steps: u64,
    rng: ChaCha20Rng,
    now: u64,
    actors: Vec<Actor>,
    messages: Vec<Message<Payload>>,
    /// Members that were given a secret, by which operations.
    could_read: BTreeMap<SecretId, BTreeMap<Member, BTreeSet<OperationId>>>,
    data: Vec<Data>,
    theft: Option<Theft>,
    removed: BTreeSet<Member>,
}

impl Life {
    fn new(seed: u64, steps: u64) -> Life {
        GRAPH.with_borrow_mut(BTreeMap::clear);
        let mut rng = life_rng("data life", seed);
        let count = 3 + below(&mut rng, 10);
        let mut people = people(count, 0, &mut rng);
        let suites = suites(seed);
        speak(&mut people, suites, 0, seed);
        let group = |person: &Person| {
            let group = Group::new(person.id, Elsewhere::default());
            match suites {
                Some(config) => group.with_suites(config),
                None => group,
            }
        };
        let actors = people
            .into_iter()
            .map(|person| Actor {
                group: group(&person),
                person,
                inbox: Vec::new(),
                processed: BTreeSet::new(),
                erased: BTreeSet::new(),
                opened: BTreeSet::new(),
                stored: Default::default(),
            })
            .collect();
        Life {
            seed,
            steps,
            rng,
            now: START + 1,
            actors,
            messages: Vec::new(),
            could_read: BTreeMap::new(),
            data: Vec::new(),
            theft: None,
            removed: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
        let count = self.actors.len();
        let first = 1 + below(&mut self.rng, count);
        let members: Vec<_> = self.actors[..first].iter().map(|a| a.person.id).collect();
        let now = self.now;
        let actor = &mut self.actors[0];
        let draft = actor
            .group
            .create(&members, &actor.person.context(now), &mut self.rng)
            .unwrap();
        self.commit(0, draft, None);
        for _ in 0..self.steps {
            self.step();
        }
        self.settle();
    }

    fn step(&mut self) {
        self.now += below(&mut self.rng, 3) as u64;
        let who = below(&mut self.rng, self.actors.len());
        match below(&mut self.rng, 100) {
            0..60 => self.deliver_one(who),
            60..75 => self.send(who),
            75..81 => self.update(who),
            81..88 => self.add(who),
            88..93 => self.remove(who),
            93..95 => self.erase(who),
            95..97 => self.steal(who),
            _ => self.restart(who),
        }
        self.actors[who].store();
    }

    fn is_member(&self, who: usize) -> bool {
        self.actors[who].group.members().is_ok()
    }

    fn update(&mut self, who: usize) {
        let now = self.now;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        if let Ok(draft) = actor.group.update(&context, &mut self.rng) {
            self.commit(who, draft, None);
        }
    }

    fn add(&mut self, who: usize) {
        let target = below(&mut self.rng, self.actors.len());
        let target = self.actors[target].person.id;
        if !self.is_member(who) {
            return;
        }
        let max = 1 + below(&mut self.rng, 6);
        let now = self.now;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        match actor.group.add(target, max, &context, &mut self.rng) {
            Ok((draft, report)) => {
                let left_out = report.left_out.into_iter().collect();
                self.commit(who, draft, Some(left_out));
            }
            Err(OperationError::NoEligibleSecret) => self.update(who),
            Err(OperationError::NotAddOurselves | OperationError::AddedExistsAlready(_)) => {}
            Err(other) => panic!("seed {}: {other}", self.seed),
        }
    }

    fn remove(&mut self, who: usize) {
        if !self.is_member(who) {
            return;
        }
        let members = self.actors[who].group.members().unwrap();
        let index = below(&mut self.rng, members.len());
        let target = *members.iter().nth(index).unwrap();
        let now = self.now;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        let draft = actor.group.remove(target, &context, &mut self.rng).unwrap();
        self.removed.insert(target);
        self.commit(who, draft, None);
    }

    fn erase(&mut self, who: usize) {
        let keep = 1 + below(&mut self.rng, 3);
        let actor = &mut self.actors[who];
        let before = actor.group.latest_eligible();
        let erased = actor.group.keep_newest(keep);
        assert_eq!(actor.group.latest_eligible(), before);
        actor.erased.extend(erased);
    }

    /// Hands the latest secret to members that lack it.
    fn hand_over(&mut self, who: usize) {
        let now = self.now;
        let actor = &mut self.actors[who];
        for member in actor.group.lacking(&actor.person.context(now)) {
            let max = 1 + below(&mut self.rng, 6);
            let actor = &mut self.actors[who];
            let context = actor.person.context(now);
            if let Ok((draft, report)) = actor.group.welcome(member, max, &context, &mut self.rng) {
                self.commit(who, draft, Some(report.left_out.into_iter().collect()));
            } else {
                return self.update(who);
            }
        }
    }

    /// Stores the state and continues from what was stored.
    fn restart(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        actor.store();
        let [group, keys, registry] = &actor.stored;
        actor.group = Group::load(Elsewhere::default(), group.rows()).unwrap();
        actor.person.keys = OwnKeys::load(keys.rows()).unwrap();
        actor.person.registry = Registry::load(registry.rows()).unwrap();
        let stored = actor.group.encode();
        assert_eq!(Group::<Elsewhere>::decode(&stored).unwrap(), actor.group);
    }

    fn send(&mut self, who: usize) {
        self.hand_over(who);
        let text = self.messages.len().to_le_bytes();
        let actor = &self.actors[who];
        let me = actor.person.id;
        let sent = match actor.group.send(&text, &mut self.rng) {
            Ok(sent) => sent,
            Err(OperationError::NoEligibleSecret) => {
                let rekey = actor.group.rekey();
                assert!(matches!(rekey, Rekey::Required(_)), "seed {}", self.seed);
                return self.update(who);
            }
            Err(error) => {
                assert_eq!(error, OperationError::GroupNotYetEstablished);
                return;
            }
        };
        let Payload::Application(Encrypted { secret, .. }) = sent.payload else {
            panic!("data");
        };
        // The game: nobody but members as the sender knows them could read this.
        let members = actor.group.members().unwrap();
        let readers = &self.could_read[&secret];
        for (reader, given_by) in readers {
            // Who was added elsewhere without the sender having heard of it may read, too.
            let unheard = given_by.iter().all(|id| !actor.processed.contains(id));
            assert!(
                members.contains(reader) || unheard,
                "seed {}: {me} wrote under a secret of {reader}",
                self.seed
            );
        }
        if let Some(theft) = &self.theft {
            assert!(
                !theft.safe.contains(&secret) || theft.copy.group.secrets().get(&secret).is_none(),
                "seed {}: a thief reads on",
                self.seed
            );
        }
        let id = operation(&mut self.rng);
        self.data.push(Data {
            operation: id,
            secret,
            readers: members,
        });
        self.publish(who, id, sent.dependencies, sent.payload);
    }

    fn commit(&mut self, who: usize, draft: Draft, left_out: Option<BTreeSet<SecretId>>) {
        let id = operation(&mut self.rng);
        let now = self.now;
        let actor = &mut self.actors[who];
        let me = actor.person.id;
        let before: BTreeSet<_> = actor.group.secrets().iter().map(|(id, _)| *id).collect();
        let prepared = draft.seal().unwrap();
        let control = prepared.control().clone();
        let directs: Vec<_> = prepared.directs().cloned().collect();
        let dependencies = prepared.dependencies().to_vec();
        let adds = match &control {
            Control::Create { initial_members } => initial_members.iter().copied().collect(),
            Control::Add { added } => BTreeSet::from([*added]),
            _ => BTreeSet::new(),
        };
        let removes = match &control {
            Control::Remove { removed } => Some(*removed),
            _ => None,
        };
        let past = GRAPH.with_borrow(|graph| {
            let past = |id: &OperationId| {
                graph
                    .get(id)
                    .into_iter()
                    .flat_map(|node| node.past.iter().copied())
            };
            let further = dependencies.iter().flat_map(past);
            dependencies.iter().copied().chain(further).collect()
        });
        let node = Node {
            adds,
            removes,
            past,
        };
        GRAPH.with_borrow_mut(|graph| graph.insert(id, node));
        let mut context = actor.person.context(now);
        actor.group.commit(prepared, id, &mut context).unwrap();
        actor.processed.insert(id);
        let made = actor.group.secrets().iter().map(|(id, _)| *id);
        let made: Vec<_> = made.filter(|id| !before.contains(id)).collect();
        for secret in &made {
            let readers = self.could_read.entry(*secret).or_default();
            for reader in directs.iter().map(|direct| direct.recipient).chain([me]) {
                readers.entry(reader).or_default().insert(id);
            }
        }
        if let (Control::Add { added }, Some(left_out)) = (&control, &left_out) {
            for secret in before.difference(left_out) {
                let readers = self.could_read.entry(*secret).or_default();
                readers.entry(*added).or_default().insert(id);
            }
        }
        if let Some(theft) = &mut self.theft {
            let recipients: BTreeSet<_> = directs.iter().map(|d| d.recipient).collect();
            if theft.victim == me {
                theft.fresh.insert(id, recipients);
                theft.safe.extend(made);
            } else if control
                == (Control::Add {
                    added: theft.victim,
                })
                && !theft.healed.contains(&me)
            {
                // A welcome through a channel that is not healed gives the thief everything.
                theft.safe.retain(|secret| !before.contains(secret));
            } else if theft.healed.contains(&me) || !recipients.contains(&theft.victim) {
                theft.safe.extend(made);
            }
        }
        self.publish(who, id, dependencies, Payload::Control { control, directs });
    }

    fn publish(
        &mut self,
        who: usize,
        id: OperationId,
        dependencies: Vec<OperationId>,
        payload: Payload,
    ) {
        let message = Message {
            id,
            sender: self.actors[who].person.id,
            dependencies,
            payload,
        };
        let index = self.messages.len();
        self.messages.push(message);
        for (reader, actor) in self.actors.iter_mut().enumerate() {
            if reader != who {
                actor.inbox.push(index);
            }
        }
        if let Some(theft) = &mut self.theft {
            theft.copy.inbox.push(index);
        }
    }

    /// Delivers any of the messages on their way, sometimes a second time later.
    fn deliver_one(&mut self, who: usize) {
        for _ in 0..4 {
            let inbox = self.actors[who].inbox.len();
            if inbox == 0 {
                return;
            }
            // Mostly oldest first, or little is ever ready.
            let pick = match chance(&mut self.rng, 70) {
                true => 0,
                false => below(&mut self.rng, inbox),
            };
            let index = match chance(&mut self.rng, 10) {
                true => self.actors[who].inbox[pick],
                false => self.actors[who].inbox.remove(pick),
            };
            self.deliver(who, index);
        }
    }

    fn deliver(&mut self, who: usize, index: usize) {
        let message = self.messages[index].clone();
        let is_control = matches!(message.payload, Payload::Control { .. });
        let actor = &mut self.actors[who];
        let repeated = actor.processed.contains(&message.id);
        match actor.group.receive(message) {
            Ok(displaced) => {
                assert_eq!(displaced, []);
                assert!(!repeated || !is_control, "seed {}", self.seed);
            }
            Err(error) => assert_eq!(error, QueueError::Replayed, "seed {}", self.seed),
        }
        self.poll(who);
    }

    fn poll(&mut self, who: usize) {
        let now = self.now;
        loop {
            let actor = &mut self.actors[who];
            let mut context = actor.person.context(now);
            let Some(event) = actor.group.poll(&mut context) else {
                break;
            };
            let me = actor.person.id;
            match event {
                Event::Joined { operation } | Event::RemovedOurselves { operation } => {
                    actor.processed.insert(operation);
                    let before = self.past_of(operation);
                    self.actors[who].processed.extend(before);
                }
                Event::Changed { operation, .. } => {
                    actor.processed.insert(operation);
                    if let Some(theft) = &mut self.theft
                        && theft
                            .fresh
                            .get(&operation)
                            .is_some_and(|to| to.contains(&me))
                    {
                        theft.healed.insert(me);
                    }
                }
                Event::Application { operation, .. } => {
                    actor.opened.insert(operation);
                    let data = self.data.iter().find(|d| d.operation == operation).unwrap();
                    let could = &self.could_read[&data.secret];
                    assert!(
                        could.contains_key(&me),
                        "seed {}: {me} reads too much",
                        self.seed
                    );
                }
                Event::Failed {
                    operation, failure, ..
                } => {
                    actor.processed.insert(operation);
                    let Failure::UnknownGroupSecret(secret) = failure else {
                        panic!("seed {}: {me} at {operation}: {failure}", self.seed);
                    };
                    let actor = &self.actors[who];
                    let given_by = self.could_read[&secret].get(&me).into_iter().flatten();
                    let could = given_by.clone().any(|id| actor.processed.contains(id));
                    let erased = actor.erased.contains(&secret);
                    assert!(!could || erased, "seed {}: {me} lacks {secret}", self.seed);
                }
                other => panic!("seed {}: {other:?}", self.seed),
            }
        }
    }

    /// Everything that a message follows.
    fn past_of(&self, operation: OperationId) -> BTreeSet<OperationId> {
        let (mut past, mut open) = (BTreeSet::new(), vec![operation]);
        while let Some(id) = open.pop() {
            let message = self
                .messages
                .iter()
                .find(|message| message.id == id)
                .unwrap();
            for dependency in &message.dependencies {
                if past.insert(*dependency) {
                    open.push(*dependency);
                }
            }
        }
        past
    }

    fn steal(&mut self, who: usize) {
        if self.theft.is_some() || !self.is_member(who) {
            return;
        }
        let actor = &self.actors[who];
        let copy = Actor {
            person: Person {
                id: actor.person.id,
                keys: OwnKeys::decode(&actor.person.keys.encode()).unwrap(),
                registry: actor.person.registry.clone(),
            },
            group: Group::decode(&actor.group.encode()).unwrap(),
            inbox: actor.inbox.clone(),
            processed: BTreeSet::new(),
            erased: BTreeSet::new(),
            opened: BTreeSet::new(),
            stored: Default::default(),
        };
        self.theft = Some(Theft {
            victim: actor.person.id,
            copy,
            healed: BTreeSet::new(),
            fresh: BTreeMap::new(),
            safe: BTreeSet::new(),
        });
    }

    /// The thief opens what its copy of the state opens.
    fn let_the_thief_read(&mut self) {
        let Some(theft) = &mut self.theft else {
            return;
        };
        for index in std::mem::take(&mut theft.copy.inbox) {
            let message = self.messages[index].clone();
            if message.sender == theft.victim {
                theft.copy.group.give_up(message.id);
                continue;
            }
            let _ = theft.copy.group.receive(message);
            let mut context = theft.copy.person.context(self.now);
            while theft.copy.group.poll(&mut context).is_some() {}
        }
        for secret in &theft.safe {
            let known = theft.copy.group.secrets().get(secret);
            assert!(
                known.is_none(),
                "seed {}: a thief learns {secret}",
                self.seed
            );
        }
    }

    fn deliver_everything(&mut self) {
        for who in 0..self.actors.len() {
            for index in std::mem::take(&mut self.actors[who].inbox) {
                self.deliver(who, index);
            }
        }
    }

    /// Delivers what is left, lets members do what they are advised to, and compares everybody.
    fn settle(&mut self) {
        self.deliver_everything();
        for _ in 0..2 {
            for who in 0..self.actors.len() {
                if self.actors[who].group.rekey() != Rekey::None {
                    self.update(who);
                    // Another member's update that comes first is as good as one's own.
                    self.deliver_everything();
                }
                self.hand_over(who);
                self.deliver_everything();
            }
        }
        let members: Vec<_> = (0..self.actors.len())
            .filter(|w| self.is_member(*w))
            .collect();
        let Some(first) = members.first() else {
            return;
        };
        let expected = self.actors[*first].group.members().unwrap();
        let latest = self.actors[*first].group.latest_eligible();
        assert!(latest.is_some(), "seed {}: nobody can write", self.seed);
        for who in &members {
            let group = &self.actors[*who].group;
            assert_eq!(group.rekey(), Rekey::None, "seed {}", self.seed);
            assert_eq!(group.members().unwrap(), expected, "seed {}", self.seed);
            assert_eq!(group.latest_eligible(), latest, "seed {}", self.seed);
        }
        let present: BTreeSet<_> = members.iter().map(|w| self.actors[*w].person.id).collect();
        assert_eq!(present, expected, "seed {}", self.seed);
        for who in &members {
            self.send(*who);
        }
        self.deliver_everything();
        self.let_the_thief_read();
        self.compare_readers(&expected);
    }

    /// Every member has opened everything that it could read, and nobody anything else.
    fn compare_readers(&self, members: &BTreeSet<Member>) {
        for data in &self.data {
            let sender = self.messages.iter().find(|m| m.id == data.operation);
            let sender = sender.unwrap().sender;
            for actor in &self.actors {
                let me = actor.person.id;
                let reads = actor.opened.contains(&data.operation) || me == sender;
                let could = self.could_read[&data.secret].contains_key(&me);
                assert!(could || !reads, "seed {}", self.seed);
                let stayed = members.contains(&me) && !self.removed.contains(&me);
                if stayed && data.readers.contains(&me) && !actor.erased.contains(&data.secret) {
                    assert!(reads, "seed {}: {me} missed data", self.seed);
                }
            }
        }
    }
}

/// A life in which somebody came back with a secret of its own that outranked all others.
#[test]
fn a_life_that_failed_once_holds() {
    Life::new(6_733, 60).run();
}

#[test]
fn in_random_lives_exactly_the_members_read() {
    live(lives(200), steps(60));
}

#[test]
fn in_long_random_lives_exactly_the_members_read() {
    live(lives(20), steps(600));
}

fn live(lives: std::ops::Range<u64>, steps: u64) {
    println!("data lives of {steps} steps with seeds {lives:?}");
    let (mut data, mut thefts, mut messages) = (0, 0, 0);
    for seed in lives {
        let mut life = Life::new(seed, steps);
        life.run();
        data += life.data.len();
        thefts += usize::from(life.theft.is_some());
        messages += life.messages.len();
    }
    println!("{messages} messages, {data} of them data, {thefts} thefts");
    assert!(data > 0 && thefts > 0);
}
