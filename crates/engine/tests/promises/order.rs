use p2panda_core::{Operation, Phase};
use p2panda_engine::{EngineEvent, Source};

use crate::node::{Author, Node, SECOND_US, TOPIC, dependency, without_body};

#[test]
fn an_answer_that_comes_before_its_question_is_shown_after_it() {
    // A asks, B answers, and both are nodes of ours; C is given the answer first.
    let (mut a, mut b, mut c) = (Node::new(), Node::new(), Node::new());
    a.publish("question");
    let question = a.operations();
    b.ingest(&question);
    b.publish("answer");
    let answer: Vec<Operation> = b
        .operations()
        .into_iter()
        .filter(|o| o.header.author() == b.key())
        .collect();

    c.ingest(&answer);
    assert_eq!(c.texts(), Vec::<String>::new());
    assert_eq!(c.status().waiting, 1);
    // It is forwarded all the same.
    assert_eq!(c.operations(), answer);
    c.ingest(&question);
    assert_eq!(c.texts(), ["question", "answer"]);
    assert!(c.feed().iter().all(|entry| entry.missing.is_empty()));
    assert_eq!(c.status().waiting, 0);
}

#[test]
fn a_dependency_that_never_comes_does_not_stall_the_feed() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    // A whole dialogue with somebody who is gone: it waits once, not once per operation.
    let answers: Vec<Operation> = (0..50)
        .map(|n| b.answers(&format!("answer {n}"), &[&lost]))
        .collect();
    node.ingest(&answers);
    assert_eq!(node.engine.next_wake(), Some(5 * SECOND_US));
    node.wait(5 * SECOND_US - 1);
    assert!(node.texts().is_empty());
    node.wait(1);
    let feed = node.feed();
    assert_eq!(feed.len(), 50);
    assert_eq!(feed[0].missing, [dependency(&lost)]);
    assert_eq!(node.engine.next_wake(), None);
    // Should it come after all, it is shown, and what follows is complete.
    node.ingest(&[lost.clone(), b.answers("late", &[&lost])]);
    assert!(node.feed()[51].missing.is_empty());
}

#[test]
fn other_operations_are_shown_while_one_waits() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.ingest(&[
        b.answers("answer", &[&lost]),
        b.says("more"),
        Author::new(3).says("hello"),
    ]);
    assert_eq!(node.texts(), ["hello"]);
}

/// An operation of somebody new, so large that a session that brings it is fast enough.
fn progress(node: &mut Node, session: u64, number: u32) {
    let progress = Author::numbered(number).says(&"x".repeat(2_000));
    node.ingest_from(crate::node::session(session), TOPIC, &[progress]);
}

#[test]
fn the_wait_lasts_for_sessions_of_the_arrival_only() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.session(1, Phase::CatchUp);
    node.session(2, Phase::CatchUp);
    node.ingest(&[b.answers("answer", &[&lost])]);
    node.session(3, Phase::CatchUp);
    for second in 0..60 {
        (1..=3).for_each(|session| progress(&mut node, session, 3 * second + session as u32));
        node.wait(SECOND_US);
    }
    node.session(1, Phase::Live);
    for second in 60..120 {
        (2..=3).for_each(|session| progress(&mut node, session, 3 * second + session as u32));
        node.wait(SECOND_US);
    }
    node.session(2, Phase::Ended);
    node.wait(5 * SECOND_US - 1);
    assert!(!node.texts().contains(&"answer".to_owned()));
    node.wait(1);
    assert!(node.texts().contains(&"answer".to_owned()));
}

#[test]
fn sessions_that_bring_nothing_are_waited_for_thirty_seconds() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.session(1, Phase::CatchUp);
    node.wait(SECOND_US);
    node.session(2, Phase::CatchUp);
    node.ingest(&[b.answers("answer", &[&lost])]);
    assert_eq!(node.engine.next_wake(), Some(30 * SECOND_US));
    node.wait(29 * SECOND_US);
    assert_eq!(node.engine.next_wake(), Some(31 * SECOND_US));
    node.wait(SECOND_US - 1);
    assert!(node.texts().is_empty());
    node.wait(1);
    assert_eq!(node.texts(), ["answer"]);
    assert_eq!(node.engine.next_wake(), None);
}

#[test]
fn an_arrival_just_before_a_slow_session_waits_as_usual() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.session(1, Phase::CatchUp);
    node.wait(28 * SECOND_US);
    node.ingest(&[b.answers("answer", &[&lost])]);
    node.wait(5 * SECOND_US - 1);
    assert!(node.texts().is_empty());
    node.wait(1);
    assert_eq!(node.texts(), ["answer"]);
}

#[test]
fn a_session_that_drips_hides_nobody() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let (lost, mut slow) = (a.says("lost"), Author::new(3));
    node.session(1, Phase::CatchUp);
    node.ingest(&[b.answers("answer", &[&lost])]);
    // Valid operations, at less than 64 bytes a second, and plenty of what is stored already.
    let mut last = slow.says("x");
    for _ in 0..6 {
        for _ in 0..50 {
            node.ingest(std::slice::from_ref(&last));
        }
        node.wait(4 * SECOND_US);
        last = slow.says("x");
    }
    assert!(!node.texts().contains(&"answer".to_owned()));
    node.wait(6 * SECOND_US);
    assert!(node.texts().contains(&"answer".to_owned()));
}

#[test]
fn a_long_catch_up_keeps_order_within_ten_minutes() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let (question, lost) = (a.says("question"), Author::new(3).says("lost"));
    node.session(1, Phase::CatchUp);
    node.ingest(&[
        b.answers("answer", &[&question]),
        Author::new(4).answers("orphan", &[&lost]),
    ]);
    for half_minute in 0..19 {
        node.wait(29 * SECOND_US);
        progress(&mut node, 1, half_minute);
    }
    node.ingest(&[question]);
    let texts = node.texts();
    let place = |text: &str| texts.iter().position(|found| found == text);
    assert!(place("question") < place("answer") && place("question").is_some());
    assert_eq!(place("orphan"), None);
    node.wait(29 * SECOND_US);
    progress(&mut node, 1, 20);
    assert!(!node.texts().contains(&"orphan".to_owned()));
    assert_eq!(node.engine.next_wake(), Some(600 * SECOND_US));
    node.wait(20 * SECOND_US);
    assert!(node.texts().contains(&"orphan".to_owned()));
}

#[test]
fn what_arrives_later_in_a_waiting_log_has_its_own_deadline() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = a.says("lost");
    node.ingest(&[b.answers("first", &[&lost])]);
    node.wait(3 * SECOND_US);
    node.ingest(&[b.answers("second", &[&lost])]);
    node.wait(2 * SECOND_US);
    assert_eq!(node.texts(), ["first"]);
    node.wait(3 * SECOND_US);
    assert_eq!(node.texts(), ["first", "second"]);
}

#[test]
fn after_a_restart_waiting_goes_on_and_ends() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let (lost, found) = (a.says("lost"), Author::new(3).says("found"));
    node.ingest(&[b.answers("answer", &[&lost]), b.answers("more", &[&found])]);
    let mut node = node.after_crash();
    assert!(node.texts().is_empty());
    node.ingest(&[found]);
    node.wait(5 * SECOND_US);
    assert_eq!(node.texts(), ["found", "answer", "more"]);
    assert_eq!(node.feed()[1].missing, [dependency(&lost)]);
    let node = node.reopen();
    assert_eq!(node.texts(), ["found", "answer", "more"]);
}

#[test]
fn a_chain_of_answers_is_released_by_its_beginning() {
    let mut node = Node::new();
    let mut authors: Vec<Author> = (1..=40).map(Author::new).collect();
    let mut chain = vec![authors[0].says("0")];
    for (n, author) in authors.iter_mut().enumerate().skip(1) {
        let operation = author.answers(&n.to_string(), &[chain.last().unwrap()]);
        chain.push(operation);
    }
    for operation in chain.iter().skip(1).rev() {
        node.ingest(std::slice::from_ref(operation));
    }
    assert!(node.texts().is_empty());
    node.ingest(&chain[..1]);
    let expected: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(node.texts(), expected);
}

#[test]
fn operations_that_wait_for_each_other_are_shown_after_the_wait() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    // Nobody can sign such a circle honestly: each names the other's place, ids are invented.
    let mut of_b = dependency(&b.clone().says("x"));
    of_b.seq = 0;
    let mut of_a = dependency(&a.clone().says("x"));
    of_a.seq = 0;
    let one = a.operation(TOPIC, TOPIC.log_id(), Some("one"), false, vec![of_b]);
    let two = b.operation(TOPIC, TOPIC.log_id(), Some("two"), false, vec![of_a]);
    node.ingest(&[one, two]);
    assert!(node.texts().is_empty());
    node.wait(5 * SECOND_US);
    assert_eq!(node.texts(), ["one", "two"]);
}

#[test]
fn a_dependency_without_its_body_is_met() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let question = a.says("question");
    node.ingest(&[b.answers("answer", &[&question]), without_body(&question)]);
    assert_eq!(node.texts(), ["answer"]);
    assert!(node.feed()[0].missing.is_empty());
}

#[test]
fn a_body_that_comes_while_it_waits_is_delivered_in_order() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let question = a.says("question");
    let answer = b.answers("answer", &[&question]);
    node.ingest(&[without_body(&answer)]);
    node.ingest(&[answer]);
    assert!(node.texts().is_empty());
    node.ingest(&[question]);
    assert_eq!(node.texts(), ["question", "answer"]);
}

#[test]
fn own_operations_name_what_was_seen_and_is_not_implied() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    node.publish("alone");
    let (one, two) = (a.says("one"), b.says("two"));
    node.ingest(&[one, two.clone()]);
    let three = a.says("three");
    node.ingest(std::slice::from_ref(&three));
    // A publish that is refused is none that could imply them.
    assert!(node.try_publish("").is_err());
    node.publish("seen both");
    node.publish("nothing new");
    let own: Vec<Vec<_>> = node
        .operations()
        .iter()
        .filter(|operation| operation.header.author() == node.key())
        .map(|operation| operation.header.node_extensions().unwrap().deps)
        .collect();
    let mut both = vec![dependency(&three), dependency(&two)];
    both.sort();
    assert_eq!(own, [vec![], both, vec![]]);
}

#[test]
fn own_operations_name_the_sixteen_most_recent_heads() {
    let mut node = Node::new();
    let heads: Vec<Operation> = (1..=20)
        .map(|seed| Author::new(seed).says("hello"))
        .collect();
    node.ingest(&heads);
    let mut node = node.reopen();
    node.publish("hello all");
    let own = node.operations().pop().unwrap();
    let mut expected: Vec<_> = heads[4..].iter().map(dependency).collect();
    expected.sort();
    assert_eq!(own.header.node_extensions().unwrap().deps, expected);
}

#[test]
fn an_arrival_in_the_same_batch_is_named_by_the_next() {
    let (mut node, mut a) = (Node::new(), Author::new(1));
    let hello = a.says("hello");
    let incoming = vec![p2panda_engine::Incoming::Valid(hello.clone())];
    let ingest = p2panda_engine::Command::Ingest {
        topic: TOPIC,
        source: crate::node::session(1),
        operations: incoming,
        reply: None,
    };
    let (publish, _answer) = crate::node::publish(TOPIC, Some("unaware"), false);
    node.process(vec![ingest, publish]);
    node.publish("aware");
    let own = node.operations().pop().unwrap();
    assert_eq!(
        own.header.node_extensions().unwrap().deps,
        [dependency(&hello)]
    );
}

#[test]
fn more_logs_than_can_wait_are_not_waited_for() {
    let mut node = Node::new();
    let lost = Author::new(1).says("lost");
    let waiting: Vec<Operation> = (0..16_385_u32)
        .map(|n| Author::numbered(n).answers("answer", &[&lost]))
        .collect();
    node.ingest(&waiting[..16_384]);
    assert!(node.texts().is_empty());
    node.ingest(&waiting[16_384..]);
    assert_eq!(node.feed().len(), 1);
    assert_eq!(node.feed()[0].missing, [dependency(&lost)]);
    node.wait(5 * SECOND_US);
    node.go_on();
    assert_eq!(node.feed().len(), 16_385);
}

#[test]
fn the_one_who_fills_the_waiting_room_loses_its_order_first() {
    let mut node = Node::new();
    let lost = Author::new(1).says("lost");
    let waiting: Vec<Operation> = (0..16_384_u32)
        .map(|n| Author::numbered(n).answers(&n.to_string(), &[&lost]))
        .collect();
    node.ingest(&waiting);
    assert!(node.texts().is_empty());
    let (mut a, mut b) = (Author::new(2), Author::new(3));
    let question = a.says("question");
    let honest = Source::Session {
        id: 2,
        peer: a.key(),
    };
    node.ingest_from(honest, TOPIC, &[b.answers("answer", &[&question])]);
    assert_eq!(node.texts(), ["16383"], "the newest of the fullest");
    node.ingest_from(honest, TOPIC, &[question]);
    assert_eq!(node.texts(), ["16383", "question", "answer"]);
    node.wait(5 * SECOND_US);
    node.go_on();
    assert_eq!(node.feed().len(), 16_386);
}

#[test]
fn an_unreadable_operation_stops_one_log_only() {
    let (mut node, mut a, mut b) = (Node::new(), Author::new(1), Author::new(2));
    let lost = Author::new(3).says("lost");
    node.ingest(&[a.answers("damaged", &[&lost]), a.says("behind")]);
    let copy = node.copy();
    damage(&copy.path().join("p2panda.sqlite"), &a);
    let mut node = Node::open_in(copy, p2panda_engine::Options::default());
    node.ingest(&[b.says("fine")]);
    let (topic, author, seq) = (TOPIC, a.key(), 0);
    assert_eq!(
        node.committed.events,
        [EngineEvent::LogUnreadable { topic, author, seq }]
    );
    node.wait(5 * SECOND_US);
    assert_eq!(node.texts(), ["fine"]);
    // Who depends on it waits no longer than on anything that is missing.
    let damaged = Author::new(1).answers("damaged", &[&lost]);
    node.ingest(&[b.answers("still here", &[&damaged])]);
    node.wait(5 * SECOND_US);
    assert_eq!(node.texts(), ["fine", "still here"]);
    let page = node
        .reader()
        .log_page(&TOPIC, &a.key(), None, 9, crate::node::ALL)
        .unwrap();
    assert!(page.entries.is_empty());
    assert_eq!(page.unreadable[0].author, a.key());
    let page = node
        .reader()
        .log_page(&TOPIC, &b.key(), None, 9, crate::node::ALL)
        .unwrap();
    assert_eq!(page.entries.len(), 2);
}

fn damage(database: &std::path::Path, author: &Author) {
    let connection = rusqlite::Connection::open(database).unwrap();
    let changed = connection
        .execute(
            "UPDATE operation SET header = x'00ff' WHERE seq = 0 AND log =
                (SELECT l.id FROM log l JOIN author a ON a.id = l.author WHERE a.key = ?1)",
            [author.key().as_bytes().as_slice()],
        )
        .unwrap();
    assert_eq!(changed, 1);
}
