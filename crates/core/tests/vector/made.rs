//! The files that `interop/reader/make.py` makes: our own verdicts, named as on the page.

use bytes::Bytes;
use p2panda_core::{
    Dependency, EphemeralError, EphemeralMessage, ExtensionsError, Hash, Header, HeaderError,
    LogId, LogName, NodeExtensions, Signature, SigningKey, Topic, VerifyingKey,
};
use serde_json::Value;

use crate::file::{array, file, hex, optional};

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// Bytes that are given in parts, each as often as the number after it says.
fn parts(value: &Value) -> Bytes {
    let part = |part: &Value| hex(&part[0]).repeat(part[1].as_u64().unwrap() as usize);
    list(value).iter().flat_map(part).collect()
}

fn header_verdict(bytes: Bytes) -> String {
    match Header::decode(bytes) {
        Ok(_) => "ok".into(),
        Err(HeaderError::Cbor(error)) => format!("Cbor({error:?})"),
        Err(HeaderError::Missing(field)) => format!("Missing({field})"),
        Err(HeaderError::Type(field)) => format!("Type({field})"),
        Err(HeaderError::UnsupportedVersion { found }) => format!("UnsupportedVersion({found}, 1)"),
        Err(HeaderError::Length {
            field,
            expected,
            found,
        }) => format!("Length({field}, {expected}, {found})"),
        Err(error) => format!("{error:?}"),
    }
}

fn ephemeral_verdict(bytes: Bytes) -> String {
    match EphemeralMessage::open(bytes) {
        Ok(_) => "ok".into(),
        Err(EphemeralError::Cbor(error)) => format!("Cbor({error:?})"),
        Err(EphemeralError::UnsupportedVersion { found }) => {
            format!("UnsupportedVersion({found}, 1)")
        }
        Err(error) => format!("{error:?}"),
    }
}

fn extensions_verdict(item: &[u8]) -> String {
    match NodeExtensions::decode(item) {
        Ok(_) => "ok".into(),
        Err(ExtensionsError::UnknownExtensions { version, variant }) => {
            let variant = variant.map_or("none".into(), |variant| variant.to_string());
            format!("UnknownExtensions({version}, {variant})")
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn every_signature_is_judged_as_the_page_says() {
    for vector in list(&file("operations-signatures.json")["vectors"]) {
        let bytes = array(&vector["verifying_key"]);
        let key = VerifyingKey::from_bytes(bytes);
        assert_eq!(Value::Bool(key.is_ok()), vector["key_parses"], "{vector}");
        let signature = Signature::from_bytes(array(&vector["signature"]));
        let verdict = VerifyingKey::from_bytes_unchecked(bytes)
            .verify(&hex(&vector["message"]), &signature)
            .is_ok();
        assert_eq!(Value::Bool(verdict), vector["valid"], "{vector}");
    }
}

/// Puts a signature behind the key, as operations and ephemeral messages have it.
fn with_signature(signed: &[u8], signature: &Signature) -> Option<Bytes> {
    let (head, _) = signed.split_first()?;
    if head >> 5 != 4 || signed.len() < 36 {
        return None;
    }
    let (before, after) = signed[1..].split_at(35);
    let head = [&[head + 1], before, &[0x58, 64][..]].concat();
    Some([&head, &signature.as_bytes()[..], after].concat().into())
}

#[test]
fn no_kind_of_signed_bytes_reads_as_another() {
    for vector in list(&file("operations-signed-bytes.json")["vectors"]) {
        let signed = hex(&vector["signed_bytes"]);
        let signature = SigningKey::from_bytes(&array(&vector["signing_key"])).sign(&signed);
        assert_eq!(signature.to_string(), vector["signature"]);
        let message = with_signature(&signed, &signature);
        let read = |verdict: fn(Bytes) -> String| message.clone().map_or("no".into(), verdict);
        let reads_as = &vector["reads_as"];
        assert_eq!(read(header_verdict), reads_as["operation"], "{vector}");
        assert_eq!(read(ephemeral_verdict), reads_as["ephemeral"], "{vector}");
        let kinds = reads_as.as_object().unwrap().values();
        assert!(kinds.filter(|verdict| *verdict == "ok").count() <= 1);
    }
}

fn dependency(value: &Value) -> Dependency {
    Dependency {
        author: VerifyingKey::from_bytes_unchecked(array(&value["author"])),
        log: optional(&value["log_id"]).map(|_| LogId::from_bytes(array(&value["log_id"]))),
        seq: u32::try_from(value["seq"].as_u64().unwrap()).unwrap(),
        id: Hash::from_bytes(array(&value["id"])),
    }
}

#[test]
fn dependencies_and_names_are_read_and_written_as_the_page_says() {
    let file = file("operations-dependencies.json");
    for vector in list(&file["vectors"]) {
        let item = hex(&vector["extensions"]);
        let read = NodeExtensions::decode(&item).unwrap();
        let wanted: Vec<_> = list(&vector["dependencies"])
            .iter()
            .map(dependency)
            .collect();
        assert_eq!(read.deps, wanted, "{vector}");
        let name = read.name.map(|name| name.as_bytes().to_vec());
        assert_eq!(name, optional(&vector["log_name"]), "{vector}");
        assert_eq!(Value::Bool(read.encode() == item), vector["written"]);
    }
    for vector in list(&file["verdicts"]) {
        let verdict = extensions_verdict(&hex(&vector["extensions"]));
        assert_eq!(verdict, vector["verdict"], "{vector}");
    }
    for vector in list(&file["named_logs"]) {
        let name = LogName::of(vector["name"].as_str().unwrap()).unwrap();
        assert_eq!(name.as_bytes()[..], hex(&vector["name_hash"]));
        let log_id = Topic::from_bytes(array(&vector["topic"])).named_log_id(&name);
        assert_eq!(log_id.as_bytes()[..], hex(&vector["log_id"]));
        let author = VerifyingKey::from_bytes(array(&vector["author"])).unwrap();
        assert_eq!(log_id.label(&author).as_bytes()[..], hex(&vector["label"]));
    }
}

#[test]
fn every_limit_and_tag_of_a_header_is_judged() {
    let file = file("operations-limits.json");
    for vector in list(&file["vectors"]) {
        let bytes = parts(&vector["header_parts"]);
        assert_eq!(bytes.len() as u64, vector["header_bytes"]);
        let name = &vector["name"];
        assert_eq!(header_verdict(bytes), vector["verdict"], "{name}");
    }
    for vector in list(&file["headers"]) {
        let verdict = header_verdict(hex(&vector["header"]).into());
        assert_eq!(verdict, vector["verdict"], "{vector}");
    }
}

#[test]
fn every_ephemeral_message_is_judged_as_the_page_says() {
    for vector in list(&file("ephemeral-invalid.json")["vectors"]) {
        let verdict = ephemeral_verdict(parts(&vector["message_parts"]));
        assert_eq!(verdict, vector["verdict"], "{}", vector["name"]);
    }
}
