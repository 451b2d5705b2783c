//! `vectors/digest.json`: the digest of a state, its frame, and what is not a digest.

use p2panda_core::{Hash, Heights, LogId, NetworkId, VerifyingKey};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::digest::{Digest, State};
use serde_json::Value;

use crate::{encoded, hex, list, load, payload, tampered, text};

fn key<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("not 32 bytes: {text}"))
}

fn heights(authors: &Value) -> Heights {
    let mut heights = Heights::new();
    for (author, logs) in authors.as_object().unwrap() {
        for (log, seq) in logs.as_object().unwrap() {
            let seq = u32::try_from(seq.as_u64().unwrap()).unwrap();
            heights.raise(key::<VerifyingKey>(author), key::<LogId>(log), seq);
        }
    }
    heights
}

#[test]
fn the_protocol_has_an_alpn_of_its_own_in_every_network() {
    for network in list(&load("digest.json")["alpn"]) {
        let id: NetworkId = key(text(&network["network_id"]));
        let protocol = Protocol::DigestSync.id();
        assert_eq!(protocol, text(&network["protocol_id_utf8"]).as_bytes());
        assert_eq!(id.alpn(protocol)[..], hex(&network["alpn"]));
        assert_ne!(id.alpn(protocol), id.alpn(Protocol::LogSync.id()));
    }
}

#[test]
fn every_state_has_the_digest_of_the_vectors() {
    let file = load("digest.json");
    for entry in list(&file["states"]) {
        let name = text(&entry["name"]);
        let heights = heights(&entry["inputs"]["heights"]);
        let expected = &entry["expected"];
        assert_eq!(heights.encode(), hex(&expected["heights_cbor"]), "{name}");
        let hashed = [text(&file["context_utf8"]).as_bytes(), &heights.encode()];
        let state: Hash = key(text(&expected["state"]));
        assert_eq!(Hash::digest_parts(&hashed), state, "{name}");
        for (sender, frame) in expected["frame_by_sender"].as_object().unwrap() {
            let digest = State::of(&heights).digest(&key(sender));
            let frame = hex(frame);
            assert_eq!(encoded(|out| digest.encode(out)), frame, "{name}");
            assert_eq!(Digest::decode(payload(&frame)), Ok(digest), "{name}");
        }
    }
}

#[test]
fn every_payload_is_judged_as_the_vectors_say() {
    for entry in list(&load("digest.json")["payloads"]) {
        let verdict = match Digest::decode(hex(&entry["payload"])) {
            Ok(Digest::Known(_)) => "known",
            Ok(Digest::Unknown) => "unknown",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn no_changed_digest_counts_as_the_same() {
    for entry in list(&load("digest.json")["states"]) {
        for frame in entry["expected"]["frame_by_sender"]
            .as_object()
            .unwrap()
            .values()
        {
            let payload = payload(&hex(frame));
            let digest = Digest::decode(payload.clone()).unwrap();
            for changed in tampered(&payload) {
                let Ok(decoded) = Digest::decode(changed.clone()) else {
                    continue;
                };
                // Only the shape of the numbers in front may differ, never the digest itself.
                let same = decoded == digest;
                assert!(!same || changed.ends_with(&payload[4..]), "{changed:?}");
            }
        }
    }
}
