//! Rows of the state to store, and back (`docs/protocol/spaces.md#12`).

use p2panda_core::ordered::BTreeMap;

use p2panda_core::cbor::{self, CborError, Reader, Writer};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::SecretId;
use p2panda_encryption::{Row, Secret, data};
use p2panda_groups::{Groups, Rules};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::event::Verdict;
use crate::graph::{Graph, Kind, Node, Place, Pointed};
use crate::holders::Holders;
use crate::joining::Made;
use crate::roster::Roster;
use crate::sealed::{Chains, Native, Note, Run, Scheme};
use crate::space::{Founded, Space};
use crate::spaces::Spaces;
use crate::touched::Touched;
use crate::{Role, Settings, SpaceId};

/// Written into the row of a space; another one is not read.
const VERSION: u64 = 2;

const GROUPS: u8 = 0;
const SPACE: u8 = 1;
const SIGNED: u8 = 2;

const HEADER: u8 = 0;
const MESSAGE: u8 = 1;
const ENCRYPTION: u8 = 2;
const DISPLACED: u8 = 3;
const NATIVE: u8 = 4;
const KEY: u8 = 5;
const RUN: u8 = 6;
const CHAIN: u8 = 7;
const MADE: u8 = 8;

/// Reason why rows are no spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Another version of the software wrote them.
    #[error("the rows have another version")]
    Version,
    /// A row is missing, is cut or names what is not there.
    #[error("the rows are damaged")]
    Corrupt,
    /// Those of the groups.
    #[error(transparent)]
    Groups(#[from] p2panda_groups::LoadError),
    /// Those of the encryption of a space.
    #[error(transparent)]
    Encryption(#[from] p2panda_encryption::LoadError),
}

impl From<CborError> for LoadError {
    fn from(_: CborError) -> LoadError {
        LoadError::Corrupt
    }
}

impl Spaces {
    /// The rows that have changed since the last call; at first all. Store them in one
    /// transaction with the message that was processed or signed. If that fails, drop this state
    /// and load it again.
    pub fn changes(&mut self) -> Vec<Row> {
        let row = |row: p2panda_groups::Row| Row {
            key: [&[GROUPS][..], &row.key].concat(),
            value: row.value.map(Zeroizing::new),
        };
        let mut rows: Vec<Row> = self.groups.changes().into_iter().map(row).collect();
        for id in std::mem::take(&mut self.signed_dirty) {
            let value = self.signed.get(&id).cloned();
            rows.push(Row {
                key: [&[SIGNED][..], id.as_bytes()].concat(),
                value: value.map(Zeroizing::new),
            });
        }
        self.spaces.settle(|space| space.rows(&mut rows));
        rows
    }

    /// The spaces of stored rows, given in any order.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        me: VerifyingKey,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Spaces, LoadError> {
        let rows: Vec<(K, V)> = rows.into_iter().collect();
        let mut groups = Vec::new();
        let mut signed = BTreeMap::new();
        let mut stored: BTreeMap<SpaceId, Stored<'_>> = BTreeMap::new();
        for (key, value) in &rows {
            let (kind, name) = key.as_ref().split_first().ok_or(LoadError::Corrupt)?;
            match *kind {
                GROUPS => groups.push((name, value.as_ref())),
                SPACE => {
                    let (space, name) = name.split_first_chunk().ok_or(LoadError::Corrupt)?;
                    let space = stored.entry(SpaceId::from_bytes(*space)).or_default();
                    space.row(name, value.as_ref())?;
                }
                SIGNED => {
                    let id = <[u8; 32]>::try_from(name).map_err(|_| LoadError::Corrupt)?;
                    signed.insert(Hash::from_bytes(id), value.as_ref().to_vec());
                }
                _ => return Err(LoadError::Corrupt),
            }
        }
        let groups = Groups::load(Rules::Hardened, groups)?;
        let mut spaces = BTreeMap::new();
        for (id, stored) in stored {
            spaces.insert(id, stored.space(id, me, &groups)?);
        }
        Ok(Spaces {
            groups,
            spaces: Touched::stored(spaces),
            signed,
            ..Spaces::new(me)
        })
    }
}

impl Space {
    fn rows(&mut self, rows: &mut Vec<Row>) {
        let id = self.id;
        let mut put = |kind: u8, name: &[u8], value: Option<Zeroizing<Vec<u8>>>| {
            let key = [&[SPACE][..], id.as_bytes(), &[kind], name].concat();
            rows.push(Row { key, value });
        };
        if self.stored != Some(self.founded) {
            self.stored = Some(self.founded);
            put(HEADER, &[], Some(write_founded(self.founded.as_ref())));
        }
        for message in std::mem::take(&mut self.graph.dirty) {
            let node = self.graph.get(&message).map(write_node);
            put(MESSAGE, message.as_bytes(), node);
        }
        for message in std::mem::take(&mut self.displaced_changed) {
            let is_displaced = self.displaced.contains(&message);
            let value = is_displaced.then(|| Zeroizing::new(Vec::new()));
            put(DISPLACED, message.as_bytes(), value);
        }
        for row in self.encryption.changes() {
            put(ENCRYPTION, &row.key, row.value);
        }
        let Some(native) = &mut self.native else {
            return;
        };
        if native.stored != Some(native.settings) {
            native.stored = Some(native.settings);
            put(NATIVE, &[], Some(write_settings(native.settings)));
        }
        for id in native.ring.take_dirty() {
            let key = native.ring.get(&id);
            let key = key.map(|key| Zeroizing::new(key.as_bytes().to_vec()));
            put(KEY, id.as_bytes(), key);
        }
        for (secret, pointer) in native.made.take_dirty() {
            let pointer = Zeroizing::new(pointer.as_bytes().to_vec());
            put(MADE, secret.as_bytes(), Some(pointer));
        }
        for (author, first) in std::mem::take(&mut native.runs.dirty) {
            let run = native
                .runs
                .of
                .get(&author)
                .and_then(|runs| runs.get(&first));
            let name = [author.as_bytes(), &first.to_be_bytes()[..]].concat();
            put(RUN, &name, run.map(write_run));
        }
        for (name, value) in native.chains.rows() {
            put(CHAIN, &name, value);
        }
    }
}

/// The rows of one space.
#[derive(Default)]
struct Stored<'r> {
    founded: Option<Option<Founded>>,
    nodes: BTreeMap<Hash, Node>,
    displaced: Vec<Hash>,
    encryption: Vec<(&'r [u8], &'r [u8])>,
    settings: Option<Option<Settings>>,
    keys: Vec<&'r [u8]>,
    runs: Vec<(VerifyingKey, u64, Run)>,
    chains: Chains,
    made: Made,
}

impl<'r> Stored<'r> {
    fn row(&mut self, name: &'r [u8], value: &'r [u8]) -> Result<(), LoadError> {
        let (kind, name) = name.split_first().ok_or(LoadError::Corrupt)?;
        let message = || <[u8; 32]>::try_from(name).map(Hash::from_bytes);
        let message = || message().map_err(|_| LoadError::Corrupt);
        match *kind {
            HEADER => self.founded = Some(read_founded(value)?),
            MESSAGE => {
                self.nodes.insert(message()?, read_node(value)?);
            }
            ENCRYPTION => self.encryption.push((name, value)),
            DISPLACED => self.displaced.push(message()?),
            NATIVE => self.settings = Some(read_settings(value)?),
            KEY => self.keys.push(value),
            CHAIN => self.chains.load(name, value)?,
            MADE => {
                let secret = SecretId::from_bytes(*message()?.as_bytes());
                let pointer = Hash::try_from(value).map_err(|_| LoadError::Corrupt)?;
                self.made.restore(secret, pointer);
            }
            RUN => {
                let (author, first) = name.split_first_chunk().ok_or(LoadError::Corrupt)?;
                let author = VerifyingKey::from_bytes_unchecked(*author);
                let first = first.try_into().map_err(|_| LoadError::Corrupt)?;
                let run = (author, u64::from_be_bytes(first), read_run(value)?);
                self.runs.push(run);
            }
            _ => return Err(LoadError::Corrupt),
        }
        Ok(())
    }

    fn space(self, id: SpaceId, me: VerifyingKey, groups: &Groups) -> Result<Space, LoadError> {
        let encryption = data::Group::load(Roster::default(), self.encryption)?;
        let mut space = Space::of(id, me, encryption);
        space.founded = self.founded.ok_or(LoadError::Corrupt)?;
        space.stored = Some(space.founded);
        for (id, node) in &self.nodes {
            space.index(id, node);
        }
        space.graph = Graph::of_nodes(self.nodes);
        space.holders = Holders::of_graph(&space.graph);
        space.displaced = self.displaced.into_iter().collect();
        if let Some(settings) = self.settings {
            let native = native(settings, &self.keys, self.runs, &space)?;
            space.native = Some(Native {
                chains: self.chains,
                made: self.made,
                ..native
            });
            match space.scheme() {
                Scheme::Data => space.encryption.note_made(),
                Scheme::Message => space.encryption.split(),
            }
        }
        // Which rules count depends on the form of the space.
        space.roles = space.roles_now(groups);
        Ok(space)
    }
}

/// Writes what a space has beyond the form of 0.7.1.
fn native(
    settings: Option<Settings>,
    keys: &[&[u8]],
    runs: Vec<(VerifyingKey, u64, Run)>,
    space: &Space,
) -> Result<Native, LoadError> {
    let mut native = Native {
        settings,
        stored: Some(settings),
        ..Native::default()
    };
    for key in keys {
        let key = <[u8; 32]>::try_from(*key).map_err(|_| LoadError::Corrupt)?;
        native.ring.restore(Secret::from_bytes(key));
    }
    native.ring.learn(space.encryption.secrets());
    for (author, first, run) in runs {
        native.runs.of.entry(author).or_default().insert(first, run);
    }
    Ok(native)
}

fn write_settings(settings: Option<Settings>) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    match settings {
        Some(settings) => settings.write(&mut w),
        None => {
            w.array(0);
        }
    }
    Zeroizing::new(w.into_bytes())
}

fn read_settings(value: &[u8]) -> Result<Option<Settings>, LoadError> {
    let mut r = Reader::checked(value, cbor::VALUE)?;
    if value == [0x80] {
        return Ok(None);
    }
    let settings = Settings::read(&mut r).map_err(|_| LoadError::Corrupt)?;
    Ok(Some(settings))
}

fn write_run(run: &Run) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    w.array(3);
    write_hashes(&run.past, &mut w);
    w.uint(run.role.map_or(0, |role| 1 + role as u64));
    w.uint(run.stands_below);
    Zeroizing::new(w.into_bytes())
}

fn read_run(value: &[u8]) -> Result<Run, LoadError> {
    let mut r = Reader::checked(value, cbor::VALUE)?;
    if r.array()? != 3 {
        return Err(LoadError::Corrupt);
    }
    Ok(Run {
        past: read_list(&mut r, read_hash)?,
        role: match r.uint()? {
            0 => None,
            role => Some(numbered(&Role::ALL, role - 1)?),
        },
        stands_below: r.uint()?,
    })
}

fn write_founded(founded: Option<&Founded>) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    w.array(1 + 3 * usize::from(founded.is_some()))
        .uint(VERSION);
    if let Some(founded) = founded {
        w.bytes(founded.group.as_bytes());
        w.bytes(founded.auth.as_bytes());
        w.bytes(founded.author.as_bytes());
    }
    Zeroizing::new(w.into_bytes())
}

fn read_founded(value: &[u8]) -> Result<Option<Founded>, LoadError> {
    let mut r = Reader::checked(value, cbor::VALUE)?;
    let len = r.array()?;
    if r.uint()? != VERSION {
        return Err(LoadError::Version);
    }
    match len {
        1 => Ok(None),
        4 => Ok(Some(Founded {
            group: read_key(&mut r)?.into(),
            auth: read_hash(&mut r)?,
            author: read_key(&mut r)?,
        })),
        _ => Err(LoadError::Corrupt),
    }
}

fn write_node(node: &Node) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    let place = &node.place;
    w.array(7)
        .bytes(place.author.as_bytes())
        .uint(place.position);
    w.array(2 * place.clock.len());
    for (author, count) in &place.clock {
        w.bytes(author.as_bytes()).uint(*count);
    }
    write_hashes(&place.named, &mut w);
    write_hashes(&place.controls, &mut w);
    match &node.kind {
        Kind::Refused => {
            w.array(1).uint(0);
        }
        Kind::Plain => {
            w.array(1).uint(1);
        }
        Kind::Asks => {
            w.array(1).uint(4);
        }
        Kind::Pointer(pointed) => {
            w.array(10).uint(2).bytes(pointed.auth.as_bytes());
            w.bool(pointed.is_control).bool(pointed.removes);
            w.bool(pointed.rotates);
            write_keys(&pointed.silenced, &mut w);
            write_keys(&pointed.admitted, &mut w);
            write_keys(&pointed.sent, &mut w);
            write_keys(&pointed.welcomed, &mut w);
            w.array(2 * pointed.heights.len());
            for (author, height) in &pointed.heights {
                w.bytes(author.as_bytes()).uint(*height);
            }
        }
        Kind::Application { role, told } => {
            w.array(3).uint(3).uint(*role as u64);
            w.uint(told.map_or(0, |verdict| 1 + verdict as u64));
        }
    }
    w.array(node.notes.len());
    for note in &node.notes {
        note.write(&mut w);
    }
    Zeroizing::new(w.into_bytes())
}

fn read_node(value: &[u8]) -> Result<Node, LoadError> {
    let mut r = Reader::checked(value, cbor::VALUE)?;
    if r.array()? != 7 {
        return Err(LoadError::Corrupt);
    }
    let (author, position) = (read_key(&mut r)?, r.uint()?);
    let clock = read_counts(&mut r)?;
    let place = Place {
        author,
        position,
        clock,
        named: read_list(&mut r, read_hash)?,
        controls: read_list(&mut r, read_hash)?,
    };
    let len = r.array()?;
    let kind = match (r.uint()?, len) {
        (0, 1) => Kind::Refused,
        (1, 1) => Kind::Plain,
        (4, 1) => Kind::Asks,
        (2, 10) => Kind::Pointer(Pointed {
            auth: read_hash(&mut r)?,
            is_control: r.bool()?,
            removes: r.bool()?,
            rotates: r.bool()?,
            silenced: read_list(&mut r, read_key)?,
            admitted: read_list(&mut r, read_key)?,
            sent: read_list(&mut r, read_key)?,
            welcomed: read_list(&mut r, read_key)?,
            heights: read_counts(&mut r)?,
        }),
        (3, 3) => Kind::Application {
            role: numbered(&Role::ALL, r.uint()?)?,
            told: match r.uint()? {
                0 => None,
                verdict => Some(numbered(&Verdict::ALL, verdict - 1)?),
            },
        },
        _ => return Err(LoadError::Corrupt),
    };
    let note = |r: &mut Reader<'_>| Note::read(r).map_err(|_| LoadError::Corrupt);
    let notes = read_list(&mut r, note)?;
    Ok(Node { place, kind, notes })
}

fn read_counts(r: &mut Reader<'_>) -> Result<BTreeMap<VerifyingKey, u64>, LoadError> {
    let mut counts = BTreeMap::new();
    for _ in 0..r.array()? / 2 {
        counts.insert(read_key(r)?, r.uint()?);
    }
    Ok(counts)
}

fn numbered<T: Copy>(all: &[T], number: u64) -> Result<T, LoadError> {
    let place = usize::try_from(number).map_err(|_| LoadError::Corrupt)?;
    all.get(place).copied().ok_or(LoadError::Corrupt)
}

fn write_hashes(hashes: &[Hash], w: &mut Writer) {
    w.array(hashes.len());
    for hash in hashes {
        w.bytes(hash.as_bytes());
    }
}

fn write_keys(keys: &[VerifyingKey], w: &mut Writer) {
    w.array(keys.len());
    for key in keys {
        w.bytes(key.as_bytes());
    }
}

fn read_list<T>(
    r: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, LoadError>,
) -> Result<Vec<T>, LoadError> {
    (0..r.array()?).map(|_| read(r)).collect()
}

fn read_hash(r: &mut Reader<'_>) -> Result<Hash, LoadError> {
    Hash::try_from(r.bytes()?).map_err(|_| LoadError::Corrupt)
}

/// A key that was checked when it came.
fn read_key(r: &mut Reader<'_>) -> Result<VerifyingKey, LoadError> {
    let bytes = r.bytes()?.try_into().map_err(|_| LoadError::Corrupt)?;
    Ok(VerifyingKey::from_bytes_unchecked(bytes))
}
