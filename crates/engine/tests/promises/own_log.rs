use std::path::Path;
use std::sync::mpsc::TryRecvError;

use p2panda_core::{Operation, Phase, SigningKey, Topic, VerifyingKey};
use p2panda_engine::{
    Command, EngineEvent, OpenErrorKind, Options, Outcome, PublishError, RejectReason,
    RestoredAction,
};
use tempfile::TempDir;

use crate::node::{Answer, Author, Node, OTHER_TOPIC, SECOND_US, TOPIC, copy_files, publish};

fn peer(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn guarded(state: &Path) -> Options {
    Options {
        guard_dir: Some(state.join("p2panda")),
        ..Options::default()
    }
}

fn restored(state: &Path, action: RestoredAction) -> Options {
    Options {
        restored: Some(action),
        ..guarded(state)
    }
}

/// A node with two operations, a copy of its directory from then, and what it published later.
fn lost_node(state: &Path) -> (TempDir, Vec<Operation>) {
    let mut node = Node::open(guarded(state));
    node.publish("0");
    node.publish("1");
    let copy = node.copy();
    node.publish("2");
    node.publish("3");
    let all = node.operations();
    node.engine.close().unwrap();
    (copy, all)
}

#[test]
fn a_normal_restart_publishes_on() {
    let state = tempfile::tempdir().unwrap();
    let mut node = Node::open(guarded(state.path()));
    for round in 0..3 {
        assert_eq!(node.publish("x").seq, 2 * round);
        // Once closed, once crashed.
        let copy = node.copy();
        node.engine.close().unwrap();
        node = Node::open_in(copy, guarded(state.path()));
        assert!(node.engine.restored().is_none());
        assert_eq!(node.publish("y").seq, 2 * round + 1);
        let temp = tempfile::tempdir().unwrap();
        let dir = node.dir.clone();
        node.engine.close().unwrap();
        copy_files(&dir, temp.path());
        node = Node::open_in(temp, guarded(state.path()));
        assert!(node.engine.restored().is_none());
    }
}

#[test]
fn a_lost_guard_file_is_made_again() {
    let state = tempfile::tempdir().unwrap();
    let mut node = Node::open(guarded(state.path()));
    node.publish("0");
    let copy = node.copy();
    drop(node);
    std::fs::remove_dir_all(state.path().join("p2panda")).unwrap();
    let mut node = Node::open_in(copy, guarded(state.path()));
    assert_eq!(node.publish("1").seq, 1);
    assert!(
        state
            .path()
            .join("p2panda")
            .join(node.key().to_string())
            .exists()
    );
}

#[test]
fn a_restored_directory_publishes_nothing_and_says_why() {
    let state = tempfile::tempdir().unwrap();
    let (copy, _) = lost_node(state.path());
    let mut node = Node::open_in(copy, guarded(state.path()));
    assert!(node.engine.restored().is_some());
    let error = node.try_publish("fork").unwrap_err();
    assert_eq!(error, PublishError::Restored);
    assert!(error.to_string().contains("PullOwnLog"));
    assert!(error.to_string().contains("NewIdentity"));
    // Reading, and storing what others send, continues.
    node.ingest(&[Author::new(9).says("hello")]);
    assert_eq!(node.texts(), ["0", "1", "hello"]);
}

#[test]
fn a_restored_directory_publishes_once_its_log_is_back() {
    let state = tempfile::tempdir().unwrap();
    let (copy, all) = lost_node(state.path());
    let mut node = Node::open_in(copy, restored(state.path(), RestoredAction::PullOwnLog));
    assert_eq!(node.try_publish("fork"), Err(PublishError::PullingOwnLog));
    node.ingest(&all[2..3]);
    assert_eq!(node.try_publish("fork"), Err(PublishError::PullingOwnLog));
    node.ingest(&all[3..]);
    assert!(node.committed.events.contains(&EngineEvent::OwnLogPulled));
    assert_eq!(node.publish("4").seq, 4);
    assert_eq!(node.texts(), ["0", "1", "2", "3", "4"]);
    // And it is a normal directory again.
    let copy = node.copy();
    drop(node);
    assert_eq!(
        Node::open_in(copy, guarded(state.path())).publish("5").seq,
        5
    );
}

#[test]
fn the_choice_to_pull_can_be_made_later_and_survives_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let (copy, all) = lost_node(state.path());
    let mut node = Node::open_in(copy, guarded(state.path()));
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = Box::new(move |result: Result<(), _>| sender.send(result.is_ok()).unwrap());
    node.process(vec![Command::Restored {
        action: RestoredAction::PullOwnLog,
        reply,
    }]);
    assert!(receiver.recv().unwrap());
    let copy = node.copy();
    drop(node);
    let mut node = Node::open_in(copy, guarded(state.path()));
    assert_eq!(node.try_publish("fork"), Err(PublishError::PullingOwnLog));
    node.ingest(&all);
    assert_eq!(node.publish("4").seq, 4);
}

#[test]
fn a_restored_directory_goes_on_with_a_new_identity() {
    let state = tempfile::tempdir().unwrap();
    let (copy, all) = lost_node(state.path());
    let old = all[0].header.author();
    let mut node = Node::open_in(copy, restored(state.path(), RestoredAction::NewIdentity));
    assert_ne!(node.key(), old);
    assert_eq!(node.texts(), ["0", "1"]);
    assert_eq!(node.publish("fresh").seq, 0);
    let (key, copy) = (node.key(), node.copy());
    drop(node);
    let node = Node::open_in(copy, guarded(state.path()));
    assert_eq!(node.key(), key);
    assert!(node.engine.restored().is_none());
}

#[test]
fn a_healthy_directory_keeps_its_identity() {
    let state = tempfile::tempdir().unwrap();
    let mut node = Node::open(guarded(state.path()));
    node.publish("0");
    let (key, copy) = (node.key(), node.copy());
    drop(node);
    let node = Node::open_in(copy, restored(state.path(), RestoredAction::NewIdentity));
    assert_eq!(node.key(), key);
}

#[test]
fn a_copy_that_never_published_since_is_recognised_by_its_epoch() {
    let state = tempfile::tempdir().unwrap();
    let mut node = Node::open(guarded(state.path()));
    node.publish("0");
    let copy = node.copy();
    let dir = node.copy();
    node.engine.close().unwrap();
    for _ in 0..2 {
        // The original is opened twice more, without publishing.
        let again = tempfile::tempdir().unwrap();
        copy_files(dir.path(), again.path());
        let node = Node::open_in(again, guarded(state.path()));
        copy_files(&node.dir, dir.path());
    }
    let mut node = Node::open_in(copy, guarded(state.path()));
    assert!(node.engine.restored().is_some());
    assert_eq!(node.try_publish("fork"), Err(PublishError::Restored));
}

#[test]
fn key_and_database_of_different_copies_are_refused() {
    let mut node = Node::new();
    node.publish("0");
    let old = node.copy();
    let mut node = node.reopen();
    node.publish("1");
    let node = node.reopen();
    let new = node.copy();
    drop(node);
    for (key, database) in [(&old, &new), (&new, &old)] {
        let mix = tempfile::tempdir().unwrap();
        copy_files(database.path(), mix.path());
        std::fs::copy(key.path().join("node.key"), mix.path().join("node.key")).unwrap();
        let now = p2panda_engine::Now {
            wall: p2panda_core::Timestamp::from_micros(1),
            elapsed_us: 0,
        };
        let result = p2panda_engine::Engine::open(mix.path(), Options::default(), now);
        let error = result.err().unwrap();
        assert!(matches!(error.kind(), OpenErrorKind::Mixed { .. }));
    }
}

fn publish_later(node: &mut Node, text: &str) -> Answer {
    let (command, answer) = publish(TOPIC, Some(text), false);
    node.process(vec![command]);
    answer
}

/// A whole copy on another machine, where no guard file tells: only a peer knows more.
fn unknowing_copy() -> (Node, Vec<Operation>) {
    let mut original = Node::new();
    original.publish("0");
    let copy = original.copy();
    original.publish("1");
    original.publish("2");
    (
        Node::open_in(copy, Options::default()),
        original.operations(),
    )
}

fn peer_has(node: &mut Node, session: u64, peer: VerifyingKey, own_seq: u32) {
    node.process(vec![Command::PeerHas {
        topic: TOPIC,
        session,
        peer,
        own_seq,
    }]);
}

#[test]
fn publishing_waits_for_a_peer_that_has_more_of_our_log() {
    let (mut node, all) = unknowing_copy();
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 2);
    let answers = [publish_later(&mut node, "3"), publish_later(&mut node, "4")];
    assert_eq!(answers[0].try_recv(), Err(TryRecvError::Empty));
    node.ingest(&all[1..2]);
    assert_eq!(answers[0].try_recv(), Err(TryRecvError::Empty));
    // All that the peer has is here: there is nothing more to wait for.
    node.ingest(&all[2..]);
    assert_eq!(answers[0].try_recv().unwrap().unwrap().seq, 3);
    assert_eq!(answers[1].try_recv().unwrap().unwrap().seq, 4);
    assert_eq!(node.texts(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_claim_alone_holds_publishing_for_two_seconds() {
    let mut node = Node::new();
    node.publish("0");
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 1_000);
    let answer = publish_later(&mut node, "1");
    assert_eq!(node.engine.next_wake(), Some(2 * SECOND_US));
    node.wait(2 * SECOND_US - 1);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.wait(1);
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 1);
    assert_eq!(node.publish("2").seq, 2);
}

#[test]
fn void_claims_hold_publishing_for_ten_seconds_in_all() {
    let mut node = Node::new();
    node.publish("0");
    let mut held_us = 0;
    for liar in 0..200 {
        // Each is a peer of its own, and half of them are in another topic.
        let topic = if liar % 2 == 0 { TOPIC } else { OTHER_TOPIC };
        node.process(vec![Command::PeerHas {
            topic,
            session: liar,
            peer: peer(liar as u8),
            own_seq: 1_000,
        }]);
        let (command, answer) = publish(topic, Some("x"), false);
        node.process(vec![command]);
        while answer.try_recv().is_err() {
            node.wait(SECOND_US / 10);
            held_us += SECOND_US / 10;
        }
    }
    assert_eq!(held_us, 10 * SECOND_US);
}

#[test]
fn liars_at_the_same_time_share_the_ten_seconds() {
    let mut node = Node::new();
    let topics: Vec<Topic> = (0..8).map(|n| Topic::from_bytes([n; 32])).collect();
    for (session, topic) in topics.iter().enumerate() {
        node.process(vec![Command::PeerHas {
            topic: *topic,
            session: session as u64,
            peer: peer(7),
            own_seq: 1_000,
        }]);
    }
    let mut answers = Vec::new();
    for topic in &topics {
        let (command, answer) = publish(*topic, Some("x"), false);
        node.process(vec![command]);
        answers.push(answer);
    }
    let held = answers.iter().filter(|answer| answer.try_recv().is_err());
    assert_eq!(held.count(), 5, "two seconds for each");
}

#[test]
fn the_time_for_void_claims_recovers_a_second_an_hour() {
    let mut node = Node::new();
    for liar in 0..5 {
        peer_has(&mut node, liar, peer(liar as u8), 1_000);
        publish_later(&mut node, "x");
        node.wait(2 * SECOND_US);
    }
    peer_has(&mut node, 5, peer(5), 1_000);
    node.publish("at once");
    node.wait(3_600 * SECOND_US);
    peer_has(&mut node, 6, peer(6), 1_000);
    let answer = publish_later(&mut node, "held");
    node.wait(SECOND_US * 99 / 100);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.wait(SECOND_US * 2 / 100);
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn a_shown_operation_holds_publishing_after_liars() {
    let (mut node, all) = unknowing_copy();
    for liar in 10..20 {
        peer_has(&mut node, liar, peer(liar as u8), 1_000);
        node.session(liar, Phase::Ended);
        peer_has(&mut node, liar + 10, peer(liar as u8), 1_000);
        let (command, _answer) = publish(OTHER_TOPIC, Some("x"), false);
        node.process(vec![command]);
        node.wait(2 * SECOND_US);
    }
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 2);
    // A published 0.7.1 peer sends other logs first: the claim is void by now.
    node.wait(5 * SECOND_US);
    // Early: what it follows has not come.
    node.ingest(&all[2..]);
    let answer = publish_later(&mut node, "3");
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.wait(20 * SECOND_US);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.ingest(&all[1..2]);
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 3);
    assert_eq!(node.texts(), ["0", "1", "2", "3"]);
}

#[test]
fn an_own_operation_holds_publishing_without_a_claim() {
    let (mut node, all) = unknowing_copy();
    node.session(1, Phase::CatchUp);
    node.ingest(&all[1..2]);
    let answer = publish_later(&mut node, "3");
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.ingest(&all[2..]);
    node.session(1, Phase::Live);
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 3);
}

#[test]
fn a_session_without_news_holds_publishing_thirty_seconds() {
    let (mut node, all) = unknowing_copy();
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 2);
    node.ingest(&all[1..2]);
    let answer = publish_later(&mut node, "2 again");
    node.wait(29 * SECOND_US);
    // The same again is no progress.
    node.ingest(&all[1..2]);
    node.wait(SECOND_US - 1);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.wait(1);
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 2);
}

#[test]
fn our_own_publications_prove_nothing_when_they_return() {
    let mut node = Node::new();
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 1_000);
    node.wait(2 * SECOND_US);
    node.publish("0");
    let own = node.operations();
    node.ingest(&own);
    assert_eq!(node.publish("1").seq, 1);
}

#[test]
fn a_peer_that_brought_a_part_is_waited_for_again() {
    let (mut node, all) = unknowing_copy();
    peer_has(&mut node, 1, peer(7), 2);
    node.ingest(&all[1..2]);
    node.session(1, Phase::Ended);
    peer_has(&mut node, 2, peer(7), 2);
    let answer = publish_later(&mut node, "3");
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    node.ingest(&all[2..]);
    node.session(2, Phase::Live);
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 3);
}

#[test]
fn a_first_publish_never_waits_for_a_peer() {
    let mut node = Node::new();
    node.session(1, Phase::CatchUp);
    peer_has(&mut node, 1, peer(7), 0);
    node.wait(10 * SECOND_US);
    // Nobody claims anything: it is answered at once.
    let mut node = Node::new();
    node.session(1, Phase::CatchUp);
    assert_eq!(node.publish("0").seq, 0);
    peer_has(&mut node, 1, peer(7), 0);
    assert_eq!(node.publish("1").seq, 1);
}

#[test]
fn publishes_that_wait_are_bounded() {
    let mut node = Node::new();
    peer_has(&mut node, 1, peer(7), 5);
    let answers: Vec<Answer> = (0..1_025).map(|_| publish_later(&mut node, "x")).collect();
    assert_eq!(answers[1_023].try_recv(), Err(TryRecvError::Empty));
    assert_eq!(answers[1_024].try_recv().unwrap(), Err(PublishError::Held));
    node.session(1, Phase::Ended);
    assert_eq!(answers[1_023].try_recv().unwrap().unwrap().seq, 1_023);
}

#[test]
fn a_log_forked_by_a_copy_is_closed_for_good() {
    let (mut node, all) = unknowing_copy();
    // It published before a peer could tell.
    assert_eq!(node.publish("1 again").seq, 1);
    let outcomes = node.ingest(&all[1..]);
    assert_eq!(outcomes[0], Outcome::Rejected(RejectReason::Fork));
    let reported = node.committed.events.iter().any(|event| match event {
        EngineEvent::OwnFork { topic, fork, .. } => *topic == TOPIC && fork.check().is_ok(),
        _ => false,
    });
    assert!(reported);
    assert_eq!(
        node.try_publish("2 again"),
        Err(PublishError::OwnFork { held: false })
    );
    let (other, answer) = publish(OTHER_TOPIC, Some("fine"), false);
    node.process(vec![other]);
    assert!(answer.try_recv().unwrap().is_ok());
    assert_eq!(
        node.reopen().try_publish("still"),
        Err(PublishError::OwnFork { held: false })
    );
}

#[test]
fn the_rest_of_the_other_branch_shows_our_fork() {
    let (mut node, all) = unknowing_copy();
    node.publish("1 again");
    let outcomes = node.ingest(&all[2..]);
    assert_eq!(
        outcomes,
        [Outcome::Rejected(RejectReason::BacklinkMismatch)]
    );
    assert_eq!(
        node.try_publish("2 again"),
        Err(PublishError::OwnFork { held: false })
    );
}
