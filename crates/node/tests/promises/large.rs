//! Large messages, next to small ones.

use p2panda::Subscription;

use crate::nodes::{introduce, network, next, temporary, topic};

/// This many messages, those of each author in the order in which they came.
async fn received(rx: &mut Subscription, count: usize) -> Vec<(p2panda::VerifyingKey, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let message = next(rx).await;
        all.push((message.author(), message.text().unwrap().to_owned()));
    }
    // An author's own log stays in order.
    all.sort_by_key(|(author, _)| *author.as_bytes());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_small_messages_come_whole() {
    let (network, topic) = (network(), topic());
    let (a, b) = (temporary(network).await, temporary(network).await);
    let (a_tx, mut a_rx) = a.stream(topic).await.unwrap();
    let (b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&a, &b);
    a_tx.publish("first").await.unwrap();
    assert_eq!(next(&mut b_rx).await.text().unwrap(), "first");
    assert_eq!(next(&mut a_rx).await.text().unwrap(), "first");

    // Both ways at once, twice the receive window and more.
    for (tx, letter) in [(&a_tx, "a"), (&b_tx, "b")] {
        tx.publish(letter.repeat(3_000_000)).await.unwrap();
        tx.publish(letter).await.unwrap();
        tx.publish(letter.repeat(300_000)).await.unwrap();
    }
    let at_a = received(&mut a_rx, 6).await;
    assert!(at_a == received(&mut b_rx, 6).await);
    let lengths = |letter: char| {
        let of = at_a.iter().filter(|(_, text)| text.starts_with(letter));
        of.map(|(_, text)| text.len()).collect::<Vec<_>>()
    };
    for letter in ['a', 'b'] {
        assert_eq!(lengths(letter), [3_000_000, 1, 300_000]);
    }

    let c = temporary(network).await;
    let (_, mut c_rx) = c.stream(topic).await.unwrap();
    introduce(&c, &a);
    let mut at_c = received(&mut c_rx, 7).await;
    at_c.retain(|(_, text)| text != "first");
    assert!(at_c == at_a);
}
