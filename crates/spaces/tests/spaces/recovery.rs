//! A new device comes in by what a recovery file holds (`docs/protocol/spaces.md#18`).

use p2panda_core::{NetworkId, SigningKey, Topic};
use p2panda_groups::GroupId;
use p2panda_spaces::{
    Content, DeviceChange, Event, LocalError, Log, Pending, RecoveryContent, RecoveryError,
    Refusal, Role, Settings,
};

use crate::native_world::{NOW, Node, deliver, heal_all, nodes, ops, sync};

const TOPIC: Topic = Topic::from_bytes([7; 32]);

/// Exports a file as a device does: a key of its own is a device of the person from now on.
fn export(node: &mut Node, person: GroupId, seed: u8) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    node.try_link(person, key.verifying_key()).unwrap();
    node.follow(person);
    let mut card = node.spaces.card(person).unwrap();
    card.spaces = vec![(TOPIC, node.s())];
    let content = RecoveryContent {
        network: NetworkId::from_bytes([1; 32]),
        key,
        written: NOW,
        card,
        secrets: vec![node.spaces.secrets_of(&node.s()).unwrap()],
    };
    content.encode().to_vec()
}

/// A new device with such a file.
fn restore(seed: u8, file: &[u8]) -> (Node, SigningKey) {
    let content = RecoveryContent::decode(file).unwrap();
    let mut node = Node::new(seed);
    node.space = Some(content.card.spaces[0].1);
    node.announce();
    node.spaces.take_card(&content.card).unwrap();
    let change = DeviceChange::Add(node.id);
    let person = content.card.person;
    node.spaces
        .sign_device_change(&content.key, person, change)
        .unwrap();
    for ((_, id), secrets) in content.card.spaces.iter().zip(&content.secrets) {
        node.spaces.take_secrets(*id, secrets);
    }
    (node, content.key)
}

impl Node {
    fn recover(&mut self, person: GroupId, key: &SigningKey) -> Result<(), LocalError> {
        self.try_do(|spaces, s, desk| spaces.recover(s, person, key, desk))
    }
}

/// A person that is the only owner, and a member.
fn owner_and_member() -> ([Node; 2], GroupId) {
    owner_in(Settings::with_history())
}

fn owner_in(settings: Settings) -> ([Node; 2], GroupId) {
    let [mut ada, mut ben] = nodes();
    ada.create(settings, &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    ada.publish("before");
    let person = ada.person();
    ada.follow(person);
    sync(&mut [&mut ada, &mut ben]);
    ([ada, ben], person)
}

#[test]
fn a_lost_person_reads_at_once_and_is_what_it_was() {
    let ([mut ada, mut ben], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    let (mut new, key) = restore(9, &file);
    // Nobody is there, but somebody kept the operations.
    deliver(&mut new, ops(&ada).iter());
    assert!(new.reads("before"));
    new.restart();
    new.recover(person, &key).unwrap();
    assert_eq!(new.role(new.id), Some(Role::Owner));
    new.restart();
    new.heal();
    new.publish("I am back");
    sync(&mut [&mut new, &mut ben]);
    assert!(ben.reads("I am back"));
    assert_eq!(ben.role(new.id), Some(Role::Owner));
    // An owner owns.
    new.try_revoke(person, ada.id).unwrap();
    new.follow(person);
    new.heal();
    assert_eq!(new.pending(person), []);
    new.publish("without the lost one");
    sync(&mut [&mut ada, &mut ben, &mut new]);
    assert!(ben.reads("without the lost one") && !ada.reads("without the lost one"));
    assert_eq!((ben.role(ada.id), ada.role(ada.id)), (None, None));
    ben.publish("welcome back");
    sync(&mut [&mut ben, &mut new]);
    assert!(new.reads("welcome back"));
}

#[test]
fn what_is_newer_than_the_file_opens_when_a_member_was_there() {
    let [mut ada, mut ben] = nodes();
    ben.create(Settings::with_history(), &[(ada.member(), Role::Editor)]);
    ada.space = ben.space;
    sync(&mut [&mut ada, &mut ben]);
    let person = ada.person();
    ada.follow(person);
    sync(&mut [&mut ada, &mut ben]);
    heal_all(&mut [&mut ada, &mut ben]);
    let file = export(&mut ada, person, 90);
    ada.publish("before");
    sync(&mut [&mut ada, &mut ben]);
    ben.try_do(|spaces, s, desk| spaces.rotate(s, desk))
        .unwrap();
    ben.publish("after");
    let (mut new, key) = restore(9, &file);
    deliver(&mut new, ops(&ben).iter());
    assert!(new.reads("before") && !new.reads("after"));
    new.recover(person, &key).unwrap();
    new.heal();
    new.publish("I am back");
    heal_all(&mut [&mut ben, &mut new]);
    assert!(new.reads("after") && ben.reads("I am back"));
    assert_eq!(ben.role(new.id), Some(Role::Editor));
    assert_eq!(ben.members(), new.members());
    new.publish("as before");
    ben.publish("for all");
    sync(&mut [&mut ada, &mut ben, &mut new]);
    assert!(ben.reads("as before") && new.reads("for all"));
}

#[test]
fn one_file_makes_two_devices_where_it_is_used_twice() {
    let ([mut ada, mut ben], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    let mut restored = [9, 10].map(|seed| {
        let (mut node, key) = restore(seed, &file);
        deliver(&mut node, ops(&ada).iter());
        node.recover(person, &key).unwrap();
        node.heal();
        node.publish(&format!("by {seed}"));
        node
    });
    let [one, two] = &mut restored;
    heal_all(&mut [&mut ben, one, two]);
    for node in [&ben, one, two] {
        assert!(node.reads("by 9") && node.reads("by 10"));
        for key in [ada.id, one.id, two.id] {
            assert_eq!(node.role(key), Some(Role::Owner));
        }
        assert!(node.refused.is_empty());
    }
}

#[test]
fn a_file_whose_key_was_revoked_gives_nothing_newer() {
    let ([mut ada, mut ben], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    let then = ops(&ada);
    let stolen = SigningKey::from_bytes(&[90; 32]).verifying_key();
    ada.try_revoke(person, stolen).unwrap();
    ada.follow(person);
    ada.publish("after the theft");
    sync(&mut [&mut ada, &mut ben]);
    // One that knows of it.
    let (mut late, key) = restore(9, &file);
    deliver(&mut late, ops(&ben).iter());
    assert!(late.reads("before"));
    assert_eq!(late.recover(person, &key), Err(LocalError::NotRecoverable));
    // One that does not, or does not care.
    let (mut thief, key) = restore(10, &file);
    deliver(&mut thief, then.iter());
    thief.recover(person, &key).unwrap();
    thief.heal();
    heal_all(&mut [&mut ada, &mut ben, &mut thief]);
    assert!(!thief.reads("after the theft"));
    assert_eq!((ben.role(thief.id), ada.role(thief.id)), (None, None));
    ben.publish("still without it");
    sync(&mut [&mut ben, &mut thief]);
    assert!(!thief.reads("still without it"));
}

#[test]
fn nobody_comes_in_by_signing_for_itself() {
    let ([mut ada, mut ben], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    sync(&mut [&mut ada, &mut ben]);
    // It has the secrets, and a key of the person that nobody has made a device.
    let mut content = RecoveryContent::decode(&file).unwrap();
    content.key = SigningKey::from_bytes(&[91; 32]);
    let stranger = content.key.verifying_key();
    let (mut thief, _) = restore(9, &file);
    thief.spaces = p2panda_spaces::Spaces::new(thief.id);
    thief.spaces.take_card(&content.card).unwrap();
    let change = DeviceChange::Add(thief.id);
    let signed = thief
        .spaces
        .sign_device_change(&content.key, person, change);
    assert_eq!(signed, Err(LocalError::NoDevice));
    thief.spaces.take_secrets(ada.s(), &content.secrets[0]);
    deliver(&mut thief, ops(&ada).iter());
    assert_eq!(
        thief.recover(person, &content.key),
        Err(LocalError::NotRecoverable)
    );
    assert_eq!(ben.role(stranger), None);
}

#[test]
fn a_device_that_is_no_member_is_refused_what_else_it_says() {
    let ([mut ada, mut ben], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    sync(&mut [&mut ada, &mut ben]);
    let (mut new, key) = restore(9, &file);
    deliver(&mut new, ops(&ada).iter());
    new.recover(person, &key).unwrap();
    // The same message by somebody else admits nobody: it does not open under another name.
    let last = ops(&new).into_iter().rfind(|op| op.author == new.id);
    let (last, mut thief) = (last.unwrap(), Node::new(11));
    thief.topic.logs.clear();
    thief.forge(Log::Control, last.dependencies.clone(), last.body.clone());
    sync(&mut [&mut ben, &mut thief]);
    let refused = ben.events.iter().any(|event| {
        matches!(event, Event::Refused { author, refusal, .. }
            if *author == thief.id && *refusal == Refusal::Malformed)
    });
    assert!(refused);
    assert_eq!(ben.role(thief.id), None);
}

#[test]
fn a_content_is_read_as_it_was_written_and_damage_is_typed() {
    let ([mut ada, _], person) = owner_and_member();
    let file = export(&mut ada, person, 90);
    let content = RecoveryContent::decode(&file).unwrap();
    assert_eq!(content.encode().to_vec(), file);
    assert_eq!(
        content.secrets.iter().map(|one| one.len()).sum::<usize>(),
        1
    );
    let mut newer = file.clone();
    newer[1] = 2;
    let decoded = RecoveryContent::decode(&newer).unwrap_err();
    assert_eq!(decoded, RecoveryError::Newer);
    for end in 0..file.len() {
        assert!(RecoveryContent::decode(&file[..end]).is_err());
    }
    let longer = [&file[..], &[0]].concat();
    assert!(RecoveryContent::decode(&longer).is_err());
}

#[test]
fn a_recovery_key_is_pending_until_a_space_knows_it() {
    let ([mut ada, _], person) = owner_and_member();
    let key = SigningKey::from_bytes(&[90; 32]).verifying_key();
    ada.try_link(person, key).unwrap();
    assert_eq!(
        ada.pending(person),
        [Pending::Change(DeviceChange::Add(key))]
    );
    ada.follow(person);
    assert_eq!(ada.pending(person), []);
    // Nobody can reach it, and nobody waits for it.
    assert!(ada.is_healthy());
    ada.publish("goes on");
}

/// A file holds no key of a message: who has it opens nothing that was written before, and takes part
/// from the epoch on that begins with its return (`docs/protocol/recovery.md#6`).
#[test]
fn with_a_key_per_message_a_file_opens_none() {
    let ([mut ada, mut ben], person) = owner_in(Settings::with_a_key_per_message());
    let file = export(&mut ada, person, 90);
    ada.publish("after the file");
    sync(&mut [&mut ada, &mut ben]);
    ben.publish("by another one");
    ben.try_do(|spaces, s, desk| spaces.rotate(s, desk))
        .unwrap();
    ben.publish("in a later epoch");
    sync(&mut [&mut ada, &mut ben]);
    assert!(ben.reads("after the file") && ada.reads("in a later epoch"));
    let (mut new, key) = restore(9, &file);
    deliver(&mut new, ops(&ben).iter());
    assert!(new.shown.is_empty() && new.refused.is_empty());
    new.restart();
    new.recover(person, &key).unwrap();
    assert_eq!(new.role(new.id), Some(Role::Owner));
    // It has no chain to write in before it begins an epoch.
    assert!(new.try_publish("too early").unwrap_err().is_retryable());
    new.restart();
    new.heal();
    new.publish("I am back");
    heal_all(&mut [&mut ben, &mut new]);
    assert!(ben.reads("I am back"));
    ben.publish("welcome back");
    sync(&mut [&mut ben, &mut new]);
    let shown: Vec<&str> = new.shown.values().map(String::as_str).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(new.reads("I am back") && new.reads("welcome back"));
    assert!(ben.is_healthy() && new.is_healthy());
    // What was written before stays closed, also with all that members hand out.
    for op in ops(&ben).into_iter().filter(|op| op.log == Log::Content) {
        let space = new.s();
        let content = new
            .spaces
            .open_message(&space, &op.author, op.seq, &op.body);
        assert_eq!(content, Ok(Content::Gone));
    }
    // The lost device is revoked, and reads nothing more.
    new.try_revoke(person, ada.id).unwrap();
    new.follow(person);
    new.heal();
    new.publish("without the lost one");
    sync(&mut [&mut ada, &mut ben, &mut new]);
    assert!(ben.reads("without the lost one") && !ada.reads("without the lost one"));
}

#[test]
fn a_file_with_a_revoked_key_opens_no_message_either() {
    let ([mut ada, mut ben], person) = owner_in(Settings::with_a_key_per_message());
    let file = export(&mut ada, person, 90);
    let then = ops(&ada);
    let stolen = SigningKey::from_bytes(&[90; 32]).verifying_key();
    ada.try_revoke(person, stolen).unwrap();
    ada.follow(person);
    ada.publish("after the theft");
    sync(&mut [&mut ada, &mut ben]);
    let (mut thief, key) = restore(10, &file);
    deliver(&mut thief, then.iter());
    thief.recover(person, &key).unwrap();
    thief.heal();
    thief.publish("by the thief");
    heal_all(&mut [&mut ada, &mut ben, &mut thief]);
    ben.publish("still without it");
    sync(&mut [&mut ada, &mut ben, &mut thief]);
    assert!(!thief.reads("after the theft") && !thief.reads("still without it"));
    assert!(!ben.reads("by the thief") && !ada.reads("by the thief"));
    assert!(ada.reads("still without it"));
}
