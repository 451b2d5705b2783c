//! The addresses that the address book allows to dial.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use p2panda_core::{HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};

use super::{Book, Plan, Source, Teller};
use crate::reach::{Ground, Net};
use crate::record::{Address, TransportInfo};
use crate::time::Time;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn node(byte: u8) -> VerifyingKey {
    key(byte).verifying_key()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn record(byte: u8, counter: u64, sockets: &[&str]) -> TransportInfo {
    let addresses = sockets.iter().map(|text| Address::ip(socket(text)));
    let timestamp = HybridTimestamp::new(NOW.as_micros(), counter);
    TransportInfo::sign(&key(byte), timestamp, addresses.collect()).unwrap()
}

fn told_by(byte: u8, from: &str) -> Source {
    let from: Option<IpAddr> = from.parse().ok();
    let node = node(byte);
    Source::Peer(Teller { node, from })
}

fn book() -> Book {
    let mut book = Book::new(node(0));
    let ip = "192.168.1.7".parse().unwrap();
    let net = Net {
        ip,
        prefix_bits: 24,
    };
    book.set_ground(Ground {
        nets: BTreeSet::from([net]),
        relays: BTreeSet::from(["https://mine/".to_owned()]),
    });
    let own = BTreeSet::from([Address::ip(socket("192.168.1.7:4"))]);
    book.sign_own(&key(0), own, NOW).unwrap();
    book
}

fn asked(plan: Plan) -> Vec<SocketAddr> {
    match plan {
        Plan::Knock { ask, .. } => ask,
        Plan::Dial(_) | Plan::Rest => Vec::new(),
    }
}

fn dialled(plan: &Plan) -> Vec<SocketAddr> {
    match plan {
        Plan::Dial(known) | Plan::Knock { known, .. } => {
            known.iter().filter_map(Address::socket).collect()
        }
        Plan::Rest => Vec::new(),
    }
}

#[test]
fn hearsay_is_asked_before_it_is_dialled() {
    let mut book = book();
    let (node, now) = (node(1), Time::ZERO);
    book.insert(
        node,
        record(1, 0, &["8.8.8.8:4"]),
        told_by(9, ""),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    assert!(book.known(&node, NOW, now).is_empty());
    assert!(book.may_dial(&node, NOW, now));
    assert_eq!(asked(book.plan(&node, NOW, now)), [socket("8.8.8.8:4")]);
    assert!(!book.may_dial(&node, NOW, now));
    assert_eq!(book.plan(&node, NOW, now), Plan::Rest);
    book.answered(&node, socket("[::ffff:8.8.8.8]:4"));
    assert_eq!(dialled(&book.plan(&node, NOW, now)), [socket("8.8.8.8:4")]);
    // It moved: what it says now is hearsay again, no matter who tells it.
    let moved = record(1, 1, &["8.8.8.8:5"]);
    book.insert(node, moved, told_by(1, ""), NOW, Time::ZERO)
        .unwrap();
    assert_eq!(asked(book.plan(&node, NOW, now)), [socket("8.8.8.8:5")]);
}

#[test]
fn configured_and_announced_addresses_are_dialled_at_once() {
    let mut book = book();
    let now = Time::ZERO;
    book.add_bootstrap(node(1), [Address::ip(socket("10.9.9.9:4"))], NOW);
    assert_eq!(
        dialled(&book.plan(&node(1), NOW, now)),
        [socket("10.9.9.9:4")]
    );
    let announced = record(2, 0, &["10.0.0.3:4", "224.0.0.251:4", "192.168.1.255:4"]);
    book.insert(node(2), announced.clone(), told_by(9, ""), NOW, Time::ZERO)
        .unwrap();
    assert_eq!(book.plan(&node(2), NOW, now), Plan::Rest);
    book.insert(node(2), announced, Source::Announced, NOW, Time::ZERO)
        .unwrap();
    assert_eq!(
        dialled(&book.plan(&node(2), NOW, now)),
        [socket("10.0.0.3:4")]
    );
}

#[test]
fn of_many_addresses_eight_are_ever_asked() {
    let mut book = book();
    let many: Vec<String> = (1..=63).map(|port| format!("8.8.8.8:{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    book.insert(
        node(1),
        record(1, 0, &many),
        told_by(9, ""),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    let mut all = Vec::new();
    for minute in 0..600 {
        let now = Time::ZERO.after(minute * 60_000);
        all.extend(asked(book.plan(&node(1), NOW, now)));
    }
    let different: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(different.len(), limits::RECORD_SOCKETS_USED_MAX);
    // In ten hours: at 0, 1, 3, 7, 15, 31, 63, 127 and 255 minutes, and four hours later.
    assert_eq!(all.len(), different.len() * 10);
}

#[test]
fn a_new_record_or_name_does_not_end_a_rest() {
    let mut book = book();
    let now = Time::ZERO;
    let victim = &["8.8.8.8:4"];
    book.insert(
        node(1),
        record(1, 0, victim),
        told_by(9, ""),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    assert_eq!(asked(book.plan(&node(1), NOW, now)).len(), 1);
    book.insert(
        node(1),
        record(1, 1, victim),
        told_by(8, ""),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    book.insert(
        node(2),
        record(2, 0, victim),
        told_by(7, ""),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    assert_eq!(book.plan(&node(1), NOW, now), Plan::Rest);
    assert_eq!(book.plan(&node(2), NOW, now), Plan::Rest);
    book.start_anew();
    assert_eq!(asked(book.plan(&node(2), NOW, now)).len(), 1);
}

#[test]
fn what_one_teller_told_is_asked_on_its_account_and_on_no_other() {
    let mut book = book();
    let now = Time::ZERO;
    let eight =
        |host: u8| -> Vec<String> { (1..=8).map(|port| format!("8.8.{host}.8:{port}")).collect() };
    for byte in 1..=4 {
        let sockets = eight(byte);
        let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
        let teller = if byte < 4 { 9 } else { 8 };
        let info = record(byte, 0, &sockets);
        book.insert(node(byte), info, told_by(teller, ""), NOW, Time::ZERO)
            .unwrap();
    }
    assert_eq!(asked(book.plan(&node(1), NOW, now)).len(), 8);
    assert_eq!(book.plan(&node(2), NOW, now), Plan::Rest);
    assert_eq!(asked(book.plan(&node(4), NOW, now)).len(), 8);
    // Someone else tells the same: it counts as told by both.
    let sockets = eight(2);
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let again = record(2, 0, &sockets);
    book.insert(node(2), again, told_by(7, ""), NOW, Time::ZERO)
        .unwrap();
    assert_eq!(asked(book.plan(&node(2), NOW, now)).len(), 8);
    assert_eq!(book.plan(&node(3), NOW, now), Plan::Rest);
    let next = now.after(60_000);
    assert_eq!(asked(book.plan(&node(3), NOW, next)).len(), 8);
}

#[test]
fn neighbours_meet_and_nobody_elses_network_is_scanned() {
    let mut book = book();
    let now = Time::ZERO;
    let lan = &[
        "192.168.1.9:4",
        "10.0.0.9:4",
        "127.0.0.1:4",
        "192.168.1.7:4",
    ];
    book.insert(
        node(1),
        record(1, 0, lan),
        told_by(9, "8.8.8.8"),
        NOW,
        Time::ZERO,
    )
    .unwrap();
    // The last one is our own.
    assert_eq!(
        asked(book.plan(&node(1), NOW, now)),
        [socket("192.168.1.9:4")]
    );
    let near = told_by(8, "127.0.0.1");
    book.insert(node(1), record(1, 0, lan), near, NOW, Time::ZERO)
        .unwrap();
    assert_eq!(
        asked(book.plan(&node(1), NOW, now)),
        [socket("127.0.0.1:4")]
    );
}

#[test]
fn a_relay_is_used_only_when_the_user_allows_it() {
    let mut book = book();
    let now = Time::ZERO;
    let relays = ["https://mine/", "https://theirs/"].map(|url| Address::Relay(url.to_owned()));
    let timestamp = HybridTimestamp::new(NOW.as_micros(), 0);
    let info = TransportInfo::sign(&key(1), timestamp, BTreeSet::from(relays)).unwrap();
    book.insert(node(1), info, told_by(9, ""), NOW, Time::ZERO)
        .unwrap();
    let mine = Address::Relay("https://mine/".to_owned());
    assert_eq!(book.plan(&node(1), NOW, now), Plan::Dial(vec![mine]));
    let theirs = Address::Relay("https://theirs/".to_owned());
    book.add_bootstrap(node(2), [theirs.clone()], NOW);
    assert_eq!(book.plan(&node(2), NOW, now), Plan::Dial(vec![theirs]));
}

#[test]
fn a_silent_known_address_is_joined_by_hearsay() {
    let mut book = book();
    let now = Time::ZERO;
    book.add_bootstrap(node(1), [Address::ip(socket("8.8.8.8:4"))], NOW);
    let info = record(1, 0, &["8.8.8.8:4", "8.8.4.4:4"]);
    book.insert(node(1), info, told_by(1, "8.8.8.8"), NOW, Time::ZERO)
        .unwrap();
    assert!(asked(book.plan(&node(1), NOW, now)).is_empty());
    book.unanswered(node(1), None, now);
    let plan = book.plan(&node(1), NOW, now);
    assert_eq!(dialled(&plan), [socket("8.8.8.8:4")]);
    assert_eq!(asked(plan), [socket("8.8.4.4:4")]);
    // It rests; the known one is still dialled.
    assert_eq!(
        dialled(&book.plan(&node(1), NOW, now)),
        [socket("8.8.8.8:4")]
    );
    book.answered(&node(1), socket("8.8.8.8:4"));
    let later = now.after(120_000);
    assert!(asked(book.plan(&node(1), NOW, later)).is_empty());
}

#[test]
fn a_node_whose_address_another_answers_is_left_alone() {
    let mut book = book();
    let now = Time::ZERO;
    book.add_bootstrap(node(1), [Address::ip(socket("8.8.8.8:4"))], NOW);
    let info = record(1, 0, &["8.8.4.4:4"]);
    book.insert(node(1), info, told_by(1, ""), NOW, Time::ZERO)
        .unwrap();
    book.unanswered(node(1), Some(socket("8.8.4.4:4")), now);
    assert_eq!(book.plan(&node(1), NOW, now), Plan::Rest);
    assert!(book.known(&node(1), NOW, now).is_empty());
    let rested = now + limits::WRONG_NODE_REST;
    assert!(!dialled(&book.plan(&node(1), NOW, rested)).is_empty());
}

#[test]
fn where_and_how_near_a_node_was_survives_a_restart() {
    let mut book = book();
    let now = Time::ZERO;
    let info = record(1, 0, &["8.8.8.8:4", "8.8.8.8:5"]);
    book.insert(node(1), info, told_by(9, ""), NOW, Time::ZERO)
        .unwrap();
    book.answered(&node(1), socket("8.8.8.8:5"));
    let info = record(2, 0, &["127.0.0.1:4"]);
    book.insert(node(2), info, told_by(9, "127.0.0.1"), NOW, Time::ZERO)
        .unwrap();
    let mut restarted = Book::new(node(0));
    for (node, row) in book.take_changed() {
        restarted.restore(node, row.unwrap()).unwrap();
    }
    let plan = restarted.plan(&node(1), NOW, now);
    assert_eq!(plan, Plan::Dial(vec![Address::ip(socket("8.8.8.8:5"))]));
    let plan = restarted.plan(&node(2), NOW, now);
    assert_eq!(asked(plan), [socket("127.0.0.1:4")]);
}
