//! Membership in one gossip overlay: joined through known nodes that are interested, and again as
//! long as too few of them are neighbours.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::overlay::Overlay;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use crate::gossip::{Neighbours, Subscription};
use crate::random;
use crate::shared::Shared;
use crate::signs::{Sign, SignsOf};

/// Membership in one overlay; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Membership {
    shared: Arc<Shared>,
    overlay: Overlay,
    signs: SignsOf,
    meets: Meets,
    joined: Subscription,
    /// The neighbours that were told of, and under which number they became so.
    neighbours: Neighbours,
    pending: VecDeque<MembershipEvent>,
    reset: watch::Receiver<u64>,
    /// Time since which neighbours are lacking.
    lacking_since: Option<Instant>,
    rejoin_at: Option<Instant>,
}

/// Through whom an overlay is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// Everybody: something is broadcast in it.
    All,
    /// Peers without a link, and others only next to these: links say who is in the overlay.
    Published,
}

/// Event of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MembershipEvent {
    /// A peer is a neighbour now.
    Up(VerifyingKey),
    /// A peer is no longer a neighbour.
    Down(VerifyingKey),
    /// A peer gave a sign of life that was waited for, or its interest in the overlay has changed.
    Sign(Sign),
    /// Everything is worth another try at once.
    Reset,
    /// Someone broadcast these bytes; a neighbour passed them on.
    Message {
        /// The broadcast content.
        content: Bytes,
        /// The neighbour.
        from: VerifyingKey,
    },
}

impl Membership {
    /// Is in the overlay from now on, and asks others with the first call of [`Membership::next`].
    pub(crate) fn new(shared: Arc<Shared>, overlay: Overlay, meets: Meets) -> Self {
        let signs = shared.book.signs().of(overlay);
        let reset = shared.signals.resets();
        let joined = shared.gossip.subscribe(overlay);
        Self {
            shared,
            overlay,
            signs,
            meets,
            joined,
            neighbours: Neighbours::new(),
            pending: VecDeque::new(),
            reset,
            lacking_since: None,
            rejoin_at: Some(Instant::now()),
        }
    }

    /// From now on signs of life of this peer are wanted, or not.
    pub(crate) fn wait_for(&mut self, peer: VerifyingKey, wanted: bool) {
        self.signs.wait_for(peer, wanted);
    }

    /// Returns `true` if anyone would hear a broadcast.
    pub(crate) fn has_neighbours(&self) -> bool {
        !self.neighbours.is_empty()
    }

    /// The next event. Never ends, and may be cancelled at any point without losing one.
    pub(crate) async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.pending.pop_front() {
                if self.pending.is_empty() {
                    self.pending = VecDeque::new();
                }
                return event;
            }
            if let Some((content, from)) = self.joined.next_message() {
                return MembershipEvent::Message { content, from };
            }
            let at = self.rejoin_at.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.joined.changed() => self.look(),
                sign = self.signs.next() => {
                    if matches!(sign, Sign::Interest(_)) {
                        self.seek();
                    }
                    return MembershipEvent::Sign(sign);
                }
                Ok(()) = self.reset.changed() => {
                    self.lacking_since = None;
                    self.seek();
                    return MembershipEvent::Reset;
                }
                () = sleep_until(at), if self.rejoin_at.is_some() => self.seek(),
            }
        }
    }

    /// Sends to everyone in the overlay.
    pub(crate) async fn broadcast(&mut self, message: Bytes) {
        self.joined.broadcast(message).await;
    }

    /// Reports all changes among the neighbours.
    fn look(&mut self) {
        let now = self.joined.neighbours();
        if now == self.neighbours {
            return;
        }
        let before = std::mem::replace(&mut self.neighbours, now);
        let now = &self.neighbours;
        let down = before.iter().filter(|neighbour| !now.contains(neighbour));
        let down = down.map(|(peer, _)| MembershipEvent::Down(*peer));
        self.pending.extend(down);
        let up = now.iter().filter(|neighbour| !before.contains(neighbour));
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
        let is_used = self.meets == Meets::All || self.shared.is_published_in(&self.overlay);
        if lacking == 0 || !is_used {
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
        } else if !self.joined.neighbours().is_empty() {
            // Rests: a node that comes to be known gives a sign. Alone it looks again whom it may ask by
            // now, since what is known of others also becomes usable with time.
            self.rejoin_at = None;
        }
    }

    /// Known nodes that are interested and no neighbours yet, a few of them at random.
    fn candidates(&self, count: usize) -> Vec<VerifyingKey> {
        let neighbours = self.joined.neighbours();
        let mut nodes = self.shared.book.interested(&self.overlay);
        nodes.retain(|node| !neighbours.iter().any(|(other, _)| other == node));
        random::shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }
}
