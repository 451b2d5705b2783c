//! The cost of an empty iroh connection, which is the minimum for a node.

use std::time::Duration;

use super::idle::{figures, spent};
use super::mesh;
use crate::counters::Taken;
use crate::error::Error;
use crate::gossip::Gossiper;
use crate::report::Report;

/// Two processes with an endpoint each and one connection, once it is quiet.
pub async fn run(settle: Duration, time: Duration) -> Result<Report, Error> {
    let (_, places) = mesh::places(2).await?;
    let first_addr = places.first().ok_or(Error::Links)?.addr;
    let mut pair = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let first = (number > 0).then_some(first_addr);
        pair.push(Gossiper::bare(&place.space, number, first).await?);
    }
    let taken = || -> Result<Vec<Taken>, Error> { pair.iter().map(Gossiper::taken).collect() };
    tokio::time::sleep(settle).await;
    let before = taken()?;
    tokio::time::sleep(time).await;
    let spent = spent(&before, &taken()?);
    let mut report = Report::new("a bare connection of iroh");
    figures(&mut report, &spent, None);
    Ok(report)
}
