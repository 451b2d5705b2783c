//! Plain reads with a named consumer.

use p2panda_rpc::api::{self, Code, ConsumerSettings, Mode, Start, SubscribeParams};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{body, data, header, publish, stream};
use crate::support::{ALICE, BOB};
use crate::world::{World, bearer, in_time};

fn path(alias: &str, query: &str) -> String {
    format!("/v1/topics/{alias}/messages?{query}")
}

async fn read(world: &World, alias: &str, query: &str) -> String {
    world.get(&path(alias, query), &bearer(ALICE)).await
}

/// Texts and counts of the messages of an answer.
fn texts(answer: &str) -> Vec<(String, u64)> {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let messages: Vec<Value> = serde_json::from_str(body(answer)).unwrap();
    let view = |one: &Value| {
        let text = one["text"].as_str().unwrap().to_owned();
        (text, one["count"].as_u64().unwrap())
    };
    messages.iter().map(view).collect()
}

fn counted(texts: &[&str], count: u64) -> Vec<(String, u64)> {
    texts
        .iter()
        .map(|text| ((*text).to_owned(), count))
        .collect()
}

/// The status and the code of a refusal.
fn refused(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(body(answer)).unwrap();
    let code = body["error"]["data"]["code"].as_str().unwrap();
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_after_acknowledges_does_not_come_again() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 5).await;
    let first = read(&world, &alias, "consumer=x&limit=2").await;
    assert_eq!(texts(&first), counted(&["m0", "m1"], 1));
    assert_eq!(header(&first, "stream-up-to-date"), None);
    // The client ended before it said that it had them.
    let again = read(&world, &alias, "consumer=x&after=-1&limit=2").await;
    assert_eq!(texts(&again), counted(&["m0", "m1"], 2));
    let next = header(&again, "stream-next-offset").unwrap();
    let query = format!("consumer=x&limit=2&after={next}");
    assert_eq!(
        texts(&read(&world, &alias, &query).await),
        counted(&["m2", "m3"], 1)
    );
    // Only the first of them was handled.
    let handled = format!("{:020}", next.parse::<u64>().unwrap() + 1);
    let query = format!("consumer=x&after={handled}");
    let rest = read(&world, &alias, &query).await;
    let (mut expected, new) = (counted(&["m3"], 2), counted(&["m4"], 1));
    expected.extend(new);
    assert_eq!(texts(&rest), expected);
    assert_eq!(header(&rest, "stream-up-to-date"), Some("true"));
    let last = header(&rest, "stream-next-offset").unwrap();
    let query = format!("consumer=x&after={last}");
    for _ in 0..2 {
        let nothing = read(&world, &alias, &query).await;
        assert!(nothing.starts_with("HTTP/1.1 204"), "{nothing}");
        assert_eq!(header(&nothing, "stream-next-offset"), Some(last));
        assert_eq!(header(&nothing, "stream-up-to-date"), Some("true"));
    }
    let show = api::ConsumerParams {
        consumer: "x".into(),
    };
    let alice = world.client(ALICE).await;
    let shown = alice.call::<api::ConsumerShow>(&show).await.unwrap();
    assert_eq!((shown.lag_messages, shown.consumer.readers), (0, 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_are_acknowledged_at_once() {
    let world = World::new().await;
    let alias = world.keep().await;
    let alice = world.client(ALICE).await;
    // More than a page of the feed in bytes, and then in rows.
    let large = "l".repeat(100 * 1024);
    for _ in 0..5 {
        alice.publish_text(&alias, &large).await.unwrap();
    }
    for _ in 0..3 {
        let messages = vec![
            api::NewMessage {
                content: Some("s".into()),
                ..api::NewMessage::default()
            };
            300
        ];
        let params = api::PublishBatchParams {
            topic: alias.clone(),
            messages,
        };
        alice.call::<api::PublishBatch>(&params).await.unwrap();
    }
    // One reader takes all of them and ends.
    let params = SubscribeParams {
        topics: vec![alias.clone()],
        consumer: Some(ConsumerSettings::named("x")),
        ..SubscribeParams::default()
    };
    let mut messages = alice.messages(params).await.unwrap();
    let mut last = 0;
    for _ in 0..905 {
        last = in_time(messages.next()).await.unwrap().unwrap().offset;
    }
    messages.end().await.unwrap();
    // Once that reader is gone, what it was given is read from the disk again.
    while read(&world, &alias, "consumer=x&limit=1")
        .await
        .contains("consumer-in-use")
    {}
    let query = format!("consumer=x&after={last:020}");
    let nothing = read(&world, &alias, &query).await;
    assert!(nothing.starts_with("HTTP/1.1 204"), "{nothing}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_has_one_reader_and_one_owner() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 1).await;
    let live = path(&alias, "consumer=x&live=sse");
    let mut reader = stream(&world, &live, &bearer(ALICE)).await;
    assert_eq!(data(&mut reader, "data").await[0]["text"], "m0");
    let second = read(&world, &alias, "consumer=x").await;
    assert_eq!(refused(&second), (409, "consumer-in-use".into()));

    // The name is that of the credential.
    let bob = bearer(BOB);
    let own = world.get(&path(&alias, "consumer=x"), &bob).await;
    assert_eq!(texts(&own), counted(&["m0"], 1));
    let foreign = world.get(&path(&alias, "consumer=alice/x"), &bob).await;
    assert_eq!(refused(&foreign), (403, "foreign-consumer".into()));

    let taken = read(&world, &alias, "consumer=x&take_over=true").await;
    assert_eq!(texts(&taken), counted(&["m0"], 2));
    let ended = data(&mut reader, "ended").await;
    assert_eq!(ended["data"]["code"], "taken-over");
    // Nothing follows: the last chunk of the answer is empty.
    while in_time(reader.next_line()).await.unwrap().as_deref() != Some("0") {}
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_given_up_gives_the_consumer_back() {
    let world = World::new().await;
    let alias = world.keep().await;
    let authority = world.authority();
    let mut poll = TcpStream::connect(&authority).await.unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n",
        path(&alias, "consumer=x&live=poll&take_over=true"),
        bearer(ALICE)
    );
    poll.write_all(request.as_bytes()).await.unwrap();
    while !read(&world, &alias, "consumer=x")
        .await
        .contains("consumer-in-use")
    {}
    drop(poll);
    while read(&world, &alias, "consumer=x")
        .await
        .contains("consumer-in-use")
    {}
    let live = "consumer=x&live=poll";
    let (answer, ()) = tokio::join!(read(&world, &alias, live), publish(&world, &alias, 1));
    assert_eq!(texts(&answer), counted(&["m0"], 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_while_its_messages_are_settled_by_call() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 4).await;
    let live = path(&alias, "consumer=x&live=sse&start=beginning");
    let mut reader = stream(&world, &live, &bearer(ALICE)).await;
    let first = data(&mut reader, "control").await;
    assert_eq!(first["streamNextOffset"], format!("{:020}", 0));
    let messages = data(&mut reader, "data").await;
    let offset = |at: usize| messages[at]["offset"].as_u64().unwrap();
    let alice = world.client(ALICE).await;
    let (consumer, topic) = ("x".to_owned(), alias.clone());
    let nak = api::NakAtParams {
        consumer: consumer.clone(),
        topic: topic.clone(),
        offset: offset(0),
        delay_ms: Some(7 * 86_400_000),
    };
    assert_eq!(
        alice.call::<api::ConsumerNakAt>(&nak).await.unwrap().done,
        1
    );
    let term = api::TermAtParams {
        consumer: consumer.clone(),
        topic: topic.clone(),
        offset: offset(1),
        reason: "unreadable".into(),
    };
    assert_eq!(
        alice.call::<api::ConsumerTermAt>(&term).await.unwrap().done,
        1
    );
    let ack = api::AckAtParams {
        consumer: consumer.clone(),
        topic,
        offset: offset(3),
        all_before: true,
    };
    assert_eq!(
        alice.call::<api::ConsumerAckAt>(&ack).await.unwrap().done,
        1
    );
    let again = alice.call::<api::ConsumerAckAt>(&ack).await.unwrap();
    assert_eq!((again.done, again.already), (0, 1));
    // The returned one is still to come, the second is a dead letter, the others are settled.
    let show = api::ConsumerParams {
        consumer: consumer.clone(),
    };
    let shown = alice.call::<api::ConsumerShow>(&show).await.unwrap();
    assert_eq!((shown.lag_messages, shown.consumer.dead), (1, 1));
    let all = api::DeadParams {
        consumer,
        number: None,
    };
    let redriven = alice.call::<api::DeadRedrive>(&all).await.unwrap();
    assert_eq!(redriven.letters, 1);
    let redriven = data(&mut reader, "data").await;
    assert_eq!(
        (&redriven[0]["text"], &redriven[0]["count"]),
        (&"m1".into(), &1.into())
    );
    let now = api::NakAtParams {
        delay_ms: Some(0),
        ..nak
    };
    // It is not with a reader, and can still be asked for.
    alice.call::<api::ConsumerNakAt>(&now).await.unwrap();
    let returned = data(&mut reader, "data").await;
    assert_eq!(
        (&returned[0]["text"], &returned[0]["count"]),
        (&"m0".into(), &2.into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_this_way_is_refused() {
    let world = World::new().await;
    let alias = world.keep().await;
    publish(&world, &alias, 2).await;
    let unread = format!("consumer=x&after={:020}", 1);
    for (query, status, code) in [
        ("start=now", 400, "invalid-params"),
        ("take_over=true", 400, "invalid-params"),
        ("consumer=x&after=now", 400, "invalid-params"),
        ("consumer=x&after=1", 400, "invalid-params"),
        ("consumer=x&start=end", 400, "invalid-params"),
        ("consumer=x&live=no", 400, "invalid-params"),
        ("consumer=x&take_over=maybe", 400, "invalid-params"),
        ("consumer=", 400, "invalid"),
        (unread.as_str(), 404, "unknown-consumer"),
    ] {
        let answer = read(&world, &alias, query).await;
        assert_eq!(refused(&answer), (status, code.into()), "{query}");
    }
    // A new one may begin at the end; where it begins now changes nothing.
    for start in ["now", "beginning"] {
        let answer = read(&world, &alias, &format!("consumer=new&start={start}")).await;
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    let query = format!("consumer=new&after={:020}", 3);
    let early = read(&world, &alias, &query).await;
    assert_eq!(refused(&early), (409, "stale-delivery".into()));

    let alice = world.client(ALICE).await;
    let shared = SubscribeParams {
        topics: vec![alias.clone()],
        consumer: Some(ConsumerSettings {
            mode: Some(Mode::Shared),
            ..ConsumerSettings::named("shared")
        }),
        ..SubscribeParams::default()
    };
    let shared = alice.messages(shared).await.unwrap();
    let answer = read(&world, &alias, "consumer=shared").await;
    assert_eq!(refused(&answer), (409, "conflict".into()));
    drop(shared);
    // After a seek nothing of it was delivered.
    assert_eq!(texts(&read(&world, &alias, "consumer=x").await).len(), 2);
    let seek = api::SeekParams {
        consumer: "x".into(),
        start: Start::Beginning,
        topics: None,
    };
    alice.call::<api::ConsumerSeek>(&seek).await.unwrap();
    let query = format!("consumer=x&after={:020}", 2);
    let stale = read(&world, &alias, &query).await;
    assert_eq!(refused(&stale), (409, Code::StaleDelivery.to_string()));
    world.end().await;
}
