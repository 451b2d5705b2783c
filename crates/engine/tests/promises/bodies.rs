//! Bodies that come after their headers, and bodies that are dropped on purpose.

use p2panda_core::{Absent, LogRange, Operation, Phase};
use p2panda_engine::{Command, Outcome};

use crate::node::{ALL, Author, Node, TOPIC, session, without_body};

fn wanted(node: &Node) -> Vec<(Option<u32>, u32)> {
    let page = node.reader().wanted_page(&TOPIC, None, 100).unwrap();
    assert!(!page.more);
    let ranges = page.ranges.iter();
    ranges.map(|range| (range.after, range.until)).collect()
}

fn drop_body(node: &mut Node, author: &Author, seq: u32) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    node.process(vec![Command::DropBody {
        topic: TOPIC,
        log: author.key().into(),
        seq,
        reply: Some(Box::new(move |dropped| sender.send(dropped).unwrap())),
    }]);
    receiver.try_recv().unwrap()
}

fn absent(node: &Node, seq: u32) -> Option<Absent> {
    let page = node.reader().arrivals_page(&TOPIC, 0, ALL).unwrap();
    let entry = page.entries.iter().find(|entry| entry.header.seq() == seq);
    entry.unwrap().absent
}

#[test]
fn what_came_without_its_body_is_wanted_until_it_is_filled_in() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..5).map(|n| author.says(&n.to_string())).collect();
    let nothing = author.operation(TOPIC, TOPIC.log_id(), None, false, vec![]);
    let headers: Vec<Operation> = sent.iter().map(without_body).collect();
    node.ingest(&headers);
    node.ingest(&[nothing]);
    assert_eq!(
        wanted(&node),
        [(None, 4)],
        "one without a payload lacks nothing"
    );
    node.ingest(&[sent[2].clone()]);
    assert_eq!(wanted(&node), [(None, 1), (Some(2), 4)]);
    let first = node.reader().holdings(&TOPIC).unwrap().gaps;
    assert_eq!((first[0].author, first[0].seq), (author.key(), 0));
    let of = |first: u32, until| LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after: first.checked_sub(1),
        until,
    };
    let found = node.reader().wanted_of(&TOPIC, &[of(1, 3)], 100).unwrap();
    assert_eq!(found, [of(1, 1), of(3, 3)]);
    let page = |after| node.reader().wanted_page(&TOPIC, after, 2).unwrap();
    let (one, two) = (page(None), page(Some((author.key(), 1))));
    assert_eq!((one.ranges, one.more), (vec![of(0, 1)], true));
    assert_eq!((two.ranges, two.more), (vec![of(3, 4)], true));
    let node = node.reopen();
    assert_eq!(wanted(&node), [(None, 1), (Some(2), 4)]);
}

#[test]
fn a_late_body_gives_a_new_arrival_number() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..3).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&[without_body(&sent[0]), sent[1].clone(), sent[2].clone()]);
    let last = node.reader().last_arrival(&TOPIC).unwrap();
    assert_eq!(node.ingest(&sent[..1]), [Outcome::BodyFilled]);
    let page = node.reader().arrivals_page(&TOPIC, last, ALL).unwrap();
    assert_eq!(
        page.entries.len(),
        1,
        "whoever passed the header comes to it"
    );
    assert_eq!(page.entries[0].header, sent[0].header);
    assert_eq!(page.entries[0].body, sent[0].body);
    let change = &node.committed.topics[0];
    assert_eq!(change.last_arrival, Some(page.entries[0].arrival));
    assert_eq!(node.operations().len(), 3);
    assert_eq!(node.texts(), ["1", "2", "0"]);
}

#[test]
fn missing_dependencies_stay_listed_when_the_body_comes() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    let answer = b.answers("answer", &[&lost]);
    node.ingest(&[without_body(&answer)]);
    node.wait(10 * crate::node::SECOND_US);
    node.ingest(&[answer]);
    assert_eq!(node.texts(), ["answer"]);
    assert_eq!(node.feed()[0].missing.len(), 1);
}

#[test]
fn a_withheld_snapshot_deletes_nothing_until_its_body_comes() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0"), author.says("1")]);
    let point = author.prunes(Some("2"));
    node.ingest(&[without_body(&point)]);
    assert_eq!(node.texts(), ["0", "1"]);
    assert_eq!(node.height(&author.key()), Some(2));
    node.ingest(&[author.says("3")]);
    assert_eq!(node.texts(), ["0", "1", "3"]);
    let mut node = node.reopen();
    node.ingest(std::slice::from_ref(&point));
    assert_eq!(node.texts(), ["3", "2"]);
    assert_eq!(node.operations().len(), 2);
    let all = LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after: None,
        until: 9,
    };
    let totals = node.totals(all);
    assert_eq!(node.status().totals, totals);
    assert!(wanted(&node).is_empty());
}

#[test]
fn a_snapshot_whose_body_comes_in_the_same_batch_prunes_at_once() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let (zero, point) = (author.says("0"), author.prunes(Some("1")));
    node.ingest(&[zero, without_body(&point), point.clone(), author.says("2")]);
    assert_eq!(node.texts(), ["1", "2"]);
    assert_eq!(node.operations().len(), 2);
}

#[test]
fn a_snapshot_without_a_payload_prunes_as_ever() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0"), author.prunes(None)]);
    assert!(node.texts().is_empty());
    assert!(wanted(&node).is_empty());
}

#[test]
fn a_prune_forgets_the_bodies_wanted_below_it() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let headers: Vec<Operation> = (0..3)
        .map(|n| without_body(&author.says(&n.to_string())))
        .collect();
    node.ingest(&headers);
    let (early, late) = (author.prunes(Some("3")), author.prunes(Some("4")));
    node.ingest(&[without_body(&early), late]);
    assert!(wanted(&node).is_empty());
    assert_eq!(node.texts(), ["4"]);
    assert_eq!(node.ingest(&[early]), [Outcome::Pruned]);
}

#[test]
fn a_withheld_snapshot_above_a_gap_waits_for_its_body_in_memory() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let old: Vec<Operation> = (0..3).map(|n| author.says(&n.to_string())).collect();
    let point = author.prunes(Some("3"));
    let after = author.says("4");
    // A newcomer, to whom somebody sends the pruned log without the snapshot.
    let withheld = [without_body(&point), after.clone()];
    assert_eq!(node.ingest(&withheld), [Outcome::Early; 2]);
    assert_eq!(node.height(&author.key()), None, "so others send it");
    node.ingest_from(session(2), TOPIC, std::slice::from_ref(&point));
    assert_eq!(node.texts(), ["3", "4"]);

    // Or the old part comes from somebody who has not pruned yet.
    let mut node = Node::new();
    assert_eq!(node.ingest(&withheld), [Outcome::Early; 2]);
    node.ingest_from(session(2), TOPIC, &old);
    assert_eq!(node.texts(), ["0", "1", "2", "4"]);
    node.ingest(&[point]);
    assert_eq!(node.texts(), ["4", "3"]);
}

#[test]
fn an_early_copy_with_the_body_replaces_one_without() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let (zero, one) = (author.says("0"), author.says("1"));
    node.ingest(&[without_body(&one)]);
    assert_eq!(node.ingest(&[one]), [Outcome::Early]);
    node.ingest(&[zero]);
    assert_eq!(node.texts(), ["0", "1"]);
    node.session(1, Phase::Ended);
}

#[test]
fn a_body_dropped_on_purpose_stays_away() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..3).map(|n| author.says(&n.to_string())).collect();
    let nothing = author.operation(TOPIC, TOPIC.log_id(), None, false, vec![]);
    node.ingest(&[
        sent[0].clone(),
        sent[1].clone(),
        without_body(&sent[2]),
        nothing,
    ]);
    assert!(matches!(
        absent(&node, 2),
        Some(Absent::Wanted { since: Some(_) })
    ));
    assert!(drop_body(&mut node, &author, 1));
    assert!(
        drop_body(&mut node, &author, 2),
        "also one that has not come"
    );
    assert!(!drop_body(&mut node, &author, 3), "it never had a body");
    assert!(
        !drop_body(&mut node, &author, 4),
        "there is no such operation"
    );
    assert_eq!(node.texts(), ["0"]);
    assert!(wanted(&node).is_empty());
    let mut node = node.reopen();
    assert_eq!(node.ingest(&sent), [Outcome::Duplicate; 3]);
    assert_eq!(node.texts(), ["0"]);
    assert_eq!(absent(&node, 0), None);
    assert_eq!(absent(&node, 1), Some(Absent::Dropped));
    assert_eq!(absent(&node, 2), Some(Absent::Dropped));
    assert_eq!(absent(&node, 3), None);
}

/// Makes the directory one of a version that did not note missing bodies.
fn make_old(node: &Node) {
    node.without_content_kinds();
    let connection = rusqlite::Connection::open(node.dir.join("p2panda.sqlite")).unwrap();
    let sql = "DROP TABLE wanted; DROP TABLE dropped; PRAGMA user_version = 2;";
    connection.execute_batch(sql).unwrap();
}

#[test]
fn bodies_missing_since_an_earlier_version_are_found() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let nothing = author.operation(TOPIC, TOPIC.log_id(), None, false, vec![]);
    let mut sent: Vec<Operation> = (0..3_500).map(|n| author.says(&n.to_string())).collect();
    for place in [0, 1, 1_200, 3_400] {
        sent[place] = without_body(&sent[place]);
    }
    node.ingest(&[nothing]);
    node.ingest(&sent);
    make_old(&node);
    let mut node = node.reopen();
    // Rows that the scan has not come to are not passed on either.
    assert_eq!(absent(&node, 1_201), Some(Absent::Wanted { since: None }));
    node.wait(1);
    node.wait(1);
    let found = wanted(&node);
    assert!(found.starts_with(&[(Some(0), 2)]) && !found.contains(&(Some(3_400), 3_401)));
    let mut node = node.reopen();
    let steps = node.settle();
    assert!(steps < 10, "{steps}: it does not begin anew");
    assert_eq!(
        wanted(&node),
        [(Some(0), 2), (Some(1_200), 1_201), (Some(3_400), 3_401)]
    );
    node.ingest(&[author.says("more")]);
    let mut node = node.reopen();
    assert_eq!(node.settle(), 0, "it is over");
}

#[test]
fn a_dropped_body_cannot_be_read_in_the_files() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let secret = "a body to be dropped ".repeat(500);
    node.ingest(&[
        author.says("before"),
        author.says(&secret),
        author.says("after"),
    ]);
    assert!(drop_body(&mut node, &author, 1));
    node.settle();
    let files = std::fs::read_dir(&node.dir).unwrap();
    let bytes = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let marker = b"a body to be dropped";
    assert!(!bytes.windows(marker.len()).any(|at| at == marker));
}
