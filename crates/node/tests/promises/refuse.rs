//! Bad input: refused with a reason, and nothing else stops.

use futures_lite::stream;
use p2panda::{Error, ErrorKind, ImportedOperation, RejectReason, StartAt};

use crate::nodes::{PATIENCE, builder, introduce, network, next, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_of_another_topic_does_not_harm_the_log() {
    let (network, topic, other) = (network(), topic(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (other_tx, _rx2) = a.stream(other).await.unwrap();
    other_tx.publish("for the other topic").await.unwrap();
    let stored = a.topic(other).operations(0).await.unwrap().remove(0);
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    let foreign = ImportedOperation {
        header: stored.header,
        body: stored.body,
    };
    let report = b.import(topic, stream::iter([foreign])).await.unwrap();
    assert_eq!(report.rejected, 1);
    let status = b.topic(topic).status().await.unwrap();
    assert_eq!(status.rejected, [(RejectReason::WrongTopic, 1)]);

    tx.publish("the real one").await.unwrap();
    introduce(&b, &a);
    assert_eq!(texts(&mut rx, 1).await, ["the real one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_what_is_valid_and_reports_the_rest() {
    let topic = topic();
    let [a, b] = [temporary(network()).await, temporary(network()).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in 0..50 {
        tx.publish(number.to_string()).await.unwrap();
    }
    let mut operations: Vec<ImportedOperation> = a
        .topic(topic)
        .operations(0)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| ImportedOperation {
            header: stored.header,
            body: stored.body,
        })
        .collect();
    operations.reverse();
    operations.push(operations[7].clone());
    operations.push(ImportedOperation {
        header: b"no header".as_slice().into(),
        body: None,
    });
    let report = b.import(topic, stream::iter(operations)).await.unwrap();
    assert_eq!((report.duplicates, report.rejected), (1, 1));
    let (_tx, mut rx) = b.stream(topic).start(StartAt::Beginning).await.unwrap();
    for number in 0..50 {
        assert_eq!(next(&mut rx).await.text().unwrap(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_message_of_another_type_stops_no_listener() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (a_tx, _a_rx) = a.ephemeral(topic).await.unwrap();
    let (_b_tx, mut b_rx) = b.ephemeral(topic).typed::<u32>().await.unwrap();
    introduce(&b, &a);
    // Not what the listener expects, and after it what it does.
    // Again and again, because gossip promises no delivery before the two are neighbours.
    let mut again = tokio::time::interval(std::time::Duration::from_millis(50));
    let talk = async {
        loop {
            again.tick().await;
            a_tx.publish("no number").await.unwrap();
            a_tx.publish(p2panda::Body::value(&7_u32).unwrap())
                .await
                .unwrap();
        }
    };
    let listen = async {
        let (mut broken, mut whole) = (0, 0);
        while broken < 2 || whole < 2 {
            match b_rx.next().await.unwrap().value() {
                Ok(7) => whole += 1,
                Ok(_) => panic!("another number"),
                Err(_) => broken += 1,
            }
        }
    };
    let heard = async {
        tokio::select! { () = talk => {}, () = listen => {} }
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("the listener goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_synced_cannot_be_published() {
    let node = builder(network())
        .temporary()
        .operation_bytes_max(10_000)
        .spawn()
        .await
        .unwrap();
    let (tx, mut rx) = node.stream(topic()).await.unwrap();
    let error = tx.publish(vec![0; 10_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    tx.publish("small").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["small"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_message_that_gossip_would_lose_is_an_error() {
    let node = temporary(network()).await;
    let (tx, _rx) = node.ephemeral(topic()).await.unwrap();
    let error = tx.publish(vec![0; 4_000]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let node = builder(network())
        .data_dir(dir.path())
        .spawn()
        .await
        .unwrap();
    let error = builder(network())
        .data_dir(dir.path())
        .spawn()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    node.shutdown().await.unwrap();
    let error = p2panda::builder().spawn().await.unwrap_err();
    assert!(matches!(error, Error::NoDirectory));
}
