//! Promises of the data scheme, one by one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;

use chacha20::ChaCha20Rng;
use p2panda_encryption::data::{
    Agreement, Control, Draft, Encrypted, Event, Failure, Group, GroupSecret, Members, Need,
    OperationError, Payload, Prepared, ProcessError, Reason, Rekey,
};
use p2panda_encryption::two_party::KeyUsed;
use p2panda_encryption::{
    Content, DirectError, Lifetime, Limit, LongTermBundle, Member, Message, OperationId, OwnKeys,
    QueueError, Registry, Secret, Wire, Writer,
};
use world::*;

/// A group of the first three of so many people.
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

/// What becomes of a message.
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
fn whoever_was_added_after_a_lost_message_counts_as_a_holder() {
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
fn whoever_left_no_room_at_the_end_of_time_can_still_be_removed() {
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
fn nobody_encrypts_under_a_late_secret_once_its_author_is_removed() {
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

#[test]
fn a_bad_message_blocks_nobody() {
    let (mut rng, mut people, mut groups) = trio(4);
    let draft = groups[0]
        .update(&people[0].context(START + 2), &mut rng)
        .unwrap();
    let prepared = draft.seal().unwrap();
    let mut directs: Vec<_> = prepared.directs().cloned().collect();
    // Somebody hostile swaps what is inside.
    let content = directs[1].content.clone();
    directs[0].content = content;
    let id = operation(&mut rng);
    let bad = Message {
        id,
        sender: people[0].id,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: prepared.control().clone(),
            directs: directs.clone(),
        },
    };
    let victim = people
        .iter()
        .position(|p| p.id == directs[0].recipient)
        .unwrap();
    groups[victim].receive(bad.clone()).unwrap();
    let event = groups[victim].poll(&mut people[victim].context(START + 2));
    assert!(matches!(event, Some(Event::Failed { operation, .. }) if operation == id));
    assert_eq!(groups[victim].receive(bad), Err(QueueError::Replayed));
    // The other sender's messages go on.
    let other = 3 - victim;
    let draft = groups[other]
        .update(&people[other].context(START + 2), &mut rng)
        .unwrap();
    let prepared = draft.seal().unwrap();
    let good = control(people[other].id, operation(&mut rng), &prepared);
    groups[victim].receive(good).unwrap();
    let event = groups[victim].poll(&mut people[victim].context(START + 2));
    assert!(matches!(event, Some(Event::Changed { .. })), "{event:?}");
}

#[test]
fn several_direct_messages_for_us_fail_and_hold_up_nobody() {
    let (mut rng, mut people, mut groups) = trio(5);
    let context = people[0].context(START + 2);
    let prepared = groups[0].update(&context, &mut rng).unwrap();
    let prepared = prepared.seal().unwrap();
    let honest: Vec<_> = prepared.directs().cloned().collect();
    let victim = people.iter().position(|p| p.id == honest[0].recipient);
    let (victim, id) = (victim.unwrap(), operation(&mut rng));
    let other = 3 - victim;
    let bad = Message {
        id,
        sender: people[0].id,
        dependencies: prepared.dependencies().to_vec(),
        payload: Payload::Control {
            control: Control::Update,
            directs: [&honest[..], &honest[..1]].concat(),
        },
    };
    // The other member sees nothing wrong and goes on after it.
    groups[other].receive(bad.clone()).unwrap();
    let event = groups[other].poll(&mut people[other].context(START + 2));
    assert!(matches!(event, Some(Event::Changed { .. })), "{event:?}");
    let context = people[other].context(START + 2);
    let draft = groups[other].update(&context, &mut rng).unwrap();
    let prepared = draft.seal().unwrap();
    assert_eq!(prepared.dependencies(), [id]);
    let next = control(people[other].id, operation(&mut rng), &prepared);
    groups[victim].receive(bad).unwrap();
    groups[victim].receive(next).unwrap();
    let mut context = people[victim].context(START + 2);
    let Some(Event::Failed { failure, .. }) = groups[victim].poll(&mut context) else {
        panic!("two direct messages");
    };
    let ambiguous = ProcessError::Direct(DirectError::Ambiguous);
    assert_eq!(failure, Failure::Process(ambiguous));
    let event = groups[victim].poll(&mut context);
    assert!(matches!(event, Some(Event::Changed { .. })), "{event:?}");
}

#[test]
fn a_bad_welcome_does_not_keep_the_good_one_out() {
    let (mut rng, mut people, mut groups) = crew(8, 4);
    let (people, groups) = (&mut people[..], &mut groups[..]);
    let added = people[3].id;
    let context = people[0].context(START + 2);
    let (draft, _) = groups[0].add(added, 9, &context, &mut rng).unwrap();
    let good = commit(people, groups, 0, draft, &mut rng);
    let mut orphan = good.clone();
    (orphan.id, orphan.dependencies) = (operation(&mut rng), vec![operation(&mut rng)]);
    let mut bad = good.clone();
    (bad.id, bad.sender) = (operation(&mut rng), people[2].id);
    // One whose past never comes, one that does not open, and the honest one.
    assert_eq!(deliver(people, groups, 3, &orphan), []);
    let events = deliver(people, groups, 3, &bad);
    assert!(matches!(events[..], [Event::Failed { operation, .. }] if operation == bad.id));
    let events = deliver(people, groups, 3, &good);
    assert!(matches!(events[..], [Event::Joined { operation }] if operation == good.id));
    assert_eq!(groups[3].members().unwrap().len(), 4);
}

#[test]
fn a_second_create_changes_nothing_even_if_it_came_before_we_joined() {
    let mut rng = life_rng("second create", 0);
    let mut people = people(3, 0, &mut rng);
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let mut create = |author: usize, members: &[Member]| {
        let mut group: Group = Group::new(ids[author], Members::default());
        let context = people[author].context(START + 1);
        let draft = group.create(members, &context, &mut rng).unwrap();
        let (prepared, id) = (draft.seal().unwrap(), operation(&mut rng));
        let message = control(ids[author], id, &prepared);
        let mut context = people[author].context(START + 1);
        group.commit(prepared, id, &mut context).unwrap();
        message
    };
    let honest = create(0, &ids[..2]);
    let hostile = create(2, &ids[2..]);
    let mut group: Group = Group::new(ids[1], Members::default());
    let mut context = people[1].context(START + 2);
    // It does not name us, so it waits until we have joined.
    group.receive(hostile.clone()).unwrap();
    assert_eq!(group.poll(&mut context), None);
    group.receive(honest.clone()).unwrap();
    let event = group.poll(&mut context);
    assert!(matches!(event, Some(Event::Joined { operation }) if operation == honest.id));
    let event = group.poll(&mut context);
    let exists = Failure::Process(ProcessError::GroupAlreadyEstablished);
    assert!(matches!(event, Some(Event::Failed { failure, .. }) if failure == exists));
    let members: Vec<_> = group.members().unwrap().into_iter().collect();
    let mut expected = ids[..2].to_vec();
    expected.sort();
    assert_eq!(members, expected);
}

#[test]
fn a_header_bound_fails_before_anything_is_produced() {
    use p2panda_encryption::HEADER_ELEMENTS_0_7_1;
    let mut rng = life_rng("header bound", 0);
    let mut people = people(3, 0, &mut rng);
    let mut groups: Vec<Group> = people
        .iter()
        .map(|person| Group::new(person.id, Members::default()))
        .collect();
    let ids: Vec<_> = people.iter().map(|person| person.id).collect();
    let draft = groups[0].create(&ids[..2], &people[0].context(START + 1), &mut rng);
    let (first, draft) = (&mut groups[..1], draft.unwrap());
    share(&mut people[..1], first, 0, draft, &mut rng);
    for _ in 0..6 {
        let draft = groups[0]
            .update(&people[0].context(START + 1), &mut rng)
            .unwrap();
        share(&mut people[..1], &mut groups[..1], 0, draft, &mut rng);
    }
    let before = groups[0].encode();
    let mut context = people[0].context(START + 1);
    context.elements_max = Some(HEADER_ELEMENTS_0_7_1);
    let error = groups[0].add(ids[2], 5, &context, &mut rng).unwrap_err();
    assert_eq!(
        error,
        OperationError::Deliver(p2panda_encryption::DeliverError::Limit(Limit::HeaderString))
    );
    assert_eq!(groups[0].encode(), before);
    let (draft, report) = groups[0].add(ids[2], 4, &context, &mut rng).unwrap();
    assert_eq!(report.left_out.len(), 3);
    let direct = draft.seal().unwrap().directs().next().cloned().unwrap();
    let Content::Welcome { ciphertext, .. } = direct.content else {
        panic!("welcome");
    };
    assert!(ciphertext.encode().len() < 2 * HEADER_ELEMENTS_0_7_1 + 200);
    context.elements_max = None;
    groups[0].add(ids[2], 100, &context, &mut rng).unwrap();
}

/// A group of the first so many people, of whom the creator has no bundle of the last.
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
fn an_unreachable_member_delays_nobody_and_reads_what_it_missed_once_it_is_reached() {
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
    // Whoever can reach it hands the secret over, and what waited for it opens.
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
fn a_pair_whose_first_message_was_lost_to_an_old_pre_key_meets_with_a_new_one() {
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
fn a_backup_reads_but_writes_nothing_before_an_update_on_new_channels() {
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
