//! The head of each log of a topic, with a hash for each range of them
//! (`docs/protocol/ranges.md#2`).

mod followed;
mod prefix;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

pub use self::followed::{HeadsChange, TopicHeads};
use self::prefix::Key;
pub use self::prefix::Prefix;
use crate::fixed::write_hex;
use crate::log::Head;
use crate::{Few, Hash, Heights, LogId, VerifyingKey};

/// Ranges with at most that many logs are hashed in one piece (`docs/protocol/ranges.md#2`).
const HASHED_AT_ONCE: usize = 32;
/// Room that is made at once for more logs in one place.
const ROOM: usize = 4;
/// In front of what is hashed: the logs of a range, or the hashes of its two halves.
const LOGS: u8 = 0;
const HALVES: u8 = 1;

/// The first 16 bytes of the id of a head, or zeros for a log that is known to be forked: by then
/// all nodes that know of it say the same of it, whichever branch they are on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadId([u8; 16]);

impl HeadId {
    /// The log is forked, and the node has evidence of it.
    pub const FORKED: HeadId = HeadId([0; 16]);

    /// Takes the bytes as they are on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> HeadId {
        HeadId(bytes)
    }

    /// The bytes as they go on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns `true` if the log is known to be forked.
    pub fn is_forked(&self) -> bool {
        *self == HeadId::FORKED
    }
}

impl From<Hash> for HeadId {
    fn from(id: Hash) -> HeadId {
        let bytes = id.as_bytes().first_chunk::<16>();
        HeadId(bytes.copied().unwrap_or_default())
    }
}

impl fmt::Debug for HeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadId(")?;
        write_hex(&self.0, f)?;
        write!(f, ")")
    }
}

/// The head of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Author of the log, or its label.
    pub author: VerifyingKey,
    /// Id of the log.
    pub log: LogId,
    /// Height of the log.
    pub seq: u32,
    /// The operation at this height.
    pub id: HeadId,
}

/// The head of each log of a topic, in the order of author and log id, once for all its sessions.
///
/// A tree over the bits of the keys: a node with more than 32 logs has two halves, which differ in
/// the first bit that its logs do not share. So the tree, and each hash in it, depends on the logs
/// alone and not on the order in which they came. A log that grows makes the hashes above it void,
/// and they are computed when somebody asks: both take O(log n).
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// The log ids that occur, as they came; within one topic it is one.
    logs: Vec<LogId>,
    places: Few<LogId, u32>,
    /// The first one is the root.
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    author: VerifyingKey,
    id: HeadId,
    /// Place in `logs`.
    log: u32,
    seq: u32,
}

#[derive(Clone, Debug)]
enum Node {
    /// More than [`HASHED_AT_ONCE`] logs. They share all bits before this one.
    Halves {
        bit: u16,
        count: u32,
        halves: [u32; 2],
        hash: Option<Hash>,
    },
    /// Some logs, ascending, never none.
    Logs {
        items: Vec<Item>,
        hash: Option<Hash>,
    },
}

/// Content of a range in the tree.
enum Part {
    Nothing,
    Whole(u32),
    /// Some of the logs of one node.
    Some(u32, Range<usize>),
}

impl Heads {
    /// Knows nothing yet.
    pub fn new() -> Heads {
        Heads::default()
    }

    /// Takes the head of a log, if it is higher than what is known; answers whether it is. A log
    /// that is known to be forked stays so.
    pub fn raise(&mut self, author: VerifyingKey, log: LogId, head: Head) -> bool {
        let id = HeadId::from(head.id);
        self.change(author, log, |known| match known {
            None => Some((head.seq, id)),
            Some((seq, _)) if seq >= head.seq => None,
            Some((_, known)) => Some((head.seq, if known.is_forked() { known } else { id })),
        })
    }

    /// Takes the head of a log, no matter what is known; answers whether it is another one. A log
    /// that is known to be forked stays so.
    pub fn replace(&mut self, author: VerifyingKey, log: LogId, head: Head) -> bool {
        let id = HeadId::from(head.id);
        self.change(author, log, |known| match known {
            Some((_, known)) if known.is_forked() => Some((head.seq, known)),
            Some(known) if known == (head.seq, id) => None,
            _ => Some((head.seq, id)),
        })
    }

    /// Notes that there is evidence that a log is forked; answers whether that is new. A log
    /// without a head is not noted.
    pub fn set_forked(&mut self, author: VerifyingKey, log: LogId) -> bool {
        self.change(author, log, |known| {
            let (seq, id) = known?;
            (!id.is_forked()).then_some((seq, HeadId::FORKED))
        })
    }

    /// The head of a log.
    pub fn get(&self, author: &VerifyingKey, log: &LogId) -> Option<LogHead> {
        let key = Key::new(author, log);
        let at = self.leaf_of(&key)?;
        let item = self.items(at).get(self.find(at, &key).ok()?)?;
        Some(self.log_head(item))
    }

    /// Returns the number of logs.
    pub fn len(&self) -> usize {
        self.nodes.first().map_or(0, Node::count)
    }

    /// Returns `true` if there is no log.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the number of logs in a range.
    pub fn count(&self, range: &Prefix) -> usize {
        match self.part(range) {
            Part::Nothing => 0,
            Part::Whole(at) => self.node(at).count(),
            Part::Some(_, range) => range.len(),
        }
    }

    /// The longest prefix that all logs of a range share; the range itself if it has none.
    pub fn shared(&self, range: &Prefix) -> Prefix {
        let (first, bits) = match self.part(range) {
            Part::Nothing => return *range,
            Part::Whole(at) => match self.node(at) {
                Node::Halves { bit, .. } => (self.first(at), *bit),
                Node::Logs { items, .. } => self.shared_by(items),
            },
            Part::Some(at, range) => self.shared_by(self.items(at).get(range).unwrap_or_default()),
        };
        first.map_or(*range, |key| Prefix::of(&key, bits))
    }

    /// The hash of a range, which depends on the heads of its logs alone. Computes again what has
    /// changed since it was asked for.
    pub fn hash(&mut self, range: &Prefix) -> Hash {
        let hash = self.hash_of_any(range);
        hash.unwrap_or_else(|| self.hash_of(&[]))
    }

    /// The hash of a range that has any logs.
    pub fn hash_of_any(&mut self, range: &Prefix) -> Option<Hash> {
        match self.part(range) {
            Part::Nothing => None,
            Part::Whole(at) => Some(self.hash_at(at)),
            Part::Some(at, range) => {
                Some(self.hash_of(self.items(at).get(range).unwrap_or_default()))
            }
        }
    }

    /// The heads of a range, ascending.
    pub fn within(&self, range: &Prefix) -> impl Iterator<Item = LogHead> + '_ {
        let (some, stack) = match self.part(range) {
            Part::Nothing => (&[][..], vec![]),
            Part::Whole(at) => (&[][..], vec![at]),
            Part::Some(at, range) => (self.items(at).get(range).unwrap_or_default(), vec![]),
        };
        let walk = Walk {
            heads: self,
            items: some.iter(),
            stack,
        };
        walk.map(|item| self.log_head(item))
    }

    /// All heights, as a Have lists them.
    pub fn heights(&self) -> Heights {
        let heads = self.within(&Prefix::WHOLE);
        heads
            .map(|head| (head.author, head.log, head.seq))
            .collect()
    }

    /// Bytes of memory that they take.
    pub fn held_bytes(&self) -> usize {
        let items = |node: &Node| match node {
            Node::Halves { .. } => 0,
            Node::Logs { items, .. } => items.capacity() * size_of::<Item>(),
        };
        self.nodes.iter().map(items).sum::<usize>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.logs.capacity() * size_of::<(LogId, LogId, u32)>()
    }

    /// Sets what `next` answers for what is known of a log, if it answers anything.
    fn change(
        &mut self,
        author: VerifyingKey,
        log: LogId,
        next: impl FnOnce(Option<(u32, HeadId)>) -> Option<(u32, HeadId)>,
    ) -> bool {
        let key = Key::new(&author, &log);
        let leaf = self.leaf_of(&key);
        let found = leaf.map(|at| self.find(at, &key));
        let known = match (leaf, found) {
            (Some(at), Some(Ok(place))) => self.items(at).get(place),
            _ => None,
        };
        let Some((seq, id)) = next(known.map(|item| (item.seq, item.id))) else {
            return false;
        };
        match (leaf, found) {
            (Some(at), Some(Ok(place))) => {
                self.void(&key);
                if let Some(item) = self.items_mut(at).and_then(|items| items.get_mut(place)) {
                    (item.seq, item.id) = (seq, id);
                }
            }
            _ => {
                let log = self.log(log);
                let item = Item {
                    author,
                    id,
                    log,
                    seq,
                };
                self.insert(key, item, leaf);
            }
        }
        true
    }

    /// Adds a log that is not there yet. `leaf` is where its bits lead to.
    fn insert(&mut self, key: Key, item: Item, leaf: Option<u32>) {
        let new = |item| Node::Logs {
            items: vec![item],
            hash: None,
        };
        let Some(leaf) = leaf else {
            self.add(new(item));
            return;
        };
        let other = self.items(leaf).first().map(|item| self.key(item));
        let shared = other.map_or(0, |other| other.shared_bits(&key));
        // Down to the first node whose logs share more bits than they do with this one.
        let mut at = 0;
        while let Some(Node::Halves {
            bit,
            count,
            halves,
            hash,
        }) = self.nodes.get_mut(at as usize)
            && *bit < shared
        {
            *count += 1;
            *hash = None;
            at = half(halves, key.bit(*bit));
        }
        if at != leaf {
            let new = self.add(new(item));
            return self.branch(at, shared, key.bit(shared), new);
        }
        let place = self.find(leaf, &key).unwrap_or_else(|place| place);
        if let Some(Node::Logs { items, hash }) = self.nodes.get_mut(leaf as usize) {
            if items.len() == items.capacity() {
                items.reserve_exact(ROOM);
            }
            items.insert(place, item);
            *hash = None;
        }
        self.divide(leaf);
    }

    /// Puts a node in place of another, with that one and a new log as its halves.
    fn branch(&mut self, at: u32, bit: u16, high: bool, new: u32) {
        let count = self.node(at).count() as u32 + 1;
        let old = self.set(
            at,
            Node::Logs {
                items: vec![],
                hash: None,
            },
        );
        let old = self.add(old);
        let halves = if high { [old, new] } else { [new, old] };
        self.set(
            at,
            Node::Halves {
                bit,
                count,
                halves,
                hash: None,
            },
        );
    }

    /// Divides a node with too many logs at the first bit that they do not share.
    fn divide(&mut self, at: u32) {
        let items = self.items(at);
        if items.len() <= HASHED_AT_ONCE {
            return;
        }
        let (_, bit) = self.shared_by(items);
        let middle = items.partition_point(|item| !self.key(item).bit(bit));
        let count = items.len() as u32;
        let (low, high) = items.split_at(middle.min(items.len()));
        let (low, high) = (low.to_vec(), high.to_vec());
        let halves = [low, high].map(|items| self.add(Node::Logs { items, hash: None }));
        self.set(
            at,
            Node::Halves {
                bit,
                count,
                halves,
                hash: None,
            },
        );
    }

    /// Makes all hashes on the way to a key void.
    fn void(&mut self, key: &Key) {
        let mut at = 0;
        while let Some(node) = self.nodes.get_mut(at as usize) {
            match node {
                Node::Halves {
                    bit, halves, hash, ..
                } => {
                    *hash = None;
                    at = half(halves, key.bit(*bit));
                }
                Node::Logs { hash, .. } => {
                    *hash = None;
                    return;
                }
            }
        }
    }

    /// Returns the leaf that the bits of a key lead to, whether or not it holds the key.
    fn leaf_of(&self, key: &Key) -> Option<u32> {
        let mut at = 0;
        loop {
            match self.nodes.get(at as usize)? {
                Node::Halves { bit, halves, .. } => at = half(halves, key.bit(*bit)),
                Node::Logs { .. } => return Some(at),
            }
        }
    }

    fn part(&self, range: &Prefix) -> Part {
        if self.nodes.is_empty() {
            return Part::Nothing;
        }
        let mut at = 0;
        loop {
            match self.node(at) {
                Node::Halves { bit, halves, .. } if *bit < range.bits() => {
                    at = half(halves, range.bit(*bit));
                }
                Node::Halves { .. } => {
                    let first = self.first(at);
                    let inside = first.is_some_and(|key| range.place_of(&key).is_eq());
                    return if inside {
                        Part::Whole(at)
                    } else {
                        Part::Nothing
                    };
                }
                Node::Logs { items, .. } => {
                    let place = |item: &Item| range.place_of(&self.key(item));
                    let start = items.partition_point(|item| place(item).is_lt());
                    let end = items.partition_point(|item| place(item).is_le());
                    return match end - start {
                        0 => Part::Nothing,
                        some if some == items.len() => Part::Whole(at),
                        _ => Part::Some(at, start..end),
                    };
                }
            }
        }
    }

    /// The hash of a node, after those of all void ones below it.
    fn hash_at(&mut self, top: u32) -> Hash {
        if let Some(hash) = self.node(top).hash() {
            return hash;
        }
        let mut stack = vec![top];
        while let Some(&at) = stack.last() {
            let hash = match self.node(at) {
                Node::Logs { items, .. } => self.hash_of(items),
                Node::Halves { halves, .. } => {
                    let hashes = halves.map(|half| self.node(half).hash());
                    match hashes {
                        [Some(low), Some(high)] => {
                            let parts = [&[HALVES][..], low.as_bytes(), high.as_bytes()];
                            Hash::digest_parts(&parts)
                        }
                        _ => {
                            let halves = *halves;
                            let void = halves.iter().zip(hashes).filter(|(_, hash)| hash.is_none());
                            stack.extend(void.map(|(half, _)| *half));
                            continue;
                        }
                    }
                }
            };
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.set_hash(hash);
            }
            stack.pop();
            if stack.is_empty() {
                return hash;
            }
        }
        self.hash_of(&[])
    }

    fn hash_of(&self, items: &[Item]) -> Hash {
        let mut bytes = Vec::with_capacity(1 + items.len() * (64 + 4 + 16));
        bytes.push(LOGS);
        for item in items {
            bytes.extend_from_slice(item.author.as_bytes());
            bytes.extend_from_slice(self.log_id(item).as_bytes());
            bytes.extend_from_slice(&item.seq.to_be_bytes());
            bytes.extend_from_slice(item.id.as_bytes());
        }
        Hash::digest(&bytes)
    }

    /// The first key of some logs, and how many bits they share.
    fn shared_by(&self, items: &[Item]) -> (Option<Key>, u16) {
        let first = items.first().map(|item| self.key(item));
        let last = items.last().map(|item| self.key(item));
        let bits = first
            .zip(last)
            .map(|(first, last)| first.shared_bits(&last));
        (first, bits.unwrap_or_default())
    }

    fn first(&self, mut at: u32) -> Option<Key> {
        loop {
            match self.node(at) {
                Node::Halves { halves, .. } => at = half(halves, false),
                Node::Logs { items, .. } => return items.first().map(|item| self.key(item)),
            }
        }
    }

    fn find(&self, at: u32, key: &Key) -> Result<usize, usize> {
        let items = self.items(at);
        items.binary_search_by(|item| self.key(item).cmp(key))
    }

    fn key(&self, item: &Item) -> Key {
        Key::new(&item.author, &self.log_id(item))
    }

    fn log_head(&self, item: &Item) -> LogHead {
        LogHead {
            author: item.author,
            log: self.log_id(item),
            seq: item.seq,
            id: item.id,
        }
    }

    fn log_id(&self, item: &Item) -> LogId {
        let log = self.logs.get(item.log as usize);
        *log.expect("an item points to a log id")
    }

    fn log(&mut self, id: LogId) -> u32 {
        let logs = &mut self.logs;
        *self.places.get_or_insert_with(id, || {
            if logs.is_empty() {
                logs.reserve_exact(1);
            }
            logs.push(id);
            logs.len() as u32 - 1
        })
    }

    fn node(&self, at: u32) -> &Node {
        let node = self.nodes.get(at as usize);
        node.expect("nodes are never taken away")
    }

    fn items(&self, at: u32) -> &[Item] {
        match self.nodes.get(at as usize) {
            Some(Node::Logs { items, .. }) => items,
            _ => &[],
        }
    }

    fn items_mut(&mut self, at: u32) -> Option<&mut Vec<Item>> {
        match self.nodes.get_mut(at as usize)? {
            Node::Logs { items, .. } => Some(items),
            Node::Halves { .. } => None,
        }
    }

    /// Puts a node in place of the one that it answers.
    fn set(&mut self, at: u32, new: Node) -> Node {
        let node = self.nodes.get_mut(at as usize);
        core::mem::replace(node.expect("nodes are never taken away"), new)
    }

    /// There are never more nodes than logs twice, and memory ends before 2^31 of those.
    fn add(&mut self, node: Node) -> u32 {
        if self.nodes.len() == self.nodes.capacity() {
            // Doubling would leave half of them empty, and most topics have one.
            let room = self
                .nodes
                .first()
                .map_or(1, |_| ROOM + self.nodes.len() / 8);
            self.nodes.reserve_exact(room);
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }
}

impl Node {
    fn count(&self) -> usize {
        match self {
            Node::Halves { count, .. } => *count as usize,
            Node::Logs { items, .. } => items.len(),
        }
    }

    fn hash(&self) -> Option<Hash> {
        match self {
            Node::Halves { hash, .. } | Node::Logs { hash, .. } => *hash,
        }
    }

    fn set_hash(&mut self, new: Hash) {
        match self {
            Node::Halves { hash, .. } | Node::Logs { hash, .. } => *hash = Some(new),
        }
    }
}

fn half(halves: &[u32; 2], high: bool) -> u32 {
    let [low_half, high_half] = *halves;
    if high { high_half } else { low_half }
}

impl FromIterator<(VerifyingKey, LogId, Head)> for Heads {
    /// In any order; of a repeated log the highest.
    fn from_iter<I: IntoIterator<Item = (VerifyingKey, LogId, Head)>>(iter: I) -> Heads {
        let mut heads = Heads::new();
        for (author, log, head) in iter {
            heads.raise(author, log, head);
        }
        heads
    }
}

/// The logs of one node after another.
struct Walk<'a> {
    heads: &'a Heads,
    items: core::slice::Iter<'a, Item>,
    stack: Vec<u32>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Item;

    fn next(&mut self) -> Option<&'a Item> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            match self.heads.node(self.stack.pop()?) {
                Node::Halves { halves, .. } => self.stack.extend(halves.iter().rev()),
                Node::Logs { items, .. } => self.items = items.iter(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn author(n: u64) -> VerifyingKey {
        VerifyingKey::from_bytes_unchecked(*Hash::digest(&n.to_be_bytes()).as_bytes())
    }

    fn log(byte: u8) -> LogId {
        LogId::from_bytes([byte; 32])
    }

    fn head(seq: u32) -> Head {
        Head {
            seq,
            id: Hash::digest(&seq.to_be_bytes()),
        }
    }

    /// Logs whose keys share few bits, very many, and all of those of the author.
    fn uneven(n: u64) -> Vec<(VerifyingKey, LogId, Head)> {
        let near = |n: u64| {
            let mut key = [7; 32];
            key[24..].copy_from_slice(&n.to_be_bytes());
            VerifyingKey::from_bytes_unchecked(key)
        };
        let all = (0..n).map(|n| match n % 3 {
            0 => (author(n), log(1), head(n as u32)),
            1 => (near(n), log(1), head(5)),
            _ => (author(1), log(n as u8), head(n as u32 / 256)),
        });
        all.collect()
    }

    /// The hash as the page has it, from the logs of a range alone.
    fn hash_of(heads: &[LogHead]) -> Hash {
        let key = |head: &LogHead| Key::new(&head.author, &head.log);
        if heads.len() <= 32 {
            let mut bytes = vec![0];
            for head in heads {
                bytes.extend(head.author.as_bytes());
                bytes.extend(head.log.as_bytes());
                bytes.extend(head.seq.to_be_bytes());
                bytes.extend(head.id.as_bytes());
            }
            return Hash::digest(&bytes);
        }
        let (first, last) = (heads.first().unwrap(), heads.last().unwrap());
        let bit = key(first).shared_bits(&key(last));
        let middle = heads.partition_point(|head| !key(head).bit(bit));
        let (low, high) = heads.split_at(middle);
        Hash::digest_parts(&[&[1], hash_of(low).as_bytes(), hash_of(high).as_bytes()])
    }

    #[test]
    fn hashes_depend_on_the_heads_and_not_on_their_order() {
        let mut all = uneven(2_000);
        let mut heads: Heads = all.iter().copied().collect();
        all.reverse();
        let mut other = Heads::new();
        for (author, log, head) in &all {
            other.raise(*author, *log, Head { seq: 0, ..*head });
            other.hash(&Prefix::WHOLE);
            other.raise(*author, *log, *head);
        }
        let sorted: Vec<LogHead> = heads.within(&Prefix::WHOLE).collect();
        assert_eq!(sorted.len(), heads.len());
        assert!(sorted.is_sorted_by_key(|head| (head.author, head.log)));
        let ranges = sorted.iter().step_by(37).flat_map(|head| {
            let key = Key::new(&head.author, &head.log);
            (0..=512)
                .step_by(13)
                .map(move |bits| Prefix::of(&key, bits))
        });
        for range in ranges.chain([Prefix::WHOLE.child(6, 9).unwrap()]) {
            let inside = |head: &&LogHead| range.has(&head.author, &head.log);
            let inside: Vec<LogHead> = sorted.iter().filter(inside).copied().collect();
            assert_eq!(
                heads.within(&range).collect::<Vec<_>>(),
                inside,
                "{range:?}"
            );
            assert_eq!(heads.count(&range), inside.len(), "{range:?}");
            assert_eq!(heads.hash(&range), hash_of(&inside), "{range:?}");
            assert_eq!(other.hash(&range), hash_of(&inside), "{range:?}");
            let shared = heads.shared(&range);
            assert!(range.covers(&shared));
            let halves = [0, 1].map(|half| shared.child(1, half));
            let part = |half: &Option<Prefix>| half.is_some_and(|half| heads.count(&half) > 0);
            assert!(inside.len() < 2 || halves.iter().all(part), "{range:?}");
        }
    }

    #[test]
    fn a_head_never_falls_and_a_fork_stays_known() {
        let mut heads = Heads::new();
        assert!(!heads.set_forked(author(1), log(1)));
        assert!(heads.raise(author(1), log(1), head(5)));
        assert!(!heads.raise(author(1), log(1), head(4)));
        let other = Hash::digest(b"other");
        assert!(!heads.raise(author(1), log(1), Head { seq: 5, id: other }));
        let known = heads.get(&author(1), &log(1)).unwrap();
        assert_eq!((known.seq, known.id), (5, head(5).id.into()));
        let before = heads.hash(&Prefix::WHOLE);
        assert!(heads.set_forked(author(1), log(1)));
        assert!(!heads.set_forked(author(1), log(1)));
        assert_ne!(heads.hash(&Prefix::WHOLE), before);
        assert!(heads.raise(author(1), log(1), head(6)));
        let known = heads.get(&author(1), &log(1)).unwrap();
        assert_eq!((known.seq, known.id), (6, HeadId::FORKED));
        assert_eq!(heads.get(&author(1), &log(2)), None);
        assert_eq!(heads.heights().len(), heads.len());
    }

    #[test]
    fn a_log_takes_sixty_eight_bytes() {
        let logs = 20_000;
        let mut heads: Heads = (0..logs).map(|n| (author(n), log(1), head(1))).collect();
        heads.hash(&Prefix::WHOLE);
        let bytes = heads.held_bytes();
        assert!(bytes <= 68 * logs as usize, "{bytes}");
    }

    #[test]
    fn a_growing_log_invalidates_few_hashes() {
        let logs = 20_000;
        let mut heads: Heads = (0..logs).map(|n| (author(n), log(1), head(1))).collect();
        heads.hash(&Prefix::WHOLE);
        heads.raise(author(77), log(1), head(2));
        let void = heads.nodes.iter().filter(|node| node.hash().is_none());
        let void = void.count();
        assert!((1..=16).contains(&void), "{void}");
    }
}
