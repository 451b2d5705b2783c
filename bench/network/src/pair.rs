//! Two places behind a router in user space, with a shaped path between them.

use crate::error::Error;
use crate::network::{Network, Place, Space};
use crate::router::Router;
use crate::shape::Shape;

/// Two places and the router between them.
pub struct Pair {
    /// The first one.
    pub a: Place,
    /// The second one.
    pub b: Place,
    router: Router,
    network: Network,
    space: Space,
}

impl Pair {
    /// Both directions are shaped alike.
    pub async fn new(shape: Shape) -> Result<Pair, Error> {
        let mut network = Network::new();
        let space = network.space().await?;
        let router = Router::start(&space).await?;
        let a = network.behind(&space).await?;
        let b = network.behind(&space).await?;
        let mut pair = Pair {
            a,
            b,
            router,
            network,
            space,
        };
        pair.shape(shape).await?;
        Ok(pair)
    }

    /// A third place behind the router, which reaches only the first one.
    pub async fn beside_a(&mut self, shape: Shape) -> Result<Place, Error> {
        let c = self.network.behind(&self.space).await?;
        let nothing = Shape {
            loss: 1.0,
            ..Shape::default()
        };
        self.router.shape(self.a.addr, c.addr, shape).await?;
        self.router.shape(self.b.addr, c.addr, nothing).await?;
        Ok(c)
    }

    /// Shapes the path again.
    pub async fn shape(&mut self, shape: Shape) -> Result<(), Error> {
        let (a, b) = (self.a.addr, self.b.addr);
        self.router.shape(a, b, shape).await
    }
}
