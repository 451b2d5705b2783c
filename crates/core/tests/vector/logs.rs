//! validation.json, cursors.json

use bytes::Bytes;
use p2panda_core::log::{Head, LogError, check_append, check_successor};
use p2panda_core::{
    Cursor, Header, Heights, LogId, LogRange, Operation, PayloadMismatch, SigningKey, VerifyingKey,
    missing,
};
use serde_json::Value;

use crate::file::{Entry, array, entries, hex, optional};

#[test]
fn every_vector_of_validation() {
    for entry in entries("validation.json") {
        if entry.expected.get("operation").is_some() {
            body(&entry);
        } else {
            append(&entry);
        }
    }
}

fn header(value: &Value) -> Header {
    Header::decode(Bytes::from(hex(value))).unwrap()
}

fn body(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let header = header(&inputs["header"]);
    let outcome = Operation::check_body(&header, optional(&inputs["body"]).as_deref());
    let outcome = match outcome {
        Ok(()) => "ok",
        Err(PayloadMismatch) => "PayloadMismatch",
    };
    assert_eq!(outcome, expected["operation"], "{name}");
}

fn append(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let new = header(&inputs["header"]);
    let past = (!inputs["past_header"].is_null()).then(|| header(&inputs["past_header"]));
    let prune = inputs["prune_flag"].as_bool().unwrap();
    let strict = past
        .as_ref()
        .map(|past| published(check_successor(past, &new)));
    assert_eq!(
        strict.as_deref(),
        expected["strict_backlink"].as_str(),
        "{name}"
    );

    let prunable = match &past {
        // A log has one author: what another one wrote is never its head.
        Some(past) if past.author() != new.author() => published(check_successor(past, &new)),
        _ => published(check_append(past.as_ref().map(Head::of), &new, prune)),
    };
    let shares_a_place = past.is_some_and(|past| new.seq() <= past.seq());
    if prune && shares_a_place {
        // Ours refuses it, in the words of the strict rule.
        assert_eq!(Some(prunable), strict, "{name}");
    } else {
        assert_eq!(prunable, expected["prunable_backlink"], "{name}");
    }
}

fn published(outcome: Result<(), LogError>) -> String {
    match outcome {
        Ok(()) => "ok".into(),
        Err(LogError::SeqNumNonIncremental { expected, found }) => {
            format!("SeqNumNonIncremental({expected}, {found})")
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn every_vector_of_cursors() {
    for entry in entries("cursors.json") {
        let Entry {
            name,
            inputs,
            expected,
        } = &entry;
        if inputs.get("seeds").is_some() {
            author_order(&entry);
        } else if inputs.get("state").is_some() {
            let mut cursor = Cursor::new(inputs["name"].as_str().unwrap());
            for (author, log, seq) in heights(&inputs["state"]).iter() {
                assert!(cursor.advance(author, log, seq));
                assert!(!cursor.advance(author, log, seq));
            }
            assert_eq!(cursor.encode(), hex(&expected["cbor"]), "{name}");
            assert_eq!(
                Cursor::decode(&hex(&expected["cbor"])),
                Ok(cursor.clone()),
                "{name}"
            );
            let state = hex(&expected["log_heights_cbor"]);
            assert_eq!(cursor.heights.encode(), state, "{name}");
            assert_eq!(Heights::decode(&state), Ok(cursor.heights), "{name}");
        } else {
            let lacks = missing(&heights(&inputs["local"]), &heights(&inputs["remote"]));
            let needs = expected["remote_needs"].as_array().unwrap();
            assert_eq!(lacks, needs.iter().map(range).collect::<Vec<_>>(), "{name}");
        }
    }
}

fn author_order(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    assert_eq!(inputs["seeds"], "0..8 repeated byte seeds", "{name}");
    let key = |seed| SigningKey::from_bytes(&[seed; 32]).verifying_key();
    let mut authors: Vec<VerifyingKey> = (0..8).map(key).collect();
    authors.sort();
    let authors: Vec<Value> = authors
        .iter()
        .map(|author| author.to_string().into())
        .collect();
    assert_eq!(Value::from(authors), expected["sorted"], "{name}");
}

fn heights(state: &Value) -> Heights {
    let mut heights = Heights::new();
    for (author, logs) in state.as_object().unwrap() {
        for (log, seq) in logs.as_object().unwrap() {
            let seq = u32::try_from(seq.as_u64().unwrap()).unwrap();
            heights.raise(author.parse().unwrap(), log.parse().unwrap(), seq);
        }
    }
    heights
}

fn range(value: &Value) -> LogRange {
    let seq = |value: &Value| value.as_u64().map(|seq| u32::try_from(seq).unwrap());
    LogRange {
        author: VerifyingKey::from_bytes(array(&value["author"])).unwrap(),
        log: LogId::from_bytes(array(&value["log_id"])),
        after: seq(&value["after_exclusive"]),
        until: seq(&value["until_inclusive"]).unwrap(),
    }
}
