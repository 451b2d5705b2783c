//! Promises about the stored state of message groups: what is remembered of the application, and what
//! a transaction that failed leaves behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeSet, VecDeque};

use chacha20::ChaCha20Rng;
use p2panda_encryption::message::{
    Config, Draft, Encrypted, Event, Group, OperationError, Outgoing, Payload, Views,
};
use p2panda_encryption::{Member, Message, OperationId, OwnKeys, Registry, Wire};
use world::*;

const NOW: u64 = START + 2;
const APPLICATION: u8 = 8;

/// One person with its database: rows of the group, of its own keys and of its registry.
struct Device {
    person: Person,
    group: Group,
    stores: [Store; 3],
}

impl Device {
    fn store(&mut self) {
        self.stores[0].write(self.group.changes());
        self.stores[1].write(self.person.keys.changes());
        self.stores[2].write(self.person.registry.changes());
    }

    /// Loads the state from the database.
    fn reload(&mut self) {
        self.group = Group::load(Views::default(), self.stores[0].rows()).unwrap();
        self.person.keys = OwnKeys::load(self.stores[1].rows()).unwrap();
        self.person.registry = Registry::load(self.stores[2].rows()).unwrap();
    }

    fn encode(&self) -> [Vec<u8>; 3] {
        let (keys, registry) = (&self.person.keys, &self.person.registry);
        [
            self.group.encode().to_vec(),
            keys.encode().to_vec(),
            registry.encode().to_vec(),
        ]
    }

    fn rows(&self, kind: u8) -> usize {
        let rows = self.stores[0].rows();
        rows.filter(|(key, _)| key.first() == Some(&kind)).count()
    }
}

struct World {
    rng: ChaCha20Rng,
    devices: Vec<Device>,
}

impl World {
    /// A group of the first of these people.
    fn new(seed: u64, count: usize, founders: usize) -> World {
        let mut rng = life_rng("message rows", seed);
        let device = |person: Person| Device {
            group: Group::new(person.id, Views::default(), Config::default()),
            person,
            stores: Default::default(),
        };
        let people = people(count, 4, &mut rng);
        let devices: Vec<_> = people.into_iter().map(device).collect();
        let mut world = World { rng, devices };
        let ids = world.ids();
        let author = &mut world.devices[0];
        let context = author.person.context(NOW);
        let draft = author
            .group
            .create(&ids[..founders], &context, &mut world.rng);
        world.share(0, draft.unwrap());
        world
    }

    fn ids(&self) -> Vec<Member> {
        self.devices.iter().map(|device| device.person.id).collect()
    }

    fn commit(&mut self, author: usize, draft: Draft) -> Message<Payload> {
        let prepared = draft.seal().unwrap();
        let device = &mut self.devices[author];
        let message = Message {
            id: operation(&mut self.rng),
            sender: device.person.id,
            dependencies: prepared.dependencies().to_vec(),
            payload: Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = device.person.context(NOW);
        device
            .group
            .commit(prepared, message.id, &mut context, &mut self.rng)
            .unwrap();
        message
    }

    fn send(&mut self, author: usize) -> Message<Payload> {
        let sent = self.devices[author].group.send(b"panda").unwrap();
        self.frame(author, sent)
    }

    fn frame(&mut self, author: usize, outgoing: Outgoing) -> Message<Payload> {
        let id = operation(&mut self.rng);
        self.devices[author].group.published(id);
        Message {
            id,
            sender: self.devices[author].person.id,
            dependencies: outgoing.dependencies,
            payload: outgoing.payload,
        }
    }

    /// Delivers a message and returns what becomes of it, and the answers to it.
    fn deliver(
        &mut self,
        reader: usize,
        message: &Message<Payload>,
    ) -> (Vec<OperationId>, Vec<Message<Payload>>) {
        self.devices[reader].group.receive(message.clone()).unwrap();
        self.poll(reader)
    }

    fn poll(&mut self, reader: usize) -> (Vec<OperationId>, Vec<Message<Payload>>) {
        let (mut read, mut answers) = (Vec::new(), Vec::new());
        loop {
            let device = &mut self.devices[reader];
            let mut context = device.person.context(NOW);
            match device.group.poll(&mut context, &mut self.rng) {
                Some(Event::Joined { answer, .. } | Event::Changed { answer, .. }) => {
                    let answer = answer.map(|answer| self.frame(reader, answer));
                    answers.extend(answer);
                }
                Some(Event::Application { operation, .. }) => read.push(operation),
                Some(Event::Skipped { .. } | Event::Failed { .. }) => {}
                Some(other) => panic!("{other:?}"),
                None => return (read, answers),
            }
        }
    }

    /// Commits a draft, and gives it and every answer to everybody.
    fn share(&mut self, author: usize, draft: Draft) {
        let mut open = VecDeque::from([self.commit(author, draft)]);
        while let Some(message) = open.pop_front() {
            for reader in 0..self.devices.len() {
                if self.devices[reader].person.id != message.sender {
                    open.extend(self.deliver(reader, &message).1);
                }
            }
        }
        self.devices.iter_mut().for_each(Device::store);
    }

    fn everybody_reads(&mut self, members: &[usize]) {
        for author in members {
            let sent = self.send(*author);
            for reader in members.iter().filter(|reader| *reader != author) {
                assert_eq!(
                    self.deliver(*reader, &sent).0,
                    [sent.id],
                    "{author} {reader}"
                );
            }
        }
    }
}

/// A message that also names these.
fn naming(world: &mut World, author: usize, named: &[OperationId]) -> Message<Payload> {
    let mut message = world.send(author);
    message.dependencies.extend(named);
    message
}

#[test]
fn what_names_a_forgotten_message_goes_on_once_it_is_known() {
    let mut world = World::new(4, 3, 3);
    let mut old = Vec::new();
    for _ in 0..80 {
        let sent = world.send(1);
        assert_eq!(world.deliver(0, &sent).0, [sent.id]);
        old.push(sent);
    }
    world.devices[0].store();
    assert_eq!(world.devices[0].rows(APPLICATION), 64);
    let later = naming(&mut world, 2, &[old[0].id, old[79].id]);
    assert_eq!(world.devices[0].group.missing(&later), [old[0].id]);
    assert_eq!(world.deliver(0, &later).0, []);
    // It came after one that was forgotten as well.
    let unknown = operation(&mut world.rng);
    let group = &mut world.devices[0].group;
    let known = group.known(old[0].id, old[0].sender, &[unknown]);
    assert_eq!(known, [unknown]);
    let known = group.known(old[0].id, old[0].sender, &old[0].dependencies);
    assert_eq!(known, []);
    assert_eq!(world.poll(0).0, [later.id]);
}

#[test]
fn nothing_is_remembered_of_strangers() {
    let mut world = World::new(5, 3, 2);
    let stranger = world.devices[2].person.id;
    let before = world.devices[0].stores[0].bytes();
    let mut named = None;
    for generation in 0..20 {
        let message = Message {
            id: operation(&mut world.rng),
            sender: stranger,
            dependencies: Vec::new(),
            payload: Payload::Application(Encrypted {
                generation,
                ciphertext: vec![7; 40],
            }),
        };
        let _ = world.deliver(0, &message);
        named = Some(message);
    }
    world.devices[0].store();
    assert_eq!(world.devices[0].rows(APPLICATION), 0);
    let after = world.devices[0].stores[0].bytes();
    assert!(after <= before + 16, "{before} {after}");
    // Who names one waits until the caller says that it was processed.
    let named = named.unwrap();
    let later = naming(&mut world, 1, &[named.id]);
    assert_eq!(world.deliver(0, &later).0, []);
    assert_eq!(world.devices[0].group.known(named.id, stranger, &[]), []);
    assert_eq!(world.poll(0).0, [later.id]);
}

/// Each call, in a transaction that fails: nothing of it is left, and the same call works again.
#[test]
fn a_failed_transaction_leaves_nothing_of_a_call() {
    let mut world = World::new(6, 4, 3);
    let members: BTreeSet<_> = world.ids()[..3].iter().copied().collect();
    let undo = |device: &mut Device, before: &[Vec<u8>; 3], members: &BTreeSet<Member>| {
        assert_ne!(device.encode(), *before);
        device.reload();
        assert_eq!(device.encode(), *before);
        assert_eq!(device.group.members().unwrap(), *members);
    };

    // A message of ours.
    let before = world.devices[0].encode();
    world.send(0);
    undo(&mut world.devices[0], &before, &members);

    // An operation of ours, which takes a one-time bundle.
    let added = world.devices[3].person.id;
    let add = |world: &mut World| {
        let device = &mut world.devices[0];
        let context = device.person.context(NOW);
        let draft = device.group.add(added, &context, &mut world.rng).unwrap();
        world.commit(0, draft)
    };
    add(&mut world);
    undo(&mut world.devices[0], &before, &members);
    let add = add(&mut world);
    world.devices[0].store();

    // One of somebody else, with and without its answer.
    let before = world.devices[1].encode();
    let (_, answers) = world.deliver(1, &add);
    assert_eq!(answers.len(), 1);
    undo(&mut world.devices[1], &before, &members);
    world.devices[1].group.receive(add.clone()).unwrap();
    let device = &mut world.devices[1];
    let event = device
        .group
        .poll(&mut device.person.context(NOW), &mut world.rng);
    assert!(matches!(
        event,
        Some(Event::Changed {
            answer: Some(_),
            ..
        })
    ));
    assert_eq!(
        device.group.send(b"panda"),
        Err(OperationError::Unpublished)
    );
    undo(device, &before, &members);
    let (_, mut answers) = world.deliver(1, &add);
    answers.extend(world.deliver(2, &add).1);

    // How somebody joins, which takes a one-time secret.
    let before = world.devices[3].encode();
    world.devices[3].store();
    let (_, joined) = world.deliver(3, &add);
    assert_eq!(joined.len(), 1);
    assert_ne!(world.devices[3].encode(), before);
    world.devices[3].reload();
    assert_eq!(world.devices[3].encode(), before);
    answers.extend(world.deliver(3, &add).1);
    world.devices.iter_mut().for_each(Device::store);

    for answer in &answers {
        for reader in 0..4 {
            if world.devices[reader].person.id != answer.sender {
                world.deliver(reader, answer);
            }
        }
    }

    // A message of somebody else.
    let sent = world.send(1);
    let members = world.ids().into_iter().collect();
    world.devices[0].store();
    let before = world.devices[0].encode();
    assert_eq!(world.deliver(0, &sent).0, [sent.id]);
    undo(&mut world.devices[0], &before, &members);
    assert_eq!(world.deliver(0, &sent).0, [sent.id]);
    for reader in [2, 3] {
        assert_eq!(world.deliver(reader, &sent).0, [sent.id]);
    }
    world.everybody_reads(&[0, 1, 2, 3]);
}
