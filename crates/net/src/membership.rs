//! Membership in one gossip overlay: joined through known nodes that are interested, and again as
//! long as too few of them are neighbours.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::overlay::Overlay;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use crate::gossip::Subscription;
use crate::random;
use crate::shared::Shared;

/// Membership in one overlay; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Membership {
    shared: Arc<Shared>,
    overlay: Overlay,
    joined: Subscription,
    /// The neighbours that were told of, and under which number they became so.
    neighbours: BTreeMap<VerifyingKey, u64>,
    pending: VecDeque<MembershipEvent>,
    interest: watch::Receiver<u64>,
    reset: watch::Receiver<u64>,
    /// Since when neighbours are lacking.
    lacking_since: Option<Instant>,
    rejoin_at: Option<Instant>,
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
    /// Is in the overlay from now on, and asks others with the first call of [`Membership::next`].
    pub(crate) fn new(shared: Arc<Shared>, overlay: Overlay) -> Self {
        let interest = shared.book.interest();
        let reset = shared.signals.resets();
        let joined = shared.gossip.subscribe(overlay);
        Self {
            shared,
            overlay,
            joined,
            neighbours: BTreeMap::new(),
            pending: VecDeque::new(),
            interest,
            reset,
            lacking_since: None,
            rejoin_at: Some(Instant::now()),
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
            if let Some((content, from)) = self.joined.next_message() {
                return MembershipEvent::Message { content, from };
            }
            let at = self.rejoin_at.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.joined.changed() => self.look(),
                Ok(()) = self.interest.changed() => self.seek(),
                Ok(()) = self.reset.changed() => {
                    self.lacking_since = None;
                    self.seek();
                }
                () = sleep_until(at), if self.rejoin_at.is_some() => self.seek(),
            }
        }
    }

    /// Sends to everyone in the overlay.
    pub(crate) async fn broadcast(&mut self, message: Bytes) {
        self.joined.broadcast(message).await;
    }

    /// Tells of all changes among the neighbours.
    fn look(&mut self) {
        let now = self.joined.neighbours();
        if now == self.neighbours {
            return;
        }
        let before = std::mem::replace(&mut self.neighbours, now);
        let now = &self.neighbours;
        let down = before.iter().filter(|(peer, at)| now.get(peer) != Some(at));
        let down = down.map(|(peer, _)| MembershipEvent::Down(*peer));
        self.pending.extend(down);
        let up = now.iter().filter(|(peer, at)| before.get(peer) != Some(at));
        let up = up.map(|(peer, _)| MembershipEvent::Up(*peer));
        self.pending.extend(up);
        if self.joined.lacking() == 0 {
            self.lacking_since = None;
            self.rejoin_at = None;
        } else if self.rejoin_at.is_none() {
            // Not at once: meanwhile another known node of the overlay may have answered.
            self.rejoin_at = Some(Instant::now() + self.shared.timings.rejoin_first);
        }
    }

    /// Asks some nodes if neighbours are lacking, and comes back for more.
    fn seek(&mut self) {
        let lacking = self.joined.lacking();
        if lacking == 0 {
            self.lacking_since = None;
            self.rejoin_at = None;
            return;
        }
        let now = Instant::now();
        let lacking_since = *self.lacking_since.get_or_insert(now);
        let timings = &self.shared.timings;
        let wait: Duration = now.duration_since(lacking_since) / limits::GOSSIP_REJOIN_PART;
        let longest = timings.rejoin_max.max(timings.rejoin_first);
        let wait = wait.clamp(timings.rejoin_first, longest);
        self.rejoin_at = Some(self.shared.clock.together(now + wait, wait));
        let peers = self.candidates(lacking.min(limits::GOSSIP_JOIN_MAX));
        if !peers.is_empty() {
            self.joined.join(peers);
        }
    }

    /// Known nodes that are interested and no neighbours yet, a few of them at random.
    fn candidates(&self, count: usize) -> Vec<VerifyingKey> {
        let neighbours = self.joined.neighbours();
        let mut nodes = self.shared.book.interested(&self.overlay);
        nodes.retain(|node| !neighbours.contains_key(node));
        random::shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }
}
