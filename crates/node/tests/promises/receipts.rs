//! Receipts of published messages.

use std::time::Duration;

use p2panda::{Error, PublishError};
use tokio::time::timeout;

use crate::nodes::{PATIENCE, builder, introduce, network, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_who_was_sent_a_message_and_who_has_stored_it() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let first = tx.publish("one").await.unwrap();
    let receipt = tx.publish("two").await.unwrap();
    assert_eq!((receipt.sent_to(), receipt.held_by()), (vec![], vec![]));
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let sent = timeout(PATIENCE, receipt.sent()).await;
    sent.expect("sent in time").unwrap();
    assert_eq!(receipt.sent_to(), [b.id()]);
    assert_eq!(receipt.held_by(), [], "nobody asked");
    let stored = timeout(PATIENCE, receipt.stored(1)).await;
    stored.expect("stored in time").unwrap();
    for receipt in [&first, &receipt] {
        assert_eq!(receipt.held_by(), [b.id()]);
    }
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    let newest = tx.newest().await.unwrap().unwrap();
    assert_eq!((newest.id(), newest.seq()), (receipt.id(), receipt.seq()));
    assert_eq!(newest.held_by(), [b.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_messages_is_stored_soon_and_by_named_peers() {
    let (network, topic) = (network(), topic());
    let [a, b, c] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (_tx_b, _rx_b) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    for number in 0..10 {
        let receipt = tx.publish(number.to_string()).await.unwrap();
        let stored = timeout(PATIENCE, receipt.stored(1)).await;
        stored.expect("stored in time").unwrap();
        assert_eq!(receipt.held_by(), [b.id()]);
    }
    // Who comes later is asked as well.
    let receipt = tx.publish("last").await.unwrap();
    let waiting = receipt.clone();
    let both = [b.id(), c.id()];
    let stored = tokio::spawn(async move { waiting.stored_by(both).await });
    let (_tx_c, _rx_c) = c.stream(topic).await.unwrap();
    introduce(&c, &a);
    let stored = timeout(PATIENCE, stored).await;
    stored.expect("stored in time").unwrap().unwrap();
    assert_eq!(receipt.held_by().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_what_nobody_has_and_no_longer() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in 0..100 {
        tx.publish(number.to_string()).await.unwrap();
    }
    let unsent = a.unsent().await.unwrap();
    assert_eq!((unsent.len(), unsent[0].operations), (1, 100));
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    // Far below the time that it may wait.
    let ended = timeout(PATIENCE, a.shutdown_after(PATIENCE * 100)).await;
    assert_eq!(ended.expect("it returns early").unwrap(), []);
    assert_eq!(texts(&mut rx, 100).await[99], "99");

    let (tx, _rx) = b.stream(topic).await.unwrap();
    tx.publish("alone").await.unwrap();
    let unsent = b.shutdown_after(Duration::from_millis(50)).await.unwrap();
    assert_eq!((unsent.len(), unsent[0].operations), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_another_branch_of_the_log_never_counts() {
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
        let receipt = tx.publish("one branch").await.unwrap();
        let stored = timeout(PATIENCE, receipt.stored(1)).await;
        stored.expect("stored in time").unwrap();
        first.shutdown().await.unwrap();
    }
    let second = twin().await.unwrap();
    let (tx, _rx) = second.stream(topic).await.unwrap();
    let receipt = tx.publish("another branch").await.unwrap();
    introduce(&second, &peer);
    let refused = timeout(PATIENCE, receipt.stored(1)).await;
    let refused = refused.expect("the other branch turns up in time");
    let own_fork = |error: &Error| matches!(error, Error::Publish(PublishError::OwnFork { .. }));
    assert!(refused.as_ref().is_err_and(own_fork), "{refused:?}");
    assert_eq!((receipt.sent_to(), receipt.held_by()), (vec![], vec![]));
    assert_eq!(second.unsent().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_receipts_of_a_space_name_both_of_its_logs() {
    let network = network();
    let [a, b] = [temporary(network).await, temporary(network).await];
    let space = a.spaces().create("").await.unwrap();
    let said = space.publish("sealed").await.unwrap();
    let newest = a.newest_in(space.topic()).await.unwrap();
    assert_eq!(newest.len(), 2);
    assert_eq!(newest.iter().filter(|one| one.id() == said.id()).count(), 1);
    b.topic(space.topic()).keep(true).await.unwrap();
    introduce(&b, &a);
    for receipt in &newest {
        let stored = timeout(PATIENCE, receipt.stored(1)).await;
        stored.expect("stored in time").unwrap();
        assert_eq!(receipt.held_by(), [b.id()]);
    }
    assert!(b.newest_in(space.topic()).await.unwrap().is_empty());
}
