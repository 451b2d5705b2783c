//! Two places behind a router in user space, with a shaped path between them.

use crate::error::Error;
use crate::network::{Network, Place};
use crate::router::Router;
use crate::shape::Shape;

/// Two places and the router between them.
pub struct Pair {
    /// The first one.
    pub a: Place,
    /// The second one.
    pub b: Place,
    router: Router,
}

impl Pair {
    /// Both directions are shaped alike.
    pub async fn new(shape: Shape) -> Result<Pair, Error> {
        let mut network = Network::new();
        let space = network.space().await?;
        let router = Router::start(&space).await?;
        let a = network.behind(&space).await?;
        let b = network.behind(&space).await?;
        let mut pair = Pair { a, b, router };
        pair.shape(shape).await?;
        Ok(pair)
    }

    /// Shapes the path anew.
    pub async fn shape(&mut self, shape: Shape) -> Result<(), Error> {
        let (a, b) = (self.a.addr, self.b.addr);
        self.router.shape(a, b, shape).await
    }
}
