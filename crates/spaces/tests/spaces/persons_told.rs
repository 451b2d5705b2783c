//! Messages between the devices of a person (`docs/protocol/spaces.md#18`).

use p2panda_core::limits::{PERSON_SPACES_MAX, SPACE_NOTES_MAX};
use p2panda_core::{Hash, SigningKey, Topic, VerifyingKey};
use p2panda_groups::GroupId;
use p2panda_spaces::{LocalError, Role, Settings, SpaceId, Telling};

use crate::native_world::{Node, heal_all, nodes, sync};

impl Node {
    fn tell(&mut self, tellings: &[Telling]) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.tell_devices(s, tellings, desk))
    }

    /// Returns what it knows of a space; `None` if it was not told.
    fn knows(&self, number: u32) -> Option<bool> {
        let told = self.spaces.told_spaces(&self.s());
        told.get(&space(number)).copied()
    }
}

fn space(number: u32) -> (Topic, SpaceId) {
    let bytes = *Hash::digest(&number.to_be_bytes()).as_bytes();
    (Topic::from_bytes(bytes), SpaceId::from_bytes(bytes))
}

fn joined(number: u32) -> Telling {
    let (topic, space) = space(number);
    Telling::Joined(topic, space)
}

fn left(number: u32) -> Telling {
    let (topic, space) = space(number);
    Telling::Left(topic, space)
}

/// Two devices of a person, in the space of its devices.
fn devices() -> ([Node; 2], GroupId) {
    let [mut ada, mut ada2, _] = nodes();
    let person = ada.person();
    let owner = ada.spaces.owner(&person);
    ada.create(Settings::with_history(), &owner);
    sync(&mut [&mut ada, &mut ada2]);
    ada.try_link(person, ada2.id).unwrap();
    ada2.spaces
        .take_card(&ada.spaces.card(person).unwrap())
        .unwrap();
    ada2.space = ada.space;
    ada.follow(person);
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!(ada2.role(ada2.id), Some(Role::Owner));
    ([ada, ada2], person)
}

#[test]
fn each_device_learns_what_another_says() {
    let ([mut ada, mut ada2], _) = devices();
    ada.tell(&[joined(1), joined(2)]).unwrap();
    assert_eq!(ada2.knows(1), None);
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!((ada2.knows(1), ada2.knows(2)), (Some(true), Some(true)));
    ada2.tell(&[left(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!((ada.knows(1), ada.knows(2)), (Some(false), Some(true)));
}

#[test]
fn of_what_devices_say_concurrently_joined_counts() {
    let ([mut ada, mut ada2], _) = devices();
    ada.tell(&[joined(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    ada.tell(&[left(1)]).unwrap();
    ada.tell(&[joined(1)]).unwrap();
    ada2.tell(&[left(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!((ada.knows(1), ada2.knows(1)), (Some(true), Some(true)));
    // Who has seen both decides.
    ada2.tell(&[left(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!((ada.knows(1), ada2.knows(1)), (Some(false), Some(false)));
}

#[test]
fn a_revoked_device_learns_of_no_later_space() {
    let ([mut ada, mut ada2], person) = devices();
    ada.tell(&[joined(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    ada.try_revoke(person, ada2.id).unwrap();
    // The space of the devices has not heard of it.
    let early = ada.tell(&[joined(2)]);
    assert!(early.is_err_and(|error| error.is_retryable()));
    ada.follow(person);
    ada.tell(&[joined(2)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    heal_all(&mut [&mut ada, &mut ada2]);
    assert_eq!((ada.knows(2), ada2.knows(2)), (Some(true), None));
    assert!(!ada2.locked.is_empty(), "what was said has come");
    assert!(ada2.tell(&[left(1)]).is_err());
}

#[test]
fn only_owners_say_it() {
    let [mut ada, mut ben, _] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    let role = Some(Role::Editor);
    assert_eq!(ben.tell(&[joined(1)]), Err(LocalError::Role(role)));
}

#[test]
fn so_many_spaces_in_a_message_and_so_many_in_all() {
    let ([mut ada, _], _) = devices();
    let all: Vec<Telling> = (0..PERSON_SPACES_MAX as u32).map(joined).collect();
    let too_many = ada.tell(&all[..SPACE_NOTES_MAX + 1]);
    assert_eq!(too_many, Err(LocalError::TooLarge));
    for some in all.chunks(SPACE_NOTES_MAX) {
        ada.tell(some).unwrap();
    }
    assert_eq!(ada.spaces.told_spaces(&ada.s()).len(), PERSON_SPACES_MAX);
    ada.tell(&[joined(PERSON_SPACES_MAX as u32)]).unwrap();
    assert_eq!(ada.spaces.told_spaces(&ada.s()).len(), PERSON_SPACES_MAX);
}

#[test]
fn what_was_said_is_known_after_a_restart() {
    let ([mut ada, _], _) = devices();
    ada.tell(&[joined(1), left(2)]).unwrap();
    let before = ada.spaces.told_spaces(&ada.s());
    ada.restart();
    assert_eq!(ada.spaces.told_spaces(&ada.s()), before);
    assert_eq!((ada.knows(1), ada.knows(2)), (Some(true), Some(false)));
}

fn recovery(key: VerifyingKey, written: u64) -> Telling {
    Telling::Recovery(key, written)
}

#[test]
fn each_device_learns_which_device_is_a_recovery_key() {
    let ([mut ada, mut ada2], person) = devices();
    let key = SigningKey::from_bytes(&[90; 32]).verifying_key();
    let told = |node: &Node| node.spaces.told_recovery(&node.s(), &person);
    ada.tell(&[recovery(key, 0)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    assert!(told(&ada2).is_empty(), "it is no device yet");
    ada.try_link(person, key).unwrap();
    ada.follow(person);
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!(told(&ada2), [(key, 0)].into_iter().collect());
    // The newest date counts, in whichever order they come.
    ada.tell(&[recovery(key, 9)]).unwrap();
    ada2.tell(&[recovery(key, 7)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    assert_eq!(told(&ada), [(key, 9)].into_iter().collect());
    assert_eq!(told(&ada2), told(&ada));
    ada2.restart();
    assert_eq!(told(&ada2), told(&ada));
    ada2.try_revoke(person, key).unwrap();
    ada2.follow(person);
    sync(&mut [&mut ada, &mut ada2]);
    assert!(told(&ada).is_empty() && told(&ada2).is_empty());
}

#[test]
fn a_device_that_publishes_is_no_recovery_key() {
    let ([mut ada, mut ada2], person) = devices();
    ada.tell(&[recovery(ada2.id, 5)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    let told = ada.spaces.told_recovery(&ada.s(), &person);
    assert_eq!(told.get(&ada2.id), Some(&5), "it has published nothing");
    ada2.tell(&[joined(1)]).unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    let told = ada.spaces.told_recovery(&ada.s(), &person);
    assert!(told.is_empty());
}
