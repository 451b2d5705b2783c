//! From the start of a node until it has what it lacks, in round trips.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use p2panda_rpc::wire::{Content, Deliver, Event, SyncKind};

use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Node, Setup, topic};
use crate::pair::Pair;
use crate::report::Report;
use crate::shape::Shape;

/// Time limit for a start.
const WITHIN: Duration = Duration::from_secs(60);

/// Starts of each kind. What the slower ones take longer is the machine's.
const STARTS: usize = 3;

/// Cost of one start.
#[derive(Clone, Copy)]
struct Start {
    seconds: f64,
    /// Payload of UDP, both ways.
    bytes: u64,
}

/// The same on a path with and without delay; the difference, in round trips, is what the protocol
/// takes.
pub async fn run(rig: &Rig, delay: Duration) -> Result<Report, Error> {
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(Shape::default()).await?;
    let a = rig.start(&pair.a.space, Setup::new(0)).await?;
    a.subscribe(topic(0), Deliver::Text).await?;
    a.publish(topic(0), Content::text("first"), None).await?;

    let mut starts = Vec::new();
    for (name, delay) in [("near", Duration::ZERO), ("far", delay)] {
        let shape = Shape {
            delay_ms: delay.as_millis() as u64,
            ..Shape::default()
        };
        pair.shape(shape).await?;
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for number in 0..STARTS {
            let dir = dir.path().join(format!("{name}-{number}"));
            first.push(first_message(rig, &pair, &a, &dir).await?);
            again.push(nothing_new(rig, &pair, &a, &dir).await?);
        }
        starts.extend(shortest(&first));
        starts.extend(shortest(&again));
    }
    let [near_first, near_again, far_first, far_again] = &starts[..] else {
        return Err(Error::Late("a start"));
    };
    let round_trip = 2.0 * delay.as_secs_f64();
    // Timers and processes take a few milliseconds more or less.
    let trips = |near: &Start, far: &Start| {
        let trips = (far.seconds - near.seconds) / round_trip;
        Some((trips * 10.0).round() / 10.0)
    };
    let mut report = Report::new(format!("start, {} ms each way", delay.as_millis()));
    let unit = "round trips";
    report.hold(
        "to the first message",
        unit,
        trips(near_first, far_first),
        4.0,
    );
    report.note("to the first message, both ways", "kB", kb(far_first));
    report.hold(
        "again, nothing new",
        unit,
        trips(near_again, far_again),
        2.0,
    );
    report.note("again, nothing new, both ways", "kB", kb(far_again));
    Ok(report)
}

fn shortest(starts: &[Start]) -> Option<Start> {
    let seconds = |one: &&Start, other: &&Start| one.seconds.total_cmp(&other.seconds);
    starts.iter().min_by(seconds).copied()
}

fn kb(start: &Start) -> Option<f64> {
    Some(start.bytes as f64 / 1e3)
}

/// A node starts and receives the message that the other one has.
async fn first_message(rig: &Rig, pair: &Pair, a: &Node, dir: &Path) -> Result<Start, Error> {
    start(rig, pair, a, dir, |event| {
        matches!(event, Event::Message(_))
    })
    .await
}

/// A node starts that has everything, and learns it.
async fn nothing_new(rig: &Rig, pair: &Pair, a: &Node, dir: &Path) -> Result<Start, Error> {
    start(rig, pair, a, dir, |event| match event {
        Event::Sync(sync) => sync.kind == SyncKind::CaughtUp,
        _ => false,
    })
    .await
}

async fn start(
    rig: &Rig,
    pair: &Pair,
    a: &Node,
    dir: &Path,
    reached: fn(&Event) -> bool,
) -> Result<Start, Error> {
    let before = a.taken()?;
    let setup = Setup::new(1).knows(0, pair.a.addr).dir(dir);
    let b: Arc<Node> = rig.start(&pair.b.space, setup).await?;
    b.subscribe(topic(0), Deliver::Text).await?;
    let at = b.until(WITHIN, |seen| {
        let first = seen.iter().find(|seen| reached(&seen.event))?;
        Some(first.at)
    });
    let at = at.await.ok_or(Error::Late("a start"))?;
    let seconds = at.duration_since(b.opened()).as_secs_f64();
    let spent = a.taken()?.since(&before);
    if let Some(b) = Arc::into_inner(b) {
        b.shutdown().await?;
    }
    // The other side sees the end of all sessions before the next start.
    settled(a).await?;
    Ok(Start {
        seconds,
        bytes: spent.sent_bytes + spent.received_bytes,
    })
}

/// Waits until every session that began has ended.
async fn settled(node: &Node) -> Result<(), Error> {
    let ended = node.until(WITHIN, |seen| {
        let count = |kind| {
            let syncs = seen.iter().filter(|seen| match &seen.event {
                Event::Sync(sync) => sync.kind == kind,
                _ => false,
            });
            syncs.count()
        };
        (count(SyncKind::Started) == count(SyncKind::Ended)).then_some(())
    });
    ended.await.ok_or(Error::Late("the end of a session"))
}
