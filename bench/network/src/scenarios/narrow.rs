//! A radio link: low rate, long delay, some loss.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use p2panda_rpc::wire::{Content, Deliver};

use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Setup, topic};
use crate::pair::Pair;
use crate::report::Report;
use crate::shape::Shape;

/// Bytes of content of a message.
const MESSAGE_BYTES: u32 = 100;

/// Nodes that have the defaults for a slow link.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Slow {
    /// Nobody.
    Nobody,
    /// The node that starts, and dials the other one.
    Dialler,
    /// Both nodes.
    Both,
}

/// A node starts and receives what the other one has.
pub async fn run(
    rig: &Rig,
    shape: Shape,
    messages: u32,
    low_bandwidth: Slow,
    wait: Duration,
) -> Result<Report, Error> {
    let both = low_bandwidth == Slow::Both;
    let pair = Pair::new(shape).await?;
    let a = rig
        .start(&pair.a.space, Setup::new(0).low_bandwidth(both))
        .await?;
    a.subscribe(topic(0), Deliver::Count).await?;
    let content = Content {
        size: Some(MESSAGE_BYTES),
        ..Content::default()
    };
    a.publish(topic(0), content, Some(messages)).await?;

    let before = a.taken()?;
    let begun = Instant::now();
    let setup = Setup::new(1).knows(0, pair.a.addr);
    let setup = setup.low_bandwidth(low_bandwidth != Slow::Nobody);
    let b = rig.start(&pair.b.space, setup).await?;
    b.subscribe(topic(0), Deliver::Count).await?;
    let all = b.holds(topic(0), u64::from(messages), wait).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = {
        let (a, b) = (a.taken()?.since(&before), b.taken()?);
        a.sent_bytes + b.sent.bytes
    };
    let payload = a.stored_bytes(topic(0)).await?;

    let name = format!(
        "{} bit/s, {} ms, {} % loss, {messages} messages{}",
        shape.rate_bits,
        shape.delay_ms,
        shape.loss * 100.0,
        match low_bandwidth {
            Slow::Nobody => "",
            Slow::Dialler => ", low bandwidth of the dialler alone",
            Slow::Both => ", low bandwidth",
        }
    );
    let mut report = Report::new(name);
    let bar = match shape.rate_bits {
        0..10_000 => wait.as_secs_f64(),
        _ => 60.0,
    };
    report.hold("all have come", "s", all.then_some(seconds), bar);
    let times = bytes as f64 / payload as f64;
    report.hold(
        "both ways, of header and body",
        "×",
        all.then_some(times),
        1.5,
    );
    report.note("both ways", "kB", Some(bytes as f64 / 1e3));
    Ok(report)
}
