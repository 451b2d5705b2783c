use p2panda_core::{LogRange, Operation};
use p2panda_engine::{Incoming, Outcome, RejectReason};
use p2panda_store::Totals;

use crate::node::{ALL, Author, Node, SECOND_US, TOPIC, publish, session};

#[test]
fn a_prune_deletes_what_lies_before_it_and_keeps_the_height() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0"), author.says("1")]);
    let point = author.prunes(Some("2"));
    node.ingest(std::slice::from_ref(&point));
    assert_eq!(node.operations(), [point]);
    assert_eq!(node.height(&author.key()), Some(2));
    node.ingest(&[author.says("3")]);
    assert_eq!(node.texts(), ["2", "3"]);
}

#[test]
fn a_prune_with_a_wrong_body_deletes_nothing() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0"), author.says("1")]);
    let point = author.prunes(Some("2"));
    let (id, header) = (point.header.id(), point.header.as_bytes().clone());
    let reason = RejectReason::PayloadMismatch;
    let invalid = Incoming::Invalid {
        id,
        header,
        reason,
        genuine: None,
    };
    let outcomes = node.ingest_any(session(1), TOPIC, vec![invalid]);
    assert_eq!(outcomes, [Outcome::Rejected(reason)]);
    assert_eq!(node.texts(), ["0", "1"]);
    // The genuine one is welcome afterwards.
    node.ingest(&[point]);
    assert_eq!(node.texts(), ["2"]);
}

#[test]
fn a_prune_needs_no_predecessor() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let lost: Vec<Operation> = (0..3).map(|n| author.says(&n.to_string())).collect();
    let point = author.prunes(Some("3"));
    node.ingest(&[point, author.says("4")]);
    assert_eq!(node.texts(), ["3", "4"]);
    assert_eq!(node.ingest(&lost), [Outcome::Pruned; 3]);
    assert_eq!(node.status().rejected, []);
    let range = LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after: None,
        until: 4,
    };
    let totals = node.totals(range);
    assert_eq!(totals.operations, 2);
    assert_eq!(node.status().totals, totals);
}

#[test]
fn a_prune_at_or_below_the_height_changes_nothing() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0")]);
    let mut twin = author.clone();
    node.ingest(&[author.says("1"), author.says("2")]);
    let outcomes = node.ingest(&[twin.prunes(Some("fork"))]);
    assert_eq!(outcomes, [Outcome::Rejected(RejectReason::Fork)]);
    assert_eq!(node.texts(), ["0", "1", "2"]);
}

#[test]
fn operations_and_their_prune_in_one_batch_leave_the_prune() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let batch = [
        author.says("0"),
        author.says("1"),
        author.prunes(Some("2")),
        author.says("3"),
    ];
    node.ingest(&batch);
    assert_eq!(node.texts(), ["2", "3"]);
    assert_eq!(node.operations(), batch[2..]);
    let bytes: usize = batch[2..]
        .iter()
        .map(|o| o.header.as_bytes().len() + 1)
        .sum();
    assert_eq!(
        node.status().totals,
        Totals {
            operations: 2,
            bytes: bytes as u64
        }
    );
}

#[test]
fn several_prunes_in_one_batch_leave_the_last() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0")]);
    let points: Vec<Operation> = (1..20)
        .map(|n| author.prunes(Some(&n.to_string())))
        .collect();
    node.ingest(&points);
    assert_eq!(node.texts(), ["19"]);
    assert_eq!(node.status().totals.operations, 1);
}

#[test]
fn what_waits_for_a_pruned_operation_waits_no_more() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let (_, lost) = (a.says("0"), a.says("lost"));
    node.ingest(&[b.answers("answer", &[&lost])]);
    assert!(node.texts().is_empty());
    node.ingest(&[a.prunes(Some("2"))]);
    assert_eq!(node.texts().len(), 2);
    assert!(node.feed().iter().all(|entry| entry.missing.is_empty()));
}

#[test]
fn a_pruned_dependency_in_the_own_log_frees_the_log() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.ingest(&[b.answers("waits", &[&lost]), b.says("behind")]);
    node.ingest(&[b.prunes(Some("fresh start"))]);
    assert_eq!(node.texts(), ["fresh start"]);
    assert_eq!(node.status().waiting, 0);
    node.wait(10 * SECOND_US);
    assert_eq!(node.texts(), ["fresh start"]);
}

#[test]
fn our_own_prune_is_answered_and_prunes() {
    let mut node = Node::new();
    node.publish("0");
    node.publish("1");
    let (command, answer) = publish(TOPIC, None, true);
    node.process(vec![command]);
    let published = answer.try_recv().unwrap().unwrap();
    assert_eq!((published.seq, published.offset), (2, None));
    assert!(node.texts().is_empty());
    let page = node
        .reader()
        .log_page(&TOPIC, &node.key(), None, 9, ALL)
        .unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(node.publish("3").seq, 3);
}

#[test]
fn an_acknowledgement_passes_over_what_was_pruned() {
    let mut node = Node::new();
    let offsets: Vec<u64> = ["0", "1", "2"]
        .iter()
        .map(|text| node.publish(text).offset.unwrap())
        .collect();
    let mut other = Author::new(1);
    node.ingest(&[other.says("a"), other.says("b")]);
    node.ack("c", &[offsets[0], offsets[2]]);
    let (command, _answer) = publish(TOPIC, None, true);
    node.process(vec![command]);
    assert_eq!(node.unacked("c"), ["a", "b"]);
    let last = node.feed().last().unwrap().offset;
    node.ack("c", &[last]);
    assert_eq!(node.unacked("c"), ["a"]);
    node.ack("c", &[last - 1]);
    assert!(node.unacked("c").is_empty());
    assert_eq!(node.reader().consumer_prefix("c", &TOPIC).unwrap(), last);
}
