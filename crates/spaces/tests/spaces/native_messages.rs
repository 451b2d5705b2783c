//! Spaces with a key for each message (`docs/protocol/spaces-message.md`).

use p2panda_core::limits::{SPACE_SECRETS_LEFT_TOLD, SPACE_SECRETS_RESERVED_MAX};
use p2panda_spaces::{Content, Event, LocalError, Role, Scheme, Settings};

use crate::native_world::{Node, deliver, heal_all, nodes, ops, sync};

fn settings() -> Settings {
    Settings::with_a_key_per_message()
}

/// An owner and an editor.
fn pair() -> [Node; 2] {
    let [mut a, mut b] = nodes();
    a.create(settings(), &[(b.member(), Role::Editor)]);
    sync(&mut [&mut a, &mut b]);
    [a, b]
}

fn again(node: &mut Node, id: p2panda_core::Hash) -> Content {
    let (op, space) = (node.topic.ops[&id].clone(), node.s());
    let content = node
        .spaces
        .open_message(&space, &op.author, op.seq, &op.body);
    content.unwrap()
}

#[test]
fn members_read_each_other_and_nothing_opens_twice() {
    let [mut a, mut b] = pair();
    assert_eq!(b.spaces.scheme(&b.s()), Some(Scheme::Message));
    let by_a = [a.publish("one"), a.publish("two")];
    let by_b = b.publish("three");
    sync(&mut [&mut a, &mut b]);
    assert!(b.reads("one") && b.reads("two") && a.reads("three"));
    for node in [&mut a, &mut b] {
        node.restart();
        for id in by_a.iter().chain([&by_b]) {
            assert_eq!(again(node, *id), Content::Gone);
        }
    }
    b.publish("after a restart");
    a.publish("as well");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("after a restart") && b.reads("as well"));
}

#[test]
fn a_newcomer_reads_nothing_of_before_and_everything_after() {
    let [mut a, mut b, mut c] = nodes();
    a.create(settings(), &[(b.member(), Role::Editor)]);
    a.publish("old");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Editor);
    b.publish("by one who does not know");
    a.publish("new");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("new") && !c.reads("old"));
    assert!(!c.reads("by one who does not know"));
    c.publish("by the newcomer");
    b.publish("by one who knows");
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&a, &b, &c] {
        assert!(node.reads("by the newcomer") && node.reads("by one who knows"));
    }
    assert!(a.is_healthy() && b.is_healthy() && c.is_healthy());
}

#[test]
fn the_removed_read_nothing_later() {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Editor), (c.member(), Role::Editor)];
    a.create(settings(), &members);
    a.publish("first");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.remove(b.member());
    a.publish("later");
    sync(&mut [&mut a, &mut b, &mut c]);
    c.publish("later, by another one");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(b.reads("first") && c.reads("later"));
    assert!(!b.reads("later") && !b.reads("later, by another one"));
}

#[test]
fn messages_of_concurrent_epochs_are_read() {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(settings(), &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b] {
        node.try_do(|spaces, s, desk| spaces.rotate(s, desk))
            .unwrap();
    }
    a.publish("in one");
    b.publish("in the other");
    c.publish("in neither");
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&a, &b, &c] {
        assert!(node.reads("in one") && node.reads("in the other") && node.reads("in neither"));
    }
}

#[test]
fn a_member_added_during_a_rotation_reads_once_that_is_healed() {
    let [mut a, mut b, mut c] = nodes();
    a.create(settings(), &[(b.member(), Role::Owner)]);
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Editor);
    b.try_do(|spaces, s, desk| spaces.rotate(s, desk)).unwrap();
    b.publish("beside");
    sync(&mut [&mut a, &mut b, &mut c]);
    heal_all(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b, &mut c] {
        node.publish("healed");
    }
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(node.shown.values().filter(|t| *t == "healed").count(), 3);
        assert!(node.is_healthy());
    }
    assert!(!c.reads("beside"), "it was sealed for others");
}

#[test]
fn what_is_withdrawn_keeps_its_key_until_it_stands() {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Editor), (c.member(), Role::Editor)];
    a.create(settings(), &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    let beside = b.publish("beside the removal");
    a.remove(b.member());
    let all = ops(&a);
    deliver(&mut c, &all);
    let all = ops(&b);
    deliver(&mut c, &all);
    deliver(&mut a, &all);
    assert!(!c.reads("beside the removal") && !a.reads("beside the removal"));
    assert_eq!(again(&mut c, beside), Content::Withheld);
    a.add(b.member(), Role::Editor);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("beside the removal") && a.reads("beside the removal"));
    assert_eq!(again(&mut c, beside), Content::Gone);
}

#[test]
fn a_reader_that_is_made_an_editor_writes_in_the_same_epoch() {
    let [mut a, mut b] = nodes();
    a.create(settings(), &[(b.member(), Role::Reader)]);
    sync(&mut [&mut a, &mut b]);
    assert_eq!(
        b.try_publish("too early"),
        Err(LocalError::Role(Some(Role::Reader)))
    );
    a.set_role(b.member(), Role::Editor);
    sync(&mut [&mut a, &mut b]);
    b.publish("now");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("now"));
}

/// Nobody is sent the root of somebody who is alone, and it begins an epoch nevertheless.
#[test]
fn who_is_left_alone_makes_one_secret_and_writes_on() {
    let [mut a, mut b] = pair();
    b.try_do(|spaces, s, desk| {
        let me = p2panda_groups::Member::Individual(spaces.me());
        spaces.remove(s, me, desk)
    })
    .unwrap();
    sync(&mut [&mut a, &mut b]);
    let space = a.s();
    let left = a.spaces.secrets_left(&space);
    a.heal();
    assert!(a.is_healthy());
    assert_eq!(left - a.spaces.secrets_left(&space), 1);
    a.publish("alone");
    rotate(&mut a).unwrap();
    a.restart();
    a.publish("after a rotation");
    a.add(b.member(), Role::Editor);
    a.publish("for both");
    sync(&mut [&mut a, &mut b]);
    assert!(b.reads("for both") && !b.reads("alone") && !b.reads("after a rotation"));
    b.publish("back");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("back"));
}

fn rotate(node: &mut Node) -> Result<(), LocalError> {
    node.try_do(|spaces, s, desk| spaces.rotate(s, desk))
}

/// The numbers of secrets left that members were told.
fn told(node: &Node) -> Vec<usize> {
    let events = node.events.iter();
    let left = events.filter_map(|event| match event {
        Event::NearsEnd { left, .. } => Some(*left),
        _ => None,
    });
    left.collect()
}

#[test]
fn a_space_says_so_before_it_has_used_up_its_secrets() {
    for settings in [
        settings(),
        Settings::with_history(),
        Settings::from_joining_on(),
    ] {
        let [mut a, mut b, mut c] = nodes();
        a.create(settings, &[(b.member(), Role::Editor)]);
        sync(&mut [&mut a, &mut b, &mut c]);
        let space = a.s();
        let had = 10_000 - a.spaces.secrets_left(&space);
        let most = had + SPACE_SECRETS_RESERVED_MAX + 2;
        for node in [&mut a, &mut b, &mut c] {
            node.spaces.lower_secrets_max(&space, most);
        }
        // Two more are for anything, and each is told.
        assert!(told(&a).is_empty());
        rotate(&mut a).unwrap();
        rotate(&mut a).unwrap();
        sync(&mut [&mut a, &mut b, &mut c]);
        assert_eq!((told(&a), told(&b)), (vec![100], vec![100]));
        let left = SPACE_SECRETS_LEFT_TOLD[1];
        assert_eq!(left, SPACE_SECRETS_RESERVED_MAX);
        assert_eq!(rotate(&mut a), Err(LocalError::Ended { left }));
        // Additions make a secret in the message scheme and without history.
        let c_id = c.member();
        let added = a.try_do(|spaces, s, desk| spaces.add(s, c_id, Role::Editor, desk));
        match settings.history {
            false => assert_eq!(added, Err(LocalError::Ended { left })),
            true => added.unwrap(),
        }
        // The last one is for a removal, and then the members stay as they are, and write.
        for node in [&mut a, &mut b] {
            let had = most - node.spaces.secrets_left(&space);
            node.spaces.lower_secrets_max(&space, had + 1);
        }
        let members = a.members();
        a.remove(b.member());
        assert_eq!(told(&a).last(), Some(&0));
        assert!(!a.members().contains_key(&b.id) && members.contains_key(&b.id));
        a.publish("goes on");
        let left = 0;
        assert_eq!(rotate(&mut a), Err(LocalError::Ended { left }));
        if a.members().contains_key(&c.id) {
            let gone = a.try_do(|spaces, s, desk| spaces.remove(s, c_id, desk));
            assert_eq!(gone, Err(LocalError::Ended { left }));
            assert!(a.members().contains_key(&c.id), "nothing was signed");
            a.publish("still for both");
        }
    }
}

/// Checks that where a member removed itself, the others need a secret that they cannot have any
/// more.
#[test]
fn a_publish_into_a_space_that_has_ended_says_so() {
    let [mut a, mut b] = pair();
    let space = a.s();
    b.try_do(|spaces, s, desk| {
        let me = p2panda_groups::Member::Individual(spaces.me());
        spaces.remove(s, me, desk)
    })
    .unwrap();
    let had = 10_000 - a.spaces.secrets_left(&space);
    a.spaces.lower_secrets_max(&space, had);
    sync(&mut [&mut a, &mut b]);
    let left = 0;
    assert_eq!(a.try_publish("no"), Err(LocalError::Ended { left }));
    let healed = a.try_do(|spaces, s, desk| spaces.heal(s, desk));
    assert_eq!(healed, Err(LocalError::Ended { left }));
    a.spaces.lower_secrets_max(&space, had + 1);
    a.heal();
    a.publish("after one more");
}
