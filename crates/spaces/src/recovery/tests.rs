use p2panda_core::SigningKey;
use p2panda_groups::{Access, Action, Member};

use crate::native_world::{Node, deliver, nodes, ops, sync};
use crate::{Event, Refusal, Role, Settings};

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

/// Points to an operation by this key that adds us, whether or not that means anything.
fn claims(node: &mut Node, key: &SigningKey, action: Action) -> p2panda_core::Hash {
    let id = node.s();
    let group = node.spaces.group(&id).unwrap();
    let draft = node
        .spaces
        .groups
        .draft(&key.verifying_key(), &group, action);
    node.spaces.take_signed(key, &draft.arguments).unwrap();
    let auth = crate::sealed::GroupOperation::new(
        key.verifying_key(),
        &draft.arguments,
        &key.sign(&crate::sealed::GroupOperation::to_sign(
            &key.verifying_key(),
            &draft.arguments,
        )),
    );
    node.try_do(|spaces, s, desk| {
        spaces.publish_pointer(s, (group, auth.id), None, desk)?;
        Ok(spaces.events())
    })
    .unwrap();
    auth.id
}

fn refuses(node: &Node, author: &Node) -> bool {
    node.events.iter().any(|event| {
        matches!(event, Event::Refused { author: by, refusal, .. }
            if *by == author.id && *refusal == Refusal::Role(None))
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
        assert!(refuses(node, &eve));
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
    assert!(refuses(&ada, &eve) && refuses(&ben, &eve));
    assert!(!ada.members().contains_key(&eve.id));
}

#[test]
fn what_lets_somebody_else_in_does_not_count() {
    let [mut ada, mut ben, mut eve] = world();
    let key = ada.key.clone();
    let other = SigningKey::from_bytes(&[67; 32]).verifying_key();
    let (member, access) = (Member::Individual(other), Access::Write);
    let auth = claims(&mut eve, &key, Action::Add { member, access });
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    assert!(refuses(&ben, &eve) && !ben.spaces.groups.contains(&auth));
    assert!(!ben.members().contains_key(&other));
}
