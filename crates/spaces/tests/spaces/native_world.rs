//! A few nodes with a topic each, in the form of our own nodes: what the engine does, without disk
//! and network.

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
use p2panda_core::{Hash, Signature, SigningKey, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_groups::Member;
use p2panda_spaces::{
    Content, Desk, Event, Glance, Health, LocalError, Log, Outgoing, ReceiveError, Received, Role,
    Sealed, Settings, Signer, SpaceId, Spaces, Verdict, Wait,
};

pub const NOW: u64 = 1_790_000_000;

/// An operation, without what the space does not look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    pub id: Hash,
    pub author: VerifyingKey,
    pub log: Log,
    pub seq: u64,
    pub dependencies: Vec<Hash>,
    pub body: Vec<u8>,
}

/// The operations of one topic, as one node has them.
#[derive(Default)]
pub struct Topic {
    pub ops: BTreeMap<Hash, Op>,
    pub logs: BTreeMap<(VerifyingKey, Log), Vec<Hash>>,
}

impl Topic {
    /// Signs what is the next in our log.
    fn forge(&mut self, author: VerifyingKey, log: Log, out: (Vec<Hash>, Vec<u8>)) -> Op {
        let own = self.logs.entry((author, log)).or_default();
        let (seq, (dependencies, body)) = (own.len() as u64, out);
        let named: Vec<u8> = dependencies.iter().flat_map(|id| *id.as_bytes()).collect();
        let header = [
            author.as_bytes(),
            log.name().as_bytes(),
            &seq.to_be_bytes()[..],
        ]
        .concat();
        let id = Hash::digest(&[header, named, body.clone()].concat());
        own.push(id);
        let op = Op {
            id,
            author,
            log,
            seq,
            dependencies,
            body,
        };
        self.ops.insert(id, op.clone());
        op
    }
}

pub struct Pen<'p> {
    key: &'p SigningKey,
    topic: &'p mut Topic,
    published: &'p mut Vec<Hash>,
    /// Number of processed messages of each content log.
    heights: &'p BTreeMap<VerifyingKey, u64>,
    /// Number of operations that there is room for.
    room: usize,
}

impl Signer for Pen<'_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        self.key.sign(bytes)
    }

    fn publish(&mut self, outgoing: Outgoing) -> Hash {
        let out = (outgoing.dependencies, outgoing.body);
        let author = self.key.verifying_key();
        let op = self.topic.forge(author, outgoing.log, out);
        self.published.push(op.id);
        op.id
    }

    fn height(&self, _: &SpaceId, author: &VerifyingKey) -> u64 {
        self.heights.get(author).copied().unwrap_or(0)
    }

    fn has_room(&self) -> bool {
        self.published.len() < self.room
    }
}

pub struct Node {
    pub key: SigningKey,
    pub id: VerifyingKey,
    pub spaces: Spaces,
    pub keys: OwnKeys,
    pub registry: Registry,
    pub rng: ChaCha20Rng,
    pub now: u64,
    /// The space of the topic, once it is known.
    pub space: Option<SpaceId>,
    pub topic: Topic,
    /// Messages that were processed or never can be.
    pub done: BTreeSet<Hash>,
    pub heights: BTreeMap<VerifyingKey, u64>,
    /// Content that lacks its secret.
    pub sealed: BTreeSet<Hash>,
    pub shown: BTreeMap<Hash, String>,
    /// All that was ever opened, as a node keeps it.
    pub kept: BTreeMap<Hash, String>,
    /// Messages that nothing opens any more.
    pub gone: BTreeSet<Hash>,
    pub refused: BTreeSet<Hash>,
    /// Messages that wait for a structure key.
    pub locked: BTreeSet<Hash>,
    pub events: Vec<Event>,
    pub stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// With how many operations it stops to heal.
    pub room: usize,
}

type Pens<'p, 's> = Sealed<'s, Pen<'p>>;

impl Node {
    pub fn new(seed: u8) -> Node {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = key.verifying_key();
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        let lifetime = Lifetime::starting(NOW, PRE_KEY_LIFETIME_DEFAULT_S);
        keys.rotate_hybrid_prekey(lifetime, &mut rng);
        Node {
            key,
            id,
            spaces: Spaces::new(id),
            keys,
            registry: Registry::new(),
            rng,
            now: NOW,
            space: None,
            topic: Topic::default(),
            done: BTreeSet::new(),
            heights: BTreeMap::new(),
            sealed: BTreeSet::new(),
            shown: BTreeMap::new(),
            kept: BTreeMap::new(),
            gone: BTreeSet::new(),
            refused: BTreeSet::new(),
            locked: BTreeSet::new(),
            events: Vec::new(),
            stored: BTreeMap::new(),
            room: usize::MAX,
        }
    }

    pub fn member(&self) -> Member {
        Member::Individual(self.id)
    }

    pub fn s(&self) -> SpaceId {
        self.space.unwrap()
    }

    /// Publishes the keys by which others reach us.
    pub fn announce(&mut self) {
        let body = Spaces::bundle_body(&self.keys, self.now).unwrap();
        let op = self.topic.forge(self.id, Log::Control, (Vec::new(), body));
        self.done.insert(op.id);
    }

    pub fn try_act<T>(
        &mut self,
        act: impl FnOnce(
            &mut Spaces,
            &mut Desk<'_, '_, ChaCha20Rng, Pens<'_, '_>>,
        ) -> Result<T, LocalError>,
    ) -> Result<T, LocalError> {
        let mut published = Vec::new();
        let mut pen = Pen {
            key: &self.key,
            topic: &mut self.topic,
            published: &mut published,
            heights: &self.heights,
            room: self.room,
        };
        let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
        let mut desk = Desk {
            context: &mut context,
            rng: &mut self.rng,
            forge: Sealed(&mut pen),
        };
        let done = act(&mut self.spaces, &mut desk);
        self.done.extend(published);
        let told = self.spaces.events();
        self.take(told);
        done
    }

    pub fn try_do(
        &mut self,
        act: impl FnOnce(
            &mut Spaces,
            SpaceId,
            &mut Desk<'_, '_, ChaCha20Rng, Pens<'_, '_>>,
        ) -> Result<Vec<Event>, LocalError>,
    ) -> Result<(), LocalError> {
        let space = self.space.ok_or(LocalError::Form)?;
        let events = self.try_act(|spaces, desk| act(spaces, space, desk))?;
        self.take(events);
        Ok(())
    }

    pub fn create(&mut self, settings: Settings, members: &[(Member, Role)]) -> SpaceId {
        let made = self.try_act(|spaces, desk| spaces.create_sealed(settings, members, desk));
        let (id, events) = made.unwrap();
        self.space = Some(id);
        self.take(events);
        id
    }

    pub fn add(&mut self, member: Member, role: Role) {
        self.try_do(|spaces, s, desk| spaces.add(s, member, role, desk))
            .unwrap();
    }

    pub fn remove(&mut self, member: Member) {
        self.try_do(|spaces, s, desk| spaces.remove(s, member, desk))
            .unwrap();
    }

    pub fn set_role(&mut self, member: Member, role: Role) {
        self.try_do(|spaces, s, desk| spaces.set_role(s, member, role, desk))
            .unwrap();
    }

    pub fn heal(&mut self) {
        self.try_do(|spaces, s, desk| spaces.heal(s, desk)).unwrap();
    }

    pub fn is_healthy(&mut self) -> bool {
        self.health().is_none_or(|health| health.is_good())
    }

    pub fn health(&mut self) -> Option<Health> {
        let space = self.s();
        let context = Context::new(&mut self.keys, &mut self.registry, self.now);
        self.spaces.health(&space, &context)
    }

    pub fn try_publish(&mut self, text: &str) -> Result<Hash, LocalError> {
        let space = self.space.ok_or(LocalError::Form)?;
        let out = self
            .spaces
            .seal_message(space, text.as_bytes(), &mut self.rng)?;
        assert_eq!(out.log, Log::Content);
        let out = (out.dependencies, out.body);
        let op = self.topic.forge(self.id, Log::Content, out);
        self.pump();
        assert_eq!(self.shown.get(&op.id).map(String::as_str), Some(text));
        Ok(op.id)
    }

    pub fn publish(&mut self, text: &str) -> Hash {
        self.try_publish(text).unwrap()
    }

    /// Signs what the library would not make, and does not process it.
    pub fn forge(&mut self, log: Log, dependencies: Vec<Hash>, body: Vec<u8>) -> Hash {
        self.topic.forge(self.id, log, (dependencies, body)).id
    }

    pub fn members(&self) -> BTreeMap<VerifyingKey, Role> {
        let space = self.space.iter();
        space.flat_map(|s| self.spaces.members(s)).collect()
    }

    pub fn reads(&self, text: &str) -> bool {
        self.shown.values().any(|shown| shown == text)
    }

    /// Takes an operation in, after the one before it in its log.
    pub fn arrive(&mut self, op: &Op) -> bool {
        let log = self.topic.logs.entry((op.author, op.log)).or_default();
        if log.len() as u64 != op.seq {
            return self.topic.ops.contains_key(&op.id);
        }
        log.push(op.id);
        self.topic.ops.insert(op.id, op.clone());
        if op.log == Log::Control {
            let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
            let glance = self
                .spaces
                .glance(self.space, &op.author, &op.body, &mut context);
            if let Ok(Glance::Keys { space, .. }) = glance {
                self.space.get_or_insert(space);
            }
        }
        true
    }

    /// Processes everything that can be.
    pub fn pump(&mut self) {
        let Some(space) = self.space else {
            return;
        };
        loop {
            let before = self.done.len();
            let logs: Vec<Vec<Hash>> = self.topic.logs.values().cloned().collect();
            for log in logs {
                let waiting = log.into_iter().skip_while(|id| self.done.contains(id));
                for id in waiting.collect::<Vec<_>>() {
                    if !self.done.contains(&id) && !self.try_process(space, &id) {
                        break;
                    }
                }
            }
            if self.done.len() == before {
                return;
            }
        }
    }

    /// Tries to process a message, and returns `true` if it was processed.
    fn try_process(&mut self, space: SpaceId, id: &Hash) -> bool {
        let op = self.topic.ops[id].clone();
        if !op.dependencies.iter().all(|id| self.done.contains(id)) {
            return false;
        }
        let received = Received {
            id: op.id,
            author: op.author,
            seq: op.seq,
            dependencies: &op.dependencies,
            body: &op.body,
        };
        let error = match op.log {
            Log::Control => {
                let mut context = Context::new(&mut self.keys, &mut self.registry, self.now);
                let done = self.spaces.receive_control(space, &received, &mut context);
                done.map(|events| self.take(events)).err()
            }
            Log::Content => {
                let content = self.spaces.receive_content(space, &received);
                content.map(|content| self.show(&op, content)).err()
            }
        };
        match error {
            Some(ReceiveError::Wait(wait)) => {
                if let Wait::Key(_) = wait {
                    self.locked.insert(op.id);
                }
                return false;
            }
            Some(ReceiveError::Invalid(_)) => {
                self.refused.insert(op.id);
            }
            Some(error) => panic!("{error}"),
            None => {}
        }
        self.locked.remove(&op.id);
        if op.log == Log::Content {
            self.heights.insert(op.author, op.seq + 1);
        }
        self.done.insert(op.id);
        true
    }

    fn show(&mut self, op: &Op, content: Content) {
        self.sealed.remove(&op.id);
        match content {
            Content::Opened { verdict, data, .. } => {
                if verdict == Verdict::Stands {
                    let text = String::from_utf8(data.to_vec()).unwrap();
                    self.kept.insert(op.id, text.clone());
                    self.shown.insert(op.id, text);
                }
            }
            Content::Sealed { .. } => {
                self.sealed.insert(op.id);
            }
            Content::Refused(_) => {
                self.refused.insert(op.id);
            }
            Content::Withheld => {}
            Content::Gone => match self.kept.get(&op.id) {
                Some(text) => drop(self.shown.insert(op.id, text.clone())),
                None => drop(self.gone.insert(op.id)),
            },
            _ => panic!("unknown"),
        }
    }

    fn take(&mut self, events: Vec<Event>) {
        // Of several messages of one call the last one decides.
        let mut judged = BTreeMap::new();
        for event in &events {
            match event {
                Event::Secrets { space, .. } => {
                    for id in self.sealed.clone() {
                        self.open_again(*space, &id);
                    }
                }
                Event::Range {
                    space,
                    author,
                    first,
                    end,
                    verdict,
                } => {
                    let end = end.unwrap_or(u64::MAX).min(self.height_of(author));
                    for seq in *first..end {
                        let id = self.topic.logs[&(*author, Log::Content)][seq as usize];
                        judged.insert(id, *verdict);
                        match verdict {
                            Verdict::Stands => self.open_again(*space, &id),
                            _ => drop(self.shown.remove(&id)),
                        }
                    }
                }
                _ => {}
            }
        }
        for (id, verdict) in judged {
            assert_eq!(self.verdict(&id), Some(verdict));
        }
        self.events.extend(events);
    }

    fn height_of(&self, author: &VerifyingKey) -> u64 {
        self.heights.get(author).copied().unwrap_or(0)
    }

    fn open_again(&mut self, space: SpaceId, id: &Hash) {
        let op = self.topic.ops[id].clone();
        let content = self
            .spaces
            .open_message(&space, &op.author, op.seq, &op.body);
        if let Ok(content) = content {
            self.show(&op, content);
        }
    }

    pub fn verdict(&self, id: &Hash) -> Option<Verdict> {
        let op = &self.topic.ops[id];
        self.spaces.verdict_of(&self.space?, &op.author, op.seq)
    }

    /// Stores what has changed and goes on from what is stored.
    pub fn restart(&mut self) {
        let before = self.members();
        for row in self.spaces.changes() {
            match row.value {
                Some(value) => self.stored.insert(row.key, value.to_vec()),
                None => self.stored.remove(&row.key),
            };
        }
        self.spaces = Spaces::load(self.id, &self.stored).unwrap();
        assert_eq!(self.members(), before);
        assert!(
            self.spaces.changes().is_empty(),
            "nothing is to be stored again"
        );
    }
}

/// Nodes that know each other's keys.
pub fn nodes<const N: usize>() -> [Node; N] {
    let mut nodes: [Node; N] = std::array::from_fn(|at| Node::new(at as u8 + 1));
    nodes.iter_mut().for_each(Node::announce);
    sync(&mut nodes.iter_mut().collect::<Vec<_>>());
    nodes
}

/// Everybody gets what the others have.
pub fn sync(nodes: &mut [&mut Node]) {
    let all: Vec<Vec<Op>> = nodes.iter().map(|node| ops(node)).collect();
    for node in nodes {
        deliver(node, all.iter().flatten());
    }
}

/// Returns the operations of a node, each log in its order.
pub fn ops(node: &Node) -> Vec<Op> {
    let ids = node.topic.logs.values().flatten();
    ids.map(|id| node.topic.ops[id].clone()).collect()
}

/// Hands operations over in this order, as far as the one before in each log is there.
pub fn deliver<'o>(node: &mut Node, ops: impl IntoIterator<Item = &'o Op>) {
    for op in ops {
        node.arrive(op);
    }
    node.pump();
}

/// One heals after the other, until nothing is left to do.
pub fn heal_all(nodes: &mut [&mut Node]) {
    for _ in 0..2 {
        for at in 0..nodes.len() {
            if !nodes[at].members().is_empty() {
                nodes[at].heal();
            }
            sync(nodes);
        }
    }
}
