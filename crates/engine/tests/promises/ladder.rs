//! `vectors/streams-ingest.json`: what may enter a log, and in which order that is asked.

use bytes::Bytes;
use p2panda_core::{Header, Received, Refused, Topic, Verifier, VerifyingKey};
use p2panda_engine::{Incoming, Outcome, verify};
use serde_json::{Value, json};

use crate::node::{ALL, Node, session};

pub fn unhex(value: &Value) -> Bytes {
    let text = value.as_str().unwrap();
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

pub fn optional(value: &Value) -> Option<Bytes> {
    (!value.is_null()).then(|| unhex(value))
}

/// Makes what a session hands over for these bytes.
pub fn received(header: Bytes, body: Option<Bytes>) -> Received {
    match Header::decode_unverified(header.clone()) {
        Ok(header) => Received::Operation { header, body },
        Err(_) => {
            let body_bytes = body.map_or(0, |body| body.len());
            Received::Refused(Refused::undecodable(&header, body_bytes))
        }
    }
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Stored { .. } => "stored".into(),
        Outcome::BodyFilled => "body filled".into(),
        Outcome::Rejected(reason) => format!("rejected {reason:?}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn step(node: &mut Node, file: &Value, step: &Value) -> String {
    let operation = &file["operations"][step["operation"].as_str().unwrap()];
    let topics = topics(file);
    let topic = topics[step["topic"].as_u64().unwrap_or(0) as usize];
    let body = match &step["body"] {
        Value::Bool(false) => None,
        _ => optional(&step["other_body"]).or(optional(&operation["body"])),
    };
    let received = received(unhex(&operation["header"]), body);
    let incoming: Incoming = verify(&mut Verifier::default(), received);
    word(node.ingest_any(session(1), topic, vec![incoming])[0])
}

fn topics(file: &Value) -> Vec<Topic> {
    let topics = file["topics"].as_array().unwrap().iter();
    topics
        .map(|topic| Topic::from_bytes(unhex(topic).as_ref().try_into().unwrap()))
        .collect()
}

/// Height, beginning and evidence of the logs that the vector names, as they are here.
fn stored(node: &Node, file: &Value, log: &Value) -> Value {
    let topic = topics(file)[log["topic"].as_u64().unwrap() as usize];
    let label: [u8; 32] = unhex(&log["label"]).as_ref().try_into().unwrap();
    let label = VerifyingKey::from_bytes_unchecked(label);
    let reader = node.reader();
    let page = reader
        .log_page(&topic, &label, None, u32::MAX, ALL)
        .unwrap();
    let seqs = page.entries.iter().map(|entry| entry.header.seq());
    let evidence = reader.forks(&topic, 10).unwrap();
    let evidence = evidence
        .iter()
        .map(|row| Header::decode(Bytes::copy_from_slice(&row.second)).unwrap())
        .filter(|header| header.label() == label)
        .map(|header| header.seq());
    json!({
        "topic": log["topic"],
        "label": log["label"],
        "height": seqs.clone().max(),
        "begins": seqs.min(),
        "evidence": evidence.collect::<Vec<u32>>(),
    })
}

#[test]
fn every_step_of_the_ladder_has_the_outcome_of_the_page() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(path.join("../../vectors/streams-ingest.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let mut node = Node::new();
        let steps = vector["steps"].as_array().unwrap().iter();
        let outcomes: Vec<String> = steps.map(|one| step(&mut node, &file, one)).collect();
        assert_eq!(json!(outcomes), vector["outcomes"], "{}", vector["name"]);
        let logs = vector["logs"].as_array().unwrap().iter();
        for log in logs {
            assert_eq!(stored(&node, &file, log), *log, "{}", vector["name"]);
        }
    }
}
