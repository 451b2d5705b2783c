//! Several logs of an author in one topic (docs/protocol/streams.md#20).

use p2panda_core::{LogName, Topic, VerifyingKey};
use p2panda_engine::{
    Fault, NewMessage, Options, Outcome, PublishError, RejectReason, RestoredAction,
};

use crate::node::{
    Author, Node, OTHER_TOPIC, SECOND_US, TOPIC, dependency, publish_messages, session,
};

fn name(name: &str) -> LogName {
    LogName::of(name).unwrap()
}

fn label(author: &VerifyingKey, log: &str) -> VerifyingKey {
    let label = TOPIC.named_log_id(&name(log)).label(author);
    label.in_place_of_author()
}

fn to_log(text: &str, log: &str) -> NewMessage {
    NewMessage {
        log: Some(name(log)),
        ..NewMessage::new(text.as_bytes().to_vec())
    }
}

fn publish(node: &mut Node, message: NewMessage) -> Result<u32, PublishError> {
    let (command, answers) = publish_messages(vec![message]);
    node.process(vec![command]);
    let published = answers.recv().unwrap()?;
    Ok(published[0].seq)
}

/// The heights of the logs with these labels, as sessions with ranges compare them.
fn heights(node: &Node, labels: &[VerifyingKey]) -> Vec<Option<u32>> {
    let (heads, _) = node.reader().heads(&TOPIC, None).unwrap();
    let height = |label: &VerifyingKey| {
        let mut raised = heads.raised.iter();
        raised
            .find(|(log, _)| log == label)
            .map(|(_, head)| head.seq)
    };
    labels.iter().map(height).collect()
}

#[test]
fn an_author_has_a_log_of_its_own_for_each_name() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let (mut one, mut two) = (plain.in_log("one"), plain.in_log("two"));
    let operations = [plain.says("a"), one.says("b"), two.says("c"), one.says("d")];
    let outcomes = node.ingest(&operations);
    assert!(
        outcomes
            .iter()
            .all(|one| matches!(one, Outcome::Stored { .. }))
    );
    assert_eq!(node.texts(), ["a", "b", "c", "d"]);
    let labels = [
        plain.key(),
        label(&plain.key(), "one"),
        label(&plain.key(), "two"),
    ];
    assert_eq!(heights(&node, &labels), [Some(0), Some(1), Some(0)]);
    assert_eq!(node.status().logs, 3);
    let node = node.reopen();
    assert_eq!(heights(&node, &labels), [Some(0), Some(1), Some(0)]);
    assert_eq!(node.texts(), ["a", "b", "c", "d"]);
}

#[test]
fn heights_for_published_nodes_have_first_logs_only() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let mut other = Author::new(2).in_log("one");
    node.ingest(&[
        plain.says("a"),
        plain.in_log("one").says("b"),
        other.says("c"),
    ]);
    let reader = node.reader();
    let heights = reader.holdings(&TOPIC).unwrap().heights;
    let expected = [(plain.key(), TOPIC.log_id(), 0)].into_iter().collect();
    assert_eq!(heights, expected);
    assert_eq!(reader.oldest_heights(&TOPIC, 10).unwrap(), expected);
}

#[test]
fn a_log_of_another_topic_or_name_is_of_the_wrong_topic() {
    let mut node = Node::new();
    let named = Author::new(1).in_log("one");
    let of = |topic: Topic| {
        let mut author = named.clone();
        author.operation(topic, topic.log_id(), Some("text"), false, Vec::new())
    };
    let wrong = Outcome::Rejected(RejectReason::WrongTopic);
    assert_eq!(node.ingest(&[of(OTHER_TOPIC)]), [wrong]);
    let mut another = named.clone();
    let extensions = p2panda_core::NodeExtensions {
        name: Some(name("two")),
        ..p2panda_core::NodeExtensions::new(
            TOPIC.named_log_id(&name("one")),
            p2panda_core::Timestamp::from_micros(1),
        )
    };
    let other_name = another.raw(TOPIC, Some("text"), &extensions.encode());
    assert_eq!(node.ingest(&[other_name]), [wrong]);
    assert!(matches!(
        node.ingest(&[of(TOPIC)])[..],
        [Outcome::Stored { .. }]
    ));
}

#[test]
fn a_gap_in_one_log_holds_no_other_log_of_its_author() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let mut named = plain.in_log("one");
    let _lost = plain.says("lost");
    let later = plain.says("later");
    let outcomes = node.ingest(&[later, named.says("a"), named.says("b")]);
    assert_eq!(outcomes[0], Outcome::Early);
    assert_eq!(node.texts(), ["a", "b"]);
}

#[test]
fn a_wait_of_one_log_holds_no_other_log_of_its_author() {
    let mut node = Node::new();
    let (mut plain, mut other) = (Author::new(1), Author::new(2));
    let missing = other.says("missing");
    let (waits, goes_on) = (
        plain.answers("waits", &[&missing]),
        plain.in_log("one").says("on"),
    );
    node.ingest(&[waits, goes_on]);
    assert_eq!(node.texts(), ["on"]);
    node.ingest(&[missing]);
    assert_eq!(node.texts(), ["on", "missing", "waits"]);
}

#[test]
fn a_fork_of_one_log_leaves_the_others_of_its_author() {
    let mut node = Node::new();
    let plain = Author::new(1);
    let (mut one, mut two) = (plain.in_log("one"), plain.in_log("two"));
    let (mut here, mut there) = (one.clone(), one.clone());
    let outcomes = node.ingest(&[here.says("here"), there.says("there"), two.says("two")]);
    assert_eq!(outcomes[1], Outcome::Rejected(RejectReason::Fork));
    assert_eq!(node.ingest(&[two.says("more")]).len(), 1);
    assert_eq!(node.texts(), ["here", "two", "more"]);
    let forks = node.reader().forks(&TOPIC, 10).unwrap();
    assert_eq!(forks.len(), 1);
    assert_eq!(forks[0].author, plain.key());
    let _ = one.says("unused");
}

#[test]
fn a_prune_of_one_log_deletes_nothing_of_another() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let mut named = plain.in_log("one");
    node.ingest(&[
        plain.says("a"),
        named.says("b"),
        named.says("c"),
        plain.says("d"),
    ]);
    node.ingest(&[named.prunes(Some("snapshot"))]);
    node.settle();
    assert_eq!(node.texts(), ["a", "d", "snapshot"]);
    node.ingest(&[plain.prunes(Some("all"))]);
    node.settle();
    assert_eq!(node.texts(), ["snapshot", "all"]);
}

#[test]
fn a_dependency_on_another_log_of_its_author_waits_for_that_log() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let mut control = plain.in_log("control");
    let (first, second) = (control.says("first"), control.says("second"));
    let content = plain.answers("content", &[&second]);
    node.ingest(&[content]);
    assert_eq!(node.texts(), [""; 0]);
    node.ingest(&[first]);
    assert_eq!(
        node.texts(),
        ["first"],
        "the log, not the author, is waited for"
    );
    let mut node = node.reopen();
    node.ingest(&[second]);
    assert_eq!(node.texts(), ["first", "second", "content"]);
}

#[test]
fn a_dependency_that_does_not_come_is_named_with_its_log() {
    let mut node = Node::new();
    let mut plain = Author::new(1);
    let lost = plain.in_log("control").says("lost");
    node.ingest(&[plain.answers("content", &[&lost])]);
    node.wait(60 * SECOND_US);
    assert_eq!(node.texts(), ["content"]);
    let expected = dependency(&lost);
    assert!(expected.log.is_some());
    assert_eq!(node.feed()[0].missing, [expected]);
    assert_eq!(node.reopen().feed()[0].missing, [expected]);
}

#[test]
fn our_own_logs_go_on_each_for_itself_also_after_a_crash() {
    let mut node = Node::new();
    node.publish("plain");
    assert_eq!(publish(&mut node, to_log("a", "one")), Ok(0));
    assert_eq!(publish(&mut node, to_log("b", "one")), Ok(1));
    assert_eq!(publish(&mut node, to_log("c", "two")), Ok(0));
    let mut node = node.after_crash();
    assert_eq!(publish(&mut node, to_log("d", "one")), Ok(2));
    assert_eq!(node.publish("plain too").seq, 1);
    assert_eq!(node.texts(), ["plain", "a", "b", "c", "d", "plain too"]);
    for operation in node.operations() {
        let extensions = operation.header.node_extensions().unwrap();
        assert_eq!(extensions.deps, [], "own logs do not wait for each other");
    }
}

#[test]
fn each_of_our_logs_names_what_its_own_operations_do_not_imply() {
    let mut node = Node::new();
    let mut other = Author::new(1);
    let said = other.in_log("theirs").says("said");
    node.ingest(std::slice::from_ref(&said));
    node.publish("plain");
    publish(&mut node, to_log("named", "one")).unwrap();
    publish(&mut node, to_log("again", "one")).unwrap();
    let mut node = node.reopen();
    publish(&mut node, to_log("once more", "one")).unwrap();
    let deps = |text: &str| {
        let mut entries = node.feed().into_iter();
        let entry = entries.find(|entry| crate::node::text_of(entry) == text);
        entry.unwrap().header.node_extensions().unwrap().deps
    };
    assert_eq!(deps("plain"), [dependency(&said)]);
    assert_eq!(deps("named"), [dependency(&said)]);
    assert_eq!(deps("again"), []);
    assert_eq!(deps("once more"), []);
    let newer = other.says("newer");
    node.ingest(&[newer]);
}

#[test]
fn a_batch_over_several_logs_is_there_as_a_whole() {
    let mut node = Node::new();
    let plain = |text: &str| NewMessage::new(text.as_bytes().to_vec());
    let batch = vec![
        to_log("a", "one"),
        plain("b"),
        to_log("c", "one"),
        to_log("d", "two"),
    ];
    let (command, answers) = publish_messages(batch);
    node.process(vec![command]);
    let seqs: Vec<u32> = answers
        .recv()
        .unwrap()
        .unwrap()
        .iter()
        .map(|one| one.seq)
        .collect();
    assert_eq!(seqs, [0, 0, 1, 0]);
    assert_eq!(node.after_crash().texts(), ["a", "b", "c", "d"]);
}

#[test]
fn an_idempotency_key_is_that_of_one_log() {
    let mut node = Node::new();
    let keyed = |log| NewMessage {
        key: Some(p2panda_core::Hash::digest(b"key")),
        ..to_log("text", log)
    };
    for (log, seq) in [("one", 0), ("one", 0), ("two", 0)] {
        assert_eq!(publish(&mut node, keyed(log)), Ok(seq));
    }
    assert_eq!(node.texts(), ["text", "text"]);
}

#[test]
fn a_copied_named_log_is_closed_alone_and_can_be_pulled() {
    let mut node = Node::new();
    publish(&mut node, to_log("shared", "one")).unwrap();
    let mut copy = node.after_crash();
    publish(&mut copy, to_log("there", "one")).unwrap();
    publish(&mut copy, to_log("more there", "one")).unwrap();
    publish(&mut node, to_log("here", "one")).unwrap();
    let theirs = copy.operations();
    node.ingest_from(session(1), TOPIC, &theirs);
    let closed = publish(&mut node, to_log("refused", "one"));
    assert!(matches!(closed, Err(PublishError::OwnFork { .. })));
    node.publish("the first log goes on");
    let mut node = node.reopen_with(Options {
        restored: Some(RestoredAction::PullOwnLog),
        ..Options::default()
    });
    let pulling = publish(&mut node, to_log("refused", "one"));
    assert_eq!(pulling, Err(PublishError::PullingOwnLog));
    node.ingest_from(session(2), TOPIC, &theirs);
    assert_eq!(publish(&mut node, to_log("at its end", "one")), Ok(3));
}

/// At any statement of the transaction that makes the logs.
#[test]
fn a_storage_fault_makes_all_of_several_logs_or_none() {
    let mut node = Node::new();
    node.publish("before");
    let me = node.key();
    let labels = [me, label(&me, "one"), label(&me, "two")];
    let mut after = 0;
    loop {
        let messages = vec![
            to_log("b", "one"),
            NewMessage::new("c"),
            to_log("d", "two"),
            to_log("e", "one"),
        ];
        let (command, answers) = publish_messages(messages);
        node.engine.set_fault(Some(Fault::Full { after }));
        let processed = node.engine.process(vec![command], node.now);
        node.engine.set_fault(None);
        match processed {
            Ok(_) => {
                let published = answers.try_recv().unwrap().unwrap();
                let seqs: Vec<u32> = published.iter().map(|one| one.seq).collect();
                assert_eq!(seqs, [0, 1, 0, 1]);
                break;
            }
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        assert!(answers.try_recv().is_err());
        for node in [&node, &node.after_crash()] {
            assert_eq!(node.texts(), ["before"], "statement {after}");
            assert_eq!(heights(node, &labels), [Some(0), None, None]);
        }
        after += 1;
    }
    assert!(after > 8, "only {after} statements");
    let after = node.after_crash();
    assert_eq!(after.texts(), ["before", "b", "c", "d", "e"]);
    assert_eq!(heights(&after, &labels), [Some(1), Some(1), Some(0)]);
    let mut after = after;
    assert_eq!(publish(&mut after, to_log("f", "two")), Ok(1), "it goes on");
}
