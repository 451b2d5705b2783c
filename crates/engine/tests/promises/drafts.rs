//! Sealing for many members outside the engine's thread, and bounds on work for others.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::{
    PRE_KEY_LIFETIME_DEFAULT_S, SPACE_DRAFTS_MAX, SPACE_HEALS_PER_HOUR_MAX, SPACE_ROTATION_WAIT,
    SPACE_SEALED_AT_ONCE_MAX,
};
use p2panda_core::{
    Draft, LogName, NodeExtensions, Operation, SigningKey, Timestamp, Topic, VerifyingKey,
};
use p2panda_encryption::{Lifetime, OwnKeys, SecretKey};
use p2panda_engine::{
    Command, DeviceChange, DraftWork, Fault, Incoming, Lanes, NewMessage, Pending, PersonCommand,
    PublishError, Published, Role, Settings, Source, SpaceChange, SpaceCommand, SpaceError, thread,
};
use p2panda_spaces::Spaces;

use crate::spaces::{Peer, SECOND_US, TOPIC, asked, change, create, create_as};
use crate::teams;

const ELSEWHERE: Topic = Topic::from_bytes([8; 32]);

/// A member of whom there is nothing but its keys.
pub fn absent(number: u8) -> (VerifyingKey, Operation) {
    let mut rng = ChaCha20Rng::from_seed([number; 32]);
    let key = SigningKey::from_bytes(&[100 + number; 32]);
    let now = 1_800_000_000;
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    keys.rotate_hybrid_prekey(
        Lifetime::starting(now, PRE_KEY_LIFETIME_DEFAULT_S),
        &mut rng,
    );
    let body = Spaces::bundle_body(&keys, now).unwrap();
    let name = LogName::of("control").unwrap();
    let extensions = NodeExtensions {
        log_id: TOPIC.named_log_id(&name),
        timestamp: Timestamp::from_micros(1),
        prune: false,
        deps: Vec::new(),
        name: Some(name),
    }
    .encode();
    let draft = Draft {
        seq: 0,
        backlink: None,
        body: Some(&body),
        extensions: Some(&extensions),
    };
    let operation = Operation::create(&key, draft).unwrap();
    (key.verifying_key(), operation)
}

pub fn comes(peer: &mut Peer, operation: Operation) {
    peer.process(Command::Ingest {
        topic: TOPIC,
        source: Source::Import { id: 0 },
        operations: vec![Incoming::Valid(operation)],
        reply: None,
    });
}

/// Alice's space with bob, an owner, carol, an editor, and so many others that a secret for those who
/// stay when carol goes is for this many.
fn space_for(recipients: usize) -> [Peer; 3] {
    space_as(Settings::with_history(), recipients)
}

fn space_as(settings: Settings, recipients: usize) -> [Peer; 3] {
    let mut alice = Peer::new(1);
    alice.ask(create_as(settings)).unwrap();
    let mut bob = Peer::following(2, &mut alice);
    let mut carol = Peer::following(3, &mut alice);
    let members = [(bob.id(), Role::Owner), (carol.id(), Role::Editor)];
    for (member, role) in members {
        alice.ask(change(SpaceChange::Add(member, role))).unwrap();
    }
    for number in 0..recipients - 1 {
        let (member, keys) = absent(number as u8);
        comes(&mut alice, keys);
        alice
            .ask(change(SpaceChange::Add(member, Role::Reader)))
            .unwrap();
    }
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
    }
    alice.engine().seal_elsewhere(true);
    [alice, bob, carol]
}

type Answer<T> = Receiver<T>;

fn removes(member: VerifyingKey) -> (Command, Answer<Result<(), SpaceError>>) {
    changes(SpaceChange::Remove(member))
}

fn changes(change: SpaceChange) -> (Command, Answer<Result<(), SpaceError>>) {
    let (sender, answer) = channel();
    let command = Command::Space(SpaceCommand::Change {
        topic: TOPIC,
        change,
        reply: Box::new(move |answer| sender.send(answer).unwrap()),
    });
    (command, answer)
}

fn publishes(topic: Topic, text: &str) -> (Command, Answer<Result<Published, PublishError>>) {
    let (sender, answer) = channel();
    let command = Command::Publish {
        topic,
        message: NewMessage::new(text.as_bytes().to_vec()),
        reply: Box::new(move |answer| sender.send(answer).unwrap()),
    };
    (command, answer)
}

/// The one piece of work that has been begun.
fn work(peer: &mut Peer) -> DraftWork {
    let mut work = peer.engine().take_work();
    assert_eq!(work.len(), 1);
    work.remove(0)
}

/// Bob changes the role of somebody, which alice hears of.
fn bob_does_something(bob: &mut Peer, alice: &mut Peer, role: Role) {
    let (member, _) = absent(0);
    bob.ask(change(SpaceChange::SetRole(member, role))).unwrap();
    alice.hear(bob);
}

fn has(peer: &mut Peer, member: &VerifyingKey) -> bool {
    peer.members().iter().any(|(key, _)| key == member)
}

#[test]
fn a_removal_from_many_leaves_the_other_topics_alone() {
    let [mut alice, mut bob, mut carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    let (here, is_here) = publishes(TOPIC, "for those who stay");
    let (there, is_there) = publishes(ELSEWHERE, "\x61x");
    alice.process(here);
    alice.process(there);
    assert!(is_there.try_recv().unwrap().is_ok(), "nothing holds it up");
    assert!(removed.try_recv().is_err() && is_here.try_recv().is_err());
    assert!(has(&mut alice, &carol.id()), "nothing has happened yet");
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert_eq!(removed.try_recv().unwrap(), Ok(()));
    assert!(
        is_here.try_recv().unwrap().is_ok(),
        "it comes after the removal"
    );
    assert!(alice.engine().take_work().is_empty());
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
    }
    assert_eq!(bob.shown(), ["for those who stay"]);
    assert_eq!((carol.shown(), carol.sealed()), (Vec::new(), 1));
    assert!(!has(&mut bob, &carol.id()));
}

#[test]
fn a_removal_from_few_is_sealed_at_once() {
    let [mut alice, _bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX);
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    assert_eq!(removed.try_recv().unwrap(), Ok(()));
    assert!(alice.engine().take_work().is_empty());
}

#[test]
fn a_draft_that_lost_its_race_is_drawn_once_more() {
    let [mut alice, mut bob, mut carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    let roles = [Role::Editor, Role::Reader];
    for (lost, role) in roles.into_iter().enumerate() {
        assert!(lost < SPACE_DRAFTS_MAX);
        let outdated = work(&mut alice);
        bob_does_something(&mut bob, &mut alice, role);
        assert!(removed.try_recv().is_err());
        alice.process(outdated.seal().into());
    }
    assert_eq!(
        removed.try_recv().unwrap(),
        Ok(()),
        "the third is made at once"
    );
    assert!(alice.engine().take_work().is_empty());
    alice.publish("for those who stay").unwrap();
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
    }
    assert!(!has(&mut bob, &carol.id()));
    assert_eq!(bob.shown(), ["for those who stay"]);
    assert_eq!((carol.shown(), carol.sealed()), (Vec::new(), 1));
}

#[test]
fn a_crash_before_a_draft_is_used_takes_nothing_with_it() {
    let [mut alice, mut bob, mut carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let operations = alice.operations().len();
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    let lost = work(&mut alice);
    alice.crash();
    assert!(removed.recv().is_err(), "it was not done");
    assert!(has(&mut alice, &carol.id()));
    assert_eq!(alice.operations().len(), operations);
    // Nobody uses its result.
    alice.process(lost.seal().into());
    assert!(has(&mut alice, &carol.id()));
    alice.publish("for all").unwrap();
    alice.ask(change(SpaceChange::Remove(carol.id()))).unwrap();
    alice.publish("for those who stay").unwrap();
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
    }
    assert_eq!(bob.shown(), ["for all", "for those who stay"]);
    assert_eq!(carol.shown(), ["for all"]);
}

#[test]
fn storage_that_fails_when_a_draft_is_used_takes_it_back() {
    let [mut alice, mut bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let mut lanes = Lanes::new(alice.id());
    let (remove, removed) = removes(carol.id());
    let (here, is_here) = publishes(TOPIC, "for those who stay");
    lanes.push(remove);
    lanes.push(here);
    let mut failures = 0;
    for after in [0, 3, 9, 27] {
        let mut now = alice.now;
        while lanes.process(alice.engine(), now).is_ok() && !lanes.is_empty() {}
        let Some(work) = alice.engine().take_work().pop() else {
            break;
        };
        lanes.push(work.seal().into());
        alice.engine().set_fault(Some(Fault::Full { after }));
        lanes.process(alice.engine(), now).unwrap();
        failures += usize::from(lanes.waits_for().is_some());
        alice.engine().set_fault(None);
        if removed.try_recv().is_ok() {
            break;
        }
        assert!(has(&mut alice, &carol.id()));
        now.elapsed_us = lanes.next_wake().unwrap();
        alice.now = now;
    }
    assert!(failures >= 3, "{failures}");
    while removed.try_recv().is_err() && has(&mut alice, &carol.id()) {
        let now = alice.now;
        lanes.process(alice.engine(), now).unwrap();
        for work in alice.engine().take_work() {
            lanes.push(work.seal().into());
        }
    }
    let now = alice.now;
    while !lanes.is_empty() {
        lanes.process(alice.engine(), now).unwrap();
    }
    assert!(is_here.try_recv().unwrap().is_ok());
    bob.hear(&alice);
    assert_eq!(bob.shown(), ["for those who stay"]);
}

#[test]
fn a_close_makes_what_waits_for_a_draft() {
    let [mut alice, mut bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let engine = alice.engine.take().unwrap();
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (remove, removed) = removes(carol.id());
    let (here, is_here) = publishes(TOPIC, "for those who stay");
    queue.send(remove).unwrap();
    queue.send(here).unwrap();
    queue.close().unwrap();
    assert_eq!(removed.recv().unwrap(), Ok(()));
    assert!(is_here.recv().unwrap().is_ok());
    alice.crash();
    bob.hear(&alice);
    assert_eq!(bob.shown(), ["for those who stay"]);
}

#[test]
fn the_thread_that_seals_hands_the_work_back() {
    let [mut alice, mut bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let engine = alice.engine.take().unwrap();
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (remove, removed) = removes(carol.id());
    queue.send(remove).unwrap();
    assert_eq!(removed.recv().unwrap(), Ok(()));
    queue.close().unwrap();
    alice.crash();
    bob.hear(&alice);
    assert!(!has(&mut bob, &carol.id()));
}

#[test]
fn a_publish_that_needs_a_secret_first_waits_for_it() {
    let [mut alice, mut bob, mut carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    // Bob leaves, and makes no secret for the others.
    bob.ask(change(SpaceChange::Remove(bob.id()))).unwrap();
    let own = alice.now;
    for operation in bob.operations() {
        let command = Command::Ingest {
            topic: TOPIC,
            source: Source::Import { id: 0 },
            operations: vec![Incoming::Valid(operation)],
            reply: None,
        };
        alice.engine().process(vec![command], own).unwrap();
    }
    let (here, is_here) = publishes(TOPIC, "for those who stay");
    alice.process(here);
    assert!(is_here.try_recv().is_err());
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert!(is_here.try_recv().unwrap().is_ok());
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
    }
    assert_eq!(carol.shown(), ["for those who stay"]);
    assert!(bob.shown().is_empty());
}

#[test]
fn what_was_done_for_others_is_counted_across_restarts() {
    let mut alice = Peer::new(1);
    alice.ask(create()).unwrap();
    let members: Vec<_> = (0..=SPACE_HEALS_PER_HOUR_MAX as u8).map(absent).collect();
    for (member, _) in &members {
        alice
            .ask(change(SpaceChange::Add(*member, Role::Reader)))
            .unwrap();
    }
    for (number, (member, keys)) in members.into_iter().enumerate() {
        if number == 30 {
            alice.crash();
        }
        let operations = alice.operations().len();
        comes(&mut alice, keys);
        alice.wait();
        let healed = alice.operations().len() - operations - 1;
        let allowed = number < SPACE_HEALS_PER_HOUR_MAX as usize;
        assert_eq!(healed > 0, allowed, "{number}: {member}");
    }
    // In the next hour it continues by itself.
    let operations = alice.operations().len();
    alice.now.elapsed_us += 3_600 * SECOND_US;
    alice.now.wall = Timestamp::from_micros(alice.now.wall.as_micros() + 3_600 * SECOND_US);
    alice.settle();
    assert!(alice.operations().len() > operations);
}

#[test]
fn a_rotation_by_age_for_many_leaves_the_other_topics_alone() {
    let [mut alice, mut bob, _carol] = space_for(SPACE_SEALED_AT_ONCE_MAX);
    alice.ask(change(SpaceChange::RotateEvery(1))).unwrap();
    alice.goes_by(Duration::from_secs(24 * 60 * 60));
    let left = |peer: &mut Peer| peer.look().unwrap().secrets_left;
    let before = left(&mut alice);
    alice.goes_by(SPACE_ROTATION_WAIT);
    let drawn = work(&mut alice);
    let (here, is_here) = publishes(TOPIC, "under the new secret");
    let (there, is_there) = publishes(ELSEWHERE, "\x61x");
    alice.process(here);
    alice.process(there);
    assert!(is_there.try_recv().unwrap().is_ok(), "nothing holds it up");
    assert!(is_here.try_recv().is_err());
    assert_eq!(left(&mut alice), before, "nothing has happened yet");
    alice.process(drawn.seal().into());
    assert!(is_here.try_recv().unwrap().is_ok());
    assert_eq!(left(&mut alice), before - 1);
    assert!(alice.engine().take_work().is_empty());
    bob.hear(&alice);
    assert_eq!(left(&mut bob), before - 1);
    assert_eq!(bob.shown(), ["under the new secret"]);
}

#[test]
fn without_a_thread_for_it_everything_is_sealed_at_once() {
    let [mut alice, _bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    alice.engine().seal_elsewhere(false);
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    assert_eq!(removed.try_recv().unwrap(), Ok(()));
}

/// Makes a key a device of the person of a peer.
fn links(peer: &mut Peer, device: VerifyingKey) {
    let linked: Result<(), SpaceError> = peer.ask(asked(|reply| {
        let bundle = Bytes::new();
        Command::Space(SpaceCommand::Person(PersonCommand::Add {
            device,
            bundle,
            reply,
        }))
    }));
    linked.unwrap();
}

/// Alice's space for many, and a second device of hers, which she has just revoked.
fn space_with_a_lost_device() -> ([Peer; 3], VerifyingKey) {
    let [mut alice, mut bob, carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let device = SigningKey::from_bytes(&[90; 32]).verifying_key();
    links(&mut alice, device);
    assert!(alice.engine().take_work().is_empty(), "nobody goes");
    assert!(has(&mut alice, &device));
    bob.hear(&alice);
    let revoked: Result<(), SpaceError> = alice.ask(asked(|reply| {
        Command::Space(SpaceCommand::Person(PersonCommand::Revoke {
            device,
            reply,
        }))
    }));
    revoked.unwrap();
    assert!(has(&mut alice, &device), "the space has not followed");
    let pending = Pending::Change(DeviceChange::Revoke(device));
    assert_eq!(alice.look().unwrap().pending, [pending]);
    ([alice, bob, carol], device)
}

#[test]
fn a_revocation_in_a_space_of_many_is_sealed_elsewhere() {
    let ([mut alice, mut bob, mut carol], device) = space_with_a_lost_device();
    let (here, is_here) = publishes(TOPIC, "after it was lost");
    let (there, is_there) = publishes(ELSEWHERE, "\x61x");
    alice.process(here);
    alice.process(there);
    assert!(is_there.try_recv().unwrap().is_ok(), "nothing holds it up");
    assert!(is_here.try_recv().is_err(), "it waits for the new secret");
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert!(is_here.try_recv().unwrap().is_ok());
    assert!(alice.engine().take_work().is_empty());
    assert!(!has(&mut alice, &device));
    assert_eq!(alice.look().unwrap().pending, []);
    for peer in [&mut bob, &mut carol] {
        peer.hear(&alice);
        assert_eq!(peer.shown(), ["after it was lost"]);
        assert!(!has(peer, &device));
    }
}

#[test]
fn a_revocation_that_lost_its_race_is_made_on_the_thread() {
    let ([mut alice, mut bob, _], device) = space_with_a_lost_device();
    for role in [Role::Editor, Role::Reader] {
        let outdated = work(&mut alice);
        bob_does_something(&mut bob, &mut alice, role);
        assert!(has(&mut alice, &device));
        alice.process(outdated.seal().into());
    }
    assert!(!has(&mut alice, &device), "the third is made at once");
    assert!(alice.engine().take_work().is_empty());
}

#[test]
fn a_revocation_goes_on_after_a_crash() {
    let ([mut alice, mut bob, _], device) = space_with_a_lost_device();
    drop(work(&mut alice));
    alice.crash();
    alice.publish("after it was lost").unwrap();
    assert!(!has(&mut alice, &device));
    bob.hear(&alice);
    assert_eq!(bob.shown(), ["after it was lost"]);
}

#[test]
fn a_removal_from_a_team_is_sealed_elsewhere() {
    let [mut alice, mut bob, _carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let team = alice.make_team();
    let member = SigningKey::from_bytes(&[91; 32]).verifying_key();
    let join = teams::change(team, member, Some(Role::Reader));
    alice.ask(join).unwrap();
    alice.put_into(TOPIC, team);
    assert!(has(&mut alice, &member));
    assert!(alice.engine().take_work().is_empty(), "nobody goes");
    alice.ask(teams::change(team, member, None)).unwrap();
    assert!(has(&mut alice, &member), "the space has not followed");
    assert_eq!(alice.look().unwrap().pending_teams, [team]);
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert!(!has(&mut alice, &member));
    assert_eq!(alice.look().unwrap().pending_teams, []);
    assert!(alice.engine().take_work().is_empty());
    bob.hear(&alice);
    assert!(!has(&mut bob, &member));
}

#[test]
fn a_person_is_removed_with_all_devices_by_one_draft() {
    let [mut alice, mut bob, mut carol] = space_for(SPACE_SEALED_AT_ONCE_MAX + 1);
    let device = SigningKey::from_bytes(&[92; 32]).verifying_key();
    links(&mut carol, device);
    alice.hear(&carol);
    alice.wait();
    assert!(has(&mut alice, &device));
    let (remove, removed) = removes(carol.id());
    alice.process(remove);
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert_eq!(removed.try_recv().unwrap(), Ok(()));
    assert!(alice.engine().take_work().is_empty());
    bob.hear(&alice);
    for gone in [carol.id(), device] {
        assert!(!has(&mut alice, &gone) && !has(&mut bob, &gone));
    }
}

/// A space of the message scheme with many members, and somebody who is to be added.
fn space_with_a_newcomer() -> [Peer; 3] {
    let settings = Settings::with_a_key_per_message();
    let [mut alice, bob, _] = space_as(settings, SPACE_SEALED_AT_ONCE_MAX + 1);
    let dave = Peer::following(4, &mut alice);
    [alice, bob, dave]
}

#[test]
fn an_addition_to_many_begins_its_epoch_elsewhere() {
    let [mut alice, mut bob, mut dave] = space_with_a_newcomer();
    let (add, added) = changes(SpaceChange::Add(dave.id(), Role::Editor));
    alice.process(add);
    assert_eq!(added.try_recv().unwrap(), Ok(()), "it is made at once");
    assert!(has(&mut alice, &dave.id()));
    let (here, is_here) = publishes(TOPIC, "for all");
    let (there, is_there) = publishes(ELSEWHERE, "\x61x");
    alice.process(here);
    alice.process(there);
    assert!(is_there.try_recv().unwrap().is_ok(), "nothing holds it up");
    assert!(is_here.try_recv().is_err(), "it waits for the epoch");
    let done = work(&mut alice).seal();
    alice.process(done.into());
    assert!(is_here.try_recv().unwrap().is_ok());
    assert!(alice.engine().take_work().is_empty());
    assert!(alice.look().unwrap().is_healed());
    for peer in [&mut bob, &mut dave] {
        peer.hear(&alice);
        assert_eq!(peer.shown(), ["for all"]);
    }
}

#[test]
fn an_epoch_that_lost_its_race_begins_on_the_thread() {
    let [mut alice, mut bob, mut dave] = space_with_a_newcomer();
    let id = dave.id();
    alice
        .ask(change(SpaceChange::Add(id, Role::Editor)))
        .unwrap();
    for role in [Role::Editor, Role::Reader] {
        let outdated = work(&mut alice);
        bob_does_something(&mut bob, &mut alice, role);
        alice.process(outdated.seal().into());
    }
    assert!(alice.engine().take_work().is_empty(), "the third is made");
    alice.publish("for all").unwrap();
    dave.hear(&alice);
    assert_eq!(dave.shown(), ["for all"]);
}

/// An epoch that was owed begins before the next publish, also where nothing else has come since.
#[test]
fn a_crash_before_an_epoch_begins_leaves_no_reader_out() {
    let [mut alice, _bob, mut dave] = space_with_a_newcomer();
    let id = dave.id();
    alice
        .ask(change(SpaceChange::Add(id, Role::Editor)))
        .unwrap();
    drop(work(&mut alice));
    alice.crash();
    alice.publish("for all").unwrap();
    dave.hear(&alice);
    assert_eq!(dave.shown(), ["for all"]);
}
