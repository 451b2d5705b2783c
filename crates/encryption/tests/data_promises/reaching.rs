//! Members that cannot be reached, come back or are removed.

use std::collections::BTreeSet;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{
    Agreement, Control, Encrypted, Event, Group, GroupSecret, Members, Need, OperationError,
    Payload, Reason, Rekey,
};
use p2panda_encryption::two_party::KeyUsed;
use p2panda_encryption::{
    Content, Lifetime, LongTermBundle, Message, OperationId, OwnKeys, Registry, Secret, Wire,
};

use super::world::*;
use super::{commit, control, crew, deliver, share, trio};

/// A group of the first people, this many, of whom the creator has no bundle of the last.
fn without_the_last(
    seed: u64,
    count: usize,
) -> (ChaCha20Rng, Vec<Person>, Vec<Group>, LongTermBundle) {
    let mut rng = life_rng("left out", seed);
    let mut people = people(count, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let last = people[count - 1].keys.long_term_bundle(START).unwrap();
    let mut registry = Registry::new();
    for person in &people[1..count - 1] {
        let bundle = person.keys.long_term_bundle(START).unwrap();
        registry.add_long_term(person.id, bundle, START).unwrap();
    }
    people[0].registry = registry;
    let mut groups: Vec<Group> = ids
        .iter()
        .map(|id| Group::new(*id, Members::default()))
        .collect();
    let context = people[0].context(START + 1);
    let draft = groups[0].create(&ids, &context, &mut rng).unwrap();
    let left_out: Vec<_> = draft.left_out().iter().map(|left| left.member).collect();
    assert_eq!(left_out, [ids[count - 1]]);
    share(&mut people, &mut groups, 0, draft, &mut rng);
    (rng, people, groups, last)
}

/// Sends data and gives what the others are to receive.
fn data(
    people: &[Person],
    groups: &[Group],
    author: usize,
    rng: &mut ChaCha20Rng,
) -> Message<Payload> {
    let sent = groups[author].send(b"panda", rng).unwrap();
    Message {
        id: operation(rng),
        sender: people[author].id,
        dependencies: sent.dependencies,
        payload: sent.payload,
    }
}

fn reads(events: &[Event], id: OperationId) -> bool {
    let opened =
        |event: &Event| matches!(event, Event::Application { operation, .. } if *operation == id);
    events.iter().any(opened)
}

/// Hands the latest secret to every member that lacks it and can be reached.
fn hand_over(
    people: &mut [Person],
    groups: &mut [Group],
    author: usize,
    rng: &mut ChaCha20Rng,
) -> usize {
    let context = people[author].context(START + 2);
    let lacking = groups[author].lacking(&context);
    for member in &lacking {
        let context = people[author].context(START + 2);
        let (draft, _) = groups[author].welcome(*member, 9, &context, rng).unwrap();
        share(people, groups, author, draft, rng);
    }
    lacking.len()
}

#[test]
fn an_unreachable_member_reads_once_it_is_reached() {
    let (mut rng, mut people, mut groups, _) = without_the_last(0, 4);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let last = people[3].id;
    // A create without a message for it makes it wait.
    let updated = groups[0]
        .update(&people[0].context(START + 2), &mut rng)
        .unwrap();
    assert_eq!(updated.left_out().len(), 1);
    share(people, groups, 0, updated, &mut rng);
    let message = data(people, groups, 0, &mut rng);
    for reader in [1, 2] {
        assert!(reads(
            &deliver(people, groups, reader, &message),
            message.id
        ));
    }
    let events = deliver(people, groups, 3, &message);
    assert!(!reads(&events, message.id));
    assert_eq!(
        hand_over(people, groups, 0, &mut rng),
        0,
        "out of its reach"
    );
    // Anyone who can reach it hands the secret over, and what waited for it opens.
    let context = people[1].context(START + 2);
    assert_eq!(groups[1].lacking(&context), BTreeSet::from([last]));
    let (draft, _) = groups[1].welcome(last, 9, &context, &mut rng).unwrap();
    let welcome = commit(people, groups, 1, draft, &mut rng);
    for reader in [0, 2] {
        deliver(people, groups, reader, &welcome);
    }
    let events = deliver(people, groups, 3, &welcome);
    assert!(reads(&events, message.id), "{events:?}");
    let latest = groups[0].latest_eligible();
    for author in 0..4 {
        assert_eq!(groups[author].latest_eligible(), latest);
        assert_eq!(
            groups[author].lacking(&people[author].context(START + 2)),
            BTreeSet::new()
        );
        let message = data(people, groups, author, &mut rng);
        for reader in (0..4).filter(|reader| *reader != author) {
            assert!(reads(
                &deliver(people, groups, reader, &message),
                message.id
            ));
        }
    }
}

#[test]
fn an_unreachable_member_can_be_removed() {
    let (mut rng, mut people, mut groups, _) = without_the_last(1, 4);
    let last = people[3].id;
    let context = people[0].context(START + 2);
    let draft = groups[0].remove(last, &context, &mut rng).unwrap();
    share(&mut people, &mut groups, 0, draft, &mut rng);
    for group in &groups[..3] {
        assert!(!group.members().unwrap().contains(&last));
        assert_eq!(group.rekey(), Rekey::None);
    }
}

#[test]
fn nobody_silences_a_member_by_leaving_it_out() {
    let (mut rng, mut people, mut groups, bundle) = without_the_last(2, 4);
    let last = people[3].id;
    // Everybody has the same complete secret.
    people[0]
        .registry
        .add_long_term(last, bundle, START)
        .unwrap();
    assert_eq!(hand_over(&mut people, &mut groups, 0, &mut rng), 1);
    let complete = groups[1].latest_eligible();
    // Then somebody updates without the last.
    let ids: Vec<_> = people[..3].iter().map(|person| person.id).collect();
    let hostile: Agreement<Members> = Agreement::new(ids[2], Members::default());
    let secret = GroupSecret::new(Secret::random(&mut rng), START + 5);
    let context = people[2].context(START + 2);
    let draft = hostile
        .rotate(Control::Update, &ids, secret, &context, &mut rng)
        .unwrap();
    let prepared = draft.seal().unwrap();
    let mut update = control(ids[2], operation(&mut rng), &prepared);
    update.dependencies = groups[1].send(b"", &mut rng).unwrap().dependencies;
    deliver(&mut people, &mut groups, 1, &update);
    assert_eq!(groups[1].latest_eligible(), complete);
    // The rotation may have been meant to heal: it is handed over, and then used.
    let context = people[1].context(START + 2);
    assert!(groups[1].lacking(&context).contains(&last));
    let (draft, _) = groups[1].welcome(last, 9, &context, &mut rng).unwrap();
    commit(&mut people, &mut groups, 1, draft, &mut rng);
    assert_ne!(groups[1].latest_eligible(), complete);
}

#[test]
fn a_lost_first_message_is_mended_by_a_new_pre_key() {
    let mut rng = life_rng("pair", 0);
    let mut people = people(2, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let mut groups: Vec<Group> = ids
        .iter()
        .map(|id| Group::new(*id, Members::default()))
        .collect();
    // The pre-key that is used is gone by the time that the message comes.
    let later = START + 2_000_000;
    people[1].keys.remove_expired(later);
    let draft = groups[0]
        .create(&ids, &people[0].context(START + 1), &mut rng)
        .unwrap();
    let create = commit(&mut people, &mut groups, 0, draft, &mut rng);
    let events = deliver(&mut people, &mut groups, 1, &create);
    let [Event::Failed { failure, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(failure.needs(), Some(Need::Channel));
    // It shows a new one, and is handed what it lacks through a new channel.
    assert_eq!(hand_over(&mut people, &mut groups, 0, &mut rng), 0);
    people[1]
        .keys
        .rotate_prekey(Lifetime::starting(START + 2, 1_000), &mut rng);
    let newer = people[1].keys.long_term_bundle(START + 2).unwrap();
    people[0]
        .registry
        .add_long_term(ids[1], newer, START + 2)
        .unwrap();
    assert_eq!(hand_over(&mut people, &mut groups, 0, &mut rng), 1);
    assert_eq!(hand_over(&mut people, &mut groups, 0, &mut rng), 0);
    for (author, reader) in [(0, 1), (1, 0), (0, 1)] {
        if groups[author].rekey() != Rekey::None {
            let context = people[author].context(START + 2);
            let draft = groups[author].update(&context, &mut rng).unwrap();
            share(&mut people, &mut groups, author, draft, &mut rng);
        }
        let message = data(&people, &groups, author, &mut rng);
        assert!(reads(
            &deliver(&mut people, &mut groups, reader, &message),
            message.id
        ));
    }
}

#[test]
fn a_backup_writes_nothing_before_an_update() {
    let (mut rng, mut people, mut groups) = trio(9);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let backup = (groups[0].encode(), people[0].keys.encode());
    let mut lost = Vec::new();
    for author in [0, 1, 0] {
        let context = people[author].context(START + 2);
        let draft = groups[author].update(&context, &mut rng).unwrap();
        lost.push(share(people, groups, author, draft, &mut rng));
    }
    groups[0] = Group::decode(&backup.0).unwrap();
    people[0].keys = OwnKeys::decode(&backup.1).unwrap();
    for message in &lost {
        deliver(people, groups, 0, message);
    }
    // It knows that something of its own is missing.
    assert_eq!(groups[0].rekey(), Rekey::Required(Reason::Restored));
    let refused = groups[0].send(b"no", &mut rng).unwrap_err();
    assert_eq!(refused, OperationError::Restored);
    let restored = groups[0].encode();
    groups[0] = Group::decode(&restored).unwrap();
    let draft = groups[0]
        .update(&people[0].context(START + 2), &mut rng)
        .unwrap();
    let update = share(people, groups, 0, draft, &mut rng);
    let Payload::Control { directs, .. } = &update.payload else {
        panic!("update");
    };
    for direct in directs {
        let Content::TwoParty { ciphertext } = &direct.content else {
            panic!("update");
        };
        assert_eq!(ciphertext.key_used, KeyUsed::PreKey, "a new channel");
    }
    for author in [0, 1, 2] {
        hand_over(people, groups, author, &mut rng);
        assert_eq!(groups[author].rekey(), Rekey::None);
        let message = data(people, groups, author, &mut rng);
        for reader in (0..3).filter(|reader| *reader != author) {
            assert!(reads(
                &deliver(people, groups, reader, &message),
                message.id
            ));
        }
    }
    // A second update goes through the channels that have begun.
    let draft = groups[1]
        .update(&people[1].context(START + 2), &mut rng)
        .unwrap();
    share(people, groups, 1, draft, &mut rng);
    assert_eq!(groups[0].latest_eligible(), groups[1].latest_eligible());
}

#[test]
fn nobody_brings_a_removed_member_back_by_handing_it_a_secret() {
    let (mut rng, mut people, mut groups) = crew(10, 5);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let removed = people[2].id;
    for added in [3, 4] {
        let added = people[added].id;
        let context = people[0].context(START + 2);
        let (draft, _) = groups[0].add(added, 9, &context, &mut rng).unwrap();
        share(people, groups, 0, draft, &mut rng);
    }
    let context = people[0].context(START + 2);
    let draft = groups[0].remove(removed, &context, &mut rng).unwrap();
    let removal = commit(people, groups, 0, draft, &mut rng);
    let context = people[1].context(START + 2);
    let (draft, _) = groups[1].welcome(removed, 9, &context, &mut rng).unwrap();
    let welcome = commit(people, groups, 1, draft, &mut rng);
    for (reader, messages) in [
        (0, vec![&welcome]),
        (1, vec![&removal]),
        (2, vec![&removal, &welcome]),
        (3, vec![&removal, &welcome]),
        (4, vec![&welcome, &removal]),
    ] {
        for message in messages {
            deliver(people, groups, reader, message);
        }
    }
    assert!(groups[2].members().is_err());
    for reader in [0, 1, 3, 4] {
        assert_eq!(groups[reader].members().unwrap().len(), 4);
        assert!(!groups[reader].members().unwrap().contains(&removed));
        let message = data(people, groups, reader, &mut rng);
        let Payload::Application(Encrypted { secret, .. }) = message.payload else {
            panic!("data");
        };
        assert!(groups[2].secrets().get(&secret).is_none());
    }
}

#[test]
fn a_removal_counts_also_where_its_secret_does_not_open() {
    let (mut rng, mut people, mut groups) = trio(11);
    let removed = people[2].id;
    // An update that never comes breaks the channel, and the removal does not open.
    let context = people[0].context(START + 2);
    let draft = groups[0].update(&context, &mut rng).unwrap();
    let lost = commit(&mut people, &mut groups, 0, draft, &mut rng);
    let context = people[0].context(START + 2);
    let draft = groups[0].remove(removed, &context, &mut rng).unwrap();
    let removal = commit(&mut people, &mut groups, 0, draft, &mut rng);
    groups[1].give_up(lost.id);
    let events = deliver(&mut people, &mut groups, 1, &removal);
    let [Event::Failed { failure, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(failure.needs(), Some(Need::Channel));
    assert!(!groups[1].members().unwrap().contains(&removed));
    assert!(groups[1].send(b"no", &mut rng).is_err());
    assert!(matches!(groups[1].rekey(), Rekey::Required(_)));
}
