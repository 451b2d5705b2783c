//! `network-mdns.json`: what a node announces about itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_protocol::mdns::{self, Announcement, Packet};
use p2panda_protocol::record::UserData;

use crate::{hex, hex32, list, load, tampered, text};

const FILE: &str = "network-mdns.json";

fn announced(packet: &[u8]) -> Announcement {
    match Packet::read(packet) {
        Ok(Packet::Announcement(announced)) => *announced,
        other => panic!("not an announcement: {other:?}"),
    }
}

#[test]
fn every_mdns_response_is_read_and_written() {
    let file = load(FILE);
    for (response, seed) in list(&file["responses"])
        .iter()
        .zip([[0x0b; 32], [0x0c; 32]])
    {
        let packet = hex(response);
        let node = SigningKey::from_bytes(&seed).verifying_key();
        let read = announced(&packet);
        assert_eq!(read.node, node);
        let record = read.record();
        let time = read.user_data.timestamp.wall;
        assert_eq!(record.verify(&node, time), Ok(()));
        assert_eq!(UserData::of(&record), Some(read.user_data.clone()));
        assert_eq!(Announcement::of(&node, &record), Ok(read.clone()));
        assert_eq!(read.to_packet().unwrap(), packet);
        // An address that got lost on the way breaks the signature.
        let mut part = read;
        part.sockets.pop_last();
        assert!(part.record().verify(&node, time).is_err());
    }
}

#[test]
fn the_described_mdns_response_vector() {
    let file = load(FILE);
    let described = &file["response_1"];
    let packet = hex(&file["responses"][0]);
    assert_eq!(described["packet_length"], packet.len());
    let read = announced(&packet);
    let node = VerifyingKey::from_bytes(hex32(&described["node_id"])).unwrap();
    assert_eq!(read.node, node);
    let label = text(&described["instance_label"]).as_bytes();
    assert!(packet.windows(label.len()).any(|window| window == label));
    let addresses = list(&described["addresses"]).iter();
    let addresses: BTreeSet<SocketAddr> = addresses.map(|a| text(a).parse().unwrap()).collect();
    assert_eq!(read.sockets, addresses);
    let txt: Vec<&str> = list(&described["txt"]).iter().map(text).collect();
    assert_eq!(txt, [format!("user-data={}", read.user_data)]);
}

#[test]
fn the_mdns_query_vector_is_read_and_written_byte_by_byte() {
    for query in list(&load(FILE)["query"]) {
        let packet = hex(query);
        assert_eq!(Packet::read(&packet), Ok(Packet::Query));
        assert_eq!(mdns::query(), packet);
    }
}

#[test]
fn no_tampered_mdns_vector_panics_or_verifies_as_something_else() {
    let file = load(FILE);
    let packet = hex(&file["responses"][0]);
    let original = announced(&packet);
    for changed in tampered(&packet) {
        let Ok(Packet::Announcement(read)) = Packet::read(&changed) else {
            continue;
        };
        let time = read.user_data.timestamp.wall;
        if read.record().verify(&read.node, time).is_ok() {
            assert_eq!(*read, original);
        }
    }
}
