//! keys.json, hashes.json, topics.json, network-derivations.json

use std::fmt::{Debug, Display};

use p2panda_core::cbor::Writer;
use p2panda_core::{
    Hash, LogId, NetworkId, ParseError, Signature, SigningKey, Topic, VerifyingKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::file::{Entry, array, entries, file, hex};

#[test]
fn every_vector_of_keys() {
    for entry in entries("keys.json") {
        if entry.inputs.get("signing_key").is_some() {
            key_pair(&entry);
        } else if entry.inputs.get("signature").is_some() {
            signature(&entry);
        } else {
            key_bytes(&entry);
        }
    }
}

fn key_pair(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let key = SigningKey::from_bytes(&array(&inputs["signing_key"]));
    let author = key.verifying_key();
    assert_eq!(
        author.as_bytes()[..],
        hex(&expected["verifying_key"]),
        "{name}"
    );
    assert_eq!(
        cbor_bytes(author.as_bytes()),
        hex(&expected["verifying_key_cbor"]),
        "{name}"
    );
    assert_eq!(
        serde_json::to_string(&author).unwrap(),
        expected["verifying_key_json"]
    );
    serialized(author, author.as_bytes());
    for signed in expected["signatures"].as_array().unwrap() {
        let message = hex(&signed["message"]);
        let signature = key.sign(&message);
        assert_eq!(
            signature.as_bytes()[..],
            hex(&signed["signature"]),
            "{name}"
        );
        assert_eq!(
            Value::Bool(author.verify(&message, &signature).is_ok()),
            signed["valid"]
        );
        serialized(signature, signature.as_bytes());
    }
}

fn signature(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let author = VerifyingKey::from_bytes(array(&inputs["verifying_key"])).unwrap();
    let signature = Signature::from_bytes(array(&inputs["signature"]));
    let valid = author.verify(&hex(&inputs["message"]), &signature).is_ok();
    assert_eq!(Value::Bool(valid), expected["valid"], "{name}");
}

fn key_bytes(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let parsed = VerifyingKey::try_from(&hex(&inputs["verifying_key"])[..]);
    assert_eq!(
        Value::Bool(parsed.is_ok()),
        expected["key_parses"],
        "{name}"
    );
    let error = expected["error"].as_str().unwrap_or_default();
    match parsed {
        Ok(_) => assert_eq!(error, "", "{name}"),
        Err(ParseError::Length { expected, found }) => {
            assert_eq!(
                error,
                format!("InvalidLength({found}, {expected})"),
                "{name}"
            );
        }
        Err(ParseError::Key(_)) => assert!(error.starts_with("InvalidSignature"), "{name}"),
        Err(ParseError::Digit { .. } | ParseError::Digits { .. }) => panic!("{name} has no text"),
    }
}

#[test]
fn every_vector_of_hashes() {
    for Entry {
        name,
        inputs,
        expected,
    } in entries("hashes.json")
    {
        let hash = Hash::digest(&hex(&inputs["data"]));
        assert_eq!(hash.to_string(), expected["hash"], "{name}");
        assert_eq!(
            cbor_bytes(hash.as_bytes()),
            hex(&expected["hash_cbor"]),
            "{name}"
        );
        serialized(hash, hash.as_bytes());
    }
}

#[test]
fn every_vector_of_topics() {
    for Entry {
        name,
        inputs,
        expected,
    } in entries("topics.json")
    {
        if inputs.get("protocol_name").is_some() {
            let network = NetworkId::from_bytes(array(&inputs["network_id"]));
            assert_eq!(network, NetworkId::default(), "{name}");
            let alpn = network.alpn(&hex(&inputs["protocol_name"]));
            assert_eq!(alpn[..], hex(&expected["alpn"]), "{name}");
            serialized(network, network.as_bytes());
            continue;
        }
        let topic = Topic::from_bytes(array(&inputs["topic"]));
        let log_id = topic.log_id();
        assert_eq!(
            cbor_bytes(topic.as_bytes()),
            hex(&expected["topic_cbor"]),
            "{name}"
        );
        assert_eq!(log_id.to_string(), expected["log_id"], "{name}");
        assert_eq!(
            cbor_bytes(log_id.as_bytes()),
            hex(&expected["log_id_cbor"]),
            "{name}"
        );
        let overlay = &expected["sync_overlay_topic"];
        assert_eq!(topic.membership()[..], hex(overlay), "{name}");
        let mixed = Hash::digest_parts(&[topic.as_bytes(), &hex(&inputs["gossip_mix"])]);
        assert_eq!(topic.membership(), *mixed.as_bytes(), "{name}");
        serialized(topic, topic.as_bytes());
        serialized::<LogId>(log_id, log_id.as_bytes());
    }
}

#[test]
fn every_vector_of_network_derivations() {
    let file = file("network-derivations.json");
    assert_eq!(NetworkId::default().to_string(), file["default_network_id"]);
    for network in file["alpn"].as_array().unwrap() {
        let id = NetworkId::from_bytes(array(&network["network_id"]));
        for protocol in network["alpns"].as_array().unwrap() {
            let name = protocol["protocol_id_utf8"].as_str().unwrap();
            assert_eq!(
                id.alpn(name.as_bytes())[..],
                hex(&protocol["alpn"]),
                "{name}"
            );
        }
    }
    let mix = hex(&file["sync_gossip_mix_value"]);
    for topics in file["gossip_topics"].as_array().unwrap() {
        let topic = Topic::from_bytes(array(&topics["topic"]));
        let membership = hex(&topics["sync_membership_gossip_topic"]);
        assert_eq!(topic.membership()[..], membership);
        assert_eq!(
            Hash::digest_parts(&[topic.as_bytes(), &mix]).as_bytes()[..],
            membership
        );
        assert_eq!(topic.as_bytes()[..], hex(&topics["ephemeral_gossip_topic"]));
    }
}

fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(bytes);
    writer.into_bytes()
}

/// A value is hexadecimal text for people and a byte string for machines.
fn serialized<T>(value: T, bytes: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Display,
{
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(text, format!("\"{value}\""));
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value);
    let binary = postcard::to_allocvec(&value).unwrap();
    assert_eq!(binary, [&[bytes.len() as u8], bytes].concat());
    assert_eq!(postcard::from_bytes::<T>(&binary).unwrap(), value);
}
