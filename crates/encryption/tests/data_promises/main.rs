//! Promises of the data scheme, one by one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod eligibility;
mod hostile;
mod reaching;
#[path = "../support/world.rs"]
mod world;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{Draft, Event, Group, Members, Payload, Prepared};
use p2panda_encryption::{Member, Message, OperationId};
use world::*;

/// A group of the first three of this many people.
fn crew(seed: u64, count: usize) -> (ChaCha20Rng, Vec<Person>, Vec<Group>) {
    let mut rng = life_rng("data trio", seed);
    let mut people = people(count, 0, &mut rng);
    let mut groups: Vec<Group> = people
        .iter()
        .map(|person| Group::new(person.id, Members::default()))
        .collect();
    let ids: Vec<_> = people[..3].iter().map(|person| person.id).collect();
    let draft = groups[0]
        .create(&ids, &people[0].context(START + 1), &mut rng)
        .unwrap();
    share(&mut people, &mut groups, 0, draft, &mut rng);
    (rng, people, groups)
}

fn trio(seed: u64) -> (ChaCha20Rng, Vec<Person>, Vec<Group>) {
    crew(seed, 3)
}

/// An operation as it arrives.
fn control(sender: Member, id: OperationId, prepared: &Prepared) -> Message<Payload> {
    Message {
        id,
        sender,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: prepared.control().clone(),
            directs: prepared.directs().cloned().collect(),
        },
    }
}

/// Commits a draft, and gives what the others are to receive.
fn commit(
    people: &mut [Person],
    groups: &mut [Group],
    author: usize,
    draft: Draft,
    rng: &mut ChaCha20Rng,
) -> Message<Payload> {
    let prepared = draft.seal().unwrap();
    let message = control(people[author].id, operation(rng), &prepared);
    let mut context = people[author].context(START + 2);
    groups[author]
        .commit(prepared, message.id, &mut context)
        .unwrap();
    message
}

/// Delivers a message and returns what becomes of it.
fn deliver(
    people: &mut [Person],
    groups: &mut [Group],
    reader: usize,
    message: &Message<Payload>,
) -> Vec<Event> {
    groups[reader].receive(message.clone()).unwrap();
    let mut context = people[reader].context(START + 2);
    std::iter::from_fn(|| groups[reader].poll(&mut context)).collect()
}

/// Commits a draft and delivers it to everybody else.
fn share(
    people: &mut [Person],
    groups: &mut [Group],
    author: usize,
    draft: Draft,
    rng: &mut ChaCha20Rng,
) -> Message<Payload> {
    let message = commit(people, groups, author, draft, rng);
    for reader in (0..groups.len()).filter(|reader| *reader != author) {
        deliver(people, groups, reader, &message);
    }
    message
}
