//! Topics that become those of a space while clients without `space:read` read them.

use p2panda::Settings;
use p2panda_core::{EphemeralMessage, HybridTimestamp, SigningKey};
use p2panda_rpc::api::{self, Code, ConsumerSettings, Note, SubscribeParams};

use crate::http::{data, ended, stream};
use crate::support::{ALICE, BOB, ROOT, SAM};
use crate::world::{TOPIC, World, bearer, failed, in_time};

fn all(topic: &str) -> SubscribeParams {
    SubscribeParams {
        topics: vec![topic.to_owned()],
        ..SubscribeParams::default()
    }
}

fn named(topic: &str, name: &str) -> SubscribeParams {
    SubscribeParams {
        consumer: Some(ConsumerSettings::named(name)),
        ..all(topic)
    }
}

fn pulled(topic: &str, name: &str) -> SubscribeParams {
    SubscribeParams {
        pull: true,
        ..named(topic, name)
    }
}

/// Nothing is published that a reader would see.
async fn follow(world: &World) {
    world.node.spaces().follow(TOPIC).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_subscriptions_end_when_their_topic_becomes_a_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let alice = world.client(ALICE).await;
    let mut streams = Vec::new();
    for params in [all(&topic), named(&topic, "x"), pulled(&topic, "y")] {
        streams.push(alice.messages(params).await.unwrap());
    }
    let mut ephemeral = alice.ephemeral(&topic).await.unwrap();
    follow(&world).await;
    for mut stream in streams {
        let ended = in_time(stream.next()).await.unwrap_err();
        assert_eq!(ended.code(), Code::Forbidden);
    }
    let ended = in_time(ephemeral.next()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Forbidden);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_waits_ends_when_its_topic_becomes_a_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let bob = world.client(BOB).await;
    let params = pulled(&topic, "x");
    let opened = bob.call::<api::MessagesSubscribe>(&params).await.unwrap();
    let fetch = api::FetchParams {
        subscription: opened.subscription,
        count: 1,
        wait_ms: 3_600_000,
    };
    let waiting = in_time(bob.call::<api::ConsumerFetch>(&fetch));
    let (fetched, ()) = tokio::join!(waiting, follow(&world));
    assert_eq!(failed(fetched), Code::Forbidden);
    let again = in_time(bob.call::<api::ConsumerFetch>(&fetch)).await;
    assert_eq!(failed(again), Code::Forbidden);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_event_streams_end_when_their_topic_becomes_a_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let path = format!("/v1/topics/{topic}/messages?live=sse");
    let mut plain = stream(&world, &path, &bearer(BOB)).await;
    data(&mut plain, "control").await;
    let by_name = format!("{path}&consumer=x");
    let mut by_name = stream(&world, &by_name, &bearer(BOB)).await;
    data(&mut by_name, "control").await;
    follow(&world).await;
    assert_eq!(ended(&mut plain).await, "forbidden");
    assert_eq!(ended(&mut by_name).await, "forbidden");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_refused_when_its_topic_becomes_a_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let path = format!("/v1/topics/{topic}/messages?live=poll");
    let (plain, named) = (format!("{path}&after=now"), format!("{path}&consumer=x"));
    let headers = bearer(BOB);
    let (plain, named, ()) = tokio::join!(
        world.get(&plain, &headers),
        world.get(&named, &headers),
        follow(&world)
    );
    for answer in [plain, named] {
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_messages_go_on_for_who_may_read_the_space() {
    let world = World::new().await;
    let topic = world.keep().await;
    let (alice, sam) = (world.client(ALICE).await, world.client(SAM).await);
    let mut without = alice.ephemeral(&topic).await.unwrap();
    let mut with = sam.ephemeral(&topic).await.unwrap();
    let settings = Settings::with_history();
    let spaces = world.node.spaces();
    spaces.create_in(TOPIC, "", settings).await.unwrap();
    let key = SigningKey::from_bytes(&[9; 32]);
    let time = HybridTimestamp::new(1, 0);
    let message = EphemeralMessage::seal(&key, time, b"\x62hi").unwrap();
    let params = api::EphemeralSubmitParams {
        topic: topic.clone(),
        message: message.to_vec().into(),
    };
    let root = world.client(ROOT).await;
    root.call::<api::EphemeralSubmit>(&params).await.unwrap();
    let note = in_time(with.next()).await.unwrap().unwrap();
    let Note::Ephemeral(note) = note else {
        panic!("another notification: {note:?}")
    };
    assert_eq!(note.author, key.verifying_key());
    // The end comes instead of the message.
    let ended = in_time(without.next()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Forbidden);
    world.end().await;
}
