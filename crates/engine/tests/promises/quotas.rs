//! Quotas for data of others.

use std::sync::mpsc::channel;

use p2panda_core::{Operation, Topic, VerifyingKey};
use p2panda_engine::{
    Command, EngineEvent, Incoming, Options, Outcome, QuotaOf, Quotas, RejectReason, RestoredAction,
};

use crate::node::{Author, Node, OTHER_TOPIC, TOPIC, session};

const REFUSED: Outcome = Outcome::Rejected(RejectReason::Quota);

fn bytes(operation: &Operation) -> u64 {
    operation.header.as_bytes().len() as u64 + u64::from(operation.header.payload_size())
}

fn sum(operations: &[Operation]) -> u64 {
    operations.iter().map(bytes).sum()
}

fn with(quotas: Quotas) -> Options {
    Options {
        quotas,
        ..Options::default()
    }
}

fn of_author(bytes: u64) -> Quotas {
    Quotas {
        author: Some(bytes),
        ..Quotas::default()
    }
}

fn ingest_in(node: &mut Node, topic: Topic, sent: &[Operation]) -> Vec<Outcome> {
    let sent = sent.iter().cloned().map(Incoming::Valid).collect();
    node.ingest_any(session(1), topic, sent)
}

fn says_elsewhere(author: &mut Author, text: &str) -> Operation {
    author.operation(
        OTHER_TOPIC,
        OTHER_TOPIC.log_id(),
        Some(text),
        false,
        Vec::new(),
    )
}

/// Other quotas while the node runs.
fn set(node: &mut Node, quotas: Quotas) {
    let (sender, receiver) = channel();
    let reply = Box::new(move |()| sender.send(()).unwrap());
    node.process(vec![Command::SetQuotas { quotas, reply }]);
    receiver.try_recv().expect("they hold after the batch");
}

/// The topics with a log that continued in the last batch.
fn going_on(node: &Node) -> Vec<Topic> {
    let events = node.committed.events.iter();
    let topics = events.filter_map(|event| match event {
        EngineEvent::LogGoesOn { topic, .. } => Some(*topic),
        _ => None,
    });
    topics.collect()
}

fn is_stored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Stored { .. })
}

fn blocked(node: &Node) -> Vec<(VerifyingKey, u32, RejectReason)> {
    let blocked = node.status().blocked.into_iter();
    blocked
        .map(|log| (log.author, log.seq, log.reason))
        .collect()
}

#[test]
fn an_author_may_fill_its_quota_and_not_a_byte_more() {
    let mut author = Author::new(1);
    let sent = ["one", "two", "three"].map(|text| author.says(text));
    for (room, taken) in [(sum(&sent), 3), (sum(&sent) - 1, 2)] {
        let mut node = Node::open(with(of_author(room)));
        let outcomes = node.ingest(&sent);
        assert_eq!(outcomes.iter().filter(|one| is_stored(one)).count(), taken);
        // In a batch of its own it is no other.
        let mut node = Node::open(with(of_author(room)));
        let alone = sent
            .iter()
            .filter(|one| is_stored(&node.ingest(&[(*one).clone()])[0]));
        assert_eq!(alone.count(), taken);
    }
}

#[test]
fn at_its_quota_an_author_is_refused_and_others_are_not() {
    let (mut author, mut other) = (Author::new(1), Author::new(2));
    let sent = ["one", "two", "three", "four"].map(|text| author.says(text));
    let mut node = Node::open(with(of_author(sum(&sent[..2]))));
    let outcomes = node.ingest(&sent);
    assert!(is_stored(&outcomes[1]));
    // Nothing jumps over what is refused, and it does not count as early either.
    assert_eq!(outcomes[2..], [REFUSED, Outcome::Blocked]);
    assert_eq!(blocked(&node), [(author.key(), 2, RejectReason::Quota)]);
    let told = node.committed.events.iter();
    let told = told.filter(|event| matches!(event, EngineEvent::LogBlocked { .. }));
    assert_eq!(told.count(), 1);
    assert_eq!(node.engine.early_bytes(), 0);
    assert!(is_stored(&node.ingest(&[other.says("mine")])[0]));
    assert_eq!(node.texts(), ["one", "two", "mine"]);
    // The same again is refused again, and is one row.
    assert_eq!(node.ingest(&sent[2..]), [REFUSED, Outcome::Blocked]);
    assert_eq!(node.status().rejected, [(RejectReason::Quota, 1)]);
    // What this node says itself is not of others.
    for _ in 0..10 {
        node.publish("own");
    }
}

#[test]
fn an_authors_logs_of_all_topics_count_together() {
    let (mut here, mut there) = (Author::new(1), Author::new(1));
    let first = here.says("one");
    let second = says_elsewhere(&mut there, "two");
    let mut node = Node::open(with(of_author(bytes(&first) + bytes(&second) - 1)));
    assert!(is_stored(&ingest_in(&mut node, TOPIC, &[first])[0]));
    assert_eq!(ingest_in(&mut node, OTHER_TOPIC, &[second]), [REFUSED]);
}

#[test]
fn a_topic_and_all_together_have_quotas_of_their_own() {
    let (mut one, mut two, mut three) = (Author::new(1), Author::new(2), Author::new(3));
    let (first, second) = (one.says("one"), two.says("two"));
    let elsewhere = says_elsewhere(&mut three, "three");
    let here = bytes(&first) + bytes(&second);
    let of_topic = |bytes| Quotas {
        topic: Some(bytes),
        ..Quotas::default()
    };
    let of_all = |bytes| Quotas {
        total: Some(bytes),
        ..Quotas::default()
    };
    let all = here + bytes(&elsewhere);
    for (quotas, second_is_in, elsewhere_is_in) in [
        (of_topic(here), true, true),
        (of_topic(here - 1), false, true),
        (of_all(all), true, true),
        (of_all(all - 1), true, false),
    ] {
        let mut node = Node::open(with(quotas));
        ingest_in(&mut node, TOPIC, std::slice::from_ref(&first));
        let outcomes = ingest_in(&mut node, TOPIC, std::slice::from_ref(&second));
        assert_eq!(is_stored(&outcomes[0]), second_is_in, "{quotas:?}");
        let outcomes = ingest_in(&mut node, OTHER_TOPIC, std::slice::from_ref(&elsewhere));
        assert_eq!(is_stored(&outcomes[0]), elsewhere_is_in, "{quotas:?}");
    }
}

#[test]
fn what_is_kept_is_known_after_a_kill_and_a_restart() {
    let mut author = Author::new(1);
    let sent = ["one", "two", "three"].map(|text| author.says(text));
    let quotas = of_author(sum(&sent[..2]));
    let mut node = Node::open(with(quotas));
    node.ingest(&sent[..1]);
    let mut killed = Node::open_in(node.copy(), with(quotas));
    let outcomes = killed.ingest(&sent[1..]);
    assert!(is_stored(&outcomes[0]));
    assert_eq!(outcomes[1], REFUSED);
    let mut reopened = killed.reopen_with(with(quotas));
    assert_eq!(reopened.ingest(&sent[2..]), [REFUSED]);
    // Of what came while nobody counted, too, and with more room it continues.
    let mut unlimited = reopened.reopen_with(Options::default());
    assert!(is_stored(&unlimited.ingest(&sent[2..])[0]));
    let more = author.says("four");
    let mut node = unlimited.reopen_with(with(of_author(sum(&sent) + bytes(&more) - 1)));
    assert_eq!(node.ingest(std::slice::from_ref(&more)), [REFUSED]);
    let mut node = node.reopen_with(with(of_author(sum(&sent) + bytes(&more))));
    assert_eq!(blocked(&node), []);
    assert!(is_stored(&node.ingest(&[more])[0]));
}

#[test]
fn a_restart_without_room_requests_nothing_again() {
    let (mut author, mut other) = (Author::new(1), Author::new(2));
    let sent = ["one", "two", "three"].map(|text| author.says(text));
    let others = other.says("mine");
    let one = bytes(&sent[0]).max(bytes(&others));
    let all = sum(&sent) + bytes(&others);
    let of_topic = |bytes| Quotas {
        topic: Some(bytes),
        ..Quotas::default()
    };
    for quotas in [of_author(one), of_topic(one + bytes(&others))] {
        let mut node = Node::open(with(quotas));
        node.ingest(std::slice::from_ref(&others));
        node.ingest(&sent);
        let mut node = node.reopen_with(with(quotas));
        assert_eq!(blocked(&node), [(author.key(), 1, RejectReason::Quota)]);
        let seen = node.status().blocked[0].seen.seq;
        assert_eq!(seen, 2, "peers are told that the rest was seen");
        // With room for the next one, and without quotas, the log is requested.
        for options in [with(of_topic(all)), Options::default()] {
            let mut open = Node::open_in(node.copy(), options);
            assert_eq!(blocked(&open), []);
            assert!(open.ingest(&sent[1..]).iter().all(is_stored));
        }
        assert_eq!(node.ingest(&sent[1..2]), [REFUSED]);
    }
}

#[test]
fn the_narrowest_exceeded_quota_is_named() {
    let quotas = Quotas {
        total: Some(30),
        topic: Some(20),
        author: Some(10),
    };
    for (kept, more, exceeded) in [
        ([20, 10, 5], 5, None),
        ([20, 10, 5], 6, Some(QuotaOf::Author)),
        ([20, 18, 5], 3, Some(QuotaOf::Topic)),
        ([29, 18, 5], 2, Some(QuotaOf::All)),
        ([30, 20, 10], 0, None),
        ([u64::MAX, 20, 10], 1, Some(QuotaOf::Author)),
    ] {
        assert_eq!(quotas.exceeded(kept, more), exceeded);
    }
    assert_eq!(Quotas::default().exceeded([u64::MAX; 3], 1), None);
}

#[test]
fn a_prune_makes_room_also_for_the_authors_other_logs() {
    let (mut author, mut elsewhere) = (Author::new(1), Author::new(1));
    let sent = ["1", "2", "3"].map(|text| author.says(&text.repeat(100)));
    let other = says_elsewhere(&mut elsewhere, "other");
    let mut node = Node::open(with(of_author(sum(&sent))));
    ingest_in(&mut node, TOPIC, &sent);
    assert_eq!(
        ingest_in(&mut node, OTHER_TOPIC, std::slice::from_ref(&other)),
        [REFUSED]
    );
    let after = author.says("refused");
    assert_eq!(node.ingest(&[after]), [REFUSED]);
    // It brings less than it deletes, and what follows in the same batch finds the room.
    let snapshot = author.prunes(Some("snapshot"));
    let next = author.says("next");
    let outcomes = node.ingest(&[snapshot.clone(), next.clone()]);
    assert!(outcomes.iter().all(is_stored), "{outcomes:?}");
    assert_eq!(blocked(&node), []);
    let goes_on = EngineEvent::LogGoesOn {
        topic: OTHER_TOPIC,
        author: author.key(),
    };
    assert!(node.committed.events.contains(&goes_on));
    assert!(is_stored(
        &ingest_in(&mut node, OTHER_TOPIC, std::slice::from_ref(&other))[0]
    ));
    let kept = bytes(&snapshot) + bytes(&next) + bytes(&other);
    let fits = author.says("fits");
    let mut node = node.reopen_with(with(of_author(kept + bytes(&fits))));
    assert!(is_stored(&node.ingest(&[fits])[0]));
    assert_eq!(node.ingest(&[author.says("x")]), [REFUSED]);
}

#[test]
fn raised_quotas_unblock_at_once_what_fits_then() {
    let (mut author, mut elsewhere) = (Author::new(1), Author::new(1));
    let sent = ["one", "two", "three"].map(|text| author.says(text));
    let other = says_elsewhere(&mut elsewhere, &"other".repeat(20));
    let mut node = Node::open(with(of_author(sum(&sent[..1]))));
    assert_eq!(node.ingest(&sent)[1..], [REFUSED, Outcome::Blocked]);
    let there = std::slice::from_ref(&other);
    assert_eq!(ingest_in(&mut node, OTHER_TOPIC, there), [REFUSED]);
    set(&mut node, of_author(sum(&sent[..2]) - 1));
    assert_eq!(going_on(&node), []);
    set(&mut node, of_author(sum(&sent[..2])));
    assert_eq!(going_on(&node), [TOPIC]);
    // Peers are told the height again, so that they send the rest.
    let mut changes = node.committed.topics.iter();
    assert!(changes.any(|change| change.topic == TOPIC && change.heads_anew));
    assert_eq!(blocked(&node), []);
    let outcomes = node.ingest(&sent[1..]);
    assert!(is_stored(&outcomes[0]));
    assert_eq!(outcomes[1], REFUSED);
    // Lowered ones delete nothing.
    set(&mut node, of_author(1));
    assert_eq!(going_on(&node), []);
    assert_eq!(node.texts(), ["one", "two"]);
    assert_eq!(node.ingest(&sent[2..]), [REFUSED]);
    // Without any everything continues.
    set(&mut node, Quotas::default());
    assert_eq!(going_on(&node).len(), 2);
    assert!(is_stored(&node.ingest(&sent[2..])[0]));
    assert!(is_stored(&ingest_in(&mut node, OTHER_TOPIC, there)[0]));
    // What came meanwhile is counted.
    let more = author.says("four");
    let all = sum(&sent) + bytes(&other) + bytes(&more);
    set(&mut node, of_author(all - 1));
    assert_eq!(node.ingest(std::slice::from_ref(&more)), [REFUSED]);
    set(&mut node, of_author(all));
    assert!(is_stored(&node.ingest(&[more])[0]));
}

#[test]
fn a_given_up_branch_leaves_room_for_others() {
    let of_all = |total| Quotas {
        total: Some(total),
        ..Quotas::default()
    };
    // Nothing of the log stays, or its beginning.
    for common in [0, 1] {
        let mut copy = Node::new();
        for number in 0..common {
            copy.publish(&format!("common {number}"));
        }
        let mut node = Node::open_in(copy.copy(), with(of_all(u64::MAX)));
        node.publish("ours");
        node.publish("ours as well");
        copy.publish("theirs");
        let kept = |node: &Node| node.reader().kept_bytes(None).unwrap().unwrap();
        let full = kept(&node);
        let mut node = node.reopen_with(with(of_all(full)));
        let others = [Author::new(2).says("other")];
        assert_eq!(node.ingest(&others), [REFUSED], "{common}");
        // A peer shows where the other branch begins.
        let theirs = copy.operations();
        node.ingest(&theirs[common..]);
        let mut node = node.reopen_with(Options {
            restored: Some(RestoredAction::PullOwnLog),
            ..with(of_all(full))
        });
        assert_eq!(kept(&node), sum(&theirs[..common]), "{common}");
        assert_eq!(blocked(&node), [], "{common}");
        assert!(is_stored(&node.ingest(&others)[0]), "{common}");
    }
}
