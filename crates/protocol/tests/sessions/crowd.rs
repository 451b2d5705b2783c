//! Several nodes in one thread, each with sessions with some of the others, over paths that take time.

use std::collections::BTreeMap;

use bytes::Bytes;
use p2panda_core::{Entry, Received, SigningKey, VerifyingKey};
use p2panda_protocol::sync::{
    Dialled, Input, Limits, Output, Pair, Protocol, Session, SessionId, Sources,
};
use p2panda_protocol::time::Time;

use crate::world::{Peer, Rng, WANTED, topic};

/// From one end of a session to the other.
pub const DELAY_US: u64 = 20_000;

pub struct Node {
    pub store: Peer,
    sources: Sources,
    pairs: BTreeMap<usize, Pair>,
    /// Time at which each entry was stored here.
    pub stored: BTreeMap<(VerifyingKey, u32), Time>,
}

pub struct End {
    pub node: usize,
    pub session: Session,
    pub over: bool,
    /// Everything it sent.
    pub sent: Vec<Bytes>,
    /// Its one timer, by the number of its event.
    timer: Option<u64>,
    /// Time at which the last bytes arrive that are in progress to it.
    arrives: Time,
}

pub struct Link {
    pub ends: [End; 2],
    /// Nothing arrives any more, and nobody knows.
    pub silent: bool,
}

pub struct Crowd {
    pub now: Time,
    pub nodes: Vec<Node>,
    pub links: BTreeMap<SessionId, Link>,
    pub rng: Rng,
    /// Bytes take longer, and frames come in parts.
    pub slow: bool,
    /// Bodies that have not arrived are looked up; otherwise it is never the turn of a session.
    pub looks_up: bool,
    /// A tick that nobody asked for comes to every session after this many milliseconds.
    pub ticks_every_ms: Option<u64>,
    /// Sent bytes, and when.
    pub trace: Vec<(Time, SessionId, usize, Bytes)>,
    protocol: Protocol,
    events: BTreeMap<(Time, u64), (SessionId, usize, Event)>,
    order: u64,
}

enum Event {
    Input(Input),
    /// The timer, unless it was set again.
    Timer,
    /// For everybody.
    Ticks,
    /// A batch is stored.
    Store(Vec<Received>),
}

impl Crowd {
    pub fn new(seed: u64, nodes: usize, protocol: Protocol) -> Self {
        let node = |place: usize| Node {
            store: Peer::new(place as u8 + 1, 0),
            sources: Sources::default(),
            pairs: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        Self {
            now: Time::from_micros(1_000),
            nodes: (0..nodes).map(node).collect(),
            links: BTreeMap::new(),
            rng: Rng::new(seed),
            slow: false,
            looks_up: false,
            ticks_every_ms: None,
            trace: Vec::new(),
            protocol,
            events: BTreeMap::new(),
            order: 0,
        }
    }

    /// A ring, and sessions at random until each node has some more.
    pub fn meshed(seed: u64, nodes: usize, sessions: usize, protocol: Protocol) -> Self {
        let mut crowd = Self::new(seed, nodes, protocol);
        for node in 0..nodes {
            crowd.dial(node, (node + 1) % nodes);
        }
        for node in 0..nodes {
            while crowd.sessions_of(node) < sessions {
                let other = crowd.rng.below(nodes);
                if other != node && crowd.between(node, other).is_none() {
                    crowd.dial(node, other);
                }
            }
        }
        crowd.settle();
        crowd
    }

    pub fn key(&self, node: usize) -> SigningKey {
        self.nodes[node].store.key.clone()
    }

    fn sessions_of(&self, node: usize) -> usize {
        let of = |link: &&Link| link.ends.iter().any(|end| end.node == node && !end.over);
        self.links.values().filter(of).count()
    }

    pub fn between(&self, one: usize, other: usize) -> Option<SessionId> {
        let nodes = |link: &Link| link.ends.each_ref().map(|end| (end.node, end.over));
        let found = self.links.iter().find(|(_, link)| {
            let nodes = nodes(link);
            nodes.contains(&(one, false)) && nodes.contains(&(other, false))
        });
        found.map(|(id, _)| *id)
    }

    pub fn dial(&mut self, from: usize, to: usize) -> SessionId {
        self.dial_speaking(from, to, self.protocol)
    }

    pub fn dial_speaking(&mut self, from: usize, to: usize, protocol: Protocol) -> SessionId {
        let id = SessionId(self.links.len() as u64 + 1);
        let ends = [(from, to, Dialled::ByUs), (to, from, Dialled::ByThem)];
        let keys = [from, to].map(|node| self.key(node).verifying_key());
        let now = self.now;
        let ends = ends.map(|(own, other, dialled)| {
            let [local, remote] = if own == from {
                keys
            } else {
                [keys[1], keys[0]]
            };
            let node = &mut self.nodes[own];
            let sources = node.sources.clone();
            let pair = node.pairs.entry(other);
            let pair = pair.or_insert_with(|| Pair::among(local, remote, sources));
            let limits = Limits::default();
            End {
                node: own,
                session: Session::open(id, dialled, protocol, topic(), limits, pair, now),
                over: false,
                sent: Vec::new(),
                timer: None,
                arrives: now,
            }
        });
        self.links.insert(
            id,
            Link {
                ends,
                silent: false,
            },
        );
        for end in 0..2 {
            self.schedule(0, id, end, Event::Input(Input::Tick));
        }
        id
    }

    /// Both ends see that the connection is lost.
    pub fn cut(&mut self, id: SessionId) {
        self.link(id).silent = true;
        for end in 0..2 {
            self.schedule(0, id, end, Event::Input(Input::Lost));
        }
    }

    pub fn link(&mut self, id: SessionId) -> &mut Link {
        self.links.get_mut(&id).unwrap()
    }

    /// Sends what a peer may send of itself.
    pub fn inject(&mut self, id: SessionId, end: usize, bytes: Bytes) {
        self.inject_input(id, end, Input::Bytes(bytes));
    }

    /// Bytes are in progress, behind what is already.
    pub fn deliver(&mut self, id: SessionId, end: usize, mut bytes: Bytes) {
        let mut at = Time::from_micros(self.now.as_micros() + DELAY_US);
        if self.slow {
            let first = bytes.split_to(self.rng.below(bytes.len()));
            at = at.max(self.link(id).ends[end].arrives);
            self.schedule_at(at, id, end, Event::Input(Input::Bytes(first)));
            at = at.after(self.rng.below(3_000) as u64);
        }
        self.link(id).ends[end].arrives = at;
        self.schedule_at(at, id, end, Event::Input(Input::Bytes(bytes)));
    }

    pub fn inject_input(&mut self, id: SessionId, end: usize, input: Input) {
        self.schedule(0, id, end, Event::Input(input));
    }

    pub fn publish(&mut self, node: usize, body: &[u8]) -> (VerifyingKey, u32) {
        self.nodes[node].store.publish(body);
        let entry = self.nodes[node].store.entries.last().unwrap();
        let place = (entry.label(), entry.seq());
        self.stored(node);
        place
    }

    /// Comes to a node from somewhere else.
    pub fn store_elsewhere(&mut self, node: usize, entry: Entry) {
        self.nodes[node].store.store(entry);
        self.stored(node);
    }

    fn stored(&mut self, node: usize) {
        let now = self.now;
        let at = &mut self.nodes[node];
        for entry in &at.store.entries {
            let place = (entry.label(), entry.seq());
            at.stored.entry(place).or_insert(now);
        }
        let arrival = at.store.arrival;
        for (id, end) in self.ends_of(node) {
            self.schedule(0, id, end, Event::Input(Input::Arrived(arrival)));
        }
    }

    fn ends_of(&self, node: usize) -> Vec<(SessionId, usize)> {
        let place = |link: &Link| link.ends.iter().position(|end| end.node == node);
        let ends = self.links.iter();
        ends.filter_map(|(id, link)| Some((*id, place(link)?)))
            .collect()
    }

    fn schedule(&mut self, delay_us: u64, id: SessionId, end: usize, event: Event) {
        let at = Time::from_micros(self.now.as_micros() + delay_us);
        self.schedule_at(at, id, end, event);
    }

    fn schedule_at(&mut self, at: Time, id: SessionId, end: usize, event: Event) {
        self.order += 1;
        self.events
            .insert((at.max(self.now), self.order), (id, end, event));
    }

    /// Everything that happens within this time.
    pub fn run(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, order), (id, end, event)) = entry.remove_entry();
            self.now = at;
            let timer = &mut self.link(id).ends[end].timer;
            match event {
                Event::Timer if timer.take_if(|timer| *timer == order).is_none() => {}
                event => self.event(id, end, event),
            }
        }
        self.now = until;
    }

    /// From now on, if that is wanted.
    pub fn begin_ticks(&mut self) {
        if let (Some(ms), Some(id)) = (self.ticks_every_ms, self.links.keys().next()) {
            self.schedule(1_000 * ms, *id, 0, Event::Ticks);
        }
    }

    fn ticks(&mut self) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            for end in 0..2 {
                self.event(id, end, Event::Input(Input::Tick));
            }
        }
        self.begin_ticks();
    }

    /// Long enough for all that is in progress.
    pub fn settle(&mut self) {
        self.run(12_000);
    }

    fn event(&mut self, id: SessionId, end: usize, event: Event) {
        let input = match event {
            Event::Input(input) => input,
            Event::Timer => Input::Tick,
            Event::Ticks => return self.ticks(),
            Event::Store(batch) => self.store(id, end, batch),
        };
        let link = self.links.get_mut(&id).unwrap();
        let own = &mut link.ends[end];
        if own.over {
            return;
        }
        let node = own.node;
        let other = link.ends[1 - end].node;
        let pair = self.nodes[node].pairs.get_mut(&other).unwrap();
        let now = self.now;
        let own = &mut self.links.get_mut(&id).unwrap().ends[end];
        own.session.handle(input, pair, now);
        while let Some(output) = self.link(id).ends[end].session.poll() {
            self.output(id, end, node, output);
        }
        if self.link(id).ends[end].session.has_pieces() {
            self.schedule(1_000, id, end, Event::Input(Input::Room));
        }
    }

    fn store(&mut self, id: SessionId, end: usize, batch: Vec<Received>) -> Input {
        let node = self.link(id).ends[end].node;
        let mut invalid = 0;
        for received in batch {
            match received {
                Received::Operation { header, body } if header.verify().is_ok() => {
                    self.nodes[node].store.store(Entry {
                        arrival: 0,
                        header,
                        absent: body.is_none().then_some(WANTED),
                        body,
                    });
                }
                _ => invalid += 1,
            }
        }
        self.stored(node);
        Input::Stored { invalid }
    }

    fn output(&mut self, id: SessionId, end: usize, node: usize, output: Output) {
        let answer = |input| Event::Input(input);
        let store = &mut self.nodes[node].store;
        match output {
            Output::Heights => {
                let heights = Input::Heights {
                    heights: store.heights(),
                    arrival: store.arrival,
                    gaps: Vec::new(),
                };
                self.schedule(0, id, end, answer(heights));
            }
            Output::Heads => {
                let heads = store.heads();
                self.schedule(0, id, end, answer(Input::Heads(heads)));
            }
            Output::Totals(ranges) => {
                let totals = Input::Totals {
                    operations: 1,
                    bytes: 1,
                    ranges,
                };
                self.schedule(0, id, end, answer(totals));
            }
            Output::Read(read) => {
                let page = Input::Page(store.read(&read));
                self.schedule(0, id, end, answer(page));
            }
            Output::Wanted(look) => {
                let wanted = self.looks_up.then(|| store.wanted(look));
                self.schedule(0, id, end, answer(Input::Wanted(wanted)));
            }
            Output::Send(bytes) => {
                self.link(id).ends[end].sent.push(bytes.clone());
                self.trace.push((self.now, id, end, bytes.clone()));
                if !self.link(id).silent {
                    self.deliver(id, 1 - end, bytes);
                }
                self.schedule(0, id, end, answer(Input::Drained));
            }
            Output::Store(batch) => self.schedule(1_000, id, end, Event::Store(batch)),
            Output::PairChanged | Output::SourcesChanged => {
                let others = self.ends_of(node);
                for (other, end) in others.into_iter().filter(|(other, _)| *other != id) {
                    self.schedule(0, other, end, answer(Input::PairChanged));
                }
            }
            Output::Wake(at) => {
                self.schedule_at(at, id, end, Event::Timer);
                let order = self.order;
                self.link(id).ends[end].timer = Some(order);
            }
            Output::End(_) => {
                self.link(id).ends[end].over = true;
                self.trace.push((self.now, id, end, Bytes::new()));
                self.schedule(DELAY_US, id, 1 - end, answer(Input::EndOfStream));
            }
            Output::Rest => self.link(id).ends[end].timer = None,
            Output::Finish | Output::Compare | Output::Event(_) => {}
            Output::Evidence(_) | Output::OldestHeights { .. } => {
                unreachable!("few logs, and no forks")
            }
        }
    }

    /// Operations that a node received, by all its sessions.
    pub fn received(&self) -> u64 {
        let ends = self.links.values().flat_map(|link| &link.ends);
        ends.map(|end| end.session.counters().received_operations)
            .sum()
    }

    pub fn assert_equal(&self) {
        for node in &self.nodes {
            assert!(
                node.store.content() == self.nodes[0].store.content(),
                "the nodes differ"
            );
        }
    }

    /// From publication until each other node had it, in milliseconds, the shortest first.
    pub fn latencies(&self, places: &[(VerifyingKey, u32)]) -> Vec<u64> {
        let mut all = Vec::new();
        for place in places {
            let times = self.nodes.iter().map(|node| node.stored.get(place));
            let times: Vec<Time> = times.map(|time| *time.unwrap()).collect();
            let first = *times.iter().min().unwrap();
            all.extend(times.iter().map(|time| time.ms_since(first)));
        }
        all.retain(|ms| *ms > 0);
        all.sort_unstable();
        all
    }
}
