//! `vectors/streams-order.json`: what each step adds to the feed.

use std::collections::{BTreeSet, HashMap};

use p2panda_core::{Hash, Phase, Topic, Verifier};
use p2panda_engine::verify;
use p2panda_store::FeedEntry;
use serde_json::{Value, json};

use crate::ladder::{optional, received, unhex};
use crate::node::{Node, TOPIC, session};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn take(node: &mut Node, file: &Value, step: &Value) {
    if let Some(us) = step["wait_us"].as_u64() {
        node.wait(us);
        return;
    }
    let number = step["session"].as_u64().unwrap_or(1);
    if let Some(phase) = step["phase"].as_str() {
        let phase = match phase {
            "catch_up" => Phase::CatchUp,
            "live" => Phase::Live,
            _ => Phase::Ended,
        };
        node.session(number, phase);
        return;
    }
    let operation = &file["operations"][step["operation"].as_str().unwrap()];
    let body = match &step["body"] {
        Value::Bool(false) => None,
        _ => optional(&operation["body"]),
    };
    let received = received(unhex(&operation["header"]), body);
    let incoming = verify(&mut Verifier::default(), received);
    node.ingest_any(session(number), TOPIC, vec![incoming]);
}

fn shown(entry: &FeedEntry, names: &HashMap<Hash, &String>) -> Value {
    let missing = entry.missing.iter().map(|one| {
        json!({
            "author": hex(one.author.as_bytes()),
            "log": one.log.map(|log| hex(log.as_bytes())),
            "seq": one.seq,
            "id": hex(one.id.as_bytes()),
        })
    });
    let missing: Vec<Value> = missing.collect();
    json!({ "operation": names[&entry.header.id()], "missing": missing })
}

#[test]
fn each_step_shows_what_the_vector_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path.join("../../vectors/streams-order.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let topic: [u8; 32] = unhex(&file["topic"]).as_ref().try_into().unwrap();
    assert_eq!(Topic::from_bytes(topic), TOPIC);
    let operations = file["operations"].as_object().unwrap();
    let names: HashMap<Hash, &String> = operations
        .iter()
        .map(|(name, operation)| (Hash::digest(&unhex(&operation["header"])), name))
        .collect();
    for vector in file["vectors"].as_array().unwrap() {
        let (mut node, mut seen) = (Node::new(), BTreeSet::new());
        let mut steps = Vec::new();
        for step in vector["steps"].as_array().unwrap() {
            take(&mut node, &file, step);
            let feed = node.feed();
            let new = feed.iter().filter(|entry| seen.insert(entry.header.id()));
            steps.push(new.map(|entry| shown(entry, &names)).collect::<Vec<_>>());
        }
        assert_eq!(json!(steps), vector["shown"], "{}", vector["name"]);
    }
}
