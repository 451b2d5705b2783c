//! Bytes on the wire and in the store.

use p2panda_core::cbor::{CborError, Writer};
use p2panda_core::{Hash, SigningKey};
use p2panda_groups::{
    Access, Action, Arguments, GroupId, Invalid, Member, Operation, bound_group_id,
};
use serde_json::{Value, json};

use crate::file::{file, hex};

#[test]
fn vector_wire_every_value_is_read_and_written_byte_for_byte() {
    let values = file("groups-wire.json")["values"].clone();
    let values = values.as_array().unwrap();
    assert_eq!(values.len(), 20);
    for value in values {
        let name = value["value"].as_str().unwrap();
        let bytes = hex(value["cbor"].as_str().unwrap());
        if name.starts_with("action ") {
            let action = Action::decode(&bytes).unwrap();
            assert_eq!(action_json(&action), value["decoded"], "{name}");
            assert_eq!(action.encode(), bytes, "{name}");
        } else if name.starts_with("groups extension ") {
            let arguments = Arguments::decode(&bytes).unwrap();
            assert_eq!(arguments_json(&arguments), value["decoded"], "{name}");
            assert_eq!(arguments.encode(), bytes, "{name}");
        } else if name.starts_with("groups operation ") {
            let operation = Operation::decode(&bytes).unwrap();
            assert_eq!(operation_json(&operation), value["decoded"], "{name}");
            assert_eq!(operation.encode(), bytes, "{name}");
        } else if value["decoded"]["conditions"].is_null() {
            assert_eq!(Access::decode(&bytes), Ok(Access::Read), "{name}");
        } else {
            assert_eq!(Access::decode(&bytes), Err(Invalid::Conditions), "{name}");
        }
    }
}

#[test]
fn a_nonce_travels_only_with_a_create_and_makes_the_id_bound() {
    let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
    let nonce = [7; 32];
    let mut arguments = Arguments {
        group: bound_group_id(&author, &nonce),
        dependencies: vec![],
        action: Action::Create {
            initial_members: vec![],
        },
        nonce: Some(nonce),
    };
    let bytes = arguments.encode();
    assert_eq!(&bytes[..8], b"\xa4\x65nonce\x58");
    assert_eq!(Arguments::decode(&bytes).unwrap(), arguments);
    let mut operation = Operation {
        id: Hash::digest(b"x"),
        author,
        arguments: arguments.clone(),
    };
    assert_eq!(Operation::decode(&operation.encode()).unwrap(), operation);
    assert!(operation.is_bound_create());
    operation.author = SigningKey::from_bytes(&[2; 32]).verifying_key();
    assert!(!operation.is_bound_create());

    arguments.action = Action::Remove {
        member: Member::Individual(author),
    };
    let decoded = Arguments::decode(&arguments.encode()).unwrap();
    assert_eq!(decoded.nonce, None);
}

#[test]
fn a_nonce_that_is_none_is_skipped_as_older_peers_skip_it() {
    let group = GroupId::from(SigningKey::from_bytes(&[1; 32]).verifying_key());
    let action = Action::Create {
        initial_members: vec![],
    };
    let mut writer = Writer::new();
    writer
        .map(4)
        .text("nonce")
        .uint(3)
        .text("action")
        .raw(&action.encode());
    writer.text("group_id").bytes(group.as_bytes());
    writer.text("dependencies").array(0);
    let arguments = Arguments::decode(writer.as_bytes()).unwrap();
    assert_eq!(arguments.nonce, None);
}

#[test]
fn what_is_not_an_operation_is_refused_with_its_reason() {
    let cases: [(&[u8], Invalid); 8] = [
        (b"", Invalid::Cbor(CborError::Eof)),
        (b"\x01", Invalid::Cbor(CborError::Type)),
        (b"\xa0", Invalid::Variant),
        (b"\xa1\x64Join\xa0", Invalid::Variant),
        (b"\xa1\x63Add\xa0", Invalid::Missing),
        (
            b"\xa1\x66Remove\xa1\x66member\xa1\x65Group\x41\x00",
            Invalid::Key,
        ),
        (
            b"\xa1\x66Remove\xa1\x66member\xa1\x65Panda\x41\x00",
            Invalid::Variant,
        ),
        (
            b"\xa1\x66Remove\xbf\xff",
            Invalid::Cbor(CborError::NonDeterministic),
        ),
    ];
    for (bytes, reason) in cases {
        assert_eq!(Action::decode(bytes), Err(reason));
    }
}

#[test]
fn altered_operations_are_read_or_refused_without_panic() {
    for value in file("groups-wire.json")["values"].as_array().unwrap() {
        let bytes = hex(value["cbor"].as_str().unwrap());
        for at in 0..bytes.len() {
            let _ = Operation::decode(&bytes[..at]);
            for bit in [1, 0x20, 0x80] {
                let mut altered = bytes.clone();
                altered[at] ^= bit;
                let _ = Operation::decode(&altered);
                let _ = Arguments::decode(&altered);
                let _ = Action::decode(&altered);
            }
        }
    }
}

#[test]
fn the_bound_of_a_header_does_not_bind_the_decoder() {
    let group: GroupId = SigningKey::from_bytes(&[1; 32]).verifying_key().into();
    let with = |dependencies: usize| Arguments {
        group,
        dependencies: vec![Hash::from_bytes([4; 32]); dependencies],
        action: Action::Remove {
            member: Member::Group(group),
        },
        nonce: None,
    };
    for (count, fits) in [(512, true), (513, false), (10_000, false)] {
        let arguments = with(count);
        assert_eq!(arguments.fits_header(), fits, "{count}");
        assert_eq!(Arguments::decode(&arguments.encode()), Ok(arguments));
    }
    let too_long = Err(Invalid::Cbor(CborError::TooLong));
    assert_eq!(Arguments::decode(&with(10_001).encode()), too_long);
}

fn operation_json(operation: &Operation) -> Value {
    let mut value = arguments_json(&operation.arguments);
    value["id"] = bytes_json(operation.id.as_bytes());
    value["author"] = bytes_json(operation.author.as_bytes());
    value
}

fn arguments_json(arguments: &Arguments) -> Value {
    let hashes = arguments.dependencies.iter();
    let dependencies: Vec<_> = hashes.map(|hash| bytes_json(hash.as_bytes())).collect();
    json!({
        "action": action_json(&arguments.action),
        "group_id": bytes_json(arguments.group.as_bytes()),
        "dependencies": dependencies,
    })
}

fn action_json(action: &Action) -> Value {
    match action {
        Action::Create { initial_members } => {
            let pair = |(member, access): &(Member, Access)| {
                json!([member_json(member), access_json(*access)])
            };
            let members: Vec<_> = initial_members.iter().map(pair).collect();
            json!({"Create": {"initial_members": members}})
        }
        Action::Add { member, access } => {
            json!({"Add": {"member": member_json(member), "access": access_json(*access)}})
        }
        Action::Remove { member } => json!({"Remove": {"member": member_json(member)}}),
        Action::Promote { member, access } => {
            json!({"Promote": {"member": member_json(member), "access": access_json(*access)}})
        }
        Action::Demote { member, access } => {
            json!({"Demote": {"member": member_json(member), "access": access_json(*access)}})
        }
        other => panic!("a new word is needed for {other:?}"),
    }
}

fn member_json(member: &Member) -> Value {
    match member {
        Member::Individual(key) => json!({"Individual": bytes_json(key.as_bytes())}),
        Member::Group(group) => json!({"Group": bytes_json(group.as_bytes())}),
    }
}

fn access_json(access: Access) -> Value {
    json!({"level": format!("{access:?}"), "conditions": null})
}

fn bytes_json(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!(format!("h'{digits}'"))
}
