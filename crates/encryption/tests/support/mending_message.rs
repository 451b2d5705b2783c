//! Random lives of message groups in a world that is not kind: bundles that come late, expire or are
//! shared by all, members that are away for weeks, are removed and added at the same time, or let
//! everybody wait for what never comes, old copies of a state.
//!
//! No matter what happened, nobody reads what was not meant for it. Once everybody has a valid
//! bundle of everybody and all was delivered, two rounds of advised actions are enough for every
//! member to read every other (`docs/protocol/encryption.md#11.3`).

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use p2panda_core::limits::ENCRYPTION_WAITING_MAX;
use p2panda_encryption::data::Rekey;
use p2panda_encryption::message::{
    Config, Control, Draft, Encrypted, Event, Group, OperationError, Outgoing, Payload, Views,
};
use p2panda_encryption::{
    Change, Lifetime, Member, Message, OneTimeBundle, OperationId, OwnKeys, Registry, Wire,
};

use super::world::*;

/// A pre-key lives for that long.
const LIFETIME_S: u64 = 10_000;

struct Actor {
    person: Person,
    group: Group,
    inbox: Vec<usize>,
    opened: BTreeSet<OperationId>,
    /// Messages of the application that were processed, also those that did not open.
    passed: BTreeSet<OperationId>,
    /// Nothing comes to it until then.
    away_until: u64,
    backup: Option<Backup>,
}

/// Content of a backup.
struct Backup {
    group: Vec<u8>,
    keys: Vec<u8>,
    registry: Registry,
    passed: BTreeSet<OperationId>,
    /// The messages that were passed in before.
    given: usize,
}

struct Life {
    seed: u64,
    rng: ChaCha20Rng,
    now: u64,
    actors: Vec<Actor>,
    messages: Vec<Message<Payload>>,
    /// Messages that each actor was given, and made, in that order.
    given: Vec<Vec<usize>>,
    bundles: Vec<(Member, OneTimeBundle, BTreeSet<usize>)>,
    /// Members that a message was meant for.
    readers: BTreeMap<OperationId, BTreeSet<Member>>,
    removals: usize,
    adds: usize,
    restored: usize,
    left_out: usize,
    floods: usize,
    named: usize,
    recalled: usize,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut rng = life_rng("mending message life", seed);
        let count = 2 + below(&mut rng, 5);
        let mut people = people(count, 0, &mut rng);
        for person in &mut people {
            person.registry = Registry::new();
            person.keys = OwnKeys::new(p2panda_encryption::SecretKey::random(&mut rng));
        }
        let actors: Vec<_> = people
            .into_iter()
            .map(|person| Actor {
                group: Group::new(person.id, Views::default(), Config::default()),
                person,
                inbox: Vec::new(),
                opened: BTreeSet::new(),
                passed: BTreeSet::new(),
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
            adds: 0,
            restored: 0,
            left_out: 0,
            floods: 0,
            named: 0,
            recalled: 0,
        }
    }

    fn run(&mut self, steps: u64) {
        for who in 0..self.actors.len() {
            self.rotate_prekey(who);
        }
        for _ in 0..12 {
            self.spread_bundles();
        }
        let members: Vec<_> = self.actors.iter().map(|actor| actor.person.id).collect();
        let now = self.now + 1;
        let actor = &mut self.actors[0];
        let context = actor.person.context(now);
        let draft = actor.group.create(&members, &context, &mut self.rng);
        self.commit(0, draft.unwrap());
        for _ in 0..steps {
            self.step();
        }
        self.settle();
    }

    fn step(&mut self) {
        self.now += below(&mut self.rng, 200) as u64;
        let who = below(&mut self.rng, self.actors.len());
        match below(&mut self.rng, 200) {
            0..90 => self.deliver_some(who),
            90..120 => self.spread_bundles(),
            120..150 => self.send(who),
            150..166 => self.update(who),
            166..174 => self.rotate_prekey(who),
            174..178 => {
                let now = self.now;
                self.actors[who].person.keys.remove_expired(now);
            }
            178..182 => self.actors[who].away_until = self.now + 20_000,
            182..186 => self.back_up(who),
            186..188 => self.restore(who),
            188..190 => self.remove(who),
            190..193 => self.add(who),
            193 => self.flood(who),
            _ => self.store(who),
        }
    }

    fn rotate_prekey(&mut self, who: usize) {
        let person = &mut self.actors[who].person;
        let lifetime = Lifetime::starting(self.now, LIFETIME_S);
        person.keys.rotate_prekey(lifetime, &mut self.rng);
        for _ in 0..3 {
            let bundle = person.keys.one_time_bundle(self.now + 1, &mut self.rng);
            let bundle = (person.id, bundle.unwrap(), BTreeSet::new());
            self.bundles.push(bundle);
        }
    }

    /// Gives some bundle to somebody; everybody sees the same list.
    fn spread_bundles(&mut self) {
        let index = below(&mut self.rng, self.bundles.len());
        let reader = below(&mut self.rng, self.actors.len());
        self.give_bundle(index, reader);
    }

    fn give_bundle(&mut self, index: usize, reader: usize) {
        let (owner, bundle, given) = &mut self.bundles[index];
        if given.insert(reader) {
            let registry = &mut self.actors[reader].person.registry;
            // It may have expired on its way.
            let _ = registry.add_one_time(*owner, *bundle, self.now + 1);
        }
    }

    fn commit(&mut self, who: usize, draft: Draft) {
        self.left_out += draft.left_out().len();
        let id = operation(&mut self.rng);
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        let Ok(prepared) = draft.seal() else {
            panic!("seed {}: a draft that does not seal", self.seed);
        };
        let control = prepared.control().clone();
        let directs: Vec<_> = prepared.directs().cloned().collect();
        let dependencies = prepared.dependencies().to_vec();
        let mut context = actor.person.context(now);
        let committed = actor
            .group
            .commit(prepared, id, &mut context, &mut self.rng);
        committed.unwrap();
        self.publish(who, id, dependencies, Payload::Control { control, directs });
    }

    /// Frames an answer or a message.
    fn frame(&mut self, who: usize, outgoing: Outgoing) -> OperationId {
        let id = operation(&mut self.rng);
        self.actors[who].group.published(id);
        self.publish(who, id, outgoing.dependencies, outgoing.payload);
        id
    }

    fn publish(
        &mut self,
        who: usize,
        id: OperationId,
        dependencies: Vec<OperationId>,
        payload: Payload,
    ) {
        let sender = self.actors[who].person.id;
        let mut dependencies = dependencies;
        if let Some(named) = self
            .names(who)
            .filter(|named| !dependencies.contains(named))
        {
            dependencies.push(named);
            self.named += 1;
        }
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

    /// Returns what every third message also names: the last message of the application that its
    /// author has processed.
    fn names(&self, who: usize) -> Option<OperationId> {
        if !self.messages.len().is_multiple_of(3) {
            return None;
        }
        let passed = &self.actors[who].passed;
        let mut given = self.given[who].iter().rev().take(50);
        let last = given.find(|index| passed.contains(&self.messages[**index].id));
        last.map(|index| self.messages[*index].id)
    }

    /// Says what of the messages that others name was processed long ago.
    fn recall(&mut self, who: usize, missing: Vec<OperationId>) {
        for id in missing {
            if !self.actors[who].passed.contains(&id) {
                continue;
            }
            let message = self.messages.iter().find(|message| message.id == id);
            let (sender, named) = message
                .map(|message| (message.sender, message.dependencies.clone()))
                .unwrap();
            let before = self.actors[who].group.known(id, sender, &named);
            if !before.is_empty() {
                self.recall(who, before);
                self.actors[who].group.known(id, sender, &named);
            }
            self.recalled += 1;
        }
    }

    fn update(&mut self, who: usize) {
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        if let Ok(draft) = actor.group.update(&context, &mut self.rng) {
            self.commit(who, draft);
        }
    }

    /// Somebody leaves or is removed; not so many that nobody is left.
    fn remove(&mut self, who: usize) {
        let now = self.now + 1;
        let Ok(members) = self.actors[who].group.members() else {
            return;
        };
        if members.len() <= 2 {
            return;
        }
        let index = below(&mut self.rng, members.len());
        let target = *members.iter().nth(index).unwrap();
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        let draft = actor.group.remove(target, &context, &mut self.rng).unwrap();
        self.removals += 1;
        self.commit(who, draft);
    }

    /// Somebody is added, maybe while others remove it.
    fn add(&mut self, who: usize) {
        let now = self.now + 1;
        let target = below(&mut self.rng, self.actors.len());
        let target = self.actors[target].person.id;
        let actor = &mut self.actors[who];
        let context = actor.person.context(now);
        if let Ok(draft) = actor.group.add(target, &context, &mut self.rng) {
            self.adds += 1;
            self.commit(who, draft);
        }
    }

    /// Somebody sends one other more than there is room for, which never becomes ready.
    fn flood(&mut self, who: usize) {
        let reader = below(&mut self.rng, self.actors.len());
        if self.floods > 0 || reader == who {
            return;
        }
        self.floods += 1;
        let sender = self.actors[who].person.id;
        for index in 0..2 * (ENCRYPTION_WAITING_MAX + 10) {
            let payload = match index.is_multiple_of(2) {
                true => Payload::Control {
                    control: Control::Change(Change::Update),
                    directs: Vec::new(),
                },
                false => Payload::Application(Encrypted {
                    generation: 0,
                    ciphertext: Vec::new(),
                }),
            };
            let message = Message {
                id: operation(&mut self.rng),
                sender,
                dependencies: vec![operation(&mut self.rng)],
                payload,
            };
            self.receive(reader, message);
        }
    }

    fn send(&mut self, who: usize) {
        self.hand_over(who);
        let mut sent = self.actors[who].group.send(b"panda");
        if let Err(OperationError::RekeyRequired | OperationError::Restored) = sent
            && let Rekey::Required(_) = self.actors[who].group.rekey()
        {
            self.update(who);
            sent = self.actors[who].group.send(b"panda");
        }
        let sent = match sent {
            Ok(sent) => sent,
            // Somebody has to welcome it first.
            Err(OperationError::RekeyRequired | OperationError::Restored) => return,
            Err(error) => {
                assert_eq!(error, OperationError::GroupNotYetEstablished);
                return;
            }
        };
        let readers = self.actors[who].group.members().unwrap();
        let id = self.frame(who, sent);
        self.readers.insert(id, readers);
        self.actors[who].passed.insert(id);
    }

    /// Hands all chains again to members that cannot follow everybody.
    fn hand_over(&mut self, who: usize) {
        let now = self.now + 1;
        let actor = &mut self.actors[who];
        for member in actor.group.lacking(&actor.person.context(now)) {
            let actor = &mut self.actors[who];
            let context = actor.person.context(now);
            if let Ok(draft) = actor.group.welcome(member, &context, &mut self.rng) {
                self.commit(who, draft);
            }
        }
    }

    fn back_up(&mut self, who: usize) {
        let given = self.given[who].len();
        let actor = &mut self.actors[who];
        actor.backup = Some(Backup {
            group: actor.group.encode().to_vec(),
            keys: actor.person.keys.encode().to_vec(),
            registry: actor.person.registry.clone(),
            passed: actor.passed.clone(),
            given,
        });
    }

    /// Continues from a backup: what came since comes again, first what was our own.
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
        actor.passed = backup.passed;
        // Half of them do not say so: their own messages do.
        if self.restored.is_multiple_of(2) {
            actor.group.restored();
        }
        for (_, _, given) in &mut self.bundles {
            given.remove(&who);
        }
        let me = actor.person.id;
        let is_own = |index: &usize| self.messages[*index].sender == me;
        let (own, others): (Vec<_>, Vec<_>) = again.into_iter().partition(is_own);
        for index in own.into_iter().chain(others) {
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

    /// Hands a message in; what loses its place comes again later.
    fn receive(&mut self, who: usize, message: Message<Payload>) {
        let actor = &mut self.actors[who];
        let named = message.clone();
        for id in actor.group.receive(message).unwrap_or_default() {
            let real = self.messages.iter().position(|message| message.id == id);
            actor.inbox.extend(real);
        }
        let missing = actor.group.missing(&named);
        self.recall(who, missing);
    }

    fn deliver(&mut self, who: usize, index: usize) {
        self.given[who].push(index);
        let message = self.messages[index].clone();
        self.receive(who, message);
        loop {
            let now = self.now + 1;
            let actor = &mut self.actors[who];
            let me = actor.person.id;
            let mut context = actor.person.context(now);
            match actor.group.poll(&mut context, &mut self.rng) {
                Some(Event::Application { operation, .. }) => {
                    actor.opened.insert(operation);
                    actor.passed.insert(operation);
                    let meant = self.readers[&operation].contains(&me);
                    assert!(meant, "seed {}: {me} reads too much", self.seed);
                }
                Some(
                    Event::Joined {
                        answer: Some(answer),
                        ..
                    }
                    | Event::Changed {
                        answer: Some(answer),
                        ..
                    },
                ) => {
                    self.frame(who, answer);
                }
                Some(Event::Skipped { operation } | Event::Failed { operation, .. })
                    if self.readers.contains_key(&operation) =>
                {
                    actor.passed.insert(operation);
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn deliver_everything(&mut self) {
        // What has no room comes again; who never joins has none forever.
        for _ in 0..100 {
            for who in 0..self.actors.len() {
                for index in std::mem::take(&mut self.actors[who].inbox) {
                    self.deliver(who, index);
                }
            }
            if self.actors.iter().all(|actor| actor.inbox.is_empty()) {
                return;
            }
        }
    }

    /// Everybody gets a valid bundle of everybody and all messages; then two rounds of what is
    /// advised.
    fn settle(&mut self) {
        // A session restarts by itself once per hour.
        self.now += 4_000;
        self.renew_bundles();
        self.deliver_everything();
        self.round();
        self.round();
        self.check();
    }

    fn renew_bundles(&mut self) {
        for who in 0..self.actors.len() {
            self.rotate_prekey(who);
        }
        for index in 0..self.bundles.len() {
            for reader in 0..self.actors.len() {
                self.give_bundle(index, reader);
            }
        }
    }

    fn round(&mut self) {
        self.now += 4_000;
        for who in 0..self.actors.len() {
            if self.actors[who].group.rekey() != Rekey::None {
                self.update(who);
                self.deliver_everything();
            }
            self.hand_over(who);
            self.deliver_everything();
        }
    }

    fn check(&mut self) {
        let mut groups = self.actors.iter().map(|actor| &actor.group);
        let Some(members) = groups.find_map(|group| group.members().ok()) else {
            return;
        };
        let before = self.messages.len();
        for who in 0..self.actors.len() {
            if members.contains(&self.actors[who].person.id) {
                self.send(who);
            }
        }
        self.deliver_everything();
        self.compare(&members, before);
    }

    /// Every member writes what every member reads, and nobody else does.
    fn compare(&self, members: &BTreeSet<Member>, before: usize) {
        let sent: Vec<_> = self.messages[before..]
            .iter()
            .filter(|message| matches!(message.payload, Payload::Application(_)))
            .map(|message| (message.id, message.sender))
            .collect();
        let senders: BTreeSet<_> = sent.iter().map(|(_, sender)| *sender).collect();
        let seed = self.seed;
        assert_eq!(senders, *members, "seed {seed}: somebody cannot write");
        for (id, sender) in sent {
            for actor in &self.actors {
                let me = actor.person.id;
                let reads = actor.opened.contains(&id) || me == sender;
                let meant = members.contains(&me);
                assert_eq!(reads, meant, "seed {seed}: {me} of {sender}");
            }
        }
    }
}

/// Runs one life.
pub fn live_once(seed: u64, steps: u64) {
    Life::new(seed).run(steps);
}

/// Runs this many lives.
pub fn live(lives: std::ops::Range<u64>, steps: u64) {
    println!("mending message lives of {steps} steps with seeds {lives:?}");
    let (mut left_out, mut restored, mut floods) = (0, 0, 0);
    let (mut removals, mut adds, mut messages) = (0, 0, 0);
    let (mut named, mut recalled) = (0, 0);
    for seed in lives {
        let mut life = Life::new(seed);
        life.run(steps);
        left_out += life.left_out;
        restored += life.restored;
        removals += life.removals;
        adds += life.adds;
        floods += life.floods;
        messages += life.messages.len();
        named += life.named;
        recalled += life.recalled;
    }
    println!("{messages} messages, {removals} removals, {adds} adds, {floods} floods");
    println!("{left_out} times left out, {restored} restored");
    println!("{named} messages name another one of the application, {recalled} of them forgotten");
    assert!(named > 0);
    assert!(left_out > 0 && restored > 0 && removals > 0 && adds > 0);
}
