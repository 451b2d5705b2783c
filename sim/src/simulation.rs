//! The world: its clock, its queue of events, and what a test may do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2panda_core::{SigningKey, Timestamp, Topic, VerifyingKey};
use p2panda_engine::{EngineEvent, Lanes, Now};
use p2panda_protocol::sync::{Input, NeedInput};
use p2panda_protocol::time::Time;
use tempfile::TempDir;

use crate::fault_silence::Faults;
use crate::network::{End, Link, LinkId, Parcel};
use crate::node::{NodeId, SimNode};
use crate::random::Random;

mod application;
mod dials;
mod sessions;

pub(crate) use application::text_body;

/// The wall clock at the start of every run, microseconds since 1970.
const START_US: u64 = 1_780_000_000_000_000;
/// A connection without a sign of life for this long is lost.
const IDLE_MS: u64 = 10_000;
/// More steps than any run needs: the world does not come to rest.
const STEPS_MAX: usize = 5_000_000;

/// Several nodes, their links and everything that is about to happen.
pub struct Sim {
    seed: u64,
    random: Random,
    now: Time,
    causal_wait: Duration,
    nodes: Vec<SimNode>,
    links: BTreeMap<LinkId, Link>,
    neighbours: BTreeSet<(NodeId, NodeId, Topic)>,
    events: BTreeMap<(Time, u64), Event>,
    order: u64,
    next_link: u64,
    sent_operations: u64,
    faults: Faults,
    root: TempDir,
}

enum Event {
    /// Something for one end of a link.
    End(LinkId, usize, Input),
    /// A parcel may have arrived at one end of a link.
    Arrive(LinkId, usize),
    /// The engine takes what is queued.
    Engine(NodeId),
    Need(NodeId, Topic),
    /// Gathered acknowledgements go to the engine.
    Acks(NodeId, Topic, String),
    /// A dialled connection is up.
    Dialled(NodeId, NodeId, Topic),
}

impl Sim {
    /// A world without nodes. The seed decides everything that is left to chance.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            now: Time::from_micros(1_000_000),
            causal_wait: Duration::from_secs(5),
            nodes: Vec::new(),
            links: BTreeMap::new(),
            neighbours: BTreeSet::new(),
            events: BTreeMap::new(),
            order: 0,
            next_link: 0,
            sent_operations: 0,
            faults: Faults::default(),
            root: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The seed, for messages of failed assertions.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Simulated time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now.as_micros())
    }

    /// A number below `n`, drawn from the seed.
    pub fn chance(&mut self, n: u64) -> u64 {
        self.random.below(n)
    }

    /// A new topic.
    pub fn topic(&mut self) -> Topic {
        Topic::from_bytes(self.random.bytes())
    }

    /// A new node with an empty directory, running.
    pub fn node(&mut self) -> NodeId {
        let id = NodeId(self.nodes.len());
        let key = SigningKey::from_bytes(&self.random.bytes());
        let mut node = SimNode {
            key: key.clone(),
            dir: self.root.path().join(id.0.to_string()),
            engine: None,
            reader: None,
            contacts: None,
            topics: BTreeSet::new(),
            needs: BTreeMap::new(),
            wakes: BTreeMap::new(),
            pairs: BTreeMap::new(),
            heads: BTreeMap::new(),
            sources: BTreeMap::new(),
            turns: BTreeMap::new(),
            disk: Default::default(),
            disk_works_until: None,
            withholds: false,
            published: false,
            queue: Lanes::new(key.verifying_key()),
            newest: BTreeMap::new(),
            waiting: Default::default(),
            taken_kib: 0,
            stored: Default::default(),
            acks: BTreeMap::new(),
            acked: Default::default(),
        };
        node.open(id, self.wall(), self.causal_wait);
        self.nodes.push(node);
        self.store_contacts(id);
        id
    }

    /// The node's public key.
    pub fn key(&self, node: NodeId) -> VerifyingKey {
        self.at(node).key.verifying_key()
    }

    /// The node's signing key, to forge with.
    pub fn signing_key(&self, node: NodeId) -> SigningKey {
        self.at(node).key.clone()
    }

    /// The node is interested in the topic, also after a restart.
    pub fn subscribe(&mut self, node: NodeId, topic: Topic) {
        let need = self.need_of(node, topic);
        let node = self.at_mut(node);
        node.topics.insert(topic);
        node.needs.insert(topic, need);
    }

    /// The two become neighbours in the topic's overlay, and stay so: from then on they can dial each
    /// other.
    pub fn connect(&mut self, one: NodeId, other: NodeId, topic: Topic) {
        self.neighbours
            .insert((one.min(other), one.max(other), topic));
        self.raise_neighbours();
    }

    /// They cannot reach each other any more; running sessions are ended cleanly.
    pub fn disconnect(&mut self, one: NodeId, other: NodeId, topic: Topic) {
        self.neighbours
            .remove(&(one.min(other), one.max(other), topic));
        for (node, peer) in [(one, other), (other, one)] {
            let key = self.key(peer);
            self.need_input(node, topic, NeedInput::Down(key));
            for link in self.links(node, peer) {
                for end in 0..2 {
                    if self.node_at(link, end) == Some(node) {
                        self.schedule(self.now, Event::End(link, end, Input::Stop));
                    }
                }
            }
        }
    }

    /// Links between two nodes that have not ended.
    pub fn links(&self, one: NodeId, other: NodeId) -> Vec<LinkId> {
        let between = |link: &Link| {
            let nodes = link.ends.each_ref().map(|end| end.node);
            (nodes == [one, other] || nodes == [other, one])
                && link.ends.iter().any(|end| !end.over)
        };
        let links = self.links.iter().filter(|(_, link)| between(link));
        links.map(|(id, _)| *id).collect()
    }

    /// Breaks a connection: nothing passes any more, and both ends notice after the idle time.
    pub fn cut(&mut self, link: LinkId) {
        let lost_at = self.now.after(IDLE_MS);
        let Some(link_state) = self.links.get_mut(&link) else {
            return;
        };
        link_state.cut = true;
        for end in &mut link_state.ends {
            end.inbox.clear();
            end.inbox.push_back((lost_at, Parcel::Lost));
        }
        for end in 0..2 {
            self.schedule(lost_at, Event::Arrive(link, end));
        }
    }

    /// The process dies: nothing is closed, what was not committed is gone.
    pub fn kill(&mut self, node: NodeId) {
        self.at_mut(node).crash();
        let of_node = |link: &Link| link.ends.iter().any(|end| end.node == node);
        let links = self.links.iter().filter(|(_, link)| of_node(link));
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for link in links {
            if let Some(state) = self.links.get_mut(&link) {
                for end in state.ends.iter_mut().filter(|end| end.node == node) {
                    end.over = true;
                }
            }
            self.cut(link);
        }
    }

    /// Opens the directory again, at the same address.
    pub fn restart(&mut self, node: NodeId) {
        let (now, wait) = (self.wall(), self.causal_wait);
        let state = self.at_mut(node);
        state.open(node, now, wait);
        for topic in state.topics.clone() {
            let need = self.need_of(node, topic);
            self.at_mut(node).needs.insert(topic, need);
        }
        self.store_contacts(node);
        self.schedule(self.now, Event::Engine(node));
        self.raise_neighbours();
    }

    /// From now on the node sends headers without their bodies, or no longer does so.
    pub fn withhold(&mut self, node: NodeId, withholds: bool) {
        self.at_mut(node).withholds = withholds;
    }

    /// The node speaks the published protocol only: it knows no question for bodies.
    pub fn speak_published(&mut self, node: NodeId) {
        self.at_mut(node).published = true;
    }

    /// Operations that crossed any link so far.
    pub fn sent_operations(&self) -> u64 {
        let running = self
            .links
            .values()
            .flat_map(|link| &link.ends)
            .filter(|end| !end.over);
        let running: u64 = running
            .map(|end| end.session.counters().sent_operations)
            .sum();
        self.sent_operations + running
    }

    /// Does the next thing. False when nothing is left to happen within simulated `until`.
    pub fn step(&mut self, until: Duration) -> bool {
        let Some(entry) = self.events.first_entry() else {
            return false;
        };
        let at = entry.key().0;
        if u128::from(at.as_micros()) > until.as_micros() {
            return false;
        }
        let event = entry.remove();
        self.now = self.now.max(at);
        self.happen(event);
        true
    }

    /// Lets simulated time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.elapsed() + time;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(
                steps < STEPS_MAX,
                "seed {}: the world does not come to rest",
                self.seed
            );
        }
        self.now = self.now.max(Time::from_micros(until.as_micros() as u64));
    }

    /// Long enough for everything that is in progress, repairs after failures included.
    pub fn settle(&mut self) {
        self.run_for(Duration::from_secs(120));
    }

    // What happens.

    fn happen(&mut self, event: Event) {
        match event {
            Event::End(link, end, input) => self.input(link, end, input),
            Event::Arrive(link, end) => self.arrive(link, end),
            Event::Engine(node) => self.run_engine(node),
            Event::Acks(node, topic, consumer) => self.send_acks(node, topic, consumer),
            Event::Need(node, topic) => {
                let wake = self.at(node).wakes.get(&topic).copied();
                if wake.is_some_and(|wake| wake <= self.now) {
                    self.at_mut(node).wakes.remove(&topic);
                    self.need_input(node, topic, NeedInput::Tick);
                }
            }
            Event::Dialled(node, peer, topic) => self.dialled(node, peer, topic),
        }
    }

    /// Puts a parcel on its way. Parcels of one direction keep their order; those of different
    /// links overtake each other.
    pub(crate) fn put_on_its_way(
        &mut self,
        link: LinkId,
        to: usize,
        delay_ms: u64,
        parcel: Parcel,
    ) {
        let jitter = self.random.below(3_000);
        let now = self.now;
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let at = Time::from_micros(now.as_micros() + state.delay_us + jitter);
        if state.cut {
            return;
        }
        let Some(end) = state.ends.get_mut(to) else {
            return;
        };
        let at = end.inbox.back().map_or(at, |(last, _)| at.max(*last));
        let at = at.after(delay_ms);
        end.inbox.push_back((at, parcel));
        self.schedule(at, Event::Arrive(link, to));
    }

    pub(crate) fn wake_engine(&mut self, node: NodeId) {
        self.wake_engine_at(node, self.now);
    }

    pub(crate) fn wake_engine_at(&mut self, node: NodeId, at: Time) {
        self.schedule(at, Event::Engine(node));
    }

    pub(crate) fn run_engine(&mut self, node: NodeId) {
        let now = self.wall();
        let state = self.at_mut(node);
        if !state.is_up() || !self.is_disk_ready(node) {
            return;
        }
        let state = self.at_mut(node);
        let commits = state.run_engine(now);
        let is_stalled = state.queue.waits_for().is_some();
        let wake = match is_stalled {
            true => state.queue.next_wake(),
            false => state.engine.as_ref().and_then(|engine| engine.next_wake()),
        };
        let stored = state.take_stored();
        state.follow_acks();
        let more = !state.queue.is_empty() && !is_stalled;
        if more {
            self.schedule(self.now, Event::Engine(node));
        }
        for one in stored {
            let (at, invalid) = (self.soon(), one.invalid);
            let answer = Event::End(one.link, one.end, Input::Stored { invalid });
            self.schedule(at, answer);
        }
        let dropped = commits.iter().flat_map(|committed| &committed.events);
        let dropped: Vec<_> = dropped
            .filter_map(|event| match event {
                EngineEvent::EarlyDropped { topic, peer } => Some((*topic, *peer)),
                EngineEvent::Forked { topic, fork, .. } => Some((*topic, fork.first.author())),
                EngineEvent::OwnFork {
                    topic,
                    peer: Some(peer),
                    ..
                } => Some((*topic, *peer)),
                _ => None,
            })
            .collect();
        for (topic, peer) in dropped {
            self.need_input(node, topic, NeedInput::Repair(peer));
        }
        let changes = commits.into_iter().flat_map(|committed| committed.topics);
        for change in changes {
            let Some(arrival) = change.last_arrival else {
                continue;
            };
            for (link, end) in self.ends_of(node, change.topic) {
                let at = self.soon();
                self.schedule(at, Event::End(link, end, Input::Arrived(arrival)));
            }
        }
        if let Some(wake_us) = wake {
            self.schedule(Time::from_micros(wake_us), Event::Engine(node));
        }
    }

    fn ends_of(&self, node: NodeId, topic: Topic) -> Vec<(LinkId, usize)> {
        let mut ends = Vec::new();
        for (id, link) in self.links.iter().filter(|(_, link)| link.topic == topic) {
            for (place, end) in link.ends.iter().enumerate() {
                if end.node == node && !end.over {
                    ends.push((*id, place));
                }
            }
        }
        ends
    }

    // Small things.

    /// The node with this key.
    ///
    /// # Panics
    /// There is none.
    pub fn node_of(&self, key: VerifyingKey) -> NodeId {
        let place = self
            .nodes
            .iter()
            .position(|node| node.key.verifying_key() == key);
        NodeId(place.expect("only nodes of this world are neighbours"))
    }

    pub(crate) fn at(&self, node: NodeId) -> &SimNode {
        self.nodes.get(node.0).expect("a node of this world")
    }

    pub(crate) fn at_mut(&mut self, node: NodeId) -> &mut SimNode {
        self.nodes.get_mut(node.0).expect("a node of this world")
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The node at one end of a link.
    pub(crate) fn node_at(&self, link: LinkId, end: usize) -> Option<NodeId> {
        let link = self.links.get(&link)?;
        link.ends.get(end).map(|end| end.node)
    }

    fn end_mut(&mut self, link: LinkId, end: usize) -> Option<&mut End> {
        self.links.get_mut(&link)?.ends.get_mut(end)
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.events.insert((at.max(self.now), self.order), event);
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn random_bytes(&mut self) -> [u8; 32] {
        self.random.bytes()
    }

    fn soon(&mut self) -> Time {
        Time::from_micros(self.now.as_micros() + 1 + self.random.below(2_000))
    }

    pub(crate) fn wall(&self) -> Now {
        Now {
            wall: Timestamp::from_micros(START_US + self.now.as_micros()),
            elapsed_us: self.now.as_micros(),
        }
    }
}
