//! Clients around a server, which cannot reach each other.

use std::time::Duration;

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::Network;
use crate::node::Setup;
use crate::report::Report;

/// A message from the centre, one from a leaf, one from everybody, and one after a quiet time.
pub async fn run(rig: &Rig, clients: usize, quiet: Duration) -> Result<Report, Error> {
    let mut network = Network::new();
    let centre = network.space().await?;
    let mut setups = vec![(centre.clone(), Setup::new(0))];
    for number in 1..=clients {
        let space = network.space().await?;
        let link = network.link(&centre, &space).await?;
        setups.push((space, Setup::new(number).knows(0, link.a)));
    }
    let mut report = Report::new(format!("star of {clients}"));
    let mut crowd = rig.crowd(setups).await?;
    crowd.reach(&mut report, "centre publishes", &[0]).await?;
    crowd
        .reach(&mut report, "leaf publishes", &[clients])
        .await?;
    crowd.all_receive_all(&mut report).await?;
    tokio::time::sleep(quiet).await;
    let name = format!("leaf publishes {} s later", quiet.as_secs());
    crowd.reach(&mut report, &name, &[1]).await?;
    Ok(report)
}
