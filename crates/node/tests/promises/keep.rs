//! Writing to a topic without reading it, and keeping one without either.

use p2panda::{ErrorKind, NewMessage, PublishError};

use crate::nodes::{at, introduce, network, next, temporary, texts, topic, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_reaches_others_and_reads_nothing() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    introduce(&b, &a);
    let (tx_b, mut rx_b) = b.stream(topic).await.unwrap();
    let tx_a = a.publisher(topic).await.unwrap();
    tx_a.publish("from a").await.unwrap();
    assert_eq!(next(&mut rx_b).await.text().unwrap(), "from a");
    tx_b.publish("from b")
        .await
        .unwrap()
        .stored(1)
        .await
        .unwrap();
    // Its first stream begins with the oldest message.
    let (_tx, mut rx_a) = a.stream(topic).await.unwrap();
    assert_eq!(texts(&mut rx_a, 2).await, ["from a", "from b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_can_be_typed() {
    let node = temporary(network()).await;
    let topic = topic();
    let tx = node.publisher(topic).typed::<u32>().await.unwrap();
    tx.publish(7).await.unwrap();
    let (_tx, mut rx) = node.stream(topic).typed::<u32>().await.unwrap();
    assert_eq!(*rx.next().await.unwrap().value().unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_topic_is_served_after_a_restart_without_a_reader() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let keeper = at(network, dir.path()).await;
    keeper.topic(topic).keep(true).await.unwrap();
    keeper.shutdown().await.unwrap();

    let keeper = at(network, dir.path()).await;
    assert_eq!(keeper.kept_topics(None).await.unwrap(), [topic]);
    let first = temporary(network).await;
    introduce(&first, &keeper);
    let (tx, _rx) = first.stream(topic).await.unwrap();
    let receipt = tx.publish("for later").await.unwrap();
    receipt.stored_by([keeper.id()]).await.unwrap();
    first.shutdown().await.unwrap();

    let second = temporary(network).await;
    introduce(&second, &keeper);
    let (_tx, mut rx) = second.stream(topic).await.unwrap();
    assert_eq!(next(&mut rx).await.text().unwrap(), "for later");
    // And anyone who reads it here at last has missed nothing.
    let (_tx, mut rx) = keeper.stream(topic).await.unwrap();
    assert_eq!(next(&mut rx).await.text().unwrap(), "for later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_topic_begins_at_once_and_ends_at_the_next_start() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let keeper = at(network, dir.path()).await;
    let other = temporary(network).await;
    introduce(&other, &keeper);
    let (tx, _rx) = other.stream(topic).await.unwrap();
    keeper.topic(topic).keep(true).await.unwrap();
    let receipt = tx.publish("now").await.unwrap();
    receipt.stored_by([keeper.id()]).await.unwrap();
    // Twice is once.
    keeper.topic(topic).keep(true).await.unwrap();
    assert_eq!(keeper.kept_topics(None).await.unwrap(), [topic]);
    keeper.topic(topic).keep(false).await.unwrap();
    assert!(keeper.kept_topics(None).await.unwrap().is_empty());
    // Until then it continues.
    let receipt = tx.publish("still").await.unwrap();
    receipt.stored_by([keeper.id()]).await.unwrap();
    keeper.shutdown().await.unwrap();

    let keeper = at(network, dir.path()).await;
    introduce(&other, &keeper);
    let connected = || async {
        let peers = other.net().peers();
        peers.iter().any(|peer| peer.id == keeper.id())
    };
    until("they know each other", connected).await;
    assert!(
        keeper
            .topic(topic)
            .status()
            .await
            .unwrap()
            .totals
            .operations
            >= 2
    );
    assert!(keeper.kept_topics(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_topic_that_is_left_comes_back_with_the_next_start() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let keeper = at(network, dir.path()).await;
    keeper.topic(topic).keep(true).await.unwrap();
    keeper.topic(topic).leave().await;
    assert_eq!(keeper.kept_topics(None).await.unwrap(), [topic]);
    keeper.shutdown().await.unwrap();
    let keeper = at(network, dir.path()).await;
    let other = temporary(network).await;
    introduce(&other, &keeper);
    let tx = other.publisher(topic).await.unwrap();
    let receipt = tx.publish("here").await.unwrap();
    receipt.stored_by([keeper.id()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_kept_topics_are_listed_page_by_page() {
    let node = temporary(network()).await;
    let mut topics: Vec<_> = (0..30).map(|_| topic()).collect();
    for topic in &topics {
        node.topic(*topic).keep(true).await.unwrap();
    }
    topics.sort();
    assert_eq!(node.kept_topics(None).await.unwrap(), topics);
    assert_eq!(
        node.kept_topics(Some(topics[9])).await.unwrap(),
        topics[10..]
    );
    let last = topics.last().copied();
    assert!(node.kept_topics(last).await.unwrap().is_empty());
    node.shutdown().await.unwrap();
    let refused = node.topic(topics[0]).keep(false).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_publishes_once_across_a_restart() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let node = at(network, dir.path()).await;
    let tx = node.publisher(topic).await.unwrap();
    let order = || NewMessage::new("order").idempotency_key("order 17");
    let first = tx.publish_message(order()).await.unwrap();
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let second = tx.publish_message(order()).await.unwrap();
    assert_eq!((second.id(), second.seq()), (first.id(), first.seq()));
    let other = NewMessage::new("other").idempotency_key("order 17");
    let taken = tx.publish_message(other).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Invalid);
    let names_it = matches!(taken, p2panda::Error::Publish(PublishError::KeyTaken { id })
        if id == Some(first.id()));
    assert!(names_it);
    tx.publish("end").await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["order", "end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_after_those_it_names_on_every_node() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    introduce(&b, &a);
    let (tx_a, _rx) = a.stream(topic).await.unwrap();
    let (tx_b, mut rx_b) = b.stream(topic).await.unwrap();
    tx_a.publish("question").await.unwrap();
    let question = next(&mut rx_b).await;
    let answer = NewMessage::new("answer").after([&question]);
    tx_b.publish_message(answer).await.unwrap();
    let c = temporary(network).await;
    introduce(&c, &b);
    let (tx_c, mut rx_c) = c.stream(topic).await.unwrap();
    assert_eq!(texts(&mut rx_c, 2).await, ["question", "answer"]);

    let elsewhere = temporary(network).await;
    let tx = elsewhere.publisher(topic).await.unwrap();
    let unknown = NewMessage::new("answer").after([&question]);
    let refused = tx.publish_message(unknown).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let too_many = NewMessage::new("answer").after([&question; 17]);
    let refused = tx_c.publish_message(too_many).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
}
