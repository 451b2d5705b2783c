//! The cost of serving many short logs, relative to one long log.

use std::path::Path;
use std::time::{Duration, Instant};

use p2panda_rpc::wire::Deliver;

use super::authors::{end, fill};
use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Setup, topic};
use crate::operations;
use crate::pair::Pair;
use crate::report::Report;
use crate::shape::Shape;

/// Cost of a catch-up.
struct Served {
    seconds: Option<f64>,
    /// Processor time of the node that serves.
    processor: f64,
}

/// A node serves the same number of operations twice: of many authors, and of one.
pub async fn run(rig: &Rig, authors: u32, each: u32, wait: Duration) -> Result<Report, Error> {
    let pair = Pair::new(Shape::default()).await?;
    let many = serve(rig, &pair, authors, each, wait).await?;
    let one = serve(rig, &pair, 1, authors * each, wait).await?;
    let mut report = Report::new(format!("{authors} authors with {each} operations each"));
    let bar = wait.as_secs_f64();
    report.hold("all have come", "s", many.seconds, bar);
    report.hold("one log of as many: all have come", "s", one.seconds, bar);
    report.note("processor to serve", "s", Some(many.processor));
    report.note("processor to serve one log", "s", Some(one.processor));
    let times = many.processor / one.processor;
    report.hold("processor, of one log's", "×", Some(times), 2.0);
    Ok(report)
}

async fn serve(
    rig: &Rig,
    pair: &Pair,
    authors: u32,
    each: u32,
    wait: Duration,
) -> Result<Served, Error> {
    let dir = tempfile::tempdir()?;
    let full = dir.path().join("full");
    let operations = operations::logs(topic(0), authors, each)?;
    let all = operations.len() as u64;
    fill(rig, pair, 0, &full, &operations).await?;
    drop(operations);
    meet(rig, pair, &full, all, wait).await
}

async fn meet(
    rig: &Rig,
    pair: &Pair,
    full: &Path,
    operations: u64,
    wait: Duration,
) -> Result<Served, Error> {
    let a = rig.start(&pair.a.space, Setup::new(0).dir(full)).await?;
    let b = rig.start(&pair.b.space, Setup::new(1)).await?;
    for node in [&a, &b] {
        node.subscribe(topic(0), Deliver::Count).await?;
    }
    // The replay of what is there is over.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = a.taken()?;
    let begun = Instant::now();
    b.add_peer(a.id(), pair.a.addr).await?;
    let came = b.holds(topic(0), operations, wait).await?;
    let seconds = came.then(|| begun.elapsed().as_secs_f64());
    let spent = a.taken()?.since(&before);
    end(a).await?;
    end(b).await?;
    Ok(Served {
        seconds,
        processor: spent.processor.as_secs_f64(),
    })
}
