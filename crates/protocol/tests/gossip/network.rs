//! Members of one overlay under a seeded clock and network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{SigningKey, VerifyingKey, limits};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::gossip::{Context, Input, Kind, Member, Message, Output};
use p2panda_protocol::time::Time;

/// Interval at which nodes that lack neighbours ask others.
const SEEK_MS: u64 = 2_000;

enum Event {
    Frame {
        from: VerifyingKey,
        to: VerifyingKey,
        frame: Bytes,
    },
    Unreachable {
        peer: VerifyingKey,
        at: VerifyingKey,
    },
    Tick(VerifyingKey),
    Seek(VerifyingKey),
}

#[derive(Default)]
pub struct Seen {
    pub changes: usize,
    pub delivered: Vec<Bytes>,
    /// Broadcasts that came, new or not.
    pub payloads: usize,
    pub frames_sent: usize,
}

struct Node {
    member: Member,
    knows: Vec<VerifyingKey>,
    wake: Option<Time>,
}

/// A network in which every node can reach every other one that is there.
pub struct Network {
    pub now: Time,
    pub draws: Draws,
    pub seen: BTreeMap<VerifyingKey, Seen>,
    nodes: BTreeMap<VerifyingKey, Node>,
    connected: BTreeSet<(VerifyingKey, VerifyingKey)>,
    last_arrival: BTreeMap<(VerifyingKey, VerifyingKey), Time>,
    events: BTreeMap<(Time, u64), Event>,
    number: u64,
    neighbours_max: usize,
}

pub fn key(number: usize) -> VerifyingKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SigningKey::from_bytes(&seed).verifying_key()
}

fn pair(one: VerifyingKey, other: VerifyingKey) -> (VerifyingKey, VerifyingKey) {
    (one.min(other), one.max(other))
}

impl Network {
    pub fn new(seed: u8, neighbours_max: usize) -> Network {
        Network {
            now: Time::ZERO,
            draws: Draws::from_seed([seed; 32]),
            seen: BTreeMap::new(),
            nodes: BTreeMap::new(),
            connected: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
            events: BTreeMap::new(),
            number: 0,
            neighbours_max,
        }
    }

    /// A node that knows of these.
    pub fn add(&mut self, node: VerifyingKey, knows: &[VerifyingKey]) {
        let mut knows = knows.to_vec();
        knows.retain(|known| *known != node);
        let member = Member::new(node, self.neighbours_max);
        let added = Node {
            member,
            knows,
            wake: None,
        };
        self.nodes.insert(node, added);
        self.seen.entry(node).or_default();
        self.schedule(self.now, Event::Seek(node));
    }

    /// A node dies without a word. The others notice after a while.
    pub fn kill(&mut self, node: VerifyingKey) {
        self.nodes.remove(&node);
        let (gone, left) = std::mem::take(&mut self.connected)
            .into_iter()
            .partition(|(one, other)| *one == node || *other == node);
        self.connected = left;
        let gone: BTreeSet<(VerifyingKey, VerifyingKey)> = gone;
        for (one, other) in gone {
            let at = if one == node { other } else { one };
            let noticed = self.now.after(1_000);
            self.schedule(noticed, Event::Unreachable { peer: node, at });
        }
    }

    pub fn handle(&mut self, node: VerifyingKey, input: Input) {
        let Some(found) = self.nodes.get_mut(&node) else {
            return;
        };
        let context = Context {
            now: self.now,
            draws: &mut self.draws,
            addresses: &Bytes::from_static(b"somewhere"),
        };
        found.member.handle(input, context);
        let mut outputs = Vec::new();
        while let Some(output) = found.member.poll() {
            outputs.push(output);
        }
        let wake = found.member.wake();
        if wake != found.wake {
            found.wake = wake;
            if let Some(wake) = wake {
                self.schedule(wake, Event::Tick(node));
            }
        }
        for output in outputs {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: VerifyingKey, output: Output) {
        let seen = self.seen.get_mut(&node).unwrap();
        match output {
            Output::Send { to, frame, kind } => {
                seen.frames_sent += 1;
                self.send(node, to, frame, kind);
            }
            Output::Up(_) | Output::Down(_) => seen.changes += 1,
            Output::Deliver { content, .. } => seen.delivered.push(content),
            Output::Free(_) => {}
        }
    }

    fn send(&mut self, from: VerifyingKey, to: VerifyingKey, frame: Bytes, kind: Kind) {
        let connection = pair(from, to);
        let mut delay_ms = self.draws.between(1, 40);
        if !self.connected.contains(&connection) {
            if kind != Kind::Ask {
                return;
            }
            if !self.nodes.contains_key(&to) {
                let noticed = self.now.after(delay_ms);
                self.schedule(noticed, Event::Unreachable { peer: to, at: from });
                return;
            }
            self.connected.insert(connection);
            delay_ms += self.draws.between(2, 80);
        }
        // In order, as on a stream.
        let last = self.last_arrival.entry((from, to)).or_default();
        *last = self.now.after(delay_ms).max(*last);
        let at = *last;
        self.schedule(at, Event::Frame { from, to, frame });
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.number += 1;
        self.events.insert((at.max(self.now), self.number), event);
    }

    pub fn run_ms(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while let Some(((at, _), _)) = self.events.first_key_value()
            && *at <= until
        {
            let ((at, _), event) = self.events.pop_first().unwrap();
            self.now = at;
            self.event(event);
        }
        self.now = until;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Frame { from, to, frame } => {
                let message = Message::decode(frame.slice(4..)).unwrap();
                if matches!(message, Message::Payload { .. }) {
                    self.seen.get_mut(&to).unwrap().payloads += 1;
                }
                let round_trip = Duration::from_millis(40);
                let input = Input::Received {
                    from,
                    message,
                    round_trip,
                };
                self.handle(to, input);
            }
            Event::Unreachable { peer, at } => self.handle(at, Input::Lost(peer)),
            Event::Tick(node) => {
                let found = self.nodes.get_mut(&node);
                if let Some(found) = found.filter(|found| found.wake <= Some(self.now)) {
                    found.wake = None;
                    self.handle(node, Input::Tick);
                }
            }
            Event::Seek(node) => self.seek(node),
        }
    }

    fn seek(&mut self, node: VerifyingKey) {
        let Some(found) = self.nodes.get(&node) else {
            return;
        };
        let count = found.member.lacking().min(limits::GOSSIP_JOIN_MAX);
        let mut known = found.knows.clone();
        known.retain(|peer| !found.member.needs(peer));
        let mut peers = Vec::new();
        while peers.len() < count && !known.is_empty() {
            let place = self.draws.position(known.len()).unwrap();
            peers.push(known.swap_remove(place));
        }
        if !peers.is_empty() {
            self.handle(node, Input::Join(peers));
        }
        let again = self.now.after(SEEK_MS);
        self.schedule(again, Event::Seek(node));
    }

    pub fn member(&self, node: &VerifyingKey) -> &Member {
        &self.nodes[node].member
    }

    /// Returns `true` if every node reaches every other one over neighbours.
    pub fn is_connected(&self) -> bool {
        let Some(first) = self.nodes.keys().next() else {
            return true;
        };
        let mut reached = BTreeSet::from([*first]);
        let mut next = vec![*first];
        while let Some(node) = next.pop() {
            for peer in self.nodes[&node].member.neighbours() {
                let back = self.nodes.get(peer);
                let both =
                    back.is_some_and(|back| back.member.neighbours().any(|one| *one == node));
                if both && reached.insert(*peer) {
                    next.push(*peer);
                }
            }
        }
        reached.len() == self.nodes.len()
    }
}
