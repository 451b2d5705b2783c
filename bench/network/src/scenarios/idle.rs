//! The cost of idle nodes.

use std::time::Duration;

use p2panda_rpc::wire::Deliver;

use super::mesh;
use crate::counters::{Spent, Taken};
use crate::crowd::{Crowd, Rig, all};
use crate::error::Error;
use crate::node::topic;
use crate::report::Report;

/// Time limit for the first messages.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// Subscriptions of a node at the same time.
const TOPICS_AT_ONCE: u32 = 64;

/// Bytes per minute and wake-ups per second of a node, in the mean, once all is quiet.
pub async fn run(
    rig: &Rig,
    nodes: usize,
    topics: u32,
    settle: Duration,
    time: Duration,
) -> Result<Report, Error> {
    let mut crowd = rig.crowd(mesh::setups(nodes).await?).await?;
    crowd.publish(&[0]).await?;
    if crowd.spread(FIRST_WITHIN).await?.lacking > 0 {
        return Err(Error::Late("the first message"));
    }
    join_more(&crowd, topics).await?;
    tokio::time::sleep(settle).await;
    let before = taken(&crowd)?;
    tokio::time::sleep(time).await;
    let spent = spent(&before, &taken(&crowd)?);
    let mut report = Report::new(format!("{nodes} idle nodes, topics: {topics}"));
    let bars = match (nodes, topics) {
        (2, 1) => (2.0, 1.0),
        (2, _) => (4.0, 2.0),
        _ => (20.0, 5.0),
    };
    figures(&mut report, &spent, Some(bars));
    Ok(report)
}

/// Returns what each of them has spent meanwhile.
pub fn spent(before: &[Taken], after: &[Taken]) -> Vec<Spent> {
    let pairs = after.iter().zip(before);
    pairs.map(|(after, before)| after.since(before)).collect()
}

/// The mean of them, held to a bar for kilobytes in a minute and one for wake-ups in a second.
pub fn figures(report: &mut Report, spent: &[Spent], bars: Option<(f64, f64)>) {
    let mean = |of: fn(&Spent) -> f64| {
        let sum: f64 = spent.iter().map(|spent| of(spent) / spent.seconds).sum();
        sum / spent.len() as f64
    };
    let sent_kb_per_minute = mean(|spent| spent.sent_bytes as f64) * 60.0 / 1e3;
    let wakes = mean(|spent| spent.wakes as f64);
    let datagrams = mean(|spent| spent.sent_packets as f64) * 60.0;
    let processor = mean(|spent| spent.processor.as_secs_f64()) * 100.0;
    // Of two nodes everything that crosses counts, of more what each one sends.
    let (bytes_name, bytes) = match spent.len() {
        2 => ("both ways, per minute", 2.0 * sent_kb_per_minute),
        _ => ("sent per node and minute", sent_kb_per_minute),
    };
    let wakes_name = "wake-ups per node and second";
    match bars {
        Some((bytes_bar, wakes_bar)) => {
            report.hold(bytes_name, "kB", Some(bytes), bytes_bar);
            report.hold(wakes_name, "", Some(wakes), wakes_bar);
        }
        None => {
            report.note(bytes_name, "kB", Some(bytes));
            report.note(wakes_name, "", Some(wakes));
        }
    }
    report.note("datagrams sent per node and minute", "", Some(datagrams));
    report.note("processor per node", "% of a core", Some(processor));
}

/// All nodes subscribe to further topics.
async fn join_more(crowd: &Crowd, topics: u32) -> Result<(), Error> {
    for first in (1..topics).step_by(TOPICS_AT_ONCE as usize) {
        let some = first..topics.min(first + TOPICS_AT_ONCE);
        let joins = crowd.nodes().iter().flat_map(|node| {
            let some = some.clone();
            some.map(move |number| (node.clone(), topic(number)))
        });
        let joins =
            joins.map(|(node, topic)| async move { node.subscribe(topic, Deliver::Count).await });
        all(joins).await?;
    }
    Ok(())
}

fn taken(crowd: &Crowd) -> Result<Vec<Taken>, Error> {
    crowd.nodes().iter().map(|node| node.taken()).collect()
}
