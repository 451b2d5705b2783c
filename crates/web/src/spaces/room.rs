//! One topic that carries a space: how much of each log was processed, and what waits.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2panda_core::{Dependency, Hash, Header, LogName, NodeExtensions, Topic, VerifyingKey};
use p2panda_spaces::{Invite, Log, SpaceId};
use zeroize::Zeroizing;

use super::book::Row;

/// The first bytes of keys of rows. Those before are of spaces, own keys and the registry.
const TOPIC: u8 = 3;
const REQUEST: u8 = 4;
const CONTROL: u8 = 5;
const NEXT: u8 = 6;
const WAITING: u8 = 7;
const PARKED: u8 = 8;

/// Log of an author in a space; each has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Members and secrets.
    Control,
    /// Content of the application.
    Content,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Control, Kind::Content];

    /// The name of the log.
    pub fn name(self) -> LogName {
        let log = match self {
            Kind::Control => Log::Control,
            Kind::Content => Log::Content,
        };
        LogName::of(log.name()).expect("the name has a byte and not too many")
    }

    fn of(name: Option<LogName>) -> Option<Kind> {
        let name = name?;
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn read(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte)).copied()
    }
}

/// A verified operation of one of the two logs.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) id: Hash,
    pub(crate) author: VerifyingKey,
    pub(crate) seq: u32,
    pub(crate) kind: Kind,
    pub(crate) dependencies: Vec<Hash>,
    pub(crate) header: Bytes,
    pub(crate) body: Bytes,
}

impl Operation {
    /// Reads one whose signature was verified; none if it is of another log.
    pub fn read(header: Bytes, body: Bytes) -> Option<Operation> {
        let decoded = Header::decode_unverified(header.clone()).ok()?;
        let extensions: NodeExtensions = decoded.node_extensions().ok()?;
        Some(Operation {
            id: decoded.id(),
            author: decoded.author(),
            seq: decoded.seq(),
            kind: Kind::of(extensions.name)?,
            dependencies: extensions.deps.iter().map(|dep| dep.id).collect(),
            header,
            body,
        })
    }

    fn write(&self) -> Vec<u8> {
        let bytes = (self.header.len() as u32).to_be_bytes();
        [&bytes[..], &self.header, &self.body].concat()
    }

    fn stored(row: &[u8]) -> Option<Operation> {
        let (bytes, rest) = row.split_first_chunk()?;
        let bytes = usize::try_from(u32::from_be_bytes(*bytes)).ok()?;
        let (header, body) = rest.split_at_checked(bytes)?;
        Operation::read(Bytes::copy_from_slice(header), Bytes::copy_from_slice(body))
    }
}

/// An invite with which we ask to join.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub invite: Invite,
    /// Time until which the keys are valid under which we asked; 0: we have not asked.
    pub asked_until: u64,
}

/// State of a topic that carries a space.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub id: Option<SpaceId>,
    /// Time until which the keys are valid that we published there; 0: none are.
    pub keys_until: u64,
    pub joining: Option<Joining>,
    /// Requests to join: newcomers and their invites.
    pub requests: BTreeMap<VerifyingKey, VerifyingKey>,
    /// Places of processed control operations.
    pub controls: BTreeMap<Hash, (VerifyingKey, u32)>,
    /// The sequence number after the last one that was processed.
    pub next: BTreeMap<(Kind, VerifyingKey), u32>,
    pub waiting: BTreeMap<(Kind, VerifyingKey), BTreeMap<u32, Operation>>,
    /// Content that lacks its secret.
    pub parked: BTreeMap<[u8; 32], BTreeSet<(VerifyingKey, u32)>>,
    /// Authors of control operations that wait for a key.
    pub locked: BTreeSet<VerifyingKey>,
    /// A control operation waits for a later version of this crate.
    pub needs_newer: bool,
    changed: Vec<Row>,
}

fn key(kind: u8, topic: &Topic, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(topic.as_bytes());
    rest.iter().for_each(|part| key.extend_from_slice(part));
    key
}

impl Room {
    /// Notes that the state is to be stored.
    pub fn touch(&mut self, topic: &Topic) {
        let mut row = self.keys_until.to_be_bytes().to_vec();
        if let Some(id) = &self.id {
            row.extend_from_slice(id.as_bytes());
            if let Some(joining) = &self.joining {
                row.extend(joining.asked_until.to_be_bytes());
                row.extend_from_slice(&joining.invite.encode());
            }
        }
        self.put(key(TOPIC, topic, &[]), Some(row));
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let value = value.map(Zeroizing::new);
        self.changed.push(Row { key, value });
    }

    pub fn take_changed(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.changed)
    }

    pub fn wait(&mut self, topic: &Topic, operation: Operation) {
        let log = (operation.kind, operation.author);
        let row = key(
            WAITING,
            topic,
            &[
                &[operation.kind as u8],
                operation.author.as_bytes(),
                &operation.seq.to_be_bytes(),
            ],
        );
        self.put(row, Some(operation.write()));
        let waiting = self.waiting.entry(log).or_default();
        waiting.insert(operation.seq, operation);
    }

    /// An operation was processed, or can never be.
    pub fn pass(&mut self, topic: &Topic, operation: &Operation) {
        let Operation {
            id,
            author,
            seq,
            kind,
            ..
        } = operation;
        let log = (*kind, *author);
        if let Some(waiting) = self.waiting.get_mut(&log)
            && waiting.remove(seq).is_some()
        {
            if waiting.is_empty() {
                self.waiting.remove(&log);
            }
            let row: [&[u8]; 3] = [&[*kind as u8], author.as_bytes(), &seq.to_be_bytes()];
            self.put(key(WAITING, topic, &row), None);
        }
        let next = seq.saturating_add(1);
        self.next.insert(log, next);
        let row = key(NEXT, topic, &[&[*kind as u8], author.as_bytes()]);
        self.put(row, Some(next.to_be_bytes().to_vec()));
        if *kind == Kind::Control {
            self.controls.insert(*id, (*author, *seq));
            let place = [&author.as_bytes()[..], &seq.to_be_bytes()].concat();
            self.put(key(CONTROL, topic, &[id.as_bytes()]), Some(place));
        }
    }

    pub fn park(&mut self, topic: &Topic, secret: [u8; 32], author: VerifyingKey, seq: u32) {
        let row: [&[u8]; 3] = [&secret, author.as_bytes(), &seq.to_be_bytes()];
        self.put(key(PARKED, topic, &row), Some(Vec::new()));
        self.parked.entry(secret).or_default().insert((author, seq));
    }

    /// Content for which this secret came.
    pub fn unpark(&mut self, topic: &Topic, secret: &[u8; 32]) -> BTreeSet<(VerifyingKey, u32)> {
        let parked = self.parked.remove(secret).unwrap_or_default();
        for (author, seq) in &parked {
            let row: [&[u8]; 3] = [secret, author.as_bytes(), &seq.to_be_bytes()];
            self.put(key(PARKED, topic, &row), None);
        }
        parked
    }

    pub fn is_parked(&self, author: &VerifyingKey, seq: u32) -> bool {
        let place = (*author, seq);
        self.parked.values().any(|parked| parked.contains(&place))
    }

    pub fn asked(&mut self, topic: &Topic, newcomer: VerifyingKey, invite: VerifyingKey) {
        self.requests.insert(newcomer, invite);
        let row = key(REQUEST, topic, &[newcomer.as_bytes()]);
        self.put(row, Some(invite.as_bytes().to_vec()));
    }

    pub fn answered(&mut self, topic: &Topic, newcomer: &VerifyingKey) {
        self.requests.remove(newcomer);
        self.put(key(REQUEST, topic, &[newcomer.as_bytes()]), None);
    }

    /// The header's names of control operations.
    pub fn named(&self, topic: &Topic, ids: &[Hash]) -> Vec<Dependency> {
        let log = Some(topic.named_log_id(&Kind::Control.name()));
        let place = |id: &Hash| {
            let (author, seq) = *self.controls.get(id)?;
            Some(Dependency {
                author,
                log,
                seq,
                id: *id,
            })
        };
        ids.iter().filter_map(place).collect()
    }
}

/// Reads the rows of all rooms; none if they are damaged.
pub(crate) fn load<'r>(
    rows: impl Iterator<Item = (&'r [u8], &'r [u8])>,
) -> Option<BTreeMap<Topic, Room>> {
    let mut rooms: BTreeMap<Topic, Room> = BTreeMap::new();
    for (key, value) in rows {
        let (&kind, name) = key.split_first()?;
        if !(TOPIC..=PARKED).contains(&kind) {
            continue;
        }
        let (topic, name) = name.split_first_chunk()?;
        let room = rooms.entry(Topic::from_bytes(*topic)).or_default();
        room.row(kind, name, value)?;
    }
    Some(rooms)
}

impl Room {
    fn row(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Option<()> {
        match kind {
            TOPIC => self.known(value)?,
            REQUEST => {
                let newcomer = read_key(name)?;
                self.requests.insert(newcomer, read_key(value)?);
            }
            CONTROL => {
                let id = Hash::from_bytes(name.try_into().ok()?);
                self.controls.insert(id, place(value)?);
            }
            NEXT => {
                let (&kind, author) = name.split_first()?;
                let next = u32::from_be_bytes(value.try_into().ok()?);
                let log = (Kind::read(kind)?, read_key(author)?);
                self.next.insert(log, next);
            }
            WAITING => {
                let operation = Operation::stored(value)?;
                let log = (operation.kind, operation.author);
                let waiting = self.waiting.entry(log).or_default();
                waiting.insert(operation.seq, operation);
            }
            _ => {
                let (secret, name) = name.split_first_chunk()?;
                let parked = self.parked.entry(*secret).or_default();
                parked.insert(place(name)?);
            }
        }
        Some(())
    }

    fn known(&mut self, value: &[u8]) -> Option<()> {
        let (until, rest) = value.split_first_chunk()?;
        self.keys_until = u64::from_be_bytes(*until);
        if rest.is_empty() {
            return Some(());
        }
        let (id, rest) = rest.split_first_chunk()?;
        self.id = Some(SpaceId::from_bytes(*id));
        if !rest.is_empty() {
            let (asked, invite) = rest.split_first_chunk()?;
            self.joining = Some(Joining {
                invite: Invite::decode(invite).ok()?,
                asked_until: u64::from_be_bytes(*asked),
            });
        }
        Some(())
    }
}

fn read_key(bytes: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()
}

fn place(bytes: &[u8]) -> Option<(VerifyingKey, u32)> {
    let (author, seq) = bytes.split_at_checked(32)?;
    let seq = u32::from_be_bytes(seq.try_into().ok()?);
    Some((read_key(author)?, seq))
}
