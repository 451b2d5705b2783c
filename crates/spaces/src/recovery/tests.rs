use p2panda_core::{Hash, SigningKey};
use p2panda_groups::{Access, Action, Member};

use crate::native_world::{Node, deliver, nodes, ops, sync};
use crate::sealed::{Body, Envelope, GroupOperation, Structure, copy, seal};
use crate::{Event, KeyId, Log, Refusal, Role, Settings};

/// An owner, a member, and somebody who has the secrets of the owner and is no member.
fn world() -> [Node; 3] {
    let [mut ada, mut ben] = nodes();
    let mut eve = Node::new(9);
    eve.announce();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    (ben.space, eve.space) = (ada.space, ada.space);
    let secrets = ada.spaces.secrets_of(&ada.s()).unwrap();
    eve.spaces.take_secrets(ada.s(), &secrets);
    sync(&mut [&mut ada, &mut ben]);
    deliver(&mut eve, ops(&ada).iter());
    [ada, ben, eve]
}

/// Publishes a pointer to an operation by this key, valid or not: this library would not.
fn claims(node: &mut Node, by: &SigningKey, action: Action) -> Hash {
    let id = node.s();
    let (space, native) = node.spaces.native(&id).unwrap();
    let (heads, group) = (space.graph.heads(), space.founded.unwrap().group);
    let key = copy(native.ring.newest().unwrap());
    let author = by.verifying_key();
    let arguments = node.spaces.groups.draft(&author, &group, action).arguments;
    let signature = by.sign(&GroupOperation::to_sign(&author, &arguments));
    let operation = GroupOperation::new(author, &arguments, &signature);
    let auth = operation.id;
    let structure = Structure {
        dependencies: heads.clone(),
        operations: vec![operation],
        pointer: Some((group, auth)),
        directs: Vec::new(),
        heights: Default::default(),
        keys: Vec::new(),
        asks: false,
        settings: None,
        notes: Vec::new(),
    };
    let (nonce, bound) = ([7; 24], ("control", &id, &node.id));
    let sealed = seal(&key, &nonce, bound, &structure.encode()).unwrap();
    let envelope = Envelope {
        boxes: Vec::new(),
        key: KeyId::of(&key),
        nonce,
        sealed,
    };
    node.forge(Log::Control, heads, Body::Control(envelope).encode());
    auth
}

fn refuses(node: &Node, author: &Node, why: Refusal) -> bool {
    node.events.iter().any(|event| {
        matches!(event, Event::Refused { author: by, refusal, .. }
            if *by == author.id && *refusal == why)
    })
}

#[test]
fn what_a_stranger_signed_is_not_even_looked_at() {
    let [mut ada, mut ben, mut eve] = world();
    let key = SigningKey::from_bytes(&[66; 32]);
    let (member, access) = (eve.member(), Access::Manage);
    let auth = claims(&mut eve, &key, Action::Add { member, access });
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    for node in [&ada, &ben] {
        assert!(refuses(node, &eve, Refusal::Role(None)));
        assert!(!node.spaces.groups.contains(&auth));
        assert!(!node.members().contains_key(&eve.id));
    }
}

#[test]
fn a_member_without_the_right_to_add_lets_nobody_in() {
    let [mut ada, mut ben, mut eve] = world();
    let key = ben.key.clone();
    let (member, access) = (eve.member(), Access::Write);
    claims(&mut eve, &key, Action::Add { member, access });
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    for node in [&ada, &ben] {
        assert!(refuses(node, &eve, Refusal::Operation));
        assert!(!node.members().contains_key(&eve.id));
    }
}

#[test]
fn what_lets_somebody_else_in_does_not_count() {
    let [mut ada, mut ben, mut eve] = world();
    let key = ada.key.clone();
    let other = SigningKey::from_bytes(&[67; 32]).verifying_key();
    let (member, access) = (Member::Individual(other), Access::Write);
    let auth = claims(&mut eve, &key, Action::Add { member, access });
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    assert!(refuses(&ben, &eve, Refusal::Role(None)));
    assert!(!ben.spaces.groups.contains(&auth));
    assert!(!ben.members().contains_key(&other));
}
