//! A topic that is flooded with authors.

use futures_lite::stream;
use p2panda::{ImportedOperation, StartAt, Topic};
use p2panda_core::{Draft, NodeExtensions, Operation, SigningKey, Timestamp};

use crate::nodes::{builder, introduce, network, temporary, texts, topic};

/// The first operation of this many authors.
fn fresh_authors(topic: Topic, count: u32) -> Vec<ImportedOperation> {
    let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
    let authors = (0..count).map(|number| {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let draft = Draft {
            seq: 0,
            backlink: None,
            body: Some(b"\x64spam"),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(&SigningKey::from_bytes(&seed), draft).unwrap();
        ImportedOperation {
            header: operation.header.as_bytes().clone(),
            body: operation.body,
        }
    });
    authors.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_shown_long_known_authors_first() {
    let (network, topic) = (network(), topic());
    let a = temporary(network).await;
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in 0..5 {
        tx.publish(format!("honest {number}")).await.unwrap();
    }
    let flood = fresh_authors(topic, 300);
    let report = a.import(topic, stream::iter(flood)).await.unwrap();
    assert_eq!((report.stored, report.new_logs), (300, 300));

    let newcomer = builder(network).temporary().new_logs_max(10, 500);
    let newcomer = newcomer.spawn().await.unwrap();
    let (_tx, mut rx) = newcomer
        .stream(topic)
        .start(StartAt::Beginning)
        .await
        .unwrap();
    // The newcomer has not been told of the other one: to it, that is a stranger.
    introduce(&a, &newcomer);
    let shown = texts(&mut rx, 305).await;
    let honest: Vec<String> = (0..5).map(|number| format!("honest {number}")).collect();
    assert_eq!(shown[..5], honest);
    assert!(shown[5..].iter().all(|text| text == "spam"));
}
