//! A log of ours to which a copy of the directory has published as well.

use std::sync::mpsc::channel;

use p2panda_core::{Operation, VerifyingKey};
use p2panda_engine::{
    Command, EngineEvent, Incoming, Options, Outcome, PublishError, RejectReason, Republished,
    RestoredAction,
};

use p2panda_store::{Filter, StepEnd, Swap, ViewDefinition, ViewStep};

use crate::node::{Author, Node, TOPIC, session, text_of};

const CLOSED: Result<(), PublishError> = Err(PublishError::OwnFork { held: false });

/// Two copies of a directory that had published `common` messages; each publishes more.
fn copies(common: usize, ours: usize, theirs: usize) -> (Node, Vec<Operation>) {
    let mut other = Node::new();
    for number in 0..common {
        other.publish(&format!("common {number}"));
    }
    let mut node = Node::open_in(other.copy(), Options::default());
    for number in 0..ours {
        node.publish(&format!("ours {number}"));
    }
    for number in 0..theirs {
        other.publish(&format!("theirs {number}"));
    }
    (node, other.operations())
}

/// Sends what a peer with the other branch sends, by the height that it is told.
fn meet(node: &mut Node, theirs: &[Operation], number: u64) {
    let told = node.height(&node.key());
    let lacks = |one: &&Operation| told.is_none_or(|told| one.header.seq() > told);
    let sent: Vec<Operation> = theirs.iter().filter(lacks).cloned().collect();
    node.ingest_from(session(number), TOPIC, &sent);
}

fn closed(node: &mut Node) -> Result<(), PublishError> {
    node.try_publish("refused").map(drop)
}

fn reopen(node: Node, action: RestoredAction) -> Node {
    let copy = node.copy();
    node.engine.close().unwrap();
    let options = Options {
        restored: Some(action),
        ..Options::default()
    };
    Node::open_in(copy, options)
}

fn republish(node: &mut Node) -> Result<Republished, PublishError> {
    let (sender, receiver) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    node.process(vec![Command::Republish {
        topic: TOPIC,
        reply,
    }]);
    receiver.recv().unwrap()
}

fn parted(node: &Node) -> Option<u32> {
    let fork = node.reader().own_fork(&TOPIC, &node.key()).unwrap();
    fork.and_then(|fork| fork.parted)
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix} {number}"))
        .collect()
}

#[test]
fn the_branching_point_is_found_for_any_lengths() {
    for (common, ours, theirs) in [
        (0, 1, 1),
        (1, 1, 1),
        (0, 40, 40),
        (60, 40, 40),
        (60, 40, 2),
        (60, 2, 40),
        (60, 1, 1),
        (200, 3, 90),
    ] {
        let (mut node, theirs) = copies(common, ours, theirs);
        // The peer has more, or is shown the head of the other branch.
        match ours < theirs.len() - common {
            true => meet(&mut node, &theirs, 0),
            false => drop(node.ingest(&theirs[theirs.len() - 1..])),
        }
        assert_eq!(closed(&mut node), CLOSED);
        let mut rounds = 0;
        while parted(&node).is_none() {
            rounds += 1;
            assert!(rounds < 6, "{common} {ours}");
            meet(&mut node, &theirs, rounds);
        }
        assert_eq!(parted(&node), Some(common as u32), "{common} {ours}");
        // Peers are told the height that there is.
        let height = u32::try_from(common + ours - 1).unwrap();
        assert_eq!(node.height(&node.key()), Some(height));
    }
}

#[test]
fn a_given_up_branch_is_published_behind_the_other() {
    let (mut node, theirs) = copies(3, 4, 2);
    meet(&mut node, &theirs, 1);
    node.ingest(&theirs[4..]);
    meet(&mut node, &theirs, 2);
    assert_eq!(parted(&node), Some(3));
    let mut node = reopen(node, RestoredAction::PullOwnLog);
    assert_eq!(closed(&mut node), Err(PublishError::PullingOwnLog));
    assert_eq!(republish(&mut node), Err(PublishError::PullingOwnLog));
    assert_eq!(node.texts(), texts("common", 3));
    // It stays so until the other branch is here.
    let mut node = node.reopen();
    assert_eq!(closed(&mut node), Err(PublishError::PullingOwnLog));
    meet(&mut node, &theirs, 1);
    assert!(node.committed.events.contains(&EngineEvent::OwnLogPulled));
    assert_eq!(node.publish("goes on").seq, 5);
    assert_eq!(republish(&mut node), Ok(Republished { published: 4 }));
    assert_eq!(republish(&mut node), Ok(Republished { published: 0 }));
    let expected = [
        texts("common", 3),
        texts("theirs", 2),
        vec!["goes on".to_owned()],
        texts("ours", 4),
    ];
    assert_eq!(node.texts(), expected.concat());
    assert_eq!(node.reopen().publish("and on").seq, 10);
}

/// Opens a version of a view, has it look at all of the feed, and asks whether it may answer.
fn view(node: Node, version: u32) -> (Node, Swap) {
    let end = node.feed().last().map_or(0, |entry| entry.offset);
    let mut swap = Swap::Behind;
    let node = node.reopen_after(|store| {
        let definition = ViewDefinition {
            name: "view".to_owned(),
            version,
            topics: vec![TOPIC],
            statements: Vec::new(),
            filter: Filter::default(),
        };
        let database = store.database();
        let opened = database.open_view(&definition).unwrap().unwrap();
        let step = ViewStep {
            until: end,
            ..ViewStep::default()
        };
        let done = database.step_view(opened.key, &step, 0).unwrap();
        assert_eq!(done, StepEnd::Done);
        swap = database.swap_view(opened.key).unwrap().unwrap();
    });
    (node, swap)
}

#[test]
fn a_view_of_a_given_up_branch_reports_its_loss() {
    let (node, theirs) = copies(3, 4, 2);
    let (mut node, swap) = view(node, 1);
    assert_eq!(swap, Swap::Done);
    meet(&mut node, &theirs, 1);
    node.ingest(&theirs[4..]);
    meet(&mut node, &theirs, 2);
    assert_eq!(parted(&node), Some(3));
    let node = reopen(node, RestoredAction::PullOwnLog);
    assert_eq!(node.texts(), texts("common", 3));
    let (_node, swap) = view(node, 2);
    assert_eq!(swap, Swap::Lacks(4));
}

#[test]
fn evidence_about_a_branch_that_was_given_up_closes_nothing() {
    let (mut node, theirs) = copies(3, 2, 2);
    let ours = node.operations().split_off(3);
    node.ingest(&theirs[3..]);
    assert_eq!(parted(&node), Some(3));
    let mut node = reopen(node, RestoredAction::PullOwnLog);
    meet(&mut node, &theirs, 1);
    node.publish("goes on");
    // A peer shows both.
    let outcomes = node.ingest(&[theirs[3].clone(), ours[0].clone()]);
    let refused = Outcome::Rejected(RejectReason::Fork);
    assert_eq!(outcomes, [Outcome::Duplicate, refused]);
    assert!(node.publish("still goes on").seq > 5);
    // A third branch does.
    let mut third = Node::open_in(node.copy(), Options::default());
    third.publish("third");
    node.publish("goes on");
    node.ingest(&third.operations().split_off(7));
    assert_eq!(closed(&mut node), CLOSED);
}

#[test]
fn without_a_branching_point_the_whole_log_is_given_up() {
    let (mut node, theirs) = copies(9, 9, 9);
    node.ingest(&theirs[17..]);
    assert_eq!(parted(&node), None);
    let mut node = reopen(node, RestoredAction::PullOwnLog);
    assert_eq!(node.height(&node.key()), None);
    assert_eq!(closed(&mut node), Err(PublishError::PullingOwnLog));
    meet(&mut node, &theirs[..12], 1);
    assert_eq!(closed(&mut node), Err(PublishError::PullingOwnLog));
    meet(&mut node, &theirs, 1);
    // What is of both branches is not published again.
    assert_eq!(republish(&mut node), Ok(Republished { published: 9 }));
    let expected = [texts("common", 9), texts("theirs", 9), texts("ours", 9)];
    assert_eq!(node.texts(), expected.concat());
}

#[test]
fn a_log_whose_branch_a_peer_holds_is_not_given_up() {
    let (mut node, theirs) = copies(3, 2, 2);
    let ours = node.operations();
    // Who shows a fork names its own branch first.
    node.ingest(&[ours[4].clone(), theirs[4].clone()]);
    let held = Err(PublishError::OwnFork { held: true });
    assert_eq!(closed(&mut node), held);
    let mut node = reopen(node, RestoredAction::PullOwnLog);
    assert_eq!(closed(&mut node), held);
    assert_eq!(node.texts().len(), 5);
    let (mut node, theirs) = copies(3, 2, 2);
    let ours = node.operations();
    node.ingest(&[theirs[4].clone(), ours[4].clone()]);
    assert_eq!(closed(&mut node), CLOSED);
}

#[test]
fn a_branch_that_a_peer_stored_is_not_given_up() {
    let held = Err(PublishError::OwnFork { held: true });
    let stored = |log: VerifyingKey, seq| Command::OwnHeld {
        topic: TOPIC,
        log: log.into(),
        seq,
    };
    for (before, after, expected) in [
        (Some(3), None, held),
        (None, Some(3), held),
        (Some(2), Some(2), CLOSED),
    ] {
        let (mut node, theirs) = copies(3, 2, 2);
        let log = node.key();
        node.process(before.map(|seq| stored(log, seq)).into_iter().collect());
        node.ingest(&theirs[3..]);
        node.process(after.map(|seq| stored(log, seq)).into_iter().collect());
        assert_eq!(closed(&mut node), expected);
        assert_eq!(closed(&mut node.reopen()), expected);
    }
}

#[test]
fn a_new_identity_keeps_the_log_and_republishes_its_own() {
    let (mut node, theirs) = copies(3, 2, 1);
    let old = node.key();
    node.ingest(&theirs[3..]);
    let mut node = reopen(node, RestoredAction::NewIdentity);
    assert_ne!(node.key(), old);
    let kept = node.dir.join(format!("node.key.{old}"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(std::fs::read_to_string(kept).unwrap().starts_with("key "));
    let before = [texts("common", 3), texts("ours", 2)].concat();
    assert_eq!(node.texts(), before);
    assert_eq!(node.publish("fresh").seq, 0);
    assert_eq!(republish(&mut node), Ok(Republished { published: 2 }));
    let fresh = vec!["fresh".to_owned()];
    assert_eq!(node.texts(), [before, fresh, texts("ours", 2)].concat());
    let last = node.feed().pop().unwrap();
    assert_eq!(
        (last.header.author(), text_of(&last)),
        (node.key(), "ours 1".into())
    );
    let (key, mut node) = (node.key(), node.reopen());
    assert_eq!(node.key(), key);
    assert_eq!(republish(&mut node), Ok(Republished { published: 0 }));
}

#[test]
fn a_new_identity_is_open_while_the_branch_is_missing() {
    let (mut node, theirs) = copies(3, 2, 1);
    node.ingest(&theirs[3..]);
    let node = reopen(node, RestoredAction::PullOwnLog);
    let mut node = reopen(node, RestoredAction::NewIdentity);
    assert_eq!(node.publish("fresh").seq, 0);
    assert_eq!(republish(&mut node), Ok(Republished { published: 2 }));
}

#[test]
fn held_publishes_are_refused_when_the_log_is_closed() {
    let (mut node, theirs) = copies(3, 1, 4);
    node.session(1, p2panda_core::Phase::CatchUp);
    let claim = Command::PeerHas {
        topic: TOPIC,
        session: 1,
        peer: Author::new(7).key(),
        own_seq: 6,
    };
    node.process(vec![claim]);
    let (waits, answer) = crate::node::publish(TOPIC, Some("waits"), false);
    node.process(vec![waits]);
    assert!(answer.try_recv().is_err());
    node.ingest_from(session(1), TOPIC, &theirs[4..]);
    assert_eq!(answer.try_recv().unwrap().map(drop), CLOSED);
    assert_eq!(closed(&mut node), CLOSED);
}

#[test]
fn only_what_our_key_has_signed_closes_our_log() {
    let mut node = Node::new();
    node.publish("0");
    let ours = node.operations().remove(0);
    let mut stranger = Author::new(9);
    let foreign = stranger.says("0");
    node.ingest(&[foreign]);
    // What does not verify is refused before it comes here.
    node.ingest_any(
        session(1),
        TOPIC,
        vec![Incoming::Invalid {
            id: ours.header.id(),
            header: ours.header.as_bytes().clone(),
            reason: RejectReason::InvalidSignature,
            genuine: None,
        }],
    );
    // Our own operation is not a contradiction, nor is one of another topic.
    node.ingest(&[ours]);
    let mut copy = Node::open_in(node.copy(), Options::default());
    let topic = crate::node::OTHER_TOPIC;
    let (elsewhere, _) = crate::node::publish(topic, Some("elsewhere"), false);
    copy.process(vec![elsewhere]);
    let page = copy.reader();
    let page = page.arrivals_page(&topic, 0, Default::default()).unwrap();
    let elsewhere = page.entries.into_iter().map(|entry| Operation {
        header: entry.header,
        body: entry.body,
    });
    let outcomes = node.ingest(&elsewhere.collect::<Vec<_>>());
    assert_eq!(outcomes, [Outcome::Rejected(RejectReason::WrongTopic)]);
    assert_eq!(node.publish("1").seq, 1);
}

#[test]
fn repeated_forks_of_an_author_are_reported_boundedly() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let mut twin = author.clone();
    let ours: Vec<Operation> = (0..40).map(|_| author.says("one")).collect();
    let others: Vec<Operation> = (0..40).map(|_| twin.says("other")).collect();
    node.ingest(&ours);
    let mut told = 0;
    for other in others.iter().chain(&others) {
        node.ingest(std::slice::from_ref(other));
        let events = &node.committed.events;
        let forked = |event: &&EngineEvent| matches!(event, EngineEvent::Forked { .. });
        told += events.iter().filter(forked).count();
    }
    assert_eq!(told, p2panda_core::limits::FORKS_PER_LOG_MAX as usize);
}
