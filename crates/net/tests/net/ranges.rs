//! Sessions on a link find differences by ranges (`docs/protocol/link.md#4`).

use p2panda_core::{SigningKey, Topic};

use crate::fake_node::FakeNode;

const AUTHORS: u32 = 600;
/// Each side lacks this many.
const MISSING: u32 = 5;

fn author(number: u32) -> SigningKey {
    let mut secret = [33; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&secret)
}

/// Stores what both have, and what only one of them has.
fn fill(nodes: &[&FakeNode; 2], topic: Topic) {
    for number in 0..AUTHORS {
        for (place, node) in (0..).zip(nodes) {
            if number >= 2 * MISSING || number % 2 == place {
                node.publish_as(&author(number), topic, b"text");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_missing_of_many_authors_cross_both_ways() {
    let (a, b) = (FakeNode::start(95, 1).await, FakeNode::start(95, 2).await);
    let topic = Topic::from_bytes([95; 32]);
    fill(&[&a, &b], topic);
    for node in [&a, &b] {
        node.subscribe(topic);
    }
    a.net.add_peer(b.bootstrap());
    for node in [&a, &b] {
        node.until_len(topic, AUTHORS as usize).await;
        node.until_live(topic).await;
        let sent = node.net.counters().sync_sent_bytes;
        assert!(sent < 8_000, "{sent}, of {AUTHORS} authors");
        let duplicates = node.with(topic, |log| log.duplicates);
        assert_eq!(duplicates, 0);
    }
    // Live mode continues from what was compared.
    a.publish(topic, "news");
    b.until_len(topic, AUTHORS as usize + 1).await;
    for node in [a, b] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_equal_nodes_say_less_than_a_kilobyte() {
    let (a, b) = (FakeNode::start(97, 1).await, FakeNode::start(97, 2).await);
    let topic = Topic::from_bytes([97; 32]);
    for number in 0..63 {
        for node in [&a, &b] {
            node.publish_as(&author(number), topic, b"text");
        }
    }
    for node in [&a, &b] {
        node.subscribe(topic);
    }
    a.net.add_peer(b.bootstrap());
    for node in [&a, &b] {
        node.until_live(topic).await;
    }
    // What it takes is sent by when more crosses.
    let news = [7; 100];
    a.publish_as(&author(63), topic, &news);
    b.until_len(topic, 64).await;
    let said = [&a, &b].map(|node| {
        let counters = node.net.counters();
        counters.sync_sent_bytes + counters.link_sent_bytes
    });
    // Header, body and frame of the message.
    let said = said.iter().sum::<u64>() - 300;
    assert!(said <= 1_000, "{said}");
    for node in [a, b] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_during_a_comparison_is_not_lost() {
    let (a, b) = (FakeNode::start(96, 1).await, FakeNode::start(96, 2).await);
    let topic = Topic::from_bytes([96; 32]);
    fill(&[&a, &b], topic);
    for node in [&a, &b] {
        node.subscribe(topic);
    }
    a.net.add_peer(b.bootstrap());
    b.net.add_peer(a.bootstrap());
    for number in 0..50 {
        for (node, name) in [(&a, "a"), (&b, "b")] {
            node.publish(topic, &format!("{name} {number}"));
        }
        tokio::task::yield_now().await;
    }
    for node in [&a, &b] {
        node.until_len(topic, AUTHORS as usize + 100).await;
    }
    for node in [a, b] {
        node.net.shutdown().await;
    }
}
