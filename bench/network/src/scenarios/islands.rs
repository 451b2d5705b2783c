//! Two networks that share a single node.

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::Network;
use crate::node::Setup;
use crate::report::Report;

/// Half of the nodes on either island, and one more that joins them.
pub async fn run(rig: &Rig, nodes: usize) -> Result<Report, Error> {
    let mut network = Network::new();
    let joint = network.space().await?;
    let mut setups = vec![(joint.clone(), Setup::new(0))];
    for _ in 0..2 {
        let router = network.space().await?;
        router.forward(true).await?;
        let link = network.link(&router, &joint).await?;
        // Each island's addresses are reached through its own router only.
        for place in network.all_behind(&router, nodes / 2).await? {
            joint.route(place.addr, link.a).await?;
            let number = setups.len();
            setups.push((place.space, Setup::new(number).knows(0, link.b)));
        }
    }
    let mut report = Report::new(format!("two islands of {} joined by one", nodes / 2));
    let mut crowd = rig.crowd(setups).await?;
    crowd.reach(&mut report, "one publishes", &[1]).await?;
    crowd.all_receive_all(&mut report).await?;
    Ok(report)
}
