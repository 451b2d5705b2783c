//! Needs of commands on the same machine: topics of aliases, the node's own position, fetching,
//! uploads.

use p2panda_core::limits::{RPC_UNSEEN_MAX, RPC_UPLOAD_BYTES_MAX};
use p2panda_rpc::api::{self, Code, ConsumerSettings, Content, Empty, NewMessage, SubscribeParams};
use p2panda_rpc::client::Client;

use crate::support::{ALICE, BOB, ROOT};
use crate::world::{TOPIC, World, failed, in_time};

async fn publish(client: &Client, alias: &str, texts: impl IntoIterator<Item = String>) {
    let messages = texts.into_iter().map(|text| NewMessage {
        content: Some(Content::Text(text)),
        ..NewMessage::default()
    });
    let params = api::PublishBatchParams {
        topic: alias.to_owned(),
        messages: messages.collect(),
    };
    client.call::<api::PublishBatch>(&params).await.unwrap();
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admin_learns_the_topic_of_an_alias() {
    let world = World::new().await;
    let alias = world.keep().await;
    let params = api::TopicRevealParams {
        topics: vec![alias.clone()],
    };
    let root = world.client(ROOT).await;
    let revealed = root.call::<api::TopicReveal>(&params).await.unwrap();
    assert_eq!(revealed.topics, [TOPIC]);
    let bob = world
        .client(BOB)
        .await
        .call::<api::TopicReveal>(&params)
        .await;
    assert_eq!(failed(bob), Code::Forbidden);
    let listed = root
        .call::<api::TopicList>(&api::TopicListParams {
            after: None,
            stored: true,
        })
        .await;
    assert_eq!(listed.unwrap().topics, std::slice::from_ref(&alias));
    let many = |count| api::TopicRevealParams {
        topics: vec![alias.clone(); count],
    };
    assert!(root.call::<api::TopicReveal>(&many(1_000)).await.is_ok());
    let more = root.call::<api::TopicReveal>(&many(1_001)).await;
    assert_eq!(failed(more), Code::TooLarge);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_the_configuration_is_kept_like_any_other() {
    let world = World::with(|config| config.keep = vec![TOPIC]).await;
    let alice = world.client(ALICE).await;
    let list = async || {
        let params = api::TopicListParams::default();
        alice.call::<api::TopicList>(&params).await.unwrap().topics
    };
    let listed = list().await;
    assert_eq!(listed.len(), 1);
    // Who may not bring a topic may use this one, by either name.
    for name in [&listed[0], &TOPIC.to_string()] {
        alice.publish_text(name, "mine").await.unwrap();
    }
    world.running.reload_keep([]);
    assert!(list().await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_position_moves_with_acks_on_the_socket() {
    let world = World::new().await;
    let alias = world.keep().await;
    let client = world.unix().await;
    publish(&client, &alias, numbers(0..4)).await;
    let params = || SubscribeParams {
        topics: vec![alias.clone()],
        own_position: true,
        ..SubscribeParams::default()
    };
    let mut stream = client.messages(params()).await.unwrap();
    let mut texts = Vec::new();
    for at in 0..3 {
        let message = in_time(stream.next()).await.unwrap().unwrap();
        if at < 2 {
            assert_eq!(stream.ack(&message).await.unwrap().done, 1);
        }
        texts.extend(message.text);
    }
    assert_eq!(texts, ["0", "1", "2"]);
    drop(stream);
    let mut again = client.messages(params()).await.unwrap();
    let message = in_time(again.next()).await.unwrap().unwrap();
    assert_eq!(message.text.as_deref(), Some("2"));
    // The same position as in the library.
    let (_, mut messages) = world.node.stream(TOPIC).await.unwrap();
    assert_eq!(messages.next().await.unwrap().text().unwrap(), "2");
    let alice = world.client(ALICE).await.messages(params()).await;
    assert_eq!(failed(alice), Code::Forbidden);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_acks_gets_no_more_than_the_bound() {
    let world = World::new().await;
    let alias = world.keep().await;
    let client = world.unix().await;
    publish(&client, &alias, numbers(0..RPC_UNSEEN_MAX)).await;
    publish(&client, &alias, ["one more".to_owned()]).await;
    let params = SubscribeParams {
        topics: vec![alias],
        own_position: true,
        ..SubscribeParams::default()
    };
    let mut stream = client.messages(params).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..RPC_UNSEEN_MAX {
        all.push(in_time(stream.next()).await.unwrap().unwrap());
    }
    // A request that is answered shows that nothing waits in front of it.
    client.call::<api::NodeStatus>(&Empty {}).await.unwrap();
    let next = futures_lite::future::poll_once(stream.next()).await;
    assert!(next.is_none(), "{next:?}");
    stream.ack_all(all.first()).await.unwrap();
    let next = in_time(stream.next()).await.unwrap().unwrap();
    assert_eq!(next.text.as_deref(), Some("one more"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetching_delivers_what_it_gives_and_nothing_else() {
    let world = World::new().await;
    let alias = world.keep().await;
    let client = world.client(ALICE).await;
    publish(&client, &alias, numbers(0..3)).await;
    let params = SubscribeParams {
        topics: vec![alias.clone()],
        consumer: Some(ConsumerSettings::named("x")),
        pull: true,
        ..SubscribeParams::default()
    };
    let subscribed = client
        .call::<api::MessagesSubscribe>(&params)
        .await
        .unwrap();
    let subscription = subscribed.subscription;
    let fetch = |count, wait_ms| api::FetchParams {
        subscription,
        count,
        wait_ms,
    };
    let got = client
        .call::<api::ConsumerFetch>(&fetch(1, 60_000))
        .await
        .unwrap();
    assert_eq!(got.messages.len(), 1);
    assert_eq!(got.messages[0].text.as_deref(), Some("0"));
    let show = api::ConsumerParams {
        consumer: "x".into(),
    };
    let shown = client.call::<api::ConsumerShow>(&show).await.unwrap();
    assert_eq!(shown.consumer.in_flight, 1);
    let ack = api::AckAtParams {
        consumer: "x".into(),
        topic: alias.clone(),
        offset: got.messages[0].offset,
        all_before: false,
    };
    assert_eq!(
        client.call::<api::ConsumerAckAt>(&ack).await.unwrap().done,
        1
    );
    let mut rest = 0;
    while rest < 2 {
        let more = client.call::<api::ConsumerFetch>(&fetch(256, 60_000)).await;
        rest += more.unwrap().messages.len();
    }
    assert_eq!(rest, 2);
    let none = client.call::<api::ConsumerFetch>(&fetch(1, 0)).await;
    assert!(none.unwrap().messages.is_empty());
    // One that pushes is not fetched from.
    let pushed = SubscribeParams {
        topics: vec![alias],
        ..SubscribeParams::default()
    };
    let pushed = client
        .call::<api::MessagesSubscribe>(&pushed)
        .await
        .unwrap();
    let wrong = api::FetchParams {
        subscription: pushed.subscription,
        count: 1,
        wait_ms: 0,
    };
    let refused = client.call::<api::ConsumerFetch>(&wrong).await;
    assert_eq!(failed(refused), Code::Invalid);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_comes_in_parts_is_published_once() {
    let world = World::new().await;
    let alias = world.keep().await;
    let client = world.client(ALICE).await;
    let content = "x".repeat(1_500_000);
    let mut upload = None;
    for part in content.as_bytes().chunks(600_000) {
        let data = part.to_vec().into();
        let params = api::UploadParams { upload, data };
        upload = Some(client.call::<api::Upload>(&params).await.unwrap().upload);
    }
    let params = api::PublishParams {
        topic: alias.clone(),
        message: NewMessage {
            content: Some(Content::Upload(api::Uploaded {
                number: upload.unwrap(),
                kind: api::UploadKind::Text,
            })),
            ..NewMessage::default()
        },
        wait: None,
    };
    client.call::<api::Publish>(&params).await.unwrap();
    let again = client.call::<api::Publish>(&params).await;
    assert_eq!(failed(again), Code::NotFound);
    let params = api::ReadParams {
        topic: alias,
        after: 0,
        limit: None,
        header: false,
    };
    let read = client.call::<api::MessagesRead>(&params).await.unwrap();
    assert_eq!(read.messages[0].text.as_deref(), Some(content.as_str()));
    assert!(content.len() < RPC_UPLOAD_BYTES_MAX);
    let params = api::UploadParams {
        upload: None,
        data: vec![1].into(),
    };
    let bob = world.client(BOB).await.call::<api::Upload>(&params).await;
    assert_eq!(failed(bob), Code::Forbidden);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_what_was_published_is_said_also_when_nobody_has() {
    let world = World::new().await;
    let alias = world.keep().await;
    let client = world.client(ALICE).await;
    let params = api::TopicDeliveredParams {
        topic: alias.clone(),
        ..api::TopicDeliveredParams::default()
    };
    let nothing = client.call::<api::TopicDelivered>(&params).await.unwrap();
    assert_eq!(nothing.newest, None);
    publish(&client, &alias, numbers(0..2)).await;
    let nobody = client.call::<api::TopicDelivered>(&params).await.unwrap();
    assert_eq!(
        (nobody.newest, nobody.sent, nobody.is_enough),
        (Some(1), 0, false)
    );
    let views = client.call::<api::ViewList>(&Empty {}).await.unwrap();
    assert!(views.views.is_empty());
    let view = api::ViewParams { view: "x".into() };
    let root = world.client(ROOT).await;
    assert_eq!(
        failed(root.call::<api::ViewDelete>(&view).await),
        Code::NotFound
    );
    world.end().await;
}

/// Requests of every method, altered at random: each line is answered, and the node continues.
#[tokio::test(flavor = "multi_thread")]
async fn altered_requests_are_answered_and_break_nothing() {
    use tokio::io::AsyncWriteExt;

    let world = World::new().await;
    world.keep().await;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        // xorshift: the same requests each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let params = [
        r#"{"topic":"TOPIC"}"#,
        r#"{"topic":"TOPIC","message":{"content":{"text":"x"}}}"#,
        r#"{"topic":"TOPIC","messages":[{"content":{"json":[1,{"a":null}]}}]}"#,
        r#"{"topics":["TOPIC"],"consumer":{"name":"x","ack":"explicit"},"pull":true}"#,
        r#"{"subscription":1,"deliveries":[1,2],"count":3,"wait_ms":0}"#,
        r#"{"consumer":"x","start":{"offset":1},"after":0}"#,
        r#"{"upload":1,"data":"AKv/AQ=="}"#,
        "{}",
    ];
    let letters = br#"{}[]",:0123456789.-eE\utrnaxTO"#;
    let mut lines = world.lines().await;
    // The shutdown is a request as well.
    let methods = api::METHODS.iter().filter(|name| **name != "node.shutdown");
    let methods: Vec<_> = methods.collect();
    for _ in 0..4_000 {
        let method = methods[random(methods.len())];
        let params = params[random(params.len())].replace("TOPIC", &TOPIC.to_string());
        let line = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
        let mut line = line.into_bytes();
        for _ in 0..random(4) {
            let at = random(line.len());
            match random(3) {
                0 => line[at] = letters[random(letters.len())],
                1 => line.insert(at, letters[random(letters.len())]),
                _ => drop(line.remove(at)),
            }
        }
        line.push(b'\n');
        lines.get_mut().write_all(&line).await.unwrap();
        // A request whose id was broken into a notification has no answer: the next one has.
        let last =
            b"{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"hello\",\"params\":{\"rpc\":1}}\n";
        lines.get_mut().write_all(last).await.unwrap();
        loop {
            let answer = crate::world::next(&mut lines).await;
            if answer["id"] == "last" {
                break;
            }
        }
    }
    assert!(
        world
            .unix()
            .await
            .call::<api::NodeStatus>(&Empty {})
            .await
            .is_ok()
    );
    world.end().await;
}
