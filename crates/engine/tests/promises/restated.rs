//! Operations that stand differently after they were delivered (`docs/protocol/streams.md#9.1`).

use bytes::Bytes;
use p2panda_core::Operation;
use p2panda_engine::{Command, Fault, Incoming, Restated};
use p2panda_store::{Change, Content, Ready};

use crate::node::{Author, Node, TOPIC, dependency, publish, without_body};

fn body(text: &'static str) -> Content {
    Content::Body(Bytes::from_static(text.as_bytes()))
}

const WITHDRAWN: Content = Content::Change(Change::Withdrawn);

type Answer = std::sync::mpsc::Receiver<bool>;

fn command(author: &Author, seq: u32, to: Restated) -> (Command, Answer) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let command = Command::Restate {
        topic: TOPIC,
        log: author.key().into(),
        seq,
        to,
        reply: Some(Box::new(move |done| sender.send(done).unwrap())),
    };
    (command, receiver)
}

fn restate(node: &mut Node, author: &Author, seq: u32, to: Restated) -> bool {
    let (command, answer) = command(author, seq, to);
    node.process(vec![command]);
    answer.try_recv().unwrap()
}

/// Offset, first place and content of each entry.
fn feed(node: &Node) -> Vec<(u64, Option<u64>, Content)> {
    let entries = node.feed().into_iter();
    entries
        .map(|entry| (entry.offset, entry.first, entry.content))
        .collect()
}

#[test]
fn a_change_names_the_first_place_of_its_operation() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = ["one", "two"].map(|text| author.says(text)).into();
    node.ingest(&sent);
    assert!(restate(&mut node, &author, 0, Restated::Withdrawn));
    let two = (2, None, body("two"));
    assert_eq!(feed(&node), [two.clone(), (3, Some(1), WITHDRAWN)]);
    assert!(
        !restate(&mut node, &author, 0, Restated::Withdrawn),
        "twice"
    );
    assert!(restate(&mut node, &author, 0, Restated::Counts));
    assert!(!restate(&mut node, &author, 0, Restated::Counts), "twice");
    let again = (4, Some(1), body("one"));
    assert_eq!(feed(&node), [two, again.clone()]);
    assert!(restate(&mut node, &author, 1, Restated::Members));
    let members = (5, Some(2), Content::Change(Change::Members));
    assert_eq!(feed(&node), [again, members]);
    assert!(!restate(&mut node, &author, 2, Restated::Withdrawn), "none");
    let expected = feed(&node);
    assert_eq!(feed(&node.after_crash()), expected);
    assert_eq!(feed(&node.reopen()), expected);
}

#[test]
fn what_was_opened_counts_again_as_it_was_opened() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("sealed")]);
    let plaintext = Bytes::from_static(b"opened");
    let opened = Ready::Opened(plaintext.clone());
    let mut node = node.reopen_after(|store| {
        let mut tx = store.begin(p2panda_store::Durability::Full).unwrap();
        let offset = tx.next_offset();
        tx.place(1, offset, &opened).unwrap();
        tx.commit().unwrap();
    });
    assert!(restate(&mut node, &author, 0, Restated::Withdrawn));
    assert!(restate(&mut node, &author, 0, Restated::Counts));
    assert_eq!(feed(&node), [(4, Some(1), Content::Opened(plaintext))]);
}

#[test]
fn what_was_never_shown_is_not_withdrawn() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = ["one", "two"].map(|text| author.says(text)).into();
    node.ingest(&[without_body(&sent[0]), sent[1].clone()]);
    assert!(!restate(&mut node, &author, 0, Restated::Withdrawn));
    assert!(!restate(&mut node, &author, 0, Restated::Counts));
    node.ingest(&sent[..1]);
    let late = (2, None, body("one"));
    assert_eq!(feed(&node), [(1, None, body("two")), late]);

    // One that waits has not passed the order stage.
    let mut other = Author::new(2);
    let lost = Author::new(3).says("lost");
    node.ingest(&[other.answers("waits", &[&lost])]);
    assert!(!restate(&mut node, &other, 0, Restated::Withdrawn));
    assert!(dependency(&lost).seq == 0 && feed(&node).len() == 2);
}

#[test]
fn what_is_withdrawn_in_its_batch_is_shown_once_it_counts() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let ingest = |operations: &[Operation]| Command::Ingest {
        topic: TOPIC,
        source: p2panda_engine::Source::Import { id: 0 },
        operations: operations.iter().cloned().map(Incoming::Valid).collect(),
        reply: None,
    };
    let sent = author.says("one");
    let (withdraw, answer) = command(&author, 0, Restated::Withdrawn);
    node.process(vec![ingest(&[sent]), withdraw]);
    assert!(answer.try_recv().unwrap() && node.feed().is_empty());
    assert!(restate(&mut node, &author, 0, Restated::Counts));
    assert_eq!(feed(&node), [(1, None, body("one"))]);

    // Back and forth in one batch is nothing.
    let (withdraw, _withdrawn) = command(&author, 0, Restated::Withdrawn);
    let (counts, _counts) = command(&author, 0, Restated::Counts);
    let (publish, _published) = publish(TOPIC, Some("mine"), false);
    node.process(vec![withdraw, counts, publish]);
    assert_eq!(feed(&node)[0], (1, None, body("one")));
    assert_eq!(feed(&node).len(), 2);
}

/// Any statement of the transaction fails.
#[test]
fn a_storage_fault_moves_an_operation_whole_or_not() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("one"), author.says("two")]);
    let before = feed(&node);
    let mut after = 0;
    loop {
        let (command, answer) = command(&author, 0, Restated::Withdrawn);
        node.engine.set_fault(Some(Fault::Full { after }));
        let processed = node.engine.process(vec![command], node.now);
        node.engine.set_fault(None);
        if processed.is_ok() {
            assert!(answer.try_recv().unwrap());
            break;
        }
        assert!(answer.try_recv().is_err());
        assert_eq!(feed(&node), before, "statement {after}");
        assert_eq!(feed(&node.after_crash()), before, "statement {after}");
        after += 1;
    }
    assert!(after > 2, "only {after} statements");
    let moved: Vec<_> = feed(&node.after_crash())
        .into_iter()
        .map(|(_, first, content)| (first, content))
        .collect();
    assert_eq!(moved, [(None, body("two")), (Some(1), WITHDRAWN)]);
}
