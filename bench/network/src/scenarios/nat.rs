//! Clients that can dial out and that nothing can dial, as behind a home router, and a server.

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::Network;
use crate::node::Setup;
use crate::report::Report;
use crate::router::Router;
use crate::shape::Order;

/// A message from the server, one from a client, one from everybody.
pub async fn run(rig: &Rig, clients: usize) -> Result<Report, Error> {
    let mut network = Network::new();
    let space = network.space().await?;
    let mut router = Router::start(&space).await?;
    let server = network.behind(&space).await?;
    let mut setups = vec![(server.space, Setup::new(0))];
    for place in network.all_behind(&space, clients).await? {
        let number = setups.len();
        router.order(Order::Guard { host: place.addr }).await?;
        setups.push((place.space, Setup::new(number).knows(0, server.addr)));
    }
    let mut report = Report::new(format!("{clients} that nothing can dial"));
    let mut crowd = rig.crowd(setups).await?;
    crowd.reach(&mut report, "server publishes", &[0]).await?;
    crowd.reach(&mut report, "client publishes", &[1]).await?;
    crowd.all_receive_all(&mut report).await?;
    Ok(report)
}
