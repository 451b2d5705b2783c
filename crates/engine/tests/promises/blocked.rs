//! Logs that cannot continue, since the next operation is not taken.

use p2panda_core::limits::{BLOCKED_LOGS_MAX, OPERATION_BYTES_MAX_DEFAULT};
use p2panda_core::log::Head;
use p2panda_core::{HeadId, Operation, Received, Refusal, Refused, Verifier};
use p2panda_engine::{EngineEvent, Incoming, Options, Outcome, RejectReason, verify};

use crate::follower::look_up;
use crate::node::{Author, Node, TOPIC, session};

const LARGE: usize = OPERATION_BYTES_MAX_DEFAULT + 1;

/// Hands over, as a session does, an operation whose frame is above the limit.
fn too_large(operation: &Operation, frame_bytes: usize) -> Incoming {
    let refused = Refused {
        id: operation.header.id(),
        header: Refused::beginning(operation.header.as_bytes()),
        bytes: frame_bytes,
        refusal: Refusal::TooLarge,
        whole: Some(operation.header.clone()),
    };
    verify(&mut Verifier::default(), Received::Refused(refused))
}

/// An author with a small, a large and two more small operations.
fn with_a_large_one() -> (Author, [Operation; 4]) {
    let mut author = Author::new(1);
    let sent = ["0", "large", "2", "3"].map(|text| author.says(text));
    (author, sent)
}

fn ingest(node: &mut Node, [first, large, second, third]: &[Operation; 4]) -> Vec<Outcome> {
    let valid = |one: &Operation| Incoming::Valid(one.clone());
    let all = vec![
        valid(first),
        too_large(large, LARGE),
        valid(second),
        valid(third),
    ];
    node.ingest_any(session(1), TOPIC, all)
}

/// The head that a peer is told of the author's log.
fn told(node: &Node, author: &Author) -> (u32, HeadId) {
    let mut heads = look_up(&node.reader(), &TOPIC);
    let head = heads.heads().get(&author.key(), &TOPIC.log_id()).unwrap();
    (head.seq, head.id)
}

fn head(operation: &Operation) -> (u32, HeadId) {
    let head = Head::of(&operation.header);
    (head.seq, head.id.into())
}

#[test]
fn an_operation_above_the_limit_blocks_its_log_only() {
    let ((author, sent), mut other) = (with_a_large_one(), Author::new(2));
    let mut node = Node::new();
    let outcomes = ingest(&mut node, &sent);
    let refused = Outcome::Rejected(RejectReason::TooLarge);
    assert_eq!(outcomes[1..], [refused, Outcome::Blocked, Outcome::Blocked]);
    let blocked = node.status().blocked;
    assert_eq!(blocked.len(), 1);
    assert_eq!((blocked[0].author, blocked[0].seq), (author.key(), 1));
    assert_eq!(blocked[0].reason, RejectReason::TooLarge);
    assert_eq!(blocked[0].bytes, LARGE as u64);
    let told = node.committed.events.iter().filter(
        |event| matches!(event, EngineEvent::LogBlocked { log, .. } if log.author == author.key()),
    );
    assert_eq!(told.count(), 1);
    node.ingest(&[other.says("other")]);
    assert_eq!(node.texts(), ["0", "other"]);
}

#[test]
fn a_blocked_log_tells_the_newest_head_it_saw() {
    let (mut author, sent) = with_a_large_one();
    let mut node = Node::new();
    ingest(&mut node, &sent);
    assert_eq!(told(&node, &author), head(&sent[3]));
    // What is newer is asked for, since it may let the log continue.
    let newer = author.says("newer");
    assert_eq!(
        node.ingest(std::slice::from_ref(&newer)),
        [Outcome::Blocked]
    );
    assert_eq!(told(&node, &author), head(&newer));
    // Not so what has a gap before it: what lies in it was not seen.
    let (_gap, above) = (author.says("gap"), author.says("above"));
    assert_eq!(node.ingest(&[above]), [Outcome::Early]);
    assert_eq!(told(&node, &author), head(&newer));
    assert!(node.engine.early_bytes() > 0);
    let node = node.reopen();
    assert_eq!(told(&node, &author), head(&newer));
    assert_eq!(node.status().blocked.len(), 1);
}

#[test]
fn a_blocked_log_goes_on_after_a_restart_with_a_higher_limit() {
    let (author, sent) = with_a_large_one();
    let mut node = Node::new();
    ingest(&mut node, &sent);
    let mut node = node.reopen_with(Options {
        operation_bytes_max: LARGE,
        ..Options::default()
    });
    assert_eq!(told(&node, &author), head(&sent[0]));
    assert_eq!(node.status().blocked, []);
    node.ingest(&sent[1..]);
    assert_eq!(node.texts(), ["0", "large", "2", "3"]);
    assert_eq!(told(&node, &author), head(&sent[3]));
}

#[test]
fn a_prune_of_what_is_not_taken_frees_a_blocked_log() {
    let (mut author, sent) = with_a_large_one();
    let mut node = Node::new();
    ingest(&mut node, &sent);
    let snapshot = author.prunes(Some("snapshot"));
    node.ingest(std::slice::from_ref(&snapshot));
    let (topic, author_key) = (TOPIC, author.key());
    let goes_on = EngineEvent::LogGoesOn {
        topic,
        author: author_key,
    };
    assert!(node.committed.events.contains(&goes_on));
    assert_eq!(node.status().blocked, []);
    node.ingest(&[author.says("after")]);
    assert_eq!(node.texts(), ["snapshot", "after"]);
}

#[test]
fn a_log_whose_first_operation_is_not_taken_is_blocked_too() {
    let mut author = Author::new(1);
    let (large, later) = (author.says("large"), author.says("later"));
    let mut node = Node::new();
    node.ingest_any(session(1), TOPIC, vec![too_large(&large, LARGE)]);
    node.ingest(std::slice::from_ref(&later));
    assert_eq!(told(&node, &author), head(&later));
    assert_eq!(node.status().blocked[0].seq, 0);
    assert_eq!(node.status().logs, 0);
}

#[test]
fn nobody_but_its_author_can_block_a_log() {
    let (mut author, mut other) = (Author::new(1), Author::new(2));
    let mut node = Node::new();
    node.ingest(&[author.says("0")]);
    // The right place, the wrong signature.
    let [real, forged] = [author.says("1"), other.says("0")];
    let mut bytes = real.header.as_bytes().to_vec();
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    let unsigned = p2panda_core::Header::decode_unverified(bytes.into());
    for header in unsigned.into_iter().chain([forged.header]) {
        let operation = Operation { header, body: None };
        let is_others = operation.header.author() == other.key();
        node.ingest_any(session(1), TOPIC, vec![too_large(&operation, LARGE)]);
        assert_eq!(node.status().blocked.len(), usize::from(is_others));
    }
    node.ingest(&[real]);
    assert_eq!(node.height(&author.key()), Some(1));
}

#[test]
fn what_cannot_be_read_yet_is_asked_for_at_the_next_start() {
    let mut author = Author::new(1);
    let mut node = Node::new();
    let first = author.says("one");
    // [1, 7]: a variant that is not known.
    let unknown = author.raw(TOPIC, Some("new"), &[0x82, 1, 7]);
    node.ingest(&[first.clone(), unknown.clone(), author.says("later")]);
    assert_eq!(told(&node, &author).0, 2);
    assert_eq!(
        node.status().blocked[0].reason,
        RejectReason::UnknownExtensions
    );
    let node = node.reopen();
    assert_eq!(told(&node, &author), head(&first));
}

#[test]
fn blocked_logs_beyond_the_limit_are_not_noted() {
    let mut node = Node::new();
    let many = (0..=BLOCKED_LOGS_MAX as u32).map(|number| {
        let mut author = Author::numbered(number);
        too_large(&author.says("large"), LARGE)
    });
    let outcomes = node.ingest_any(session(1), TOPIC, many.collect());
    assert_eq!(outcomes.len(), BLOCKED_LOGS_MAX + 1);
    assert_eq!(node.status().blocked.len(), BLOCKED_LOGS_MAX);
}
