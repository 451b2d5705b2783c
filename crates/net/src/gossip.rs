//! The gossip layer, which can be started anew when it breaks.

use std::time::Duration;

use iroh::Endpoint;
use iroh_gossip::net::Gossip;
use iroh_gossip::proto::PlumtreeConfig;
use p2panda_core::limits;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::lookup::BookLookup;

/// The current gossip layer of an endpoint.
#[derive(Debug)]
pub(crate) struct GossipLayer {
    endpoint: Endpoint,
    alpn: [u8; 32],
    message_bytes_max: usize,
    lookup: BookLookup,
    current: Mutex<Current>,
}

/// The running layer.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) generation: u64,
    pub(crate) gossip: Gossip,
    /// Overlays may be joined from this moment on.
    pub(crate) ready_at: Instant,
}

impl GossipLayer {
    pub(crate) fn start(
        endpoint: Endpoint,
        alpn: [u8; 32],
        message_bytes_max: usize,
        lookup: BookLookup,
    ) -> Self {
        let gossip = spawn(&endpoint, alpn, message_bytes_max, &lookup);
        Self {
            endpoint,
            alpn,
            message_bytes_max,
            lookup,
            current: Mutex::new(Current {
                generation: 0,
                gossip,
                ready_at: Instant::now(),
            }),
        }
    }

    pub(crate) fn current(&self) -> Current {
        self.current.lock().clone()
    }

    /// Starts a new layer unless someone has done so since `generation`.
    pub(crate) fn restart(&self, generation: u64) {
        let mut current = self.current.lock();
        if current.generation != generation {
            return;
        }
        current.ready_at = Instant::now() + limits::GOSSIP_RESTART_WAIT;
        if !self.endpoint.is_closed() {
            current.generation += 1;
            current.gossip = spawn(
                &self.endpoint,
                self.alpn,
                self.message_bytes_max,
                &self.lookup,
            );
        }
    }

    /// Leaves every overlay, telling the neighbours, as far as the time allows.
    pub(crate) async fn leave(&self, wait: Duration) {
        // Either it has stopped, or the endpoint is closed under it next.
        let _ = tokio::time::timeout(wait, self.current().gossip.shutdown()).await;
    }
}

fn spawn(
    endpoint: &Endpoint,
    alpn: [u8; 32],
    message_bytes_max: usize,
    lookup: &BookLookup,
) -> Gossip {
    let gossip = Gossip::builder()
        .alpn(alpn)
        .max_message_size(message_bytes_max)
        .broadcast_config(PlumtreeConfig {
            message_cache_retention: limits::GOSSIP_CACHE_TIME,
            message_id_retention: limits::GOSSIP_ID_TIME,
            ..PlumtreeConfig::default()
        })
        .spawn(endpoint.clone());
    // The layer adds a lookup of its own, with the unsigned addresses that peers tell in their join
    // messages; nobody is dialled at those (`docs/protocol/network.md#5`).
    if let Ok(lookups) = endpoint.address_lookup() {
        lookups.clear();
        lookups.add(lookup.clone());
    }
    gossip
}
