//! Two peers in one thread with any number of sessions between them, driven in a seeded order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use p2panda_core::limits::BODIES_ASKED_MAX;
use p2panda_core::log::Head;
use p2panda_core::{
    Absent, Draft, Entry, Gap, Header, HeadsChange, Heights, LogName, LogRange, Look,
    NodeExtensions, Page, Read, Received, Refusal, Refused, SigningKey, Timestamp, Topic,
    VerifyingKey, Wanted,
};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::message::{Limits, Message};
use p2panda_protocol::sync::pair::{Dialled, Pair};
use p2panda_protocol::sync::session::{End, Event, Input, Output, Session, SessionId};
use p2panda_protocol::time::Time;

/// xorshift64*: enough to choose an order, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// A body that has not arrived.
pub const WANTED: Absent = Absent::Wanted { since: None };

/// A stream of a link.
pub const LINK: Protocol = Protocol::Link { binding: [5; 32] };

pub fn topic() -> Topic {
    Topic::from_bytes([7; 32])
}

/// An operation with a valid signature, of any size.
pub fn operation(key: &SigningKey, past: Option<&Entry>, body: &[u8]) -> Entry {
    let extensions = NodeExtensions {
        log_id: topic().log_id(),
        timestamp: Timestamp::from_micros(1_780_572_316_919_000),
        prune: false,
        deps: Vec::new(),
        name: None,
    };
    let backlink = past.map(|entry| entry.header.id());
    let header = Header::sign(
        key,
        Draft {
            seq: past.map_or(0, |entry| entry.seq() + 1),
            backlink,
            body: Some(body),
            extensions: Some(&extensions.encode()),
        },
    )
    .unwrap();
    Entry {
        arrival: 0,
        header,
        body: Some(Bytes::copy_from_slice(body)),
        absent: None,
    }
}

/// The next operation of a log with this name.
pub fn in_log(key: &SigningKey, name: &str, past: Option<&Entry>) -> Entry {
    let name = LogName::of(name).unwrap();
    let extensions = NodeExtensions {
        name: Some(name),
        ..NodeExtensions::new(topic().named_log_id(&name), Timestamp::from_micros(1))
    };
    let draft = Draft {
        seq: past.map_or(0, |entry| entry.seq() + 1),
        backlink: past.map(|entry| entry.header.id()),
        body: Some(b"named"),
        extensions: Some(&extensions.encode()),
    };
    Entry {
        header: Header::sign(key, draft).unwrap(),
        body: Some(Bytes::from_static(b"named")),
        ..operation(key, None, b"named")
    }
}

/// A log of `count` operations.
pub fn log(key: &SigningKey, count: usize, body_bytes: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        entries.push(operation(key, entries.last(), &vec![0x61; body_bytes]));
    }
    entries
}

/// One node: what it stores, and what its sessions share.
pub struct Peer {
    pub key: SigningKey,
    pub entries: Vec<Entry>,
    /// The last arrival number.
    pub arrival: u64,
    /// Entries that came before their predecessor.
    early: Vec<Entry>,
    /// Headers that exclude each other.
    pub forks: BTreeMap<VerifyingKey, [Header; 2]>,
    /// Heads that its sessions share, once one of them has asked.
    heads: Option<SharedHeads>,
    /// The height of its own log that it tells, if that is lower than what it has.
    told: Option<u32>,
    pub pair: Pair,
    pub sides: BTreeMap<SessionId, Side>,
}

impl Peer {
    pub fn new(seed: u8, remote: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let remote = SigningKey::from_bytes(&[remote; 32]).verifying_key();
        let pair = Pair::new(key.verifying_key(), remote);
        Self {
            key,
            entries: Vec::new(),
            arrival: 0,
            early: Vec::new(),
            forks: BTreeMap::new(),
            heads: None,
            told: None,
            pair,
            sides: BTreeMap::new(),
        }
    }

    pub fn store(&mut self, mut entry: Entry) {
        let next = self
            .heights()
            .get(&entry.label(), &topic().log_id())
            .map_or(0, |seq| seq + 1);
        if entry.seq() > next {
            return self.early.push(entry);
        }
        if self.is_fork(&entry) {
            return;
        }
        if entry.seq() < next {
            return self.fill(entry);
        }
        let (author, after) = (entry.label(), entry.seq() + 1);
        self.arrival += 1;
        entry.arrival = self.arrival;
        let change = HeadsChange {
            raised: vec![(author, Head::of(&entry.header))],
            forked: Vec::new(),
            arrival: self.arrival,
            ..HeadsChange::default()
        };
        self.entries.push(entry);
        self.follow(&change);
        let follows = |early: &Entry| early.label() == author && early.seq() == after;
        if let Some(place) = self.early.iter().position(follows) {
            let early = self.early.swap_remove(place);
            self.store(early);
        }
    }

    fn follow(&self, change: &HeadsChange) {
        if let Some(heads) = &self.heads {
            heads.follow(change);
        }
    }

    /// Returns `true` if it excludes what is stored; if so, that is kept.
    fn is_fork(&mut self, entry: &Entry) -> bool {
        let (author, seq) = (entry.label(), entry.seq());
        let at = |seq| {
            let mut of_log = self.entries.iter().filter(|one| one.label() == author);
            of_log.find(|one| one.seq() == seq)
        };
        let other = at(seq).filter(|one| one.header != entry.header);
        let before = seq.checked_sub(1).and_then(at);
        let other =
            other.or_else(|| before.filter(|one| Some(one.header.id()) != entry.header.backlink()));
        let Some(other) = other.map(|one| one.header.clone()) else {
            return false;
        };
        let pair = [other, entry.header.clone()];
        self.forks.entry(author).or_insert(pair);
        self.follow(&HeadsChange {
            forked: vec![author],
            ..HeadsChange::default()
        });
        true
    }

    /// Returns the heads that the sessions share: looked up once, and then told of everything.
    pub fn heads(&mut self) -> SharedHeads {
        if let Some(heads) = &self.heads {
            return heads.clone();
        }
        let heads = SharedHeads::new(&topic());
        let own = self.key.verifying_key();
        let is_told = |entry: &&Entry| {
            entry.label() != own || self.told.is_none_or(|told| entry.seq() <= told)
        };
        let raised = self.entries.iter().filter(is_told);
        heads.follow(&HeadsChange {
            raised: raised
                .map(|entry| (entry.label(), Head::of(&entry.header)))
                .collect(),
            forked: self.forks.keys().copied().collect(),
            arrival: self.arrival,
            ..HeadsChange::default()
        });
        self.heads = Some(heads.clone());
        heads
    }

    /// Reports a lower height of its own log from now on: the log is closed, and its branching point is
    /// not known.
    pub fn tell_lower(&mut self, seq: u32) {
        (self.told, self.heads) = (Some(seq), None);
    }

    fn evidence(&self, author: &VerifyingKey) -> Vec<Bytes> {
        let bytes = |header: &Header| header.as_bytes().clone();
        if let Some(pair) = self.forks.get(author) {
            return pair.iter().map(bytes).collect();
        }
        let of_log = self.entries.iter().filter(|one| one.label() == *author);
        let head = of_log.max_by_key(|one| one.seq());
        head.map(|one| bytes(&one.header)).into_iter().collect()
    }

    /// A body that comes later; the operation arrives again.
    fn fill(&mut self, mut entry: Entry) {
        let same = |stored: &Entry| stored.header == entry.header && stored.body.is_none();
        let place = self.entries.iter().position(same);
        if let Some(place) = place.filter(|_| entry.body.is_some()) {
            self.entries.remove(place);
            self.arrival += 1;
            entry.arrival = self.arrival;
            self.entries.push(entry);
            self.follow(&HeadsChange {
                arrival: self.arrival,
                ..HeadsChange::default()
            });
        }
    }

    /// First wanted entry of each log.
    fn gaps(&self) -> Vec<Gap> {
        let mut gaps = BTreeMap::new();
        for entry in self.lacking() {
            let first = gaps.entry(entry.label()).or_insert(entry.seq());
            *first = entry.seq().min(*first);
        }
        gaps.into_iter()
            .map(|(author, seq)| Gap { author, seq })
            .collect()
    }

    fn lacking(&self) -> impl Iterator<Item = &Entry> {
        let wanted = |entry: &&Entry| entry.absent == Some(WANTED);
        self.entries.iter().filter(wanted)
    }

    /// One range per entry, at most as many as one message asks for.
    pub fn wanted(&self, look: Look) -> Wanted {
        let mut places: Vec<_> = self.lacking().map(|one| (one.label(), one.seq())).collect();
        places.sort_unstable();
        match look {
            Look::After(after) => places.retain(|place| after.is_none_or(|after| *place > after)),
            Look::Of(ranges) => places.retain(|(author, seq)| {
                let of = |range: &LogRange| {
                    range.author == *author
                        && *seq <= range.until
                        && range.after.is_none_or(|after| *seq > after)
                };
                ranges.iter().any(of)
            }),
        }
        let more = places.len() > BODIES_ASKED_MAX;
        places.truncate(BODIES_ASKED_MAX);
        let ranges = places.into_iter().map(|(author, seq)| LogRange {
            author,
            log: topic().log_id(),
            after: seq.checked_sub(1),
            until: seq,
        });
        Wanted {
            ranges: ranges.collect(),
            more,
        }
    }

    pub fn publish(&mut self, body: &[u8]) {
        let author = self.key.verifying_key();
        let past = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.label() == author)
            .cloned();
        self.arrive(operation(&self.key.clone(), past.as_ref(), body));
    }

    /// Stores an operation, and tells the sessions.
    pub fn arrive(&mut self, entry: Entry) {
        self.store(entry);
        let arrival = self.arrival;
        for side in self.sides.values_mut() {
            side.answers.push_back(Input::Arrived(arrival));
        }
    }

    pub fn heights(&self) -> Heights {
        let mut heights = Heights::default();
        for entry in &self.entries {
            heights.raise(entry.label(), topic().log_id(), entry.seq());
        }
        heights
    }

    /// Those of the first log of each author, as peers that compare heights are told them.
    fn first_heights(&self) -> Heights {
        let first = self.entries.iter().filter(|entry| !entry.is_in_named_log());
        first
            .map(|entry| (entry.label(), topic().log_id(), entry.seq()))
            .collect()
    }

    /// Returns the authors whose logs are here, in the order in which they became known.
    fn authors(&self) -> Vec<VerifyingKey> {
        let mut authors: Vec<VerifyingKey> = Vec::new();
        for entry in &self.entries {
            if !authors.contains(&entry.label()) {
                authors.push(entry.label());
            }
        }
        authors
    }

    fn oldest_first(&self, ranges: &[LogRange]) -> Vec<LogRange> {
        let (authors, mut ranges) = (self.authors(), ranges.to_vec());
        ranges.sort_by_key(|range| authors.iter().position(|author| *author == range.author));
        ranges
    }

    /// Header and body of everything, by author and place.
    pub fn content(&self) -> BTreeMap<(Vec<u8>, u32), (Bytes, Option<Bytes>)> {
        let item = |entry: &Entry| {
            let place = (entry.label().as_bytes().to_vec(), entry.seq());
            (place, (entry.header.as_bytes().clone(), entry.body.clone()))
        };
        self.entries.iter().map(item).collect()
    }

    pub fn read(&self, read: &Read) -> Page {
        if let Read::Logs { ranges, bytes_max } = read {
            return self.read_logs(ranges, *bytes_max);
        }
        let mut page = Page::default();
        let mut bytes = 0;
        let Read::Arrivals { after, bytes_max } = read else {
            return page;
        };
        for entry in self.entries.iter().filter(|entry| entry.arrival > *after) {
            if bytes > *bytes_max {
                page.more = true;
                break;
            }
            bytes += entry.bytes();
            page.last_arrival = entry.arrival;
            page.entries.push(entry.clone());
        }
        page
    }

    fn read_logs(&self, ranges: &[LogRange], bytes_max: usize) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        for range in ranges {
            let wanted = |entry: &&Entry| {
                entry.label() == range.author
                    && range.after.is_none_or(|after| entry.seq() > after)
                    && entry.seq() <= range.until
            };
            let mut found: Vec<&Entry> = self.entries.iter().filter(wanted).collect();
            found.sort_unstable_by_key(|entry| entry.seq());
            for entry in found {
                if bytes > bytes_max {
                    page.more = true;
                    return page;
                }
                bytes += entry.bytes();
                page.last_arrival = entry.arrival;
                page.entries.push(entry.clone());
            }
            page.ranges += 1;
        }
        page
    }
}

/// One end of a session.
pub struct Side {
    pub session: Session,
    pub inbox: VecDeque<Bytes>,
    pub finished: bool,
    pub answers: VecDeque<Input>,
    pub end: Option<End>,
    pub events: Vec<Event>,
    /// Operations that came and could not be read.
    pub refused: Vec<Refused>,
    pub wake: Option<Time>,
    /// `true` if what it sends does not arrive.
    pub mute: bool,
    /// Every frame handed out, in order.
    pub sent: Vec<Bytes>,
    to_store: VecDeque<Vec<Received>>,
}

/// Next input of a session.
#[derive(Clone, Copy, PartialEq)]
enum Due {
    Answer,
    Room,
    Bytes,
}

pub struct World {
    pub rng: Rng,
    pub now: Time,
    pub peers: [Peer; 2],
    /// Protocol of new sessions; `None` leaves it to chance.
    pub protocol: Option<Protocol>,
    next_id: u64,
}

impl World {
    /// Peer 0 has the smaller node id. The seed decides what sessions speak: one protocol, another,
    /// or any.
    pub fn new(seed: u64) -> Self {
        World::speaking(
            seed,
            match seed % 6 {
                0 | 1 => Some(Protocol::LogSync),
                2 => Some(Protocol::DigestSync),
                3 => None,
                _ => Some(LINK),
            },
        )
    }

    pub fn speaking(seed: u64, protocol: Option<Protocol>) -> Self {
        let key = |byte: u8| SigningKey::from_bytes(&[byte; 32]).verifying_key();
        let (small, large) = if key(1) < key(2) { (1, 2) } else { (2, 1) };
        Self {
            rng: Rng::new(seed),
            now: Time::from_micros(1_000),
            peers: [Peer::new(small, large), Peer::new(large, small)],
            protocol,
            next_id: 0,
        }
    }

    /// `dialler` opens a session with the other peer.
    pub fn dial(&mut self, dialler: usize) -> SessionId {
        self.dial_with(dialler, Limits::default())
    }

    pub fn dial_with(&mut self, dialler: usize, limits: Limits) -> SessionId {
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let now = self.now;
        let protocol = self.protocol.unwrap_or_else(|| match self.rng.below(3) {
            0 => Protocol::LogSync,
            1 => Protocol::DigestSync,
            _ => LINK,
        });
        for (place, peer) in self.peers.iter_mut().enumerate() {
            let dialled = if place == dialler {
                Dialled::ByUs
            } else {
                Dialled::ByThem
            };
            let pair = &mut peer.pair;
            let session = Session::open(id, dialled, protocol, topic(), limits, pair, now);
            let side = Side {
                session,
                inbox: VecDeque::new(),
                finished: false,
                answers: VecDeque::from([Input::Tick]),
                end: None,
                events: Vec::new(),
                refused: Vec::new(),
                wake: None,
                mute: false,
                sent: Vec::new(),
                to_store: VecDeque::new(),
            };
            peer.sides.insert(id, side);
        }
        id
    }

    pub fn side(&mut self, peer: usize, id: SessionId) -> &mut Side {
        self.peers[peer].sides.get_mut(&id).unwrap()
    }

    /// The connection breaks on both sides.
    pub fn cut(&mut self, id: SessionId) {
        for peer in 0..2 {
            self.side(peer, id).inbox.clear();
            self.input(peer, id, Input::Lost);
        }
    }

    /// Nothing of the session arrives any more, in either direction.
    pub fn lose(&mut self, id: SessionId) {
        for peer in 0..2 {
            let side = self.side(peer, id);
            side.mute = true;
            side.inbox.clear();
        }
    }

    /// Returns the next answer to a running session.
    pub fn answer(&mut self, peer: usize, id: SessionId) -> Option<Input> {
        let side = self.side(peer, id);
        let running = side.end.is_none();
        running.then(|| side.answers.pop_front()).flatten()
    }

    /// One end of a session continues until nothing is due. Returns how many inputs that took.
    pub fn run_until_quiet(&mut self, peer: usize, id: SessionId) -> usize {
        let mut inputs = 0;
        while let Some(answer) = self.answer(peer, id) {
            self.input(peer, id, answer);
            inputs += 1;
        }
        inputs
    }

    /// Sessions of a peer that have not ended.
    pub fn running(&self, peer: usize) -> Vec<SessionId> {
        let running = self.peers[peer].sides.iter();
        let running = running.filter(|(_, side)| side.end.is_none());
        running.map(|(id, _)| *id).collect()
    }

    /// Hands one input to a session and acts on its outputs.
    pub fn input(&mut self, place: usize, id: SessionId, input: Input) {
        let now = self.now;
        let peer = &mut self.peers[place];
        let side = peer.sides.get_mut(&id).unwrap();
        if let Input::Stored { .. } = input {
            let mut arrived = Vec::new();
            for received in side.to_store.pop_front().unwrap() {
                match received {
                    Received::Refused(refused) => side.refused.push(refused),
                    Received::Operation { header, body } => arrived.push(Entry {
                        arrival: 0,
                        header,
                        absent: body.is_none().then_some(WANTED),
                        body,
                    }),
                }
            }
            arrived.into_iter().for_each(|entry| peer.store(entry));
        }
        let side = peer.sides.get_mut(&id).unwrap();
        side.session.handle(input, &mut peer.pair, now);
        while let Some(output) = self.peers[place].sides.get_mut(&id).unwrap().session.poll() {
            self.output(place, id, output);
        }
    }

    fn output(&mut self, place: usize, id: SessionId, output: Output) {
        let [first, second] = &mut self.peers;
        let (own, other) = if place == 0 {
            (first, second)
        } else {
            (second, first)
        };
        let answer = match &output {
            Output::Heights => Some(Input::Heights {
                heights: own.first_heights(),
                arrival: own.arrival,
                gaps: own.gaps(),
            }),
            Output::Heads => Some(Input::Heads(own.heads())),
            Output::Evidence(author) => Some(Input::Evidence(own.evidence(author))),
            Output::OldestHeights { logs_max } => {
                let mut authors = own.authors();
                authors.truncate(*logs_max);
                let all = own.first_heights();
                let heights = all.iter().filter(|(author, ..)| authors.contains(author));
                Some(Input::OldestHeights(heights.collect()))
            }
            Output::Wanted(look) => Some(Input::Wanted(Some(own.wanted(look.clone())))),
            Output::Totals(ranges) => {
                let entries = own.read_logs(ranges, usize::MAX).entries;
                let size = |entry: &Entry| entry.bytes();
                Some(Input::Totals {
                    operations: entries.len() as u64,
                    bytes: entries.iter().map(size).sum::<usize>() as u64,
                    ranges: own.oldest_first(ranges),
                })
            }
            Output::Read(read) => Some(Input::Page(own.read(read))),
            _ => None,
        };
        let changed = matches!(output, Output::PairChanged);
        let side = own.sides.get_mut(&id).unwrap();
        side.answers.extend(answer);
        match output {
            Output::Send(bytes) => {
                side.sent.push(bytes.clone());
                side.answers.push_back(Input::Acked(bytes.len()));
                side.answers.push_back(Input::Drained);
                if !side.mute {
                    other.sides.get_mut(&id).unwrap().inbox.push_back(bytes);
                }
            }
            Output::Store(operations) => {
                let invalid = |received: &&Received| matches!(received, Received::Refused(one) if one.refusal == Refusal::Undecodable);
                let invalid = operations.iter().filter(invalid).count();
                side.to_store.push_back(operations);
                side.answers.push_back(Input::Stored { invalid });
            }
            Output::Event(event) => side.events.push(event),
            // A driver has one timer, which the earliest moment sets.
            Output::Wake(time) if time <= self.now => {
                side.wake = None;
                side.answers.push_back(Input::Tick);
            }
            Output::Wake(time) => side.wake = Some(time),
            Output::Rest => side.wake = None,
            Output::Finish => other.sides.get_mut(&id).unwrap().finished = true,
            Output::End(end) => {
                assert!(side.end.replace(end).is_none(), "a session ends once");
                other.sides.get_mut(&id).unwrap().finished = true;
            }
            _ => {}
        }
        if changed {
            for (other_id, side) in &mut own.sides {
                if *other_id != id && side.end.is_none() {
                    side.answers.push_back(Input::PairChanged);
                }
            }
        }
    }

    /// Delivers one thing of those that are due, chosen by the seed. False when all is quiet.
    pub fn step(&mut self) -> bool {
        let mut due = Vec::new();
        for (place, peer) in self.peers.iter().enumerate() {
            for (id, side) in &peer.sides {
                let running = side.end.is_none();
                if !side.answers.is_empty() && (running || !side.to_store.is_empty()) {
                    due.push((place, *id, Due::Answer));
                } else if running && side.session.has_pieces() {
                    due.push((place, *id, Due::Room));
                }
                let readable = !side.inbox.is_empty() || side.finished;
                if running && readable && side.session.wants_bytes() {
                    due.push((place, *id, Due::Bytes));
                }
            }
        }
        if due.is_empty() {
            return false;
        }
        let (place, id, what) = due[self.rng.below(due.len())];
        self.now = Time::from_micros(self.now.as_micros() + 100);
        let cut = self.rng.below(4000) + 1;
        let side = self.side(place, id);
        let input = if what == Due::Answer {
            side.answers.pop_front().unwrap()
        } else if what == Due::Room {
            Input::Room
        } else if let Some(mut bytes) = side.inbox.pop_front() {
            let head = bytes.split_to(cut.min(bytes.len()));
            if !bytes.is_empty() {
                side.inbox.push_front(bytes);
            }
            Input::Bytes(head)
        } else {
            side.finished = false;
            Input::EndOfStream
        };
        self.input(place, id, input);
        true
    }

    /// Until nothing is left to deliver.
    pub fn settle(&mut self) {
        for _ in 0..2_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the sessions never come to rest");
    }

    /// Operations that this peer sent, over all its sessions.
    pub fn sent_operations(&self, place: usize) -> u64 {
        let sides = self.peers[place].sides.values();
        sides
            .map(|side| side.session.counters().sent_operations)
            .sum()
    }

    pub fn assert_equal(&self) {
        assert!(
            self.peers[0].content() == self.peers[1].content(),
            "the peers differ"
        );
    }
}

/// A message as the bytes of one frame.
pub fn frame(message: &Message) -> Bytes {
    let mut out = bytes::BytesMut::new();
    message.encode(&mut out).unwrap();
    out.freeze()
}
