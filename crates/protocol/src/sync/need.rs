//! Choice of the peers with which a node has sessions on one topic, and when it dials
//! (`docs/protocol/sync.md#8`, `#11`).
//!
//! Overlays, discovery and incoming sessions only bring candidates. Whether this node dials one of
//! them is decided by what it needs: sessions with the next peers on the ring of the topic, which
//! keep all who know each other connected, and as many others as make up the sessions it seeks.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use p2panda_core::{Few, Hash, Topic, VerifyingKey, limits};

use self::candidate::Candidate;
use super::pair::Dialled;
use super::session::SessionId;
use crate::draws::Draws;
use crate::time::Time;

mod candidate;
#[cfg(test)]
mod tests;

const HEAD_START_MS: u64 = limits::SECOND_DIAL_DELAY.as_millis() as u64;
const HEAD_START_NAMED_MS: u64 = limits::SECOND_DIAL_DELAY_NAMED.as_millis() as u64;
const FIRST_MS: u64 = limits::DIAL_RETRY_FIRST.as_millis() as u64;
const COMPARE_MS: u64 = limits::REPAIR_INTERVAL.as_millis() as u64;
const COMPARE_MAX_MS: u64 = limits::REPAIR_INTERVAL_MAX.as_millis() as u64;
const GATHER_MS: u64 = limits::CANDIDATES_GATHERED.as_millis() as u64;
const GATHER_MAX_MS: u64 = limits::CANDIDATES_GATHERED_MAX.as_millis() as u64;
const FILL_MS: u64 = limits::SOUGHT_APART.as_millis() as u64;

/// A node's place on the ring of a topic.
type Place = [u8; 32];

/// Decides with whom this node has sessions on one topic.
#[derive(Debug)]
pub struct Need {
    local: VerifyingKey,
    topic: Topic,
    seek: usize,
    draws: Draws,
    /// Boxed: a map has room for several from the first one on.
    peers: Few<VerifyingKey, Box<Candidate>>,
    /// All of them, by their places.
    ring: Vec<(Place, VerifyingKey)>,
    /// Newly known candidates are waited for until then, so that who comes next is not dialled for
    /// the sake of a minute; and since when.
    gathered: Option<(Time, Time)>,
    /// Time at which to dial the next peer that makes up the number.
    fill: Time,
    /// Time at which to compare with one of the peers again.
    compare: Time,
    /// Number of comparisons since the last failure.
    compared: u32,
    /// Peers whose sessions do not come to be live.
    behind: BTreeSet<VerifyingKey>,
    outputs: VecDeque<NeedOutput>,
}

/// Reason why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answered, or there is no address to dial.
    Silent,
    /// The peer answered and refused for now: it serves enough. It wants to be asked again after so
    /// long at the earliest.
    Refused(Duration),
    /// The peer answered and does not serve the topic.
    NotServed,
    /// The session ended cleanly and left none: the peer may have left the topic.
    Left,
    /// Anything else: the connection was lost, or a side gave up.
    Failed,
}

/// Input of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedInput {
    /// The peer is believed to be interested in the topic. `named`: the configuration names it.
    Interested {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// `true` if the configuration names it.
        named: bool,
    },
    /// Another peer said that this one is interested. It is forgotten when it cannot be dialled.
    Told(VerifyingKey),
    /// It is not any more.
    Uninterested(VerifyingKey),
    /// A link with this peer, which the configuration names, was just made by this node: whether the
    /// peer is interested it may have said by the time that it has an answer.
    Linked(VerifyingKey),
    /// The overlay reports the peer as a neighbour.
    Up(VerifyingKey),
    /// The overlay dropped it. Ends no session and no dial.
    Down(VerifyingKey),
    /// A session with the peer has passed its topic handshake.
    Opened {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// The side that dialled it.
        dialled: Dialled,
        /// `true` if the peer may be of release 0.7.1.
        published: bool,
    },
    /// A session ended.
    Ended {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// `None`: in order.
        fault: Option<Fault>,
    },
    /// An asked-for dial did not lead to a session.
    DialFailed {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Reason for the failure.
        fault: Fault,
    },
    /// An operation was dropped on the way in: compare with the peer again soon.
    Repair(VerifyingKey),
    /// The peer gave a sign of life: a connection, a discovery session, a new address.
    Shown(VerifyingKey),
    /// These sessions are not live; all others are.
    Behind(Vec<SessionId>),
    /// The network changed or the machine slept: try everyone again at once.
    Reset,
    /// Time has passed.
    Tick,
}

/// Output of the machine, for its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedOutput {
    /// Dial this peer; answer with `Opened` or `DialFailed`.
    Dial(VerifyingKey),
    /// Come back with `Tick` at this time.
    Wake(Time),
}

impl Need {
    /// Knows nobody yet. `seek` is the number of sessions that the node looks for; with 0 it looks
    /// for one with every candidate.
    pub fn new(local: VerifyingKey, topic: Topic, seek: usize, draws: Draws) -> Self {
        Self {
            local,
            topic,
            seek,
            draws,
            peers: Few::new(),
            ring: Vec::new(),
            gathered: None,
            fill: Time::ZERO,
            compare: Time::ZERO,
            compared: 0,
            behind: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, input: NeedInput, now: Time) {
        // News about others changes nothing at once for a node that has a session.
        let is_hearsay = matches!(
            input,
            NeedInput::Interested { .. }
                | NeedInput::Told(_)
                | NeedInput::Uninterested(_)
                | NeedInput::Down(_)
        );
        match input {
            NeedInput::Interested { peer, named } => self.interested(peer, named, now),
            NeedInput::Told(peer) => self.told(peer, now),
            NeedInput::Uninterested(peer) => self.uninterested(&peer),
            NeedInput::Linked(peer) => self.linked(peer, now),
            NeedInput::Up(peer) => self.up(peer, now),
            NeedInput::Down(peer) => self.down(&peer),
            NeedInput::Opened {
                peer,
                session,
                dialled,
                published,
            } => self.opened(peer, session, dialled, published, now),
            NeedInput::Ended {
                peer,
                session,
                fault,
            } => self.ended(&peer, session, fault, now),
            NeedInput::DialFailed { peer, fault } => self.dial_failed(&peer, fault, now),
            NeedInput::Repair(peer) => self.repair(&peer, now),
            NeedInput::Shown(peer) => self.shown(&peer, now),
            NeedInput::Behind(sessions) => self.behind(&sessions, now),
            NeedInput::Reset => self.reset(now),
            NeedInput::Tick => {}
        }
        match self.gathered {
            Some((_, until)) if is_hearsay && self.seek > 0 && !self.is_alone() => {
                self.outputs.push_back(NeedOutput::Wake(until));
            }
            _ => self.dial_needed(now),
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<NeedOutput> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // Not the memory of the busiest moment for as long as nothing happens.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Returns `true` if a session with the peer runs.
    pub fn has_session(&self, peer: &VerifyingKey) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.has_session())
    }

    /// Returns `true` if a sign of life of the peer would change what this node does.
    pub fn waits_for(&self, peer: &VerifyingKey) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.is_failing())
    }

    // Inputs.

    fn interested(&mut self, key: VerifyingKey, named: bool, now: Time) {
        if let Some(peer) = self.candidate(key, now) {
            peer.told = false;
            let newly_named = named && !peer.named;
            peer.named |= named;
            if newly_named {
                peer.due = peer.due.min(now.after(HEAD_START_NAMED_MS));
            }
        }
    }

    fn told(&mut self, key: VerifyingKey, now: Time) {
        let told = self.peers.values().filter(|peer| peer.told).count();
        if told < limits::CANDIDATES_TOLD_MAX && !self.peers.contains_key(&key) {
            self.candidate(key, now);
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.told = true;
            }
        }
    }

    fn uninterested(&mut self, key: &VerifyingKey) {
        let idle = |peer: &Candidate| !peer.has_session() && peer.dialling.is_none() && !peer.up;
        if self.peers.get(key).is_some_and(|peer| idle(peer)) {
            self.forget(key);
        }
    }

    fn linked(&mut self, key: VerifyingKey, now: Time) {
        if !self.is_alone() {
            return;
        }
        if let Some(peer) = self.candidate(key, now)
            && peer.is_living()
        {
            peer.named = true;
            peer.due = now;
        }
    }

    fn up(&mut self, key: VerifyingKey, now: Time) {
        let head_start_ms = self.head_start_ms(&key);
        if let Some(peer) = self.candidate(key, now).filter(|peer| !peer.up) {
            (peer.up, peer.told) = (true, false);
            peer.joined(head_start_ms, now);
            if peer.published {
                peer.due = now.after(head_start_ms);
            }
        }
    }

    fn down(&mut self, key: &VerifyingKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.up = false;
        }
    }

    fn opened(
        &mut self,
        key: VerifyingKey,
        session: SessionId,
        dialled: Dialled,
        published: bool,
        now: Time,
    ) {
        if let Some(peer) = self.candidate(key, now) {
            (peer.published, peer.told) = (published, false);
            peer.opened(session, dialled, now);
        }
    }

    fn ended(&mut self, key: &VerifyingKey, session: SessionId, fault: Option<Fault>, now: Time) {
        let head_start_ms = self.head_start_ms(key);
        if fault.is_some() {
            self.compare_anew();
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.ended(session, fault, head_start_ms, now, &mut self.draws);
        }
    }

    fn dial_failed(&mut self, key: &VerifyingKey, fault: Fault, now: Time) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.dialling = None;
        match peer.has_session() {
            true => peer.not_compared(now, &mut self.draws),
            // It is told of again as long as others know it.
            false if peer.told => self.forget(key),
            false => peer.failed(fault, now, &mut self.draws),
        }
    }

    fn repair(&mut self, key: &VerifyingKey, now: Time) {
        self.compare_anew();
        if let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.has_session()) {
            peer.compare_soon(FIRST_MS, now, &mut self.draws);
        }
    }

    fn shown(&mut self, key: &VerifyingKey, now: Time) {
        let head_start_ms = self.head_start_ms(key);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.shown(head_start_ms, now);
        }
    }

    /// Records sessions in catch-up. A peer whose catch-up takes longer than a minute does not
    /// count as one of the sought sessions.
    fn behind(&mut self, sessions: &[SessionId], now: Time) {
        let is_behind = |peer: &Candidate| {
            let mut running = peer.sessions.iter();
            let is_late = |(session, _, since): &(SessionId, Dialled, Time)| {
                *since + limits::SOUGHT_LIVE_WITHIN <= now && sessions.contains(session)
            };
            peer.has_session() && running.all(is_late)
        };
        let behind = self.peers.iter().filter(|(_, peer)| is_behind(peer));
        self.behind = behind.map(|(key, _)| *key).collect();
    }

    /// Returns `true` if some are behind, as far as it was said.
    pub fn has_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    fn reset(&mut self, now: Time) {
        self.gathered = None;
        self.fill = now;
        self.compare_anew();
        self.peers.values_mut().for_each(|peer| peer.reset(now));
    }

    // Who is known.

    /// A peer, from now on known. `None`: there is no room for it, or it is ourselves.
    fn candidate(&mut self, key: VerifyingKey, now: Time) -> Option<&mut Candidate> {
        if key == self.local {
            return None;
        }
        if !self.peers.contains_key(&key) {
            let place = place(&self.topic, &key);
            let mut peer = Candidate::new(place, now);
            peer.due = now.after(self.head_start_ms(&key));
            self.peers.insert(key, Box::new(peer));
            let at = self.ring.partition_point(|(other, _)| *other < place);
            if self.ring.is_empty() {
                self.ring.reserve_exact(1);
            }
            self.ring.insert(at, (place, key));
            self.gather(now);
            self.make_room();
        }
        self.peers.get_mut(&key).map(Box::as_mut)
    }

    fn forget(&mut self, key: &VerifyingKey) {
        if let Some(peer) = self.peers.remove(key) {
            self.ring.retain(|(place, _)| *place != peer.place);
        }
    }

    /// The one that is worth least goes: one that fails for long, or else the last on the ring.
    fn make_room(&mut self) {
        if self.peers.len() <= limits::CANDIDATES_MAX {
            return;
        }
        let idle = |key: &&VerifyingKey| {
            let peer = self.peers.get(*key);
            peer.is_some_and(|peer| {
                !peer.has_session() && peer.dialling.is_none() && !peer.up && !peer.named
            })
        };
        let after_us: Vec<VerifyingKey> = self.ring_after_us().copied().collect();
        let heard = |key: &&VerifyingKey| self.peers.get(*key).map(|peer| peer.heard());
        let failing = |key: &&VerifyingKey| self.waits_for(key);
        let told = |key: &&VerifyingKey| self.peers.get(*key).is_some_and(|peer| peer.told);
        let hearsay = after_us.iter().filter(idle).rfind(told);
        let least = || {
            let failing = after_us.iter().filter(idle).filter(failing);
            failing.min_by_key(heard)
        };
        let last = || after_us.iter().rfind(idle);
        if let Some(key) = hearsay.or_else(least).or_else(last).copied() {
            self.forget(&key);
        }
    }

    /// Waits a moment for more candidates before the ring is checked.
    fn gather(&mut self, now: Time) {
        let since = self.gathered.map_or(now, |(since, _)| since);
        let wait_ms = self.draws.between(GATHER_MS / 2, GATHER_MS);
        let until = now.after(wait_ms).min(since.after(GATHER_MAX_MS));
        self.gathered = Some((since, until));
    }

    fn head_start_ms(&self, key: &VerifyingKey) -> u64 {
        let named = self.peers.get(key).is_some_and(|peer| peer.named);
        match (self.local < *key, named) {
            (true, _) => 0,
            (false, true) => HEAD_START_NAMED_MS,
            (false, false) => HEAD_START_MS,
        }
    }

    fn ring_after_us(&self) -> impl Iterator<Item = &VerifyingKey> {
        let place = place(&self.topic, &self.local);
        let at = self.ring.partition_point(|(other, _)| *other < place);
        let (before, after) = self.ring.split_at(at.min(self.ring.len()));
        after.iter().chain(before).map(|(_, key)| key)
    }

    // Who is dialled.

    fn dial_needed(&mut self, now: Time) {
        if self.gathered.is_some_and(|(_, until)| until <= now) {
            self.gathered = None;
            self.fill = now.after(self.draws.between(0, FILL_MS));
        }
        self.compare_one(now);
        let needed = self.needed(now);
        // Peers that will be dialled anyway count as well.
        let coming = needed.iter().filter(|(key, due)| {
            let peer = self.peers.get(key);
            *due > now && peer.is_some_and(|peer| peer.is_living() && !peer.has_session())
        });
        let coming = coming.count();
        let mut wake = self.gathered.map(|(_, until)| until);
        for (key, due) in needed {
            self.dial_when_due(key, due, now, &mut wake);
        }
        if self.gathered.is_none() && self.lacks() > coming {
            self.fill_up(now, &mut wake);
        }
        if self.peers.values().any(|peer| peer.has_session()) {
            sooner(&mut wake, self.compare);
        }
        self.outputs.extend(wake.map(NeedOutput::Wake));
    }

    fn dial_when_due(
        &mut self,
        key: VerifyingKey,
        due: Time,
        now: Time,
        wake: &mut Option<Time>,
    ) -> bool {
        if due > now {
            sooner(wake, due);
            return false;
        }
        let room = self.seek == 0 || self.dialling() < limits::DIALS_AT_ONCE_MAX;
        let Some(peer) = self.peers.get_mut(&key).filter(|_| room) else {
            // The end of another dial is checked as well.
            return false;
        };
        peer.dial(now);
        self.outputs.push_back(NeedOutput::Dial(key));
        true
    }

    fn dialling(&self) -> usize {
        let dialling = self.peers.values();
        dialling.filter(|peer| peer.dialling.is_some()).count()
    }

    /// Now and then another session with one of the peers heals what no event told.
    fn compare_one(&mut self, now: Time) {
        if self.compare > now {
            return;
        }
        let is_first = self.compare == Time::ZERO;
        self.compared = match is_first {
            true => 0,
            false => self.compared.saturating_add(1),
        };
        let wait_ms = COMPARE_MS.saturating_mul(1 << self.compared.min(16));
        let wait_ms = wait_ms.min(COMPARE_MAX_MS);
        self.compare = now.after(self.draws.between(wait_ms, 2 * wait_ms));
        if is_first {
            return;
        }
        let owed = self.peers.iter().filter(|(_, peer)| peer.has_session());
        let owed = owed.map(|(key, _)| *key).filter(|key| self.local < *key);
        let owed: Vec<VerifyingKey> = owed.collect();
        let chosen = self.draws.position(owed.len());
        let chosen = chosen.and_then(|position| owed.get(position));
        if let Some(peer) = chosen.and_then(|key| self.peers.get_mut(key)) {
            peer.compare = Some(now);
        }
    }

    /// Something went wrong: from now on comparisons are as frequent as at first.
    fn compare_anew(&mut self) {
        if self.compared > 0 {
            self.compare = Time::ZERO;
        }
    }

    /// Returns the peers to dial and when, the most important first, without those being dialled.
    fn needed(&self, now: Time) -> Vec<(VerifyingKey, Time)> {
        let mut needed = self.owed();
        if self.seek == 0 {
            needed.extend(self.all_without_session());
        } else {
            if self.is_alone() {
                needed.extend(self.first_choice());
            }
            if self.gathered.is_none() {
                needed.extend(self.next_on_ring());
            }
            needed.extend(self.missed(now));
            if self.lacks() > 0 {
                needed.extend(self.failing());
            }
        }
        let mut chosen: BTreeSet<VerifyingKey> = BTreeSet::new();
        needed.retain(|(key, _)| {
            let peer = self.peers.get(key);
            peer.is_some_and(|peer| peer.dialling.is_none()) && chosen.insert(*key)
        });
        needed
    }

    /// Returns `true` if no session runs and none is about to.
    fn is_alone(&self) -> bool {
        !self.peers.values().any(|peer| peer.is_served())
    }

    /// Returns how many sessions are missing. Sessions that are behind are replaced, at most as
    /// many as are sought.
    fn lacks(&self) -> usize {
        let served = self.peers.values().filter(|peer| peer.is_served()).count();
        let behind = self.behind.iter().filter(|key| self.has_session(key));
        let behind = behind.count().min(self.seek);
        self.seek.saturating_sub(served.saturating_sub(behind))
    }

    /// Sessions that are owed although one runs, and those of published neighbours.
    fn owed(&self) -> Vec<(VerifyingKey, Time)> {
        let mut owed = Vec::new();
        for (key, peer) in self.peers.iter() {
            if peer.has_session() {
                owed.extend(peer.compare.map(|at| (*key, at)));
            }
            let missing = match self.local < *key {
                true => peer.owes_primary(),
                false => !peer.has_session(),
            };
            if peer.published && peer.up && missing {
                owed.push((*key, peer.due));
            }
        }
        owed
    }

    /// Returns the peer to dial at once while there is no session at all.
    fn first_choice(&self) -> Option<(VerifyingKey, Time)> {
        let after_us = self.ring_after_us();
        let living = after_us.filter_map(|key| {
            let peer = self.peers.get(key)?;
            peer.is_living().then_some((*key, peer.due, !peer.named))
        });
        let best = living.min_by_key(|(_, due, unnamed)| (*due, *unnamed));
        best.map(|(key, due, _)| (key, due))
    }

    /// The next living ones after us on the ring, and those before them that do not answer.
    fn next_on_ring(&self) -> Vec<(VerifyingKey, Time)> {
        let (mut living, mut failing) = (0, 0);
        let mut next = Vec::new();
        for key in self.ring_after_us() {
            let Some(peer) = self.peers.get(key) else {
                continue;
            };
            if peer.is_living() {
                living += 1;
                if !peer.has_session() {
                    next.push((*key, peer.due));
                }
            } else if failing < limits::RING_FAILING_MAX {
                failing += 1;
                next.push((*key, peer.due));
            }
            if living == limits::RING_NEXT {
                break;
            }
        }
        next
    }

    /// Those with which a session was lost a short time ago, the last ones first.
    fn missed(&self, now: Time) -> Vec<(VerifyingKey, Time)> {
        let missed = self.peers.iter().filter(|(_, peer)| peer.is_missed(now));
        let mut missed: Vec<_> = missed
            .map(|(key, peer)| (peer.heard(), *key, peer.due))
            .collect();
        missed.sort_unstable_by(|one, other| other.cmp(one));
        missed.truncate(limits::FAILING_SOUGHT_MAX);
        missed.into_iter().map(|(_, key, due)| (key, due)).collect()
    }

    /// Dials one of those that nothing speaks against, to make up the number: the named ones first,
    /// the others at random. One at a time: who accepts sessions meanwhile needs fewer of its own.
    fn fill_up(&mut self, now: Time, wake: &mut Option<Time>) {
        let idle = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_living() && !peer.has_session() && peer.dialling.is_none());
        let mut idle: Vec<_> = idle
            .map(|(key, peer)| (peer.due.max(self.fill), !peer.named, *key))
            .collect();
        idle.sort_unstable();
        let Some((due, unnamed, _)) = idle.first().copied() else {
            return;
        };
        let equal = idle
            .iter()
            .take_while(|(other, un, _)| (*other <= now || *other == due) && *un == unnamed);
        let chosen = self.draws.position(equal.count());
        let Some((_, _, key)) = chosen.and_then(|position| idle.get(position)).copied() else {
            return;
        };
        if self.dial_when_due(key, due, now, wake) {
            self.fill = now.after(self.draws.between(FILL_MS / 2, FILL_MS * 3 / 2));
            if self.lacks() > 0 {
                sooner(wake, self.fill);
            }
        }
    }

    fn all_without_session(&self) -> Vec<(VerifyingKey, Time)> {
        let idle = self.peers.iter().filter(|(_, peer)| !peer.has_session());
        idle.map(|(key, peer)| (*key, peer.due)).collect()
    }

    /// Those that do not answer and are tried all the same: the named ones, and those heard last.
    fn failing(&self) -> Vec<(VerifyingKey, Time)> {
        let failing = self.peers.iter().filter(|(_, peer)| peer.is_failing());
        let mut failing: Vec<_> = failing
            .map(|(key, peer)| (peer.named, peer.heard(), *key, peer.due))
            .collect();
        failing.sort_unstable_by(|one, other| other.cmp(one));
        failing.truncate(limits::FAILING_SOUGHT_MAX);
        let dues = failing.into_iter().map(|(_, _, key, due)| (key, due));
        dues.collect()
    }
}

fn sooner(wake: &mut Option<Time>, at: Time) {
    *wake = Some(wake.map_or(at, |wake| wake.min(at)));
}

/// Returns the position of a node on the ring of a topic. To get a position next to another node,
/// one must try many keys, for each topic again.
fn place(topic: &Topic, node: &VerifyingKey) -> Place {
    *Hash::digest_parts(&[topic.as_bytes(), node.as_bytes()]).as_bytes()
}
