//! Promises of the message scheme, one by one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/stubborn.rs"]
mod stubborn;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::Rekey;
use p2panda_encryption::message::{
    Config, Draft, Event, Failure, Group, OperationError, Outgoing, Payload, ProcessError,
    RatchetError,
};
use p2panda_encryption::{DirectError, Message, OwnKeys, Registry, Wire};
use stubborn::Stubborn;
use world::*;

/// Commits a draft, delivers it and every answer to it to everybody.
fn share(
    people: &mut [Person],
    groups: &mut [Group<Stubborn>],
    author: usize,
    draft: Draft,
    rng: &mut ChaCha20Rng,
) -> Vec<Message<Payload>> {
    let prepared = draft.seal().unwrap();
    let id = operation(rng);
    let mut open = vec![Message {
        id,
        sender: people[author].id,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: prepared.control().clone(),
            directs: prepared.directs().cloned().collect(),
        },
    }];
    let mut context = people[author].context(START + 2);
    groups[author]
        .commit(prepared, id, &mut context, rng)
        .unwrap();
    let mut all = Vec::new();
    while let Some(message) = open.pop() {
        for (index, group) in groups.iter_mut().enumerate() {
            let reader = people[index].id;
            if reader == message.sender {
                continue;
            }
            group.receive(message.clone()).unwrap();
            let mut context = people[index].context(START + 2);
            while let Some(event) = group.poll(&mut context, rng) {
                let (Event::Joined { answer, .. } | Event::Changed { answer, .. }) = event else {
                    continue;
                };
                if let Some(Outgoing {
                    payload,
                    dependencies,
                }) = answer
                {
                    let id = operation(rng);
                    group.published(id);
                    open.push(Message {
                        id,
                        sender: reader,
                        dependencies,
                        payload,
                    });
                }
            }
        }
        all.push(message);
    }
    all
}

fn trio(seed: u64) -> (ChaCha20Rng, Vec<Person>, Vec<Group<Stubborn>>) {
    let mut rng = life_rng("message trio", seed);
    let mut people = people(3, 2, &mut rng);
    let new = |person: &Person| Group::new(person.id, Stubborn::default(), Config::default());
    let mut groups: Vec<_> = people.iter().map(new).collect();
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let context = people[0].context(START + 1);
    let draft = groups[0].create(&ids, &context, &mut rng).unwrap();
    share(&mut people, &mut groups, 0, draft, &mut rng);
    (rng, people, groups)
}

fn sent(
    people: &[Person],
    group: &mut Group<Stubborn>,
    author: usize,
    rng: &mut ChaCha20Rng,
) -> Message<Payload> {
    let Outgoing {
        payload,
        dependencies,
    } = group.send(b"panda").unwrap();
    let id = operation(rng);
    group.published(id);
    let sender = people[author].id;
    Message {
        id,
        sender,
        dependencies,
        payload,
    }
}

#[test]
fn an_opened_message_opens_for_no_thief() {
    let (mut rng, mut people, mut groups) = trio(1);
    let message = sent(&people, &mut groups[0], 0, &mut rng);
    groups[1].receive(message.clone()).unwrap();
    let mut context = people[1].context(START + 2);
    let event = groups[1].poll(&mut context, &mut rng);
    assert!(
        matches!(event, Some(Event::Application { .. })),
        "{event:?}"
    );
    // The thief comes afterwards, and hides that the message was seen before.
    let mut thief = Group::<Stubborn>::decode(&groups[1].encode()).unwrap();
    let again = Message {
        id: operation(&mut rng),
        ..message
    };
    thief.receive(again).unwrap();
    let event = thief.poll(&mut context, &mut rng);
    let reuse = Failure::Ratchet(RatchetError::SecretReuse);
    assert!(matches!(event, Some(Event::Failed { failure, .. }) if failure == reuse));
}

/// Somebody with a copy of a member's state, who reads along.
struct Thief {
    person: Person,
    group: Group<Stubborn>,
}

impl Thief {
    fn copy(person: &Person, group: &Group<Stubborn>) -> Thief {
        let person = Person {
            id: person.id,
            keys: OwnKeys::decode(&person.keys.encode()).unwrap(),
            registry: person.registry.clone(),
        };
        let mut group: Group<Stubborn> = Group::decode(&group.encode()).unwrap();
        // It does not care about being removed.
        group.members_mut().stays = Some(person.id);
        Thief { person, group }
    }

    fn reads(&mut self, message: &Message<Payload>, rng: &mut ChaCha20Rng) -> bool {
        if message.sender == self.person.id {
            self.group.give_up(message.id);
        } else {
            self.group.receive(message.clone()).unwrap();
        }
        let mut read = false;
        let mut context = self.person.context(START + 2);
        while let Some(event) = self.group.poll(&mut context, rng) {
            read |= matches!(event, Event::Application { .. });
            if let Event::Changed {
                answer: Some(_), ..
            } = event
            {
                self.group.published(operation(rng));
            }
        }
        read
    }
}

/// Opens a message of the application.
fn opens(
    people: &mut [Person],
    groups: &mut [Group<Stubborn>],
    reader: usize,
    message: &Message<Payload>,
    rng: &mut ChaCha20Rng,
) {
    groups[reader].receive(message.clone()).unwrap();
    let event = groups[reader].poll(&mut people[reader].context(START + 2), rng);
    let opened = matches!(event, Some(Event::Application { .. }));
    assert!(opened, "{event:?}");
}

#[test]
fn after_a_theft_an_update_of_the_victim_shuts_the_thief_out() {
    let (mut rng, mut people, mut groups) = trio(2);
    let mut thief = Thief::copy(&people[1], &groups[1]);
    let message = sent(&people, &mut groups[0], 0, &mut rng);
    assert!(thief.reads(&message, &mut rng), "until then it reads along");
    for reader in [1, 2] {
        opens(&mut people, &mut groups, reader, &message, &mut rng);
    }
    let context = people[1].context(START + 2);
    let draft = groups[1].update(&context, &mut rng).unwrap();
    for message in share(&mut people, &mut groups, 1, draft, &mut rng) {
        assert!(!thief.reads(&message, &mut rng));
    }
    for author in [0, 2] {
        let message = sent(&people, &mut groups[author], author, &mut rng);
        assert!(!thief.reads(&message, &mut rng), "the thief reads on");
        opens(&mut people, &mut groups, 1, &message, &mut rng);
    }
}

#[test]
fn after_a_theft_the_removal_of_the_victim_shuts_the_thief_out() {
    let (mut rng, mut people, mut groups) = trio(4);
    let mut thief = Thief::copy(&people[1], &groups[1]);
    let victim = people[1].id;
    let context = people[0].context(START + 2);
    let draft = groups[0].remove(victim, &context, &mut rng).unwrap();
    let messages = share(&mut people, &mut groups, 0, draft, &mut rng);
    assert!(groups[1].members().is_err());
    for message in messages {
        assert!(!thief.reads(&message, &mut rng));
    }
    for (author, reader) in [(0, 2), (2, 0)] {
        let message = sent(&people, &mut groups[author], author, &mut rng);
        assert!(!thief.reads(&message, &mut rng), "the thief reads on");
        opens(&mut people, &mut groups, reader, &message, &mut rng);
    }
}

#[test]
fn several_direct_messages_for_us_fail_and_hold_up_nobody() {
    let (mut rng, mut people, mut groups) = trio(5);
    let context = people[0].context(START + 2);
    let draft = groups[0].update(&context, &mut rng).unwrap();
    let prepared = draft.seal().unwrap();
    let directs: Vec<_> = prepared.directs().cloned().collect();
    let victim = people.iter().position(|p| p.id == directs[0].recipient);
    let victim = victim.unwrap();
    let bad = Message {
        id: operation(&mut rng),
        sender: people[0].id,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: prepared.control().clone(),
            directs: [&directs[..], &directs[..1]].concat(),
        },
    };
    groups[victim].receive(bad).unwrap();
    let mut context = people[victim].context(START + 2);
    let Some(Event::Failed { failure, .. }) = groups[victim].poll(&mut context, &mut rng) else {
        panic!("two direct messages");
    };
    let ambiguous = ProcessError::Direct(DirectError::Ambiguous);
    assert_eq!(failure, Failure::Process(ambiguous));
    let other = 3 - victim;
    let message = sent(&people, &mut groups[other], other, &mut rng);
    opens(&mut people, &mut groups, victim, &message, &mut rng);
}

#[test]
fn nobody_sends_after_a_self_removal_before_an_update() {
    let (mut rng, mut people, mut groups) = trio(3);
    let leaver = people[2].id;
    let context = people[2].context(START + 2);
    let draft = groups[2].remove(leaver, &context, &mut rng).unwrap();
    share(&mut people, &mut groups, 2, draft, &mut rng);
    for group in &mut groups[..2] {
        let before = group.encode();
        assert_eq!(group.send(b"no"), Err(OperationError::RekeyRequired));
        assert_eq!(group.encode(), before);
        assert!(matches!(group.rekey(), Rekey::Required(_)));
    }
    let context = people[0].context(START + 2);
    let draft = groups[0].update(&context, &mut rng).unwrap();
    share(&mut people[..2], &mut groups[..2], 0, draft, &mut rng);
    for group in &mut groups[..2] {
        assert_eq!(group.rekey(), Rekey::None);
        group.send(b"yes").unwrap();
    }
}

/// Lists what every member reads of every other: who is deaf to whom.
fn deaf(
    people: &mut [Person],
    groups: &mut [Group<Stubborn>],
    rng: &mut ChaCha20Rng,
) -> Vec<(usize, usize)> {
    let mut deaf = Vec::new();
    for author in 0..groups.len() {
        let message = sent(people, &mut groups[author], author, rng);
        for reader in (0..groups.len()).filter(|reader| *reader != author) {
            groups[reader].receive(message.clone()).unwrap();
            let event = groups[reader].poll(&mut people[reader].context(START + 2), rng);
            if !matches!(event, Some(Event::Application { .. })) {
                deaf.push((reader, author));
            }
        }
    }
    deaf
}

/// One round of what is advised.
fn round(people: &mut [Person], groups: &mut [Group<Stubborn>], rng: &mut ChaCha20Rng) {
    for who in 0..groups.len() {
        if groups[who].rekey() != Rekey::None {
            let context = people[who].context(START + 2);
            let draft = groups[who].update(&context, rng).unwrap();
            share(people, groups, who, draft, rng);
        }
        for member in groups[who].lacking(&people[who].context(START + 2)) {
            let context = people[who].context(START + 2);
            if !groups[who].lacking(&context).contains(&member) {
                continue;
            }
            let draft = groups[who].welcome(member, &context, rng).unwrap();
            share(people, groups, who, draft, rng);
        }
    }
}

#[test]
fn an_unreachable_member_hears_all_once_it_is_reached() {
    let mut rng = life_rng("message left out", 0);
    let mut people = people(4, 2, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    // Of the last nobody has a bundle.
    let bundle = people[3].keys.one_time_bundle(START, &mut rng).unwrap();
    let bundles: Vec<Vec<_>> = (0..4)
        .map(|owner| {
            (0..8)
                .map(|_| people[owner].keys.one_time_bundle(START, &mut rng).unwrap())
                .collect()
        })
        .collect();
    for (reader, person) in people.iter_mut().enumerate().take(3) {
        let mut registry = Registry::new();
        for owner in (0..3).filter(|owner| *owner != reader) {
            let place = reader * 2;
            for bundle in &bundles[owner][place..place + 2] {
                registry.add_one_time(ids[owner], *bundle, START).unwrap();
            }
        }
        person.registry = registry;
    }
    let new = |person: &Person| Group::new(person.id, Stubborn::default(), Config::default());
    let mut groups: Vec<_> = people.iter().map(new).collect();
    let context = people[0].context(START + 1);
    let draft = groups[0].create(&ids, &context, &mut rng).unwrap();
    assert_eq!(draft.left_out().len(), 1);
    let mut missed = share(&mut people[..3], &mut groups[..3], 0, draft, &mut rng);
    let context = people[1].context(START + 1);
    let draft = groups[1].update(&context, &mut rng).unwrap();
    assert_eq!(draft.left_out().len(), 1);
    missed.extend(share(
        &mut people[..3],
        &mut groups[..3],
        1,
        draft,
        &mut rng,
    ));
    let context = people[0].context(START + 2);
    assert_eq!(groups[0].lacking(&context), BTreeSet::new(), "out of reach");
    // It can be removed, and joins once somebody can reach it.
    let context = people[2].context(START + 2);
    groups[2].remove(ids[3], &context, &mut rng).unwrap();
    people[0]
        .registry
        .add_one_time(ids[3], bundle, START)
        .unwrap();
    for reader in [1, 2] {
        let bundle = people[3].keys.one_time_bundle(START, &mut rng).unwrap();
        people[reader]
            .registry
            .add_one_time(ids[3], bundle, START)
            .unwrap();
    }
    let context = people[0].context(START + 2);
    assert_eq!(groups[0].lacking(&context), BTreeSet::from([ids[3]]));
    for message in &missed {
        groups[3].receive(message.clone()).unwrap();
    }
    for _ in 0..2 {
        round(&mut people, &mut groups, &mut rng);
    }
    assert_eq!(deaf(&mut people, &mut groups, &mut rng), []);
}

#[test]
fn shared_one_time_bundles_leave_nobody_deaf() {
    let mut rng = life_rng("shared bundles", 0);
    let mut people = people(8, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    for owner in 0..8 {
        for _ in 0..3 {
            let bundle = people[owner].keys.one_time_bundle(START, &mut rng).unwrap();
            for reader in (0..8).filter(|reader| *reader != owner) {
                let registry = &mut people[reader].registry;
                registry.add_one_time(ids[owner], bundle, START).unwrap();
            }
        }
    }
    let new = |person: &Person| Group::new(person.id, Stubborn::default(), Config::default());
    let mut groups: Vec<_> = people.iter().map(new).collect();
    let context = people[0].context(START + 1);
    let draft = groups[0].create(&ids, &context, &mut rng).unwrap();
    share(&mut people, &mut groups, 0, draft, &mut rng);
    for author in 0..8 {
        let context = people[author].context(START + 2);
        let draft = groups[author].update(&context, &mut rng).unwrap();
        share(&mut people, &mut groups, author, draft, &mut rng);
    }
    for _ in 0..2 {
        round(&mut people, &mut groups, &mut rng);
    }
    assert_eq!(deaf(&mut people, &mut groups, &mut rng), []);
}
