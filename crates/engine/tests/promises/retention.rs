//! Content of others that is older than the node keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::limits::{FEED_TIME_WAIT, PRUNE_ROWS_MAX};
use p2panda_core::{Operation, Topic};
use p2panda_engine::{Options, Outcome, Quotas, Retention, Start};

use crate::node::{Author, Node, OTHER_TOPIC, SECOND_US, TOPIC, without_body};

/// Time for which content is kept here.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A time after which what was there is older.
const LATER_US: u64 = 26 * 60 * 60 * SECOND_US;

fn with(quotas: Quotas, unread: bool) -> Options {
    let retention = Retention {
        age: Some(AGE),
        unread,
        ..Retention::default()
    };
    Options {
        quotas,
        retention,
        ..Options::default()
    }
}

fn keeping_for_a_day() -> Options {
    with(Quotas::default(), false)
}

fn bytes(operation: &Operation) -> u64 {
    operation.header.as_bytes().len() as u64 + u64::from(operation.header.payload_size())
}

fn is_stored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Stored { .. })
}

/// Lets the time pass after which content is old, and the steps that delete it.
fn age(node: &mut Node) {
    node.wait(LATER_US);
    for _ in 0..8 {
        node.wait(SECOND_US);
    }
}

fn aged_until(node: &Node) -> u64 {
    node.reader().aged_until(&TOPIC).unwrap()
}

#[test]
fn what_is_old_goes_and_its_log_goes_on() {
    let mut author = Author::new(1);
    let mut node = Node::open(keeping_for_a_day());
    let old = [author.says("old and secret"), author.says("older")];
    node.ingest(&old);
    // Up to the hour for which the feed notes no time.
    node.wait(u64::try_from(AGE.as_micros()).unwrap() - SECOND_US);
    assert_eq!((node.texts().len(), aged_until(&node)), (2, 0));
    let young = author.says("young");
    node.ingest(std::slice::from_ref(&young));
    let hour_us = u64::try_from(FEED_TIME_WAIT.as_micros()).unwrap();
    node.wait(hour_us + 2 * SECOND_US);
    assert_eq!(node.texts(), ["young"]);
    assert_eq!(aged_until(&node), 2);
    // Peers are told the same head, ask for nothing, and bring nothing again.
    assert_eq!(node.height(&author.key()), Some(2));
    assert_eq!(node.reader().wanted(&TOPIC).unwrap(), 0);
    assert_eq!(node.ingest(&old), [Outcome::Duplicate, Outcome::Duplicate]);
    let bare: Vec<Operation> = old.iter().map(without_body).collect();
    assert_eq!(node.operations()[..2], bare[..]);
    assert!(is_stored(&node.ingest(&[author.says("next")])[0]));
    assert_eq!(node.texts(), ["young", "next"]);
    // It stays deleted, and is in no file a minute later.
    for _ in 0..60 {
        node.wait(SECOND_US);
    }
    for file in std::fs::read_dir(&node.dir).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let part = b"old and secret";
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
    let node = node.reopen_with(keeping_for_a_day());
    assert_eq!(node.texts(), ["young", "next"]);
}

#[test]
fn our_own_content_and_what_opens_spaces_stays() {
    let mut author = Author::new(1);
    let mut control = author.in_log("control");
    let mut other = author.in_log("another");
    let mut node = Node::open(keeping_for_a_day());
    node.publish("own");
    node.ingest(&[
        author.says("first log"),
        control.says("control"),
        other.says("other"),
    ]);
    age(&mut node);
    assert_eq!(node.texts(), ["own", "control"]);
}

#[test]
fn what_a_consumer_has_not_read_stays_unless_configured() {
    for unread in [false, true] {
        let mut author = Author::new(1);
        let mut node = Node::open(with(Quotas::default(), unread));
        node.place("reader", Start::Beginning);
        node.ingest(&[author.says("one"), author.says("two")]);
        node.ack("reader", &[1]);
        age(&mut node);
        assert_eq!(node.texts().len(), usize::from(!unread));
        node.ack("reader", &[2]);
        age(&mut node);
        assert_eq!(node.texts().len(), 0);
    }
}

#[test]
fn each_topic_has_an_age_of_its_own() {
    let ages: BTreeMap<Topic, Option<Duration>> = [(OTHER_TOPIC, Some(AGE))].into();
    let retention = Retention {
        topics: ages,
        ..Retention::default()
    };
    let mut node = Node::open(Options {
        retention,
        ..Options::default()
    });
    let mut author = Author::new(1);
    node.ingest(&[author.says("here")]);
    let there = author.operation(
        OTHER_TOPIC,
        OTHER_TOPIC.log_id(),
        Some("there"),
        false,
        Vec::new(),
    );
    node.ingest_from(crate::node::session(1), OTHER_TOPIC, &[there]);
    age(&mut node);
    assert_eq!(node.texts(), ["here"]);
    assert_eq!(aged_until(&node), 0);
    assert_eq!(node.reader().aged_until(&OTHER_TOPIC).unwrap(), 2);
    // Without a setting nothing is due.
    let mut node = Node::new();
    node.ingest(&[Author::new(2).says("kept")]);
    node.settle();
    assert_eq!(node.engine.next_wake(), None);
}

#[test]
fn much_that_is_old_goes_in_bounded_steps() {
    let rows = 7;
    let mut options = keeping_for_a_day();
    options.prune_rows_max = rows;
    let mut node = Node::open(options);
    let mut author = Author::new(1);
    let sent: Vec<Operation> = (0..3 * rows + 1).map(|_| author.says("old")).collect();
    assert!(sent.len() < PRUNE_ROWS_MAX);
    node.ingest(&sent);
    node.wait(LATER_US);
    assert_eq!(node.texts().len(), sent.len() - rows);
    let mut left = Vec::new();
    while !node.texts().is_empty() {
        node.wait(SECOND_US);
        left.push(node.texts().len());
    }
    assert_eq!(left, [rows + 1, 1, 0]);
}

#[test]
fn what_was_deleted_by_age_makes_room_below_a_quota() {
    let (mut author, mut second) = (Author::new(1), Author::new(2));
    let sent = ["1", "2"].map(|text| author.says(&text.repeat(400)));
    let all = |total: u64| Quotas {
        total: Some(total),
        ..Quotas::default()
    };
    let room: u64 = sent.iter().map(bytes).sum();
    let mut node = Node::open(with(all(room), false));
    node.ingest(&sent);
    let late = second.says(&"3".repeat(50));
    assert!(!is_stored(&node.ingest(std::slice::from_ref(&late))[0]));
    assert_eq!(node.status().blocked.len(), 1);
    age(&mut node);
    assert_eq!(node.status().blocked.len(), 0);
    assert!(is_stored(&node.ingest(std::slice::from_ref(&late))[0]));
    // 800 bytes are gone, headers stay: what is kept now is counted to the byte, also again.
    let kept = room - 800 + bytes(&late);
    let next = second.says("next");
    for total in [kept + bytes(&next) - 1, kept + bytes(&next)] {
        let fits = total == kept + bytes(&next);
        let mut counted = Node::open_in(node.copy(), with(all(total), false));
        let outcome = &counted.ingest(std::slice::from_ref(&next))[0];
        assert_eq!(is_stored(outcome), fits);
        // Counted from the logs.
        let uncounted = Node::open_in(node.copy(), Options::default());
        let mut counted = uncounted.reopen_with(with(all(total), false));
        let outcome = &counted.ingest(std::slice::from_ref(&next))[0];
        assert_eq!(is_stored(outcome), fits);
    }
    // What a prune deletes is not deducted twice.
    let pruned = author.prunes(Some("snapshot"));
    assert!(is_stored(&node.ingest(std::slice::from_ref(&pruned))[0]));
    let kept = bytes(&pruned) + bytes(&late);
    for total in [kept + bytes(&next) - 1, kept + bytes(&next)] {
        let fits = total == kept + bytes(&next);
        let mut counted = Node::open_in(node.copy(), with(all(total), false));
        let outcome = &counted.ingest(std::slice::from_ref(&next))[0];
        assert_eq!(is_stored(outcome), fits);
    }
}
