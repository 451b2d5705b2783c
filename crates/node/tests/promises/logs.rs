//! Several logs of a node in one topic.

use p2panda::{
    ConsumerError, ConsumerFilter, Error, ErrorKind, LogName, NewMessage, PublishError, Receipt,
    StartAt,
};
use p2panda_core::limits::CONSUMER_LOGS_MAX;
use tokio::time::timeout;

use crate::consumers::{rest, text as text_of};
use crate::nodes::{PATIENCE, at, builder, introduce, network, next, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn all_logs_of_a_topic_reach_another_node() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    let first = control.publish("before").await.unwrap();
    tx.publish("plain").await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let mut both = texts(&mut rx, 2).await;
    both.sort();
    assert_eq!(both, ["before", "plain"]);
    let second = control.publish("live").await.unwrap();
    let live = next(&mut rx).await;
    assert_eq!(live.text().unwrap(), "live");
    assert_eq!(live.author(), a.id());
    assert_eq!((first.seq(), second.seq(), live.seq()), (0, 1, 1));
    assert_eq!(live.log(), Some(LogName::of("control").unwrap()));
    timeout(PATIENCE, second.sent())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(second.sent_to(), [b.id()]);
    let newest = control.newest().await.unwrap().unwrap();
    assert_eq!(newest.id(), second.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_logs_and_each_goes_on_at_its_end() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.to_log("one").unwrap().publish("a").await.unwrap();
    tx.publish("b").await.unwrap();
    node.shutdown().await.unwrap();
    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["a", "b"]);
    assert_eq!(
        tx.to_log("one").unwrap().publish("c").await.unwrap().seq(),
        1
    );
    assert_eq!(
        tx.to_log("two").unwrap().publish("d").await.unwrap().seq(),
        0
    );
    assert_eq!(tx.publish("e").await.unwrap().seq(), 1);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_to_several_logs_in_order() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, mut own) = a.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    control.publish("control").await.unwrap();
    let shown = next(&mut own).await;
    let content = NewMessage::new("content").after([&shown]);
    let more = NewMessage::new("more").to_log("control").unwrap();
    let receipts = tx.publish_messages([content, more]).await.unwrap();
    assert_eq!([receipts[0].seq(), receipts[1].seq()], [0, 1]);
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let texts = texts(&mut rx, 3).await;
    let place = |text: &str| texts.iter().position(|one| one == text);
    assert!(place("control") < place("content"), "{texts:?}");
    assert!(place("control") < place("more"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_pruned_and_unsent_counts_each() {
    let (network, topic) = (network(), topic());
    let node = temporary(network).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let one = tx.to_log("one").unwrap();
    for text in ["a", "b"] {
        one.publish(text).await.unwrap();
        tx.publish(text).await.unwrap();
    }
    let unsent = node.unsent().await.unwrap();
    assert_eq!(unsent[0].operations, 4);
    one.prune(Some("snapshot".into())).await.unwrap();
    let status = node.topic(topic).status().await.unwrap();
    assert_eq!((status.logs, status.totals.operations), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_log_name_is_an_error() {
    let node = temporary(network()).await;
    let (tx, _rx) = node.stream(topic()).await.unwrap();
    let error = tx.to_log("").map(drop).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    let error = tx.to_log(&"a".repeat(129)).map(drop).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Limit);
    assert!(NewMessage::new("text").to_log("").is_err());
}

async fn is_stored(receipt: &Receipt) {
    let stored = timeout(PATIENCE, receipt.stored(1)).await;
    stored.expect("stored in time").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_one_log_says_nothing_of_another() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let [one, two] = ["one", "two"].map(|name| tx.to_log(name).unwrap());
    let older = one.publish("1").await.unwrap();
    let receipts = [
        tx.publish("first").await.unwrap(),
        one.publish("2").await.unwrap(),
        two.publish("3").await.unwrap(),
    ];
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    is_stored(&receipts[1]).await;
    for receipt in [&older, &receipts[1]] {
        assert_eq!(receipt.held_by(), [b.id()]);
    }
    texts(&mut rx, 4).await;
    // The peer has them; nobody asked.
    assert_eq!(receipts[0].held_by(), []);
    assert_eq!(receipts[2].held_by(), []);
    is_stored(&receipts[2]).await;
    is_stored(&receipts[0]).await;
    // Each continues by itself.
    for number in 0..3 {
        let receipt = one.publish(number.to_string()).await.unwrap();
        assert_eq!(receipt.held_by(), []);
        is_stored(&receipt).await;
    }
    assert_eq!(receipts[2].held_by(), [b.id()]);
    assert_eq!(a.unsent().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_nodes_says_what_it_has_of_a_log() {
    let (network, topic) = (network(), topic());
    let [a, b, c] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (tx_b, _rx_b) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let control = tx.to_log("control").unwrap();
    let receipt = control.publish("from a").await.unwrap();
    let stored = timeout(PATIENCE, receipt.stored_by([b.id()])).await;
    stored.expect("in time").unwrap();
    // Another author's log with the same name is another log.
    let same_name = tx_b.to_log("control").unwrap();
    let other = same_name.publish("from b").await.unwrap();
    let waiting = receipt.clone();
    let both = [b.id(), c.id()];
    let stored = tokio::spawn(async move { waiting.stored_by(both).await });
    let (_tx, mut rx) = c.stream(topic).await.unwrap();
    introduce(&c, &b);
    let stored = timeout(PATIENCE, stored).await;
    stored.expect("in time").unwrap().unwrap();
    let mut held_by = both.to_vec();
    held_by.sort_unstable();
    assert_eq!(receipt.held_by(), held_by);
    timeout(PATIENCE, other.stored(2))
        .await
        .expect("in time")
        .unwrap();
    let mut texts = texts(&mut rx, 2).await;
    texts.sort();
    assert_eq!(texts, ["from a", "from b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_another_branch_of_a_named_log_never_counts() {
    let (network, topic) = (network(), topic());
    let key = p2panda::random_key().unwrap();
    let twin = || {
        builder(network)
            .temporary()
            .signing_key(key.clone())
            .spawn()
    };
    let peer = temporary(network).await;
    let (_tx, _rx) = peer.stream(topic).await.unwrap();
    {
        let first = twin().await.unwrap();
        let (tx, _rx) = first.stream(topic).await.unwrap();
        introduce(&first, &peer);
        let receipt = tx
            .to_log("one")
            .unwrap()
            .publish("one branch")
            .await
            .unwrap();
        let stored = timeout(PATIENCE, receipt.stored(1)).await;
        stored.expect("stored in time").unwrap();
        first.shutdown().await.unwrap();
    }
    let second = twin().await.unwrap();
    let (tx, _rx) = second.stream(topic).await.unwrap();
    let one = tx.to_log("one").unwrap();
    let receipt = one.publish("another branch").await.unwrap();
    let intact = tx.publish("first log").await.unwrap();
    introduce(&second, &peer);
    let refused = timeout(PATIENCE, receipt.stored(1)).await;
    let refused = refused.expect("the other branch turns up in time");
    let own_fork = |error: &Error| matches!(error, Error::Publish(PublishError::OwnFork { .. }));
    assert!(refused.as_ref().is_err_and(own_fork), "{refused:?}");
    assert_eq!((receipt.sent_to(), receipt.held_by()), (vec![], vec![]));
    let stored = timeout(PATIENCE, intact.stored(1)).await;
    stored.expect("the first log is not forked").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_dropped_in_the_log_that_is_named() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    tx.publish("first").await.unwrap();
    control.publish("control").await.unwrap();
    control.publish("more").await.unwrap();
    let (handle, me) = (node.topic(topic), node.id());
    assert!(handle.drop_body_in(control.log(), me, 0).await.unwrap());
    assert!(
        !handle.drop_body_in(control.log(), me, 2).await.unwrap(),
        "there is none"
    );
    let other = Some(LogName::of("other").unwrap());
    assert!(!handle.drop_body_in(other, me, 0).await.unwrap());
    let request = node.stream(topic).start(StartAt::Beginning);
    let (_tx, mut rx) = request.await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["first", "more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_read_some_of_the_logs_only() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let [one, two] = ["one", "two"].map(|name| tx.to_log(name).unwrap());
    for (tx, text) in [(&tx, "first"), (&one, "1"), (&two, "2"), (&one, "1 again")] {
        tx.publish(text).await.unwrap();
    }
    let names = [one.log().unwrap()];
    let all = ConsumerFilter::default;
    for (name, filter, expected) in [
        ("one", all().logs(names), &["1", "1 again"][..]),
        ("first", all().first_logs(), &["first"]),
        (
            "both",
            all().first_logs().logs(names),
            &["first", "1", "1 again"],
        ),
        ("all", all(), &["first", "1", "2", "1 again"]),
    ] {
        let consumer = node.consumer(name).topics([topic]).filter(filter.clone());
        let mut consumer = consumer.open().await.unwrap();
        let given: Vec<String> = rest(&mut consumer).await.iter().map(text_of).collect();
        assert_eq!(given, expected, "{name}");
        drop(consumer);
        // It is stored with the consumer.
        let same = node.consumer(name).filter(filter).open().await;
        assert!(same.is_ok(), "{name}");
    }
    let nothing = node.consumer("none").topics([topic]).filter(all().logs([]));
    let nothing = nothing.open().await.unwrap_err();
    assert!(matches!(
        nothing,
        Error::Consumer(ConsumerError::InvalidFilter)
    ));
    let name = |number: usize| LogName::of(&number.to_string()).unwrap();
    for (count, is_taken) in [(CONSUMER_LOGS_MAX, true), (CONSUMER_LOGS_MAX + 1, false)] {
        let many = all().logs((0..count).map(name));
        let many = node.consumer("many").topics([topic]).filter(many);
        assert_eq!(many.open().await.is_ok(), is_taken, "{count}");
    }
}
