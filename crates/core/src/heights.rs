//! The heights of logs at a node, and what another node lacks
//! (`docs/protocol/operations.md#4`).

use alloc::vec::Vec;

use crate::cbor::{self, CborError, Reader, Writer};
use crate::{LogId, VerifyingKey};

/// The highest position per author and log.
///
/// Flat and sorted, 40 bytes for each log: a topic may have very many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heights {
    /// The log ids that occur, ascending; within one topic it is one.
    logs: Vec<LogId>,
    /// By author and then by log, ascending, each once.
    entries: Vec<Height>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Height {
    author: VerifyingKey,
    /// Place in `logs`.
    log: u32,
    seq: u32,
}

/// Missing entries of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Id of the log.
    pub log: LogId,
    /// The position before the first entry; `None` where the range starts with the log.
    pub after: Option<u32>,
    /// The position of the last entry.
    pub until: u32,
}

impl Heights {
    /// No heights yet.
    pub fn new() -> Heights {
        Heights::default()
    }

    /// The height of a log, if it has an entry.
    pub fn get(&self, author: &VerifyingKey, log: &LogId) -> Option<u32> {
        let log = self.logs.binary_search(log).ok()?;
        let place = self.find(author, u32::try_from(log).ok()?).ok()?;
        self.entries.get(place).map(|entry| entry.seq)
    }

    /// Raises a log's height to `seq`; true if it was lower or unknown. Never lowers it.
    ///
    /// Linear in the number of logs when the log is unknown and not the last one: to build from
    /// many logs, collect them.
    pub fn raise(&mut self, author: VerifyingKey, log: LogId, seq: u32) -> bool {
        let log = self.log(log);
        match self.find(&author, log) {
            Ok(place) => match self.entries.get_mut(place) {
                Some(entry) if entry.seq < seq => {
                    entry.seq = seq;
                    true
                }
                _ => false,
            },
            Err(place) => {
                self.entries.insert(place, Height { author, log, seq });
                true
            }
        }
    }

    /// Raises every log to the other's height.
    pub fn merge(&mut self, other: &Heights) {
        *self = self.iter().chain(other.iter()).collect();
    }

    /// All heights, by author and then by log, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (VerifyingKey, LogId, u32)> + '_ {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.author, self.log_id(entry), entry.seq))
    }

    /// The number of logs with a height.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if no log has a height.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first log of this author, counted in the order of [`Heights::iter`].
    pub fn place_of(&self, author: &VerifyingKey) -> Option<usize> {
        let place = self.entries.partition_point(|one| one.author < *author);
        let found = self.entries.get(place)?;
        (found.author == *author).then_some(place)
    }

    /// Bytes of memory that they take.
    pub fn held_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Height>() + self.logs.capacity() * size_of::<LogId>()
    }

    /// The authors with the heights of their logs, ascending, as they go on the wire.
    pub fn authors(
        &self,
    ) -> impl Iterator<
        Item = (
            VerifyingKey,
            impl ExactSizeIterator<Item = (LogId, u32)> + '_,
        ),
    > + '_ {
        let authors = self.entries.chunk_by(|one, next| one.author == next.author);
        authors.filter_map(|logs| {
            let author = logs.first()?.author;
            let logs = logs.iter().map(|entry| (self.log_id(entry), entry.seq));
            Some((author, logs))
        })
    }

    fn find(&self, author: &VerifyingKey, log: u32) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| (&entry.author, entry.log).cmp(&(author, log)))
    }

    /// The place of a log id, which is added if it is new.
    fn log(&mut self, id: LogId) -> u32 {
        let place = self.logs.binary_search(&id).unwrap_or_else(|place| {
            self.logs.insert(place, id);
            for entry in &mut self.entries {
                entry.log += u32::from(entry.log as usize >= place);
            }
            place
        });
        // There are never more log ids than heights, and memory ends before 2^32 of them.
        place as u32
    }

    fn log_id(&self, entry: &Height) -> LogId {
        *self
            .logs
            .get(entry.log as usize)
            .expect("an entry points to a log id")
    }

    /// Encodes to `{author: {log: height}}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Decodes `{author: {log: height}}`, the whole input.
    pub fn decode(bytes: &[u8]) -> Result<Heights, CborError> {
        let mut reader = Reader::checked(bytes, cbor::VALUE)?;
        let heights = Heights::read(&mut reader)?;
        reader.finish()?;
        Ok(heights)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.map(self.authors().count());
        for (author, logs) in self.authors() {
            writer.bytes(author.as_bytes()).map(logs.len());
            for (log, seq) in logs {
                writer.bytes(log.as_bytes()).uint(u64::from(seq));
            }
        }
    }

    /// Reads from input that was checked, so that keys come sorted and without repeats.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Heights, CborError> {
        let mut heights = Vec::new();
        for _ in 0..reader.map()? {
            let author = VerifyingKey::try_from(reader.bytes()?).map_err(|_| CborError::Type)?;
            for _ in 0..reader.map()? {
                let log = LogId::try_from(reader.bytes()?).map_err(|_| CborError::Type)?;
                let seq = u32::try_from(reader.uint()?).map_err(|_| CborError::Type)?;
                heights.push((author, log, seq));
            }
        }
        Ok(heights.into_iter().collect())
    }
}

impl FromIterator<(VerifyingKey, LogId, u32)> for Heights {
    /// In any order; of a repeated log the highest.
    fn from_iter<I: IntoIterator<Item = (VerifyingKey, LogId, u32)>>(iter: I) -> Heights {
        let mut heights = Heights::new();
        let mut found: Vec<(VerifyingKey, LogId, u32)> = Vec::new();
        for (author, id, seq) in iter {
            // Nearly always there is one log id, or it is the last one.
            if heights.logs.last() != Some(&id) {
                heights.logs.push(id);
            }
            found.push((author, id, seq));
        }
        heights.logs.sort_unstable();
        heights.logs.dedup();
        let place = |id: &LogId| heights.logs.binary_search(id).unwrap_or_default() as u32;
        let entry = |(author, id, seq)| Height {
            author,
            log: place(&id),
            seq,
        };
        let mut entries: Vec<Height> = found.into_iter().map(entry).collect();
        // The highest comes first and is the one that stays.
        entries.sort_unstable_by(|one, other| {
            let key = |entry: &Height| (entry.author, entry.log);
            key(one).cmp(&key(other)).then(other.seq.cmp(&one.seq))
        });
        entries.dedup_by(|one, kept| (one.author, one.log) == (kept.author, kept.log));
        entries.shrink_to_fit();
        heights.logs.shrink_to_fit();
        heights.entries = entries;
        heights
    }
}

/// The entries of `local` that `remote` lacks, by author and log, ascending. Entries that only
/// `remote` has are left to the remote side.
pub fn missing(local: &Heights, remote: &Heights) -> Vec<LogRange> {
    let lacks = |(author, log, until)| {
        let after = remote.get(&author, &log);
        let behind = after.is_none_or(|height| height < until);
        behind.then_some(LogRange {
            author,
            log,
            after,
            until,
        })
    };
    local.iter().filter_map(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn a_height_never_falls() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let log = LogId::from_bytes([2; 32]);
        let mut heights = Heights::new();
        assert!(heights.raise(author, log, 0));
        assert!(heights.raise(author, log, 5));
        assert!(!heights.raise(author, log, 5));
        assert!(!heights.raise(author, log, 4));
        heights.merge(&Heights::from_iter([(author, log, 3)]));
        assert_eq!(heights.get(&author, &log), Some(5));
        heights.merge(&Heights::from_iter([(author, log, 7)]));
        assert_eq!(heights.iter().collect::<Vec<_>>(), [(author, log, 7)]);
        assert_eq!((heights.len(), heights.is_empty()), (1, false));
    }

    #[test]
    fn heights_do_not_depend_on_the_order_of_insertion() {
        let author = |seed| SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let log = |byte| LogId::from_bytes([byte; 32]);
        let mut all = Vec::new();
        for (place, seed) in [3_u8, 1, 2, 1, 3].into_iter().enumerate() {
            for id in [9_u8, 4, 6, 4] {
                all.push((author(seed), log(id), place as u32));
            }
        }
        let at_once = Heights::from_iter(all.clone());
        let mut one_by_one = Heights::new();
        for (author, log, seq) in all.iter().rev() {
            one_by_one.raise(*author, *log, *seq);
        }
        assert_eq!(at_once, one_by_one);
        assert_eq!(at_once.len(), 9);
        let sorted = at_once.iter().map(|(author, log, _)| (author, log));
        assert!(sorted.is_sorted());
        assert_eq!(at_once.get(&author(3), &log(4)), Some(4));
        assert_eq!(at_once.get(&author(2), &log(6)), Some(2));
        assert_eq!(at_once.get(&author(2), &log(5)), None);
        assert_eq!(Heights::decode(&at_once.encode()), Ok(at_once.clone()));
        for (place, (author, logs)) in at_once.authors().enumerate() {
            assert_eq!(
                (at_once.place_of(&author), logs.len()),
                (Some(3 * place), 3)
            );
        }
        assert_eq!(at_once.place_of(&author(4)), None);
    }

    #[test]
    fn a_log_takes_forty_bytes() {
        let log = LogId::from_bytes([2; 32]);
        let author = |n: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            VerifyingKey::from_bytes_unchecked(key)
        };
        let heights: Heights = (0..10_000).map(|n| (author(n), log, n)).collect();
        assert!(heights.held_bytes() <= 10_000 * 40 + 64);
    }
}
