//! Ephemeral messages between both sides.

use interop::{Event, Log, Message, Ours, Peer, Published, PublishedEphemeral};

use crate::case::{Case, PATIENCE};

/// The largest message that fits: an envelope of 112 bytes before it, and 4057 for both.
const LARGEST: usize = 3945;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_messages_cross_when_the_published_node_dials() {
    let case = Case::new("ephemeral, published dials");
    let ours = case.ours(&[]).await;
    let published = case.published(&[ours.peer()]).await;
    ours.ephemeral(case.topic).await.unwrap();
    let channel = published.ephemeral(case.topic).await.unwrap();
    cross(&case, &ours, &published, &channel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_messages_cross_both_ways_when_ours_dials() {
    let case = Case::new("ephemeral, ours dials");
    let published = case.published(&[]).await;
    let ours = case.ours(&[published.peer()]).await;
    ours.ephemeral(case.topic).await.unwrap();
    let channel = published.ephemeral(case.topic).await.unwrap();
    cross(&case, &ours, &published, &channel).await;
}

/// A published node holds its first message back until somebody listens, so it begins.
async fn cross(case: &Case, ours: &Ours, published: &Published, channel: &PublishedEphemeral) {
    channel.publish("is anybody there?").await.unwrap();
    let hello = [Message::from("is anybody there?")];
    assert_eq!(
        at_ours(ours.events(), case, published.peer(), 1).await,
        hello
    );

    let mut messages: Vec<Message> = (0..20)
        .map(|n| Message::Text(format!("text {n}")))
        .collect();
    messages.push(Message::Bytes((0..=255).collect()));
    // The head of a byte string of this length has three bytes.
    messages.push(Message::Bytes(vec![0xee; LARGEST - 3]));

    for message in &messages {
        let body = message.encode().unwrap();
        ours.ephemeral_publish(case.topic, &body).await.unwrap();
    }
    let heard = channel
        .heard()
        .wait("ephemeral messages", PATIENCE, |heard| {
            (heard.len() >= messages.len()).then(|| heard.to_vec())
        });
    let sent = messages
        .iter()
        .map(|message| (ours.peer().node, message.clone()));
    assert_eq!(heard.await.unwrap(), sent.collect::<Vec<_>>());

    for message in &messages {
        channel.publish(message.clone()).await.unwrap();
    }
    let heard = at_ours(ours.events(), case, published.peer(), 1 + messages.len()).await;
    assert_eq!(heard[1..], messages);
}

/// The first `count` messages that `from` sent, as our node reported them.
async fn at_ours(events: &Log<Event>, case: &Case, from: Peer, count: usize) -> Vec<Message> {
    let bodies = events.wait("ephemeral messages at our node", PATIENCE, |events| {
        let bodies = events.iter().filter_map(|event| match event {
            Event::Ephemeral {
                topic,
                author,
                body,
            } => {
                assert_eq!((*topic, *author), (case.topic, from.node));
                Some(body.clone())
            }
            _ => None,
        });
        let bodies: Vec<_> = bodies.collect();
        (bodies.len() >= count).then_some(bodies)
    });
    let messages = bodies.await.unwrap().into_iter();
    messages
        .map(|body| Message::decode(&body).unwrap())
        .collect()
}
