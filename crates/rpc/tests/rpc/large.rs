//! Messages that are larger than the credit or the budget of a subscription: each is read again when there is
//! room, and comes once, in its order.

use p2panda_rpc::api::{self, ConsumerSettings, SubscribeParams};
use p2panda_rpc::client::MessageStream;
use serde_json::{Value, json};

use crate::http::{data, stream};
use crate::support::ALICE;
use crate::world::{TOPIC, World, bearer, in_time};

/// Around a page, the credit and the budget of a connection.
const SIZES: [usize; 9] = [
    10, 30_000, 30_000, 1_000_000, 20, 7_000, 70_000, 2_000_000, 30,
];

/// A world with a message of each size.
async fn world() -> (World, String) {
    let world = World::new().await;
    let alias = world.keep().await;
    let publisher = world.node.publisher(TOPIC).await.unwrap();
    for size in SIZES {
        publisher.publish("m".repeat(size)).await.unwrap();
    }
    (world, alias)
}

/// The sizes of the messages that come, each acknowledged if there is a consumer.
async fn sizes(messages: &mut MessageStream, acks: bool) -> Vec<usize> {
    let mut sizes = Vec::new();
    while sizes.len() < SIZES.len() {
        let message = in_time(messages.next()).await.unwrap().unwrap();
        sizes.push(message.text.as_ref().unwrap().len());
        if acks {
            assert_eq!(message.count, Some(1));
            messages.ack(&message).await.unwrap();
        }
    }
    sizes
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_come_once_and_in_order() {
    let (world, alias) = world().await;
    let alice = world.client(ALICE).await;
    for credit in [None, Some(1), Some(10_000)] {
        let params = SubscribeParams {
            topics: vec![alias.clone()],
            credit,
            ..SubscribeParams::default()
        };
        let mut messages = alice.messages(params).await.unwrap();
        assert_eq!(sizes(&mut messages, false).await, SIZES, "{credit:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_delivered_large_messages_once() {
    let (world, alias) = world().await;
    let alice = world.client(ALICE).await;
    for (name, credit) in [("a", None), ("b", Some(1)), ("c", Some(10_000))] {
        let params = SubscribeParams {
            topics: vec![alias.clone()],
            consumer: Some(ConsumerSettings::named(name)),
            credit,
            ..SubscribeParams::default()
        };
        let mut messages = alice.messages(params).await.unwrap();
        assert_eq!(sizes(&mut messages, true).await, SIZES, "{name}");
        let show = json!({"consumer": name});
        let shown = alice.call_raw("consumer.show", &show).await.unwrap();
        assert_eq!(shown["lag_messages"], 0, "{name}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_operations_come_once_and_in_order() {
    let (world, alias) = world().await;
    let alice = world.client(ALICE).await;
    let params = api::OperationsParams {
        topic: alias,
        ..api::OperationsParams::default()
    };
    let mut notes = alice.operations(&params).await.unwrap();
    let mut sizes = Vec::new();
    while sizes.len() < SIZES.len() {
        let note = in_time(notes.next()).await.unwrap().unwrap();
        let api::Note::Operations(note) = note else {
            panic!("another notification: {note:?}")
        };
        let credit = api::CreditParams {
            subscription: note.subscription,
            bytes: note.bytes,
        };
        alice.call::<api::MessagesCredit>(&credit).await.unwrap();
        let bodies = note.operations.into_iter().map(|one| one.body.unwrap());
        // Without the head of the text, which has other bytes.
        let size = |body: api::Bin| body.0.iter().filter(|byte| **byte == b'm').count();
        sizes.extend(bodies.map(size));
    }
    assert_eq!(sizes, SIZES);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_has_large_messages_in_order() {
    let (world, alias) = world().await;
    let path = format!("/v1/topics/{alias}/messages?live=sse");
    let mut lines = stream(&world, &path, &bearer(ALICE)).await;
    let mut sizes = Vec::new();
    while sizes.len() < SIZES.len() {
        let Value::Array(messages) = data(&mut lines, "data").await else {
            panic!("the data is no array")
        };
        sizes.extend(
            messages
                .iter()
                .map(|one| one["text"].as_str().unwrap().len()),
        );
    }
    assert_eq!(sizes, SIZES);
    world.end().await;
}
