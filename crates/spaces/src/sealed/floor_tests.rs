//! Effects of the suite of a space: what it stops, and whom.

use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::two_party::{Session, TwoPartyMessage};
use p2panda_encryption::{Bundle, Content, Context, DirectMessage, Lifetime, OwnKeys, SecretKey};
use p2panda_groups::GroupId;

use super::super::body::{self, Body, Envelope, KeyId, STRUCTURE, Settings, Structure};
use super::super::invites::Note;
use super::super::{Log, ReceiveError, Received, Scheme, Wait};
use super::SUITE;
use crate::native_world::{NOW, Node, nodes, sync};
use crate::{Event, LocalError, Refusal, Role, Spaces};

/// Three members: an owner, another owner, an editor.
fn world() -> [Node; 3] {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(Settings::with_history(), &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    [a, b, c]
}

/// The refusal of a suite that the version does not support.
fn no_suite(suite: u8) -> LocalError {
    LocalError::NoSuite {
        suite,
        supported: SUITE,
    }
}

fn without_suite(node: &mut Node) -> Vec<VerifyingKey> {
    let space = node.s();
    let context = Context::new(&mut node.keys, &mut node.registry, node.now);
    node.spaces.without_suite(&space, &context)
}

fn floor(node: &Node) -> u8 {
    node.spaces.floor(&node.s()).unwrap()
}

/// Raises the suite of a space, which the library's own API refuses while it does not speak it.
fn raise(node: &mut Node, suite: u8) {
    let note = Note::Floor(suite);
    node.try_do(|spaces, s, desk| {
        spaces.note_of_owner(s, note, desk)?;
        Ok(Vec::new())
    })
    .unwrap();
}

/// Signs a control message that the library would not make; without dependencies it names the last
/// ones.
fn forge(node: &mut Node, mut structure: Structure) -> Hash {
    let space = node.s();
    let (known, _) = node.spaces.native(&space).unwrap();
    if structure.dependencies.is_empty() {
        structure.dependencies = known.graph.heads();
    }
    let secrets = known.encryption.secrets();
    let key = secrets.latest().unwrap().derive(STRUCTURE);
    let (nonce, bound) = ([7; 24], ("control", &space, &node.id));
    let sealed = body::seal(&key, &nonce, bound, &structure.encode()).unwrap();
    let envelope = Envelope {
        boxes: Vec::new(),
        key: KeyId::of(&key),
        nonce,
        sealed,
    };
    let body = Body::Control(envelope).encode();
    node.forge(Log::Control, structure.dependencies, body)
}

fn refusals(node: &Node) -> Vec<Refusal> {
    let refused = |event: &Event| match event {
        Event::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    };
    node.events.iter().filter_map(refused).collect()
}

#[test]
fn a_native_space_is_safe_against_recordings_from_its_create() {
    let [a, b, c] = world();
    for node in [&a, &b, &c] {
        assert_eq!(floor(node), SUITE);
        assert!(node.spaces.is_post_quantum(&node.s()));
        assert!(node.spaces.supports(&node.s()));
    }
    let unknown = Spaces::new(a.id);
    assert_eq!(unknown.floor(&a.s()), None);
    assert!(!unknown.is_post_quantum(&a.s()));
}

#[test]
fn nobody_asks_for_a_suite_that_the_version_does_not_speak() {
    let [mut a, mut b, _] = world();
    let raised = a.try_do(|spaces, s, desk| {
        spaces.raise_floor(s, SUITE, desk)?;
        spaces.raise_floor(s, SUITE + 1, desk).map(|()| Vec::new())
    });
    assert_eq!(raised, Err(no_suite(SUITE + 1)));
    for suite in [SUITE - 1, SUITE + 1] {
        let settings = Settings::with_history().with_suite(suite);
        let created = b.try_act(|spaces, desk| spaces.create_sealed(settings, &[], desk));
        assert_eq!(created.err(), Some(no_suite(suite)));
    }
    sync(&mut [&mut a, &mut b]);
    assert_eq!((floor(&a), floor(&b)), (SUITE, SUITE));
}

#[test]
fn a_member_without_the_demanded_suite_loses_nothing() {
    let [mut a, mut b, mut c] = world();
    raise(&mut a, 3);
    let beside = b.publish("beside");
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(floor(node), 3);
        node.restart();
        assert_eq!(floor(node), 3, "after a restart");
        assert!(!node.spaces.supports(&node.s()));
        assert!(node.shown.contains_key(&beside), "what came before is read");
        assert_eq!(node.try_publish("late"), Err(LocalError::Suite(3)));
        let acts = [
            node.try_do(|spaces, s, desk| spaces.heal(s, desk)),
            node.try_do(|spaces, s, desk| spaces.rotate(s, desk)),
            node.try_do(|spaces, s, desk| spaces.ask(s, desk)),
        ];
        for act in acts {
            assert_eq!(act, Err(LocalError::Suite(3)));
        }
    }
    let member = c.member();
    let removed = b.try_do(|spaces, s, desk| spaces.remove(s, member, desk));
    assert_eq!(removed, Err(LocalError::Suite(3)));
    // A message after the raise waits for another version, and is no hole in its log.
    let after = forge(&mut a, Structure::default());
    sync(&mut [&mut a, &mut b, &mut c]);
    let op = b.topic.ops[&after].clone();
    assert!(!b.done.contains(&after) && !b.refused.contains(&after));
    let received = Received {
        id: op.id,
        author: op.author,
        seq: op.seq,
        dependencies: &op.dependencies,
        body: &op.body,
    };
    let space = b.s();
    let mut context = Context::new(&mut b.keys, &mut b.registry, NOW);
    let waits = b.spaces.receive_control(space, &received, &mut context);
    assert_eq!(waits, Err(ReceiveError::Wait(Wait::Suite(3))));
}

#[test]
fn members_without_valid_keys_of_the_suite_are_shown() {
    let [mut a, mut b, mut c] = world();
    assert!(without_suite(&mut a).is_empty());
    // The keys of the others expire, and nobody publishes new ones.
    a.now += PRE_KEY_LIFETIME_DEFAULT_S + 1;
    let mut others = vec![b.id, c.id];
    others.sort_unstable();
    assert_eq!(without_suite(&mut a), others);
    // The version does not support what the space requires: nobody has keys of it.
    raise(&mut b, 3);
    sync(&mut [&mut a, &mut b, &mut c]);
    let mut all = vec![a.id, b.id, c.id];
    all.sort_unstable();
    for node in [&mut a, &mut b, &mut c] {
        assert_eq!(without_suite(node), all);
    }
}

#[test]
fn everybody_else_is_told_who_raised_the_suite() {
    let [mut a, mut b, mut c] = world();
    raise(&mut a, 3);
    sync(&mut [&mut a, &mut b, &mut c]);
    let (space, author) = (a.s(), a.id);
    let told = Event::Floor {
        space,
        author,
        suite: 3,
    };
    for node in [&b, &c] {
        assert_eq!(node.events.iter().filter(|one| **one == told).count(), 1);
    }
}

#[test]
fn nobody_but_an_owner_raises_the_suite() {
    let [mut a, mut b, mut c] = world();
    let raised = c.try_do(|spaces, s, desk| {
        spaces.note_of_owner(s, Note::Floor(3), desk)?;
        Ok(Vec::new())
    });
    assert_eq!(raised, Err(LocalError::Role(Some(Role::Editor))));
    let notes = vec![Note::Floor(3)];
    let structure = Structure {
        notes,
        ..Structure::default()
    };
    forge(&mut c, structure);
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&a, &b] {
        assert_eq!(refusals(node), [Refusal::Role(Some(Role::Editor))]);
        assert_eq!(floor(node), SUITE);
    }
    a.publish("goes on");
}

#[test]
fn the_greatest_of_several_raises_holds_in_any_order() {
    let [mut a, mut b, mut c] = world();
    raise(&mut a, 4);
    raise(&mut b, 3);
    let before = b.spaces.floor(&b.s());
    sync(&mut [&mut a, &mut c]);
    sync(&mut [&mut b, &mut c]);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert_eq!(before, Some(3));
    assert_eq!([floor(&a), floor(&b), floor(&c)], [4, 4, 4]);
}

/// A message of suite 1, as it is to anybody.
fn classic() -> TwoPartyMessage {
    let [mut sender, receiver] = [1, 2].map(|seed| Node::new(seed).rng).map(|mut rng| {
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_prekey(Lifetime::starting(NOW, 1_000), &mut rng);
        (keys, rng)
    });
    let bundle = receiver.0.long_term_bundle(NOW).unwrap();
    let mut session = Session::to_send(Bundle::LongTerm(bundle));
    session
        .send(&sender.0, b"panda", NOW, &mut sender.1)
        .unwrap()
}

#[test]
fn a_secret_of_a_lower_suite_is_refused_by_everybody() {
    let [mut a, mut b, mut c] = world();
    let space = a.s();
    let group: GroupId = a.spaces.group(&space).unwrap();
    let founded = Hash::from_bytes(*space.as_bytes());
    let ciphertext = classic();
    let structure = Structure {
        pointer: Some((group, founded)),
        directs: vec![DirectMessage {
            content: Content::TwoParty { ciphertext },
            recipient: a.id,
        }],
        ..Structure::default()
    };
    forge(&mut b, structure);
    sync(&mut [&mut a, &mut b, &mut c]);
    for node in [&a, &b, &c] {
        assert_eq!(refusals(node), [Refusal::Suite(SUITE)]);
    }
    c.publish("goes on");
}

#[test]
fn a_space_that_begins_with_a_suite_that_we_do_not_speak_waits() {
    let [a, mut b, _] = world();
    let space = a.s();
    let creates = |op: &&crate::native_world::Op| {
        let body = Body::decode(&op.body);
        op.author == a.id && matches!(body, Ok(Body::Control(_)))
    };
    let create = a.topic.ops.values().find(creates).unwrap();
    let Ok(Body::Control(mut envelope)) = Body::decode(&create.body) else {
        unreachable!()
    };
    let (_, native) = a.spaces.native(&space).unwrap();
    let key = native.ring.get(&envelope.key).unwrap();
    let bound = ("control", &space, &a.id);
    let plain = body::open(key, &envelope.nonce, bound, &envelope.sealed).unwrap();
    let mut structure = Structure::decode(&plain).unwrap();
    let settings = structure.settings.unwrap();
    structure.settings = Some(Settings {
        floor: 3,
        ..settings
    });
    envelope.sealed = body::seal(key, &envelope.nonce, bound, &structure.encode()).unwrap();
    let body = Body::Control(envelope).encode();
    let received = Received {
        id: Hash::digest(&body),
        author: a.id,
        seq: create.seq,
        dependencies: &[],
        body: &body,
    };
    let mut context = Context::new(&mut b.keys, &mut b.registry, NOW);
    let mut fresh = Spaces::new(b.id);
    fresh.glance(None, &a.id, &body, &mut context).unwrap();
    let waits = fresh.receive_control(space, &received, &mut context);
    assert_eq!(waits, Err(ReceiveError::Wait(Wait::Suite(3))));
    assert_eq!(fresh.ids().count(), 0);
}

#[test]
fn a_space_of_the_message_scheme_has_no_history() {
    let [mut a] = nodes();
    let settings = Settings {
        scheme: Scheme::Message,
        ..Settings::with_history()
    };
    let made = a.try_act(|spaces, desk| spaces.create_sealed(settings, &[], desk));
    assert_eq!(made.err(), Some(LocalError::History));
    assert_eq!(a.spaces.ids().count(), 0);
}

#[test]
fn the_suite_is_written_only_where_it_is_a_greater_one() {
    use p2panda_core::cbor::{self, Reader, Writer};
    let read = |bytes: &[u8]| Settings::read(&mut Reader::new(bytes, cbor::VALUE));
    let settings = Settings::with_history();
    let raised = Settings {
        floor: 3,
        ..settings
    };
    let of_messages = Settings::with_a_key_per_message();
    for (settings, bytes) in [
        (settings, &[0x82, 0, 0xf5][..]),
        (raised, &[0x83, 0, 0xf5, 3]),
        (of_messages, &[0x82, 1, 0xf4]),
    ] {
        let mut w = Writer::new();
        settings.write(&mut w);
        assert_eq!(w.into_bytes(), bytes);
        assert_eq!(read(bytes).unwrap(), settings);
    }
    for refused in [
        &[0x83, 0, 0xf5, 0][..],
        &[0x83, 0, 0xf5, 1],
        &[0x83, 0, 0xf5, 2],
        &[0x83, 0, 0xf5, 0x19, 1, 0],
        &[0x83, 2, 0xf5, 3],
        &[0x82, 2, 0xf5],
        &[0x82, 1, 0xf5],
        &[0x84, 0, 0xf5, 3, 3],
    ] {
        assert!(read(refused).is_err(), "{refused:?}");
    }
}
