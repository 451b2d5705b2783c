//! Persons with several devices (`docs/protocol/spaces.md#18`).

use p2panda_core::limits::{PERSON_DEVICES_MAX, PERSON_OPERATIONS_MAX, PERSON_SPACES_MAX};
use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_groups::{GroupId, Member};
use p2panda_spaces::{
    CardError, DeviceChange, Event, LocalError, Pending, PersonCard, Role, Settings, SpaceId,
};

use crate::native_world::{Node, heal_all, nodes, sync};

impl Node {
    /// Makes the group of a person with this device alone.
    pub fn person(&mut self) -> GroupId {
        let made = self.try_act(|spaces, desk| spaces.create_person(&[], desk));
        made.unwrap().0
    }

    pub fn try_link(&mut self, person: GroupId, device: VerifyingKey) -> Result<(), LocalError> {
        self.try_act(|spaces, desk| spaces.add_device(person, device, desk))?;
        Ok(())
    }

    pub fn try_revoke(&mut self, person: GroupId, device: VerifyingKey) -> Result<(), LocalError> {
        self.try_act(|spaces, desk| spaces.revoke_device(person, device, desk))?;
        Ok(())
    }

    pub fn follow(&mut self, person: GroupId) {
        self.try_do(|spaces, s, desk| spaces.follow_person(s, person, desk))
            .unwrap();
    }

    pub fn pending(&self, person: GroupId) -> Vec<Pending> {
        self.spaces.pending(&self.s(), &person)
    }

    pub fn role(&self, member: VerifyingKey) -> Option<Role> {
        self.members().get(&member).copied()
    }

    pub fn remove_member(&mut self, member: VerifyingKey) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.remove_members(s, &[member], desk))
    }
}

/// The second device of the first, in all that the first is in.
pub fn link(old: &mut Node, new: &mut Node, person: GroupId) {
    old.try_link(person, new.id).unwrap();
    let card = old.spaces.card(person).unwrap();
    new.spaces.take_card(&card).unwrap();
    new.space = old.space;
    old.follow(person);
}

/// An owner with a space, and a member with two devices of its own.
fn world() -> ([Node; 3], GroupId) {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    ada.publish("before");
    sync(&mut [&mut ada, &mut ben]);
    let person = ben.person();
    link(&mut ben, &mut ben2, person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    ([ada, ben, ben2], person)
}

/// The same, and the owner has taken the person in.
fn taken_in() -> ([Node; 3], GroupId) {
    let ([mut ada, mut ben, mut ben2], person) = world();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    // As a new device does once it is in.
    assert_eq!(ben2.pending(person), [Pending::Introduce]);
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    ([ada, ben, ben2], person)
}

#[test]
fn an_owner_takes_a_person_in_that_says_so() {
    let ([mut ada, mut ben, mut ben2], person) = world();
    assert_eq!(ben.pending(person), [Pending::Introduce]);
    assert_eq!(ada.role(ben2.id), None);
    assert!(!ada.is_healthy(), "there is something to do");
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(ada.is_healthy());
    assert_eq!(ben.pending(person), []);
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    for node in [&ada, &ben, &ben2] {
        assert_eq!(node.role(ben2.id), Some(Role::Editor));
        assert_eq!(node.role(ben.id), Some(Role::Editor));
        let persons = node.spaces.persons(&node.s());
        let both = persons
            .iter()
            .find(|one| one.person == Some(person))
            .unwrap();
        let mut devices = [(ben.id, Role::Editor), (ben2.id, Role::Editor)];
        devices.sort();
        assert_eq!(both.devices, devices);
        assert_eq!((persons.len(), both.role), (2, Role::Editor));
    }
    assert!(ben2.reads("before"));
    ben2.publish("by the second");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(ada.reads("by the second") && ben.reads("by the second"));
    let why = ada.spaces.why(&ada.s(), &ben2.id).unwrap();
    assert_eq!(why.role, Some(Role::Editor));
    assert!(why.decided.iter().any(|decision| decision.author == ben.id));
}

#[test]
fn a_device_linked_later_is_in_by_one_message_of_its_person() {
    let ([mut ada, mut ben, _], person) = taken_in();
    let mut third = Node::new(9);
    third.announce();
    sync(&mut [&mut ada, &mut ben, &mut third]);
    let before = ben.topic.ops.len();
    link(&mut ben, &mut third, person);
    assert_eq!(ben.topic.ops.len(), before + 1);
    assert_eq!(ben.pending(person), []);
    sync(&mut [&mut ada, &mut ben, &mut third]);
    assert_eq!(ada.role(third.id), Some(Role::Editor));
    assert!(third.reads("before"));
    third.publish("hello");
}

#[test]
fn a_revoked_device_reads_nothing_that_is_written_later() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    ben.try_revoke(person, ben2.id).unwrap();
    assert_eq!(
        ben.pending(person),
        [Pending::Change(DeviceChange::Revoke(ben2.id))]
    );
    // Even before the space follows, nothing is sealed to it.
    assert!(
        ben.try_publish("too early")
            .is_err_and(|e| e.is_retryable())
    );
    ben.follow(person);
    assert_eq!(ben.pending(person), []);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    ada.publish("later");
    ben.publish("later too");
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(!ben2.reads("later") && !ben2.reads("later too"));
    assert_eq!(ada.role(ben2.id), None);
    assert!(ben.reads("later") && ada.reads("later too"));
    assert!(ben2.try_publish("may not").is_err());
    let why = ada.spaces.why(&ada.s(), &ben2.id).unwrap();
    assert!(why.role.is_none() && why.was_member);
    let why = why.to_string();
    let revoked = format!(
        "{} is no longer a member: {} revoked it as a device of the person {person}",
        ben2.id, ben.id
    );
    assert!(why.starts_with(&revoked), "{why}");
}

#[test]
fn a_device_with_an_entry_of_its_own_was_revoked_by_its_person() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    ben2.try_revoke(person, ben.id).unwrap();
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    heal_all(&mut [&mut ada, &mut ben2]);
    assert_eq!(ada.role(ben.id), None);
    let why = ada.spaces.why(&ada.s(), &ben.id).unwrap().to_string();
    let revoked = format!(
        "{} is no longer a member: {} revoked it as a device of the person {person}",
        ben.id, ben2.id
    );
    assert!(why.starts_with(&revoked), "{why}");
}

#[test]
fn all_devices_of_an_owner_are_owners() {
    let [mut ada, mut ada2, mut cai] = nodes();
    ada.create(Settings::with_history(), &[]);
    let person = ada.person();
    link(&mut ada, &mut ada2, person);
    assert_eq!(ada.pending(person), []);
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!(ada2.role(ada2.id), Some(Role::Owner));
    let space = ada.s();
    let group = ada.spaces.group(&space).unwrap();
    let direct = ada.spaces.groups().now().direct_members(&group);
    let of_group = direct.iter().find(|(m, _)| *m == Member::Group(person));
    assert_eq!(of_group.map(|(_, a)| Role::from(*a)), Some(Role::Editor));
    // The second does all that the first does, without it.
    ada2.add(cai.member(), Role::Editor);
    cai.space = Some(space);
    sync(&mut [&mut ada2, &mut cai]);
    ada2.try_revoke(person, ada.id).unwrap();
    ada2.follow(person);
    sync(&mut [&mut ada, &mut ada2, &mut cai]);
    assert_eq!(cai.role(ada.id), None);
    assert_eq!(cai.role(ada2.id), Some(Role::Owner));
    ada2.publish("from the second");
    sync(&mut [&mut ada, &mut ada2, &mut cai]);
    assert!(cai.reads("from the second") && !ada.reads("from the second"));
}

/// A stolen device of an owner does what that owner may.
#[test]
fn a_stolen_device_of_an_owner_can_revoke_the_others() {
    let [mut ada, mut stolen] = nodes();
    ada.create(Settings::with_history(), &[]);
    let person = ada.person();
    link(&mut ada, &mut stolen, person);
    sync(&mut [&mut ada, &mut stolen]);
    stolen.try_revoke(person, ada.id).unwrap();
    stolen.follow(person);
    sync(&mut [&mut ada, &mut stolen]);
    assert_eq!(ada.role(ada.id), None);
    assert!(ada.try_publish("too late").is_err());
}

#[test]
fn a_person_is_added_and_gets_other_roles_as_a_whole() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let set = |node: &mut Node, member: VerifyingKey, role: Role| {
        node.try_do(|spaces, s, desk| spaces.set_member_role(s, member, role, desk))
            .unwrap();
    };
    for role in [
        Role::Owner,
        Role::Reader,
        Role::Courier,
        Role::Owner,
        Role::Editor,
    ] {
        set(&mut ada, ben2.id, role);
        heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
        for device in [ben.id, ben2.id] {
            assert_eq!(ada.role(device), Some(role), "{role}");
        }
    }
    ada.remove_member(ben2.id).unwrap();
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!((ada.role(ben.id), ada.role(ben2.id)), (None, None));
    ada.publish("without both");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(!ben.reads("without both") && !ben2.reads("without both"));
    ada.try_do(|spaces, s, desk| spaces.add_person(s, person, Role::Owner, desk))
        .unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    for device in [ben.id, ben2.id] {
        assert_eq!(ada.role(device), Some(Role::Owner));
    }
    assert!(ada.is_healthy() && ben.reads("without both"));
}

/// The one that removes knows the device as a member by itself, while another owner admits its person.
#[test]
fn a_removed_member_does_not_stay_through_its_person() {
    let [mut ada, mut ben, mut cai, mut cai2] = nodes();
    let members = [(ben.member(), Role::Owner), (cai.member(), Role::Editor)];
    ada.create(Settings::with_history(), &members);
    ben.space = ada.space;
    cai.space = ada.space;
    sync(&mut [&mut ada, &mut ben, &mut cai]);
    let person = cai.person();
    link(&mut cai, &mut cai2, person);
    sync(&mut [&mut ada, &mut cai, &mut cai2]);
    ada.heal();
    assert_eq!(ada.role(cai2.id), Some(Role::Editor));
    ben.remove_member(cai.id).unwrap();
    sync(&mut [&mut ada, &mut ben, &mut cai, &mut cai2]);
    for node in [&ada, &ben] {
        assert_eq!((node.role(cai.id), node.role(cai2.id)), (None, None));
    }
    heal_all(&mut [&mut ada, &mut ben, &mut cai, &mut cai2]);
    assert!(ada.is_healthy() && ben.is_healthy());
    ada.publish("without Cai");
    sync(&mut [&mut ada, &mut ben, &mut cai, &mut cai2]);
    assert!(ben.reads("without Cai"));
    assert!(!cai.reads("without Cai") && !cai2.reads("without Cai"));
}

#[test]
fn owners_that_remove_each_other_are_out_with_all_devices() {
    let [mut ada, mut ada2, mut ben, mut ben2, mut cai] = nodes();
    let members = [(ben.member(), Role::Owner), (cai.member(), Role::Owner)];
    ada.create(Settings::with_history(), &members);
    for node in [&mut ben, &mut cai] {
        node.space = ada.space;
    }
    let (of_ada, of_ben) = (ada.person(), ben.person());
    sync(&mut [&mut ada, &mut ben, &mut cai]);
    link(&mut ada, &mut ada2, of_ada);
    link(&mut ben, &mut ben2, of_ben);
    heal_all(&mut [&mut ada, &mut ada2, &mut ben, &mut ben2, &mut cai]);
    assert_eq!(cai.members().len(), 5);
    assert!(cai.members().values().all(|role| *role == Role::Owner));
    ada.remove_member(ben.id).unwrap();
    ben2.remove_member(ada2.id).unwrap();
    sync(&mut [&mut ada, &mut ada2, &mut ben, &mut ben2, &mut cai]);
    assert_eq!(cai.members().len(), 1);
    heal_all(&mut [&mut ada, &mut ada2, &mut ben, &mut ben2, &mut cai]);
    assert_eq!(cai.members().len(), 1);
    assert!(cai.is_healthy());
    cai.publish("alone");
    sync(&mut [&mut ada, &mut ada2, &mut ben, &mut ben2, &mut cai]);
    for node in [&ada, &ada2, &ben, &ben2] {
        assert!(!node.reads("alone"));
    }
}

/// The last device that knew of it was an editor there.
#[test]
fn an_owner_removes_what_a_revoked_device_has_of_its_own() {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    let person = ben.person();
    link(&mut ben, &mut ben2, person);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    // The first has an entry of its own since before it was a person's, the second cannot remove it.
    ben2.try_revoke(person, ben.id).unwrap();
    ben2.follow(person);
    assert_eq!(
        ben2.pending(person),
        [Pending::Change(DeviceChange::Revoke(ben.id))]
    );
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben.id), None);
    assert_eq!(ben2.pending(person), []);
    // Given one on purpose, it stays.
    ada.add(ben.member(), Role::Reader);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben.id), Some(Role::Reader));
    assert!(ada.is_healthy());
    assert_eq!(ben2.pending(person), []);
}

#[test]
fn a_person_that_is_no_owner_asks_to_leave() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    ben2.remove_member(ben2.id).unwrap();
    assert_eq!(ben2.role(ben2.id), Some(Role::Editor), "an owner does it");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!((ada.role(ben.id), ada.role(ben2.id)), (None, None));
    // Once it is in again, what it said then does not count.
    ada.try_do(|spaces, s, desk| spaces.add_person(s, person, Role::Reader, desk))
        .unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben2.id), Some(Role::Reader));
    assert!(ada.is_healthy());
}

#[test]
fn the_last_person_that_owns_stays() {
    let [mut ada, mut ada2, mut ben] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    let person = ada.person();
    link(&mut ada, &mut ada2, person);
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    let before = ada.topic.ops.len();
    let id = ada.id;
    assert_eq!(ada.remove_member(id), Err(LocalError::LastOwner));
    let demoted = ada.try_do(|spaces, s, desk| spaces.set_member_role(s, id, Role::Editor, desk));
    assert_eq!(demoted, Err(LocalError::LastOwner));
    assert_eq!(ada.topic.ops.len(), before, "nothing was done halfway");
    let ben_id = ben.id;
    ada.try_do(|spaces, s, desk| spaces.set_member_role(s, ben_id, Role::Owner, desk))
        .unwrap();
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    ada.remove_member(id).unwrap();
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    assert_eq!(ben.members().len(), 1);
}

#[test]
fn a_device_is_added_while_another_is_revoked() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let mut third = Node::new(9);
    third.announce();
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third]);
    link(&mut ben, &mut third, person);
    // The second does not know of the third, and revokes the first.
    ben2.try_revoke(person, ben.id).unwrap();
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2, &mut third]);
    // What the revoked one did at the same time does not count.
    assert_eq!(ada.role(ben2.id), Some(Role::Editor));
    assert_eq!((ada.role(ben.id), ada.role(third.id)), (None, None));
    ben2.publish("for those who are left");
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third]);
    assert!(ada.reads("for those who are left"));
    for out in [&ben, &third] {
        assert!(!out.reads("for those who are left"));
    }
    assert_eq!(ada.members(), ben2.members());
}

#[test]
fn a_device_is_added_by_one_while_another_revokes_a_third() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let [mut third, mut fourth] = [Node::new(8), Node::new(9)];
    third.announce();
    fourth.announce();
    link(&mut ben, &mut third, person);
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third, &mut fourth]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2, &mut third]);
    link(&mut ben, &mut fourth, person);
    ben2.try_revoke(person, third.id).unwrap();
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third, &mut fourth]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2, &mut third, &mut fourth]);
    assert_eq!(ada.role(third.id), None);
    ada.publish("for all who are left");
    sync(&mut [&mut ada, &mut ben, &mut ben2, &mut third, &mut fourth]);
    for node in [&ben, &ben2, &fourth] {
        assert!(node.reads("for all who are left"));
        assert_eq!(node.members(), ada.members());
    }
    assert!(!third.reads("for all who are left"));
}

#[test]
fn two_devices_that_revoke_each_other_are_both_out() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    ben.try_revoke(person, ben2.id).unwrap();
    ben.follow(person);
    ben2.try_revoke(person, ben.id).unwrap();
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    // Also the first one, which has an entry of its own from before it had a person.
    assert_eq!(ada.members(), [(ada.id, Role::Owner)].into());
    ada.publish("for Ada");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(!ben.reads("for Ada") && !ben2.reads("for Ada"));
    assert!(ada.spaces.devices(&person).is_empty());
}

#[test]
fn a_person_in_a_group_of_persons_is_followed() {
    let [mut ada, mut ben, mut ben2] = nodes();
    let person = ben.person();
    let card = ben.spaces.card(person).unwrap();
    ada.spaces.take_card(&card).unwrap();
    let members = [(Member::Group(person), Role::Reader)];
    let team = ada.try_act(|spaces, desk| spaces.create_group(&members, desk));
    let team = team.unwrap().0;
    ada.create(
        Settings::with_history(),
        &[(Member::Group(team), Role::Editor)],
    );
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ben.role(ben.id), Some(Role::Reader));
    link(&mut ben, &mut ben2, person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben2.id), Some(Role::Reader));
    ben.try_revoke(person, ben2.id).unwrap();
    ben.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    ada.publish("for the first");
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert!(ben.reads("for the first") && !ben2.reads("for the first"));
}

#[test]
fn the_devices_of_a_person_are_bounded() {
    let mut ada = Node::new(1);
    let person = ada.person();
    let key = |seed: usize| SigningKey::from_bytes(&[seed as u8 + 100; 32]).verifying_key();
    let devices: Vec<VerifyingKey> = (1..=PERSON_DEVICES_MAX).map(key).collect();
    let mut ben = Node::new(2);
    let too_many = ben.try_act(|spaces, desk| spaces.create_person(&devices, desk));
    assert_eq!(too_many.err(), Some(LocalError::TooManyDevices));
    ben.try_act(|spaces, desk| spaces.create_person(&devices[1..], desk))
        .unwrap();
    for seed in 1..PERSON_DEVICES_MAX {
        ada.try_link(person, key(seed)).unwrap();
    }
    assert_eq!(ada.spaces.devices(&person).len(), PERSON_DEVICES_MAX);
    let one_more = ada.try_link(person, key(99));
    assert_eq!(one_more, Err(LocalError::TooManyDevices));
    ada.try_revoke(person, key(1)).unwrap();
    assert_eq!(ada.try_link(person, key(1)), Err(LocalError::RevokedDevice));
    ada.try_link(person, key(99)).unwrap();
    assert_eq!(ada.try_revoke(person, key(1)), Err(LocalError::NoDevice));
}

#[test]
fn the_last_device_is_not_revoked() {
    let mut ada = Node::new(1);
    let (person, id) = (ada.person(), ada.id);
    assert_eq!(ada.try_revoke(person, id), Err(LocalError::LastDevice));
}

#[test]
fn a_card_is_read_as_it_was_written_and_within_its_limits() {
    let mut ada = Node::new(1);
    let person = ada.person();
    let mut card = ada.spaces.card(person).unwrap();
    let space = (Topic::from_bytes([1; 32]), SpaceId::from_bytes([2; 32]));
    card.spaces = vec![space; PERSON_SPACES_MAX];
    let operation = card.operations[0].clone();
    card.operations = vec![operation.clone(); PERSON_OPERATIONS_MAX];
    assert_eq!(PersonCard::decode(&card.encode()).unwrap(), card);
    card.spaces.push(space);
    assert!(PersonCard::decode(&card.encode()).is_err());
    card.spaces.pop();
    card.operations.push(operation);
    assert!(PersonCard::decode(&card.encode()).is_err());
    card.operations.truncate(1);
    let whole = card.encode();
    for len in 0..64.min(whole.len()) {
        assert!(PersonCard::decode(&whole[..len]).is_err());
    }
}

#[test]
fn a_card_with_a_wrong_signature_or_of_another_is_refused() {
    let [mut ada, mut ben, mut cai] = nodes();
    let (of_ada, of_ben) = (ada.person(), ben.person());
    let mut card = ada.spaces.card(of_ada).unwrap();
    let last = card.operations[0].len() - 1;
    card.operations[0][last] ^= 1;
    assert_eq!(cai.spaces.take_card(&card), Err(CardError::Operation));
    let mut card = ada.spaces.card(of_ada).unwrap();
    card.operations
        .extend(ben.spaces.card(of_ben).unwrap().operations);
    assert_eq!(cai.spaces.take_card(&card), Err(CardError::Operation));
    assert!(cai.spaces.devices(&of_ada).is_empty());
}

#[test]
fn a_key_for_recovery_links_a_new_device_without_the_old_ones() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let recovery = SigningKey::from_bytes(&[77; 32]);
    ben.try_link(person, recovery.verifying_key()).unwrap();
    ben.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    let kept = ben.spaces.card(person).unwrap();
    let mut new = Node::new(9);
    new.announce();
    new.spaces.take_card(&kept).unwrap();
    let change = DeviceChange::Add(new.id);
    new.spaces
        .sign_device_change(&recovery, person, change)
        .unwrap();
    let stranger = SigningKey::from_bytes(&[78; 32]);
    let refused = new.spaces.sign_device_change(&stranger, person, change);
    assert_eq!(refused, Err(LocalError::NoDevice));
    // Any member that is told of it points to it.
    let card = new.spaces.card(person).unwrap();
    ben2.spaces.take_card(&card).unwrap();
    new.space = ben2.space;
    sync(&mut [&mut ada, &mut ben2, &mut new]);
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben2, &mut new]);
    assert_eq!(ada.role(new.id), Some(Role::Editor));
    assert!(new.reads("before"));
}

#[test]
fn persons_are_the_same_after_a_restart() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let before = ada.spaces.persons(&ada.s());
    for node in [&mut ada, &mut ben, &mut ben2] {
        node.restart();
    }
    assert_eq!(ada.spaces.persons(&ada.s()), before);
    assert_eq!(ben.pending(person), []);
    assert!(ada.is_healthy());
}

/// By the groups alone, without who is out, the remover would be an owner again.
#[test]
fn a_person_that_is_out_is_out_after_a_restart() {
    let [mut ada, mut ada2, mut ben] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Owner)]);
    ben.space = ada.space;
    let (person, ben_id) = (ada.person(), ben.id);
    link(&mut ada, &mut ada2, person);
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    assert_eq!(ada2.role(ada2.id), Some(Role::Owner));
    // The entry of the device alone: that takes the whole person out, its remover too.
    ada2.remove(ada.member());
    // Nothing is wrong with the person by the groups any more, but the space does not hear of it.
    ada2.try_revoke(person, ada.id).unwrap();
    for _ in 0..2 {
        assert_eq!((ada2.role(ada.id), ada2.role(ada2.id)), (None, None));
        let denied = ada2.try_publish("by nobody");
        assert_eq!(denied, Err(LocalError::Role(None)));
        ada2.restart();
    }
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    for node in [&mut ada, &mut ben] {
        node.restart();
        assert_eq!(node.members(), [(ben_id, Role::Owner)].into());
    }
}

/// The new device alone would take the person out, its entry as an owner with it does not.
#[test]
fn an_owner_links_a_device_that_was_removed_as_a_member() {
    for heals in [false, true] {
        let [mut ada, mut ada2, mut ben, mut third] = nodes();
        ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
        ben.space = ada.space;
        let person = ada.person();
        link(&mut ada, &mut ada2, person);
        ada.add(third.member(), Role::Editor);
        ada.remove(third.member());
        sync(&mut [&mut ada, &mut ada2, &mut ben]);
        ada.try_link(person, third.id).unwrap();
        third.space = ada.space;
        match heals {
            true => ada.heal(),
            false => ada.follow(person),
        }
        assert_eq!(ada.pending(person), []);
        sync(&mut [&mut ada, &mut ada2, &mut ben, &mut third]);
        for node in [&ada, &ada2, &ben, &third] {
            for device in [ada.id, ada2.id, third.id] {
                assert_eq!(node.role(device), Some(Role::Owner));
            }
        }
        ada.publish("still here");
        sync(&mut [&mut ada, &mut ben, &mut third]);
        assert!(ben.reads("still here") && third.reads("still here"));
    }
}

/// No role is another one by that, so nothing else would make an owner look.
#[test]
fn an_owner_hears_of_changed_devices_and_removes_their_entries() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    ada.events.clear();
    ben2.try_revoke(person, ben.id).unwrap();
    ben2.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben.id), Some(Role::Editor), "by its own entry");
    let told = |event: &Event| matches!(event, Event::Nested { .. });
    assert!(ada.events.iter().any(told));
    ada.heal();
    assert_eq!(ada.role(ben.id), None);
}

/// Its entry of its own as an owner is removed with that of its person.
#[test]
fn an_owner_seals_nothing_to_a_device_that_it_revoked() {
    let [mut ada, mut ada2, mut ben] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    let person = ada.person();
    link(&mut ada, &mut ada2, person);
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    ada.try_revoke(person, ada2.id).unwrap();
    assert!(
        ada.try_publish("too early")
            .is_err_and(|e| e.is_retryable())
    );
    // To heal does it, as following does.
    ada.heal();
    ada.publish("later");
    sync(&mut [&mut ada, &mut ada2, &mut ben]);
    assert!(ben.reads("later") && !ada2.reads("later"));
    assert_eq!(ada.pending(person), []);
}

/// An owner removed it: as a device of the person it would put the person out.
#[test]
fn nobody_else_links_a_device_that_was_removed_as_a_member() {
    let ([mut ada, mut ben, mut ben2], person) = taken_in();
    let mut third = Node::new(9);
    third.announce();
    sync(&mut [&mut ada, &mut third]);
    ada.add(third.member(), Role::Editor);
    ada.remove(third.member());
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    for device in [&mut ben, &mut ben2] {
        let refused = device.try_link(person, third.id);
        assert_eq!(refused, Err(LocalError::RemovedDevice));
    }
    // Nobody is out, and once an owner has made it a member again it is linked.
    ada.add(third.member(), Role::Editor);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    ben.try_link(person, third.id).unwrap();
    ben.follow(person);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    for device in [ben.id, ben2.id, third.id] {
        assert_eq!(ada.role(device), Some(Role::Editor));
    }
}
