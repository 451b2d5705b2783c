//! Nodes that all reach each other through a router, and know one of them at first.

use crate::crowd::Rig;
use crate::error::Error;
use crate::network::{Network, Place, Space};
use crate::node::Setup;
use crate::report::Report;

/// A message from one node, then one from everybody.
pub async fn run(rig: &Rig, nodes: usize) -> Result<Report, Error> {
    let mut report = Report::new(format!("mesh of {nodes}"));
    let mut crowd = rig.crowd(setups(nodes).await?).await?;
    crowd
        .reach(&mut report, "one publishes", &[nodes - 1])
        .await?;
    crowd.all_receive_all(&mut report).await?;
    Ok(report)
}

/// Nodes behind a router, all of which know the first one.
pub async fn setups(nodes: usize) -> Result<Vec<(Space, Setup)>, Error> {
    let (_, places) = places(nodes).await?;
    setups_at(&places)
}

/// Nodes at places, all of which know the first one.
pub fn setups_at(places: &[Place]) -> Result<Vec<(Space, Setup)>, Error> {
    let first = places.first().ok_or(Error::Links)?.addr;
    let setups = places.iter().enumerate().map(|(number, place)| {
        let setup = match number {
            0 => Setup::new(0),
            _ => Setup::new(number).knows(0, first),
        };
        (place.space.clone(), setup)
    });
    Ok(setups.collect())
}

/// A router and namespaces behind it.
pub async fn places(nodes: usize) -> Result<(Space, Vec<Place>), Error> {
    let mut network = Network::new();
    let router = network.space().await?;
    router.forward(true).await?;
    let places = network.all_behind(&router, nodes).await?;
    Ok((router, places))
}
