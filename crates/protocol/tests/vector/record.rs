//! `network-transport-info.json`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use p2panda_core::cbor::Writer;
use p2panda_core::{HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};
use p2panda_protocol::book::{Book, Inserted, Source, Teller};
use p2panda_protocol::record::{Address, CustomAddress, RecordError, TransportInfo, UserData};
use p2panda_protocol::time::Time;
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, tampered, text};

const FILE: &str = "network-transport-info.json";

fn key(value: &Value) -> SigningKey {
    SigningKey::from_bytes(&hex32(value))
}

fn told() -> Source {
    let node = SigningKey::from_bytes(&[9; 32]).verifying_key();
    Source::Peer(Teller { node, from: None })
}

fn addresses(case: &Value) -> BTreeSet<Address> {
    let ips = list(&case["ip_addrs_given"]).iter();
    let ips = ips.map(|ip| Address::ip(text(ip).parse().unwrap()));
    let relay = case["relay_url_normalised"]
        .as_str()
        .map(|url| Address::Relay(url.to_owned()));
    ips.chain(relay).collect()
}

fn timestamp(case: &Value) -> HybridTimestamp {
    let number = |name: &str| case[name].as_u64().unwrap();
    HybridTimestamp::new(number("timestamp_micros"), number("lamport"))
}

fn postcard(info: &TransportInfo) -> Bytes {
    encoded(|out| info.encode(out))
}

/// The signed payload as a map with the signature between its two entries.
fn with_signature(payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut name = Writer::new();
    name.text("timestamp");
    let name = name.into_bytes();
    let at = payload
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    let mut cbor = Writer::new();
    cbor.map(3)
        .raw(&payload[1..at])
        .text("signature")
        .bytes(signature)
        .raw(&payload[at..]);
    cbor.into_bytes()
}

/// Encodes a node as 0.7.1 stores it: only to check that the vectors say one thing.
fn stored_node(
    node: &[u8],
    failure: Option<u64>,
    bootstrap: bool,
    transports: Option<(&str, &[u8])>,
) -> Vec<u8> {
    let mut cbor = Writer::new();
    cbor.map(4).text("metrics").map(4).text("last_failed_at");
    match failure {
        Some(micros) => cbor.uint(micros),
        None => cbor.null(),
    };
    cbor.text("last_succeeded_at").null();
    cbor.text("failed_connections")
        .uint(failure.iter().count() as u64);
    cbor.text("successful_connections").uint(0);
    cbor.text("node_id")
        .bytes(node)
        .text("bootstrap")
        .bool(bootstrap)
        .text("transports");
    match transports {
        Some((kind, info)) => cbor.map(1).text(kind).raw(info),
        None => cbor.null(),
    };
    cbor.into_bytes()
}

fn check_case(case: &Value) {
    let key = key(&case["signing_key"]);
    let node = key.verifying_key();
    assert_eq!(node.as_bytes(), &hex32(&case["node_id"]));
    let info = TransportInfo::sign(&key, timestamp(case), addresses(case)).unwrap();
    let payload = hex(&case["signed_payload_cbor"]);
    assert_eq!(info.signing_bytes(), payload);
    assert_eq!(info.signature().as_bytes()[..], hex(&case["signature"]));
    assert_eq!(postcard(&info), hex(&case["authenticated_postcard"]));
    let decoded = TransportInfo::decode(hex(&case["authenticated_postcard"])).unwrap();
    assert_eq!(decoded, info);
    assert_eq!(decoded.verify(&node, info.timestamp().wall), Ok(()));

    let endpoint = hex(&case["endpoint_addr_postcard"]);
    if addresses(case).is_empty() {
        assert_eq!(endpoint, [&node.as_bytes()[..], &[0]].concat());
    } else {
        assert!(postcard(&info).ends_with(&endpoint));
    }

    let user_data = UserData::of(&info).unwrap();
    assert_eq!(user_data.to_string(), text(&case["mdns_user_data"]));
    let ips = list(&case["ip_addrs_given"]).iter();
    let ips = ips.map(|ip| text(ip).parse::<SocketAddr>().unwrap());
    let announced = TransportInfo::announced(&node, ips, &user_data);
    assert_eq!(announced, info);

    let signed = with_signature(&payload, info.signature().as_bytes());
    assert_eq!(hex(&case["authenticated_cbor"]), signed);
    assert_eq!(hex(&case["trusted_cbor"]), payload);
    for (name, bootstrap, kind, info) in [
        (
            "stored_node_info_authenticated_cbor",
            false,
            "Authenticated",
            &signed[..],
        ),
        (
            "stored_node_info_trusted_bootstrap_cbor",
            true,
            "Trusted",
            &payload[..],
        ),
    ] {
        let stored = stored_node(node.as_bytes(), None, bootstrap, Some((kind, info)));
        assert_eq!(hex(&case[name]), stored);
    }
}

#[test]
fn every_transport_info_vector() {
    let file = load(FILE);
    for case in list(&file["cases"]) {
        println!("{}", case["name"]);
        check_case(case);
    }
    let node = hex32(&file["cases"][0]["node_id"]);
    let stored = stored_node(&node, None, false, None);
    assert_eq!(hex(&file["node_info_without_transports_cbor"]), stored);
    let example = hex(&file["node_info_after_one_failed_report_cbor_example"]);
    let at = example.windows(9).find(|window| window[0] == 0x1b).unwrap();
    let micros = u64::from_be_bytes(at[1..].try_into().unwrap());
    assert_eq!(example, stored_node(&node, Some(micros), false, None));
}

#[test]
fn the_custom_address_vector() {
    let expected = hex(&load(FILE)["transport_address_custom_postcard"]);
    let data = expected.slice(3..);
    let custom = Address::Custom(CustomAddress { id: 1, data });
    let key = SigningKey::from_bytes(&[1; 32]);
    let timestamp = HybridTimestamp::new(1, 0);
    let info = TransportInfo::sign(&key, timestamp, BTreeSet::from([custom])).unwrap();
    assert!(postcard(&info).ends_with(&expected));
}

/// Rule: one entry per kind of transport, and there is one kind.
#[test]
fn the_vector_of_two_addresses_of_one_kind() {
    let file = load(FILE);
    assert_eq!(file["add_addr_same_kind_keeps_last"], 1);
    let case = &file["cases"][1];
    let endpoint = hex(&case["endpoint_addr_postcard"]);
    let one = hex(&case["authenticated_postcard"]);
    let head = &one[..one.len() - endpoint.len() - 2];
    let two = [head, &[2, 0], &endpoint, &[0], &endpoint].concat();
    let node = VerifyingKey::from_bytes(hex32(&case["node_id"])).unwrap();
    let info = TransportInfo::decode(two.into()).unwrap();
    assert_eq!(
        info.verify(&node, info.timestamp().wall),
        Err(RecordError::TooLarge)
    );
}

/// Rule: the endpoint id must be the node id.
#[test]
fn the_foreign_endpoint_vector_is_refused() {
    let foreign = &load(FILE)["foreign_endpoint_id"];
    let info = TransportInfo::decode(hex(&foreign["postcard"])).unwrap();
    let now = Timestamp::from_micros(5);
    for name in ["signer", "endpoint_id"] {
        let node = VerifyingKey::from_bytes(hex32(&foreign[name])).unwrap();
        assert!(info.verify(&node, now).is_err());
        let mut book = Book::new(SigningKey::from_bytes(&[1; 32]).verifying_key());
        assert!(
            book.insert(node, info.clone(), told(), now, Time::ZERO)
                .is_err()
        );
        assert!(book.get(&node).is_none());
    }
    let signer = VerifyingKey::from_bytes(hex32(&foreign["signer"])).unwrap();
    assert_eq!(info.verify(&signer, now), Err(RecordError::ForeignEndpoint));
}

/// `authenticated ts=(5,0), other address`
fn insertion(entry: &Value) -> (bool, HybridTimestamp) {
    let (kind, rest) = text(&entry["insert"]).split_once(" ts=(").unwrap();
    let (micros, rest) = rest.split_once(',').unwrap();
    let (counter, _) = rest.split_once(')').unwrap();
    let timestamp = HybridTimestamp::new(micros.parse().unwrap(), counter.parse().unwrap());
    (kind == "authenticated", timestamp)
}

/// Rules: only a strictly later record replaces one, configured addresses never do, and a record
/// more than ten minutes ahead is refused. Where the vector differs, one of the last two did it.
#[test]
fn every_last_write_wins_vector_by_our_rules() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let node = key.verifying_key();
    let now = Timestamp::from_micros(10);
    let ahead = limits::RECORD_AHEAD_MAX.as_micros() as u64;
    let mut book = Book::new(SigningKey::from_bytes(&[1; 32]).verifying_key());
    let (mut last, mut rules_used) = (None, false);
    for (port, entry) in list(&load(FILE)["last_write_wins"]).iter().enumerate() {
        println!("{}", entry["insert"]);
        let (authenticated, timestamp) = insertion(entry);
        let address = Address::from(SocketAddr::from(([8, 8, 8, 8], port as u16)));
        let before = book.get(&node).and_then(|entry| entry.record().cloned());
        let replaced = if authenticated {
            let info = TransportInfo::sign(&key, timestamp, BTreeSet::from([address])).unwrap();
            let inserted = book.insert(node, info, told(), now, Time::ZERO);
            if timestamp.wall.as_micros() > now.as_micros() + ahead {
                assert_eq!(inserted, Err(RecordError::Future));
                rules_used = true;
            }
            matches!(inserted, Ok(Inserted::New | Inserted::Newer))
        } else {
            book.add_bootstrap(node, [address], now);
            rules_used = true;
            false
        };
        let after = book.get(&node).and_then(|entry| entry.record().cloned());
        assert_eq!(after != before, replaced);
        if !rules_used {
            assert_eq!(entry["replaced"], replaced);
        }
        let later = authenticated
            && last < Some(timestamp)
            && timestamp.wall.as_micros() <= now.as_micros() + ahead;
        assert_eq!(replaced, later);
        if replaced {
            last = Some(timestamp);
        }
    }
}

#[test]
fn tampered_records_never_panic_or_verify_otherwise() {
    for case in list(&load(FILE)["cases"]) {
        let node = VerifyingKey::from_bytes(hex32(&case["node_id"])).unwrap();
        let bytes = hex(&case["authenticated_postcard"]);
        let original = TransportInfo::decode(bytes.clone()).unwrap();
        for changed in tampered(&bytes) {
            let Ok(info) = TransportInfo::decode(changed) else {
                continue;
            };
            if info.verify(&node, info.timestamp().wall).is_ok() {
                assert_eq!(info, original);
            } else if info.verify(&node, info.timestamp().wall) != Err(RecordError::TooLarge) {
                assert_eq!(TransportInfo::decode(postcard(&info)), Ok(info));
            }
        }
    }
}
