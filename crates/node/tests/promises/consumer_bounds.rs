//! The bounds of a named consumer, each at its value and one past it (`docs/protocol/consumers.md`).

use std::time::Duration;

use p2panda::{
    Acking, ConsumerError, ConsumerFilter, ConsumerMode, ConsumerRequest, ConsumerStart, Error,
    SigningKey, Topic, VerifyingKey,
};
use p2panda_core::limits::{
    CONSUMER_AUTHORS_MAX, CONSUMER_BACKOFF_MAX, CONSUMER_BATCH_BYTES_MAX, CONSUMER_BATCH_MAX,
    CONSUMER_DELAY_MAX, CONSUMER_DELIVERIES_MAX, CONSUMER_HEIGHTS_MAX, CONSUMER_IN_FLIGHT_MAX,
    CONSUMER_INACTIVE_MAX, CONSUMER_INACTIVE_MIN, CONSUMER_NAME_BYTES_MAX, CONSUMER_READERS_MAX,
    CONSUMER_REASON_BYTES_MAX, CONSUMER_TOPICS_MAX, CONSUMER_WAIT_MIN,
};

use crate::consumers::{next, with_messages};

const STEP: Duration = Duration::from_micros(1);

/// Any key: those of heights are only compared.
fn key(number: usize) -> VerifyingKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    VerifyingKey::from_bytes_unchecked(bytes)
}

/// A key that is one: those of filters are checked when they are read.
fn author(number: usize) -> VerifyingKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&bytes).verifying_key()
}

fn topics(count: usize) -> impl Iterator<Item = Topic> {
    (0..count).map(|number| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Topic::from_bytes(bytes)
    })
}

fn is_refused<T: std::fmt::Debug>(opened: Result<T, Error>) -> bool {
    match opened {
        Ok(_) => false,
        Err(Error::Consumer(ConsumerError::Limit(_) | ConsumerError::Invalid(_))) => true,
        Err(other) => panic!("another error: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bound_of_a_consumer_holds_at_its_value() {
    type Change = Box<dyn Fn(ConsumerRequest) -> ConsumerRequest>;
    let (node, topic, _tx) = with_messages(0).await;
    let cases: Vec<(&str, [Change; 2])> = vec![
        (
            "ack wait",
            [CONSUMER_WAIT_MIN, CONSUMER_WAIT_MIN - STEP].map(|wait| {
                Box::new(move |request: ConsumerRequest| request.ack_wait(wait)) as Change
            }),
        ),
        (
            "long ack wait",
            [CONSUMER_DELAY_MAX, CONSUMER_DELAY_MAX + STEP].map(|wait| {
                Box::new(move |request: ConsumerRequest| request.ack_wait(wait)) as Change
            }),
        ),
        (
            "delay",
            [CONSUMER_DELAY_MAX, CONSUMER_DELAY_MAX + STEP].map(|delay| {
                Box::new(move |request: ConsumerRequest| request.backoff([delay])) as Change
            }),
        ),
        (
            "backoff",
            [CONSUMER_BACKOFF_MAX, CONSUMER_BACKOFF_MAX + 1].map(|delays| {
                let delays = vec![CONSUMER_DELAY_MAX; delays];
                Box::new(move |request: ConsumerRequest| request.backoff(delays.clone())) as Change
            }),
        ),
        (
            "deliveries",
            [CONSUMER_DELIVERIES_MAX, CONSUMER_DELIVERIES_MAX + 1].map(|most| {
                Box::new(move |request: ConsumerRequest| request.deliveries_max(most)) as Change
            }),
        ),
        (
            "in flight",
            [CONSUMER_IN_FLIGHT_MAX, CONSUMER_IN_FLIGHT_MAX + 1].map(|most| {
                Box::new(move |request: ConsumerRequest| request.in_flight_max(most)) as Change
            }),
        ),
        (
            "short threshold",
            [CONSUMER_INACTIVE_MIN, CONSUMER_INACTIVE_MIN - STEP].map(|after| {
                Box::new(move |request: ConsumerRequest| request.inactive(after)) as Change
            }),
        ),
        (
            "threshold",
            [CONSUMER_INACTIVE_MAX, CONSUMER_INACTIVE_MAX + STEP].map(|after| {
                Box::new(move |request: ConsumerRequest| request.inactive(after)) as Change
            }),
        ),
        (
            "authors",
            [CONSUMER_AUTHORS_MAX, CONSUMER_AUTHORS_MAX + 1].map(|count| {
                let filter = ConsumerFilter::default().authors((0..count).map(author));
                Box::new(move |request: ConsumerRequest| request.filter(filter.clone())) as Change
            }),
        ),
        (
            "heights",
            [CONSUMER_HEIGHTS_MAX, CONSUMER_HEIGHTS_MAX + 1].map(|count| {
                let heights = (0..count).map(|number| (key(number), 1)).collect();
                let start = ConsumerStart::StateVector(heights);
                Box::new(move |request: ConsumerRequest| request.start(start.clone())) as Change
            }),
        ),
        (
            "topics",
            [CONSUMER_TOPICS_MAX, CONSUMER_TOPICS_MAX + 1].map(|count| {
                Box::new(move |request: ConsumerRequest| request.topics(topics(count))) as Change
            }),
        ),
    ];
    for (name, [taken, refused]) in &cases {
        let request = || node.consumer(*name).topics([topic]).without_joining();
        assert!(is_refused(refused(request()).open().await), "{name}");
        assert!(!is_refused(taken(request()).open().await), "{name}");
    }
    let name = |bytes: usize| node.consumer("n".repeat(bytes)).topics([topic]);
    assert!(name(CONSUMER_NAME_BYTES_MAX).open().await.is_ok());
    let long = name(CONSUMER_NAME_BYTES_MAX + 1).open().await;
    let long = long.map(drop).unwrap_err();
    assert!(matches!(long, Error::Consumer(ConsumerError::InvalidName)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_readers_of_a_consumer_holds() {
    let (node, topic, _tx) = with_messages(0).await;
    let open = || {
        node.consumer("jobs")
            .topics([topic])
            .mode(ConsumerMode::Shared)
    };
    let mut readers = Vec::new();
    for _ in 0..CONSUMER_READERS_MAX {
        readers.push(open().open().await.unwrap());
    }
    assert!(is_refused(open().open().await));
    readers.pop();
    assert!(!is_refused(open().open().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_a_batch_and_a_reason_hold() {
    let (node, topic, _tx) = with_messages(1).await;
    let request = node.consumer("jobs").topics([topic]);
    let mut jobs = request.acking(Acking::Explicit).open().await.unwrap();
    for (messages, bytes, is_taken) in [
        (CONSUMER_BATCH_MAX + 1, CONSUMER_BATCH_BYTES_MAX, false),
        (CONSUMER_BATCH_MAX, CONSUMER_BATCH_BYTES_MAX + 1, false),
        (CONSUMER_BATCH_MAX, CONSUMER_BATCH_BYTES_MAX, true),
    ] {
        let batch = jobs.fetch(messages).max_bytes(bytes).wait(Duration::ZERO);
        assert_eq!(!is_refused(batch.await), is_taken);
    }
    // What was fetched and dropped waits again.
    jobs.handle().seek(ConsumerStart::Beginning).await.unwrap();
    let one = next(&mut jobs).await;
    let long = one.term(&"r".repeat(CONSUMER_REASON_BYTES_MAX + 1)).await;
    assert!(is_refused(long));
    one.term(&"r".repeat(CONSUMER_REASON_BYTES_MAX))
        .await
        .unwrap();
    assert_eq!(jobs.handle().dead_letters().list(0).await.unwrap().len(), 1);
}
