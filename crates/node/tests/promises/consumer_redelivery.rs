//! Messages that come again, and those that do not: naks, waits, dead letters, prunes
//! (`docs/protocol/consumers.md`, sections 2, 4 and 6).

use p2panda::{Acking, ConsumerError, Delivered, Event, Settled};

use crate::consumers::{SOON, next, publish, refused, rest, rest_texts, text, with_messages};
use crate::nodes::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_nak_comes_back_and_the_fifth_failure_is_dead() {
    let (node, topic, _tx) = with_messages(2).await;
    let opened = node.consumer("jobs").topics([topic]).deliveries_max(5);
    let mut jobs = opened.backoff([SOON]).open().await.unwrap();
    let first = next(&mut jobs).await;
    let second = next(&mut jobs).await;
    second.ack().await.unwrap();
    let mut failing = first;
    for count in 1..=5 {
        assert_eq!((text(&failing), failing.count()), ("0".to_owned(), count));
        let given_back = std::time::Instant::now();
        failing.nak(None).await.unwrap();
        if count < 5 {
            failing = next(&mut jobs).await;
            assert!(given_back.elapsed() >= SOON);
        }
    }
    assert!(rest(&mut jobs).await.is_empty());
    let letters = jobs.handle().dead_letters();
    let dead = letters.list(0).await.unwrap();
    assert_eq!((dead.len(), dead[0].row.count), (1, 5));
    assert_eq!(Some(dead[0].id.unwrap()), failing.message().map(|m| m.id()));
    letters.redrive(dead[0].number).await.unwrap();
    let again = next(&mut jobs).await;
    assert_eq!((text(&again), again.count()), ("0".to_owned(), 1));
    again.ack().await.unwrap();
    assert!(rest(&mut jobs).await.is_empty());
    assert!(letters.list(0).await.unwrap().is_empty());
    let error = letters.redrive(dead[0].number).await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::UnknownDeadLetter);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_dead_letters_stop_a_consumer() {
    const DEAD: usize = 10_000;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..DEAD + 1).await;
    let opened = node.consumer("jobs").topics([topic]).in_flight_max(DEAD);
    let mut jobs = opened.open().await.unwrap();
    let mut events = node.events();
    let mut terms = tokio::task::JoinSet::new();
    for delivery in jobs.fetch(DEAD).wait(PATIENCE).await.unwrap() {
        terms.spawn(async move { delivery.term("").await.unwrap() });
    }
    terms.join_all().await;
    let told = async {
        loop {
            if let Event::ConsumerFullOfDead { name } = events.next().await.unwrap() {
                return name;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert_eq!(told, "jobs");
    assert!(jobs.fetch(1).wait(SOON).await.unwrap().is_empty());
    drop(jobs);
    // It is seen without opening it as well, and is not the same as a pause.
    let info = &node.consumers(None).await.unwrap()[0];
    let seen = (info.full_of_dead, info.paused, info.dead);
    assert_eq!(seen, (true, false, DEAD as u64));
    let mut jobs = node.consumer("jobs").open().await.unwrap();
    let letters = jobs.handle().dead_letters();
    let first = letters.list(0).await.unwrap()[0].number;
    letters.drop_one(first).await.unwrap();
    assert!(!jobs.handle().info().full_of_dead);
    next(&mut jobs).await.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handled_is_a_dead_letter_with_its_reason() {
    let (node, topic, _tx) = with_messages(2).await;
    let mut jobs = node.consumer("jobs").topics([topic]).open().await.unwrap();
    next(&mut jobs).await.term("no such user").await.unwrap();
    let letters = jobs.handle().dead_letters();
    let dead = letters.list(0).await.unwrap();
    let reason = format!("{:?}", dead[0].row.reason);
    assert!(reason.contains("no such user"), "{reason}");
    letters.drop_all().await.unwrap();
    assert!(letters.list(0).await.unwrap().is_empty());
    assert_eq!(jobs.handle().info().dead, 0);
    assert_eq!(rest_texts(&mut jobs).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_next_and_cumulative_acks_settle_what_was_before() {
    let (node, topic, _tx) = with_messages(5).await;
    let opened = node.consumer("next").topics([topic]).acking(Acking::OnNext);
    let mut on_next = opened.open().await.unwrap();
    for _ in 0..3 {
        next(&mut on_next).await;
    }
    drop(on_next);
    let mut on_next = node.consumer("next").open().await.unwrap();
    assert_eq!(text(&next(&mut on_next).await), "2");
    let opened = node
        .consumer("upto")
        .topics([topic])
        .acking(Acking::Cumulative);
    let mut cumulative = opened.open().await.unwrap();
    let batch = cumulative.fetch(4).await.unwrap();
    batch[2].ack().await.unwrap();
    drop(cumulative);
    let mut cumulative = node.consumer("upto").open().await.unwrap();
    assert_eq!(rest_texts(&mut cumulative).await, ["3", "4"]);
    let opened = node.consumer("none").topics([topic]).acking(Acking::None);
    let mut none = opened.open().await.unwrap();
    assert_eq!(rest(&mut none).await.len(), 5);
    drop(none);
    let mut none = node.consumer("none").open().await.unwrap();
    assert!(rest(&mut none).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_unsettled_is_told_once() {
    let (node, topic, tx) = with_messages(4).await;
    let opened = node.consumer("app").topics([topic]).backoff([SOON]);
    let mut app = opened.open().await.unwrap();
    next(&mut app).await.ack().await.unwrap();
    next(&mut app).await.nak(None).await.unwrap();
    tx.prune(Some("snapshot".into())).await.unwrap();
    let mut seen = Vec::new();
    let told = loop {
        let delivery = next(&mut app).await;
        match delivery.pruned() {
            Some(_) => break delivery,
            None => seen.push(delivery),
        }
    };
    assert!(matches!(told.what(), Delivered::Pruned(_)));
    let pruned = told.pruned().unwrap();
    assert_eq!(
        (pruned.author, pruned.below, pruned.unsettled),
        (node.id(), 4, 3)
    );
    told.ack().await.unwrap();
    let letters = app.handle().dead_letters();
    assert_eq!(letters.redrive_all().await.unwrap(), 0);
    assert_eq!(letters.pruned().await.unwrap()[0].unsettled, 3);
    let mut rest = rest_texts(&mut app).await;
    rest.extend(seen.iter().map(text));
    rest.retain(|text| text == "snapshot");
    assert_eq!(rest.len(), 1);
    drop(app);
    let mut app = node.consumer("app").open().await.unwrap();
    let again = app.fetch(10).wait(SOON * 3).await.unwrap();
    assert!(again.iter().all(|delivery| delivery.pruned().is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_prevents_redelivery() {
    let (node, topic, _tx) = with_messages(1).await;
    let opened = node.consumer("app").topics([topic]).ack_wait(SOON * 5);
    let mut app = opened.open().await.unwrap();
    let held = next(&mut app).await;
    // Each round waits, in all for twice the ack wait.
    for _ in 0..10 {
        held.progress().unwrap();
        assert!(app.fetch(1).wait(SOON).await.unwrap().is_empty());
    }
    let again = next(&mut app).await;
    assert_eq!(again.count(), 2);
    // A late ack of the earlier delivery settles it.
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
    assert_eq!(again.ack().await.unwrap(), Settled::Already);
}
