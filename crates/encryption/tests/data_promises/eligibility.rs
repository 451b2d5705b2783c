//! The secrets under which members write, and their life.

use std::collections::BTreeSet;

use p2panda_encryption::data::{
    Agreement, Control, Encrypted, Event, Failure, Group, GroupSecret, Members, OperationError,
    Payload, Rekey,
};
use p2panda_encryption::{Limit, Message, OwnKeys, Secret, Wire, Writer};

use super::world::*;
use super::{commit, control, crew, deliver, share, trio};

#[test]
fn nobody_writes_under_a_secret_that_a_welcome_left_out() {
    let (mut rng, mut people, mut groups) = crew(6, 5);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let (short, late) = (people[3].id, people[4].id);
    // A new secret and a welcome with only that, next to an add whose author knows neither.
    let context = people[0].context(START + 2);
    let draft = groups[0].update(&context, &mut rng).unwrap();
    let update = commit(people, groups, 0, draft, &mut rng);
    let context = people[0].context(START + 2);
    let (draft, report) = groups[0].add(short, 1, &context, &mut rng).unwrap();
    assert_eq!(report.left_out.len(), 1);
    let welcome = commit(people, groups, 0, draft, &mut rng);
    let context = people[1].context(START + 2);
    let (draft, _) = groups[1].add(late, 9, &context, &mut rng).unwrap();
    let concurrent = commit(people, groups, 1, draft, &mut rng);
    for message in [&update, &welcome, &concurrent] {
        deliver(people, groups, 2, message);
    }
    // The older secret, which all others hold, is nothing to go back to.
    assert_eq!(groups[2].members().unwrap().len(), 5);
    let latest = groups[2].secrets().latest().map(GroupSecret::id);
    assert_eq!(groups[2].latest_eligible(), latest);
    let context = people[2].context(START + 2);
    assert_eq!(groups[2].lacking(&context), BTreeSet::from([late]));
}

#[test]
fn a_member_added_after_a_lost_message_is_a_holder() {
    let (mut rng, mut people, mut groups) = crew(7, 4);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let (added, latest) = (people[3].id, groups[2].latest_eligible().unwrap());
    // An operation that never reaches the third member, then an add that names it.
    let context = people[0].context(START + 2);
    let draft = groups[0].update(&context, &mut rng).unwrap();
    let lost = commit(people, groups, 0, draft, &mut rng);
    let context = people[0].context(START + 2);
    let (draft, _) = groups[0].add(added, 9, &context, &mut rng).unwrap();
    let add = commit(people, groups, 0, draft, &mut rng);
    assert_eq!(deliver(people, groups, 2, &add), []);
    groups[2].give_up(lost.id);
    let event = groups[2].poll(&mut people[2].context(START + 2));
    assert!(matches!(event, Some(Event::Changed { .. })), "{event:?}");
    assert_eq!(groups[2].members().unwrap().len(), 4);
    assert_eq!(groups[2].latest_eligible(), Some(latest));
}

#[test]
fn a_secret_from_the_end_of_time_binds_nobody() {
    use p2panda_encryption::data::SecretBundle;
    let mut rng = life_rng("end of time", 0);
    for date in [u64::MAX, u64::MAX - 1, START * 2] {
        let mut bundle = SecretBundle::new();
        // An id in the lower half, as most of those that nobody searched for.
        let late = loop {
            let late = GroupSecret::new(Secret::random(&mut rng), date);
            if late.id().as_bytes()[0] < 0x80 {
                break late;
            }
        };
        bundle.insert(late);
        for _ in 0..8 {
            let next = bundle.generate(START, &mut rng).unwrap();
            let id = next.id();
            bundle.insert(next);
            assert_eq!(bundle.latest().unwrap().id(), id);
        }
    }
    // A known secret cannot be dated again.
    let mut bundle = SecretBundle::new();
    for date in [5, 9] {
        let mut w = Writer::default();
        w.array(2).bytes(&[3; 32]).uint(date);
        bundle.insert(GroupSecret::decode(&w.into_bytes()).unwrap());
    }
    assert_eq!(bundle.latest().unwrap().timestamp(), 5);
}

#[test]
fn a_member_at_the_end_of_time_can_still_be_removed() {
    let mut rng = life_rng("no room", 0);
    let mut people = people(3, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let mut groups: Vec<Group> = ids
        .iter()
        .map(|id| Group::new(*id, Members::default()))
        .collect();
    let mut hostile: Agreement<Members> = Agreement::new(ids[2], Members::default());
    let context = people[0].context(START + 1);
    let draft = groups[0].create(&ids, &context, &mut rng).unwrap();
    let create = commit(&mut people, &mut groups, 0, draft, &mut rng);
    deliver(&mut people, &mut groups, 1, &create);
    let Payload::Control { control, directs } = &create.payload else {
        panic!("create");
    };
    let direct = directs.iter().find(|direct| direct.recipient == ids[2]);
    let mut context = people[2].context(START + 1);
    hostile
        .process(create.id, ids[0], control, direct, &mut context)
        .unwrap();
    // A date that nobody can pass, and an id that hardly anybody draws.
    let highest = loop {
        let secret = GroupSecret::new(Secret::random(&mut rng), u64::MAX);
        if secret.id().as_bytes()[..2] == [0xff, 0xff] {
            break secret;
        }
    };
    let bad = highest.id();
    let draft = hostile.rotate(Control::Update, &ids, highest, &context, &mut rng);
    let prepared = draft.unwrap().seal().unwrap();
    let mut update = self::control(ids[2], operation(&mut rng), &prepared);
    update.dependencies = vec![create.id];
    for reader in [0, 1] {
        deliver(&mut people, &mut groups, reader, &update);
        assert_eq!(groups[reader].latest_eligible(), Some(bad));
    }
    let context = people[0].context(START + 2);
    let refused = groups[0].update(&context, &mut rng).unwrap_err();
    assert_eq!(refused, OperationError::Limit(Limit::Timestamp));
    let draft = groups[0].remove(ids[2], &context, &mut rng).unwrap();
    share(&mut people[..2], &mut groups[..2], 0, draft, &mut rng);
    for round in 0..8 {
        let latest = groups[0].latest_eligible().unwrap();
        assert_ne!(latest, bad);
        for group in &groups[..2] {
            assert_eq!(group.latest_eligible(), Some(latest));
            assert_eq!(group.rekey(), Rekey::None);
        }
        let author = round % 2;
        let context = people[author].context(START + 2);
        let draft = groups[author].update(&context, &mut rng).unwrap();
        share(&mut people[..2], &mut groups[..2], author, draft, &mut rng);
        assert_ne!(groups[0].latest_eligible(), Some(latest));
    }
}

#[test]
fn a_late_secret_of_a_removed_author_is_not_used() {
    let (mut rng, mut people, mut groups) = trio(1);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    // The author's clock is at the end of its pre-keys' life, far ahead of everybody.
    let mut context = people[2].context(START + 999_999);
    let draft = groups[2].update(&context, &mut rng).unwrap();
    let _ = &mut context;
    share(&mut people, &mut groups, 2, draft, &mut rng);
    let late = groups[0].latest_eligible().unwrap();
    let draft = groups[0]
        .remove(ids[2], &people[0].context(START + 3), &mut rng)
        .unwrap();
    share(&mut people, &mut groups, 0, draft, &mut rng);
    for group in &groups[..2] {
        let latest = group.latest_eligible().unwrap();
        assert_ne!(latest, late);
        assert_eq!(group.secrets().latest().unwrap().id(), latest);
        assert_eq!(group.rekey(), Rekey::None);
    }
    assert!(groups[2].send(b"out", &mut rng).is_err());
}

#[test]
fn after_a_theft_one_round_heals_each_pair() {
    let (mut rng, mut people, mut groups) = trio(2);
    let steal = |person: &Person, group: &Group| {
        let keys = OwnKeys::decode(&person.keys.encode()).unwrap();
        let registry = person.registry.clone();
        let id = person.id;
        let stolen: Group = Group::decode(&group.encode()).unwrap();
        (Person { id, keys, registry }, stolen)
    };
    let (mut thief, mut copy) = steal(&people[1], &groups[1]);
    let listen = |thief: &mut Person, copy: &mut Group, message: Message<Payload>| {
        copy.receive(message).unwrap();
        while copy.poll(&mut thief.context(START + 2)).is_some() {}
    };
    // Before the victim says anything, the thief reads along.
    let draft = groups[0]
        .update(&people[0].context(START + 2), &mut rng)
        .unwrap();
    let message = share(&mut people, &mut groups, 0, draft, &mut rng);
    listen(&mut thief, &mut copy, message);
    let latest = groups[0].latest_eligible().unwrap();
    assert!(copy.secrets().get(&latest).is_some());
    // The victim's update is already out of reach, and heals every pair in its direction.
    let draft = groups[1]
        .update(&people[1].context(START + 2), &mut rng)
        .unwrap();
    let message = share(&mut people, &mut groups, 1, draft, &mut rng);
    copy.give_up(message.id);
    for author in [0, 2] {
        let context = people[author].context(START + 2);
        let draft = groups[author].update(&context, &mut rng).unwrap();
        let message = share(&mut people, &mut groups, author, draft, &mut rng);
        listen(&mut thief, &mut copy, message);
        let latest = groups[author].latest_eligible().unwrap();
        assert!(copy.secrets().get(&latest).is_none());
        assert!(
            groups
                .iter()
                .all(|group| group.latest_eligible() == Some(latest))
        );
    }
}

#[test]
fn an_erased_secret_leaves_the_state() {
    let (mut rng, mut people, mut groups) = trio(3);
    let old = groups[0].secrets().latest().unwrap().encode()[3..35].to_vec();
    let sent = groups[0].send(b"old", &mut rng).unwrap();
    let draft = groups[1]
        .update(&people[1].context(START + 2), &mut rng)
        .unwrap();
    share(&mut people, &mut groups, 1, draft, &mut rng);
    let holds = |group: &Group| group.encode().windows(32).any(|window| window == old);
    assert!(holds(&groups[0]));
    let erased = groups[0].keep_newest(1);
    assert_eq!(erased.len(), 1);
    assert!(!holds(&groups[0]));
    let Payload::Application(Encrypted {
        secret,
        nonce,
        ciphertext,
    }) = sent.payload
    else {
        panic!("data");
    };
    let failure = groups[0].open(&secret, &nonce, &ciphertext).unwrap_err();
    assert_eq!(failure, Failure::UnknownGroupSecret(secret));
    assert!(groups[1].open(&secret, &nonce, &ciphertext).is_ok());
}
