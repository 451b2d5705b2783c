//! Promises of who syncs with whom, under simulated time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::SigningKey;

use super::*;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// Duration of a dial that nobody answers, and of one that is answered.
const DIAL_MS: u64 = 10 * SECOND;
const ROUND_MS: u64 = 50;
/// Interval at which the transport repeats what was not answered.
const REPEAT_MS: u64 = 2 * SECOND;
const IDLE_MS: u64 = 10 * SECOND;

fn key(number: usize) -> VerifyingKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SigningKey::from_bytes(&seed).verifying_key()
}

fn topic() -> Topic {
    Topic::from_bytes([3; 32])
}

fn at(ms: u64) -> Time {
    Time::ZERO.after(ms)
}

/// The smaller and the larger node id.
fn two() -> (VerifyingKey, VerifyingKey) {
    let (one, other) = (key(1), key(2));
    (one.min(other), one.max(other))
}

fn need(local: VerifyingKey, seek: usize) -> Need {
    Need::new(local, topic(), seek, Draws::from_seed([5; 32]))
}

fn dials(need: &mut Need, input: NeedInput, ms: u64) -> Vec<VerifyingKey> {
    need.handle(input, at(ms));
    let outputs = std::iter::from_fn(|| need.poll());
    let dials = outputs.filter_map(|output| match output {
        NeedOutput::Dial(peer) => Some(peer),
        NeedOutput::Wake(_) => None,
    });
    dials.collect()
}

fn interested(peer: VerifyingKey) -> NeedInput {
    NeedInput::Interested { peer, named: false }
}

fn opened(peer: VerifyingKey, session: u64, dialled: Dialled) -> NeedInput {
    NeedInput::Opened {
        peer,
        session: SessionId(session),
        dialled,
        published: false,
    }
}

fn ended(peer: VerifyingKey, session: u64, fault: Option<Fault>) -> NeedInput {
    NeedInput::Ended {
        peer,
        session: SessionId(session),
        fault,
    }
}

fn failed(peer: VerifyingKey, fault: Fault) -> NeedInput {
    NeedInput::DialFailed { peer, fault }
}

/// Returns the time of the first dial after `from_ms`.
fn next_dial(need: &mut Need, from_ms: u64, until_ms: u64) -> Option<u64> {
    (from_ms..until_ms)
        .step_by(50)
        .find(|ms| !dials(need, NeedInput::Tick, *ms).is_empty())
}

#[test]
fn the_larger_node_waits_two_seconds_before_it_dials() {
    let (small, large) = two();
    let mut need_small = need(small, 5);
    assert_eq!(dials(&mut need_small, interested(large), 0), [large]);
    let mut waits = need(large, 5);
    assert!(dials(&mut waits, interested(small), 0).is_empty());
    assert_eq!(next_dial(&mut waits, 0, MINUTE), Some(2 * SECOND));
    let mut served = need(large, 5);
    dials(&mut served, interested(small), 0);
    dials(&mut served, opened(small, 1, Dialled::ByThem), SECOND);
    assert_eq!(next_dial(&mut served, SECOND, HOUR), None);
    let mut named = need(large, 5);
    let peer = small;
    dials(&mut named, NeedInput::Interested { peer, named: true }, 0);
    assert_eq!(next_dial(&mut named, 0, MINUTE), Some(250));
}

#[test]
fn a_peer_that_only_catches_up_is_none_of_those_that_are_sought() {
    let keys: Vec<_> = (1..20).map(key).collect();
    let mut need = need(keys[0], 3);
    // Three that are served, and never become live.
    for (number, peer) in keys[1..4].iter().enumerate() {
        dials(&mut need, opened(*peer, number as u64, Dialled::ByThem), 0);
    }
    for peer in &keys[4..] {
        dials(&mut need, interested(*peer), SECOND);
    }
    let mut session = 10;
    // Anyone who is dialled is served, and live.
    let mut dialled_until = |need: &mut Need, from_ms: u64, until_ms: u64, behind: &[u64]| {
        let mut count = 0;
        for ms in (from_ms..until_ms).step_by(100) {
            let behind = behind.iter().map(|number| SessionId(*number)).collect();
            let mut all = dials(need, NeedInput::Behind(behind), ms);
            all.extend(dials(need, NeedInput::Tick, ms));
            for peer in all {
                count += 1;
                session += 1;
                dials(need, opened(peer, session, Dialled::ByUs), ms);
            }
        }
        count
    };
    let ring = dialled_until(&mut need, SECOND, 59 * SECOND, &[0, 1, 2]);
    assert!(ring <= 2, "the next two on the ring");
    let more = dialled_until(&mut need, 59 * SECOND, 4 * MINUTE, &[0, 1, 2]);
    assert_eq!(ring + more, 3, "as many as are sought");
    assert!(need.has_behind());
    assert_eq!(dialled_until(&mut need, 4 * MINUTE, 5 * MINUTE, &[]), 0);
    assert!(!need.has_behind());
}

#[test]
fn a_named_peer_is_tried_once_linked() {
    let (small, large) = two();
    for local in [small, large] {
        let peer = if local == small { large } else { small };
        let mut need = need(local, 5);
        assert_eq!(dials(&mut need, NeedInput::Linked(peer), 0), [peer]);
        // What it says of itself meanwhile asks for no other session.
        let says = NeedInput::Interested { peer, named: true };
        assert!(dials(&mut need, says, 10).is_empty());
        dials(&mut need, opened(peer, 1, Dialled::ByUs), 20);
        dials(&mut need, ended(peer, 1, Some(Fault::NotServed)), 30);
        dials(&mut need, NeedInput::Uninterested(peer), 30);
        assert_eq!(next_dial(&mut need, 50, HOUR), None);
    }
}

#[test]
fn a_link_with_a_peer_that_has_just_failed_changes_no_wait() {
    let (small, large) = two();
    let mut need = need(small, 5);
    assert_eq!(dials(&mut need, interested(large), 0), [large]);
    assert!(dials(&mut need, failed(large, Fault::Failed), 10).is_empty());
    assert!(dials(&mut need, NeedInput::Linked(large), 20).is_empty());
}

#[test]
fn a_peer_that_dialled_us_is_not_dialled_back() {
    let (small, large) = two();
    let mut need = need(small, 5);
    assert!(dials(&mut need, opened(large, 1, Dialled::ByThem), 0).is_empty());
    assert!(dials(&mut need, interested(large), 10).is_empty());
    assert_eq!(next_dial(&mut need, 0, 4 * MINUTE), None);
}

#[test]
fn a_peer_by_hearsay_is_dialled_and_forgotten_on_failure() {
    let (small, large) = two();
    let mut alone = need(small, 5);
    assert_eq!(dials(&mut alone, NeedInput::Told(large), 0), [large]);
    dials(&mut alone, failed(large, Fault::Silent), SECOND);
    assert_eq!(next_dial(&mut alone, SECOND, HOUR), None);
    // It is told of again, and serves; from then on it is a peer like others.
    assert_eq!(dials(&mut alone, NeedInput::Told(large), HOUR), [large]);
    dials(&mut alone, opened(large, 1, Dialled::ByUs), HOUR);
    dials(
        &mut alone,
        ended(large, 1, Some(Fault::Failed)),
        HOUR + MINUTE,
    );
    assert!(next_dial(&mut alone, HOUR + MINUTE, 2 * HOUR).is_some());
    dials(&mut alone, failed(large, Fault::Silent), HOUR + 2 * MINUTE);
    assert!(next_dial(&mut alone, HOUR + 2 * MINUTE, 2 * HOUR).is_some());
}

#[test]
fn hearsay_takes_no_place_of_those_who_spoke_themselves() {
    let local = key(0);
    let mut need = need(local, 5);
    dials(&mut need, opened(key(1), 1, Dialled::ByThem), 0);
    let told = limits::CANDIDATES_TOLD_MAX + 10;
    for number in 10..10 + told {
        dials(&mut need, NeedInput::Told(key(number)), 1);
    }
    let hearsay = |need: &Need| need.peers.values().filter(|peer| peer.told).count();
    assert_eq!(hearsay(&need), limits::CANDIDATES_TOLD_MAX);
    for number in 1_000..1_000 + limits::CANDIDATES_MAX {
        dials(&mut need, interested(key(number)), 2);
    }
    assert_eq!(hearsay(&need), 0);
    assert_eq!(need.peers.len(), limits::CANDIDATES_MAX);
}

#[test]
fn a_peer_dropped_by_the_overlay_keeps_its_session() {
    let (small, large) = two();
    let mut need = need(small, 5);
    assert_eq!(dials(&mut need, NeedInput::Up(large), 0), [large]);
    dials(&mut need, opened(large, 1, Dialled::ByUs), 10);
    // Its session runs on, and it is not forgotten: when that session fails, it is dialled again.
    assert!(dials(&mut need, NeedInput::Down(large), 20).is_empty());
    assert!(need.has_session(&large));
    assert_eq!(next_dial(&mut need, 20, MINUTE), None);
    dials(&mut need, ended(large, 1, Some(Fault::Failed)), MINUTE);
    assert!(!need.has_session(&large));
    let again = next_dial(&mut need, MINUTE, HOUR).unwrap();
    assert!(again - MINUTE <= 1_250, "after {} ms", again - MINUTE);
    // A dial that runs while the overlay drops the peer is over only when it has failed.
    dials(&mut need, NeedInput::Up(large), 2 * MINUTE);
    dials(&mut need, NeedInput::Down(large), 2 * MINUTE);
    dials(&mut need, failed(large, Fault::Silent), 2 * MINUTE);
    assert!(next_dial(&mut need, 2 * MINUTE, 3 * MINUTE).is_some());
}

#[test]
fn a_failed_session_is_replaced_while_another_runs() {
    let (small, large) = two();
    for local in [small, large] {
        let peer = if local == small { large } else { small };
        let mut need = need(local, 5);
        dials(&mut need, interested(peer), 0);
        dials(&mut need, opened(peer, 1, Dialled::ByUs), 10);
        dials(&mut need, opened(peer, 2, Dialled::ByThem), 20);
        let mut dialled = dials(&mut need, ended(peer, 1, Some(Fault::Failed)), 30);
        if local == large {
            // The other side may have seen it as well.
            assert!(dialled.is_empty());
            dialled = dials(&mut need, NeedInput::Tick, 2 * SECOND + 30);
        }
        assert_eq!(dialled, [peer]);
    }
}

#[test]
fn a_refusing_peer_is_asked_ever_more_rarely() {
    let (small, large) = two();
    let mut need = need(small, 5);
    dials(&mut need, interested(large), 0);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..14 {
        dials(
            &mut need,
            failed(large, Fault::Refused(Duration::ZERO)),
            now,
        );
        dials(&mut need, NeedInput::Shown(large), now);
        let next = next_dial(&mut need, now, now + HOUR).unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits[0] <= 1_300 && waits[13] >= 220 * SECOND, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 380 * SECOND), "{waits:?}");
    // It comes itself: it is served, no matter what it said before.
    assert!(dials(&mut need, opened(large, 9, Dialled::ByThem), now).is_empty());
}

#[test]
fn a_refusing_peer_is_not_asked_before_its_wait_ends() {
    let (small, large) = two();
    let mut need = need(small, 5);
    dials(&mut need, interested(large), 0);
    let mut now = 0;
    for _ in 0..14 {
        let wait = Fault::Refused(Duration::from_millis(30 * SECOND));
        dials(&mut need, failed(large, wait), now);
        let next = next_dial(&mut need, now, now + HOUR).unwrap();
        assert!((30 * SECOND..=380 * SECOND).contains(&(next - now)));
        now = next;
    }
}

#[test]
fn a_sign_of_a_silent_peer_ends_its_wait() {
    let (small, large) = two();
    let mut need = need(small, 5);
    dials(&mut need, interested(large), 0);
    // An hour of silence.
    let mut now = DIAL_MS;
    while now < HOUR {
        dials(&mut need, failed(large, Fault::Silent), now);
        now = next_dial(&mut need, now, now + HOUR).unwrap() + DIAL_MS;
    }
    dials(&mut need, failed(large, Fault::Silent), now);
    assert!(need.waits_for(&large));
    assert!(dials(&mut need, NeedInput::Tick, now + SECOND).is_empty());
    assert_eq!(
        dials(&mut need, NeedInput::Shown(large), now + SECOND),
        [large]
    );
    assert!(!need.waits_for(&large));
}

#[test]
fn a_changed_network_is_tried_at_once() {
    let (small, large) = two();
    let mut with_session = need(large, 5);
    dials(&mut with_session, interested(small), 0);
    dials(&mut with_session, opened(small, 1, Dialled::ByThem), 10);
    assert_eq!(dials(&mut with_session, NeedInput::Reset, 20), [small]);
    let mut without = need(small, 5);
    dials(&mut without, interested(large), 0);
    dials(&mut without, failed(large, Fault::Silent), HOUR);
    assert_eq!(dials(&mut without, NeedInput::Reset, HOUR), [large]);
}

#[test]
fn a_published_neighbour_is_always_dialled() {
    let local = key(0);
    let mut need = need(local, 1);
    let others: Vec<_> = (10..14).map(key).collect();
    for (session, peer) in (1..).zip(&others) {
        dials(&mut need, opened(*peer, session, Dialled::ByThem), 0);
    }
    let peer = (20..).map(key).find(|key| local < *key).unwrap();
    let session = SessionId(9);
    let by_them = NeedInput::Opened {
        peer,
        session,
        dialled: Dialled::ByThem,
        published: true,
    };
    dials(&mut need, by_them, MINUTE);
    dials(&mut need, ended(peer, 9, None), MINUTE);
    dials(&mut need, NeedInput::Down(peer), MINUTE);
    assert_eq!(dials(&mut need, NeedInput::Up(peer), 2 * MINUTE), [peer]);
}

#[test]
fn candidates_are_bounded_and_those_in_session_stay() {
    let mut need = need(key(0), 5);
    let served = key(1);
    dials(&mut need, opened(served, 1, Dialled::ByThem), 0);
    for number in 2..limits::CANDIDATES_MAX + 40 {
        need.handle(interested(key(number)), at(number as u64));
    }
    assert_eq!(need.peers.len(), limits::CANDIDATES_MAX);
    assert_eq!(need.ring.len(), limits::CANDIDATES_MAX);
    assert!(need.peers.contains_key(&served));
}

/// Nodes with one machine each, and who can reach whom when.
struct World {
    now: u64,
    nodes: Vec<Need>,
    by_key: BTreeMap<VerifyingKey, usize>,
    reach: Box<dyn Fn(usize, usize, u64) -> bool>,
    up: Vec<bool>,
    wakes: Vec<Option<u64>>,
    events: BTreeMap<(u64, u64), Happening>,
    order: u64,
    /// The two nodes, with the one that dialled first.
    sessions: BTreeMap<u64, (usize, usize)>,
    newest: BTreeMap<(usize, usize), u64>,
    next_session: u64,
    dials: Vec<(u64, usize, usize)>,
}

enum Happening {
    Tick(usize),
    Try {
        from: usize,
        to: usize,
        since: u64,
    },
    /// A session is checked: it ends when its path was gone for the idle time.
    Look {
        session: u64,
        gone_since: Option<u64>,
    },
    Input(usize, NeedInput),
}

impl World {
    fn new(
        count: usize,
        seek: usize,
        reach: impl Fn(usize, usize, u64) -> bool + 'static,
    ) -> World {
        let draws = |node: usize| {
            let mut seed = [9; 32];
            seed[0] = node as u8;
            Draws::from_seed(seed)
        };
        let nodes = (0..count).map(|node| Need::new(key(node), topic(), seek, draws(node)));
        World {
            now: 0,
            nodes: nodes.collect(),
            by_key: (0..count).map(|node| (key(node), node)).collect(),
            reach: Box::new(reach),
            up: vec![true; count],
            wakes: vec![None; count],
            events: BTreeMap::new(),
            order: 0,
            sessions: BTreeMap::new(),
            newest: BTreeMap::new(),
            next_session: 0,
            dials: Vec::new(),
        }
    }

    fn schedule(&mut self, ms: u64, happening: Happening) {
        self.order += 1;
        self.events
            .insert((ms.max(self.now), self.order), happening);
    }

    fn learns(&mut self, node: usize, of: usize, ms: u64) {
        let input = interested(key(of));
        self.schedule(ms, Happening::Input(node, input));
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        self.up[from] && self.up[to] && (self.reach)(from, to, self.now)
    }

    fn input(&mut self, node: usize, input: NeedInput) {
        self.nodes[node].handle(input, at(self.now));
        while let Some(output) = self.nodes[node].poll() {
            match output {
                NeedOutput::Wake(time) => {
                    let ms = time.as_micros().div_ceil(1_000).max(self.now);
                    if self.wakes[node].is_none_or(|wake| ms < wake) {
                        self.wakes[node] = Some(ms);
                        self.schedule(ms, Happening::Tick(node));
                    }
                }
                NeedOutput::Dial(peer) => {
                    let to = self.by_key[&peer];
                    self.dials.push((self.now, node, to));
                    let (from, since) = (node, self.now);
                    self.schedule(self.now + ROUND_MS, Happening::Try { from, to, since });
                }
            }
        }
    }

    fn run_until(&mut self, ms: u64) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > ms {
                break;
            }
            self.now = entry.key().0;
            let happening = entry.remove();
            self.happen(happening);
        }
        self.now = ms;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(node) if self.wakes[node] == Some(self.now) => {
                self.wakes[node] = None;
                self.input(node, NeedInput::Tick);
            }
            Happening::Tick(_) => {}
            Happening::Input(node, input) => self.input(node, input),
            Happening::Try { from, to, since } => self.try_dial(from, to, since),
            Happening::Look {
                session,
                gone_since,
            } => self.look(session, gone_since),
        }
    }

    fn try_dial(&mut self, from: usize, to: usize, since: u64) {
        if !self.up[from] {
            return;
        }
        if self.reaches(from, to) && self.reaches(to, from) {
            self.next_session += 1;
            let session = self.next_session;
            self.sessions.insert(session, (from, to));
            self.newest.insert((from.min(to), from.max(to)), session);
            self.input(from, opened(key(to), session, Dialled::ByUs));
            self.input(to, opened(key(from), session, Dialled::ByThem));
            let gone_since = None;
            let look = Happening::Look {
                session,
                gone_since,
            };
            self.schedule(self.now + SECOND, look);
        } else if self.now + REPEAT_MS >= since + DIAL_MS {
            self.now = self.now.max(since + DIAL_MS);
            self.input(from, failed(key(to), Fault::Silent));
        } else {
            let again = Happening::Try { from, to, since };
            self.schedule(self.now + REPEAT_MS, again);
        }
    }

    fn look(&mut self, session: u64, gone_since: Option<u64>) {
        let Some((one, other)) = self.sessions.get(&session).copied() else {
            return;
        };
        // The rule of two dials: of two sessions the older one goes.
        if self.newest[&(one.min(other), one.max(other))] > session {
            return self.end(session, None);
        }
        let gone = !(self.reaches(one, other) && self.reaches(other, one));
        let gone_since = gone.then(|| gone_since.unwrap_or(self.now));
        if gone_since.is_some_and(|since| since + IDLE_MS <= self.now) {
            return self.end(session, Some(Fault::Failed));
        }
        let look = Happening::Look {
            session,
            gone_since,
        };
        self.schedule(self.now + SECOND, look);
    }

    fn end(&mut self, session: u64, fault: Option<Fault>) {
        let (one, other) = self.sessions.remove(&session).unwrap();
        for (node, peer) in [(one, other), (other, one)] {
            if self.up[node] {
                self.input(node, ended(key(peer), session, fault));
            }
        }
    }

    fn peers(&self, node: usize) -> BTreeSet<usize> {
        let of = |(one, other): &(usize, usize)| match node {
            node if node == *one => Some(*other),
            node if node == *other => Some(*one),
            _ => None,
        };
        self.sessions.values().filter_map(of).collect()
    }

    fn is_connected(&self) -> bool {
        let alive: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.up[*node])
            .collect();
        let mut reached = BTreeSet::from([alive[0]]);
        let mut next = vec![alive[0]];
        while let Some(node) = next.pop() {
            next.extend(
                self.peers(node)
                    .into_iter()
                    .filter(|peer| reached.insert(*peer)),
            );
        }
        reached.len() == alive.len()
    }

    fn most_peers(&self) -> usize {
        (0..self.nodes.len())
            .map(|node| self.peers(node).len())
            .max()
            .unwrap()
    }

    fn mean_peers(&self) -> f64 {
        let sum: usize = (0..self.nodes.len())
            .map(|node| self.peers(node).len())
            .sum();
        sum as f64 / self.nodes.len() as f64
    }

    fn dials_after(&self, ms: u64) -> usize {
        self.dials.iter().filter(|(at, ..)| *at >= ms).count()
    }
}

/// Everyone learns of everyone, within some seconds and in different orders.
fn all_learn_of_all(world: &mut World, from_ms: u64) {
    let count = world.nodes.len();
    let mut draws = Draws::from_seed([count as u8; 32]);
    for node in 0..count {
        for of in (0..count).filter(|of| *of != node) {
            let ms = from_ms + draws.below(3_000);
            world.learns(node, of, ms);
        }
    }
}

#[test]
fn the_centre_of_a_star_serves_everyone() {
    for count in [3, 13, 101] {
        let mut world = World::new(count, 5, |from, to, _| from == 0 || to == 0);
        for node in 1..count {
            let (peer, named) = (key(0), count > 20);
            let of_centre = NeedInput::Interested { peer, named };
            world.schedule((node * 10) as u64, Happening::Input(node, of_centre));
            // Of the others it hears, and of half of them before it hears of the centre.
            for of in (1..count).filter(|of| *of != node).take(20) {
                world.learns(node, of, (of * 20) as u64);
            }
        }
        world.run_until(30 * SECOND);
        assert_eq!(world.peers(0).len(), count - 1);
        // It stays so, and those that cannot be reached cost ever less.
        world.run_until(3 * HOUR);
        assert_eq!(world.peers(0).len(), count - 1);
        let last_hour = world.dials_after(2 * HOUR) / count;
        assert!(last_hour <= 12 * (limits::FAILING_SOUGHT_MAX + limits::RING_FAILING_MAX + 8));
    }
}

#[test]
fn many_nodes_connect_with_few_sessions_and_rest() {
    for (count, most) in [(16, 8), (32, 9), (100, 10)] {
        let mut world = World::new(count, 5, |_, _, _| true);
        all_learn_of_all(&mut world, 0);
        world.run_until(MINUTE);
        assert!(world.is_connected());
        assert!(world.most_peers() <= most, "{}", world.most_peers());
        assert!(world.mean_peers() <= 7.0, "{}", world.mean_peers());
        for node in 0..count {
            assert!(world.peers(node).len() >= 5);
        }
        let dials = world.dials.len() as f64 / count as f64;
        assert!(dials <= 8.0, "{dials} dials per node");
        // From then on each compares with one of its peers now and then, ever less, and nothing else.
        world.run_until(31 * MINUTE);
        assert!(world.dials_after(MINUTE) <= count * 3);
        assert!(world.most_peers() <= most);
    }
}

#[test]
fn comparisons_become_rare_while_nothing_goes_wrong() {
    let count = 4;
    let mut world = World::new(count, 5, |_, _, _| true);
    all_learn_of_all(&mut world, 0);
    world.run_until(6 * HOUR);
    let first_hour = world.dials_after(MINUTE) - world.dials_after(HOUR);
    assert!(first_hour >= 2 * (count - 1), "{first_hour} dials");
    // At most every 4 hours from now on, and not never.
    world.run_until(22 * HOUR);
    let late = world.dials_after(6 * HOUR);
    assert!((1..=count * 4).contains(&late), "{late} dials");
}

#[test]
fn nodes_that_know_only_some_others_are_connected_nevertheless() {
    for seed in 0..5 {
        let mut draws = Draws::from_seed([seed; 32]);
        let count = 60;
        let mut world = World::new(count, 5, |_, _, _| true);
        // Each knows one from before it at first. Then they meet now and then, as discovery has it,
        // and tell each other of whom they know.
        let mut known: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        for (node, known) in known.iter_mut().enumerate().skip(1) {
            known.insert(draws.below(node as u64) as usize);
        }
        for round in 0..600 {
            let node = draws.below(count as u64) as usize;
            let others: Vec<usize> = known[node].iter().copied().collect();
            let Some(position) = draws.position(others.len()) else {
                continue;
            };
            let pair = [node, others[position]];
            let both: BTreeSet<usize> = pair.iter().flat_map(|one| known[*one].clone()).collect();
            for one in pair {
                for of in both.iter().chain(&pair).copied().filter(|of| *of != one) {
                    if known[one].insert(of) || round < 60 {
                        world.learns(one, of, round * 50);
                    }
                }
            }
        }
        world.run_until(MINUTE);
        assert!(world.is_connected(), "seed {seed}");
        assert!(world.mean_peers() <= 11.0, "{}", world.mean_peers());
    }
}

#[test]
fn two_islands_become_one_despite_enough_sessions() {
    let count = 40;
    let mut world = World::new(count, 5, |_, _, _| true);
    for node in 0..count {
        for of in (0..count).filter(|of| *of != node && of % 2 == node % 2) {
            world.learns(node, of, 0);
        }
    }
    world.run_until(MINUTE);
    assert!(!world.is_connected());
    for node in 0..count {
        for of in (0..count).filter(|of| of % 2 != node % 2) {
            world.learns(node, of, MINUTE + (of * 10) as u64);
        }
    }
    world.run_until(MINUTE + 15 * SECOND);
    assert!(world.is_connected());
}

#[test]
fn a_path_that_returns_is_used_within_a_tenth_of_the_gap() {
    for gap_s in [5, 8, 12, 20, 26, 30, 45, 60, 90, 300, 900, 3_600, 7_200] {
        for shift in 0..12 {
            let gone = 2 * MINUTE + shift * 171;
            let back = gone + gap_s * SECOND;
            let reach = move |_, _, now| now < gone || now >= back;
            let mut world = World::new(2, 5, reach);
            all_learn_of_all(&mut world, 0);
            world.run_until(back);
            let allowed = match gap_s {
                0..=60 => 5 * SECOND,
                _ => (gap_s * SECOND / 10).min(5 * MINUTE),
            };
            // A dial that is under way is answered once the transport repeats it.
            world.run_until(back + allowed);
            let dialled = world.dials.iter().any(|(at, ..)| *at + DIAL_MS >= back);
            assert!(
                world.is_connected(),
                "gap {gap_s} s, shift {shift}, dialled {dialled}"
            );
        }
    }
}

#[test]
fn islands_divided_for_an_hour_become_one_again() {
    let count = 24;
    let (gone, back) = (2 * MINUTE, 2 * MINUTE + HOUR);
    let reach = move |from: usize, to: usize, now| from % 2 == to % 2 || now < gone || now >= back;
    let mut world = World::new(count, 5, reach);
    all_learn_of_all(&mut world, 0);
    world.run_until(back - SECOND);
    assert!(!world.is_connected());
    let resting = world.dials_after(back - 10 * MINUTE) / count;
    assert!(resting <= 20, "{resting} dials each in ten minutes");
    world.run_until(back + 6 * MINUTE);
    assert!(world.is_connected());
}

#[test]
fn nodes_that_come_and_go_stay_connected_and_dial_little() {
    for (seed, count) in [(1, 50), (2, 100)] {
        let mut draws = Draws::from_seed([seed; 32]);
        let mut world = World::new(count, 5, |_, _, _| true);
        all_learn_of_all(&mut world, 0);
        world.run_until(MINUTE);
        for round in 1..=30 {
            for _ in 0..count / 10 {
                let node = draws.below(count as u64) as usize;
                world.up[node] = !world.up[node];
                if world.up[node] {
                    world.back(node);
                }
            }
            world.run_until(MINUTE + round * 20 * SECOND);
        }
        world.run_until(world.now + 30 * SECOND);
        assert!(world.is_connected(), "seed {seed}");
        let minutes = world.now as usize / MINUTE as usize;
        let dials = world.dials.len() / (count * minutes);
        assert!(dials <= 40, "{dials} dials per node and minute");
    }
}

impl World {
    /// A node starts over and learns of all others within some seconds, as they do of it.
    fn back(&mut self, node: usize) {
        let mut seed = [11; 32];
        seed[0] = node as u8;
        seed[1..9].copy_from_slice(&self.now.to_le_bytes());
        self.nodes[node] = Need::new(key(node), topic(), 5, Draws::from_seed(seed));
        for of in (0..self.nodes.len()).filter(|of| *of != node) {
            self.learns(node, of, self.now + (of * 37 % 3_000) as u64);
        }
    }
}
