//! Forks come to be known to anyone who has one branch.

use futures_lite::stream;
use p2panda::{ImportedOperation, Node, SigningKey, Topic};

use crate::nodes::{builder, introduce, network, temporary, topic, until};

/// A node with one branch of the log of `author`, and its subscription.
async fn with_branch(node: &Node, author: &SigningKey, topic: Topic, text: &str) {
    let copy = builder(network()).signing_key(author.clone()).temporary();
    let copy = copy.spawn().await.unwrap();
    let (tx, _rx) = copy.stream(topic).await.unwrap();
    tx.publish(text).await.unwrap();
    let stored = copy.topic(topic).operations(0).await.unwrap();
    let operations = stored.into_iter().map(|one| ImportedOperation {
        header: one.header,
        body: one.body,
    });
    let operations: Vec<_> = operations.collect();
    let report = node.import(topic, stream::iter(operations)).await.unwrap();
    assert_eq!(report.rejected, 0);
}

async fn forks(node: &Node, topic: Topic) -> usize {
    node.topic(topic).forks().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_two_branches_both_learn_of_the_fork() {
    let (network, topic) = (network(), topic());
    let (a, b) = (temporary(network).await, temporary(network).await);
    let author = SigningKey::from_bytes(&[21; 32]);
    with_branch(&a, &author, topic, "one").await;
    with_branch(&b, &author, topic, "two").await;
    let _a = a.stream(topic).await.unwrap();
    let _b = b.stream(topic).await.unwrap();
    introduce(&a, &b);
    until("both know of the fork", || async {
        forks(&a, topic).await == 1 && forks(&b, topic).await == 1
    })
    .await;
    // Who has one branch only is shown the evidence.
    let c = temporary(network).await;
    with_branch(&c, &author, topic, "three").await;
    let _c = c.stream(topic).await.unwrap();
    introduce(&c, &a);
    until("the third one knows as well", || async {
        forks(&c, topic).await > 0
    })
    .await;
    for node in [a, b, c] {
        node.shutdown().await.unwrap();
    }
}
