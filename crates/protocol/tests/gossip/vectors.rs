//! `vectors/network-gossip.json`: every message, and what is none.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use p2panda_core::VerifyingKey;
use p2panda_protocol::gossip::{
    Message, MessageError, Named, Priority, Scope, decode_header, encode_addresses, encode_header,
};
use p2panda_protocol::overlay::Overlay;
use serde_json::{Value, json};

fn file() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/network-gossip.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Bytes {
    let text = value.as_str().unwrap();
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn told(addresses: Option<&Bytes>) -> Value {
    addresses.map_or(Value::Null, |bytes| hex(bytes).into())
}

fn named(one: &Named) -> Value {
    json!([hex(one.node.as_bytes()), told(one.addresses.as_ref())])
}

fn key(node: &VerifyingKey) -> String {
    hex(node.as_bytes())
}

fn all_named(nodes: &[Named]) -> Vec<Value> {
    nodes.iter().map(named).collect()
}

/// The message in the words of the vector.
fn described(message: &Message) -> Value {
    match message {
        Message::Join(addresses) => json!({"kind": "join", "addresses": told(addresses.as_ref())}),
        Message::ForwardJoin { joined, hops } => {
            json!({"kind": "forward_join", "joined": named(joined), "hops": hops})
        }
        Message::Shuffle {
            origin,
            nodes,
            hops,
        } => {
            json!({"kind": "shuffle", "origin": key(origin), "nodes": all_named(nodes), "hops": hops})
        }
        Message::ShuffleReply(nodes) => json!({"kind": "shuffle_reply", "nodes": all_named(nodes)}),
        Message::Neighbour {
            priority,
            addresses,
        } => {
            let priority = match priority {
                Priority::High => "high",
                Priority::Low => "low",
            };
            json!({"kind": "neighbour", "priority": priority, "addresses": told(addresses.as_ref())})
        }
        Message::Disconnect { alive } => json!({"kind": "disconnect", "alive": alive}),
        Message::Payload { id, content, scope } => {
            let hops = match scope {
                Scope::Everyone(hops) => Some(hops),
                Scope::Neighbours => None,
            };
            json!({"kind": "broadcast", "id": hex(id), "content": hex(content), "hops": hops})
        }
        Message::Prune => json!({"kind": "prune"}),
        Message::Graft { id, hops } => {
            json!({"kind": "graft", "id": id.map(|id| hex(&id)), "hops": hops})
        }
        Message::Announce(announced) => {
            let announced = announced.iter().map(|(id, hops)| json!([hex(id), hops]));
            json!({"kind": "announcement", "announced": announced.collect::<Vec<_>>()})
        }
    }
}

fn word(error: MessageError) -> String {
    match error {
        MessageError::Wire(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    }
}

#[test]
fn every_payload_is_read_as_the_vector_says() {
    for vector in file()["vectors"].as_array().unwrap() {
        let (name, payload) = (&vector["name"], unhex(&vector["payload"]));
        match Message::decode(payload.clone()) {
            Ok(message) => {
                assert_eq!(described(&message), vector["message"], "{name}");
                let written = message.encode().slice(4..);
                assert_eq!(json!(written == payload), vector["is_written_so"], "{name}");
            }
            Err(error) => assert_eq!(word(error), vector["error"], "{name}"),
        }
    }
}

#[test]
fn addresses_and_first_frames_have_the_bytes_of_the_vector() {
    let file = file();
    for vector in file["addresses"].as_array().unwrap() {
        let socket = |one: &Value| {
            let ip = unhex(&one[1]);
            let ip: IpAddr = match one[0].as_str().unwrap() {
                "v4" => <[u8; 4]>::try_from(ip.as_ref()).unwrap().into(),
                _ => <[u8; 16]>::try_from(ip.as_ref()).unwrap().into(),
            };
            SocketAddr::new(ip, one[2].as_u64().unwrap() as u16)
        };
        let sockets = vector["sockets"].as_array().unwrap().iter().map(socket);
        let sockets: Vec<SocketAddr> = sockets.collect();
        let bytes = encode_addresses(vector["relay"].as_str(), &sockets);
        assert_eq!(bytes, unhex(&vector["bytes"]));
    }
    let topic: [u8; 32] = unhex(&file["stream"]["topic"]).as_ref().try_into().unwrap();
    let first = encode_header(&Overlay::from_bytes(topic));
    assert_eq!(first, unhex(&file["stream"]["first_frame"]));
    assert_eq!(
        decode_header(first.slice(4..)).unwrap(),
        Overlay::from_bytes(topic)
    );
}
