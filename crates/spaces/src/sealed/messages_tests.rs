//! Tests what a stolen state opens, and what the network cannot change.

use p2panda_core::Hash;

use super::super::body::{self, Body, Envelope, KeyId, STRUCTURE, Structure};
use super::super::{Log, Received, Settings};
use super::*;
use crate::native_world::{Node, nodes, sync};

fn world() -> [Node; 3] {
    let [mut a, mut b, mut c] = nodes();
    let members = [(b.member(), Role::Owner), (c.member(), Role::Editor)];
    a.create(Settings::with_a_key_per_message(), &members);
    sync(&mut [&mut a, &mut b, &mut c]);
    // Each channel has carried messages in both directions.
    for at in 0..3 {
        let all = &mut [&mut a, &mut b, &mut c];
        all[at]
            .try_do(|spaces, s, desk| spaces.rotate(s, desk))
            .unwrap();
        sync(all);
    }
    [a, b, c]
}

/// A control message of an author.
fn structure_of(node: &Node, id: &Hash) -> Structure {
    let (op, space) = (&node.topic.ops[id], node.s());
    let (_, native) = node.spaces.native(&space).unwrap();
    let Body::Control(envelope) = Body::decode(&op.body).unwrap() else {
        panic!("it is a control message")
    };
    let key = native.ring.get(&envelope.key).unwrap();
    let bound = ("control", &space, &op.author);
    let plain = body::open(key, &envelope.nonce, bound, &envelope.sealed).unwrap();
    Structure::decode(&plain).unwrap()
}

fn epoch_of(node: &Node, id: &Hash) -> Chained {
    match Body::decode(&node.topic.ops[id].body).unwrap() {
        Body::Message(chained) => chained,
        _ => panic!("it is content"),
    }
}

/// The state that a thief finds.
fn rows(node: &mut Node) -> Vec<Vec<u8>> {
    node.restart();
    let keys = node.keys.changes().into_iter();
    let keys = keys.filter_map(|row| Some(row.value?.to_vec()));
    node.stored.values().cloned().chain(keys).collect()
}

#[test]
fn a_stolen_state_holds_no_key_of_what_was_opened() {
    let [mut a, mut b, mut c] = world();
    let text = a.publish("secret of today");
    let chained = epoch_of(&a, &text);
    let (_, native) = c.spaces.native(&c.s()).unwrap();
    let found = native.chains.find(chained.epoch, &a.id, chained.generation);
    let Found::Key(key) = found else {
        panic!("it was not opened yet")
    };
    let chain = &native.chains.chains[&(chained.epoch, a.id)].secret;
    let secrets = [key.as_bytes().to_vec(), chain.as_bytes().to_vec()];
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(c.reads("secret of today"));
    for node in [&mut a, &mut b, &mut c] {
        let stolen = rows(node);
        for secret in &secrets {
            let holds = |row: &Vec<u8>| row.windows(32).any(|part| part == secret);
            assert!(!stolen.iter().any(holds), "{:?}", node.id);
        }
        let (op, space) = (node.topic.ops[&text].clone(), node.s());
        let again = node
            .spaces
            .open_message(&space, &op.author, op.seq, &op.body);
        assert_eq!(again, Ok(Content::Gone));
    }
}

/// A member signs the direct messages of an epoch again, for a thief with a stolen state.
#[test]
fn a_stolen_state_opens_no_root_again() {
    let [mut a, mut b, mut c] = world();
    a.try_do(|spaces, s, desk| spaces.rotate(s, desk)).unwrap();
    let text = a.publish("in that epoch");
    let epoch = epoch_of(&a, &text).epoch;
    sync(&mut [&mut a, &mut b, &mut c]);
    c.restart();
    let structure = structure_of(&a, &epoch);
    assert!(structure.directs.iter().any(|d| d.recipient == c.id));
    let space = c.s();
    let (known, native) = c.spaces.native(&space).unwrap();
    let epochs = native.chains.epochs.len();
    let key = known
        .encryption
        .secrets()
        .latest()
        .unwrap()
        .derive(STRUCTURE);
    let (nonce, bound) = ([7; 24], ("control", &space, &a.id));
    let sealed = body::seal(&key, &nonce, bound, &structure.encode()).unwrap();
    let envelope = Envelope {
        boxes: Vec::new(),
        key: KeyId::of(&key),
        nonce,
        sealed,
    };
    let body = Body::Control(envelope).encode();
    let again = a.forge(Log::Control, structure.dependencies, body);
    sync(&mut [&mut a, &mut c]);
    assert!(c.done.contains(&again));
    let (_, native) = c.spaces.native(&space).unwrap();
    assert_eq!(native.chains.epochs.len(), epochs, "no root was opened");
}

/// Content of an author who did not receive the root of its epoch, and content with a generation
/// past the end of a chain.
#[test]
fn who_has_no_chain_in_an_epoch_is_refused_in_it() {
    let [mut a, mut b, mut c] = world();
    let text = b.publish("by a member");
    let mut chained = epoch_of(&b, &text);
    sync(&mut [&mut a, &mut b, &mut c]);
    let dependencies = b.topic.ops[&text].dependencies.clone();
    chained.generation = p2panda_core::limits::SPACE_CHAIN_MESSAGES_MAX;
    let body = Body::Message(chained.clone()).encode();
    let past_the_end = b.forge(Log::Content, dependencies.clone(), body);
    chained.generation = 9;
    let body = Body::Message(chained).encode();
    let garbage = b.forge(Log::Content, dependencies, body);
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.refused.contains(&past_the_end) && a.refused.contains(&garbage));
    let op = a.topic.ops[&past_the_end].clone();
    let space = a.s();
    let refused = a.spaces.open_message(&space, &op.author, op.seq, &op.body);
    assert_eq!(refused, Ok(Content::Refused(Refusal::Epoch)));
    // A message that did not open erases no key.
    b.publish("afterwards");
    sync(&mut [&mut a, &mut b, &mut c]);
    assert!(a.reads("afterwards"));
}

#[test]
fn content_of_another_scheme_is_no_message_of_the_space() {
    let [mut a, mut b] = nodes();
    a.create(Settings::with_history(), &[(b.member(), Role::Editor)]);
    sync(&mut [&mut a, &mut b]);
    let chained = Chained {
        epoch: Hash::digest(b"epoch"),
        generation: 0,
        nonce: [0; 24],
        sealed: vec![0; 16],
    };
    let body = Body::Message(chained).encode();
    let space = b.s();
    let received = Received {
        id: Hash::digest(&body),
        author: a.id,
        seq: 0,
        dependencies: &[],
        body: &body,
    };
    let content = b.spaces.receive_content(space, &received);
    let expected = crate::ReceiveError::Invalid(crate::Invalid::Variant);
    assert_eq!(content, Err(expected));
}
