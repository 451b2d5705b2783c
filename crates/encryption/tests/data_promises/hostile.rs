//! Invalid messages block nobody, and are refused before anything is produced.

use p2panda_encryption::data::{
    Control, Event, Failure, Group, Members, OperationError, Payload, ProcessError,
};
use p2panda_encryption::{Content, DirectError, Limit, Member, Message, QueueError, Wire};

use super::world::*;
use super::{commit, control, crew, deliver, share, trio};

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
    // The other sender's messages continue.
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
    // The other member sees nothing wrong and continues after it.
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
fn a_second_create_changes_nothing_also_before_we_joined() {
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
