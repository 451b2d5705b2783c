//! A router between two nodes stops to forward and begins again, without a word to either.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::{Network, Place};
use crate::node::Setup;
use crate::report::Report;

/// Time limit for the first message.
const FIRST_WITHIN: Duration = Duration::from_secs(30);
/// The bar for short gaps, in seconds.
const SHORT_BAR: f64 = 5.0;

/// Direction in which packets get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ways {
    /// All.
    Both,
    /// Those of one direction.
    One,
}

/// From the path's return until a message that was published in the gap has crossed.
pub async fn run(rig: &Rig, gap: Duration, ways: Ways, wait: Duration) -> Result<Report, Error> {
    let mut network = Network::new();
    let router = network.space().await?;
    router.forward(true).await?;
    let (a, b) = (
        network.behind(&router).await?,
        network.behind(&router).await?,
    );
    let setups = vec![
        (a.space.clone(), Setup::new(0)),
        (b.space.clone(), Setup::new(1).knows(0, a.addr)),
    ];
    let mut crowd = rig.crowd(setups).await?;
    crowd.publish(&[0, 1]).await?;
    if crowd.spread(FIRST_WITHIN).await?.lacking > 0 {
        return Err(Error::Late("the first message"));
    }

    for (from, to) in blocked(&a, &b, ways) {
        router.block(from, to).await?;
    }
    // A message that cannot cross is what ends a session.
    crowd.publish(&[0, 1]).await?;
    tokio::time::sleep(gap).await;
    for (from, to) in blocked(&a, &b, ways) {
        router.unblock(from, to).await?;
    }
    let spread = crowd.spread_since(Instant::now(), wait).await?;
    let seconds = gap.as_secs_f64();
    let bar = match seconds {
        short if short <= 60.0 => SHORT_BAR,
        long => (long / 10.0).min(300.0),
    };
    let name = match ways {
        Ways::Both => "both ways",
        Ways::One => "one way",
    };
    let mut report = Report::new(format!("path gone for {seconds} s, {name}"));
    report.hold(
        "from its return until messages cross",
        "s",
        spread.seconds,
        bar,
    );
    Ok(report)
}

fn blocked(a: &Place, b: &Place, ways: Ways) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let mut blocked = vec![(a.addr, b.addr)];
    if ways == Ways::Both {
        blocked.push((b.addr, a.addr));
    }
    blocked
}
