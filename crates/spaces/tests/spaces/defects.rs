//! The defects D1 to D16 of 0.7.1 are none of ours (`docs/protocol/spaces.md#11`).

use p2panda_groups::{Access, Action, Member};
use p2panda_spaces::{Event, Pointer, Refusal, Role, SpaceId, SpacesArgs, Verdict};

use crate::world::{S, deliver, devices, heal_all, sync};

#[test]
fn d1_a_group_created_after_the_space_breaks_nothing() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[
        (bob.member(), Role::Editor),
        (claire.member(), Role::Editor),
    ]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    let members = [(bob.member(), Role::Reader)];
    claire.does(|spaces, desk| Ok(spaces.create_group(&members, desk)?.1));
    // A pointer to the create of the other group, as 0.7.1 makes it when it repairs.
    let pointer = Pointer {
        group: alice.spaces.group(&S).unwrap(),
        space: S,
        auth: claire.has.last().unwrap().id,
        directs: vec![],
        dependencies: vec![alice.has.last().unwrap().id],
    };
    claire.forge(SpacesArgs::Membership(pointer));
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    bob.publish("still here");
    alice.set_role(bob.member(), Role::Owner);
    sync(&mut [&mut alice, &mut bob]);
    assert!(alice.reads("still here"));
    assert_eq!(bob.members()[&bob.id], Role::Owner);
    assert_eq!(alice.refusals(), 0);
}

#[test]
fn d2_a_pointer_without_secrets_needs_no_welcome() {
    let [mut alice, mut bob, mut claire] = devices();
    // History before the space, and a group that has nothing to do with it.
    let mut group = None;
    alice.does(|spaces, desk| {
        let owner = [(Member::Individual(spaces.me()), Role::Owner)];
        let (id, mut events) = spaces.create_group(&owner, desk)?;
        let member = bob.member();
        let access = Access::Read;
        events.extend(spaces.change_group(id, Action::Add { member, access }, desk)?);
        group = Some(id);
        Ok(events)
    });
    alice.create(&[(Member::Group(group.unwrap()), Role::Reader)]);
    alice.add(claire.member(), Role::Courier);
    alice.publish("to bob");
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert!(bob.reads("to bob"));
    assert!(!claire.reads("to bob"));
    assert_eq!(claire.members()[&claire.id], Role::Courier);
    alice.set_role(claire.member(), Role::Reader);
    alice.publish("to both");
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert!(bob.reads("to both") && claire.reads("to both"));
    // A newcomer reads history.
    assert!(claire.reads("to bob"));
}

#[test]
fn d3_changes_of_a_space_that_is_behind_repair_it_first() {
    let [mut alice, mut bob, mut claire] = devices();
    let mut group = None;
    alice.does(|spaces, desk| {
        let members = [
            (Member::Individual(spaces.me()), Role::Owner),
            (bob.member(), Role::Reader),
        ];
        let (id, events) = spaces.create_group(&members, desk)?;
        group = Some(id);
        Ok(events)
    });
    let group = group.unwrap();
    alice.create(&[(Member::Group(group), Role::Reader)]);
    let action = Action::Remove {
        member: bob.member(),
    };
    alice.does(|spaces, desk| spaces.change_group(group, action, desk));
    assert!(!alice.is_healthy());
    alice.add(claire.member(), Role::Editor);
    alice.publish("without bob");
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert!(claire.reads("without bob") && !bob.reads("without bob"));
    assert_eq!(bob.members(), alice.members());
}

#[test]
fn d4_promote_demote_update_and_unknown_groups_are_processed() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[(bob.member(), Role::Reader)]);
    alice.set_role(bob.member(), Role::Editor);
    alice.set_role(bob.member(), Role::Reader);
    let group = alice.spaces.group(&S).unwrap();
    let dependencies = vec![alice.has.last().unwrap().id];
    let update = SpacesArgs::Update {
        group,
        space: S,
        dependencies,
    };
    alice.forge(update);
    let unknown = SpacesArgs::Auth(p2panda_groups::Arguments {
        group: claire.id.into(),
        dependencies: vec![],
        action: Action::Remove {
            member: alice.member(),
        },
        nonce: None,
    });
    claire.forge(unknown);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert_eq!(bob.members()[&bob.id], Role::Reader);
    assert_eq!(bob.members(), alice.members());
}

#[test]
fn d5_data_of_strangers_readers_and_former_members_is_refused() {
    let [mut alice, mut bob, mut claire, mut dave] = devices();
    alice.create(&[
        (bob.member(), Role::Editor),
        (claire.member(), Role::Reader),
    ]);
    let id = alice.publish("hello");
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    let args = alice
        .has
        .iter()
        .find(|message| message.id == id)
        .unwrap()
        .args
        .clone();
    // A stranger and a reader sign somebody else's data again.
    dave.forge(args.clone());
    claire.forge(args.clone());
    alice.remove(bob.member());
    let removal = alice.has.last().unwrap().id;
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    // Who was removed names the removal.
    let SpacesArgs::Application { encrypted, .. } = args else {
        panic!()
    };
    let late = SpacesArgs::Application {
        space: S,
        encrypted,
        dependencies: vec![removal],
    };
    bob.forge(late);
    let shown = alice.shown.len();
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    assert_eq!(alice.shown.len(), shown);
    assert_eq!(alice.refusals(), 3);
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                refusal: Refusal::Role(Some(Role::Reader)),
                ..
            }
        )
    };
    assert!(alice.events.iter().any(refused));
    assert!(matches!(
        bob.try_publish("no"),
        Err(p2panda_spaces::LocalError::Role(None))
    ));
}

#[test]
fn d6_pointers_of_strangers_change_nothing() {
    let [mut alice, mut bob, mut mallory] = devices();
    alice.create(&[(bob.member(), Role::Editor)]);
    let group = alice.spaces.group(&S).unwrap();
    let messages = alice.has.clone();
    let auth = messages
        .iter()
        .find(|message| matches!(message.args, SpacesArgs::Auth(_)))
        .unwrap();
    deliver(&mut mallory, &messages);
    // The pointer to the create without secrets comes first.
    let pointer = Pointer {
        group,
        space: S,
        auth: auth.id,
        directs: vec![],
        dependencies: vec![],
    };
    let id = mallory.forge(SpacesArgs::Membership(pointer));
    let false_pointer = mallory
        .has
        .iter()
        .find(|message| message.id == id)
        .unwrap()
        .clone();
    deliver(&mut bob, [auth, &false_pointer]);
    assert_eq!(bob.refusals(), 1);
    alice.publish("hello");
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.reads("hello"));
}

#[test]
fn d7_a_second_space_with_the_same_id_is_refused_and_told() {
    let [mut alice, mut bob, mut mallory] = devices();
    mallory.create(&[(bob.member(), Role::Editor)]);
    alice.create(&[(bob.member(), Role::Editor)]);
    sync(&mut [&mut alice, &mut bob]);
    sync(&mut [&mut mallory, &mut bob]);
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Refused {
                refusal: Refusal::OtherGroup(_),
                ..
            }
        )
    };
    assert!(bob.events.iter().any(refused));
    alice.publish("hello");
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.reads("hello"));
}

#[test]
fn d8_a_member_added_during_a_removal_reads_after_healing() {
    let [mut alice, mut bob, mut claire, mut dave] = devices();
    alice.create(&[(bob.member(), Role::Owner), (claire.member(), Role::Reader)]);
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    alice.remove(claire.member());
    alice.publish("under the new secret");
    bob.add(dave.member(), Role::Reader);
    bob.publish("under the old secret");
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    heal_all(&mut [&mut alice, &mut bob, &mut dave]);
    alice.publish("later");
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    for text in ["under the new secret", "under the old secret", "later"] {
        for device in [&alice, &bob, &dave] {
            assert!(device.reads(text), "{text}");
        }
    }
    assert!(!claire.reads("later") && !claire.reads("under the new secret"));
    assert!(alice.is_healthy() && bob.is_healthy());
}

#[test]
fn d9_levels_change_and_secrets_rotate_on_demand() {
    let [mut alice, mut bob] = devices();
    alice.create(&[(bob.member(), Role::Editor)]);
    sync(&mut [&mut alice, &mut bob]);
    alice.set_role(bob.member(), Role::Courier);
    alice.publish("not for couriers");
    sync(&mut [&mut alice, &mut bob]);
    assert!(!bob.reads("not for couriers"));
    assert!(
        bob.events
            .iter()
            .any(|event| matches!(event, Event::Ejected { .. }))
    );
    alice.set_role(bob.member(), Role::Editor);
    alice.does(|spaces, desk| spaces.rotate(S, desk));
    alice.publish("for editors");
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.reads("for editors"));
    let id = bob.publish("and back");
    sync(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.spaces.verdict(&S, &id), Some(Verdict::Stands));
}

#[test]
fn d10_groups_that_a_space_does_not_contain_are_not_told_in_it() {
    let [mut alice, bob] = devices();
    for _ in 0..5 {
        alice.does(|spaces, desk| {
            let owner = [(Member::Individual(spaces.me()), Role::Owner)];
            Ok(spaces.create_group(&owner, desk)?.1)
        });
    }
    let before = alice.has.len();
    alice.create(&[(bob.member(), Role::Editor)]);
    assert_eq!(alice.has.len(), before + 2);
    let SpacesArgs::Auth(create) = &alice.has[before].args else {
        panic!()
    };
    assert_eq!(create.dependencies, []);
}

#[test]
fn d12_data_that_never_opens_keeps_nobody_out() {
    let [mut alice, mut bob, mut claire, mut dave] = devices();
    alice.create(&[(bob.member(), Role::Owner), (claire.member(), Role::Reader)]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    alice.remove(claire.member());
    alice.publish("under the new secret");
    bob.add(dave.member(), Role::Reader);
    // What dave cannot open comes before his welcome.
    let (from_alice, from_bob) = (alice.has.clone(), bob.has.clone());
    deliver(&mut dave, &from_alice);
    deliver(&mut dave, &from_bob);
    assert!(
        dave.events
            .iter()
            .any(|event| matches!(event, Event::Joined { .. }))
    );
    bob.publish("hello dave");
    let from_bob = bob.has.clone();
    deliver(&mut dave, &from_bob);
    assert!(dave.reads("hello dave"));
}

#[test]
fn d13_a_member_is_what_it_was_said_to_be() {
    let [mut alice, mut bob] = devices();
    // An unknown group is not an individual: it has no members yet.
    alice.create(&[(Member::Group(bob.id.into()), Role::Reader)]);
    alice.publish("nobody but alice");
    sync(&mut [&mut alice, &mut bob]);
    assert!(!bob.reads("nobody but alice"));
    assert_eq!(alice.members().len(), 1);
}

#[test]
fn d15_after_two_concurrent_removals_neither_reads_on() {
    let [mut alice, mut bob, mut claire, mut dave] = devices();
    let members = [
        (bob.member(), Role::Owner),
        (claire.member(), Role::Reader),
        (dave.member(), Role::Reader),
    ];
    alice.create(&members);
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    alice.remove(claire.member());
    bob.remove(dave.member());
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    // Nothing is sealed under what one of them holds.
    let error = alice.try_publish("too early").unwrap_err();
    assert!(error.is_retryable());
    heal_all(&mut [&mut alice, &mut bob]);
    alice.publish("for two");
    bob.publish("for us");
    sync(&mut [&mut alice, &mut bob, &mut claire, &mut dave]);
    assert!(alice.reads("for us") && bob.reads("for two"));
    for former in [&claire, &dave] {
        assert!(!former.reads("for two") && !former.reads("for us"));
    }
}

#[test]
fn d16_a_create_pointer_that_comes_before_history_is_enough() {
    let [mut alice, mut bob] = devices();
    let members = [(bob.member(), Role::Reader)];
    let mut group = None;
    alice.does(|spaces, desk| {
        let (id, events) = spaces.create_group(&members, desk)?;
        group = Some(id);
        Ok(events)
    });
    let history = alice.has.last().unwrap().id;
    alice.create(&[(Member::Group(group.unwrap()), Role::Editor)]);
    let group = alice.spaces.group(&S).unwrap();
    let create = alice.has.last().unwrap().id;
    let pointer = Pointer {
        group,
        space: S,
        auth: history,
        directs: vec![],
        dependencies: vec![],
    };
    alice.forge(SpacesArgs::Membership(pointer));
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.spaces.members_at(&S, &create).is_some());
    assert_eq!(bob.members()[&bob.id], Role::Reader);
    assert_eq!(bob.refusals(), 0);
}

#[test]
fn another_space_knows_nothing_of_this_one() {
    let [mut alice, mut bob] = devices();
    let other = SpaceId::from_bytes([8; 32]);
    alice.create(&[(bob.member(), Role::Editor)]);
    let members = [(bob.member(), Role::Reader)];
    alice.does(|spaces, desk| spaces.create_space(other, &members, desk));
    let id = alice
        .act(|spaces, desk| spaces.publish(other, b"there", desk))
        .unwrap();
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.reads("there"));
    assert_eq!(bob.spaces.verdict(&S, &id), None);
    assert_eq!(bob.spaces.ids().count(), 2);
}
