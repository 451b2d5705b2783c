//! Publishing, subscriptions, credit, consumers.

use futures_util::FutureExt;
use p2panda_rpc::api::{
    self, Code, ConsumerSettings, Message, Note, SubscribeParams, SubscribeResult,
};
use p2panda_rpc::client::MessageStream;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{ALICE, BOB, ROOT};
use crate::world::{TOPIC, World, code, failed, in_time, next};

fn texts(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.text.as_deref().unwrap())
        .collect()
}

async fn take(stream: &mut MessageStream, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.push(in_time(stream.next()).await.unwrap().unwrap());
    }
    messages
}

fn consumer(alias: &str, name: &str) -> SubscribeParams {
    SubscribeParams {
        topics: vec![alias.to_owned()],
        consumer: Some(ConsumerSettings::named(name)),
        ..SubscribeParams::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_named_and_unnamed_subscribers_in_order() {
    let world = World::new().await;
    let alias = world.keep().await;
    let (alice, unix) = (world.client(ALICE).await, world.unix().await);
    let plain = SubscribeParams {
        topics: vec![TOPIC.to_string()],
        header: true,
        ..SubscribeParams::default()
    };
    let mut plain = unix.messages(plain).await.unwrap();
    let mut named = alice.messages(consumer(&alias, "x")).await.unwrap();
    assert_eq!(
        (plain.topics(), named.topics()),
        (&[alias.clone()][..], &[alias.clone()][..])
    );
    let sent: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    let publishes = sent.iter().map(|text| alice.publish_text(&alias, text));
    let published = futures_util::future::join_all(publishes).await;
    let messages = take(&mut plain, sent.len()).await;
    assert_eq!(texts(&messages), sent);
    for (message, published) in messages.iter().zip(&published) {
        let published = published.as_ref().unwrap();
        assert_eq!((message.id, message.seq), (published.id, published.seq));
        assert_eq!(message.topic, alias);
        let header = p2panda_core::Header::decode(message.header.clone().unwrap().0).unwrap();
        assert_eq!(header.id(), message.id);
    }
    let messages = take(&mut named, sent.len()).await;
    assert_eq!(texts(&messages), sent);
    assert!(messages.iter().all(|message| message.count == Some(1)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unacked_message_comes_again_to_its_client_only() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    for text in ["one", "two", "three", "four"] {
        alice.publish_text(&alias, text).await.unwrap();
    }
    let mut stream = alice.messages(consumer(&alias, "x")).await.unwrap();
    let messages = take(&mut stream, 4).await;
    assert_eq!(stream.ack(&messages[0]).await.unwrap().done, 1);
    // Settled once: the number means nothing any more.
    assert_eq!(failed(stream.ack(&messages[0]).await), Code::StaleDelivery);
    stream.term(&messages[1], "unreadable").await.unwrap();
    stream.nak(&messages[2], Some(0)).await.unwrap();
    let again = take(&mut stream, 1).await;
    assert_eq!((texts(&again), again[0].count), (vec!["three"], Some(2)));
    stream.ack_all([&again[0], &messages[3]]).await.unwrap();

    let letters = api::DeadListParams {
        consumer: "x".into(),
        after: 0,
    };
    let letters = alice.call::<api::DeadList>(&letters).await.unwrap().letters;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].said.as_deref(), Some("unreadable"));
    let all = api::DeadParams {
        consumer: "x".into(),
        number: None,
    };
    assert_eq!(
        alice.call::<api::DeadRedrive>(&all).await.unwrap().letters,
        1
    );
    let redriven = take(&mut stream, 1).await;
    assert_eq!(texts(&redriven), ["two"]);
    stream.ack(&redriven[0]).await.unwrap();
    let show = api::ConsumerParams {
        consumer: "x".into(),
    };
    let shown = alice.call::<api::ConsumerShow>(&show).await.unwrap();
    assert_eq!((shown.lag_messages, shown.consumer.readers), (0, 1));

    // To the node it has the name of its client in front.
    let bob = world.client(BOB).await;
    assert_eq!(
        failed(bob.call::<api::ConsumerShow>(&show).await),
        Code::UnknownConsumer
    );
    let foreign = bob.messages(consumer(&alias, "alice/x")).await;
    assert_eq!(failed(foreign), Code::ForeignConsumer);
    let list = api::ConsumerListParams::default();
    assert!(
        bob.call::<api::ConsumerList>(&list)
            .await
            .unwrap()
            .consumers
            .is_empty()
    );
    let own = alice
        .call::<api::ConsumerList>(&list)
        .await
        .unwrap()
        .consumers;
    assert_eq!(
        own.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["x"]
    );
    let all = world
        .unix()
        .await
        .call::<api::ConsumerList>(&list)
        .await
        .unwrap()
        .consumers;
    assert_eq!(
        all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["alice/x"]
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_show_a_client_its_own_consumers_only() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let published = alice.publish_text(&alias, "one").await.unwrap();
    let mut stream = alice.messages(consumer(&alias, "x")).await.unwrap();
    let messages = take(&mut stream, 1).await;
    stream.ack(&messages[0]).await.unwrap();
    let status = api::TopicParams { topic: alias };
    let trace = api::TraceParams { id: published.id };
    let (bob, unix) = (world.client(BOB).await, world.unix().await);
    let shown = [
        (&alice, vec!["x"]),
        (&bob, vec![]),
        (&unix, vec!["alice/x"]),
    ];
    for (client, own) in shown {
        let status = client.call::<api::TopicStatus>(&status).await.unwrap();
        assert_eq!(status.consumers, own);
        let names = status.positions.iter().map(|one| one.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), own);
        let trace = client.call::<api::Trace>(&trace).await.unwrap();
        let names = trace.consumers.keys().map(String::as_str);
        assert_eq!(names.collect::<Vec<_>>(), own);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_no_more_than_its_credit() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let text = "x".repeat(1_000);
    for _ in 0..200 {
        alice.publish_text(&alias, &text).await.unwrap();
    }
    let mut stalled = world.lines().await;
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "messages.subscribe",
        "params": {"topics": [alias], "credit": 20_000}});
    let ask = format!("{ask}\n");
    stalled.get_mut().write_all(ask.as_bytes()).await.unwrap();
    let mut came = 0;
    let mut subscription = None;
    // A message above the credit cannot come before this answer: both wait for nothing else.
    while came + 1_600 < 20_000 || subscription.is_none() {
        let message = next(&mut stalled).await;
        match message["method"].as_str() {
            Some("messages") => came += message["params"]["bytes"].as_u64().unwrap(),
            _ => subscription = message["result"]["subscription"].as_u64(),
        }
    }
    assert!(came <= 20_000, "{came} bytes came without credit");
    // Another subscriber gets everything meanwhile.
    let mut other = alice.messages(consumer(&alias, "x")).await.unwrap();
    take(&mut other, 200).await;
    // Nothing more has come: the next line is the answer to this.
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "node.status"});
    stalled
        .get_mut()
        .write_all(format!("{ping}\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(next(&mut stalled).await["id"], 2);
    let give = json!({"jsonrpc": "2.0", "method": "messages.credit",
        "params": {"subscription": subscription, "bytes": 1_600}});
    stalled
        .get_mut()
        .write_all(format!("{give}\n").as_bytes())
        .await
        .unwrap();
    let more = next(&mut stalled).await;
    assert_eq!(more["params"]["messages"].as_array().unwrap().len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_publishes_once_per_client() {
    let world = World::new().await;
    let alias = world.keep().await;
    let (alice, root) = (world.client(ALICE).await, world.client(ROOT).await);
    let publish = |text: &str| api::PublishParams {
        topic: alias.clone(),
        message: api::NewMessage {
            content: Some(text.into()),
            request: Some("r1".into()),
            ..api::NewMessage::default()
        },
        wait: None,
    };
    let first = alice.call::<api::Publish>(&publish("a")).await.unwrap();
    let second = alice.call::<api::Publish>(&publish("a")).await.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(
        failed(alice.call::<api::Publish>(&publish("b")).await),
        Code::KeyTaken
    );
    let other = root.call::<api::Publish>(&publish("b")).await.unwrap();
    assert_eq!(other.seq, 1);
    let batch = |count: usize| api::PublishBatchParams {
        topic: alias.clone(),
        messages: vec![
            api::NewMessage {
                content: Some("m".into()),
                ..api::NewMessage::default()
            };
            count
        ],
    };
    let published = alice
        .call::<api::PublishBatch>(&batch(1_000))
        .await
        .unwrap();
    assert_eq!(published.published[999].seq, 1_001);
    assert_eq!(
        failed(alice.call::<api::PublishBatch>(&batch(1_001)).await),
        Code::TooLarge
    );
    assert_eq!(
        failed(alice.call::<api::PublishBatch>(&batch(10_001)).await),
        Code::TooLarge
    );
    let read = api::ReadParams {
        topic: alias.clone(),
        after: 0,
        limit: Some(1),
        header: false,
    };
    let page = alice.call::<api::MessagesRead>(&read).await.unwrap();
    assert_eq!((texts(&page.messages), page.up_to_date), (vec!["a"], false));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_a_reason() {
    let world = World::new().await;
    let alias = world.keep().await;
    let unix = world.unix().await;
    let plain = SubscribeParams {
        topics: vec![alias.clone()],
        ..SubscribeParams::default()
    };
    let mut left = unix.messages(plain.clone()).await.unwrap();
    alice_publishes(&world, &alias).await;
    take(&mut left, 1).await;
    let topic = api::TopicParams { topic: alias };
    unix.call::<api::TopicLeave>(&topic).await.unwrap();
    assert_eq!(failed(in_time(left.next()).await), Code::Closed);
    let mut ended = unix.messages(plain).await.unwrap();
    take(&mut ended, 1).await;
    let World { node, running, dir } = world;
    let (end, _) = tokio::join!(running.shutdown(), async {
        assert_eq!(failed(in_time(ended.next()).await), Code::Closed);
    });
    let () = end;
    in_time(unix.closed()).await;
    assert!(!dir.path().join("rpc").exists());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_given_up_ends() {
    let world = World::new().await;
    let alias = world.keep().await;
    alice_publishes(&world, &alias).await;
    let alice = world.client(ALICE).await;
    // It is sent, and nobody waits for the answer.
    let given_up = alice.messages(consumer(&alias, "x")).now_or_never();
    assert!(given_up.is_none());
    let opened = async {
        loop {
            match alice.messages(consumer(&alias, "x")).await {
                Ok(stream) => return stream,
                Err(error) => assert_eq!(error.code(), Code::ConsumerInUse),
            }
        }
    };
    let mut named = in_time(opened).await;
    assert_eq!(texts(&take(&mut named, 1).await), ["one"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fits_no_frame_is_refused_by_the_client() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let large = "x".repeat(1 << 20);
    let refused = in_time(alice.publish_text(&alias, &large)).await;
    assert_eq!(failed(refused), Code::TooLarge);
    alice_publishes(&world, &alias).await;
    let published = alice.publish_text(&alias, &large[..1_000_000]).await;
    assert_eq!(published.unwrap().seq, 1);
    world.end().await;
}

async fn alice_publishes(world: &World, alias: &str) {
    world
        .client(ALICE)
        .await
        .publish_text(alias, "one")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_with_aliases_and_ephemeral_calls_are_taken() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let mut events = alice.events().await.unwrap();
    let refused = json!({"topic": alias, "header": "gA=="});
    let answer = alice.call_raw("operation.submit", &refused).await;
    assert_eq!(failed(answer), Code::RefusedOperation);
    // What the node itself refuses is told as an event.
    let operation = p2panda::ImportedOperation {
        header: vec![0x80].into(),
        body: None,
    };
    let operations = futures_util::stream::iter([operation]);
    world.node.import(TOPIC, operations).await.unwrap();
    let told = loop {
        match in_time(events.next()).await.unwrap().unwrap() {
            Note::Event(note) if note.event == "rejected" => break note,
            _ => {}
        }
    };
    assert_eq!(told.topic, Some(alias.clone()));
    assert!(told.detail.unwrap().starts_with("undecodable"));
    alice.ephemeral(&alias).await.unwrap();
    let content = json!({"topic": alias, "content": {"text": "now"}});
    alice.call_raw("ephemeral.publish", &content).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_bounded_and_end_when_they_are_told() {
    let world = World::with(|config| config.quotas.subscriptions = 2).await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    let ask = json!({"topics": [alias]});
    let subscribe = || alice.call_raw("messages.subscribe", &ask);
    let one = subscribe().await.unwrap();
    subscribe().await.unwrap();
    assert_eq!(failed(subscribe().await), Code::Quota);
    let one: SubscribeResult = serde_json::from_value(one).unwrap();
    let end = json!({"subscription": one.subscription});
    alice.call_raw("subscription.end", &end).await.unwrap();
    subscribe().await.unwrap();
    let unknown: Value = json!({"subscription": 99, "bytes": 1});
    let unknown = alice.call_raw("messages.credit", &unknown).await;
    assert_eq!(failed(unknown), Code::UnknownSubscription);
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "subscription.end",
        "params": {"subscription": 99}});
    assert_eq!(
        code(&world.line(&ask.to_string()).await),
        "unknown-subscription"
    );
    world.end().await;
}
