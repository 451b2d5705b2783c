//! The messages that the application names as parents.

use p2panda_core::{Dependency, Hash, Operation};
use p2panda_engine::{NewMessage, PublishError};

use crate::node::{Author, Node, dependency, publish_messages};

fn after(text: &'static str, parents: Vec<Dependency>) -> NewMessage {
    NewMessage {
        after: parents,
        ..NewMessage::new(text)
    }
}

fn try_publish(node: &mut Node, messages: Vec<NewMessage>) -> Result<Vec<Operation>, PublishError> {
    let (command, answer) = publish_messages(messages);
    node.process(vec![command]);
    let published = answer.try_recv().expect("it is answered at once")?;
    let stored = node.operations();
    let find = |id: Hash| stored.iter().find(|one| one.header.id() == id).cloned();
    Ok(published.iter().filter_map(|one| find(one.id)).collect())
}

fn deps(operation: &Operation) -> Vec<Dependency> {
    operation.header.node_extensions().unwrap().deps
}

#[test]
fn the_header_names_the_given_parents() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let theirs = [author.says("0"), author.says("1")];
    node.ingest(&theirs);
    node.publish("implies both");
    let parent = dependency(&theirs[0]);
    let published = try_publish(&mut node, vec![after("answer", vec![parent])]).unwrap();
    assert_eq!(deps(&published[0]), [parent]);
    // And what comes next implies it.
    let next = try_publish(&mut node, vec![after("next", Vec::new())]).unwrap();
    assert_eq!(deps(&next[0]), []);
}

#[test]
fn the_header_also_names_the_newest_of_each_seen_author() {
    let (mut node, mut one, mut two) = (Node::new(), Author::new(1), Author::new(2));
    let of_one = [one.says("0"), one.says("1"), one.says("2")];
    let of_two = two.says("0");
    node.ingest(&of_one);
    node.ingest(std::slice::from_ref(&of_two));
    let parents = vec![dependency(&of_one[1]), dependency(&of_one[0])];
    let published = try_publish(&mut node, vec![after("answer", parents)]).unwrap();
    let mut expected = [dependency(&of_one[2]), dependency(&of_two)];
    expected.sort();
    assert_eq!(deps(&published[0]), expected);
}

#[test]
fn an_unknown_parent_is_an_error_and_publishes_nothing() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let theirs = [author.says("0"), author.says("1")];
    node.ingest(&theirs[..1]);
    let known = dependency(&theirs[0]);
    let stranger = dependency(&Author::new(2).says("0"));
    let later = dependency(&theirs[1]);
    let id = Hash::digest(b"other");
    let of_another_id = Dependency { id, ..known };
    let of_another_place = Dependency { seq: 1, ..known };
    for unknown in [stranger, later, of_another_id, of_another_place] {
        let messages = vec![
            after("fine", vec![known]),
            after("not", vec![known, unknown]),
        ];
        let refused = try_publish(&mut node, messages);
        assert_eq!(refused, Err(PublishError::UnknownParent { id: unknown.id }));
    }
    assert_eq!(node.texts(), ["0"]);
    node.ingest(&theirs[1..]);
    assert!(try_publish(&mut node, vec![after("now", vec![later])]).is_ok());
}

#[test]
fn a_pruned_operation_is_not_stored_here_any_more() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let theirs = [author.says("0"), author.prunes(Some("all"))];
    node.ingest(&theirs[..1]);
    node.ingest(&theirs[1..]);
    let parent = dependency(&theirs[0]);
    let refused = try_publish(&mut node, vec![after("answer", vec![parent])]);
    assert_eq!(refused, Err(PublishError::UnknownParent { id: parent.id }));
}

#[test]
fn sixteen_parents_are_accepted_and_one_more_is_refused() {
    let mut node = Node::new();
    let operations: Vec<_> = (0..17).map(|n| Author::numbered(n).says("x")).collect();
    node.ingest(&operations);
    let parents: Vec<_> = operations.iter().map(dependency).collect();
    let refused = try_publish(&mut node, vec![after("answer", parents.clone())]);
    assert_eq!(refused, Err(PublishError::TooManyParents { parents: 17 }));
    // Those that are named go before what the node has seen.
    let published = try_publish(&mut node, vec![after("answer", parents[..16].to_vec())]);
    let mut named = parents[..16].to_vec();
    named.sort();
    assert_eq!(deps(&published.unwrap()[0]), named);
}

#[test]
fn own_operations_need_not_be_named_as_parents() {
    let mut node = Node::new();
    node.publish("0");
    let own = dependency(&node.operations()[0]);
    let published = try_publish(&mut node, vec![after("1", vec![own])]).unwrap();
    assert_eq!(deps(&published[0]), []);
    let id = Hash::digest(b"other");
    let unknown = Dependency { id, ..own };
    let refused = try_publish(&mut node, vec![after("2", vec![unknown])]);
    assert_eq!(refused, Err(PublishError::UnknownParent { id }));
}

#[test]
fn another_node_shows_a_message_after_its_parents() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let theirs = [author.says("question"), author.says("other")];
    node.ingest(&theirs);
    node.publish("before");
    let parent = dependency(&theirs[0]);
    try_publish(&mut node, vec![after("answer", vec![parent])]).unwrap();
    let own: Vec<_> = node.operations().split_off(2);
    let mut reader = Node::new();
    reader.ingest(&own);
    assert_eq!(reader.texts(), [""; 0]);
    reader.ingest(&theirs);
    assert_eq!(reader.texts(), ["question", "other", "before", "answer"]);
}

#[test]
fn a_message_waits_for_a_parent_that_waits_here() {
    let mut node = Node::new();
    let question = Author::new(1).says("question");
    let answer = Author::new(2).answers("answer", &[&question]);
    node.ingest(std::slice::from_ref(&answer));
    assert_eq!(node.texts(), [""; 0]);
    let parent = dependency(&answer);
    try_publish(&mut node, vec![after("comment", vec![parent])]).unwrap();
    assert_eq!(node.texts(), [""; 0]);
    node.ingest(&[question]);
    assert_eq!(node.texts(), ["question", "answer", "comment"]);
}
