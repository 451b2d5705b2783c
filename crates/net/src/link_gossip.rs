//! Gossip in flight on a link (`docs/protocol/link.md#7`).

use bytes::Bytes;
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::overlay::Overlay;
use tokio::time::sleep;

use crate::acked::{Acks, Unacked};
use crate::congestion::flow;
use crate::flow::Flow;
use crate::gossip::Way;

/// Limits unacknowledged gossip on a link: messages wait in the queue of the peer, which shares
/// them with other queues, and not in the transport, which has a copy for each link.
#[derive(Debug)]
pub(crate) struct LinkGossip {
    acks: Acks,
    unacked: Unacked,
}

impl LinkGossip {
    pub(crate) fn new(acks: Acks) -> Self {
        Self {
            unacked: acks.nothing_written(),
            acks,
        }
    }

    /// This many bytes go into the transport.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.unacked.wrote(bytes);
    }

    /// The next messages to write, once there is room for them. May be cancelled.
    pub(crate) async fn next(
        &mut self,
        way: Option<&Way>,
    ) -> Result<(Overlay, Vec<Bytes>), CloseCode> {
        let Some(way) = way else {
            return std::future::pending().await;
        };
        while self.unacked.left() >= limits::LINK_GOSSIP_UNACKED_BYTES {
            let flow = flow(self.acks.connection());
            // Before it is looked, so that nothing is missed.
            let changed = flow.as_ref().map(Flow::changed);
            self.unacked.take(self.acks.bytes());
            if self.unacked.left() < limits::LINK_GOSSIP_UNACKED_BYTES {
                break;
            }
            let changed = async {
                match changed {
                    Some(changed) => changed.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                // There may be another path by now.
                () = sleep(limits::ACKED_LOOK_INTERVAL) => {}
            }
        }
        way.next().await
    }
}
