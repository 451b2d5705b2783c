//! `vectors/recovery-content.json`: what a recovery file holds.

use p2panda_core::{NetworkId, SigningKey, Topic};
use p2panda_encryption::Wire;
use serde_json::{Value, json};

use super::{RecoveryContent, RecoveryError, SpaceSecrets};
use crate::native_world::{NOW, nodes, sync};
use crate::recorded::{hex, is_recorded};
use crate::{PersonCard, Role, Settings};

/// A person with a device space of which it has no secrets, and a space into which it came by a new secret, so
/// that it has a structure key of before.
fn content() -> RecoveryContent {
    let [mut ada, mut ben] = nodes();
    ada.create(Settings::from_joining_on(), &[]);
    ben.space = ada.space;
    ada.add(ben.member(), Role::Owner);
    sync(&mut [&mut ada, &mut ben]);
    let made = ben.try_act(|spaces, desk| spaces.create_person(&[], desk));
    let person = made.unwrap().0;
    let key = SigningKey::from_bytes(&[4; 32]);
    ben.try_act(|spaces, desk| spaces.add_device(person, key.verifying_key(), desk))
        .unwrap();
    let card = PersonCard {
        spaces: vec![(Topic::from_bytes([5; 32]), ben.s())],
        of_devices: Some((
            Topic::from_bytes([6; 32]),
            crate::SpaceId::from_bytes([7; 32]),
        )),
        ..ben.spaces.card(person).unwrap()
    };
    RecoveryContent {
        network: NetworkId::from_bytes([8; 32]),
        key,
        written: NOW,
        card,
        secrets: vec![
            SpaceSecrets::default(),
            ben.spaces.secrets_of(&ben.s()).unwrap(),
        ],
    }
}

fn shown(content: &RecoveryContent) -> Value {
    let spaces = content.card.followed().zip(&content.secrets);
    let spaces = spaces.map(|((topic, space), secrets)| {
        let keys = secrets.keys.iter().map(|key| hex(key.as_bytes()));
        json!({
            "topic": hex(topic.as_bytes()),
            "space": hex(space.as_bytes()),
            "secrets": hex(&secrets.secrets.encode()),
            "keys": keys.collect::<Vec<_>>(),
        })
    });
    let operations = content.card.operations.iter().map(|bytes| hex(bytes));
    json!({
        "network": hex(content.network.as_bytes()),
        "key": hex(content.key.to_bytes().as_slice()),
        "written": content.written,
        "person": hex(content.card.person.as_bytes()),
        "operations": operations.collect::<Vec<_>>(),
        "spaces": spaces.collect::<Vec<_>>(),
    })
}

fn entry(name: &str, bytes: &[u8]) -> Value {
    let expected = match RecoveryContent::decode(bytes) {
        Ok(content) => shown(&content),
        Err(RecoveryError::Newer) => json!({ "error": "Newer" }),
        Err(RecoveryError::Invalid(_)) => json!({ "error": "Invalid" }),
    };
    json!({ "name": name, "inputs": { "content": hex(bytes) }, "expected": expected })
}

#[test]
fn recovery_contents_are_those_of_the_vector() {
    let content = content();
    assert!(!content.secrets[1].keys.is_empty());
    let bytes = content.encode().to_vec();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    let mut fewer = content;
    fewer.secrets.pop();
    let vectors = [
        entry("as we write it", &bytes),
        entry("version 2", &with(1, 2)),
        entry("seven items", &with(0, 0x87)),
        entry("cut", &bytes[..bytes.len() - 1]),
        entry("a byte behind", &[&bytes[..], &[0]].concat()),
        entry("secrets of one space for two", &fewer.encode()),
        entry("nothing", &[]),
    ];
    let made = json!({
        "format": "docs/protocol/recovery.md",
        "generator": "crates/spaces/src/recovery/vector_tests.rs",
        "vectors": vectors,
    });
    is_recorded("recovery-content.json", &made);
}
