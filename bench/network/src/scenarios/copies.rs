//! Counts how often an operation crosses for everybody to have it, and measures how long it takes.

use std::time::{Duration, Instant};

use p2panda_rpc::wire::{Content, Event, Message};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::mesh;
use crate::counters::Taken;
use crate::crowd::{Crowd, Rig};
use crate::error::Error;
use crate::network::{Place, Space};
use crate::report::{Report, percentile};

/// Time limit for the first message, and for the last.
pub const WITHIN: Duration = Duration::from_secs(60);
/// Bytes of text of a message: what QUIC adds to it is little.
const MESSAGE_BYTES: usize = 8_192;
/// One message each.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Over which the traffic without messages is measured.
pub const QUIET: Duration = Duration::from_secs(10);
/// Of 8 nodes that sent each operation over all links (commit 48f22cc, docs/performance/network.md).
const FLOODED_P50_MS: f64 = 7.61;
/// Time for which a link stays down under churn, and for which all are up before the next one.
const CHURN: Duration = Duration::from_secs(2);
/// Seed that decides which link goes down.
const SEED: u64 = 13;

/// Messages of one node to all others, once all is quiet. Under churn one receiver's link after the
/// other goes down meanwhile.
pub async fn run(
    rig: &Rig,
    nodes: usize,
    messages: u32,
    settle: Duration,
    churn: bool,
) -> Result<Report, Error> {
    let (router, places) = mesh::places(nodes).await?;
    let mut crowd = rig.crowd(mesh::setups_at(&places)?).await?;
    crowd.publish(&[0]).await?;
    if crowd.spread(WITHIN).await?.lacking > 0 {
        return Err(Error::Late("the first message"));
    }
    tokio::time::sleep(settle).await;
    let before_quiet = received(&crowd)?;
    tokio::time::sleep(QUIET).await;
    let before = received(&crowd)?;
    let begun = Instant::now();
    let published = if churn {
        let switched = switch(&router, &places, messages);
        tokio::try_join!(publish(&crowd, messages), switched)?.0
    } else {
        publish(&crowd, messages).await?
    };
    let times = latencies(&crowd, &published).await;
    // What is still on its way for nothing counts as well.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let quiet = (before - before_quiet) as f64 / QUIET.as_secs_f64();
    let all = (received(&crowd)? - before) as f64 - quiet * begun.elapsed().as_secs_f64();
    let receivers = (nodes - 1) as f64;
    let once = receivers * f64::from(messages) * MESSAGE_BYTES as f64;

    let expected = published.len() * (nodes - 1);
    let lost = expected - times.len();
    let (name, bar) = match churn {
        true => (
            format!("{messages} messages to {nodes} nodes under churn"),
            1.3,
        ),
        false => (format!("{messages} messages to {nodes} nodes"), 1.1),
    };
    let mut report = Report::new(name);
    figures(&mut report, all / once, times.clone(), lost, Some(bar));
    if nodes == 8 && !churn {
        let flooded = percentile(times, 0.5).map(|p50| p50 / FLOODED_P50_MS);
        report.hold("p50, of that of flooding", "×", flooded, 1.3);
    }
    Ok(report)
}

/// One link after the other goes down and comes up, while this many messages are published.
async fn switch(router: &Space, places: &[Place], messages: u32) -> Result<(), Error> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let end = Instant::now() + INTERVAL * messages;
    while Instant::now() + CHURN < end {
        // The first one publishes.
        let place = rng.random_range(1..places.len());
        let place = places.get(place).ok_or(Error::Links)?;
        router.switch(&place.link, false).await?;
        tokio::time::sleep(CHURN).await;
        router.switch(&place.link, true).await?;
        tokio::time::sleep(CHURN).await;
    }
    Ok(())
}

/// Payload that a receiver gets, of the messages', and when they come.
pub fn figures(report: &mut Report, copies: f64, times: Vec<f64>, lost: usize, bar: Option<f64>) {
    let name = "received per receiver, of the payload";
    match bar {
        Some(bar) => report.hold(name, "×", Some(copies), bar),
        None => report.note(name, "×", Some(copies)),
    }
    let (p50, p99) = (percentile(times.clone(), 0.5), percentile(times, 0.99));
    report.note("publish to application, p50", "ms", p50);
    report.note("publish to application, p99", "ms", p99);
    report.hold("did not arrive", "", Some(lost as f64), 0.0);
}

/// The first node publishes. Gives place in the log and time of each.
async fn publish(crowd: &Crowd, messages: u32) -> Result<Vec<(u32, Instant)>, Error> {
    let first = crowd.nodes().first().ok_or(Error::Links)?;
    let text = "a".repeat(MESSAGE_BYTES);
    let mut published = Vec::new();
    for _ in 0..messages {
        let at = Instant::now();
        let seq = first
            .publish(crowd.topic(), Content::text(&text), None)
            .await?;
        published.push((seq, at));
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(published)
}

/// Of each message at each receiver, in milliseconds.
async fn latencies(crowd: &Crowd, published: &[(u32, Instant)]) -> Vec<f64> {
    let mut latencies = Vec::new();
    let Some((first, others)) = crowd.nodes().split_first() else {
        return latencies;
    };
    let deadline = Instant::now() + WITHIN;
    for node in others {
        for (seq, at) in published {
            let within = deadline.saturating_duration_since(Instant::now());
            let came = node.until(within, |seen| {
                let mine = seen.iter().find(|seen| match &seen.event {
                    Event::Message(Message::Text(message)) => {
                        message.author == first.id() && message.seq == *seq
                    }
                    _ => false,
                });
                mine.map(|seen| seen.at)
            });
            if let Some(came) = came.await {
                latencies.push(came.duration_since(*at).as_secs_f64() * 1e3);
            }
        }
    }
    latencies
}

/// Payload that all but the first node have received.
fn received(crowd: &Crowd) -> Result<u64, Error> {
    let others = crowd.nodes().iter().skip(1);
    let taken: Vec<Taken> = others.map(|node| node.taken()).collect::<Result<_, _>>()?;
    Ok(taken.iter().map(|taken| taken.received.bytes).sum())
}
