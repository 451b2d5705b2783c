//! Messages that a stranger takes from others and signs again (`docs/protocol/spaces.md#9`).

use p2panda_spaces::{Event, LocalError, Log, Refusal, Role, Settings, Spaces};

use crate::native_world::{Node, Op, deliver, nodes, ops, sync};

#[test]
fn a_create_that_is_signed_again_makes_no_second_space() {
    let [mut a, mut b, mut thief] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    a.publish("mine");
    let all: Vec<Op> = ops(&a);
    let own = all
        .iter()
        .filter(|op| op.author == a.id && op.log == Log::Control);
    for op in own {
        thief.forge(Log::Control, op.dependencies.clone(), op.body.clone());
    }
    // The copies come first.
    b.space = a.space;
    deliver(&mut b, &ops(&thief));
    assert!(b.members().is_empty());
    sync(&mut [&mut a, &mut b]);
    assert_eq!(b.members(), a.members());
    assert!(!b.members().contains_key(&thief.id));
    assert!(b.reads("mine"));
    b.publish("goes on");
    sync(&mut [&mut a, &mut b]);
    assert!(a.reads("goes on"));
    let refused = |e: &Event| {
        let malformed = Refusal::Malformed;
        matches!(e, Event::Refused { refusal, .. } if *refusal == malformed)
    };
    assert!(b.events.iter().any(refused), "{:?}", b.events);
}

/// It was sealed by an editor, and is signed by a reader.
#[test]
fn what_a_reader_writes_is_refused_at_every_node() {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Editor), (c.member(), Role::Reader)];
    a.create(Settings::with_history(), &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    let space = b.s();
    let sealed = b.spaces.seal_content(space, b"not any more", &mut b.rng);
    let body = sealed.unwrap().body;
    a.set_role(b.member(), Role::Reader);
    sync(&mut [&mut a, &mut b, &mut c]);
    let error = b.spaces.seal_content(space, b"", &mut b.rng).unwrap_err();
    assert_eq!(error, LocalError::Role(Some(Role::Reader)));
    // After the message that made it a reader.
    let last = a.spaces.seal_content(space, b"", &mut a.rng).unwrap();
    let late = b.forge(Log::Content, last.dependencies, body);
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&a, &c] {
        assert!(node.refused.contains(&late));
        assert!(!node.reads("not any more"));
    }
}

#[test]
fn the_keys_of_somebody_else_open_nothing_for_a_thief() {
    let [mut a, mut b] = nodes();
    let mut thief = Node::new(9);
    let bundle = Spaces::bundle_body(&b.keys, b.now).unwrap();
    thief.forge(Log::Control, Vec::new(), bundle);
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    thief.space = a.space;
    sync(&mut [&mut a, &mut b, &mut thief]);
    a.add(thief.member(), Role::Reader);
    a.publish("for members");
    sync(&mut [&mut a, &mut b, &mut thief]);
    assert!(b.reads("for members"));
    assert!(thief.shown.is_empty());
    a.remove(thief.member());
    a.publish("goes on");
    sync(&mut [&mut a, &mut b, &mut thief]);
    assert!(b.reads("goes on") && thief.shown.is_empty());
}

#[test]
fn a_welcome_into_another_space_of_the_topic_is_ignored() {
    let [mut a, mut hostile, mut newcomer] = nodes();
    a.create(Settings::with_history(), &[]);
    hostile.create(Settings::with_history(), &[]);
    sync(&mut [&mut a, &mut newcomer]);
    deliver(&mut hostile, &ops(&newcomer));
    // What an invite names.
    newcomer.space = a.space;
    hostile.add(newcomer.member(), Role::Owner);
    hostile.publish("come in");
    deliver(&mut newcomer, &ops(&hostile));
    assert!(newcomer.members().is_empty() && newcomer.shown.is_empty());
    a.add(newcomer.member(), Role::Editor);
    a.publish("welcome");
    sync(&mut [&mut a, &mut newcomer]);
    assert!(newcomer.reads("welcome") && !newcomer.reads("come in"));
    assert!(!newcomer.members().contains_key(&hostile.id));
    newcomer.publish("hello");
    sync(&mut [&mut a, &mut newcomer]);
    assert!(a.reads("hello"));
}
