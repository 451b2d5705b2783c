//! The neighbours of a node in an overlay, and the other nodes known in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};

use super::message::{Message, Named, Priority};
use super::tree::{Branch, Branches};
use crate::draws::Draws;
use crate::time::Time;

/// At this many hops to go a node is remembered on the way.
const REMEMBERED_AT_HOPS: u16 = 3;
/// Neighbours and other nodes that a shuffle names.
const SHUFFLED_NEIGHBOURS: usize = 3;
const SHUFFLED_OTHERS: usize = 4;

/// Answers of views to an event.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) sends: Vec<(VerifyingKey, Message)>,
    /// Sent even if the peer has to be dialled first.
    pub(super) asks: Vec<(VerifyingKey, Message)>,
    pub(super) up: Vec<VerifyingKey>,
    pub(super) down: Vec<VerifyingKey>,
    /// Neither neighbours nor asked to become so any more.
    pub(super) free: Vec<VerifyingKey>,
}

/// Knowledge of the world that views need.
pub(super) struct World<'a> {
    pub(super) now: Time,
    pub(super) draws: &'a mut Draws,
    /// Addresses of this node, as neighbours are told them.
    pub(super) addresses: &'a Bytes,
    pub(super) answers: Answers,
}

#[derive(Debug)]
struct Neighbour {
    /// The larger, the later it came.
    number: u64,
    branch: Branch,
    /// Never made room for another one.
    kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// With a join: the answer is answered.
    Join,
    /// With a neighbour request.
    Neighbour,
}

/// Neighbours, other known nodes, and requests that were not answered yet.
#[derive(Debug)]
pub(super) struct Views {
    local: VerifyingKey,
    neighbours_max: usize,
    neighbours: BTreeMap<VerifyingKey, Neighbour>,
    number: u64,
    known: Vec<Named>,
    requests: BTreeMap<VerifyingKey, (Asked, Time)>,
    /// A neighbour message of these is the answer to ours, which was one itself.
    answered: BTreeMap<VerifyingKey, Time>,
    shuffle_at: Option<Time>,
    shuffles: u32,
}

impl Branches for Views {
    fn branch(&self, peer: &VerifyingKey) -> Option<Branch> {
        self.neighbours.get(peer).map(|neighbour| neighbour.branch)
    }

    fn set(&mut self, peer: &VerifyingKey, branch: Branch) -> bool {
        match self.neighbours.get_mut(peer) {
            Some(neighbour) => std::mem::replace(&mut neighbour.branch, branch) != branch,
            None => false,
        }
    }

    fn all(&self, branch: Branch) -> Vec<VerifyingKey> {
        let all = self.neighbours.iter();
        let all = all.filter(|(_, neighbour)| neighbour.branch == branch);
        all.map(|(peer, _)| *peer).collect()
    }
}

impl Views {
    pub(super) fn new(local: VerifyingKey, neighbours_max: usize) -> Views {
        Views {
            local,
            neighbours_max: neighbours_max.max(1),
            neighbours: BTreeMap::new(),
            number: 0,
            known: Vec::new(),
            requests: BTreeMap::new(),
            answered: BTreeMap::new(),
            shuffle_at: None,
            shuffles: 0,
        }
    }

    pub(super) fn is_neighbour(&self, peer: &VerifyingKey) -> bool {
        self.neighbours.contains_key(peer)
    }

    pub(super) fn neighbours(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.neighbours.keys()
    }

    pub(super) fn needs(&self, peer: &VerifyingKey) -> bool {
        self.is_neighbour(peer) || self.requests.contains_key(peer)
    }

    /// Returns the number of neighbours that are still to be looked for.
    pub(super) fn lacking(&self) -> usize {
        limits::GOSSIP_NEIGHBOURS_WANTED.saturating_sub(self.neighbours.len() + self.requests.len())
    }

    pub(super) fn wake(&self) -> Option<Time> {
        let requests = self.requests.values().map(|(_, until)| *until);
        requests.chain(self.shuffle_at).min()
    }

    pub(super) fn keep(&mut self, peer: &VerifyingKey) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.kept = true;
        }
    }

    /// Joins through these nodes.
    pub(super) fn join(&mut self, peers: Vec<VerifyingKey>, world: &mut World<'_>) {
        for peer in peers {
            if peer == self.local || self.needs(&peer) {
                continue;
            }
            let until = world.now + limits::GOSSIP_REQUEST_WAIT;
            self.requests.insert(peer, (Asked::Join, until));
            world.ask(peer, Message::Join(Some(world.addresses.clone())));
        }
    }

    pub(super) fn joined(
        &mut self,
        from: VerifyingKey,
        addresses: Option<Bytes>,
        world: &mut World<'_>,
    ) {
        if !self.accept(from, Priority::High, world) {
            return self.refuse(from, world);
        }
        self.say_neighbour(from, Priority::High, world);
        let joined = Named {
            node: from,
            addresses,
        };
        for peer in self.some_neighbours(&[from], limits::GOSSIP_FORWARD_MAX, world.draws) {
            let (joined, hops) = (joined.clone(), limits::GOSSIP_WALK_MAX);
            world.send(peer, Message::ForwardJoin { joined, hops });
        }
    }

    pub(super) fn join_forwarded(
        &mut self,
        from: VerifyingKey,
        joined: Named,
        hops: u16,
        world: &mut World<'_>,
    ) {
        let peer = joined.node;
        if peer == self.local || self.requests.contains_key(&peer) {
            return;
        }
        if self.is_neighbour(&peer) {
            // It may have lost us, if it had to join again.
            if !self.answered.contains_key(&peer) {
                self.say_neighbour(peer, Priority::High, world);
            }
            return;
        }
        if hops == 0 || self.neighbours.len() <= 1 {
            // Who has enough serves anyone who asks and looks for no more.
            if self.lacking() > 0 {
                self.ask_neighbour(peer, Priority::High, world);
            }
            return;
        }
        if hops == REMEMBERED_AT_HOPS {
            self.remember(joined.clone(), world);
        }
        let hops = hops.min(limits::GOSSIP_WALK_MAX) - 1;
        for next in self.some_neighbours(&[from], 1, world.draws) {
            let joined = joined.clone();
            world.send(next, Message::ForwardJoin { joined, hops });
        }
    }

    pub(super) fn wants_neighbour(
        &mut self,
        from: VerifyingKey,
        priority: Priority,
        world: &mut World<'_>,
    ) {
        let requested = self.requests.remove(&from).map(|(asked, _)| asked);
        let answered = self.answered.remove(&from);
        let is_answer =
            requested == Some(Asked::Neighbour) || answered.is_some_and(|until| until > world.now);
        if !self.accept(from, priority, world) {
            return self.refuse(from, world);
        }
        if !is_answer {
            self.say_neighbour(from, priority, world);
        }
    }

    pub(super) fn disconnected(&mut self, from: VerifyingKey, alive: bool, world: &mut World<'_>) {
        if self.forget(&from, world) && alive {
            let addresses = None;
            self.remember(
                Named {
                    node: from,
                    addresses,
                },
                world,
            );
        }
        self.refill(&[from], world);
    }

    /// There is no way to the peer.
    pub(super) fn lost(&mut self, peer: VerifyingKey, world: &mut World<'_>) {
        self.known.retain(|known| known.node != peer);
        self.forget(&peer, world);
        self.refill(&[peer], world);
    }

    pub(super) fn shuffled(
        &mut self,
        from: VerifyingKey,
        origin: VerifyingKey,
        nodes: Vec<Named>,
        hops: u16,
        world: &mut World<'_>,
    ) {
        if hops == 0 || self.neighbours.len() <= 1 {
            let count = nodes.len();
            for node in nodes {
                self.remember(node, world);
            }
            if origin != self.local {
                let reply = Message::ShuffleReply(self.some_nodes(count, &[origin], world.draws));
                world.send(origin, reply);
            }
            return;
        }
        let hops = hops.min(limits::GOSSIP_WALK_MAX) - 1;
        for next in self.some_neighbours(&[origin, from], 1, world.draws) {
            let nodes = nodes.clone();
            world.send(
                next,
                Message::Shuffle {
                    origin,
                    nodes,
                    hops,
                },
            );
        }
    }

    pub(super) fn shuffle_replied(&mut self, nodes: Vec<Named>, world: &mut World<'_>) {
        for node in nodes {
            self.remember(node, world);
        }
        self.refill(&[], world);
    }

    pub(super) fn leave(&mut self, world: &mut World<'_>) {
        for peer in std::mem::take(&mut self.neighbours).into_keys() {
            self.say_goodbye(peer, false, world);
        }
        world.answers.free.extend(self.requests.keys());
        self.requests.clear();
        self.shuffle_at = None;
    }

    pub(super) fn tick(&mut self, world: &mut World<'_>) {
        let now = world.now;
        let due = self.requests.iter().filter(|(_, (_, until))| *until <= now);
        let due: Vec<VerifyingKey> = due.map(|(peer, _)| *peer).collect();
        for peer in due {
            self.lost(peer, world);
        }
        self.answered.retain(|_, until| *until > now);
        if self.answered.is_empty() {
            self.answered = BTreeMap::new();
        }
        if self.shuffle_at.is_some_and(|at| at <= now) {
            self.shuffle(world);
        }
    }

    fn shuffle(&mut self, world: &mut World<'_>) {
        self.shuffles = self.shuffles.saturating_add(1);
        self.shuffle_at = self.next_shuffle(world.now);
        for peer in self.some_neighbours(&[], 1, world.draws) {
            let mut nodes: Vec<Named> = self
                .some_neighbours(&[peer], SHUFFLED_NEIGHBOURS, world.draws)
                .into_iter()
                .map(|node| Named {
                    node,
                    addresses: None,
                })
                .collect();
            nodes.extend(self.some_known(SHUFFLED_OTHERS, &[peer], world.draws));
            nodes.push(Named {
                node: self.local,
                addresses: Some(world.addresses.clone()),
            });
            let (origin, hops) = (self.local, limits::GOSSIP_WALK_MAX);
            world.send(
                peer,
                Message::Shuffle {
                    origin,
                    nodes,
                    hops,
                },
            );
        }
    }

    /// Makes a peer a neighbour, if there is room or it may have that of another one.
    fn accept(&mut self, peer: VerifyingKey, priority: Priority, world: &mut World<'_>) -> bool {
        if peer == self.local {
            return false;
        }
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            neighbour.branch = Branch::Eager;
            return true;
        }
        if self.neighbours.len() >= self.neighbours_max
            && (priority == Priority::Low || !self.make_room(world))
        {
            return false;
        }
        self.requests.remove(&peer);
        if self.requests.is_empty() {
            // There is one of these for every topic, and mostly it is at rest.
            self.requests = BTreeMap::new();
        }
        self.known.retain(|known| known.node != peer);
        self.number += 1;
        let neighbour = Neighbour {
            number: self.number,
            branch: Branch::Eager,
            kept: false,
        };
        self.neighbours.insert(peer, neighbour);
        world.answers.up.push(peer);
        self.changed(world.now);
        true
    }

    /// The newest goes that has shown nothing: those who come in crowds take each other's place.
    fn make_room(&mut self, world: &mut World<'_>) -> bool {
        let unkept = self.neighbours.iter().filter(|(_, one)| !one.kept);
        let newest = unkept.max_by_key(|(_, one)| one.number);
        let Some(peer) = newest.map(|(peer, _)| *peer) else {
            return false;
        };
        self.neighbours.remove(&peer);
        world.answers.down.push(peer);
        self.refuse(peer, world);
        true
    }

    fn refuse(&mut self, peer: VerifyingKey, world: &mut World<'_>) {
        self.requests.remove(&peer);
        self.say_goodbye(peer, true, world);
    }

    fn say_goodbye(&mut self, peer: VerifyingKey, alive: bool, world: &mut World<'_>) {
        // So that the other side does not stand alone.
        let count = SHUFFLED_NEIGHBOURS + SHUFFLED_OTHERS;
        let nodes = self.some_nodes(count, &[peer], world.draws);
        world.send(peer, Message::ShuffleReply(nodes));
        world.send(peer, Message::Disconnect { alive });
        world.answers.free.push(peer);
    }

    /// Returns whether it was a neighbour.
    fn forget(&mut self, peer: &VerifyingKey, world: &mut World<'_>) -> bool {
        self.answered.remove(peer);
        let requested = self.requests.remove(peer).is_some();
        let was_neighbour = self.neighbours.remove(peer).is_some();
        if was_neighbour {
            world.answers.down.push(*peer);
            self.changed(world.now);
        }
        if requested || was_neighbour {
            world.answers.free.push(*peer);
        }
        was_neighbour
    }

    fn changed(&mut self, now: Time) {
        self.shuffles = 0;
        self.shuffle_at = self.next_shuffle(now);
    }

    /// A little later than due, so that many overlays shuffle in one go. Not at all while there is
    /// nothing to tell: to a single neighbour, who knows of nobody else.
    fn next_shuffle(&self, now: Time) -> Option<Time> {
        let is_told = !self.neighbours.is_empty() && self.neighbours.len() + self.known.len() >= 2;
        is_told.then(|| {
            let wait = limits::GOSSIP_SHUFFLE_FIRST.saturating_mul(1 << self.shuffles.min(10));
            let wait = wait.min(limits::GOSSIP_SHUFFLE_MAX);
            let together = u64::try_from(wait.as_micros() / 8).unwrap_or(u64::MAX);
            // Other nodes at other moments.
            let own = self.local.as_bytes().first_chunk();
            let apart = own.map_or(0, |own| u64::from_le_bytes(*own) % together);
            let due = (now + wait).as_micros().saturating_sub(apart);
            let due = due.checked_next_multiple_of(together).unwrap_or(due);
            Time::from_micros(due.saturating_add(apart))
        })
    }

    /// Asks a known node, if neighbours are lacking.
    fn refill(&mut self, not: &[VerifyingKey], world: &mut World<'_>) {
        if self.lacking() == 0 {
            return;
        }
        let known = self.some_known(self.known.len(), not, world.draws);
        let next = known.into_iter().find(|known| !self.needs(&known.node));
        if let Some(next) = next {
            let priority = match self.neighbours.is_empty() {
                true => Priority::High,
                false => Priority::Low,
            };
            self.ask_neighbour(next.node, priority, world);
        }
    }

    fn ask_neighbour(&mut self, peer: VerifyingKey, priority: Priority, world: &mut World<'_>) {
        let until = world.now + limits::GOSSIP_REQUEST_WAIT;
        self.requests.insert(peer, (Asked::Neighbour, until));
        world.ask(peer, neighbour(priority, world.addresses));
    }

    fn say_neighbour(&mut self, peer: VerifyingKey, priority: Priority, world: &mut World<'_>) {
        let until = world.now + limits::GOSSIP_REQUEST_WAIT;
        self.answered.insert(peer, until);
        world.send(peer, neighbour(priority, world.addresses));
    }

    fn remember(&mut self, named: Named, world: &mut World<'_>) {
        let is_known = |known: &Named| known.node == named.node;
        if named.node == self.local || self.is_neighbour(&named.node) {
            return;
        }
        if let Some(known) = self.known.iter_mut().find(|known| is_known(known)) {
            if named.addresses.is_some() {
                known.addresses = named.addresses;
            }
            return;
        }
        if self.known.len() >= limits::GOSSIP_KNOWN_MAX
            && let Some(place) = world.draws.position(self.known.len())
        {
            self.known.swap_remove(place);
        }
        self.known.push(named);
        if self.shuffle_at.is_none() {
            self.shuffle_at = self.next_shuffle(world.now);
        }
    }

    fn some_neighbours(
        &self,
        not: &[VerifyingKey],
        count: usize,
        draws: &mut Draws,
    ) -> Vec<VerifyingKey> {
        let all = self.neighbours.keys().filter(|peer| !not.contains(peer));
        some(all.copied().collect(), count, draws)
    }

    fn some_known(&self, count: usize, not: &[VerifyingKey], draws: &mut Draws) -> Vec<Named> {
        let all = self.known.iter();
        let all = all.filter(|known| !not.contains(&known.node)).cloned();
        some(all.collect(), count, draws)
    }

    /// Known nodes, and neighbours where they are too few.
    fn some_nodes(&self, count: usize, not: &[VerifyingKey], draws: &mut Draws) -> Vec<Named> {
        let mut nodes = self.some_known(count, not, draws);
        let neighbours = self.some_neighbours(not, count - nodes.len(), draws);
        nodes.extend(neighbours.into_iter().map(|node| Named {
            node,
            addresses: None,
        }));
        nodes
    }
}

impl World<'_> {
    fn send(&mut self, to: VerifyingKey, message: Message) {
        self.answers.sends.push((to, message));
    }

    fn ask(&mut self, to: VerifyingKey, message: Message) {
        self.answers.asks.push((to, message));
    }
}

fn neighbour(priority: Priority, addresses: &Bytes) -> Message {
    Message::Neighbour {
        priority,
        addresses: Some(addresses.clone()),
    }
}

/// Some of these at random.
fn some<T>(mut all: Vec<T>, count: usize, draws: &mut Draws) -> Vec<T> {
    let count = count.min(all.len());
    for place in 0..count {
        let other = place + draws.position(all.len() - place).unwrap_or(0);
        all.swap(place, other);
    }
    all.truncate(count);
    all
}
