//! Idempotency keys: one message for each, no matter what happens.

use std::time::Duration;

use p2panda_core::{Hash, SigningKey};
use p2panda_engine::{Command, Fault, NewMessage, Options, PublishError, Published};

use crate::node::{Answer, Node, OTHER_TOPIC, SECOND_US, TOPIC, publish_messages};

const HOUR_US: u64 = 3_600 * SECOND_US;

fn keyed(key: &str, text: &'static str) -> NewMessage {
    NewMessage {
        key: Some(Hash::digest(key.as_bytes())),
        ..NewMessage::new(text)
    }
}

fn publish(message: NewMessage) -> (Command, Answer) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = Box::new(move |result| drop(sender.send(result)));
    let publish = Command::Publish {
        topic: TOPIC,
        message,
        reply,
    };
    (publish, receiver)
}

fn try_publish(node: &mut Node, message: NewMessage) -> Result<Published, PublishError> {
    let (command, answer) = publish(message);
    node.process(vec![command]);
    answer.try_recv().expect("it is answered at once")
}

#[test]
fn the_same_key_twice_stores_once_and_gives_the_first_receipt() {
    let mut node = Node::new();
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    node.publish("between");
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(first.clone())
    );
    let other = try_publish(&mut node, keyed("b", "text")).unwrap();
    assert_eq!(other.seq, 2);
    assert_eq!(node.texts(), ["text", "between", "text"]);
}

#[test]
fn a_key_with_other_content_names_the_first_operation() {
    let mut node = Node::new();
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    let prunes = NewMessage {
        prune: true,
        ..keyed("a", "text")
    };
    let empty = NewMessage {
        body: None,
        ..keyed("a", "")
    };
    let taken = Err(PublishError::KeyTaken { id: Some(first.id) });
    for other in [keyed("a", "other"), prunes, empty] {
        assert_eq!(try_publish(&mut node, other), taken);
    }
    assert_eq!(node.texts(), ["text"]);
}

#[test]
fn a_key_counts_within_a_transaction_and_a_batch() {
    let mut node = Node::new();
    let commands = ["x", "x", "y"].map(|text| publish(keyed("a", text)));
    let (commands, answers): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    node.process(commands);
    let answers: Vec<_> = answers.iter().map(|one| one.try_recv().unwrap()).collect();
    assert_eq!(answers[0], answers[1]);
    let id = answers[0].as_ref().map(|published| published.id).ok();
    assert_eq!(answers[2], Err(PublishError::KeyTaken { id }));

    let (command, answer) = publish_messages(vec![
        keyed("b", "1"),
        NewMessage::new("2"),
        keyed("a", "x"),
        keyed("b", "1"),
    ]);
    node.process(vec![command]);
    let all = answer.try_recv().unwrap().unwrap();
    assert_eq!(all[3], all[0]);
    assert_eq!(Ok(&all[2]), answers[0].as_ref());
    assert_eq!(node.texts(), ["x", "1", "2"]);

    let (command, answer) = publish_messages(vec![keyed("c", "3"), keyed("c", "4")]);
    node.process(vec![command]);
    let taken = Err(PublishError::KeyTaken { id: None });
    assert_eq!(answer.try_recv().unwrap(), taken);
    assert_eq!(node.texts(), ["x", "1", "2"]);
    // And the key of what was not stored is free.
    assert!(try_publish(&mut node, keyed("c", "4")).is_ok());
}

#[test]
fn a_key_survives_a_restart_and_a_crash() {
    let mut node = Node::new();
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    let mut crashed = node.after_crash();
    assert_eq!(
        try_publish(&mut crashed, keyed("a", "text")),
        Ok(first.clone())
    );
    let mut node = node.reopen();
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(first.clone())
    );
    let taken = Err(PublishError::KeyTaken { id: Some(first.id) });
    assert_eq!(try_publish(&mut node, keyed("a", "other")), taken);
    assert_eq!(node.texts(), ["text"]);
}

/// No matter what statement fails, anyone who publishes again with the same key gets one message.
#[test]
fn a_publish_that_failed_at_any_point_can_be_tried_again() {
    let mut node = Node::new();
    for after in 0..40 {
        let key = after.to_string();
        let (command, _answer) = publish(keyed(&key, "text"));
        node.engine.set_fault(Some(Fault::Full { after }));
        // With enough statements it is stored.
        let _ = node.engine.process(vec![command], node.now);
        node.engine.set_fault(None);
        let mut node = node.after_crash();
        let stored = node.texts().len();
        try_publish(&mut node, keyed(&key, "text")).unwrap();
        let again = node.texts().len();
        assert!(again <= stored + 1);
    }
    let stored = node.texts().len();
    for key in 0..40 {
        try_publish(&mut node, keyed(&key.to_string(), "text")).unwrap();
    }
    assert!(stored > 0 && stored < 40, "{stored}");
    assert_eq!(node.texts().len(), 40);
}

#[test]
fn a_key_is_forgotten_when_its_window_is_over_and_not_before() {
    let mut node = Node::new();
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    node.wait(HOUR_US);
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(first.clone())
    );
    node.wait(1);
    let second = try_publish(&mut node, keyed("a", "text")).unwrap();
    assert_eq!(second.seq, 1);
    // The window restarts, and with other content as well.
    node.wait(HOUR_US);
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(second.clone())
    );
    node.wait(1);
    assert_eq!(try_publish(&mut node, keyed("a", "new")).unwrap().seq, 2);
}

#[test]
fn the_window_is_what_the_application_says() {
    let mut node = Node::open(Options {
        idempotency_window: Duration::from_secs(1),
        ..Options::default()
    });
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    node.wait(SECOND_US);
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(first.clone())
    );
    node.wait(1);
    assert_eq!(try_publish(&mut node, keyed("a", "text")).unwrap().seq, 1);
}

fn remembered(node: &Node) -> u32 {
    let path = node.dir.join("p2panda.sqlite");
    let connection = rusqlite::Connection::open(path).unwrap();
    let count = "SELECT count(*) FROM keyed_publish";
    connection.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_remembered_of_keys_does_not_grow_with_history() {
    let mut node = Node::new();
    for round in 0..5 {
        for number in 0..20 {
            try_publish(&mut node, keyed(&format!("{round} {number}"), "text")).unwrap();
        }
        node.wait(HOUR_US + 1);
    }
    // Those of the last round, and what one more publish would take away.
    assert!(remembered(&node) <= 20, "{}", remembered(&node));
}

#[test]
fn a_pruned_operation_is_not_published_again() {
    let mut node = Node::new();
    let first = try_publish(&mut node, keyed("a", "text")).unwrap();
    let (prune, _answer) = crate::node::publish(TOPIC, Some("all"), true);
    node.process(vec![prune]);
    assert_eq!(
        try_publish(&mut node, keyed("a", "text")),
        Ok(first.clone())
    );
    assert_eq!(node.texts(), ["all"]);
}

#[test]
fn a_key_is_of_one_log() {
    let mut node = Node::new();
    try_publish(&mut node, keyed("a", "text")).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let message = keyed("a", "elsewhere");
    let reply = Box::new(move |result| drop(sender.send(result)));
    node.process(vec![Command::Publish {
        topic: OTHER_TOPIC,
        message,
        reply,
    }]);
    let published: Published = receiver.try_recv().unwrap().unwrap();
    assert_eq!(published.seq, 0);
}

#[test]
fn publishes_with_a_key_that_are_held_are_stored_once() {
    let mut node = Node::new();
    let peer = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let claim = Command::PeerHas {
        topic: TOPIC,
        session: 1,
        peer,
        own_seq: 5,
    };
    let (first, answer) = publish(keyed("a", "text"));
    let (second, again) = publish(keyed("a", "text"));
    node.process(vec![claim, first, second]);
    assert!(answer.try_recv().is_err());
    node.wait(10 * SECOND_US);
    let published = answer.try_recv().unwrap();
    assert_eq!(published, again.try_recv().unwrap());
    assert_eq!(published.unwrap().seq, 0);
    assert_eq!(node.texts(), ["text"]);
}
