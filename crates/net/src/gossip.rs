//! The gossip layer, which can be started anew when it breaks.

use std::sync::Mutex;
use std::time::Duration;

use iroh::Endpoint;
use iroh_gossip::net::Gossip;

/// The current gossip layer of an endpoint.
#[derive(Debug)]
pub(crate) struct GossipLayer {
    endpoint: Endpoint,
    alpn: [u8; 32],
    message_bytes_max: usize,
    current: Mutex<(u64, Gossip)>,
}

impl GossipLayer {
    pub(crate) fn start(endpoint: Endpoint, alpn: [u8; 32], message_bytes_max: usize) -> Self {
        let gossip = spawn(&endpoint, alpn, message_bytes_max);
        Self {
            endpoint,
            alpn,
            message_bytes_max,
            current: Mutex::new((0, gossip)),
        }
    }

    /// The layer and its generation.
    pub(crate) fn current(&self) -> (u64, Gossip) {
        self.current.lock().expect("no panic while locked").clone()
    }

    /// Starts a new layer unless someone has done so since `generation`.
    pub(crate) fn restart(&self, generation: u64) {
        let mut current = self.current.lock().expect("no panic while locked");
        if current.0 == generation && !self.endpoint.is_closed() {
            *current = (
                generation + 1,
                spawn(&self.endpoint, self.alpn, self.message_bytes_max),
            );
        }
    }

    /// Leaves every overlay, telling the neighbours, as far as the time allows.
    pub(crate) async fn leave(&self, wait: Duration) {
        let (_, gossip) = self.current();
        // Either it has stopped, or the endpoint is closed under it next.
        let _ = tokio::time::timeout(wait, gossip.shutdown()).await;
    }
}

fn spawn(endpoint: &Endpoint, alpn: [u8; 32], message_bytes_max: usize) -> Gossip {
    Gossip::builder()
        .alpn(alpn)
        .max_message_size(message_bytes_max)
        .spawn(endpoint.clone())
}
