//! All overlays of a node and all peers that it gossips with. Knows no socket: what is to be sent
//! is queued for its carrier, and who is to be dialled is told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::draws::Draws;
use p2panda_protocol::gossip::{Context, Input, Kind, Member, Message, Output};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::time::{Time, patience};

use super::outgoing::{Outgoing, Pushed};
use super::subscription::News;
use crate::connections::Connections;

/// Overlays and peers.
#[derive(Debug)]
pub(super) struct Driver {
    local: VerifyingKey,
    neighbours_max: usize,
    duty_wait: Duration,
    draws: Draws,
    addresses: Bytes,
    connections: Connections,
    overlays: HashMap<Overlay, Joined>,
    peers: HashMap<VerifyingKey, Peer>,
    wakes: BTreeSet<(Time, Overlay)>,
    /// Time at which peers are checked that no overlay needs.
    sweep_at: Option<Time>,
    dials: Vec<Dial>,
}

/// A peer that has to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) peer: VerifyingKey,
    /// Not before.
    pub(super) at: Time,
}

#[derive(Debug)]
struct Joined {
    /// Boxed: the map has room for more of them than there are.
    member: Box<Member>,
    wake: Option<Time>,
    news: Vec<Arc<News>>,
}

#[derive(Debug)]
struct Peer {
    /// The ways to it, the newest last: that one is used.
    ways: Vec<Arc<Outgoing>>,
    /// While it is dialled: what will be sent then.
    waiting: Option<Arc<Outgoing>>,
    dialled: Option<Time>,
    /// Those that need a way to it.
    overlays: BTreeSet<Overlay>,
    /// Time since which there are none.
    idle_since: Time,
    round_trip: Duration,
}

impl Peer {
    fn new(now: Time) -> Peer {
        Peer {
            ways: Vec::new(),
            waiting: None,
            dialled: None,
            overlays: BTreeSet::new(),
            idle_since: now,
            round_trip: Duration::ZERO,
        }
    }

    /// Returns the time until which it may be of no use to any overlay.
    fn duty_until(&self, wait: Duration) -> Time {
        self.idle_since + patience(wait, self.round_trip)
    }
}

impl Driver {
    pub(super) fn new(
        local: VerifyingKey,
        neighbours_max: usize,
        duty_wait: Duration,
        draws: Draws,
        connections: Connections,
    ) -> Driver {
        Driver {
            local,
            neighbours_max,
            duty_wait,
            draws,
            addresses: Bytes::new(),
            connections,
            overlays: HashMap::new(),
            peers: HashMap::new(),
            wakes: BTreeSet::new(),
            sweep_at: None,
            dials: Vec::new(),
        }
    }

    pub(super) fn set_addresses(&mut self, addresses: Bytes) {
        self.addresses = addresses;
    }

    /// Joins an overlay. Who subscribes to one that is joined sees its neighbours at once.
    pub(super) fn subscribe(&mut self, overlay: Overlay) -> Arc<News> {
        let news = Arc::new(News::default());
        let joined = self.overlays.entry(overlay).or_insert_with(|| Joined {
            member: Box::new(Member::new(self.local, self.neighbours_max)),
            wake: None,
            news: Vec::new(),
        });
        for peer in joined.member.neighbours() {
            news.up(*peer);
        }
        joined.news.push(news.clone());
        news
    }

    /// The last one to leave an overlay tells the neighbours.
    pub(super) fn unsubscribe(&mut self, overlay: Overlay, news: &Arc<News>, now: Time) {
        let Some(joined) = self.overlays.get_mut(&overlay) else {
            return;
        };
        joined.news.retain(|other| !Arc::ptr_eq(other, news));
        if joined.news.is_empty() {
            self.leave(overlay, now);
        }
    }

    /// Leaves all overlays. Returns where the farewells wait to be sent.
    pub(super) fn leave_all(&mut self, now: Time) -> Vec<Arc<Outgoing>> {
        let overlays: Vec<Overlay> = self.overlays.keys().copied().collect();
        for overlay in overlays {
            self.leave(overlay, now);
        }
        let ways = self.peers.values().filter_map(|peer| peer.ways.last());
        ways.cloned().collect()
    }

    fn leave(&mut self, overlay: Overlay, now: Time) {
        self.handle(overlay, Input::Leave, now);
        if let Some(joined) = self.overlays.remove(&overlay)
            && let Some(wake) = joined.wake
        {
            self.wakes.remove(&(wake, overlay));
        }
    }

    /// Returns the number of nodes that an overlay still has to ask.
    pub(super) fn lacking(&self, overlay: &Overlay) -> usize {
        let joined = self.overlays.get(overlay);
        joined.map_or(0, |joined| joined.member.lacking())
    }

    pub(super) fn join(&mut self, overlay: Overlay, peers: Vec<VerifyingKey>, now: Time) {
        self.handle(overlay, Input::Join(peers), now);
    }

    /// Returns `true` if a peer can be reached, or a way to it is being looked for.
    pub(super) fn has_way(&self, peer: &VerifyingKey) -> bool {
        self.way(peer).is_some()
    }

    /// Returns `true` if a peer is a neighbour somewhere.
    pub(super) fn is_neighbour(&self, peer: &VerifyingKey) -> bool {
        let found = self.peers.get(peer);
        let overlays = found.into_iter().flat_map(|found| &found.overlays);
        let mut joined = overlays.filter_map(|overlay| self.overlays.get(overlay));
        joined.any(|joined| joined.member.is_neighbour(peer))
    }

    pub(super) fn ask_if_lacking(&mut self, overlay: Overlay, peer: VerifyingKey, now: Time) {
        if self.lacking(&overlay) > 0 {
            self.join(overlay, vec![peer], now);
        }
    }

    /// Broadcasts, unless too much waits for every neighbour: then that is answered for which
    /// there is room again first.
    pub(super) fn broadcast(
        &mut self,
        overlay: Overlay,
        content: &Bytes,
        now: Time,
    ) -> Option<Arc<Outgoing>> {
        let joined = self.overlays.get(&overlay)?;
        let pushed_to = joined.member.pushed_to();
        let ways = pushed_to.iter().filter_map(|peer| self.way(peer));
        let mut full = None;
        for way in ways.filter(|way| !way.is_closed()) {
            if way.has_room() {
                full = None;
                break;
            }
            full = Some(way.clone());
        }
        if full.is_some() {
            return full;
        }
        self.handle(overlay, Input::Broadcast(content.clone()), now);
        None
    }

    /// The peer has proved itself.
    pub(super) fn proved(&mut self, peer: VerifyingKey, now: Time) {
        let overlays = self.peers.get(&peer).map(|peer| peer.overlays.clone());
        for overlay in overlays.into_iter().flatten() {
            self.handle(overlay, Input::Keep(peer), now);
        }
    }

    /// There is another way to a peer; it takes what waits. The oldest of too many ends.
    pub(super) fn attach(
        &mut self,
        peer: VerifyingKey,
        round_trip: Duration,
        now: Time,
    ) -> Arc<Outgoing> {
        let way = Arc::new(Outgoing::default());
        let found = self.peers.entry(peer).or_insert_with(|| Peer::new(now));
        found.round_trip = round_trip;
        if let Some(waiting) = &found.waiting {
            waiting.move_to(&way);
            found.waiting = None;
        }
        found.ways.push(way.clone());
        if found.overlays.is_empty() {
            found.idle_since = now;
        }
        if found.ways.len() > limits::GOSSIP_CONNECTIONS_PER_PEER_MAX {
            let oldest = found.ways.remove(0);
            if let Some(newest) = found.ways.last() {
                oldest.move_to(newest);
            }
        }
        let duty_until = found.duty_until(self.duty_wait);
        self.sweep_at(duty_until);
        way
    }

    /// A way to a peer has ended. Without another one the overlays lose it.
    pub(super) fn detach(&mut self, peer: VerifyingKey, way: &Arc<Outgoing>, now: Time) {
        let Some(found) = self.peers.get_mut(&peer) else {
            return way.close(CloseCode::Done);
        };
        found.ways.retain(|other| !Arc::ptr_eq(other, way));
        match found.ways.last() {
            Some(newest) => way.move_to(newest),
            None => way.close(CloseCode::Done),
        }
        self.lost_if_unreachable(peer, now);
    }

    /// A dial did not lead to a connection.
    pub(super) fn dial_failed(&mut self, peer: VerifyingKey, now: Time) {
        if let Some(found) = self.peers.get_mut(&peer) {
            found.waiting = None;
            self.lost_if_unreachable(peer, now);
        }
    }

    fn lost_if_unreachable(&mut self, peer: VerifyingKey, now: Time) {
        let Some(found) = self.peers.get(&peer) else {
            return;
        };
        if !found.ways.is_empty() || found.waiting.is_some() {
            return;
        }
        for overlay in found.overlays.clone() {
            self.handle(overlay, Input::Lost(peer), now);
        }
        self.forget_peer(peer, now);
    }

    /// The memory of when it was dialled is kept for as long as it means something.
    fn forget_peer(&mut self, peer: VerifyingKey, now: Time) {
        let Some(found) = self.peers.get(&peer) else {
            return;
        };
        let dialled = found.dialled.map(|at| at + limits::GOSSIP_DIAL_INTERVAL);
        let is_used = !found.ways.is_empty() || found.waiting.is_some();
        if is_used || !found.overlays.is_empty() {
            return;
        }
        match dialled.filter(|until| *until > now) {
            Some(until) => self.sweep_at(until),
            None => drop(self.peers.remove(&peer)),
        }
    }

    /// An overlay cannot be shared with a peer: it allows no stream for it.
    pub(super) fn no_stream(&mut self, peer: VerifyingKey, overlay: Overlay, now: Time) {
        self.handle(overlay, Input::Lost(peer), now);
    }

    /// Messages of a peer in one overlay.
    pub(super) fn received(
        &mut self,
        from: VerifyingKey,
        overlay: Overlay,
        messages: Vec<Message>,
        round_trip: Duration,
        now: Time,
    ) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.round_trip = round_trip;
        }
        for message in messages {
            let Some(joined) = self.overlays.get(&overlay) else {
                return;
            };
            if let Message::Payload { id, content, .. } = &message
                && !joined.member.knows(id)
                && !self.connections.broadcast(from, content.len())
            {
                continue;
            }
            let input = Input::Received {
                from,
                message,
                round_trip,
            };
            self.handle(overlay, input, now);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Time) {
        while let Some((wake, overlay)) = self.wakes.first().copied()
            && wake <= now
        {
            self.wakes.pop_first();
            if let Some(joined) = self.overlays.get_mut(&overlay) {
                joined.wake = None;
            }
            self.handle(overlay, Input::Tick, now);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    /// Returns the time at which something is due next.
    pub(super) fn wake(&self) -> Option<Time> {
        let overlay = self.wakes.first().map(|(wake, _)| *wake);
        overlay.into_iter().chain(self.sweep_at).min()
    }

    /// Takes the peers to dial since the last call.
    pub(super) fn dials(&mut self) -> Vec<Dial> {
        std::mem::take(&mut self.dials)
    }

    /// Ends the connections of peers that no overlay needs.
    fn sweep(&mut self, now: Time) {
        self.sweep_at = None;
        let idle = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.overlays.is_empty());
        let idle: Vec<(VerifyingKey, Time)> = idle
            .map(|(key, peer)| (*key, peer.duty_until(self.duty_wait)))
            .collect();
        for (key, until) in idle {
            if until > now {
                self.sweep_at(until);
                self.forget_peer(key, now);
                continue;
            }
            let ways = self.peers.get(&key).map(|peer| peer.ways.clone());
            for way in ways.into_iter().flatten() {
                tracing::debug!(peer = %key, "a connection is of no use to any overlay");
                way.close(CloseCode::Timeout);
            }
            self.forget_peer(key, now);
        }
    }

    fn sweep_at(&mut self, at: Time) {
        self.sweep_at = Some(self.sweep_at.map_or(at, |other| other.min(at)));
    }

    fn way(&self, peer: &VerifyingKey) -> Option<&Arc<Outgoing>> {
        let peer = self.peers.get(peer)?;
        peer.ways.last().or(peer.waiting.as_ref())
    }

    fn handle(&mut self, overlay: Overlay, input: Input, now: Time) {
        let Some(joined) = self.overlays.get_mut(&overlay) else {
            return;
        };
        let context = Context {
            now,
            draws: &mut self.draws,
            addresses: &self.addresses,
        };
        joined.member.handle(input, context);
        let outputs: Vec<Output> = std::iter::from_fn(|| joined.member.poll()).collect();
        let wake = joined.member.wake();
        if wake != joined.wake {
            if let Some(before) = joined.wake {
                self.wakes.remove(&(before, overlay));
            }
            self.wakes.extend(wake.map(|wake| (wake, overlay)));
            joined.wake = wake;
        }
        for output in outputs {
            self.output(overlay, output, now);
        }
    }

    fn output(&mut self, overlay: Overlay, output: Output, now: Time) {
        match output {
            Output::Send { to, frame, kind } => self.send(to, overlay, frame, kind, now),
            Output::Up(peer) => {
                self.needed(peer, overlay, now);
                self.tell(&overlay, |news| news.up(peer));
                if self.connections.is_proven(&peer) {
                    self.handle(overlay, Input::Keep(peer), now);
                } else {
                    self.connections.neighbour(&peer);
                }
            }
            Output::Down(peer) => self.tell(&overlay, |news| news.down(&peer)),
            Output::Deliver { content, from } => {
                self.tell(&overlay, |news| news.message(content.clone(), from));
            }
            Output::Free(peer) => self.freed(peer, overlay, now),
        }
    }

    fn tell(&self, overlay: &Overlay, tell: impl Fn(&News)) {
        let joined = self.overlays.get(overlay);
        for news in joined.into_iter().flat_map(|joined| &joined.news) {
            tell(news);
        }
    }

    fn needed(&mut self, peer: VerifyingKey, overlay: Overlay, now: Time) {
        let peer = self.peers.entry(peer).or_insert_with(|| Peer::new(now));
        peer.overlays.insert(overlay);
    }

    fn freed(&mut self, peer: VerifyingKey, overlay: Overlay, now: Time) {
        let Some(found) = self.peers.get_mut(&peer) else {
            return;
        };
        // Another answer in the same turn may have asked for it again.
        let joined = self.overlays.get(&overlay);
        if joined.is_some_and(|joined| joined.member.needs(&peer)) {
            return;
        }
        if found.overlays.remove(&overlay) && found.overlays.is_empty() {
            found.idle_since = now;
            let duty_until = found.duty_until(self.duty_wait);
            self.sweep_at(duty_until);
        }
    }

    fn send(&mut self, to: VerifyingKey, overlay: Overlay, frame: Bytes, kind: Kind, now: Time) {
        if kind == Kind::Ask {
            self.needed(to, overlay, now);
            self.ensure_way(to, now);
        }
        let spare =
            limits::GOSSIP_QUEUE_SPARE_BYTES + self.overlays.len() * limits::GOSSIP_STREAM_BYTES;
        let Some(way) = self.way(&to) else {
            return;
        };
        if way.push(overlay, frame, kind, spare) == Pushed::Full {
            // Its end tells both sides, and all overlays.
            tracing::debug!(peer = %to, "the peer takes too little of what is sent to it");
            way.close(CloseCode::Limit);
        }
    }

    fn ensure_way(&mut self, peer: VerifyingKey, now: Time) {
        let Some(found) = self.peers.get_mut(&peer) else {
            return;
        };
        if !found.ways.is_empty() || found.waiting.is_some() {
            return;
        }
        let again = found.dialled.map(|at| at + limits::GOSSIP_DIAL_INTERVAL);
        let at = again.unwrap_or(now).max(now);
        found.dialled = Some(at);
        found.waiting = Some(Arc::default());
        self.dials.push(Dial { peer, at });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use p2panda_core::SigningKey;
    use p2panda_protocol::book::Book;
    use p2panda_protocol::gossip::Priority;

    use super::*;
    use crate::alpns::Alpns;
    use crate::book::AddressBook;
    use crate::clock::Clock;
    use crate::config::Config;

    const OVERLAY: Overlay = Overlay::from_bytes([1; 32]);
    const SOON: Duration = Duration::from_millis(20);

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn at(ms: u64) -> Time {
        Time::ZERO.after(ms)
    }

    fn driver() -> Driver {
        let config = Config::new(SigningKey::from_bytes(&[0; 32]));
        let local = config.signing_key.verifying_key();
        let book = AddressBook::new(local, Book::new(local), Clock::start());
        let connections = Connections::new(config.budget.clone(), book, Alpns::new(&config));
        let duty_wait = limits::GOSSIP_DUTY_WAIT;
        Driver::new(local, 8, duty_wait, Draws::from_seed([1; 32]), connections)
    }

    fn accepted() -> Message {
        Message::Neighbour {
            priority: Priority::High,
            addresses: None,
        }
    }

    /// A driver with these neighbours, and the ways to them.
    fn with_neighbours(seeds: &[u8]) -> (Driver, Arc<News>, Vec<Arc<Outgoing>>) {
        let mut driver = driver();
        let news = driver.subscribe(OVERLAY);
        let mut ways = Vec::new();
        for seed in seeds {
            ways.push(driver.attach(key(*seed), SOON, at(0)));
            driver.received(key(*seed), OVERLAY, vec![accepted()], SOON, at(0));
        }
        assert_eq!(news.neighbours().len(), seeds.len());
        (driver, news, ways)
    }

    #[test]
    fn a_join_after_a_failed_dial_is_dialled() {
        let mut driver = driver();
        driver.subscribe(OVERLAY);
        let peer = key(1);
        let mut now = 0;
        for _ in 0..5 {
            driver.join(OVERLAY, vec![peer], at(now));
            let dials = driver.dials();
            assert_eq!(dials.len(), 1);
            assert!(dials[0].at >= at(now) && dials[0].at <= at(now + 1_000));
            now += 1_500;
            driver.dial_failed(peer, at(now));
            assert_eq!(driver.lacking(&OVERLAY), limits::GOSSIP_NEIGHBOURS_WANTED);
        }
        // Nothing is remembered of it in the end.
        driver.tick(at(now + 60_000));
        assert!(driver.peers.is_empty());
    }

    #[tokio::test]
    async fn what_waits_for_a_dial_takes_the_first_connection() {
        let mut driver = driver();
        driver.subscribe(OVERLAY);
        driver.join(OVERLAY, vec![key(1)], at(0));
        let way = driver.attach(key(1), SOON, at(5));
        let batch = way.next().await.unwrap();
        assert_eq!((batch.overlay, batch.frames.len()), (OVERLAY, 1));
        driver.dial_failed(key(1), at(10));
        assert!(!way.is_closed());
        assert_eq!(
            driver.lacking(&OVERLAY),
            limits::GOSSIP_NEIGHBOURS_WANTED - 1
        );
    }

    #[test]
    fn a_peer_is_lost_with_its_last_way_and_dialled_again() {
        let (mut driver, news, ways) = with_neighbours(&[1]);
        let second = driver.attach(key(1), SOON, at(5));
        driver.detach(key(1), &ways[0], at(10));
        assert_eq!(news.neighbours().len(), 1);
        driver.detach(key(1), &second, at(20));
        assert!(news.neighbours().is_empty());
        driver.join(OVERLAY, vec![key(1)], at(30));
        assert_eq!(driver.dials().len(), 1);
    }

    #[test]
    fn of_too_many_ways_the_oldest_ends_and_the_newest_is_used() {
        let mut driver = driver();
        let most = limits::GOSSIP_CONNECTIONS_PER_PEER_MAX;
        let mut ways = Vec::new();
        for number in 0..=most {
            ways.push(driver.attach(key(1), SOON, at(number as u64)));
        }
        let closed: Vec<bool> = ways.iter().map(|way| way.is_closed()).collect();
        assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
        assert!(closed[0]);
        assert!(Arc::ptr_eq(driver.way(&key(1)).unwrap(), &ways[most]));
    }

    #[test]
    fn a_way_that_serves_no_overlay_ends_after_a_while_by_the_path() {
        let (mut driver, _news, ways) = with_neighbours(&[1]);
        let near = driver.attach(key(2), SOON, at(0));
        let far = driver.attach(key(3), Duration::from_secs(3), at(0));
        driver.tick(at(29_999));
        assert!(!near.is_closed());
        driver.tick(at(30_000));
        assert!(near.is_closed() && !far.is_closed() && !ways[0].is_closed());
        driver.tick(at(60_000));
        assert!(far.is_closed() && !ways[0].is_closed());
    }

    #[test]
    fn a_peer_that_takes_nothing_stops_no_other() {
        let (mut driver, news, ways) = with_neighbours(&[1, 2]);
        let content = |number: u64| Bytes::from([&number.to_be_bytes()[..], &[0; 992]].concat());
        // The second one takes all of it.
        for number in 0..2_000 {
            let full = driver.broadcast(OVERLAY, &content(number), at(0));
            assert!(full.is_none());
            while ways[1].take().is_some() {}
        }
        assert!(!ways[0].is_closed());
        assert_eq!(news.neighbours().len(), 2);
        // When both take nothing, the application waits.
        let mut number = 2_000;
        while driver.broadcast(OVERLAY, &content(number), at(0)).is_none() {
            number += 1;
            assert!(number < 3_000);
        }
        // What keeps the overlay together fits for a while, and then the connection ends.
        for stranger in 0..40_000_u64 {
            let overlay = OVERLAY;
            driver.send(key(1), overlay, content(stranger), Kind::Control, at(0));
        }
        assert!(ways[0].is_closed() && !ways[1].is_closed());
    }
}
