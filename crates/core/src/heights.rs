//! What a node has of each log, and what another one lacks
//! (`docs/protocol/operations.md#4`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::cbor::{self, CborError, Reader, Writer};
use crate::{LogId, VerifyingKey};

/// The highest position per author and log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heights(BTreeMap<VerifyingKey, BTreeMap<LogId, u32>>);

/// Entries of one log that somebody lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Whose log.
    pub author: VerifyingKey,
    /// Which log.
    pub log: LogId,
    /// The position before the first entry; `None` where the range starts with the log.
    pub after: Option<u32>,
    /// The position of the last entry.
    pub until: u32,
}

impl Heights {
    /// Knows nothing yet.
    pub fn new() -> Heights {
        Heights::default()
    }

    /// The height of a log, if it has an entry.
    pub fn get(&self, author: &VerifyingKey, log: &LogId) -> Option<u32> {
        self.0.get(author)?.get(log).copied()
    }

    /// Raises a log's height to `seq`; true if it was lower or unknown. Never lowers it.
    pub fn raise(&mut self, author: VerifyingKey, log: LogId, seq: u32) -> bool {
        let logs = self.0.entry(author).or_default();
        match logs.get_mut(&log) {
            Some(height) if *height >= seq => false,
            Some(height) => {
                *height = seq;
                true
            }
            None => {
                logs.insert(log, seq);
                true
            }
        }
    }

    /// Raises every log to the other's height.
    pub fn merge(&mut self, other: &Heights) {
        for (author, log, seq) in other.iter() {
            self.raise(author, log, seq);
        }
    }

    /// All heights, by author and then by log, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (VerifyingKey, LogId, u32)> + '_ {
        self.0
            .iter()
            .flat_map(|(author, logs)| logs.iter().map(|(log, seq)| (*author, *log, *seq)))
    }

    /// How many logs have a height.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether no log has a height.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }

    /// The authors with the heights of their logs, ascending, as they go on the wire.
    pub fn authors(&self) -> &BTreeMap<VerifyingKey, BTreeMap<LogId, u32>> {
        &self.0
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
        writer.map(self.0.len());
        for (author, logs) in &self.0 {
            writer.bytes(author.as_bytes()).map(logs.len());
            for (log, seq) in logs {
                writer.bytes(log.as_bytes()).uint(u64::from(*seq));
            }
        }
    }

    /// Reads from input that was checked, so that keys come sorted and without repeats.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Heights, CborError> {
        let mut heights = Heights::new();
        for _ in 0..reader.map()? {
            let author = VerifyingKey::try_from(reader.bytes()?).map_err(|_| CborError::Type)?;
            let logs = heights.0.entry(author).or_default();
            for _ in 0..reader.map()? {
                let log = LogId::try_from(reader.bytes()?).map_err(|_| CborError::Type)?;
                let seq = u32::try_from(reader.uint()?).map_err(|_| CborError::Type)?;
                logs.insert(log, seq);
            }
        }
        Ok(heights)
    }
}

impl From<BTreeMap<VerifyingKey, BTreeMap<LogId, u32>>> for Heights {
    fn from(authors: BTreeMap<VerifyingKey, BTreeMap<LogId, u32>>) -> Heights {
        Heights(authors)
    }
}

impl FromIterator<(VerifyingKey, LogId, u32)> for Heights {
    fn from_iter<I: IntoIterator<Item = (VerifyingKey, LogId, u32)>>(iter: I) -> Heights {
        let mut heights = Heights::new();
        for (author, log, seq) in iter {
            heights.raise(author, log, seq);
        }
        heights
    }
}

/// What `remote` lacks of what `local` has, by author and log, ascending. What only `remote` has
/// is left to the remote side.
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
}
