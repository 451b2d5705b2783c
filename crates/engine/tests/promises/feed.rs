//! Entries of the feed that are not bodies.

use bytes::Bytes;
use p2panda_core::Operation;
use p2panda_engine::Start;
use p2panda_store::{Change, Content, Durability, Ready, Store};

use crate::node::{Author, Node, without_body};

const PLAINTEXT: Bytes = Bytes::from_static(b"opened");

fn body(text: &'static str) -> Content {
    Content::Body(Bytes::from_static(text.as_bytes()))
}

/// Gives operations the next places in the feed.
fn place(store: &mut Store, places: &[(u64, Ready)]) {
    let mut tx = store.begin(Durability::Full).unwrap();
    for (arrival, ready) in places {
        let offset = tx.next_offset();
        tx.place(*arrival, offset, ready).unwrap();
    }
    tx.commit().unwrap();
}

/// A node with three operations, of which the second is opened and the first withdrawn.
fn changed() -> Node {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = ["one", "two", "three"].map(|text| author.says(text)).into();
    node.ingest(&sent);
    node.ack("app", &[1]);
    let opened = Ready::Opened(PLAINTEXT);
    let withdrawn = Ready::Changed(Change::Withdrawn);
    node.reopen_after(|store| place(store, &[(2, opened), (1, withdrawn)]))
}

fn expected() -> Vec<Content> {
    let withdrawn = Content::Change(Change::Withdrawn);
    vec![body("three"), Content::Opened(PLAINTEXT), withdrawn]
}

fn offsets(node: &Node) -> Vec<u64> {
    node.feed().iter().map(|entry| entry.offset).collect()
}

#[test]
fn opened_and_changed_entries_survive_restart_and_crash() {
    let mut node = changed();
    assert_eq!(node.contents(), expected());
    assert_eq!(offsets(&node), [3, 4, 5]);
    assert_eq!(node.publish("mine").offset, Some(6));
    let mut all = expected();
    all.push(body("mine"));
    assert_eq!(node.contents(), all);
    assert_eq!(node.after_crash().contents(), all);
    assert_eq!(node.reopen().contents(), all);
}

#[test]
fn opened_and_changed_entries_are_acked_and_replayed() {
    let mut node = changed();
    let unacked = |node: &Node| node.unacked_entries("app").len();
    assert_eq!(
        unacked(&node),
        3,
        "an ack of the former place does not count"
    );
    node.ack("app", &[5]);
    let mut node = node.after_crash();
    assert_eq!(unacked(&node), 2);
    node.ack("app", &[4, 3]);
    assert_eq!(unacked(&node), 0);
    assert_eq!(node.place("app", Start::Resume), 5);
    node.place("app", Start::Beginning);
    let shown = |entries: Vec<p2panda_store::FeedEntry>| -> Vec<Content> {
        entries.into_iter().map(|entry| entry.content).collect()
    };
    assert_eq!(shown(node.unacked_entries("app")), expected());
    node.place("app", Start::Offset(4));
    assert_eq!(shown(node.unacked_entries("app")), expected()[1..]);
}

#[test]
fn a_late_body_and_a_late_change_take_their_places_in_turn() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = ["one", "two", "three"].map(|text| author.says(text)).into();
    node.ingest(&[sent[0].clone(), without_body(&sent[1]), sent[2].clone()]);
    let members = Ready::Changed(Change::Members);
    let mut node = node.reopen_after(|store| place(store, &[(1, members)]));
    node.ingest(&sent[1..2]);
    let members = Content::Change(Change::Members);
    assert_eq!(node.contents(), [body("three"), members, body("two")]);
    assert_eq!(offsets(&node), [2, 3, 4]);
}

#[test]
fn a_database_of_an_earlier_version_goes_on_with_what_it_had() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = ["one", "two", "three"].map(|text| author.says(text)).into();
    node.ingest(&[sent[0].clone(), without_body(&sent[1])]);
    node.ack("app", &[1]);
    node.without_content_kinds();
    let mut node = node.reopen();
    node.ingest(&sent[1..]);
    assert_eq!(node.contents(), [body("one"), body("two"), body("three")]);
    assert_eq!(node.unacked("app"), ["two", "three"]);
}
