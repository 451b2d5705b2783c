//! The same as `copies`, by iroh-gossip alone: no signatures of ours, no store, nothing comes again
//! that was lost.

use std::time::{Duration, Instant};

use super::copies::{INTERVAL, QUIET, WITHIN, figures};
use super::mesh;
use crate::error::Error;
use crate::gossip::{Gossiper, MESSAGE_BYTES};
use crate::report::Report;

/// Messages of one process to all others, once all is quiet.
pub async fn run(nodes: usize, messages: u32, settle: Duration) -> Result<Report, Error> {
    let (_, places) = mesh::places(nodes).await?;
    let first_addr = places.first().ok_or(Error::Links)?.addr;
    let mut gossipers = Vec::with_capacity(nodes);
    for (number, place) in places.iter().enumerate() {
        let first = (number > 0).then_some(first_addr);
        gossipers.push(Gossiper::start(&place.space, number, first).await?);
    }
    let (first, others) = gossipers.split_first_mut().ok_or(Error::Links)?;
    tokio::time::sleep(settle).await;
    let before_quiet = received(others)?;
    tokio::time::sleep(QUIET).await;
    let before = received(others)?;
    let begun = Instant::now();
    let mut published = Vec::new();
    for number in 1..=u64::from(messages) {
        published.push((number, Instant::now()));
        first.broadcast(number).await?;
        tokio::time::sleep(INTERVAL).await;
    }
    let mut times = Vec::new();
    let deadline = Instant::now() + WITHIN;
    for node in others.iter_mut() {
        for (number, at) in &published {
            let within = deadline.saturating_duration_since(Instant::now());
            if let Some(came) = node.received(*number, within).await {
                times.push(came.duration_since(*at).as_secs_f64() * 1e3);
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let quiet = (before - before_quiet) as f64 / QUIET.as_secs_f64();
    let all = (received(others)? - before) as f64 - quiet * begun.elapsed().as_secs_f64();
    let once = (nodes - 1) * messages as usize * MESSAGE_BYTES;
    let lost = published.len() * (nodes - 1) - times.len();

    let mut report = Report::new(format!("iroh-gossip: {messages} messages to {nodes} nodes"));
    figures(&mut report, all / once as f64, times, lost, None);
    Ok(report)
}

/// Payload that these have received.
fn received(gossipers: &[Gossiper]) -> Result<u64, Error> {
    let bytes = gossipers.iter().map(|one| Ok(one.taken()?.received.bytes));
    bytes.sum()
}
