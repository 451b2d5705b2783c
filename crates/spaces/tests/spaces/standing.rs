//! The verdict about data is a function of the messages that are known
//! (`docs/protocol/spaces.md#6`).

use p2panda_core::Hash;
use p2panda_groups::{Action, Member};
use p2panda_spaces::{Event, Message, Role, SpacesArgs, Verdict};

use crate::world::{Device, S, deliver, devices, heal_all, sync};

fn verdict(device: &Device, id: &Hash) -> Option<Verdict> {
    device.spaces.verdict(&S, id)
}

#[test]
fn what_is_written_concurrent_with_a_removal_is_withdrawn() {
    let [mut alice, mut bob, mut claire, mut dave] = devices();
    let members = [
        (bob.member(), Role::Editor),
        (claire.member(), Role::Reader),
        (dave.member(), Role::Reader),
    ];
    alice.create(&members);
    let before = bob_writes_before(&mut alice, &mut bob, &mut claire, &mut dave);
    let beside = bob.publish("beside the removal");
    alice.remove(bob.member());
    let (from_alice, from_bob) = (alice.has.clone(), bob.has.clone());
    // Claire hears of the removal first, dave of what bob wrote.
    deliver(&mut claire, from_alice.iter().chain(&from_bob));
    deliver(&mut dave, from_bob.iter().chain(&from_alice));
    for reader in [&claire, &dave] {
        assert_eq!(verdict(reader, &before), Some(Verdict::Stands));
        assert_eq!(verdict(reader, &beside), Some(Verdict::Withdrawn));
        assert!(reader.reads("before") && !reader.reads("beside the removal"));
    }
    assert_eq!(claire.shown, dave.shown);
    let corrected = |event: &Event| {
        matches!(event, Event::Verdict { message, verdict: Verdict::Withdrawn, .. }
            if *message == beside)
    };
    assert!(dave.events.iter().any(corrected));
    assert!(!claire.events.iter().any(corrected));
}

fn bob_writes_before(
    alice: &mut Device,
    bob: &mut Device,
    claire: &mut Device,
    dave: &mut Device,
) -> Hash {
    sync(&mut [alice, bob]);
    let before = bob.publish("before");
    sync(&mut [alice, bob, claire, dave]);
    before
}

#[test]
fn an_old_past_gives_no_right_to_write() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[
        (bob.member(), Role::Editor),
        (claire.member(), Role::Reader),
    ]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    alice.remove(bob.member());
    // Bob acts as if it did not know.
    let late = bob.publish("one more");
    let from_bob = bob.has.clone();
    sync(&mut [&mut alice, &mut claire]);
    deliver(&mut alice, &from_bob);
    deliver(&mut claire, &from_bob);
    assert_eq!(verdict(&alice, &late), Some(Verdict::Withdrawn));
    assert_eq!(verdict(&claire, &late), Some(Verdict::Withdrawn));
    assert!(!alice.reads("one more") && !claire.reads("one more"));
}

#[test]
fn a_removed_member_cannot_vouch_for_itself() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[
        (bob.member(), Role::Editor),
        (claire.member(), Role::Reader),
    ]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    let from_alice = alice.has.clone();
    alice.remove(bob.member());
    let removal = alice
        .has
        .iter()
        .rev()
        .find_map(|message| match message.args {
            SpacesArgs::Auth(_) => Some(message.clone()),
            _ => None,
        });
    let late = bob.publish("one more");
    let pointer = p2panda_spaces::Pointer {
        group: bob.spaces.group(&S).unwrap(),
        space: S,
        auth: removal.as_ref().unwrap().id,
        directs: vec![],
        dependencies: vec![late],
    };
    let args = SpacesArgs::Membership(pointer);
    let forged = Message {
        id: Hash::digest(&args.encode()),
        author: bob.id,
        args,
    };
    let written = bob.has.last().unwrap().clone();
    let last = alice.has.clone();
    deliver(
        &mut claire,
        from_alice
            .iter()
            .chain([&removal.unwrap(), &written, &forged]),
    );
    deliver(&mut claire, &last);
    deliver(&mut alice, [&written, &forged]);
    assert_eq!(verdict(&alice, &late), Some(Verdict::Withdrawn));
    assert_eq!(verdict(&claire, &late), Some(Verdict::Withdrawn));
}

#[test]
fn what_a_member_wrote_stands_again_when_it_may_write_again() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[
        (bob.member(), Role::Editor),
        (claire.member(), Role::Reader),
    ]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    let beside = bob.publish("beside");
    alice.set_role(bob.member(), Role::Reader);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert_eq!(verdict(&claire, &beside), Some(Verdict::Withdrawn));
    alice.set_role(bob.member(), Role::Editor);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    assert_eq!(verdict(&claire, &beside), Some(Verdict::Stands));
    assert!(claire.reads("beside") && alice.reads("beside"));
}

#[test]
fn writings_of_a_removed_owners_guest_are_withdrawn() {
    let [mut alice, mut bob, mut claire] = devices();
    alice.create(&[(bob.member(), Role::Owner)]);
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    alice.remove(bob.member());
    bob.add(claire.member(), Role::Editor);
    sync(&mut [&mut bob, &mut claire]);
    let id = claire.publish("hello");
    sync(&mut [&mut bob, &mut claire]);
    assert!(bob.reads("hello"));
    sync(&mut [&mut alice, &mut bob, &mut claire]);
    for device in [&alice, &bob, &claire] {
        assert_eq!(verdict(device, &id), Some(Verdict::Withdrawn));
        assert!(!device.members().contains_key(&claire.id));
    }
}

#[test]
fn a_removed_device_is_silenced_in_every_space() {
    let [mut alice, mut bob, mut phone, mut claire] = devices();
    let members = [(bob.member(), Role::Owner), (phone.member(), Role::Reader)];
    let mut person = None;
    bob.does(|spaces, desk| {
        let (id, events) = spaces.create_group(&members, desk)?;
        person = Some(id);
        Ok(events)
    });
    let person = person.unwrap();
    sync(&mut [&mut alice, &mut bob]);
    // Each device has the role of the person, at most that which it has in the person.
    let action = Action::Promote {
        member: phone.member(),
        access: p2panda_groups::Access::Write,
    };
    bob.does(|spaces, desk| spaces.change_group(person, action, desk));
    sync(&mut [&mut alice, &mut bob]);
    alice.create(&[
        (Member::Group(person), Role::Editor),
        (claire.member(), Role::Reader),
    ]);
    sync(&mut [&mut alice, &mut bob, &mut phone, &mut claire]);
    let early = phone.publish("from the phone");
    sync(&mut [&mut alice, &mut bob, &mut phone, &mut claire]);
    let action = Action::Remove {
        member: phone.member(),
    };
    bob.does(|spaces, desk| spaces.change_group(person, action, desk));
    // Bob is in the space and points to what it did.
    bob.heal();
    bob.publish("without the phone");
    let late = phone.publish("after it was stolen");
    sync(&mut [&mut alice, &mut bob, &mut phone, &mut claire]);
    heal_all(&mut [&mut alice, &mut bob, &mut claire]);
    for device in [&alice, &bob, &claire] {
        assert_eq!(verdict(device, &early), Some(Verdict::Stands));
        assert_eq!(verdict(device, &late), Some(Verdict::Withdrawn));
        assert!(device.reads("without the phone"));
    }
    assert!(!phone.reads("without the phone"));
}

#[test]
fn the_last_owner_does_not_leave_and_others_do() {
    let [mut alice, mut bob] = devices();
    alice.create(&[(bob.member(), Role::Reader)]);
    sync(&mut [&mut alice, &mut bob]);
    let me = alice.member();
    let error = alice
        .act(|spaces, desk| spaces.remove(S, me, desk))
        .unwrap_err();
    assert_eq!(error, p2panda_spaces::LocalError::LastOwner);
    let me = bob.member();
    bob.does(|spaces, desk| spaces.remove(S, me, desk));
    sync(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.members().len(), 1);
    // Bob could make no secret for the others: alice does before it writes.
    assert!(alice.try_publish("too early").unwrap_err().is_retryable());
    alice.heal();
    alice.publish("alone");
    sync(&mut [&mut alice, &mut bob]);
    assert!(!bob.reads("alone"));
    alice.add(bob.member(), Role::Editor);
    alice.publish("back");
    sync(&mut [&mut alice, &mut bob]);
    assert!(bob.reads("back"));
    bob.publish("again");
    sync(&mut [&mut alice, &mut bob]);
    assert!(alice.reads("again"));
}
