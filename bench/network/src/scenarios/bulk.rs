//! Small messages while a large one crosses between the same two nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_core::Topic;
use p2panda_rpc::wire::{Content, Deliver, Event, Message};

use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Node, Setup, topic};
use crate::pair::Pair;
use crate::report::{Report, percentile};
use crate::shape::Shape;

/// Content of the large message.
const LARGE_BYTES: u32 = 15 * 1024 * 1024;
/// Largest operation that a node takes.
const OPERATION_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// One small message each.
const INTERVAL: Duration = Duration::from_millis(10);
/// Time limit for a message.
const WITHIN: Duration = Duration::from_secs(60);
/// Small messages when nothing else crosses.
const ALONE: usize = 100;

/// Kind of the small messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Small {
    /// On another topic, from the sender of the large one.
    AnotherTopic,
    /// On the same topic, from its receiver.
    OtherWay,
    /// On the same topic, by a node behind the sender, which passes them on: an author's own log stays
    /// in order.
    AnotherAuthor,
}

/// Sender and receiver of the large message, and of the small ones.
struct Ends {
    a: Arc<Node>,
    b: Arc<Node>,
    sender: Arc<Node>,
    receiver: Arc<Node>,
    small: Topic,
}

impl Ends {
    fn sender(&self) -> &Node {
        &self.sender
    }

    fn receiver(&self) -> &Node {
        &self.receiver
    }
}

/// Latency of small messages alone and next to the large one.
pub async fn run(rig: &Rig, which: Small, shape: Shape) -> Result<Report, Error> {
    let other_topic = which == Small::AnotherTopic;
    let (large, small) = (topic(0), topic(u32::from(other_topic)));
    let mut pair = Pair::new(shape).await?;
    let setup = |number| Setup::new(number).operation_bytes_max(OPERATION_BYTES_MAX);
    let a = rig.start(&pair.a.space, setup(0)).await?;
    let b_setup = setup(1).knows(0, pair.a.addr);
    let b = rig.start(&pair.b.space, b_setup).await?;
    let (sender, receiver) = match which {
        Small::AnotherTopic => (a.clone(), b.clone()),
        Small::OtherWay => (b.clone(), a.clone()),
        Small::AnotherAuthor => {
            // As far away as the receiver: what it publishes when it has the large one waits for that.
            let place = pair.beside_a(shape).await?;
            let c_setup = setup(2).knows(0, pair.a.addr);
            let c = rig.start(&place.space, c_setup).await?;
            c.subscribe(large, Deliver::Text).await?;
            (c, b.clone())
        }
    };
    let ends = Ends {
        a,
        b,
        sender,
        receiver,
        small,
    };
    for node in [&ends.a, &ends.b] {
        node.subscribe(large, Deliver::Text).await?;
        if other_topic {
            node.subscribe(small, Deliver::Text).await?;
        }
    }
    let (first, _) = publish(ends.sender(), small).await?;
    let warm = arrived(ends.receiver(), ends.sender(), small, first).await;
    warm.ok_or(Error::Late("the first message"))?;

    let mut alone = Vec::new();
    for _ in 0..ALONE {
        alone.push(publish(ends.sender(), small).await?);
        tokio::time::sleep(INTERVAL).await;
    }
    let alone = latencies(&ends, &alone).await;
    let before = (
        ends.a.taken()?.resident_bytes,
        ends.b.taken()?.resident_bytes,
    );
    let (seconds, beside) = while_large(&ends, large).await?;
    let beside = latencies(&ends, &beside).await;
    let copies = |node: &Node, before: u64| -> Result<f64, Error> {
        let above = node.taken()?.resident_peak_bytes.saturating_sub(before);
        Ok(above as f64 / f64::from(LARGE_BYTES))
    };

    let which = match which {
        Small::AnotherTopic => "on another topic",
        Small::OtherWay => "on the same topic",
        Small::AnotherAuthor => "by another author",
    };
    let mut report = Report::new(format!("small beside 15 MiB {which}"));
    let alone = percentile(alone, 0.5);
    report.note("alone, p50", "ms", alone);
    report.note(
        "beside the large one, messages",
        "",
        Some(beside.len() as f64),
    );
    let p50 = percentile(beside.clone(), 0.5);
    report.note("beside the large one, p50", "ms", p50);
    report.note("beside the large one, p95", "ms", percentile(beside, 0.95));
    let times = p50.zip(alone).map(|(beside, alone)| beside / alone);
    report.hold("beside the large one, times", "", times, 1.5);
    report.note("the large one", "s", Some(seconds));
    let (sender, receiver) = (copies(&ends.a, before.0)?, copies(&ends.b, before.1)?);
    report.hold("resident copies, sender", "", Some(sender), 2.0);
    report.hold("resident copies, receiver", "", Some(receiver), 2.0);
    Ok(report)
}

/// The small message `seq` of a topic was received.
async fn arrived(to: &Node, from: &Node, topic: Topic, seq: u32) -> Option<Instant> {
    to.until(WITHIN, |seen| {
        let this = seen.iter().find(|seen| match &seen.event {
            Event::Message(Message::Text(message)) => {
                (message.topic, message.author, message.seq) == (topic, from.id(), seq)
            }
            _ => false,
        });
        this.map(|seen| seen.at)
    })
    .await
}

/// A message's place in the log, and when it was to be published.
type Published = (u32, Instant);

async fn publish(node: &Node, topic: Topic) -> Result<Published, Error> {
    let at = Instant::now();
    let seq = node.publish(topic, Content::text("small"), None).await?;
    Ok((seq, at))
}

/// Publishes small messages from when the large one is stored until it has arrived.
async fn while_large(ends: &Ends, large_topic: Topic) -> Result<(f64, Vec<Published>), Error> {
    let large = Content {
        size: Some(LARGE_BYTES),
        ..Content::default()
    };
    let seq = ends.a.publish(large_topic, large, None).await?;
    let begun = Instant::now();
    let arrives = arrived(&ends.b, &ends.a, large_topic, seq);
    let mut arrives = std::pin::pin!(arrives);
    let mut beside = Vec::new();
    loop {
        tokio::select! {
            at = &mut arrives => {
                let at = at.ok_or(Error::Late("the large message"))?;
                return Ok((at.duration_since(begun).as_secs_f64(), beside));
            }
            () = tokio::time::sleep(INTERVAL) => {
                beside.push(publish(ends.sender(), ends.small).await?);
            }
        }
    }
}

/// In milliseconds.
async fn latencies(ends: &Ends, published: &[Published]) -> Vec<f64> {
    let mut latencies = Vec::new();
    for (seq, at) in published {
        if let Some(came) = arrived(ends.receiver(), ends.sender(), ends.small, *seq).await {
            latencies.push(came.duration_since(*at).as_secs_f64() * 1e3);
        }
    }
    latencies
}
