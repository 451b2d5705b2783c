//! The last owner that has the secrets (`docs/protocol/spaces.md#7`).

use p2panda_spaces::{LocalError, Role, Settings};

use crate::native_world::{Node, heal_all, nodes, sync};
use crate::persons::link;

/// An owner, and another one whose node is not there.
fn with_an_absent_owner() -> [Node; 3] {
    let [mut a, mut b] = nodes();
    let absent = Node::new(9);
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    a.add(absent.member(), Role::Owner);
    sync(&mut [&mut a, &mut b]);
    [a, b, absent]
}

#[test]
fn the_last_owner_with_secrets_does_not_leave() {
    let [mut a, mut b, mut absent] = with_an_absent_owner();
    let (me, said) = (a.member(), a.topic.ops.len());
    let refused = Err(LocalError::NoUsableOwner(vec![absent.id]));
    let left = a.try_do(|spaces, s, desk| spaces.remove(s, me, desk));
    assert_eq!(left, refused);
    let demoted = a.try_do(|spaces, s, desk| spaces.set_role(s, me, Role::Editor, desk));
    assert_eq!(demoted, refused);
    let all = [b.member(), me];
    let removed = a.try_do(|spaces, s, desk| spaces.remove_all(s, &all, desk));
    assert_eq!(removed, refused);
    assert_eq!(a.remove_member(a.id), refused);
    assert_eq!(a.topic.ops.len(), said, "nothing was signed");
    // Once it was sent the secrets, it can go on alone.
    absent.announce();
    sync(&mut [&mut a, &mut b, &mut absent]);
    heal_all(&mut [&mut a, &mut b]);
    a.remove(me);
    sync(&mut [&mut a, &mut b, &mut absent]);
    heal_all(&mut [&mut b, &mut absent]);
    absent.set_role(b.member(), Role::Owner);
    absent.publish("goes on");
    sync(&mut [&mut b, &mut absent]);
    assert!(b.reads("goes on"));
    assert_eq!(b.role(b.id), Some(Role::Owner));
}

#[test]
fn another_owner_that_has_the_secrets_suffices() {
    let [mut a, mut b, absent] = with_an_absent_owner();
    a.set_role(b.member(), Role::Owner);
    sync(&mut [&mut a, &mut b]);
    a.remove(a.member());
    sync(&mut [&mut a, &mut b]);
    assert_eq!(b.role(a.id), None);
    let me = b.member();
    let left = b.try_do(|spaces, s, desk| spaces.remove(s, me, desk));
    assert_eq!(left, Err(LocalError::NoUsableOwner(vec![absent.id])));
}

#[test]
fn an_owner_added_again_is_none_until_it_is_sent_secrets() {
    let [mut a, mut b] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    sync(&mut [&mut a, &mut b]);
    a.remove(b.member());
    // Its keys have expired since.
    let now = a.now;
    a.now += 10 * 365 * 86_400;
    a.add(b.member(), Role::Owner);
    let me = a.member();
    let left = a.try_do(|spaces, s, desk| spaces.remove(s, me, desk));
    assert_eq!(left, Err(LocalError::NoUsableOwner(vec![b.id])));
    a.now = now;
    a.heal();
    a.remove(me);
}

#[test]
fn a_reader_that_becomes_an_owner_has_the_secrets() {
    let [mut a, mut b] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Owner)]);
    a.set_role(b.member(), Role::Reader);
    a.set_role(b.member(), Role::Owner);
    a.remove(a.member());
    sync(&mut [&mut a, &mut b]);
    assert_eq!(b.members().len(), 1);
    b.heal();
    b.publish("alone");
}

#[test]
fn a_revoked_device_does_not_count_as_an_owner() {
    let [mut a, mut c, mut c2] = nodes();
    a.create(Settings::with_history(), &[(c.member(), Role::Owner)]);
    c.space = a.space;
    sync(&mut [&mut a, &mut c]);
    let person = c.person();
    link(&mut c, &mut c2, person);
    sync(&mut [&mut a, &mut c, &mut c2]);
    heal_all(&mut [&mut a, &mut c, &mut c2]);
    assert_eq!(a.role(c2.id), Some(Role::Owner));
    // The device that remains was revoked, and the other one goes with its person.
    c.try_revoke(person, c2.id).unwrap();
    let actions = c.remove_member(a.id);
    assert_eq!(actions, Ok(()));
    let gone = c.remove_member(c.id);
    assert!(
        matches!(
            gone,
            Err(LocalError::LastOwner | LocalError::NoUsableOwner(_))
        ),
        "{gone:?}"
    );
    let me = c.member();
    let alone = c.try_do(|spaces, s, desk| spaces.remove(s, me, desk));
    assert!(alone.is_err(), "{alone:?}");
}
