//! A publisher that is killed as soon as it is told that a peer has everything.

use std::time::{Duration, Instant};

use p2panda_rpc::wire::{Content, Deliver};

use crate::crowd::Rig;
use crate::error::Error;
use crate::node::{Setup, topic};
use crate::pair::Pair;
use crate::report::Report;
use crate::shape::Shape;

/// Time limit until the peer has it.
const WITHIN: Duration = Duration::from_secs(60);
/// What was acknowledged may still have to be stored, and what was stored to be read.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Published messages.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub messages: u32,
    pub bytes: u32,
}

/// Publishes over a narrow path, waits for the receipt, and counts what is missing afterwards: of what the
/// peer says that it has stored, at once and when it was killed as well; of what was sent, a moment later.
pub async fn run(
    rig: &Rig,
    shape: Shape,
    published: Published,
    stored: bool,
) -> Result<Report, Error> {
    let pair = Pair::new(shape).await?;
    let reader = tempfile::tempdir()?;
    let setup = || Setup::new(1).dir(reader.path());
    let b = rig.start(&pair.b.space, setup()).await?;
    b.subscribe(topic(0), Deliver::Count).await?;
    let setup_a = Setup::new(0).knows(1, pair.b.addr);
    let a = rig.start(&pair.a.space, setup_a).await?;
    a.subscribe(topic(0), Deliver::Count).await?;
    let Published { messages, bytes } = published;
    let content = Content {
        size: Some(bytes),
        ..Content::default()
    };
    let begun = Instant::now();
    a.publish(topic(0), content, Some(messages)).await?;
    let told = a.delivered(topic(0), stored.then_some(1), WITHIN).await?;
    let seconds = begun.elapsed().as_secs_f64();
    a.kill().await?;
    let all = u64::from(messages);
    let has_all = if stored {
        b.kill().await?;
        drop(b);
        let again = rig.start(&pair.b.space, setup()).await?;
        again.subscribe(topic(0), Deliver::Count).await?;
        again.holds(topic(0), all, STORED_WITHIN).await?
    } else {
        b.holds(topic(0), all, STORED_WITHIN).await?
    };

    let which = if stored { "stored" } else { "sent" };
    let name = format!(
        "{messages} messages of {bytes} bytes over {} bit/s, {which}",
        shape.rate_bits
    );
    let mut report = Report::new(name);
    let secs = WITHIN.as_secs_f64();
    report.hold("told after", "s", told.then_some(seconds), secs);
    let missing = f64::from(u8::from(!has_all));
    report.hold("told, and not there", "", Some(missing), 0.0);
    Ok(report)
}
