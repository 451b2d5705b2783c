//! headers.json, invalid_headers.json, node_extensions.json

use bytes::Bytes;
use p2panda_core::cbor::{self, CborError, Reader, Writer};
use p2panda_core::limits::OPERATION_BYTES_MAX;
use p2panda_core::{
    Draft, DraftError, ExtensionsError, Hash, Header, HeaderError, LogId, NodeExtensions,
    Operation, SigningKey, Timestamp, Topic,
};
use serde_json::Value;

use crate::file::{Entry, array, entries, hex, optional, write_json};

#[test]
fn every_vector_of_headers() {
    for entry in entries("headers.json") {
        let bytes = Bytes::from(hex(&entry.expected["header_bytes"]));
        let decoded = Header::decode(bytes.clone());
        assert_eq!(
            Value::Bool(decoded.is_ok()),
            entry.expected["decodes_any"],
            "{}",
            entry.name
        );
        match &decoded {
            Ok(header) => header_fields(&entry, header, &bytes),
            Err(error) => assert_eq!(entry.expected["error"], published(error)),
        }
        signing(&entry);
        built(&entry, decoded.ok());
    }
}

/// Everything that can be asked of a decoded header is as recorded.
fn header_fields(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
    header: &Header,
    bytes: &Bytes,
) {
    assert_eq!(header.as_bytes(), bytes, "{name}");
    assert_eq!(reencoded(header), *bytes, "{name}");
    assert_eq!(header.id().to_string(), expected["operation_id"], "{name}");
    assert_eq!(
        header.author().to_string(),
        expected["verifying_key"],
        "{name}"
    );
    assert_eq!(
        header.signature().to_string(),
        expected["signature"],
        "{name}"
    );
    assert_eq!(
        header.signing_bytes(),
        hex(&expected["signing_bytes"]),
        "{name}"
    );
    assert_eq!(
        bytes.len() as u64,
        expected["header_size"].as_u64().unwrap(),
        "{name}"
    );
    assert_eq!(
        u64::from(header.seq()),
        inputs["seq_num"].as_u64().unwrap(),
        "{name}"
    );
    let size = inputs
        .get("payload_size")
        .unwrap_or(&expected["payload_size"]);
    let hash = inputs
        .get("payload_hash")
        .unwrap_or(&expected["payload_hash"]);
    assert_eq!(
        u64::from(header.payload_size()),
        size.as_u64().unwrap(),
        "{name}"
    );
    assert_eq!(
        header.payload_hash().map(|hash| hash.as_bytes().to_vec()),
        optional(hash)
    );
    let unverified = Header::decode_unverified(bytes.clone()).unwrap();
    assert_eq!(unverified.verify(), Ok(()), "{name}");
    assert_eq!(
        Value::Bool(typed(inputs, header).is_ok()),
        expected["decodes_typed"],
        "{name}"
    );
}

/// Decodes the extensions as the type that the author used.
fn typed(inputs: &Value, header: &Header) -> Result<(), ExtensionsError> {
    let extensions = &inputs["extensions"];
    if extensions.get("nef_version").is_some() {
        let decoded = header.node_extensions()?;
        assert_eq!(decoded, node_extensions(extensions));
        Ok(())
    } else if extensions.is_null() || extensions.get("rust_type").is_some() {
        header.expect_no_extensions()
    } else {
        let mut writer = Writer::new();
        write_json(&mut writer, extensions);
        assert_eq!(header.extensions(), Some(writer.as_bytes()));
        Ok(())
    }
}

/// The key of the vector makes the recorded signature, also where we refuse to build the header.
fn signing(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
) {
    let key = SigningKey::from_bytes(&array(&inputs["signing_key"]));
    let signature = key.sign(&hex(&expected["signing_bytes"]));
    assert_eq!(
        signature.as_bytes()[..],
        hex(&expected["signature"]),
        "{name}"
    );
}

/// Our builder makes the recorded bytes, or refuses what contradicts itself or cannot be synced.
fn built(
    Entry {
        name,
        inputs,
        expected,
    }: &Entry,
    decoded: Option<Header>,
) {
    let key = SigningKey::from_bytes(&array(&inputs["signing_key"]));
    let seq = u32::try_from(inputs["seq_num"].as_u64().unwrap()).unwrap();
    let backlink =
        optional(&inputs["backlink"]).map(|_| Hash::from_bytes(array(&inputs["backlink"])));
    let extensions = optional(expected.get("extensions_cbor").unwrap_or(&Value::Null));
    if let Some(size) = inputs.get("payload_size").and_then(Value::as_u64) {
        // No body of this size fits a frame, so nothing can be built.
        assert!(size > OPERATION_BYTES_MAX as u64, "{name}");
        return;
    }
    let body = body(inputs);
    let draft = |body| Draft {
        seq,
        backlink,
        body,
        extensions: extensions.as_deref(),
    };
    if body.as_ref().is_some_and(Vec::is_empty) {
        // An empty body is not a body, and ours wants that said.
        let refused = Header::sign(&key, draft(body.as_deref()));
        assert_eq!(refused, Err(DraftError::EmptyBody), "{name}");
    }
    let body = body.as_deref().filter(|body| !body.is_empty());
    let operation = Operation::create(&key, draft(body));
    if backlink.is_some() != (seq > 0) {
        let refused = match backlink {
            Some(_) => DraftError::SeqNumMismatch,
            None => DraftError::BacklinkMissing,
        };
        assert_eq!(operation, Err(refused), "{name}");
        return;
    }
    let operation = operation.unwrap();
    assert_eq!(operation.header, decoded.unwrap(), "{name}");
    assert_eq!(
        operation.header.as_bytes()[..],
        hex(&expected["header_bytes"]),
        "{name}"
    );
    let received = Operation::decode(
        operation.header.as_bytes().clone(),
        body.map(Bytes::copy_from_slice),
    );
    assert_eq!(received, Ok(operation), "{name}");
}

fn body(inputs: &Value) -> Option<Vec<u8>> {
    let Some(repeat) = inputs.get("body_repeat") else {
        return optional(&inputs["body"]);
    };
    let count = usize::try_from(repeat["count"].as_u64().unwrap()).unwrap();
    Some(hex(&repeat["byte"]).repeat(count))
}

#[test]
fn every_vector_of_node_extensions() {
    for Entry {
        name,
        inputs,
        expected,
    } in entries("node_extensions.json")
    {
        assert_eq!(expected["version"], 1, "{name}");
        let extensions = node_extensions(&inputs);
        assert_eq!(extensions.encode(), hex(&expected["cbor"]), "{name}");
        assert_eq!(
            NodeExtensions::decode(&hex(&expected["cbor"])),
            Ok(extensions),
            "{name}"
        );
    }
}

fn node_extensions(inputs: &Value) -> NodeExtensions {
    let log_id = LogId::from_bytes(array(&inputs["log_id"]));
    assert_eq!(log_id, Topic::from_bytes(array(&inputs["topic"])).log_id());
    let timestamp = Timestamp::from_micros(inputs["timestamp"].as_u64().unwrap());
    let prune = inputs["prune_flag"].as_bool().unwrap();
    NodeExtensions {
        prune,
        ..NodeExtensions::new(log_id, timestamp)
    }
}

#[test]
fn every_vector_of_invalid_headers() {
    for entry in entries("invalid_headers.json") {
        let Entry {
            name,
            inputs,
            expected,
        } = &entry;
        let bytes = Bytes::from(hex(&inputs["header_bytes"]));
        let decoded = Header::decode(bytes.clone());
        if expected["reencodes_identically"] == false {
            assert_eq!(decoded, Err(HeaderError::Tagged), "{name}");
            continue;
        }
        match decoded {
            Ok(header) => {
                assert_eq!(expected["any"], "ok", "{name}");
                accepted(&entry, &header, &bytes);
            }
            Err(error) => {
                for kind in ["any", "typed_unit", "typed_node"] {
                    let recorded = expected[kind].as_str().unwrap();
                    assert_eq!(comparable(recorded), published(&error), "{name} {kind}");
                }
            }
        }
    }
}

fn accepted(Entry { name, expected, .. }: &Entry, header: &Header, bytes: &Bytes) {
    assert_eq!(header.as_bytes(), bytes, "{name}");
    assert_eq!(reencoded(header), *bytes, "{name}");
    assert_eq!(header.id().to_string(), expected["operation_id"], "{name}");
    let unit = header
        .expect_no_extensions()
        .map_err(|error| format!("{error:?}"));
    assert_eq!(
        unit.map_or_else(|error| error, |()| "ok".into()),
        expected["typed_unit"],
        "{name}"
    );
    let node = header.node_extensions();
    if let Some((version, variant)) = foreign(header) {
        let variant = Some(variant);
        assert_eq!(
            node,
            Err(ExtensionsError::UnknownExtensions { version, variant }),
            "{name}"
        );
        return;
    }
    let node = node.map_or_else(|error| format!("{error:?}"), |_| "ok".into());
    let recorded = expected["typed_node"].as_str().unwrap();
    assert_eq!(node, recorded.split('(').next().unwrap(), "{name}");
}

/// A version and variant that are not version 1, variant 0.
fn foreign(header: &Header) -> Option<(u16, u16)> {
    let mut reader = Reader::new(header.extensions()?, cbor::HEADER);
    reader.array().ok()?;
    let version = u16::try_from(reader.uint().ok()?).ok()?;
    let variant = u16::try_from(reader.uint().ok()?).ok()?;
    ((version, variant) != (1, 0)).then_some((version, variant))
}

/// The published name of an error. Of a wrong type it says only the field.
fn published(error: &HeaderError) -> String {
    match error {
        HeaderError::Cbor(error) => format!("DecodingHeader({})", published_cbor(*error)),
        HeaderError::NotAnArray => "UnexpectedHeaderType".into(),
        HeaderError::Missing(field) => format!("MissingField(\"{field}\")"),
        HeaderError::Type(field) => format!("UnexpectedFieldType(\"{field}\")"),
        HeaderError::UnsupportedVersion { found } => format!("UnsupportedVersion({found}, 1)"),
        HeaderError::Length {
            field,
            expected,
            found,
        } => {
            format!("InvalidBytesLen(\"{field}\", {expected}, {found})")
        }
        HeaderError::ExcessiveFields => "ExcessiveFields".into(),
        HeaderError::InvalidKey | HeaderError::InvalidSignature => "InvalidSignature".into(),
        HeaderError::TooLarge | HeaderError::Tagged => "ours".into(),
    }
}

fn published_cbor(error: CborError) -> &'static str {
    match error {
        CborError::Malformed => "Malformed",
        CborError::NonDeterministic => "NonDeterministic",
        CborError::Eof => "UnexpectedEof",
        CborError::TooLong => "LengthTooLarge",
        CborError::TooDeep => "NestingTooDeep",
        CborError::Utf8 => "InvalidUtf8",
        CborError::Trailing => "InvalidFormat",
        CborError::Type => "IncompatibleType",
    }
}

/// A recorded error without the text that no other library would have.
fn comparable(recorded: &str) -> String {
    let (outer, inner) = recorded.split_once('(').unwrap_or((recorded, ""));
    match outer {
        "UnexpectedHeaderType" => outer.into(),
        "UnexpectedFieldType" => {
            let (_, field) = inner.split_once("\"").unwrap();
            format!("UnexpectedFieldType(\"{field}")
        }
        _ => recorded.into(),
    }
}

/// Encodes a header again from what its accessors say.
pub fn reencoded(header: &Header) -> Vec<u8> {
    let optional = [
        header.payload_hash().is_some(),
        header.backlink().is_some(),
        header.extensions().is_some(),
    ];
    let mut writer = Writer::new();
    writer.array(5 + optional.into_iter().filter(|present| *present).count());
    writer.uint(1).bytes(header.author().as_bytes());
    writer.bytes(header.signature().as_bytes());
    writer.uint(u64::from(header.payload_size()));
    if let Some(hash) = header.payload_hash() {
        writer.bytes(hash.as_bytes());
    }
    writer.uint(u64::from(header.seq()));
    if let Some(backlink) = header.backlink() {
        writer.bytes(backlink.as_bytes());
    }
    writer.raw(header.extensions().unwrap_or_default());
    writer.into_bytes()
}
