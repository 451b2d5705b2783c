//! `vectors/spaces-sealed.json`, `vectors/spaces-joining.json` and `vectors/spaces-message.json`:
//! spaces whose bytes are reproduced from the seeds of their nodes.

use p2panda_core::Hash;
use serde_json::{Value, json};

use super::body::{self, Body, DATA, KeyId, STRUCTURE, Structure};
use crate::native_world::{Node, Op, nodes, ops, sync};
use crate::recorded::{hex, is_recorded};
use crate::{Log, Role, Settings};

fn hexes(ids: &[Hash]) -> Vec<String> {
    ids.iter().map(|id| hex(id.as_bytes())).collect()
}

/// A life: create, two who write, one who comes later, a removal that is not known everywhere.
fn life(settings: Settings) -> [Node; 3] {
    let [mut a, mut b, mut c] = nodes();
    a.create(settings, &[(b.member(), Role::Editor)]);
    a.publish("first");
    sync(&mut [&mut a, &mut b, &mut c]);
    b.publish("second");
    sync(&mut [&mut a, &mut b, &mut c]);
    a.add(c.member(), Role::Reader);
    sync(&mut [&mut a, &mut b, &mut c]);
    a.remove(b.member());
    b.publish("beside the removal");
    a.publish("third");
    sync(&mut [&mut a, &mut b, &mut c]);
    [a, b, c]
}

fn operation(a: &Node, op: &Op) -> Value {
    let space = a.space.unwrap();
    let (known, native) = a.spaces.native(&space).unwrap();
    let mut value = json!({
        "id": hex(op.id.as_bytes()),
        "author": hex(op.author.as_bytes()),
        "log": op.log.name(),
        "seq": op.seq,
        "dependencies": hexes(&op.dependencies),
        "body": hex(&op.body),
    });
    match Body::decode(&op.body).unwrap() {
        Body::Bundle(_) | Body::Request(_) => value["kind"] = "keys".into(),
        Body::Control(envelope) => {
            let key = native.ring.get(&envelope.key).unwrap();
            let bound = ("control", &space, &op.author);
            let plain = body::open(key, &envelope.nonce, bound, &envelope.sealed).unwrap();
            let structure = Structure::decode(&plain).unwrap();
            assert_eq!(structure.encode(), plain);
            value["kind"] = "control".into();
            value["boxes"] = envelope.boxes.len().into();
            value["structure_key"] = hex(key.as_bytes()).into();
            value["key_id"] = KeyId::of(key).to_string().into();
            value["plaintext"] = hex(&plain).into();
        }
        Body::Message(chained) => {
            value["kind"] = "content".into();
            value["epoch"] = hex(chained.epoch.as_bytes()).into();
            value["generation"] = chained.generation.into();
            value["data"] = json!(a.kept.get(&op.id));
            value["verdict"] = format!("{:?}", a.verdict(&op.id).unwrap()).into();
        }
        Body::Content(encrypted) => {
            let secret = known.encryption.secrets().get(&encrypted.secret).unwrap();
            let key = secret.derive(DATA);
            let bound = ("content", &space, &op.author);
            let plain = body::open(&key, &encrypted.nonce, bound, &encrypted.sealed).unwrap();
            let structure = secret.derive(STRUCTURE);
            value["kind"] = "content".into();
            value["content_key"] = hex(key.as_bytes()).into();
            value["structure_key"] = hex(structure.as_bytes()).into();
            value["data"] = String::from_utf8(plain.to_vec()).unwrap().into();
            value["verdict"] = format!("{:?}", a.verdict(&op.id).unwrap()).into();
        }
    }
    assert_eq!(Body::decode(&op.body).unwrap().encode(), op.body);
    value
}

fn made(settings: Settings, format: &str) -> Value {
    let [a, b, c] = life(settings);
    let space = a.space.unwrap();
    let members = a.members();
    let member = |(key, role): (&_, &Role)| {
        let key: &p2panda_core::VerifyingKey = key;
        json!([hex(key.as_bytes()), role.to_string()])
    };
    let shown = |node: &Node| {
        let mut shown: Vec<&String> = node.shown.values().collect();
        shown.sort();
        json!(shown)
    };
    let node = |node: &Node| {
        json!({
            "signing_key": hex(node.key.to_bytes().as_slice()),
            "rng_seed": hex(node.key.to_bytes().as_slice()),
            "author": hex(node.id.as_bytes()),
            "shows": shown(node),
        })
    };
    let nodes = [&a, &b, &c].map(node);
    let members: Vec<Value> = members.iter().map(member).collect();
    let operations: Vec<Value> = ops(&a).iter().map(|op| operation(&a, op)).collect();
    json!({
        "format": format,
        "generator": "crates/spaces/src/sealed/vector_tests.rs; ids stand for operation ids",
        "nodes": nodes,
        "space": hex(space.as_bytes()),
        "group": hex(a.spaces.group(&space).unwrap().as_bytes()),
        "members": members,
        "operations": operations,
    })
}

#[test]
fn a_space_between_our_own_nodes_has_the_bytes_of_the_vector() {
    let settings = Settings::with_history();
    is_recorded(
        "spaces-sealed.json",
        &made(settings, "docs/protocol/spaces.md 14.3"),
    );
}

#[test]
fn a_space_without_history_has_the_bytes_of_the_vector() {
    let settings = Settings::from_joining_on();
    let made = made(settings, "docs/protocol/spaces.md 14.3");
    assert_eq!(made["nodes"][2]["shows"], json!(["third"]));
    is_recorded("spaces-joining.json", &made);
}

#[test]
fn a_space_with_a_key_per_message_has_the_bytes_of_the_vector() {
    let settings = Settings::with_a_key_per_message();
    let made = made(settings, "docs/protocol/spaces-message.md 9.1");
    is_recorded("spaces-message.json", &made);
}

#[test]
fn the_vector_shows_what_the_page_says() {
    let [a, b, c] = life(Settings::with_history());
    let shown = |node: &Node, text| node.reads(text);
    assert!(shown(&a, "first") && shown(&a, "second") && shown(&a, "third"));
    assert!(shown(&c, "first") && shown(&c, "second") && shown(&c, "third"));
    assert!(!shown(&b, "third"));
    assert!(
        [&a, &b, &c]
            .iter()
            .all(|node| !node.reads("beside the removal"))
    );
    let controls = a.topic.ops.values().filter(|op| op.log == Log::Control);
    assert_eq!(controls.count(), 3 + 3);
}
