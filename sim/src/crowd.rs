//! Hundreds of nodes on one topic, and strangers among them: who is whose neighbour and who has
//! sessions with whom, decided by the machines of a real node. What a session carries is a set of
//! numbers, so that a node costs kilobytes and a run of hours takes seconds.
//!
//! ```
//! use std::time::Duration;
//! use p2panda_sim::Crowd;
//!
//! let mut crowd = Crowd::new(42, 30, 10);
//! crowd.publish(0);
//! crowd.run_for(Duration::from_secs(60));
//! assert_eq!(crowd.missing(), 0);
//! ```

mod stranger;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{SigningKey, Topic, VerifyingKey, limits};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::gossip::{Context, Input, Kind, Member, Message, Output};
use p2panda_protocol::sync::{Dialled, Fault, Need, NeedInput, NeedOutput, SessionId};
use p2panda_protocol::time::Time;

use self::stranger::Manner;
use self::world::{Event, Events};

/// A silent dial, and a peer that died, are noticed after this.
const NOTICED_MS: u64 = 10_000;
/// A session that a stranger lets stall ends after this (`docs/protocol/sync.md#8`).
const STALLED_MS: u64 = 30_000;
/// Nodes that a session tells the other side of.
const TOLD: usize = 16;

/// Honest nodes and strangers on one topic.
#[derive(Debug)]
pub struct Crowd {
    now: Time,
    draws: Draws,
    topic: Topic,
    neighbours_max: usize,
    keys: Vec<VerifyingKey>,
    numbers: BTreeMap<VerifyingKey, usize>,
    nodes: Vec<Option<Node>>,
    strangers: Vec<Manner>,
    /// Keys that no node has.
    invented: Vec<VerifyingKey>,
    events: Events,
    /// Running sessions, by number: who dialled whom.
    sessions: BTreeMap<u64, (usize, usize)>,
    next_session: u64,
    published: u64,
    known: usize,
}

/// An honest node that runs.
#[derive(Debug)]
struct Node {
    need: Need,
    member: Member,
    knows: BTreeSet<VerifyingKey>,
    held: BTreeSet<u64>,
    need_wake: Option<Time>,
    gossip_wake: Option<Time>,
    lacking_since: Option<Time>,
    changes: usize,
    most_neighbours: usize,
}

fn key(number: usize) -> VerifyingKey {
    let mut seed = [9; 32];
    let number = (number as u64).to_le_bytes();
    for (byte, value) in seed.iter_mut().zip(number) {
        *byte = value;
    }
    SigningKey::from_bytes(&seed).verifying_key()
}

impl Crowd {
    /// This many honest nodes, which have the first numbers, and strangers of all manners. Each honest
    /// node learns of three others when it starts, at least one of them honest; all start within 10 s.
    pub fn new(seed: u64, honest: usize, strangers: usize) -> Crowd {
        let mut bytes = [3; 32];
        for (byte, value) in bytes.iter_mut().zip(seed.to_le_bytes()) {
            *byte = value;
        }
        let mut draws = Draws::from_seed(bytes);
        let keys: Vec<VerifyingKey> = (0..honest + strangers).map(key).collect();
        let invented = (0..200).map(|number| key(1_000_000 + number)).collect();
        let topic = Topic::from_bytes(draws.bytes());
        let manners = (0..strangers).map(Manner::of);
        let mut crowd = Crowd {
            now: Time::from_micros(1_000_000),
            draws,
            topic,
            neighbours_max: limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT,
            numbers: keys.iter().copied().zip(0..).collect(),
            nodes: (0..honest).map(|_| None).collect(),
            strangers: manners.collect(),
            keys,
            invented,
            events: Events::default(),
            sessions: BTreeMap::new(),
            next_session: 0,
            published: 0,
            known: 3,
        };
        for number in 0..honest {
            let at = crowd.soon(10_000);
            crowd.events.add(at, Event::Start(number, BTreeSet::new()));
        }
        for number in honest..honest + strangers {
            let at = crowd.soon(10_000);
            crowd.events.add(at, Event::Stranger(number));
        }
        crowd
    }

    /// Sets how many neighbours an honest node serves; to be said before anything runs.
    pub fn serve_neighbours(&mut self, most: usize) {
        self.neighbours_max = most;
    }

    /// Sets how many others an honest node learns of when it starts; to be said before anything
    /// runs.
    pub fn know(&mut self, others: usize) {
        self.known = others;
    }

    /// An honest node that runs publishes something.
    pub fn publish(&mut self, number: usize) {
        let message = self.published;
        self.published += 1;
        match self.nodes.get_mut(number).and_then(Option::as_mut) {
            Some(_) => self.take(number, message),
            // It starts with it.
            None => {
                let at = self.now;
                self.events.add(at, Event::Give(number, message));
            }
        }
    }

    /// A process dies without a word. It comes back after a while, with what it had.
    pub fn restart_after(&mut self, number: usize, wait: Duration) {
        let Some(node) = self.nodes.get_mut(number).and_then(Option::take) else {
            return;
        };
        let sessions = self.sessions.iter();
        let lost = sessions.filter(|(_, (one, other))| *one == number || *other == number);
        let lost: Vec<(u64, usize)> = lost
            .map(|(id, (one, other))| (*id, if *one == number { *other } else { *one }))
            .collect();
        let at = self.now.after(NOTICED_MS);
        for (session, other) in lost {
            self.sessions.remove(&session);
            self.events
                .add(at, Event::Ended(other, number, session, Fault::Failed));
        }
        for (other, peer) in self.nodes.iter().enumerate() {
            if peer
                .as_ref()
                .is_some_and(|peer| peer.member.is_neighbour(&self.key(number)))
            {
                self.events
                    .add(at, Event::Unreachable(other, self.key(number)));
            }
        }
        let back = self.now.after(wait.as_millis() as u64);
        self.events.add(back, Event::Start(number, node.held));
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now.after(time.as_millis() as u64);
        while let Some((at, event)) = self.events.next(until) {
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Messages that honest nodes do not have, all of them together. A node that is down counts.
    pub fn missing(&self) -> u64 {
        let missing = self.nodes.iter().map(|node| {
            let held = node.as_ref().map_or(0, |node| node.held.len());
            self.published - held as u64
        });
        missing.sum()
    }

    /// Returns how often the neighbours of each honest node that runs have changed since it
    /// started.
    pub fn changes(&self) -> Vec<usize> {
        let running = self.nodes.iter().flatten();
        running.map(|node| node.changes).collect()
    }

    /// The most neighbours that any honest node ever had.
    pub fn most_neighbours(&self) -> usize {
        let running = self.nodes.iter().flatten();
        running.map(|node| node.most_neighbours).max().unwrap_or(0)
    }

    /// With how many others each honest node that runs has sessions.
    pub fn session_counts(&self) -> Vec<usize> {
        let running = self.nodes.iter().flatten();
        let count = |node: &Node| {
            let with = self.keys.iter().filter(|key| node.need.has_session(key));
            with.count()
        };
        running.map(count).collect()
    }

    fn soon(&mut self, most_ms: u64) -> Time {
        let wait_ms = self.draws.between(1, most_ms);
        self.now.after(wait_ms)
    }

    fn is_honest(&self, number: usize) -> bool {
        number < self.nodes.len()
    }

    fn node(&mut self, number: usize) -> Option<&mut Node> {
        self.nodes.get_mut(number).and_then(Option::as_mut)
    }

    fn key(&self, number: usize) -> VerifyingKey {
        self.keys
            .get(number)
            .copied()
            .unwrap_or_else(|| key(number))
    }

    fn number(&self, key: &VerifyingKey) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(number, held) => self.start(number, held),
            Event::Give(number, message) => self.publish_late(number, message),
            Event::NeedTick(number) => self.tick_need(number),
            Event::GossipTick(number) => self.tick_gossip(number),
            Event::Seek(number) => self.seek(number),
            Event::Frame(to, from, message) => self.frame(to, from, message),
            Event::Unreachable(number, peer) => self.gossip(number, Input::Lost(peer)),
            Event::Reached(dialler, peer) => self.reached(dialler, peer),
            Event::Ended(number, peer, session, fault) => {
                self.sessions.remove(&session);
                let ended = NeedInput::Ended {
                    peer: self.key(peer),
                    session: SessionId(session),
                    fault: Some(fault),
                };
                self.need(number, ended);
            }
            Event::Message(session, to, message) => {
                if self.sessions.contains_key(&session) {
                    self.take(to, message);
                }
            }
            Event::Stranger(number) => self.stranger_acts(number),
        }
    }

    fn start(&mut self, number: usize, held: BTreeSet<u64>) {
        let draws = Draws::from_seed(self.draws.bytes());
        let own = self.key(number);
        let node = Node {
            need: Need::new(own, self.topic, limits::SESSIONS_SOUGHT, draws),
            member: Member::new(own, self.neighbours_max),
            knows: BTreeSet::new(),
            held,
            need_wake: None,
            gossip_wake: None,
            lacking_since: None,
            changes: 0,
            most_neighbours: 0,
        };
        if let Some(place) = self.nodes.get_mut(number) {
            *place = Some(node);
        }
        for turn in 0..self.known {
            // Who knows strangers only can be helped by nobody.
            let among = match turn {
                0 => self.nodes.len(),
                _ => self.keys.len(),
            };
            let other = self.draws.position(among).unwrap_or(0);
            self.learn(number, self.key(other));
        }
        let now = self.now;
        self.events.add(now, Event::Seek(number));
    }

    fn publish_late(&mut self, number: usize, message: u64) {
        if self.node(number).is_some() {
            return self.take(number, message);
        }
        let again = self.now.after(1_000);
        self.events.add(again, Event::Give(number, message));
    }

    /// A node learns of another one, as by a record that somebody tells.
    fn learn(&mut self, number: usize, peer: VerifyingKey) {
        if peer == self.key(number) {
            return;
        }
        let is_new = self
            .node(number)
            .is_some_and(|node| node.knows.insert(peer));
        if is_new {
            let named = false;
            self.need(number, NeedInput::Interested { peer, named });
        }
    }

    /// A message is stored and passed on in all sessions.
    fn take(&mut self, number: usize, message: u64) {
        if !self
            .node(number)
            .is_some_and(|node| node.held.insert(message))
        {
            return;
        }
        let sessions: Vec<(u64, usize)> = self.sessions_of(number);
        for (session, other) in sessions {
            let at = self.soon(100);
            self.events.add(at, Event::Message(session, other, message));
        }
    }

    fn sessions_of(&self, number: usize) -> Vec<(u64, usize)> {
        let sessions = self.sessions.iter();
        let other = |(id, (one, other)): (&u64, &(usize, usize))| match number {
            _ if number == *one => Some((*id, *other)),
            _ if number == *other => Some((*id, *one)),
            _ => None,
        };
        sessions.filter_map(other).collect()
    }

    // Sessions.

    fn tick_need(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.node(number) else {
            return;
        };
        if node.need_wake.is_some_and(|wake| wake <= now) {
            node.need_wake = None;
            self.need(number, NeedInput::Tick);
        }
    }

    fn need(&mut self, number: usize, input: NeedInput) {
        let now = self.now;
        let Some(node) = self.node(number) else {
            return;
        };
        node.need.handle(input, now);
        let mut dials = Vec::new();
        let mut wake = node.need_wake;
        while let Some(output) = node.need.poll() {
            match output {
                NeedOutput::Dial(peer) => dials.push(peer),
                NeedOutput::Wake(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
            }
        }
        if wake != node.need_wake {
            node.need_wake = wake;
            if let Some(wake) = wake {
                self.events.add(wake, Event::NeedTick(number));
            }
        }
        for peer in dials {
            let at = self.soon(200);
            self.events.add(at, Event::Reached(number, peer));
        }
    }

    /// A dial came to where the peer is, or is not.
    fn reached(&mut self, dialler: usize, peer: VerifyingKey) {
        let other = self.number(&peer);
        let fault = match other {
            Some(other) if self.is_honest(other) => match self.node(other) {
                Some(_) => return self.open(dialler, other),
                None => Fault::Silent,
            },
            Some(other) => match self.manner(other) {
                Some(Manner::Refuses) => Fault::Refused(Duration::from_secs(30)),
                Some(_) => return self.open_with_stranger(dialler, other),
                None => Fault::Silent,
            },
            None => Fault::Silent,
        };
        self.need(dialler, NeedInput::DialFailed { peer, fault });
    }

    fn open(&mut self, dialler: usize, acceptor: usize) {
        if self.node(dialler).is_none() {
            return;
        }
        self.next_session += 1;
        let session = self.next_session;
        self.sessions.insert(session, (dialler, acceptor));
        for (own, peer, dialled) in [
            (dialler, acceptor, Dialled::ByUs),
            (acceptor, dialler, Dialled::ByThem),
        ] {
            let opened = NeedInput::Opened {
                peer: self.key(peer),
                session: SessionId(session),
                dialled,
                published: false,
            };
            self.need(own, opened);
            // Both hand over what the other lacks, and report some that they know.
            let (held, told) = self.told(own);
            for message in held {
                let at = self.soon(300);
                self.events.add(at, Event::Message(session, peer, message));
            }
            for known in told {
                self.learn(peer, known);
            }
            self.learn(peer, self.key(own));
        }
    }

    fn told(&mut self, number: usize) -> (Vec<u64>, Vec<VerifyingKey>) {
        let Some(node) = self.nodes.get(number).and_then(Option::as_ref) else {
            return (Vec::new(), Vec::new());
        };
        let mut known: Vec<VerifyingKey> = node.knows.iter().copied().collect();
        let held = node.held.iter().copied().collect();
        let mut told = Vec::new();
        while told.len() < TOLD
            && let Some(place) = self.draws.position(known.len())
        {
            told.push(known.swap_remove(place));
        }
        (held, told)
    }

    // Gossip.

    fn tick_gossip(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.node(number) else {
            return;
        };
        if node.gossip_wake.is_some_and(|wake| wake <= now) {
            node.gossip_wake = None;
            self.gossip(number, Input::Tick);
        }
    }

    fn frame(&mut self, to: usize, from: VerifyingKey, message: Message) {
        if !self.is_honest(to) {
            return self.stranger_hears(to, from, message);
        }
        let round_trip = Duration::from_millis(100);
        let input = Input::Received {
            from,
            message,
            round_trip,
        };
        self.gossip(to, input);
    }

    fn gossip(&mut self, number: usize, input: Input) {
        let (now, mut draws) = (self.now, Draws::from_seed(self.draws.bytes()));
        let Some(node) = self.node(number) else {
            return;
        };
        let context = Context {
            now,
            draws: &mut draws,
            addresses: &Bytes::new(),
        };
        node.member.handle(input, context);
        let outputs: Vec<Output> = std::iter::from_fn(|| node.member.poll()).collect();
        node.most_neighbours = node.most_neighbours.max(node.member.neighbours().count());
        let wake = node.member.wake();
        if wake != node.gossip_wake {
            node.gossip_wake = wake;
            if let Some(wake) = wake {
                self.events.add(wake, Event::GossipTick(number));
            }
        }
        for output in outputs {
            self.gossiped(number, output);
        }
    }

    fn gossiped(&mut self, number: usize, output: Output) {
        match output {
            Output::Send { to, frame, kind } => self.send(number, to, frame, kind),
            Output::Up(peer) => {
                self.count_change(number);
                self.learn(number, peer);
                self.need(number, NeedInput::Up(peer));
                self.keep_if_proven(number, peer);
            }
            Output::Down(peer) => {
                self.count_change(number);
                self.need(number, NeedInput::Down(peer));
            }
            Output::Deliver { .. } | Output::Free(_) => {}
        }
    }

    fn count_change(&mut self, number: usize) {
        if let Some(node) = self.node(number) {
            node.changes += 1;
        }
    }

    /// A neighbour with which a session runs has proved itself.
    fn keep_if_proven(&mut self, number: usize, peer: VerifyingKey) {
        let proven = self
            .node(number)
            .is_some_and(|node| node.need.has_session(&peer));
        if proven {
            self.gossip(number, Input::Keep(peer));
        }
    }

    fn send(&mut self, from: usize, to: VerifyingKey, frame: Bytes, kind: Kind) {
        let runs = match self.number(&to) {
            Some(number) if self.is_honest(number) => self.node(number).is_some().then_some(number),
            other => other,
        };
        match runs {
            Some(number) => {
                let message = Message::decode(frame.slice(4..)).expect("what a member encodes");
                let at = self.soon(100);
                self.events
                    .add(at, Event::Frame(number, self.key(from), message));
            }
            None if kind == Kind::Ask => {
                let at = self.now.after(NOTICED_MS);
                self.events.add(at, Event::Unreachable(from, to));
            }
            None => {}
        }
    }

    /// Asks others as long as neighbours are lacking, as a node does (`docs/protocol/network.md#6`).
    fn seek(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number).and_then(Option::as_mut) else {
            return;
        };
        let lacking = node.member.lacking().min(limits::GOSSIP_JOIN_MAX);
        if lacking == 0 {
            node.lacking_since = None;
        }
        let since = *node.lacking_since.get_or_insert(now);
        let wait_ms = now.ms_since(since) / u64::from(limits::GOSSIP_REJOIN_PART);
        let wait_ms = wait_ms.clamp(2_000, limits::GOSSIP_REJOIN_MAX.as_millis() as u64);
        let known = node.knows.iter();
        let known = known.filter(|peer| !node.member.needs(peer));
        let mut known: Vec<VerifyingKey> = known.copied().collect();
        let mut asked = Vec::new();
        while asked.len() < lacking
            && let Some(place) = self.draws.position(known.len())
        {
            asked.push(known.swap_remove(place));
        }
        if !asked.is_empty() {
            self.gossip(number, Input::Join(asked));
        }
        let again = self.now.after(wait_ms);
        self.events.add(again, Event::Seek(number));
    }
}
