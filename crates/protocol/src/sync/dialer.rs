//! When to dial which neighbour for one topic (`docs/protocol/sync.md#11`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::{VerifyingKey, limits};

use super::pair::Dialled;
use super::session::SessionId;
use crate::time::Time;

const LARGER_WAITS_MS: u64 = limits::SECOND_DIAL_DELAY.as_millis() as u64;
const BACKOFF_FIRST_MS: u64 = limits::DIAL_RETRY_FIRST.as_millis() as u64;
const BACKOFF_MAX_MS: u64 = limits::DIAL_RETRY_MAX.as_millis() as u64;
const REPAIR_MS: u64 = limits::REPAIR_INTERVAL.as_millis() as u64;

/// Decides when this node dials which neighbour of one topic's membership overlay.
#[derive(Debug)]
pub struct Dialer {
    local: VerifyingKey,
    peers: BTreeMap<VerifyingKey, Peer>,
    outputs: VecDeque<DialerOutput>,
}

/// What happened to a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialerInput {
    /// The membership overlay reports the peer as a neighbour.
    Up(VerifyingKey),
    /// The peer is a neighbour no longer.
    Down(VerifyingKey),
    /// A session with the peer has passed its topic handshake.
    Opened {
        /// The peer.
        peer: VerifyingKey,
        /// The session.
        session: SessionId,
        /// Who dialled it.
        dialled: Dialled,
    },
    /// A session ended.
    Ended {
        /// The peer.
        peer: VerifyingKey,
        /// The session.
        session: SessionId,
        /// Whether it ended in order.
        ok: bool,
    },
    /// An asked-for dial did not lead to a session.
    DialFailed(VerifyingKey),
    /// An operation was dropped on the way in: compare with the peer again soon.
    Repair(VerifyingKey),
    /// The network changed or the machine slept: try everyone again at once.
    Reset,
    /// Time has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialerOutput {
    /// Dial this peer; answer with `Opened` or `DialFailed`.
    Dial(VerifyingKey),
    /// Stop the sessions with this peer in order: it is a neighbour no longer.
    Stop(VerifyingKey),
    /// Come back with `Tick` at this time.
    Wake(Time),
}

#[derive(Debug, Default)]
struct Peer {
    up: bool,
    dialing: bool,
    /// Sessions that run: who dialled them and since when.
    sessions: BTreeMap<SessionId, (Dialled, Time)>,
    due: Option<Time>,
    /// Dial although a session runs.
    repair: bool,
    failures: u32,
}

impl Dialer {
    /// Knows no neighbour yet.
    pub fn new(local: VerifyingKey) -> Self {
        Self {
            local,
            peers: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event. `jitter` is a fresh random number: it spreads the waits of many nodes.
    pub fn handle(&mut self, input: DialerInput, now: Time, jitter: u32) {
        match input {
            DialerInput::Up(peer) => self.up(peer, now),
            DialerInput::Down(peer) => self.down(peer),
            DialerInput::Opened {
                peer,
                session,
                dialled,
            } => {
                self.opened(peer, session, dialled, now, jitter);
            }
            DialerInput::Ended { peer, session, ok } => self.ended(peer, session, ok, now, jitter),
            DialerInput::DialFailed(peer) => self.dial_failed(peer, now, jitter),
            DialerInput::Repair(peer) => self.repair(peer, now, jitter),
            DialerInput::Reset => self.reset(now),
            DialerInput::Tick => {}
        }
        self.dial_due(now);
        if let Some(due) = self.peers.values().filter_map(|peer| peer.due).min() {
            self.outputs.push_back(DialerOutput::Wake(due));
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<DialerOutput> {
        self.outputs.pop_front()
    }

    /// The neighbours of the overlay.
    pub fn neighbours(&self) -> BTreeSet<VerifyingKey> {
        let up = self.peers.iter().filter(|(_, peer)| peer.up);
        up.map(|(key, _)| *key).collect()
    }

    fn up(&mut self, key: VerifyingKey, now: Time) {
        let wait_ms = if self.local < key { 0 } else { LARGER_WAITS_MS };
        let peer = self.peers.entry(key).or_default();
        if !peer.up {
            peer.up = true;
            peer.failures = 0;
            peer.due = Some(now.after(wait_ms));
        }
    }

    fn down(&mut self, key: VerifyingKey) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.up = false;
        peer.due = None;
        if peer.sessions.is_empty() && !peer.dialing {
            self.peers.remove(&key);
        } else {
            self.outputs.push_back(DialerOutput::Stop(key));
        }
    }

    fn opened(
        &mut self,
        key: VerifyingKey,
        session: SessionId,
        dialled: Dialled,
        now: Time,
        jitter: u32,
    ) {
        let peer = self.peers.entry(key).or_default();
        peer.sessions.insert(session, (dialled, now));
        peer.repair = false;
        if dialled == Dialled::ByUs {
            peer.dialing = false;
        }
        // The smaller node id still owes the primary when only the peer has dialled.
        let has_primary = peer.sessions.values().any(|(by, _)| *by == Dialled::ByUs);
        if self.local > key || has_primary {
            peer.due = peer
                .up
                .then(|| now.after(REPAIR_MS + u64::from(jitter) % REPAIR_MS));
        }
    }

    fn ended(&mut self, key: VerifyingKey, session: SessionId, ok: bool, now: Time, jitter: u32) {
        let smaller = self.local < key;
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let lived = peer.sessions.remove(&session);
        if !peer.up {
            if peer.sessions.is_empty() && !peer.dialing {
                self.peers.remove(&key);
            }
            return;
        }
        if ok {
            // In order, yet we are neighbours still: the peer may come back to the topic.
            if peer.sessions.is_empty() {
                peer.failures = peer.failures.max(2) + 1;
                peer.due = Some(now.after(backoff_ms(peer.failures, jitter)));
            }
            return;
        }
        if lived.is_some_and(|(_, since)| now >= since + limits::GOOD_SESSION_MIN) {
            peer.failures = 0;
        }
        peer.failures += 1;
        // What the failed session still planned to send, a new one sends.
        peer.repair = true;
        let head_start_ms = if smaller { 0 } else { LARGER_WAITS_MS };
        let wait_ms = backoff_ms(peer.failures, jitter) + head_start_ms;
        peer.due = Some(now.after(wait_ms));
    }

    fn dial_failed(&mut self, key: VerifyingKey, now: Time, jitter: u32) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.dialing = false;
        peer.failures += 1;
        if peer.up {
            peer.due = Some(now.after(backoff_ms(peer.failures, jitter)));
        } else if peer.sessions.is_empty() {
            self.peers.remove(&key);
        }
    }

    fn repair(&mut self, key: VerifyingKey, now: Time, jitter: u32) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if peer.up && !peer.repair {
            peer.repair = true;
            peer.failures += 1;
            peer.due = Some(now.after(backoff_ms(peer.failures, jitter)));
        }
    }

    fn reset(&mut self, now: Time) {
        for peer in self.peers.values_mut().filter(|peer| peer.up) {
            peer.failures = 0;
            peer.repair = true;
            peer.due = Some(now);
        }
    }

    fn dial_due(&mut self, now: Time) {
        for (key, peer) in &mut self.peers {
            if peer.due.is_none_or(|due| due > now) || !peer.up {
                continue;
            }
            peer.due = None;
            // A due time that comes while a session runs is the regular comparison, which the
            // smaller node id owes.
            let owed = self.local < *key || peer.sessions.is_empty() || peer.repair;
            if owed && !peer.dialing {
                peer.dialing = true;
                self.outputs.push_back(DialerOutput::Dial(*key));
            }
        }
    }
}

/// Doubles from [`limits::DIAL_RETRY_FIRST`] to [`limits::DIAL_RETRY_MAX`], spread by a quarter
/// either way.
fn backoff_ms(failures: u32, jitter: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let wait_ms = (BACKOFF_FIRST_MS << doublings).min(BACKOFF_MAX_MS);
    wait_ms * 3 / 4 + u64::from(jitter) % (wait_ms / 2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_core::SigningKey;

    use super::*;

    /// The smaller and the larger node id.
    fn keys() -> (VerifyingKey, VerifyingKey) {
        let [one, two] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        (one.min(two), one.max(two))
    }

    fn dials(dialer: &mut Dialer, input: DialerInput, at_ms: u64) -> usize {
        dialer.handle(input, Time::ZERO.after(at_ms), 0);
        let outputs = std::iter::from_fn(|| dialer.poll());
        outputs
            .filter(|output| matches!(output, DialerOutput::Dial(_)))
            .count()
    }

    fn opened(peer: VerifyingKey, session: u64, dialled: Dialled) -> DialerInput {
        let session = SessionId(session);
        DialerInput::Opened {
            peer,
            session,
            dialled,
        }
    }

    fn ended(peer: VerifyingKey, session: u64, ok: bool) -> DialerInput {
        let session = SessionId(session);
        DialerInput::Ended { peer, session, ok }
    }

    #[test]
    fn the_smaller_node_dials_at_once_even_when_the_peer_has_dialled() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(small);
        assert_eq!(dials(&mut dialer, opened(large, 1, Dialled::ByThem), 0), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Up(large), 0), 1);
        assert_eq!(
            dials(&mut dialer, DialerInput::Tick, 5_000),
            0,
            "one dial at a time"
        );
    }

    #[test]
    fn the_larger_node_dials_after_two_seconds_and_only_without_a_session() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(large);
        assert_eq!(dials(&mut dialer, DialerInput::Up(small), 0), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 1_999), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 2_000), 1);

        let mut dialer = Dialer::new(large);
        dials(&mut dialer, DialerInput::Up(small), 0);
        dials(&mut dialer, opened(small, 1, Dialled::ByThem), 1_000);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 2_000), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 900_000), 0);
    }

    #[test]
    fn failures_are_dialled_again_ever_more_slowly_and_at_last_every_five_minutes() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(small);
        dials(&mut dialer, DialerInput::Up(large), 0);
        let mut now_ms = 0;
        let mut waits = Vec::new();
        for _ in 0..12 {
            dials(&mut dialer, DialerInput::DialFailed(large), now_ms);
            let failed_at = now_ms;
            while dials(&mut dialer, DialerInput::Tick, now_ms) == 0 {
                now_ms += 50;
            }
            waits.push(now_ms - failed_at);
        }
        assert_eq!(waits.first(), Some(&750));
        assert!(
            waits
                .windows(2)
                .all(|pair| matches!(pair, [a, b] if b >= a))
        );
        assert_eq!(waits.last(), Some(&225_000));
    }

    #[test]
    fn a_failed_session_is_replaced_although_another_one_runs() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(small);
        dials(&mut dialer, DialerInput::Up(large), 0);
        dials(&mut dialer, opened(large, 1, Dialled::ByUs), 10);
        dials(&mut dialer, opened(large, 2, Dialled::ByThem), 20);
        assert_eq!(dials(&mut dialer, ended(large, 1, false), 30), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 2_000), 1);
    }

    #[test]
    fn a_former_neighbour_is_stopped_and_not_dialled() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(small);
        dials(&mut dialer, DialerInput::Up(large), 0);
        dials(&mut dialer, opened(large, 1, Dialled::ByUs), 10);
        dialer.handle(DialerInput::Down(large), Time::ZERO.after(20), 0);
        assert_eq!(dialer.poll(), Some(DialerOutput::Stop(large)));
        assert_eq!(dials(&mut dialer, ended(large, 1, true), 30), 0);
        assert_eq!(dials(&mut dialer, DialerInput::Tick, 900_000), 0);
        assert!(dialer.neighbours().is_empty());
    }

    #[test]
    fn a_changed_network_is_tried_at_once() {
        let (small, large) = keys();
        let mut dialer = Dialer::new(large);
        dials(&mut dialer, DialerInput::Up(small), 0);
        dials(&mut dialer, opened(small, 1, Dialled::ByThem), 10);
        assert_eq!(dials(&mut dialer, DialerInput::Reset, 20), 1);
    }
}
