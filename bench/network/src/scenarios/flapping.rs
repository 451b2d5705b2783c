//! Links that go down and come up again, as the nodes see it.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::mesh;
use crate::crowd::Rig;
use crate::error::Error;
use crate::report::Report;

/// Time for which a link stays down.
const DOWN: Duration = Duration::from_secs(5);
/// Seed that decides which link goes down and who publishes.
const SEED: u64 = 13;

/// One link after the other goes down while nodes publish; all is up in the end.
pub async fn run(rig: &Rig, nodes: usize, time: Duration) -> Result<Report, Error> {
    let (router, places) = mesh::places(nodes).await?;
    let mut crowd = rig.crowd(mesh::setups_at(&places)?).await?;
    let mut rng = StdRng::seed_from_u64(SEED);
    let end = Instant::now() + time;
    let mut messages = 0;
    while Instant::now() < end {
        let link = rng.random_range(0..places.len());
        let place = places.get(link).ok_or(Error::Links)?;
        router.switch(&place.link, false).await?;
        crowd.publish(&[rng.random_range(0..nodes)]).await?;
        messages += 1;
        tokio::time::sleep(DOWN).await;
        router.switch(&place.link, true).await?;
    }
    let seconds = time.as_secs();
    let mut report = Report::new(format!("links of {nodes} nodes flap for {seconds} s"));
    report.note("messages meanwhile", "", Some(f64::from(messages)));
    let spread = crowd
        .spread_since(Instant::now(), Duration::from_secs(30))
        .await?;
    report.hold(
        "all have them, from the last link up",
        "s",
        spread.seconds,
        30.0,
    );
    crowd.all_receive_all(&mut report).await?;
    Ok(report)
}
