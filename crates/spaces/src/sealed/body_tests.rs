//! The bytes of messages between our own nodes: limits, and what is refused.

use p2panda_core::SigningKey;
use p2panda_core::cbor::Writer;
use p2panda_core::limits::{
    SPACE_BOXES_MAX, SPACE_NAME_BYTES_MAX, SPACE_NAMED_MAX, SPACE_NOTES_MAX, SPACE_OPERATIONS_MAX,
    SPACE_ROTATION_DAYS_MAX,
};
use p2panda_groups::{Action, bound_group_id};

use super::*;

fn envelope(boxes: usize) -> Vec<u8> {
    let envelope = Envelope {
        boxes: vec![vec![1]; boxes],
        key: KeyId([2; 16]),
        nonce: [3; 24],
        sealed: vec![4],
    };
    Body::Control(envelope).encode()
}

#[test]
fn the_boxes_of_a_control_message_are_bounded() {
    assert!(Body::decode(&envelope(SPACE_BOXES_MAX)).is_ok());
    let one_more = Body::decode(&envelope(SPACE_BOXES_MAX + 1));
    assert_eq!(one_more, Err(Invalid::TooLong));
}

#[test]
fn a_message_with_its_own_key_is_read_back_and_nothing_else() {
    let chained = Chained {
        epoch: Hash::digest(b"epoch"),
        generation: u32::MAX,
        nonce: [3; 24],
        sealed: vec![4; 16],
    };
    let bytes = Body::Message(chained.clone()).encode();
    assert_eq!(Body::decode(&bytes), Ok(Body::Message(chained)));
    for at in 0..bytes.len() {
        assert!(Body::decode(&bytes[..at]).is_err(), "cut at {at}");
        let mut other = bytes.clone();
        other[at] ^= 0xff;
        // It is read back as it is, or refused.
        if let Ok(body) = Body::decode(&other) {
            assert_eq!(body.encode(), other);
        }
    }
    let mut longer = Writer::new();
    longer.array(6).uint(1).uint(4).bytes(&[1; 32]);
    longer.uint(1 << 32).bytes(&[3; 24]).bytes(&[4]);
    assert_eq!(Body::decode(&longer.into_bytes()), Err(Invalid::Bytes));
}

#[test]
fn the_control_messages_that_a_body_names_are_bounded() {
    let named = |count: usize| Structure {
        dependencies: vec![Hash::digest(b""); count],
        ..Structure::default()
    };
    assert!(Structure::decode(&named(SPACE_NAMED_MAX).encode()).is_ok());
    let one_more = Structure::decode(&named(SPACE_NAMED_MAX + 1).encode());
    assert_eq!(one_more, Err(Invalid::TooLong));
}

#[test]
fn the_operations_that_a_body_carries_are_bounded() {
    let carries = |count: usize| {
        let mut w = Writer::new();
        w.array(9).array(0).array(count);
        for _ in 0..count {
            w.null();
        }
        w.null()
            .array(0)
            .array(0)
            .array(0)
            .bool(false)
            .null()
            .array(0);
        Structure::decode(&w.into_bytes())
    };
    // Nothing is not an operation, which is found out where the number is allowed.
    assert!(matches!(
        carries(SPACE_OPERATIONS_MAX),
        Err(Invalid::Cbor(_))
    ));
    assert_eq!(carries(SPACE_OPERATIONS_MAX + 1), Err(Invalid::TooLong));
}

#[test]
fn the_notes_on_invites_in_a_body_are_bounded() {
    let invite = SigningKey::from_bytes(&[1; 32]).verifying_key();
    let notes = |count: usize| Structure {
        notes: vec![Note::Revoke(invite); count],
        ..Structure::default()
    };
    assert!(Structure::decode(&notes(SPACE_NOTES_MAX).encode()).is_ok());
    let one_more = Structure::decode(&notes(SPACE_NOTES_MAX + 1).encode());
    assert_eq!(one_more, Err(Invalid::TooLong));
}

#[test]
fn the_name_of_a_team_in_a_body_is_bounded() {
    let team = SigningKey::from_bytes(&[1; 32]).verifying_key();
    let named = |bytes: usize| Structure {
        notes: vec![Note::Team(team.into(), "n".repeat(bytes))],
        ..Structure::default()
    };
    let longest = named(SPACE_NAME_BYTES_MAX);
    let read = Structure::decode(&longest.encode()).unwrap();
    assert_eq!(read.notes, longest.notes);
    let one_more = Structure::decode(&named(SPACE_NAME_BYTES_MAX + 1).encode());
    assert_eq!(one_more, Err(Invalid::TooLong));
}

#[test]
fn the_days_of_a_rotation_by_age_in_a_body_are_bounded() {
    let asks = |days: u32| Structure {
        notes: vec![Note::Rotation(days)],
        ..Structure::default()
    };
    for days in [0, 1, SPACE_ROTATION_DAYS_MAX] {
        let read = Structure::decode(&asks(days).encode()).unwrap();
        assert_eq!(read.notes, [Note::Rotation(days)]);
    }
    for days in [SPACE_ROTATION_DAYS_MAX + 1, u32::MAX] {
        let refused = Structure::decode(&asks(days).encode());
        assert_eq!(refused, Err(Invalid::Variant));
    }
}

#[test]
fn a_rotation_by_age_has_the_bytes_of_the_page() {
    let read = |bytes: &[u8]| Note::read(&mut Reader::new(bytes, cbor::VALUE));
    for (days, bytes) in [(0, &[0x82, 11, 0][..]), (30, &[0x82, 11, 0x18, 30])] {
        let mut w = Writer::new();
        Note::Rotation(days).write(&mut w);
        assert_eq!(w.into_bytes(), bytes);
        assert_eq!(read(bytes), Ok(Note::Rotation(days)));
    }
    // A number of more than 32 bits is refused like each that is too large.
    let huge = [0x82, 11, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(read(&huge), Err(Invalid::Variant));
    assert_eq!(read(&[0x83, 11, 1, 1]), Err(Invalid::Variant));
}

#[test]
fn unknown_versions_kinds_and_trailing_bytes_are_refused() {
    let body = envelope(1);
    assert!(Body::decode(&body).is_ok());
    for (at, byte) in [(1, 2), (2, 3), (2, 0), (0, 0x85)] {
        let mut other = body.clone();
        other[at] = byte;
        assert!(Body::decode(&other).is_err(), "{at} {byte}");
    }
    assert!(Body::decode(&[&body[..], &[0]].concat()).is_err());
}

#[test]
fn an_operation_on_a_group_is_bound_to_its_author() {
    let [alice, bob] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
    let author = alice.verifying_key();
    let arguments = Arguments {
        group: bound_group_id(&author, &[7; 32]),
        dependencies: vec![],
        action: Action::Create {
            initial_members: vec![],
        },
        nonce: Some([7; 32]),
    };
    let to_sign = GroupOperation::to_sign(&author, &arguments);
    let signed = GroupOperation::new(author, &arguments, &alice.sign(&to_sign));
    let read = GroupOperation::decode(&signed.bytes).unwrap();
    assert_eq!(read, signed);
    let forged = GroupOperation::new(author, &arguments, &bob.sign(&to_sign));
    let read = GroupOperation::decode(&forged.bytes).unwrap();
    assert!(!read.is_signed && read.id == signed.id);
}

#[test]
fn what_is_sealed_is_bound_to_kind_space_and_author() {
    let key = Secret::from_bytes([1; 32]);
    let [alice, bob] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
    let (s, t) = (SpaceId::from_bytes([1; 32]), SpaceId::from_bytes([2; 32]));
    let sealed = seal(&key, &[0; 24], ("content", &s, &alice), b"text").unwrap();
    assert!(open(&key, &[0; 24], ("content", &s, &alice), &sealed).is_ok());
    for bound in [
        ("control", &s, &alice),
        ("content", &t, &alice),
        ("content", &s, &bob),
    ] {
        assert!(open(&key, &[0; 24], bound, &sealed).is_err());
    }
}
