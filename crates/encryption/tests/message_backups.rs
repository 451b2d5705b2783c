//! A message group in which a member continues from a backup.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{Reason, Rekey};
use p2panda_encryption::message::{
    Config, Draft, Event, Group, OperationError, Outgoing, Payload, Views,
};
use p2panda_encryption::{Member, Message, OwnKeys, QueueError, Registry, Wire};
use world::*;

struct Actor {
    person: Person,
    group: Group,
}

/// Everybody gets every message at once.
struct World {
    rng: ChaCha20Rng,
    now: u64,
    actors: Vec<Actor>,
    log: Vec<Message<Payload>>,
}

/// Content of a backup, and how much was said before.
struct Backup {
    group: Vec<u8>,
    keys: Vec<u8>,
    registry: Registry,
    len: usize,
}

impl World {
    fn new(seed: u64, count: usize) -> World {
        let mut rng = life_rng("message backups", seed);
        let actor = |person: Person| Actor {
            group: Group::new(person.id, Views::default(), Config::default()),
            person,
        };
        let actors = people(count, 2, &mut rng).into_iter().map(actor).collect();
        let (now, log) = (START + 1, Vec::new());
        World {
            rng,
            now,
            actors,
            log,
        }
    }

    fn create(&mut self) {
        let ids: Vec<_> = self.actors.iter().map(|actor| actor.person.id).collect();
        let actor = &mut self.actors[0];
        let context = actor.person.context(self.now);
        let draft = actor.group.create(&ids, &context, &mut self.rng).unwrap();
        self.commit(0, draft);
    }

    fn update(&mut self, who: usize) {
        let actor = &mut self.actors[who];
        let context = actor.person.context(self.now);
        let draft = actor.group.update(&context, &mut self.rng).unwrap();
        self.commit(who, draft);
    }

    fn commit(&mut self, who: usize, draft: Draft) {
        let prepared = draft.seal().unwrap();
        let id = operation(&mut self.rng);
        let actor = &mut self.actors[who];
        let message = Message {
            id,
            sender: actor.person.id,
            dependencies: prepared.dependencies().to_vec(),
            payload: Payload::Control {
                control: prepared.control().clone(),
                directs: prepared.directs().cloned().collect(),
            },
        };
        let mut context = actor.person.context(self.now);
        actor
            .group
            .commit(prepared, id, &mut context, &mut self.rng)
            .unwrap();
        self.spread(message);
    }

    fn send(&mut self, who: usize) -> Message<Payload> {
        let outgoing = self.actors[who].group.send(b"panda").unwrap();
        let message = self.published(who, outgoing);
        self.spread(message.clone());
        message
    }

    fn published(&mut self, who: usize, outgoing: Outgoing) -> Message<Payload> {
        let id = operation(&mut self.rng);
        let actor = &mut self.actors[who];
        actor.group.published(id);
        Message {
            id,
            sender: actor.person.id,
            dependencies: outgoing.dependencies,
            payload: outgoing.payload,
        }
    }

    /// Gives a message and all answers to everybody.
    fn spread(&mut self, message: Message<Payload>) {
        let mut open = vec![message];
        while let Some(message) = open.pop() {
            self.log.push(message.clone());
            for who in 0..self.actors.len() {
                if self.actors[who].person.id != message.sender {
                    let (answers, _) = self.give(who, message.clone());
                    open.extend(answers);
                }
            }
        }
    }

    /// Gives a message to one; how many messages of the application opened, and the answers.
    fn give(&mut self, who: usize, message: Message<Payload>) -> (Vec<Message<Payload>>, usize) {
        self.actors[who].group.receive(message).unwrap();
        let (mut answers, mut opened) = (Vec::new(), 0);
        loop {
            let actor = &mut self.actors[who];
            let mut context = actor.person.context(self.now);
            match actor.group.poll(&mut context, &mut self.rng) {
                Some(
                    Event::Joined {
                        answer: Some(answer),
                        ..
                    }
                    | Event::Changed {
                        answer: Some(answer),
                        ..
                    },
                ) => answers.push(self.published(who, answer)),
                Some(Event::Application { .. }) => opened += 1,
                Some(_) => {}
                None => return (answers, opened),
            }
        }
    }

    fn back_up(&self, who: usize) -> Backup {
        let actor = &self.actors[who];
        Backup {
            group: actor.group.encode().to_vec(),
            keys: actor.person.keys.encode().to_vec(),
            registry: actor.person.registry.clone(),
            len: self.log.len(),
        }
    }

    /// Continues from a backup with all messages since, those of the newer copy first; how many of
    /// the application opened.
    fn restore(&mut self, who: usize, backup: Backup) -> usize {
        let actor = &mut self.actors[who];
        actor.group = Group::decode(&backup.group).unwrap();
        actor.person.keys = OwnKeys::decode(&backup.keys).unwrap();
        actor.person.registry = backup.registry;
        let me = actor.person.id;
        let messages = self.log[backup.len..].to_vec();
        let is_own = |message: &Message<Payload>| message.sender == me;
        let (own, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_own);
        let mut opened = 0;
        for message in own.into_iter().chain(others) {
            let (answers, more) = self.give(who, message);
            opened += more;
            assert_eq!(answers, [], "an old copy answers");
        }
        opened
    }

    /// One round of what is advised.
    fn round(&mut self) {
        self.now += 4_000;
        for who in 0..self.actors.len() {
            if self.actors[who].group.rekey() != Rekey::None {
                self.update(who);
            }
            let actor = &mut self.actors[who];
            for member in actor.group.lacking(&actor.person.context(self.now)) {
                let actor = &mut self.actors[who];
                let context = actor.person.context(self.now);
                let draft = actor.group.welcome(member, &context, &mut self.rng);
                self.commit(who, draft.unwrap());
            }
        }
    }

    fn everybody_reads_everybody(&mut self) {
        for author in 0..self.actors.len() {
            let outgoing = self.actors[author].group.send(b"panda").unwrap();
            let message = self.published(author, outgoing);
            for reader in (0..self.actors.len()).filter(|reader| *reader != author) {
                let (_, opened) = self.give(reader, message.clone());
                assert_eq!(opened, 1, "{reader} of {author}");
            }
        }
    }
}

#[test]
fn a_backup_writes_nothing_before_an_update() {
    let mut world = World::new(0, 3);
    world.create();
    let backup = world.back_up(1);
    // Somebody else's messages and update, an answer, a message and an update of the newer copy.
    world.send(0);
    world.update(2);
    world.send(1);
    world.send(2);
    world.update(1);
    let opened = world.restore(1, backup);
    assert_eq!(opened, 2, "what was sent before the lost seed");
    let group = &mut world.actors[1].group;
    let before = group.encode();
    assert_eq!(group.rekey(), Rekey::Required(Reason::Restored));
    assert_eq!(group.send(b"no"), Err(OperationError::Restored));
    assert_eq!(group.encode(), before);
    let again = Group::<Views>::decode(&before).unwrap();
    assert_eq!(again.rekey(), Rekey::Required(Reason::Restored));
    // The update is not enough to send: nobody could follow.
    world.update(1);
    let group = &mut world.actors[1].group;
    assert_eq!(group.rekey(), Rekey::None);
    assert_eq!(group.send(b"no"), Err(OperationError::Restored));
    world.round();
    world.everybody_reads_everybody();
}

#[test]
fn a_backup_from_before_the_create_joins_again() {
    let mut world = World::new(1, 3);
    let backup = world.back_up(0);
    world.create();
    world.send(0);
    world.update(1);
    world.restore(0, backup);
    assert_eq!(
        world.actors[0].group.rekey(),
        Rekey::Required(Reason::Restored)
    );
    world.round();
    world.round();
    world.everybody_reads_everybody();
}

#[test]
fn a_caller_that_says_so_need_not_wait_for_its_own_messages() {
    let mut world = World::new(4, 3);
    world.create();
    let backup = world.back_up(2);
    world.send(2);
    let actor = &mut world.actors[2];
    actor.group = Group::decode(&backup.group).unwrap();
    actor.group.restored();
    assert_eq!(actor.group.send(b"no"), Err(OperationError::Restored));
    world.update(0);
    let answered = world.log.iter().filter(|m| m.sender == actor_id(&world, 2));
    assert_eq!(
        answered.count(),
        2,
        "its acknowledgement of the create, and what it sent"
    );
    world.round();
    world.round();
    world.everybody_reads_everybody();
}

fn actor_id(world: &World, who: usize) -> Member {
    world.actors[who].person.id
}

#[test]
fn own_messages_that_a_state_knows_or_has_forgotten_are_refused() {
    let mut world = World::new(2, 2);
    world.create();
    let first = world.send(0);
    for _ in 0..p2panda_core::limits::APPLICATION_IDS_MAX {
        world.send(0);
    }
    let own: Vec<_> = world.log.clone();
    let me = world.actors[0].person.id;
    for message in own.iter().filter(|message| message.sender == me) {
        let group = &mut world.actors[0].group;
        let refused = group.receive(message.clone());
        assert_eq!(refused, Err(QueueError::OwnMessage));
    }
    assert!(own.contains(&first));
    assert_eq!(world.actors[0].group.rekey(), Rekey::None);
    world.send(0);
}

#[test]
fn a_message_is_enough_to_tell_that_a_state_is_a_backup() {
    let mut world = World::new(3, 2);
    world.create();
    let backup = world.back_up(0);
    world.send(0);
    world.restore(0, backup);
    let group = &mut world.actors[0].group;
    assert_eq!(group.send(b"no"), Err(OperationError::Restored));
    world.round();
    world.round();
    world.everybody_reads_everybody();
}
