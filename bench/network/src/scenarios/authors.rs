//! Two nodes with operations of many authors, of which one lacks a few.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_rpc::wire::{Deliver, ImportedOperation};

use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Node, Setup, topic};
use crate::operations;
use crate::pair::Pair;
use crate::report::Report;
use crate::shape::Shape;

/// Operations of one import.
const IMPORT_OPERATIONS: usize = 2_000;

/// Cost of a meeting.
struct Meeting {
    seconds: Option<f64>,
    /// Payload of UDP, both ways.
    bytes: u64,
    /// Above what was resident before, of anyone who lacks.
    resident_bytes: u64,
}

/// When a meeting is over.
#[derive(Clone, Copy)]
enum Until {
    /// When who lacks has this many operations, or the time is up.
    Has(u32, Duration),
    /// After that time.
    Passed(Duration),
}

/// Bytes both ways, and round trips: the same on a path with and without delay, the difference.
/// How much of the bytes is due to what is missing shows a meeting as long of two nodes that have
/// the same.
pub async fn run(
    rig: &Rig,
    authors: u32,
    missing: u32,
    delay: Duration,
    wait: Duration,
) -> Result<Report, Error> {
    let operations = operations::logs(topic(0), authors, 1)?;
    let known = operations.len().saturating_sub(missing as usize);
    let dir = tempfile::tempdir()?;
    let [full, lacking, equal] = ["full", "lacking", "equal"].map(|name| dir.path().join(name));
    let mut pair = Pair::new(Shape::default()).await?;
    fill(rig, &pair, 0, &full, &operations).await?;
    fill(rig, &pair, 1, &equal, &operations).await?;
    fill(
        rig,
        &pair,
        1,
        &lacking,
        operations.get(..known).unwrap_or_default(),
    )
    .await?;
    drop(operations);

    let mut meetings = Vec::new();
    for (name, delay) in [("near", Duration::ZERO), ("far", delay)] {
        let shape = Shape {
            delay_ms: delay.as_millis() as u64,
            ..Shape::default()
        };
        pair.shape(shape).await?;
        // A node that met another one remembers where it was.
        let copies = [(&full, "full"), (&lacking, "lacking")].map(|(dir, which)| {
            let copy = dir.with_file_name(format!("{name}-{which}"));
            copy_files(dir, &copy).map(|()| copy)
        });
        let [full, lacking] = copies;
        let dirs = (full?, lacking?);
        let until = Until::Has(authors, wait);
        meetings.push(meet(rig, &pair, &dirs, until).await?);
        std::fs::remove_dir_all(&dirs.0)?;
        std::fs::remove_dir_all(&dirs.1)?;
    }
    let [near, far] = &meetings[..] else {
        return Err(Error::Late("a meeting"));
    };
    pair.shape(Shape::default()).await?;
    let same = Duration::from_secs_f64(near.seconds.unwrap_or_default());
    let alike = meet(rig, &pair, &(full, equal), Until::Passed(same)).await?;
    let bar = if authors > 100_000 { 30.0 } else { 20.0 };
    let mut report = Report::new(format!("{authors} authors, {missing} missing"));
    let bytes = near.bytes as f64 / 1e3;
    report.hold("both ways, from the dial", "kB", Some(bytes), bar);
    let difference = (near.bytes as f64 - alike.bytes as f64) / 1e3;
    report.hold(
        "more than where nothing is missing",
        "kB",
        Some(difference),
        bar,
    );
    report.hold("all have come", "s", near.seconds, wait.as_secs_f64());
    let trips = near
        .seconds
        .zip(far.seconds)
        .map(|(near, far)| (far - near) / (2.0 * delay.as_secs_f64()));
    report.hold(
        "round trips from the dial",
        "",
        trips,
        4.0 + CONNECTION_ROUND_TRIPS,
    );
    let resident = near.resident_bytes as f64 / 1e6;
    report.note("resident above before, who lacked", "MB", Some(resident));
    Ok(report)
}

/// Round trips of a connection's handshake, before a session begins.
const CONNECTION_ROUND_TRIPS: f64 = 2.0;

/// A directory with operations, and the key of a node.
pub async fn fill(
    rig: &Rig,
    pair: &Pair,
    number: usize,
    dir: &Path,
    operations: &[ImportedOperation],
) -> Result<(), Error> {
    let setup = Setup::new(number).dir(dir);
    let node = rig.start(&pair.a.space, setup).await?;
    for some in operations.chunks(IMPORT_OPERATIONS) {
        node.import(topic(0), some.to_vec()).await?;
    }
    end(node).await
}

/// Both nodes start, and then one of them dials the other.
async fn meet(
    rig: &Rig,
    pair: &Pair,
    (full, lacking): &(PathBuf, PathBuf),
    until: Until,
) -> Result<Meeting, Error> {
    let a = rig.start(&pair.a.space, Setup::new(0).dir(full)).await?;
    let b = rig.start(&pair.b.space, Setup::new(1).dir(lacking)).await?;
    for node in [&a, &b] {
        node.subscribe(topic(0), Deliver::Count).await?;
    }
    // The replay of what is there is over, and its memory counts as before.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = (a.taken()?, b.taken()?);
    let begun = Instant::now();
    b.add_peer(a.id(), pair.a.addr).await?;
    let all = match until {
        Until::Has(operations, wait) => b.holds(topic(0), u64::from(operations), wait).await?,
        Until::Passed(time) => {
            tokio::time::sleep(time).await;
            true
        }
    };
    let seconds = all.then(|| begun.elapsed().as_secs_f64());
    let (a_taken, b_taken) = (a.taken()?, b.taken()?);
    let sent = a_taken.since(&before.0).sent_bytes + b_taken.since(&before.1).sent_bytes;
    end(a).await?;
    end(b).await?;
    Ok(Meeting {
        seconds,
        bytes: sent,
        resident_bytes: b_taken
            .resident_peak_bytes
            .saturating_sub(before.1.resident_bytes),
    })
}

pub async fn end(node: Arc<Node>) -> Result<(), Error> {
    match Arc::into_inner(node) {
        Some(node) => node.shutdown().await,
        None => Ok(()),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
