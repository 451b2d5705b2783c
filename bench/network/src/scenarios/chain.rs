//! Nodes in a row, each of which reaches the one before and the one after.

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::Network;
use crate::node::Setup;
use crate::report::Report;

/// A message from one end, then one from everybody.
pub async fn run(rig: &Rig, nodes: usize) -> Result<Report, Error> {
    let mut network = Network::new();
    let mut before = network.space().await?;
    let mut setups = vec![(before.clone(), Setup::new(0))];
    for number in 1..nodes {
        let space = network.space().await?;
        let link = network.link(&before, &space).await?;
        setups.push((space.clone(), Setup::new(number).knows(number - 1, link.a)));
        before = space;
    }
    let mut report = Report::new(format!("chain of {nodes}"));
    let mut crowd = rig.crowd(setups).await?;
    crowd.reach(&mut report, "one end publishes", &[0]).await?;
    crowd.all_receive_all(&mut report).await?;
    Ok(report)
}
