//! Random lives of data groups in a world that is not kind: bundles that come late, expire or are
//! shared by all, members that are away for weeks or let others wait for what never comes, old copies
//! of a state.
//!
//! No matter what happened, once everybody has a valid bundle of everybody and all was delivered,
//! two rounds of advised actions are enough for every member to read every other.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use chacha20::ChaCha20Rng;
use p2panda_core::limits::ENCRYPTION_WAITING_MAX;
use p2panda_encryption::data::{
    Control, Draft, Encrypted, Event, Group, Members, OperationError, Payload, Rekey, SecretId,
};
use p2panda_encryption::{
    HybridBundle, Lifetime, LongTermBundle, Member, Message, OperationId, OwnKeys, Registry, Wire,
};

/// In one of so many lives a member fills every bound of another one.
const FLOODED: u64 = 16;
/// A pre-key lives for that long.
const LIFETIME_S: u64 = 10_000;

struct Actor {
    person: Person,
    group: Group,
    inbox: Vec<usize>,
    opened: BTreeSet<OperationId>,
    /// Nothing comes to it until then.
    away_until: u64,
    backup: Option<Backup>,
}

/// Content of a backup.
struct Backup {
    group: Vec<u8>,
    keys: Vec<u8>,
    registry: Registry,
    /// The messages that were passed in before.
    given: usize,
}

/// Bundles that somebody publishes at one time.
struct Bundles {
    long_term: LongTermBundle,
    hybrid: Option<HybridBundle>,
}

struct Life {
    seed: u64,
    rng: ChaCha20Rng,
    now: u64,
    actors: Vec<Actor>,
    messages: Vec<Message<Payload>>,
    /// Messages that each actor was given, in that order.
    given: Vec<Vec<usize>>,
    bundles: Vec<(Member, Bundles, BTreeSet<usize>)>,
    /// Members that were given a secret.
    readers: BTreeMap<SecretId, BTreeSet<Member>>,
    removals: usize,
    floods: u64,
    restored: usize,
    left_out: usize,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = life_rng("mending life", seed);
        let count = 2 + below(&mut rng, 5);
        let mut people = people(count, 0, &mut rng);
        for person in &mut people {
            person.registry = Registry::new();
            person.keys = OwnKeys::new(p2panda_encryption::SecretKey::random(&mut rng));
        }
        let group = |person: &Person| {
            let group = Group::new(person.id, Members::default());
            match suites(seed) {
                Some(config) => group.with_suites(config),
                None => group,
            }
        };
        let actors: Vec<_> = people
            .into_iter()
            .map(|person| Actor {
                group: group(&person),
                person,
                inbox: Vec::new(),
                opened: BTreeSet::new(),
                away_until: 0,
                backup: None,
            })
            .collect();
        Life {
            seed,
            rng,
            now: START,
            given: vec![Vec::new(); actors.len()],
            actors,
            messages: Vec::new(),
            bundles: Vec::new(),
            readers: BTreeMap::new(),
            removals: 0,
            floods: 0,
            restored: 0,
            left_out: 0,
        }
    }

    fn run(&mut self, steps: u64) {
        for who in 0..self.actors.len() {
            self.rotate_prekey(who);
        }
        for _ in 0..5 {
            self.spread_bundles();
        }
        let members: Vec<_> = self.actors.iter().map(|actor| actor.person.id).collect();
        let now = self.now;
        let actor = &mut self.actors[0];
        let context = actor.person.context(now);
        let draft = actor
            .group
            .create(&members, &context, &mut self.rng)
            .unwrap();
        self.commit(0, draft, &[]);
        for step in 0..steps {
            if step == steps / 2 && self.seed % FLOODED == 7 {
                self.flood();
            }
            self.step();
        }
        self.settle();
    }

    /// One member sends another more than there is room for, which never becomes ready.
    fn flood(&mut self) {
        self.floods += 1;
        let mut rng = life_rng("flood", self.seed);
        let (sender, reader) = (self.actors[1].person.id, self.seed as usize % 2 * 2);
        let reader = reader % self.actors.len();
        for index in 0..2 * (ENCRYPTION_WAITING_MAX + 10) {
            let payload = match index.is_multiple_of(2) {
                true => Payload::Control {
                    control: Control::Update,
                    directs: Vec::new(),
                },
                false => Payload::Application(Encrypted {
                    secret: SecretId::from_bytes([0; 32]),
                    nonce: [0; 24],
                    ciphertext: Vec::new(),
                }),
            };
            let message = Message {
                id: operation(&mut rng),
                sender,
                dependencies: vec![operation(&mut rng)],
                payload,
            };
            self.receive(reader, message);
        }
    }

    fn step(&mut self) {
        self.now += below(&mut self.rng, 200) as u64;
        let who = below(&mut self.rng, self.actors.len());
        match below(&mut self.rng, 100) {
            0..45 => self.deliver_some(who),
            45..60 => self.spread_bundles(),
            60..75 => self.send(who),
            75..84 => self.update(who),
            84..88 => self.rotate_prekey(who),
            88..90 => {
                let now = self.now;
                self.actors[who].person.keys.remove_expired(now);
            }
            90..92 => self.actors[who].away_until = self.now + 20_000,
            92..94 => self.back_up(who),
            94..95 => self.restore(who),
            95..96 => self.remove(who),
            _ => self.store(who),
        }
    }

    fn rotate_prekey(&mut self, who: usize) {
        let person = &mut self.actors[who].person;
        let lifetime = Lifetime::starting(self.now, LIFETIME_S);
        let is_hybrid = suites(self.seed).is_some();
        match is_hybrid {
            true => person.keys.rotate_hybrid_prekey(lifetime, &mut self.rng),
            false => person.keys.rotate_prekey(lifetime, &mut self.rng),
        }
        if let Ok(long_term) = person.keys.long_term_bundle(self.now + 1) {
            let hybrid = person.keys.hybrid_bundle(self.now + 1);
            let bundles = Bundles {
                long_term,
                hybrid: hybrid.ok().filter(|_| is_hybrid).cloned(),
            };
            self.bundles.push((person.id, bundles, BTreeSet::new()));
        }
    }

    /// Gives some bundle to somebody.
    fn spread_bundles(&mut self) {
        if self.bundles.is_empty() {
            return;
        }
        let index = below(&mut self.rng, self.bundles.len());
        let reader = below(&mut self.rng, self.actors.len());
        self.give_bundle(index, reader);
    }

    fn give_bundle(&mut self, index: usize, reader: usize) {
        let (owner, bundles, given) = &mut self.bundles[index];
        if given.insert(reader) {
            let registry = &mut self.actors[reader].person.registry;
            // It may have expired on its way.
            let _ = registry.add_long_term(*owner, bundles.long_term, self.now + 1);
            if let Some(hybrid) = &bundles.hybrid {
                let _ = registry.add_hybrid(*owner, hybrid.clone(), self.now + 1);
            }
        }
    }

    fn commit(&mut self, who: usize, draft: Draft, left_out: &[SecretId]) {
        self.left_out += draft.left_out().len();
        let id = operation(&mut self.rng);
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        let me = actor.person.id;
        let before: BTreeSet<_> = actor.group.secrets().iter().map(|(id, _)| *id).collect();
        let Ok(prepared) = draft.seal() else {
            panic!("seed {}: a draft that does not seal", self.seed);
        };
        let control = prepared.control().clone();
        let directs: Vec<_> = prepared.directs().cloned().collect();
        let dependencies = prepared.dependencies().to_vec();
        let mut context = actor.person.context(now);
        actor.group.commit(prepared, id, &mut context).unwrap();
        for (secret, _) in actor.group.secrets().iter() {
            let readers = self.readers.entry(*secret).or_default();
            if let Control::Add { added } = &control {
                if !left_out.contains(secret) {
                    readers.insert(*added);
                }
            } else if !before.contains(secret) {
                readers.extend(directs.iter().map(|direct| direct.recipient).chain([me]));
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
        let sender = self.actors[who].person.id;
        self.given[who].push(self.messages.len());
        for (reader, actor) in self.actors.iter_mut().enumerate() {
            if reader != who {
                actor.inbox.push(self.messages.len());
            }
        }
        self.messages.push(Message {
            id,
            sender,
            dependencies,
            payload,
        });
    }

    fn update(&mut self, who: usize) {
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        if let Ok(draft) = actor.group.update(&context, &mut self.rng) {
            self.commit(who, draft, &[]);
        }
    }

    /// Somebody leaves or is removed; a few only, so that there is somebody left.
    fn remove(&mut self, who: usize) {
        let now = self.now + 1;
        let Ok(members) = self.actors[who].group.members() else {
            return;
        };
        if self.removals + 2 >= self.actors.len() {
            return;
        }
        let index = below(&mut self.rng, members.len());
        let target = *members.iter().nth(index).unwrap();
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        let draft = actor.group.remove(target, &context, &mut self.rng).unwrap();
        self.removals += 1;
        self.commit(who, draft, &[]);
    }

    fn send(&mut self, who: usize) {
        self.hand_over(who);
        let actor = &self.actors[who];
        let sent = match actor.group.send(b"panda", &mut self.rng) {
            Ok(sent) => sent,
            Err(OperationError::NoEligibleSecret | OperationError::Restored) => {
                assert!(matches!(actor.group.rekey(), Rekey::Required(_)));
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
        let members = actor.group.members().unwrap();
        let readers = &self.readers[&secret];
        assert!(
            readers.is_subset(&members),
            "seed {}: a stranger reads",
            self.seed
        );
        let id = operation(&mut self.rng);
        self.publish(who, id, sent.dependencies, sent.payload);
    }

    /// Hands the latest secret to members that lack it.
    fn hand_over(&mut self, who: usize) {
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        for member in actor.group.lacking(&actor.person.context(now)) {
            let actor = &mut self.actors[who];
            let context = actor.person.context(now);
            if let Ok((draft, report)) = actor.group.welcome(member, 4, &context, &mut self.rng) {
                self.commit(who, draft, &report.left_out);
            }
        }
    }

    fn back_up(&mut self, who: usize) {
        let given = self.given[who].len();
        let actor = &mut self.actors[who];
        if actor.group.members().is_err() {
            return;
        }
        actor.backup = Some(Backup {
            group: actor.group.encode().to_vec(),
            keys: actor.person.keys.encode().to_vec(),
            registry: actor.person.registry.clone(),
            given,
        });
    }

    /// Continues from a backup: what came since comes again, also what was our own.
    fn restore(&mut self, who: usize) {
        let Some(backup) = self.actors[who].backup.take() else {
            return;
        };
        self.restored += 1;
        let again = self.given[who].split_off(backup.given);
        let actor = &mut self.actors[who];
        actor.group = Group::decode(&backup.group).unwrap();
        actor.person.keys = OwnKeys::decode(&backup.keys).unwrap();
        actor.person.registry = backup.registry;
        for (_, _, given) in &mut self.bundles {
            given.remove(&who);
        }
        for index in again {
            self.deliver(who, index);
        }
    }

    fn store(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        let stored = actor.group.encode();
        actor.group = Group::decode(&stored).unwrap();
        assert_eq!(actor.group.encode(), stored, "seed {}", self.seed);
    }

    fn deliver_some(&mut self, who: usize) {
        for _ in 0..4 {
            let actor = &mut self.actors[who];
            if actor.inbox.is_empty() || actor.away_until > self.now {
                return;
            }
            let pick = match chance(&mut self.rng, 80) {
                true => 0,
                false => below(&mut self.rng, actor.inbox.len()),
            };
            let index = actor.inbox.remove(pick);
            self.deliver(who, index);
        }
    }

    fn deliver(&mut self, who: usize, index: usize) {
        self.given[who].push(index);
        let message = self.messages[index].clone();
        self.receive(who, message);
        let actor = &mut self.actors[who];
        let mut context = actor.person.context(self.now + 1);
        while let Some(event) = actor.group.poll(&mut context) {
            if let Event::Application { operation, .. } = event {
                actor.opened.insert(operation);
            }
        }
    }

    /// Hands a message in; what loses its place comes again later.
    fn receive(&mut self, who: usize, message: Message<Payload>) {
        let actor = &mut self.actors[who];
        for id in actor.group.receive(message).unwrap_or_default() {
            let real = self.messages.iter().position(|message| message.id == id);
            actor.inbox.extend(real);
        }
    }

    fn deliver_everything(&mut self) {
        while self.actors.iter().any(|actor| !actor.inbox.is_empty()) {
            for who in 0..self.actors.len() {
                for index in std::mem::take(&mut self.actors[who].inbox) {
                    self.deliver(who, index);
                }
            }
        }
    }

    /// Everybody gets a valid bundle of everybody and all messages; then two rounds of what is
    /// advised.
    fn settle(&mut self) {
        // A session restarts by itself once per hour.
        self.now += 4_000;
        for who in 0..self.actors.len() {
            self.rotate_prekey(who);
        }
        for index in 0..self.bundles.len() {
            for reader in 0..self.actors.len() {
                self.give_bundle(index, reader);
            }
        }
        self.deliver_everything();
        for _ in 0..2 {
            self.now += 4_000;
            for who in 0..self.actors.len() {
                let Ok(_) = self.actors[who].group.members() else {
                    continue;
                };
                if self.actors[who].group.rekey() != Rekey::None {
                    self.update(who);
                    self.deliver_everything();
                }
                self.hand_over(who);
                self.deliver_everything();
            }
        }
        let first = self
            .actors
            .iter()
            .find_map(|actor| actor.group.members().ok());
        let Some(members) = first else {
            return;
        };
        let before = self.messages.len();
        for who in 0..self.actors.len() {
            if members.contains(&self.actors[who].person.id) {
                self.send(who);
            }
        }
        self.deliver_everything();
        let sent: Vec<_> = self.messages[before..]
            .iter()
            .filter(|message| matches!(message.payload, Payload::Application(_)))
            .map(|message| (message.id, message.sender))
            .collect();
        let senders: BTreeSet<_> = sent.iter().map(|(_, sender)| *sender).collect();
        assert_eq!(
            senders, members,
            "seed {}: somebody cannot write",
            self.seed
        );
        for (id, sender) in sent {
            for actor in &self.actors {
                let me = actor.person.id;
                let reads = actor.opened.contains(&id) || me == sender;
                assert_eq!(
                    reads,
                    members.contains(&me),
                    "seed {}: {me} of {sender}",
                    self.seed
                );
            }
        }
    }
}

/// Runs this many lives.
pub fn live(lives: std::ops::Range<u64>, steps: u64) {
    println!("mending data lives of {steps} steps with seeds {lives:?}");
    let (mut left_out, mut restored, mut removals, mut floods) = (0, 0, 0, 0);
    for seed in lives {
        let mut life = Life::new(seed);
        life.run(steps);
        left_out += life.left_out;
        restored += life.restored;
        removals += life.removals;
        floods += life.floods;
    }
    println!(
        "{left_out} times left out, {restored} restored, {removals} removals, {floods} floods"
    );
    assert!(left_out > 0 && restored > 0 && removals > 0);
}
