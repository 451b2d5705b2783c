//! The form of 0.7.1 (`docs/protocol/spaces.md#3`).

use p2panda_core::Hash;
use p2panda_core::limits::SPACE_DEPENDENCIES_MAX;
use p2panda_spaces::{Invalid, SpaceId, SpacesArgs};
use serde_json::Value;

use crate::file::{bytes, read, text};

/// The bytes of every message in the vectors.
fn messages() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for value in read("spaces-wire.json")["values"].as_array().unwrap() {
        let name = text(value, "value").to_string();
        all.push((name, bytes(text(value, "cbor"))));
    }
    for scenario in read("spaces-scenarios.json")["scenarios"]
        .as_array()
        .unwrap()
    {
        for message in scenario["messages"].as_array().unwrap() {
            let name = format!("{} {}", text(scenario, "name"), text(message, "label"));
            all.push((name, bytes(text(message, "args_cbor"))));
        }
    }
    all
}

#[test]
fn every_message_is_read_and_written_byte_for_byte() {
    let messages = messages();
    assert!(messages.len() > 120, "{}", messages.len());
    for (name, cbor) in messages {
        let args = SpacesArgs::decode(&cbor).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(args.encode() == cbor, "{name}");
    }
}

#[test]
fn dependencies_are_those_that_the_vectors_name() {
    for scenario in read("spaces-scenarios.json")["scenarios"]
        .as_array()
        .unwrap()
    {
        for message in scenario["messages"].as_array().unwrap() {
            let args = SpacesArgs::decode(&bytes(text(message, "args_cbor"))).unwrap();
            let named: Vec<String> = args.dependencies().iter().map(Hash::to_string).collect();
            let expected: Vec<Value> = named.into_iter().map(Value::from).collect();
            assert_eq!(message["dependencies"], Value::from(expected));
        }
    }
}

#[test]
fn a_cut_or_longer_message_is_refused() {
    for (name, cbor) in messages() {
        for len in (0..cbor.len()).step_by(7) {
            assert!(SpacesArgs::decode(&cbor[..len]).is_err(), "{name} at {len}");
        }
        let longer = [&cbor[..], &[0]].concat();
        assert!(SpacesArgs::decode(&longer).is_err(), "{name}");
    }
}

#[test]
fn the_bound_of_dependencies_is_inclusive() {
    let with = |count: usize| {
        SpacesArgs::Update {
            group: p2panda_core::SigningKey::from_bytes(&[1; 32])
                .verifying_key()
                .into(),
            space: SpaceId::from_bytes([1; 32]),
            dependencies: vec![Hash::digest(b"it"); count],
        }
        .encode()
    };
    assert!(SpacesArgs::decode(&with(SPACE_DEPENDENCIES_MAX)).is_ok());
    let above = SpacesArgs::decode(&with(SPACE_DEPENDENCIES_MAX + 1));
    assert_eq!(above, Err(Invalid::TooLong));
}
