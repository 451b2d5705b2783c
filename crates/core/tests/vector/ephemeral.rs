//! ephemeral.json, network-ephemeral.json

use bytes::Bytes;
use p2panda_core::cbor::{self, Writer};
use p2panda_core::limits::{EPHEMERAL_BYTES_MAX, GOSSIP_PAYLOAD_BYTES_MAX};
use p2panda_core::{EphemeralError, EphemeralMessage, HybridTimestamp, Signature, SigningKey};
use serde_json::Value;

use crate::file::{Entry, array, entries, file, hex, write_json};

#[test]
fn every_vector_of_ephemeral() {
    for Entry {
        name,
        inputs,
        expected,
    } in entries("ephemeral.json")
    {
        let mut body = Writer::new();
        write_json(&mut body, &inputs["body"]);
        assert_eq!(body.as_bytes(), hex(&inputs["body_cbor"]), "{name}");
        Message {
            name: &name,
            key: SigningKey::from_bytes(&array(&inputs["signing_key"])),
            timestamp: timestamp(&inputs["timestamp"], &inputs["lamport"]),
            body: hex(&inputs["body_cbor"]),
            signing_bytes: hex(&expected["signing_bytes"]),
            signature: Signature::from_bytes(array(&expected["signature"])),
            message: hex(&expected["message_bytes"]),
        }
        .check();
    }
}

#[test]
fn every_vector_of_network_ephemeral() {
    let file = file("network-ephemeral.json");
    let captured = file["captured"].as_array().unwrap();
    for vector in captured.iter().chain([&file["crafted"]]) {
        let key = SigningKey::from_bytes(&array(&vector["signing_key"]));
        assert_eq!(key.verifying_key().to_string(), vector["verifying_key"]);
        let mut body = Writer::new();
        body.text(vector["body_text"].as_str().unwrap());
        let rest = hex(&vector["rest_after_signature"]);
        assert!(rest.ends_with(body.as_bytes()));
        assert!(hex(&vector["message"]).ends_with(&rest));
        Message {
            name: vector["body_text"].as_str().unwrap(),
            key,
            timestamp: timestamp(&vector["timestamp_micros"], &vector["lamport"]),
            body: body.into_bytes(),
            signing_bytes: hex(&vector["signed_payload"]),
            signature: Signature::from_bytes(array(&vector["signature"])),
            message: hex(&vector["message"]),
        }
        .check();
    }
    let sizes = &file["size_limits_default_config"];
    assert_eq!(
        sizes["largest_gossip_payload_delivered"],
        GOSSIP_PAYLOAD_BYTES_MAX
    );
    assert_eq!(
        sizes["smallest_gossip_payload_lost"],
        GOSSIP_PAYLOAD_BYTES_MAX + 1
    );
    assert_eq!(sizes["publish_api_error_above"], EPHEMERAL_BYTES_MAX);
}

/// The two cases that the file describes in words.
#[test]
fn the_rejected_cases_of_the_network_ephemeral_vectors() {
    let file = file("network-ephemeral.json");
    for vector in file["captured"].as_array().unwrap() {
        let message = hex(&vector["message"]);
        let mut version = message.clone();
        version[1] = 2;
        let refused = EphemeralMessage::open(version.into());
        assert_eq!(
            refused,
            Err(EphemeralError::UnsupportedVersion { found: 2 })
        );
        let mut other = message;
        *other.last_mut().unwrap() ^= 1;
        let refused = EphemeralMessage::open(other.into());
        assert_eq!(refused, Err(EphemeralError::InvalidSignature));
    }
}

fn timestamp(micros: &Value, lamport: &Value) -> HybridTimestamp {
    HybridTimestamp::new(micros.as_u64().unwrap(), lamport.as_u64().unwrap())
}

struct Message<'a> {
    name: &'a str,
    key: SigningKey,
    timestamp: HybridTimestamp,
    body: Vec<u8>,
    signing_bytes: Vec<u8>,
    signature: Signature,
    message: Vec<u8>,
}

impl Message<'_> {
    fn check(self) {
        let Message {
            name,
            key,
            timestamp,
            body,
            signing_bytes,
            signature,
            message,
        } = self;
        let author = key.verifying_key();
        assert_eq!(key.sign(&signing_bytes), signature, "{name}");
        assert_eq!(author.verify(&signing_bytes, &signature), Ok(()), "{name}");
        assert_eq!(envelope(&signing_bytes, &signature), message, "{name}");
        assert_eq!(cbor::check(&message, cbor::VALUE), Ok(()), "{name}");

        let sealed = EphemeralMessage::seal(&key, timestamp, &body);
        let opened = EphemeralMessage::open(Bytes::from(message.clone()));
        if timestamp.wall.as_micros() == 0 {
            // Such a message reads like an operation's header, so ours never has it.
            assert_eq!(sealed, Err(EphemeralError::ClockZero), "{name}");
            assert_eq!(opened, Err(EphemeralError::ClockZero), "{name}");
            return;
        }
        assert_eq!(sealed.unwrap(), message, "{name}");
        let expected = EphemeralMessage {
            author,
            timestamp,
            body: Bytes::from(body),
        };
        assert_eq!(opened, Ok(expected), "{name}");
    }
}

/// Puts the signature after version and key.
fn envelope(signing_bytes: &[u8], signature: &Signature) -> Vec<u8> {
    let (before, after) = signing_bytes[1..].split_at(1 + 34);
    let mut writer = Writer::new();
    writer
        .array(6)
        .raw(before)
        .bytes(signature.as_bytes())
        .raw(after);
    writer.into_bytes()
}
