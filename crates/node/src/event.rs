//! What happens on a node, apart from messages.

use p2panda_engine::EngineEvent;
use p2panda_net::NetEvent;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Something that happened on this node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// On the network: peers, sessions, catch-up.
    Net(NetEvent),
    /// In the store: forks, rejected operations, a restored directory.
    Engine(Box<EngineEvent>),
}

/// Listens to the events of a node. Made by [`crate::Node::events`].
#[derive(Debug)]
pub struct Events {
    engine: broadcast::Receiver<EngineEvent>,
    net: broadcast::Receiver<NetEvent>,
}

impl Events {
    pub(crate) fn new(
        engine: broadcast::Receiver<EngineEvent>,
        net: broadcast::Receiver<NetEvent>,
    ) -> Self {
        Self { engine, net }
    }

    /// The next event, waiting until there is one. `None` when the node is gone. Whoever falls
    /// behind loses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = tokio::select! {
                event = self.engine.recv() => event.map(|event| Event::Engine(Box::new(event))),
                event = self.net.recv() => event.map(Event::Net),
            };
            match event {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
