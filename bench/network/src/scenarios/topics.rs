//! Two nodes with many topics.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_rpc::wire::{Content, Deliver, Event};

use crate::crowd::{Rig, all};
use crate::error::Error;
use crate::network::Network;
use crate::node::{Node, Seen, Setup, topic};
use crate::report::Report;

/// Requests to a node at the same time.
const AT_ONCE: u32 = 64;

/// A message in each topic of one node; the other one joins all of them. What a node takes once, for
/// its first topic and its first session, is not in the figures: both had one before.
pub async fn run(rig: &Rig, topics: u32, wait: Duration, idle: Duration) -> Result<Report, Error> {
    let mut network = Network::new();
    let router = network.space().await?;
    router.forward(true).await?;
    let (a_place, b_place) = (
        network.behind(&router).await?,
        network.behind(&router).await?,
    );
    let mut report = Report::new(format!("{topics} topics"));

    let a = rig.start(&a_place.space, Setup::new(0)).await?;
    join(&a, topics..topics + 1).await?;
    publish(&a, topics..topics + 1).await?;
    let empty = a.taken()?.resident_bytes;
    join(&a, 0..topics).await?;
    let joined = a.taken()?.resident_bytes;
    let per_topic = |after: u64, before: u64| {
        let bytes = after.saturating_sub(before);
        Some(bytes as f64 / f64::from(topics) / 1e3)
    };
    report.hold(
        "subscription without a peer",
        "kB",
        per_topic(joined, empty),
        5.0,
    );
    publish(&a, 0..topics).await?;
    let published = a.taken()?.resident_bytes;

    let b = rig
        .start(&b_place.space, Setup::new(1).knows(0, a_place.addr))
        .await?;
    let first = topics..topics + 1;
    let (joined, _) = tokio::join!(join(&b, first), all_came(&b, 1, wait));
    joined?;
    let (a_first, b_first) = (a.taken()?, b.taken()?);
    let begun = Instant::now();
    let (joined, came) = tokio::join!(join(&b, 0..topics), all_came(&b, topics + 1, wait));
    joined?;
    let until_came = [a.taken()?.since(&a_first), b.taken()?.since(&b_first)];
    let seconds = came.map(|at| at.duration_since(begun).as_secs_f64());
    let bar = match topics {
        ..=1_000 => 1.5,
        _ => wait.as_secs_f64(),
    };
    report.hold("all have come", "s", seconds, bar);
    for (name, spent) in ["had", "joined"].iter().zip(until_came) {
        let name = format!("processor until then, who {name}");
        report.note(&name, "s", Some(spent.processor.as_secs_f64()));
    }
    if came.is_none() {
        let came = b.seen(|seen| seen.iter().filter(|seen| is_message(seen)).count());
        let lacking = f64::from(topics + 1) - came as f64;
        report.note("topics without their message", "", Some(lacking));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (a_before, b_before) = (a.taken()?, b.taken()?);
    let (a_cost, b_cost) = (
        per_topic(a_before.resident_bytes, published),
        per_topic(b_before.resident_bytes, b_first.resident_bytes),
    );
    report.hold("resident per topic, who had it", "kB", a_cost, 20.0);
    report.hold("resident per topic, who joined", "kB", b_cost, 20.0);
    let most = a_before.resident_bytes.max(b_before.resident_bytes);
    report.hold("resident", "MB", Some(most as f64 / 1e6), 250.0);
    tokio::time::sleep(idle).await;
    for (name, node, before) in [("had", &a, a_before), ("joined", &b, b_before)] {
        let spent = node.taken()?.since(&before);
        let part = spent.processor.as_secs_f64() / spent.seconds * 100.0;
        let name = format!("processor after that, who {name}");
        report.hold(&name, "% of a core", Some(part), 0.5);
    }
    Ok(report)
}

/// A request in each topic.
async fn in_each<F>(
    node: &Arc<Node>,
    topics: Range<u32>,
    request: fn(Arc<Node>, u32) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    for first in topics.clone().step_by(AT_ONCE as usize) {
        let some = first..topics.end.min(first + AT_ONCE);
        all(some.map(|number| request(Arc::clone(node), number))).await?;
    }
    Ok(())
}

/// When the last message had come.
async fn all_came(node: &Node, topics: u32, within: Duration) -> Option<Instant> {
    let (mut looked, mut came) = (0, 0);
    node.until(within, |seen| {
        let new = seen.get(looked..).unwrap_or_default();
        came += new.iter().filter(|seen| is_message(seen)).count();
        looked = seen.len();
        let last = seen.last()?.at;
        (came >= topics as usize).then_some(last)
    })
    .await
}

fn is_message(seen: &Seen) -> bool {
    matches!(seen.event, Event::Message(_))
}

async fn publish(node: &Arc<Node>, topics: Range<u32>) -> Result<(), Error> {
    in_each(node, topics, |node, number| async move {
        let content = Content::text("one");
        node.publish(topic(number), content, None).await.map(drop)
    })
    .await
}

async fn join(node: &Arc<Node>, topics: Range<u32>) -> Result<(), Error> {
    in_each(node, topics, |node, number| async move {
        node.subscribe(topic(number), Deliver::Text).await
    })
    .await
}
