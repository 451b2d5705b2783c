//! Every bound at its limit and one past it; a state that reached one can be stored and read.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use chacha20::ChaCha20Rng;
use p2panda_core::SigningKey;
use p2panda_core::limits::{
    DIRECT_MESSAGE_BYTES_MAX, ENCRYPTION_WAITING_MAX, FIRST_MESSAGES_MAX, GROUP_MEMBERS_MAX,
    GROUP_SECRETS_MAX, LONG_TERM_BUNDLES_MAX, ONE_TIME_BUNDLES_MAX,
};
use p2panda_encryption::data::{
    Control, Draft, Encrypted, Event, Group, Members, Membership, OperationError, Payload, Rekey,
    SecretBundle, SecretId,
};
use p2panda_encryption::hpke::HpkeCiphertext;
use p2panda_encryption::two_party::{
    KeyUsed, ReceiveError, Session, TwoPartyCiphertext, TwoPartyMessage,
};
use p2panda_encryption::{
    Bundle, Content, DecodeError, DirectMessage, Lifetime, Limit, LongTermBundle, Member, Message,
    OwnKeys, PublicKey, QueueError, Registry, SecretKey, Wire, Writer,
};
use world::*;

fn stored_and_read(group: &Group) {
    let stored = group.encode();
    let again: Group = Group::decode(&stored).unwrap();
    assert!(*again.encode() == *stored, "another state was read");
}

fn application(sender: Member, rng: &mut ChaCha20Rng) -> Message<Payload> {
    Message {
        id: operation(rng),
        sender,
        dependencies: Vec::new(),
        payload: Payload::Application(Encrypted {
            secret: SecretId::from_bytes([7; 32]),
            nonce: [0; 24],
            ciphertext: Vec::new(),
        }),
    }
}

/// A control message that waits for another one.
fn waiting(sender: Member, directs: Vec<DirectMessage>, rng: &mut ChaCha20Rng) -> Message<Payload> {
    Message {
        id: operation(rng),
        sender,
        dependencies: vec![operation(rng)],
        payload: Payload::Control {
            control: Control::Update,
            directs,
        },
    }
}

fn direct(recipient: Member, history: Vec<u8>) -> DirectMessage {
    let sealed = HpkeCiphertext {
        kem_output: PublicKey::from_bytes([9; 32]),
        ciphertext: vec![0; 16],
    };
    let ciphertext = TwoPartyMessage {
        key_used: KeyUsed::ReceivedKey,
        ciphertext: TwoPartyCiphertext::Hpke(sealed),
    };
    let content = Content::Welcome {
        history,
        ciphertext,
    };
    DirectMessage { content, recipient }
}

fn members(count: usize, rng: &mut ChaCha20Rng) -> Vec<Member> {
    let member = |_| SigningKey::generate(rng).verifying_key();
    (0..count).map(member).collect()
}

/// A group of these people, and the messages that made it.
fn founded(people: &mut [Person], rng: &mut ChaCha20Rng) -> (Vec<Group>, Message<Payload>) {
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let new = |id: &Member| Group::new(*id, Members::default());
    let mut groups: Vec<Group> = ids.iter().map(new).collect();
    let draft = groups[0].create(&ids, &people[0].context(START + 1), rng);
    let create = publish(&mut people[0], &mut groups[0], draft.unwrap(), rng);
    for (person, group) in people.iter_mut().zip(&mut groups).skip(1) {
        group.receive(create.clone()).unwrap();
        let event = group.poll(&mut person.context(START + 1));
        assert!(matches!(event, Some(Event::Joined { .. })), "{event:?}");
    }
    (groups, create)
}

#[test]
fn ready_messages_are_taken_with_a_full_queue() {
    let mut rng = life_rng("bounds", 0);
    let mut people = people(3, 0, &mut rng);
    let (mut groups, _) = founded(&mut people, &mut rng);
    let hostile = people[2].id;
    let context = people[1].context(START + 1);
    let draft = groups[1].update(&context, &mut rng).unwrap();
    let update = publish(&mut people[1], &mut groups[1], draft, &mut rng);
    let context = people[1].context(START + 1);
    let draft = groups[1].remove(hostile, &context, &mut rng).unwrap();
    let removal = publish(&mut people[1], &mut groups[1], draft, &mut rng);
    // The removal comes first and waits for the update.
    assert_eq!(groups[0].receive(removal.clone()), Ok(Vec::new()));
    let mut first = None;
    for _ in 0..ENCRYPTION_WAITING_MAX - 1 {
        let message = waiting(hostile, Vec::new(), &mut rng);
        first.get_or_insert(message.id);
        assert_eq!(groups[0].receive(message), Ok(Vec::new()));
    }
    // The one who has the most loses its oldest, and nobody else anything.
    let message = waiting(hostile, Vec::new(), &mut rng);
    assert_eq!(groups[0].receive(message), Ok(vec![first.unwrap()]));
    stored_and_read(&groups[0]);
    assert_eq!(groups[0].receive(update.clone()), Ok(Vec::new()));
    for id in [update.id, removal.id] {
        let event = groups[0].poll(&mut people[0].context(START + 1));
        let processed = matches!(event, Some(Event::Changed { operation, .. }) if operation == id);
        assert!(processed, "{event:?}");
    }
    assert!(!groups[0].members().unwrap().contains(&hostile));
}

#[test]
fn a_queue_full_of_data_has_room_for_the_welcome() {
    let mut rng = life_rng("bounds", 0);
    let mut people = people(3, 0, &mut rng);
    let (mut groups, create) = founded(&mut people[..2], &mut rng);
    let (last, hostile) = (people[2].id, members(1, &mut rng)[0]);
    let mut late: Group = Group::new(last, Members::default());
    late.receive(create).unwrap();
    for class in [application, |sender, rng: &mut _| {
        waiting(sender, Vec::new(), rng)
    }] {
        for _ in 0..ENCRYPTION_WAITING_MAX + 10 {
            late.receive(class(hostile, &mut rng)).unwrap();
        }
    }
    stored_and_read(&late);
    let context = people[0].context(START + 1);
    let (draft, _) = groups[0].add(last, 9, &context, &mut rng).unwrap();
    let add = publish(&mut people[0], &mut groups[0], draft, &mut rng);
    late.receive(add).unwrap();
    let event = late.poll(&mut people[2].context(START + 1));
    assert!(matches!(event, Some(Event::Joined { .. })), "{event:?}");
}

#[test]
fn a_stranger_keeps_little_of_each_message() {
    let mut rng = life_rng("bounds", 8);
    let mut people = people(32, 0, &mut rng);
    let (mut groups, create) = founded(&mut people[..31], &mut rng);
    let mut stranger: Group = Group::new(people[31].id, Members::default());
    stranger.receive(create).unwrap();
    let before = stranger.encode().len();
    for _ in 0..10 {
        let context = people[0].context(START + 1);
        let draft = groups[0].update(&context, &mut rng).unwrap();
        let update = publish(&mut people[0], &mut groups[0], draft, &mut rng);
        stranger.receive(update).unwrap();
    }
    let each = (stranger.encode().len() - before) / 10;
    assert!(each < 200, "{each} bytes each");
}

#[test]
fn a_deeply_nested_waiting_message_survives_a_restart() {
    let mut rng = life_rng("bounds", 1);
    let ids = members(2, &mut rng);
    let nested = |depth: usize| {
        let mut w = Writer::default();
        for _ in 0..depth {
            w.array(1);
        }
        w.null();
        direct(ids[0], w.into_bytes().to_vec())
    };
    let decodes = |depth: &usize| DirectMessage::decode(&nested(*depth).encode()).is_ok();
    let deepest = (1..300).rev().find(decodes).unwrap();
    assert!(deepest > 150);
    let mut group: Group = Group::new(ids[0], Members::default());
    let message = waiting(ids[1], vec![nested(deepest)], &mut rng);
    group.receive(message).unwrap();
    stored_and_read(&group);
}

#[test]
fn too_many_and_too_large_direct_messages_are_refused() {
    let mut rng = life_rng("bounds", 2);
    let ids = members(2, &mut rng);
    let mut group: Group = Group::new(ids[0], Members::default());
    let null = vec![0xf6];
    let many = vec![direct(ids[1], null.clone()); GROUP_MEMBERS_MAX + 1];
    let before = group.encode();
    let message = waiting(ids[1], many.clone(), &mut rng);
    assert_eq!(
        group.receive(message),
        Err(QueueError::Limit(Limit::Members))
    );
    let large = direct(ids[1], vec![0; DIRECT_MESSAGE_BYTES_MAX]);
    let message = waiting(ids[1], vec![large], &mut rng);
    assert_eq!(
        group.receive(message),
        Err(QueueError::Limit(Limit::DirectMessage))
    );
    assert_eq!(*group.encode(), *before);
    let message = waiting(ids[1], many[1..].to_vec(), &mut rng);
    group.receive(message).unwrap();
    stored_and_read(&group);

    // A text of zeros fills the history up to the limit.
    let mut w = Writer::default();
    let empty = direct(ids[1], null).encode().len() + 4;
    w.bytes(&vec![0; DIRECT_MESSAGE_BYTES_MAX - empty]);
    let largest = direct(ids[1], w.into_bytes().to_vec()).encode();
    assert_eq!(largest.len(), DIRECT_MESSAGE_BYTES_MAX);
    assert!(DirectMessage::decode(&largest).is_ok());
    let longer = [&largest[..], &[0]].concat();
    assert_eq!(DirectMessage::decode(&longer), Err(DecodeError::TooLarge));
}

#[test]
fn the_members_of_a_group_are_bounded() {
    let mut rng = life_rng("bounds", 3);
    let everybody = members(GROUP_MEMBERS_MAX + 1, &mut rng);
    let mut crowd = Members::default();
    crowd.create(&everybody[..GROUP_MEMBERS_MAX]);
    let (last, id) = (everybody[GROUP_MEMBERS_MAX], operation(&mut rng));
    crowd.add(everybody[0], last, id);
    assert_eq!(crowd.members().len(), GROUP_MEMBERS_MAX);
    assert_eq!(Members::decode(&crowd.encode()).unwrap(), crowd);

    let mut people = people(1, 0, &mut rng);
    let group: Group = Group::new(people[0].id, Members::default());
    let context = people[0].context(START + 1);
    let refused = group.create(&everybody[..GROUP_MEMBERS_MAX], &context, &mut rng);
    assert_eq!(
        refused.unwrap_err(),
        OperationError::Limit(Limit::Members),
        "and ourselves"
    );
}

fn commit(person: &mut Person, group: &mut Group, draft: Draft, rng: &mut ChaCha20Rng) {
    let prepared = draft.seal().unwrap();
    let id = operation(rng);
    let mut context = person.context(START + 1);
    group.commit(prepared, id, &mut context).unwrap();
}

/// Commits a draft and gives what arrives at the other.
fn publish(
    person: &mut Person,
    group: &mut Group,
    draft: Draft,
    rng: &mut ChaCha20Rng,
) -> Message<Payload> {
    let prepared = draft.seal().unwrap();
    let message = Message {
        id: operation(rng),
        sender: person.id,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: prepared.control().clone(),
            directs: prepared.directs().cloned().collect(),
        },
    };
    let mut context = person.context(START + 1);
    group.commit(prepared, message.id, &mut context).unwrap();
    message
}

#[test]
fn a_full_bundle_takes_nothing_until_some_are_erased() {
    let mut rng = life_rng("bounds", 4);
    let mut people = people(2, 0, &mut rng);
    let ids = [people[0].id, people[1].id];
    let [alice, bob] = &mut people[..] else {
        panic!("two people");
    };
    let mut first: Group = Group::new(ids[0], Members::default());
    let draft = first.create(&[], &alice.context(START + 1), &mut rng);
    commit(alice, &mut first, draft.unwrap(), &mut rng);
    for _ in 1..GROUP_SECRETS_MAX {
        let draft = first.update(&alice.context(START + 1), &mut rng);
        commit(alice, &mut first, draft.unwrap(), &mut rng);
    }
    let refused = first.update(&alice.context(START + 1), &mut rng);
    assert_eq!(refused.unwrap_err(), OperationError::Limit(Limit::Secrets));
    stored_and_read(&first);

    // All of them fit into a welcome, and what comes on top of them is not kept.
    let (draft, report) = first
        .add(ids[1], usize::MAX, &alice.context(START + 1), &mut rng)
        .unwrap();
    assert_eq!(report.left_out, []);
    let welcome = publish(alice, &mut first, draft, &mut rng);
    first.keep_newest(10);
    let draft = first.update(&alice.context(START + 1), &mut rng);
    let update = publish(alice, &mut first, draft.unwrap(), &mut rng);
    let mut second: Group = Group::new(ids[1], Members::default());
    // The history before the welcome does not matter here.
    let (mut welcome, mut update) = (welcome, update);
    welcome.dependencies.clear();
    update.dependencies = vec![welcome.id];
    for message in [welcome, update] {
        second.receive(message).unwrap();
        let event = second.poll(&mut bob.context(START + 1));
        let taken = matches!(event, Some(Event::Joined { .. } | Event::Changed { .. }));
        assert!(taken, "{event:?}");
    }
    assert_eq!(second.secrets().len(), GROUP_SECRETS_MAX);
    assert!(matches!(second.rekey(), Rekey::Advised(_)));
    stored_and_read(&second);
    second.keep_newest(10);
    let draft = second.update(&bob.context(START + 1), &mut rng);
    commit(bob, &mut second, draft.unwrap(), &mut rng);
    assert_eq!(second.rekey(), Rekey::None);

    let mut w = Writer::default();
    w.array(GROUP_SECRETS_MAX + 1);
    for _ in 0..=GROUP_SECRETS_MAX {
        w.array(2).bytes(&[1; 32]).uint(1);
    }
    let decoded = SecretBundle::decode(&w.into_bytes());
    assert_eq!(decoded.unwrap_err(), DecodeError::TooLarge);
}

#[test]
fn first_messages_of_a_peer_are_bounded_per_pre_key() {
    let mut rng = life_rng("bounds", 5);
    let mut people = people(2, 0, &mut rng);
    let bundle = Bundle::LongTerm(people[1].keys.long_term_bundle(START).unwrap());
    let [alice, bob] = &mut people[..] else {
        panic!("two people");
    };
    let mut session = Session::to_receive();
    let mut first = |bundle| {
        let mut fresh = Session::to_send(bundle);
        fresh.send(&alice.keys, b"again", START, &mut rng).unwrap()
    };
    for _ in 0..FIRST_MESSAGES_MAX {
        session
            .receive(&mut bob.keys, None, &first(bundle))
            .unwrap();
    }
    let refused = session.receive(&mut bob.keys, None, &first(bundle));
    assert_eq!(
        refused.unwrap_err(),
        ReceiveError::Limit(Limit::FirstMessages)
    );
    let mut rng = life_rng("bounds", 6);
    bob.keys.remove_expired(START + 2_000_000);
    let lifetime = Lifetime::starting(START + 2_000_000, 1_000);
    bob.keys.rotate_prekey(lifetime, &mut rng);
    let bundle = bob.keys.long_term_bundle(START + 2_000_000).unwrap();
    let mut fresh = Session::to_send(Bundle::LongTerm(bundle));
    let message = fresh.send(&alice.keys, b"new", START + 2_000_000, &mut rng);
    session
        .receive(&mut bob.keys, None, &message.unwrap())
        .unwrap();
}

#[test]
fn a_full_registry_drops_the_bundle_used_last_or_the_oldest() {
    let mut rng = life_rng("bounds", 7);
    let owner = members(1, &mut rng)[0];
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    let mut registry = Registry::new();
    let now = START + LONG_TERM_BUNDLES_MAX as u64;
    let mut longterm: Vec<_> = (START..=now)
        .map(|at| {
            keys.rotate_prekey(Lifetime::starting(at, 1_000), &mut rng);
            keys.long_term_bundle(at).unwrap()
        })
        .collect();
    // The one that would be used last is not the one that was added first.
    longterm.swap(0, 1);
    for bundle in &longterm {
        registry.add_long_term(owner, *bundle, now).unwrap();
        // A repeat takes no room.
        registry.add_long_term(owner, *bundle, now).unwrap();
    }
    let stored = registry.encode();
    let is_kept = |bundle: &LongTermBundle| {
        let encoded = bundle.encode();
        stored
            .windows(encoded.len())
            .any(|part| *part == encoded[..])
    };
    let kept: Vec<bool> = longterm.iter().map(is_kept).collect();
    let expected: Vec<bool> = (0..=LONG_TERM_BUNDLES_MAX).map(|at| at != 1).collect();
    assert_eq!(kept, expected);
    assert_eq!(registry.long_term(&owner, now), Ok(longterm.last()));
    let mut first = None;
    for _ in 0..=ONE_TIME_BUNDLES_MAX {
        let bundle = keys.one_time_bundle(now, &mut rng).unwrap();
        first.get_or_insert(bundle);
        registry.add_one_time(owner, bundle, now).unwrap();
        registry.add_one_time(owner, bundle, now).unwrap();
    }
    let taken: Vec<_> = std::iter::from_fn(|| registry.take_one_time(&owner)).collect();
    assert_eq!(taken.len(), ONE_TIME_BUNDLES_MAX);
    assert!(!taken.contains(&first.unwrap()));
    let newest = taken[0].onetime_prekey.unwrap().id;
    assert_eq!(newest, ONE_TIME_BUNDLES_MAX as u64);
}
