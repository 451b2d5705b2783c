//! The gossip topics of `network-derivations.json` and the messages of `network-ephemeral.json`.

use p2panda_core::{EphemeralMessage, Topic};
use p2panda_protocol::ephemeral::Repeats;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::time::Time;

use crate::{hex, hex32, list, load};

#[test]
fn every_gossip_topic_vector() {
    for entry in list(&load("network-derivations.json")["gossip_topics"]) {
        let topic = Topic::from_bytes(hex32(&entry["topic"]));
        let sync = hex32(&entry["sync_membership_gossip_topic"]);
        assert_eq!(Overlay::of_sync(&topic).as_bytes(), &sync);
        let ephemeral = hex32(&entry["ephemeral_gossip_topic"]);
        assert_eq!(Overlay::of_ephemeral(&topic).as_bytes(), &ephemeral);
    }
}

#[test]
fn every_ephemeral_vector_is_delivered_once() {
    let file = load("network-ephemeral.json");
    let mut repeats = Repeats::new();
    for entry in list(&file["captured"]).iter().chain([&file["crafted"]]) {
        let message = EphemeralMessage::open(hex(&entry["message"])).unwrap();
        assert!(repeats.is_new(message.author, message.timestamp, Time::ZERO));
        assert!(!repeats.is_new(message.author, message.timestamp, Time::ZERO));
    }
}
