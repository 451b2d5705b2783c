//! Membership in one gossip overlay: joined through known nodes that are interested, joined again
//! whenever too few neighbours are left, and never lost for good.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::StreamExt;
use iroh_gossip::TopicId;
use iroh_gossip::api::{Event, GossipReceiver, GossipSender, JoinOptions};
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::overlay::Overlay;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use crate::gossip::Current;
use crate::peer_id::{endpoint_id, node_id};
use crate::random;
use crate::shared::Shared;

/// Neighbours that the membership protocol keeps per overlay; with fewer we try to join again.
const NEIGHBOURS_WANTED: usize = 5;

/// Membership in one overlay; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Membership {
    shared: Arc<Shared>,
    overlay: Overlay,
    joined: Option<(GossipSender, GossipReceiver)>,
    neighbours: BTreeSet<VerifyingKey>,
    pending: VecDeque<MembershipEvent>,
    interest: watch::Receiver<u64>,
    reset: watch::Receiver<u64>,
    join_due: bool,
    rejoin_at: Instant,
    rejoin_wait: Duration,
}

/// What happened in an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MembershipEvent {
    /// A peer is a neighbour now.
    Up(VerifyingKey),
    /// A peer is no neighbour any more.
    Down(VerifyingKey),
    /// Someone broadcast these bytes; a neighbour passed them on.
    Message {
        /// What was broadcast.
        content: Bytes,
        /// The neighbour.
        from: VerifyingKey,
    },
}

impl Membership {
    /// Will join the overlay with the first call of [`Membership::next`].
    pub(crate) fn new(shared: Arc<Shared>, overlay: Overlay) -> Self {
        let interest = shared.book.interest();
        let reset = shared.signals.resets();
        let rejoin_wait = shared.timings.rejoin_first;
        Self {
            shared,
            overlay,
            joined: None,
            neighbours: BTreeSet::new(),
            pending: VecDeque::new(),
            interest,
            reset,
            join_due: false,
            rejoin_at: Instant::now() + rejoin_wait,
            rejoin_wait,
        }
    }

    /// Whether anyone would hear a broadcast.
    pub(crate) fn has_neighbours(&self) -> bool {
        !self.neighbours.is_empty()
    }

    /// The next event. Never ends, and may be cancelled at any point without losing one.
    pub(crate) async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            if self.join_due {
                self.join_known().await;
            }
            let Some((_, receiver)) = &mut self.joined else {
                self.subscribe().await;
                continue;
            };
            tokio::select! {
                event = receiver.next() => match event {
                    Some(Ok(event)) => self.take(event),
                    Some(Err(_)) | None => self.lost(),
                },
                changed = self.interest.changed() => self.join_soon(changed.is_ok()),
                changed = self.reset.changed() => self.join_soon(changed.is_ok()),
                () = sleep_until(self.rejoin_at) => self.rejoin(),
            }
        }
    }

    /// Sends to everyone in the overlay. Answers whether the gossip layer took it.
    pub(crate) async fn broadcast(&mut self, message: Bytes) -> bool {
        match &self.joined {
            Some((sender, _)) => sender.broadcast(message).await.is_ok(),
            None => false,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::NeighborUp(id) => {
                if let Some(peer) = node_id(id).filter(|peer| self.neighbours.insert(*peer)) {
                    self.rejoin_wait = self.shared.timings.rejoin_first;
                    self.pending.push_back(MembershipEvent::Up(peer));
                }
            }
            Event::NeighborDown(id) => {
                if let Some(peer) = node_id(id).filter(|peer| self.neighbours.remove(peer)) {
                    self.rejoin_wait = self.shared.timings.rejoin_first;
                    self.rejoin_at = Instant::now() + self.rejoin_wait;
                    self.pending.push_back(MembershipEvent::Down(peer));
                }
            }
            Event::Received(message) => {
                if let Some(from) = node_id(message.delivered_from) {
                    let content = message.content;
                    self.shared.connections.broadcast(from, content.len());
                    self.pending
                        .push_back(MembershipEvent::Message { content, from });
                }
            }
            // Neighbour events may be among what was lost: start over with a fresh subscription,
            // which begins with the neighbours there are.
            Event::Lagged => {
                self.all_down();
                self.joined = None;
            }
        }
    }

    fn all_down(&mut self) {
        let neighbours = std::mem::take(&mut self.neighbours);
        self.pending
            .extend(neighbours.into_iter().map(MembershipEvent::Down));
    }

    fn lost(&mut self) {
        self.all_down();
        self.joined = None;
    }

    async fn subscribe(&mut self) {
        let Current {
            generation,
            gossip,
            ready_at,
        } = self.shared.gossip.current();
        // The moment is kept, so that whoever cancels us does not put it off for ever.
        sleep_until(ready_at).await;
        let bootstrap = self.candidates();
        let opts = JoinOptions {
            bootstrap: bootstrap.iter().filter_map(endpoint_id).collect(),
            subscription_capacity: limits::GOSSIP_EVENTS_MAX,
        };
        match gossip
            .subscribe_with_opts(TopicId::from_bytes(*self.overlay.as_bytes()), opts)
            .await
        {
            Ok(topic) => {
                self.joined = Some(topic.split());
                self.rejoin_at = Instant::now() + self.rejoin_wait;
            }
            Err(error) => {
                tracing::warn!(%error, "the gossip layer is gone and is started anew");
                self.shared.gossip.restart(generation);
            }
        }
    }

    fn join_soon(&mut self, alive: bool) {
        if alive {
            self.rejoin_wait = self.shared.timings.rejoin_first;
            self.join_due = true;
        } else {
            // The node is going away; nothing will change any more.
            self.rejoin_at = Instant::now() + self.shared.timings.rejoin_max;
        }
    }

    fn rejoin(&mut self) {
        let max = self.shared.timings.rejoin_max;
        self.rejoin_wait = (self.rejoin_wait * 2).min(max);
        self.rejoin_at = Instant::now() + self.rejoin_wait;
        self.join_due = self.neighbours.len() < NEIGHBOURS_WANTED;
    }

    async fn join_known(&mut self) {
        let peers = self.candidates();
        let peers: Vec<_> = peers.iter().filter_map(endpoint_id).collect();
        if let (Some((sender, _)), false) = (&self.joined, peers.is_empty())
            && sender.join_peers(peers).await.is_err()
        {
            self.lost();
        }
        self.join_due = false;
    }

    /// Known nodes that are interested and no neighbours yet, a few of them at random.
    fn candidates(&self) -> Vec<VerifyingKey> {
        let mut nodes = self.shared.book.interested(&self.overlay);
        nodes.retain(|node| !self.neighbours.contains(node));
        random::shuffle(&mut nodes);
        nodes.truncate(limits::GOSSIP_JOIN_MAX);
        nodes
    }
}
