use std::iter;
use std::net::IpAddr;

use bytes::Bytes;
use p2panda_core::budget::{Account, Budget, Charge, Prefix, Standing};
use p2panda_core::limits::{RECENT_BYTES_MAX, RECENT_OPERATIONS_MAX};
use p2panda_core::{Hash, LogRange, Operation, Phase};
use p2panda_engine::{Command, EngineEvent, Incoming, Options, Outcome, RejectReason, Source};
use p2panda_store::Totals;

use crate::follower::look_up;
use crate::node::{ALL, Author, Node, OTHER_TOPIC, TOPIC, session, without_body};

fn is_stored(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Stored { .. })
}

#[test]
fn bytes_are_stored_as_received() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent = [author.says("one"), author.says("two")];
    assert!(node.ingest(&sent).iter().all(is_stored));
    assert_eq!(node.operations(), sent);
    let page = node
        .reader()
        .log_page(&TOPIC, &author.key(), Some(0), 1, ALL)
        .unwrap();
    assert_eq!(page.entries[0].header.as_bytes(), sent[1].header.as_bytes());
    assert_eq!(page.entries[0].body, sent[1].body);
}

#[test]
fn an_operation_enters_once() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let one = author.says("one");
    let twice = [one.clone(), one.clone()];
    let outcomes = node.ingest(&twice);
    assert!(is_stored(&outcomes[0]));
    assert_eq!(outcomes[1], Outcome::Duplicate);
    assert_eq!(node.ingest(&[one]), [Outcome::Duplicate]);
    assert_eq!(node.texts(), ["one"]);
}

#[test]
fn an_operation_of_another_topic_does_not_harm_the_log() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let foreign = author.operation(OTHER_TOPIC, OTHER_TOPIC.log_id(), Some("x"), false, vec![]);
    let outcomes = node.ingest(std::slice::from_ref(&foreign));
    assert_eq!(outcomes, [Outcome::Rejected(RejectReason::WrongTopic)]);
    let real = [author.says("one"), author.says("two")];
    assert!(node.ingest(&real).iter().all(is_stored));
    assert_eq!(node.texts(), ["one", "two"]);
    // Nor does it hurt where it belongs.
    assert!(
        node.ingest_from(session(1), OTHER_TOPIC, &[foreign])
            .iter()
            .all(is_stored)
    );
}

#[test]
fn a_refused_operation_is_one_row_with_reason_and_peer() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let foreign = author.operation(OTHER_TOPIC, OTHER_TOPIC.log_id(), Some("x"), false, vec![]);
    for _ in 0..3 {
        node.ingest(std::slice::from_ref(&foreign));
    }
    let rows = node.reader().rejected_page(&TOPIC, 0, 10).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id, foreign.header.id());
    assert_eq!(rows[0].header, foreign.header.as_bytes());
    assert_eq!(rows[0].reason, Some(RejectReason::WrongTopic));
    assert_eq!(rows[0].peer, session(1).peer());
    assert_eq!(node.rejected(RejectReason::WrongTopic), 1);
}

#[test]
fn what_is_no_operation_is_a_row_and_the_batch_goes_on() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let garbage = Bytes::from_static(b"garbage");
    let invalid = Incoming::Invalid {
        id: Hash::digest(&garbage),
        header: garbage,
        reason: RejectReason::Undecodable,
        genuine: None,
    };
    let valid = Incoming::Valid(author.says("one"));
    let outcomes = node.ingest_any(session(1), TOPIC, vec![invalid, valid]);
    assert_eq!(outcomes[0], Outcome::Rejected(RejectReason::Undecodable));
    assert!(is_stored(&outcomes[1]));
    assert_eq!(node.rejected(RejectReason::Undecodable), 1);
}

#[test]
fn unknown_extensions_keep_the_height_and_other_logs() {
    let (mut node, mut author, mut other) = (Node::new(), Author::new(1), Author::new(2));
    node.ingest(&[author.says("one")]);
    // [1, 7]: a variant that we do not know.
    let unknown = author.raw(TOPIC, Some("new"), &[0x82, 1, 7]);
    let later = author.says("later");
    let outcomes = node.ingest(&[unknown.clone(), later, other.says("other")]);
    assert_eq!(
        outcomes[0],
        Outcome::Rejected(RejectReason::UnknownExtensions)
    );
    assert_eq!(outcomes[1], Outcome::Blocked);
    assert!(is_stored(&outcomes[2]));
    assert_eq!(node.height(&author.key()), Some(0));
    assert_eq!(
        node.reader().rejected_page(&TOPIC, 0, 9).unwrap()[0].header,
        unknown.header.as_bytes()
    );
    assert_eq!(node.texts(), ["one", "other"]);
}

#[test]
fn early_arrivals_enter_when_the_gap_closes() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..5).map(|n| author.says(&n.to_string())).collect();
    for early in [&sent[4], &sent[2], &sent[3], &sent[1]] {
        assert_eq!(node.ingest(std::slice::from_ref(early)), [Outcome::Early]);
    }
    assert_eq!(node.height(&author.key()), None);
    node.ingest(&sent[..1]);
    assert_eq!(node.texts(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn an_early_arrival_goes_with_its_session_and_can_return() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent = [author.says("0"), author.says("1")];
    assert_eq!(node.ingest(&sent[1..]), [Outcome::Early]);
    node.session(1, Phase::Ended);
    node.ingest(&sent[..1]);
    assert_eq!(node.texts(), ["0"]);
    assert!(is_stored(&node.ingest(&sent[1..])[0]));
    assert_eq!(node.texts(), ["0", "1"]);
}

#[test]
fn early_arrivals_of_an_import_end_with_it() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent = [author.says("0"), author.says("1")];
    let import = Source::Import { id: 4 };
    assert_eq!(
        node.ingest_from(import, TOPIC, &sent[1..]),
        [Outcome::Early]
    );
    node.process(vec![Command::ImportEnded {
        topic: TOPIC,
        import: 4,
    }]);
    node.ingest(&sent[..1]);
    assert_eq!(node.texts(), ["0"]);
}

#[test]
fn early_arrivals_beyond_the_limit_are_dropped_and_nothing_else() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let first = author.says("first");
    let early: Vec<Operation> = (0..10_001).map(|_| author.says("x")).collect();
    let outcomes = node.ingest(&early);
    assert!(
        outcomes[..10_000]
            .iter()
            .all(|outcome| *outcome == Outcome::Early)
    );
    assert_eq!(outcomes[10_000], Outcome::Dropped);
    node.ingest(&[first]);
    assert_eq!(node.height(&author.key()), Some(10_000));
    // It was not acknowledged, so it comes again.
    assert!(is_stored(&node.ingest(&early[10_000..])[0]));
}

#[test]
fn the_one_who_brought_most_loses_its_newest_early_arrival() {
    let (mut node, mut flood, mut author) = (Node::new(), Author::new(1), Author::new(2));
    flood.says("first");
    let early: Vec<Operation> = (0..10_000).map(|_| flood.says("x")).collect();
    // Two sessions of one peer, and two topics, are no reason to have more.
    node.ingest_from(session(1), TOPIC, &early[..5_000]);
    node.ingest_from(session(2), TOPIC, &early[5_000..]);
    let sent = [author.says("0"), author.says("1")];
    let honest = Source::Session {
        id: 3,
        peer: author.key(),
    };
    let outcomes = node.ingest_from(honest, TOPIC, &sent[1..]);
    assert_eq!(outcomes, [Outcome::Early]);
    let (topic, peer) = (TOPIC, session(1).peer().unwrap());
    let dropped = EngineEvent::EarlyDropped { topic, peer };
    assert_eq!(node.committed.events, [dropped]);
    assert_eq!(
        node.ingest_from(session(1), TOPIC, &early[9_999..]),
        [Outcome::Dropped]
    );
    node.ingest_from(honest, TOPIC, &sent[..1]);
    assert_eq!(node.texts(), ["0", "1"]);
}

#[test]
fn a_peer_is_asked_again_for_forgotten_early_arrivals() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent = [author.says("0"), author.says("1")];
    node.ingest_from(session(1), TOPIC, &sent[1..]);
    let peer = session(1).peer().unwrap();
    node.session(1, Phase::Ended);
    let dropped = EngineEvent::EarlyDropped { topic: TOPIC, peer };
    assert_eq!(node.committed.events, [dropped]);
    node.ingest_from(session(2), TOPIC, &sent[..1]);
    assert_eq!(node.texts(), ["0"]);
}

fn budget() -> Budget {
    Budget::new(64 * 1024 * 1024, 16 * 1024 * 1024)
}

/// Peers that flood together until none of them may keep more, and the accounts of all, the last one
/// of an honest peer that has come and brought nothing yet.
fn flooded(budget: &Budget, peers: u32, standing: Standing) -> (Node, Vec<Account>, Source) {
    let mut node = Node::open(Options {
        budget: Some(budget.clone()),
        ..Options::default()
    });
    let mut accounts = Vec::new();
    let text = "x".repeat(40_000);
    for number in 0..peers {
        let mut flood = Author::numbered(number);
        let (id, peer) = (number.into(), flood.key());
        accounts.push(budget.account(peer, standing));
        flood.says("first");
        let early: Vec<Operation> = (0..20).map(|_| flood.says(&text)).collect();
        node.ingest_from(Source::Session { id, peer }, TOPIC, &early);
    }
    let honest = Author::numbered(peers).key();
    accounts.push(budget.account(honest, standing));
    let source = Source::Session {
        id: peers.into(),
        peer: honest,
    };
    (node, accounts, source)
}

#[test]
fn many_that_fill_a_share_make_room_for_another() {
    let near = Prefix::of(IpAddr::from([127, 0, 0, 1]));
    for standing in [Standing::Proven, Standing::Unproven(near)] {
        let (mut node, accounts, honest) = flooded(&budget(), 20, standing);
        let mut author = Author::numbered(20);
        let large = "y".repeat(40_000);
        let sent = [author.says("0"), author.says(&large)];
        let outcomes = node.ingest_from(honest, TOPIC, &sent[1..]);
        assert_eq!(outcomes, [Outcome::Early], "{standing:?}");
        // Who lost something is asked for it again.
        assert!(matches!(
            node.committed.events[..],
            [EngineEvent::EarlyDropped { topic: TOPIC, peer }] if honest.peer() != Some(peer)
        ));
        node.ingest_from(honest, TOPIC, &sent[..1]);
        assert_eq!(node.texts(), ["0", &large], "{standing:?}");
        drop(accounts);
    }
}

#[test]
fn only_those_who_share_the_room_lose_early_arrivals() {
    let budget = budget();
    let (mut node, accounts, honest) = flooded(&budget, 1, Standing::Proven);
    // What the honest peer may keep is used up by what it sent to the application.
    let kept: Vec<Charge> = iter::from_fn(|| budget.try_keep(&honest.peer()?, 1024)).collect();
    let mut author = Author::numbered(1);
    author.says("0");
    let late = author.says("1");
    let outcomes = node.ingest_from(honest, TOPIC, &[late]);
    assert_eq!(outcomes, [Outcome::Dropped]);
    assert_eq!(node.committed.events, []);
    drop((accounts, kept));
}

#[test]
fn early_arrivals_of_all_topics_share_one_room() {
    let (mut node, mut flood, mut author) = (Node::new(), Author::new(1), Author::new(2));
    let foreign = |author: &mut Author, bytes: usize| {
        let text = "x".repeat(bytes);
        author.operation(
            OTHER_TOPIC,
            OTHER_TOPIC.log_id(),
            Some(&text),
            false,
            vec![],
        )
    };
    foreign(&mut flood, 1);
    let large: Vec<Operation> = (0..16).map(|_| foreign(&mut flood, 1_000_000)).collect();
    let outcomes = node.ingest_from(session(1), OTHER_TOPIC, &large);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Early));
    assert!(node.engine.early_bytes() > 16_000_000);
    author.says("0");
    let late = author.says(&"y".repeat(1_000_000));
    let honest = Source::Session {
        id: 3,
        peer: author.key(),
    };
    assert_eq!(node.ingest_from(honest, TOPIC, &[late]), [Outcome::Early]);
    assert!(node.engine.early_bytes() < 16 * 1024 * 1024);
    node.process(vec![Command::Session {
        topic: OTHER_TOPIC,
        session: 1,
        phase: Phase::Ended,
    }]);
    node.session(3, Phase::Ended);
    assert_eq!(node.engine.early_bytes(), 0);
}

#[test]
fn a_body_that_comes_later_is_filled_in_and_delivered_then() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let (one, two) = (author.says("one"), author.says("two"));
    assert!(is_stored(&node.ingest(&[without_body(&one)])[0]));
    assert!(is_stored(&node.ingest(std::slice::from_ref(&two))[0]));
    assert_eq!(node.height(&author.key()), Some(1));
    assert_eq!(node.texts(), ["two"]);
    assert_eq!(node.ingest(&[without_body(&one)]), [Outcome::Duplicate]);
    assert_eq!(
        node.ingest(std::slice::from_ref(&one)),
        [Outcome::BodyFilled]
    );
    assert_eq!(node.texts(), ["two", "one"]);
    assert_eq!(node.ingest(&[one]), [Outcome::Duplicate]);
    assert_eq!(node.texts(), ["two", "one"]);
}

#[test]
fn a_body_that_comes_later_in_the_same_batch_is_delivered_once() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let one = author.says("one");
    let outcomes = node.ingest(&[without_body(&one), one]);
    assert_eq!(outcomes[1], Outcome::BodyFilled);
    assert_eq!(node.texts(), ["one"]);
}

#[test]
fn an_operation_without_a_body_is_stored_and_has_no_offset() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let nothing = author.operation(TOPIC, TOPIC.log_id(), None, false, vec![]);
    node.ingest(&[nothing, author.says("text")]);
    assert_eq!(node.texts(), ["text"]);
    assert_eq!(node.operations().len(), 2);
}

#[test]
fn a_fork_is_kept_as_evidence_and_the_first_branch_stays() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0")]);
    let mut twin = author.clone();
    let (first, second) = (author.says("first"), twin.says("second"));
    node.ingest(std::slice::from_ref(&first));
    let outcomes = node.ingest(std::slice::from_ref(&second));
    assert_eq!(outcomes, [Outcome::Rejected(RejectReason::Fork)]);
    let forked = node.committed.events.iter().find_map(|event| match event {
        EngineEvent::Forked { topic, fork, .. } if *topic == TOPIC => Some(fork),
        _ => None,
    });
    forked.unwrap().check().unwrap();
    let rows = node.reader().forks(&TOPIC, 10).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].first, first.header.as_bytes());
    assert_eq!(rows[0].second, second.header.as_bytes());
    // What shows it to others, and what shows the head of a log without evidence.
    let shown = |node: &Node, author: &Author| {
        let reader = node.reader();
        reader.shows_fork(&TOPIC, &author.key(), 1).unwrap()
    };
    let both = [&first, &second].map(|one| one.header.as_bytes().clone());
    assert_eq!(shown(&node, &author), both);
    let mut other = Author::new(2);
    let head = other.says("head");
    node.ingest(std::slice::from_ref(&head));
    let expected = [head.header.as_bytes().clone()];
    assert_eq!(shown(&node, &other), expected);
    node.ingest(&[author.says("more")]);
    assert_eq!(node.texts(), ["0", "first", "head", "more"]);
}

#[test]
fn heads_that_are_looked_up_in_pages_are_all_heads() {
    let mut node = Node::new();
    let logs = p2panda_core::limits::HEADS_PAGE_ROWS as u32 + 3;
    let all: Vec<Operation> = (0..logs)
        .map(|number| Author::numbered(number).says("0"))
        .collect();
    node.ingest(&all);
    let mut heads = look_up(&node.reader(), &TOPIC);
    assert_eq!(heads.heads().len(), logs as usize);
    assert_eq!(heads.arrival(), u64::from(logs));
}

#[test]
fn the_child_of_another_branch_is_evidence_too() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0")]);
    let mut twin = author.clone();
    node.ingest(&[author.says("first")]);
    twin.says("second");
    let child = twin.says("child");
    let outcomes = node.ingest(&[child]);
    assert_eq!(
        outcomes,
        [Outcome::Rejected(RejectReason::BacklinkMismatch)]
    );
    assert_eq!(node.reader().forks(&TOPIC, 10).unwrap().len(), 1);
    assert_eq!(node.texts(), ["0", "first"]);
}

#[test]
fn refused_operations_are_bounded_rows_and_all_counted() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    node.ingest(&[author.says("0")]);
    let foreign: Vec<Operation> = (0..10_100)
        .map(|n: u32| {
            author.operation(
                OTHER_TOPIC,
                OTHER_TOPIC.log_id(),
                Some(&n.to_string()),
                false,
                vec![],
            )
        })
        .collect();
    node.ingest(&foreign);
    let rows = node.reader().rejected_page(&TOPIC, 0, usize::MAX).unwrap();
    assert_eq!(rows.len(), 10_000);
    assert_eq!(rows[0].id, foreign[100].header.id());
    assert_eq!(node.rejected(RejectReason::WrongTopic), 10_100);
}

#[test]
fn totals_count_what_is_stored_of_a_range() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..10).map(|n| author.says(&n.to_string())).collect();
    node.ingest(&sent);
    let bytes = |operations: &[Operation]| {
        operations
            .iter()
            .map(|o| o.header.as_bytes().len() as u64 + 1)
            .sum::<u64>()
    };
    let range = |after, until| LogRange {
        author: author.key(),
        log: TOPIC.log_id(),
        after,
        until,
    };
    let totals = |range| node.totals(range);
    let all = Totals {
        operations: 10,
        bytes: bytes(&sent),
    };
    assert_eq!(totals(range(None, 9)), all);
    assert_eq!(totals(range(None, 99)), all);
    let some = Totals {
        operations: 3,
        bytes: bytes(&sent[4..7]),
    };
    assert_eq!(totals(range(Some(3), 6)), some);
    assert_eq!(totals(range(Some(9), 20)), Totals::default());
    assert_eq!(node.status().totals, all);
}

#[test]
fn a_commit_hands_out_its_operations_up_to_the_limits() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let mut handed_out = |operations: &[Operation]| {
        node.ingest(operations);
        node.committed.topics[0].recent.len()
    };
    let mut says = |count: usize| -> Vec<Operation> {
        (0..count).map(|n| author.says(&n.to_string())).collect()
    };
    let fits = says(RECENT_OPERATIONS_MAX);
    assert_eq!(handed_out(&fits), RECENT_OPERATIONS_MAX);
    assert_eq!(handed_out(&says(RECENT_OPERATIONS_MAX + 1)), 0);

    let mut of_bytes = |bytes: usize| {
        let header_bytes = |one: &Operation| one.header.as_bytes().len();
        let probe = author.clone().says(&"x".repeat(bytes - 1_000));
        author.says(&"x".repeat(bytes - header_bytes(&probe)))
    };
    let fits = of_bytes(RECENT_BYTES_MAX);
    assert_eq!(handed_out(&[fits]), 1);
    let large = of_bytes(RECENT_BYTES_MAX + 1);
    assert_eq!(handed_out(&[large]), 0);
}

#[test]
fn ten_thousand_operations_are_stored_in_one_batch() {
    let (mut node, mut author) = (Node::new(), Author::new(1));
    let sent: Vec<Operation> = (0..10_000).map(|_| author.says("panda")).collect();
    assert!(node.ingest(&sent).iter().all(is_stored));
    assert_eq!(node.status().totals.operations, 10_000);
    assert_eq!(node.status().feed.map(|(_, last)| last), Some(10_000));
}
