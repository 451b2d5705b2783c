//! Pruned operations that are more than one transaction may delete.

use std::collections::BTreeMap;

use p2panda_core::{LogRange, Operation, VerifyingKey};
use p2panda_engine::Outcome;
use p2panda_store::{PageLimits, Totals};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::node::{ALL, Author, Node, TOPIC};

/// A node with 40 operations of an author and the prune point behind them; two are deleted at once.
fn pruned() -> (Node, Author, Operation) {
    let (mut node, mut author) = (Node::sliced(2), Author::new(1));
    let old: Vec<Operation> = (0..40).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&old);
    let point = author.prunes(Some("40"));
    node.ingest(std::slice::from_ref(&point));
    (node, author, point)
}

fn range(author: &Author) -> LogRange {
    LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after: None,
        until: u32::MAX,
    }
}

#[test]
fn what_was_pruned_is_gone_at_once_and_deleted_in_slices() {
    let (mut node, author, point) = pruned();
    let mut rows = vec![node.rows()];
    while node.rows() > 1 {
        assert_eq!(node.operations(), std::slice::from_ref(&point));
        assert_eq!(node.texts(), ["40"]);
        let totals = node.totals(range(&author));
        assert_eq!((totals.operations, node.status().totals), (1, totals));
        let page = node
            .reader()
            .log_page(&TOPIC, &author.key(), Some(3), 99, ALL)
            .unwrap();
        assert_eq!(page.entries.len(), 1);
        let feed = node.status().feed.unwrap();
        assert_eq!((feed.0, feed.1), (node.feed()[0].offset, feed.0));
        node.wait(0);
        rows.push(node.rows());
    }
    assert!(rows.windows(2).all(|two| two[0] - two[1] <= 2), "{rows:?}");
    assert!(rows.len() > 18, "{rows:?}");
    node.settle();
    assert_eq!(node.engine.next_wake(), None);
    assert_eq!(node.texts(), ["40"]);
}

#[test]
fn idle_does_one_step_and_says_whether_another_one_is_due() {
    let (mut node, _, _) = pruned();
    let mut steps = 0;
    while node.rows() > 1 {
        let before = node.rows();
        let more = node.engine.idle(node.now).unwrap();
        assert!(before - node.rows() <= 2);
        steps += 1;
        assert!(more || node.rows() == 1, "{} rows are left", node.rows());
    }
    assert!(steps >= 18, "{steps}");
    while node.engine.idle(node.now).unwrap() {}
    assert!(
        node.engine
            .next_wake()
            .is_none_or(|due| due > node.now.elapsed_us)
    );
}

#[test]
fn slices_are_deleted_under_load_as_well() {
    let (mut node, _, _) = pruned();
    let before = node.rows();
    for n in 0..64_u8 {
        node.ack(&n.to_string(), &[]);
    }
    assert_eq!(before - node.rows(), 8);
}

#[test]
fn a_crash_or_a_restart_between_slices_changes_nothing() {
    let (mut node, _, point) = pruned();
    let mut restarts = 0;
    while node.rows() > 1 {
        node = match restarts % 2 {
            0 => node.after_crash(),
            _ => node.reopen(),
        };
        restarts += 1;
        assert_eq!(node.operations(), std::slice::from_ref(&point));
        let before = node.rows();
        node.wait(0);
        assert!(node.rows() < before);
    }
    assert!(restarts > 18, "{restarts}");
}

#[test]
fn a_log_goes_on_and_is_pruned_again_while_it_is_deleted() {
    let (mut node, mut author, _) = pruned();
    node.ingest(&[author.says("41"), author.says("42")]);
    assert_eq!(node.texts(), ["40", "41", "42"]);
    node.ingest(&[author.prunes(Some("43")), author.says("44")]);
    assert_eq!(node.texts(), ["43", "44"]);
    let mut other = Author::new(2);
    node.ingest(&[other.says("a"), other.says("b"), other.says("c")]);
    node.ingest(&[other.prunes(Some("d"))]);
    assert_eq!(node.texts(), ["43", "44", "d"]);
    node.settle();
    assert_eq!(node.texts(), ["43", "44", "d"]);
    assert_eq!(node.rows(), 3);
    node.ingest(&[author.says("45")]);
    assert_eq!(node.texts(), ["43", "44", "d", "45"]);
}

#[test]
fn prunes_of_many_logs_share_one_slice() {
    let mut node = Node::new();
    let mut authors: Vec<Author> = (1..4).map(Author::new).collect();
    for author in &mut authors {
        let large = "x".repeat(600 * 1024);
        node.ingest(&[author.says(&large), author.says(&large)]);
    }
    let points: Vec<Operation> = authors.iter_mut().map(|a| a.prunes(Some("p"))).collect();
    node.ingest(&points);
    assert_eq!(node.rows(), 7, "two of six are deleted, three are new");
    assert_eq!(node.texts(), ["p"; 3]);
    node.wait(0);
    assert_eq!(node.rows(), 5);
    node.settle();
    assert_eq!(node.rows(), 3);
}

#[test]
fn what_comes_again_of_the_pruned_is_refused_as_pruned() {
    let (mut node, mut author) = (Node::sliced(2), Author::new(1));
    let old: Vec<Operation> = (0..9).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&old);
    node.ingest(&[author.prunes(None)]);
    assert!(node.rows() > 1);
    assert_eq!(node.ingest(&old), [Outcome::Pruned; 9]);
    let mut twin = Author::new(1);
    let fork = twin.says("fork");
    assert_eq!(node.ingest(&[fork]), [Outcome::Pruned]);
    assert_eq!(node.status().forks, 0);
    assert!(node.texts().is_empty());
}

#[test]
fn a_read_passes_over_a_bounded_number_of_pruned_operations() {
    let (mut node, mut author) = (Node::sliced(2), Author::new(1));
    let old: Vec<Operation> = (0..1_500).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&old);
    node.ingest(&[author.prunes(Some("point"))]);
    let limits = PageLimits {
        rows: 10,
        bytes: 1_000,
    };
    let reader = node.reader();
    let (mut arrivals, mut offsets) = (vec![0], vec![0]);
    loop {
        let page = reader
            .arrivals_page(&TOPIC, arrivals[arrivals.len() - 1], limits)
            .unwrap();
        arrivals.push(page.last_arrival);
        if !page.more {
            assert_eq!(page.entries.len(), 1);
            break;
        }
        assert!(page.entries.is_empty());
    }
    loop {
        let page = reader
            .feed_page(&TOPIC, offsets[offsets.len() - 1], limits, None)
            .unwrap();
        offsets.push(page.last_offset);
        if !page.more {
            assert_eq!(page.entries.len(), 1);
            break;
        }
        assert!(page.entries.is_empty());
    }
    assert_eq!((arrivals.len(), offsets.len()), (4, 4));
}

#[test]
fn acks_behind_many_pruned_operations_are_folded_later() {
    let (mut node, mut author, mut other) = (Node::sliced(500), Author::new(1), Author::new(2));
    let old: Vec<Operation> = (0..2_000).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&old);
    node.ingest(&[
        other.says("a"),
        author.prunes(Some("point")),
        other.says("b"),
    ]);
    let offsets: Vec<u64> = node.feed().iter().map(|entry| entry.offset).collect();
    node.ack("c", &[1, offsets[0]]);
    assert_eq!(node.unacked("c"), ["point", "b"]);
    node.ack("c", &offsets[2..]);
    assert_eq!(node.unacked("c"), ["point"]);
    let mut node = node.after_crash();
    assert_eq!(node.unacked("c"), ["point"]);
    node.settle();
    node.ack("c", &[]);
    let prefix = |node: &Node| node.reader().consumer_prefix("c", &TOPIC).unwrap();
    assert_eq!(prefix(&node), offsets[0]);
    node.ack("c", &offsets[1..2]);
    assert_eq!(prefix(&node), offsets[2]);
    assert!(node.unacked("c").is_empty());
}

#[test]
fn nothing_of_the_pruned_can_be_read_in_the_files() {
    nothing_of_the_pruned_can_be_read(|node| node);
}

#[test]
fn pruned_rows_of_an_earlier_version_leave_the_files() {
    nothing_of_the_pruned_can_be_read(|node| {
        node.without_content_kinds();
        node.reopen()
    });
}

fn nothing_of_the_pruned_can_be_read(before: impl FnOnce(Node) -> Node) {
    let (mut node, mut author, mut other) = (Node::new(), Author::new(1), Author::new(2));
    let secret = "a secret to be pruned ".repeat(3);
    for n in 0..1_500 {
        let mut operations = vec![author.says(&format!("{secret} {n}"))];
        if n % 3 == 0 {
            operations.push(other.says(&"others stay ".repeat(n % 40 + 1)));
        }
        if n % 100 == 0 {
            operations.push(author.says(&secret.repeat(1_000)));
        }
        node.ingest(&operations);
    }
    let header = node.feed()[0].header.as_bytes().clone();
    let mut node = before(node);
    let largest = disk_bytes(&node);
    node.ingest(&[author.prunes(Some("point"))]);
    assert!(node.settle() > 3);
    assert_eq!(count(&node, b"a secret to be pruned"), 0);
    assert_eq!(count(&node, &header), 0);
    let left = disk_bytes(&node);
    assert!(left < largest / 2, "{left} of {largest}");
    assert!(count(&node, b"others stay") > 500);
    let node = node.reopen();
    assert_eq!(count(&node, b"a secret to be pruned"), 0);
}

fn disk_bytes(node: &Node) -> u64 {
    let files = std::fs::read_dir(&node.dir).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

/// Counts how often the files of a node have these bytes.
fn count(node: &Node, marker: &[u8]) -> usize {
    let files = std::fs::read_dir(&node.dir).unwrap();
    let bytes = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let found = bytes.windows(marker.len()).filter(|at| *at == marker);
    found.count()
}

#[derive(Clone, Debug)]
enum Step {
    Says(usize),
    Prunes(usize),
    Tick,
    Crash,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..3_usize).prop_map(Step::Says),
        2 => (0..3_usize).prop_map(Step::Prunes),
        4 => Just(Step::Tick),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
    ];
    vec(step, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn at_every_moment_a_node_shows_what_was_not_pruned(steps in steps(), rows in 1..4_usize) {
        let mut node = Node::sliced(rows);
        let mut authors: Vec<Author> = (1..4).map(Author::new).collect();
        let mut kept: BTreeMap<VerifyingKey, Vec<Operation>> = BTreeMap::new();
        for step in &steps {
            match step {
                Step::Says(n) => {
                    let said = authors[*n].says("text");
                    node.ingest(std::slice::from_ref(&said));
                    kept.entry(authors[*n].key()).or_default().push(said);
                }
                Step::Prunes(n) => {
                    let point = authors[*n].prunes(Some("point"));
                    node.ingest(std::slice::from_ref(&point));
                    kept.insert(authors[*n].key(), vec![point]);
                }
                Step::Tick => node.wait(0),
                Step::Crash => node = node.after_crash(),
                Step::Close => node = node.reopen(),
            }
            check(&node, &kept);
        }
        node.settle();
        check(&node, &kept);
        assert_eq!(node.rows(), kept.values().flatten().count() as u32);
    }
}

fn check(node: &Node, kept: &BTreeMap<VerifyingKey, Vec<Operation>>) {
    let all = kept.values().flatten().count();
    assert_eq!(node.operations().len(), all);
    assert_eq!(node.feed().len(), all);
    let size = |operation: &Operation| {
        operation.header.as_bytes().len() + operation.body.as_ref().map_or(0, |body| body.len())
    };
    let bytes: usize = kept.values().flatten().map(size).sum();
    let totals = Totals {
        operations: all as u64,
        bytes: bytes as u64,
    };
    assert_eq!(node.status().totals, totals);
    for (author, operations) in kept {
        let page = node.reader().log_page(&TOPIC, author, None, u32::MAX, ALL);
        let entries = page.unwrap().entries.into_iter();
        let found: Vec<Operation> = entries
            .map(|entry| Operation {
                header: entry.header,
                body: entry.body,
            })
            .collect();
        assert_eq!(found, *operations);
    }
}
