//! `network-mdns.json`: what a node announces about itself.

use std::net::SocketAddr;

use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_protocol::record::{TransportInfo, UserData};

use crate::{hex, hex32, list, load, tampered, text};

const FILE: &str = "network-mdns.json";

/// The user data inside an announcement: a text with one byte of length in front.
fn user_data(packet: &[u8]) -> &str {
    let name = b"user-data=";
    let at = packet
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    let len = usize::from(packet[at - 1]);
    std::str::from_utf8(&packet[at + name.len()..at + len]).unwrap()
}

/// Lower case base32 without padding (RFC 4648).
fn label(node: &VerifyingKey) -> String {
    let bits = node
        .as_bytes()
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let digits = bits.chunks(5).map(|chunk| {
        let value = chunk.iter().fold(0, |value, bit| value << 1 | bit) << (5 - chunk.len());
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(value)])
    });
    digits.collect()
}

/// The loopback addresses behind the two ports that a packet names, IPv4 first.
fn sockets(packet: &[u8], label: &str) -> Vec<SocketAddr> {
    let name = format!("{label}-");
    let at = packet
        .windows(name.len())
        .enumerate()
        .filter(|(_, w)| *w == name.as_bytes());
    let ports = at.map(|(at, _)| {
        let digits = packet[at + name.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let digits: String = digits.map(|byte| char::from(*byte)).collect();
        digits.parse().unwrap()
    });
    let ports: Vec<u16> = ports.collect();
    vec![
        ([127, 0, 0, 1], ports[0]).into(),
        ([0u16, 0, 0, 0, 0, 0, 0, 1], ports[1]).into(),
    ]
}

#[test]
fn every_mdns_response_vector_verifies_for_the_node_it_names() {
    let file = load(FILE);
    for (response, seed) in list(&file["responses"])
        .iter()
        .zip([[0x0b; 32], [0x0c; 32]])
    {
        let packet = hex(response);
        let node = SigningKey::from_bytes(&seed).verifying_key();
        let data: UserData = user_data(&packet).parse().unwrap();
        assert_eq!(data.to_string(), user_data(&packet));
        let sockets = sockets(&packet, &label(&node));
        let info = TransportInfo::announced(&node, sockets.clone(), &data);
        assert_eq!(info.verify(&node, data.timestamp.wall), Ok(()));
        assert_eq!(UserData::of(&info), Some(data.clone()));
        // An address that got lost on the way breaks the signature.
        let part = TransportInfo::announced(&node, sockets.into_iter().take(1), &data);
        assert!(part.verify(&node, data.timestamp.wall).is_err());
    }
}

#[test]
fn the_described_mdns_response_vector() {
    let file = load(FILE);
    let described = &file["response_1"];
    let packet = hex(&file["responses"][0]);
    assert_eq!(described["packet_length"], packet.len());
    let node = VerifyingKey::from_bytes(hex32(&described["node_id"])).unwrap();
    assert_eq!(label(&node), text(&described["instance_label"]));
    let addresses = list(&described["addresses"]).iter();
    let addresses: Vec<SocketAddr> = addresses.map(|a| text(a).parse().unwrap()).collect();
    assert_eq!(sockets(&packet, &label(&node)), addresses);
    let txt: Vec<&str> = list(&described["txt"]).iter().map(text).collect();
    assert_eq!(txt, [format!("user-data={}", user_data(&packet))]);
}

#[test]
fn every_mdns_query_vector_asks_for_the_service() {
    for query in list(&load(FILE)["query"]) {
        let packet = hex(query);
        let service = b"\x0a_p2pandav1\x04_udp\x05local\0\0\x0c\0\x01";
        assert!(packet.ends_with(service));
        assert!(packet.starts_with(&[0, 0]));
    }
}

#[test]
fn no_tampered_mdns_vector_panics_or_verifies() {
    let file = load(FILE);
    let packet = hex(&file["responses"][0]);
    let node = VerifyingKey::from_bytes(hex32(&file["response_1"]["node_id"])).unwrap();
    let good = user_data(&packet);
    let original: UserData = good.parse().unwrap();
    let sockets = sockets(&packet, &label(&node));
    for changed in tampered(good.as_bytes()) {
        let Ok(changed) = std::str::from_utf8(&changed) else {
            continue;
        };
        let Ok(data) = changed.parse::<UserData>() else {
            continue;
        };
        let info = TransportInfo::announced(&node, sockets.clone(), &data);
        if info.verify(&node, data.timestamp.wall).is_ok() {
            assert_eq!(data, original);
        }
    }
}
