//! A name with acknowledgements on top of a cursor.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_store::FeedEntry;

use crate::Error;
use crate::ended::Ended;
use crate::inner::acks::Acks;
use crate::inner::cursor::{Cursor, Start};
use crate::inner::topic::TopicState;
use crate::node::Node;
use crate::stream::{Ack, StartAt};

/// Reads topics under a name. What was acknowledged under that name does not come again to anyone
/// who resumes it.
#[derive(Debug)]
pub(crate) struct Consumer {
    cursor: Cursor,
    policy: Ack,
    /// By the place of the topic.
    acks: Vec<Arc<Acks>>,
    /// Place and offset of what was handed out and not acknowledged yet, under the automatic policy.
    handed_out: Option<(usize, u64)>,
}

/// An entry and where to acknowledge it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) entry: FeedEntry,
    pub(crate) acks: Arc<Acks>,
}

impl Consumer {
    pub(crate) async fn open(
        node: &Node,
        name: String,
        topics: &[(Topic, Arc<TopicState>)],
        start: StartAt,
        policy: Ack,
    ) -> Result<Self, Error> {
        let name: Arc<str> = name.into();
        let mut starts = Vec::with_capacity(topics.len());
        let mut acks = Vec::with_capacity(topics.len());
        for (topic, state) in topics {
            starts.push((start_of(node, &name, *topic, start).await?, state.feed()));
            acks.push(state.acks(&name));
        }
        Ok(Self {
            cursor: Cursor::new(node, starts),
            policy,
            acks,
            handed_out: None,
        })
    }

    /// The next entry. Under [`Ack::Automatic`], asking for it acknowledges the one before.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Ended> {
        if let (Ack::Automatic, Some((place, offset))) = (self.policy, self.handed_out.take())
            && let Some(acks) = self.acks.get(place)
        {
            acks.ack_soon(offset);
        }
        loop {
            let (place, entry) = self.cursor.next().await?;
            if let Some(acks) = self.acks.get(place) {
                self.handed_out = Some((place, entry.offset));
                let acks = Arc::clone(acks);
                return Ok(Delivery { entry, acks });
            }
        }
    }
}

/// The consumer into which all handles of a topic acknowledge.
pub(crate) fn of_topic(topic: &Topic) -> String {
    format!("topic {}", topic.log_id())
}

async fn start_of(
    node: &Node,
    name: &Arc<str>,
    topic: Topic,
    start: StartAt,
) -> Result<Start, Error> {
    let storage = node.storage();
    let (after, skip_until) = match start {
        StartAt::Beginning => (0, 0),
        StartAt::Offset(offset) => (offset.saturating_sub(1), 0),
        StartAt::Now => {
            let last = storage.read(move |reader| reader.last_offset(&topic));
            (last.await?, 0)
        }
        StartAt::Resume => {
            let consumer = Arc::clone(name);
            let places = storage.read(move |reader| {
                let last = reader.last_offset(&topic)?;
                Ok((reader.consumer_prefix(&consumer, &topic)?, last))
            });
            places.await?
        }
    };
    Ok(Start {
        topic,
        after,
        skip_acked: (skip_until > 0).then(|| (Arc::clone(name), skip_until)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::net::{Ipv4Addr, SocketAddrV4};
    use std::time::Duration;

    use p2panda_core::NetworkId;

    use super::*;
    use crate::Mdns;

    async fn node() -> Node {
        let builder = crate::builder()
            .network_id(NetworkId::from_bytes(
                *crate::random_topic().unwrap().as_bytes(),
            ))
            .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
            .mdns(Mdns::Off)
            .temporary();
        builder.spawn().await.unwrap()
    }

    async fn open(node: &Node, topics: &[Topic], start: StartAt) -> Consumer {
        let mut states = Vec::new();
        for topic in topics {
            states.push((*topic, node.join(*topic).await.unwrap()));
        }
        let name = "search".to_owned();
        let consumer = Consumer::open(node, name, &states, start, Ack::Explicit);
        consumer.await.unwrap()
    }

    /// Waits longer than anything takes; reaching the end of that is a failure, not a delay.
    async fn next(consumer: &mut Consumer) -> Result<Delivery, Ended> {
        let next = tokio::time::timeout(Duration::from_secs(60), consumer.next());
        next.await.expect("an entry or the end in time")
    }

    async fn text(consumer: &mut Consumer) -> String {
        let delivery = next(consumer).await.unwrap();
        let body = delivery.entry.content.bytes().unwrap();
        crate::body::text(body).unwrap().to_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_of_several_topics_come_in_offset_order() {
        let node = node().await;
        let topics = [1, 2, 3].map(|byte| Topic::from_bytes([byte; 32]));
        let mut streams = Vec::new();
        for topic in topics {
            streams.push(node.stream(topic).await.unwrap());
        }
        let sent: Vec<String> = (0..600).map(|number| number.to_string()).collect();
        for (text, (tx, _)) in sent.iter().zip(streams.iter().cycle()) {
            tx.publish(text.as_str()).await.unwrap();
        }
        let mut consumer = open(&node, &topics, StartAt::Beginning).await;
        for expected in &sent {
            assert_eq!(text(&mut consumer).await, *expected);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn any_topic_wakes_the_consumer_until_the_last_one_ends() {
        let node = node().await;
        let topics = [1, 2].map(|byte| Topic::from_bytes([byte; 32]));
        let (one, _rx) = node.stream(Topic::from_bytes([1; 32])).await.unwrap();
        let (two, _rx) = node.stream(Topic::from_bytes([2; 32])).await.unwrap();
        let mut consumer = open(&node, &topics, StartAt::Now).await;
        for tx in [&one, &two, &one] {
            let (came, published) = tokio::join!(text(&mut consumer), tx.publish("new"));
            published.unwrap();
            assert_eq!(came, "new");
        }
        let [first, second] = topics;
        node.topic(first).leave().await;
        two.publish("still").await.unwrap();
        assert_eq!(text(&mut consumer).await, "still");
        node.topic(second).leave().await;
        assert!(matches!(next(&mut consumer).await, Err(Ended::Left)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_name_has_acknowledgements_of_its_own() {
        let node = node().await;
        let topic = Topic::from_bytes([1; 32]);
        let (tx, mut rx) = node.stream(topic).await.unwrap();
        for text in ["one", "two", "three"] {
            tx.publish(text).await.unwrap();
        }
        let mut consumer = open(&node, &[topic], StartAt::Resume).await;
        let second = {
            next(&mut consumer).await.unwrap();
            next(&mut consumer).await.unwrap()
        };
        second.acks.ack_now(second.entry.offset).await.unwrap();
        // Another start of the same name.
        let mut again = open(&node, &[topic], StartAt::Resume).await;
        assert_eq!(text(&mut again).await, "one");
        assert_eq!(text(&mut again).await, "three");
        // The topic's own consumer has acknowledged nothing.
        assert_eq!(rx.next().await.unwrap().text().unwrap(), "one");
        assert_eq!(rx.next().await.unwrap().text().unwrap(), "two");
    }
}
