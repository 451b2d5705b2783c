//! The heights in a Have message, written from what this node has and read without keeping more
//! than that (`docs/protocol/sync.md#5`).

use bytes::{BufMut, Bytes, BytesMut};
use p2panda_core::{Heights, LogId};

use crate::frame::{self, FrameError};
use crate::wire::{self, WireError, Writer};

/// A key or log id with its length in front.
const ID_BYTES: usize = 33;
/// An author with one log: two ids, a count, a number.
const LOG_BYTES_MAX: usize = ID_BYTES + 1 + ID_BYTES + 5;
/// Bytes of the length, the tags and the count in front of the authors.
const START_BYTES_MAX: usize = 4 + 2 + 5;

/// The logs that a peer told of, as they came: a map of authors to maps of log ids to heights.
/// Nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have(Bytes);

impl Have {
    pub(super) fn new(map: Bytes) -> Have {
        Have(map)
    }

    /// The map as it came.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads the map item by item. [`Items`] can be put aside between any two of them.
    pub fn items(self) -> Items {
        Items {
            map: self.0,
            at: 0,
            authors: None,
            logs: 0,
        }
    }
}

impl From<&Heights> for Have {
    fn from(heights: &Heights) -> Have {
        let mut out = BytesMut::new();
        write(heights, &mut out);
        Have(out.freeze())
    }
}

/// Appends a Have with these heights as one frame.
pub(super) fn encode(heights: &Heights, out: &mut BytesMut) -> Result<(), FrameError> {
    out.reserve(START_BYTES_MAX + heights.len() * LOG_BYTES_MAX);
    frame::encode(out, |out| {
        out.put_slice(&[0, 0]);
        write(heights, out);
    })
}

fn write(heights: &Heights, out: &mut BytesMut) {
    let mut writer = Writer::new(out);
    writer.count(heights.authors().count());
    for (author, logs) in heights.authors() {
        writer.bytes(author.as_bytes()).count(logs.len());
        for (log_id, seq) in logs {
            writer.bytes(log_id.as_bytes()).uint(seq);
        }
    }
}

/// One item of a Have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// An author. If it was named before, all that was said of its logs is void.
    Author([u8; 32]),
    /// A log of the author that was named last. If it was named before, this height counts.
    Log(LogId, u32),
}

/// The items of a Have, in the order in which they came.
#[derive(Debug)]
pub struct Items {
    map: Bytes,
    at: usize,
    /// Authors that are left, once their count was read.
    authors: Option<u64>,
    /// Logs of the last author that are left.
    logs: u64,
}

impl Items {
    /// Bytes that are held for them.
    pub fn held_bytes(&self) -> usize {
        self.map.len()
    }

    fn take(&mut self) -> Result<Option<Item>, WireError> {
        let authors = match self.authors {
            Some(authors) => authors,
            None => self.count()?,
        };
        self.authors = Some(authors);
        if let Some(logs) = self.logs.checked_sub(1) {
            self.logs = logs;
            let log_id = LogId::from_bytes(self.id()?);
            return Ok(Some(Item::Log(log_id, self.uint(32)? as u32)));
        }
        let Some(authors) = authors.checked_sub(1) else {
            let left = self.map.len() > self.at;
            return if left {
                Err(WireError::Trailing)
            } else {
                Ok(None)
            };
        };
        self.authors = Some(authors);
        let author = self.id()?;
        self.logs = self.count()?;
        Ok(Some(Item::Author(author)))
    }

    fn id(&mut self) -> Result<[u8; 32], WireError> {
        if self.uint(64)? != 32 {
            return Err(WireError::Length);
        }
        let id = *self.rest().first_chunk::<32>().ok_or(WireError::Eof)?;
        self.at += 32;
        Ok(id)
    }

    /// A count that the rest cannot hold is refused at once.
    fn count(&mut self) -> Result<u64, WireError> {
        let count = self.uint(64)?;
        let room = self.rest().len() / (ID_BYTES + 1);
        if count > room as u64 {
            return Err(WireError::Eof);
        }
        Ok(count)
    }

    fn uint(&mut self, bits: u32) -> Result<u64, WireError> {
        let (value, len) = wire::varint(self.rest(), bits)?;
        self.at += len;
        Ok(value)
    }

    fn rest(&self) -> &[u8] {
        self.map.get(self.at..).unwrap_or_default()
    }
}

impl Iterator for Items {
    type Item = Result<Item, WireError>;

    /// Nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.take();
        if item.is_err() {
            self.map = Bytes::new();
            (self.at, self.authors, self.logs) = (0, Some(0), 0);
        }
        item.transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn log(n: u8) -> LogId {
        LogId::from_bytes([n; 32])
    }

    #[test]
    fn a_have_that_announces_more_than_it_holds_is_refused_at_once() {
        let mut items = Have(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f])).items();
        assert_eq!(items.next(), Some(Err(WireError::Eof)));
        let mut one = vec![1, 0x20];
        one.extend([7; 32]);
        one.extend([2, 0x20]);
        one.extend([8; 32]);
        one.push(0);
        let mut items = Have(one.into()).items();
        assert_eq!(items.next(), Some(Err(WireError::Eof)));
    }

    #[test]
    fn items_come_as_they_were_written_with_longer_numbers_too() {
        let mut map = vec![0x82, 0x00, 0xa0, 0x00];
        map.extend([7; 32]);
        map.extend([0x81, 0x80, 0x00, 0x20]);
        map.extend([8; 32]);
        map.extend([0xff, 0xff, 0xff, 0xff, 0x0f, 0x20]);
        map.extend([6; 32]);
        map.push(0);
        let items: Result<Vec<Item>, WireError> = Have(map.clone().into()).items().collect();
        let expected = [
            Item::Author([7; 32]),
            Item::Log(log(8), u32::MAX),
            Item::Author([6; 32]),
        ];
        assert_eq!(items.unwrap(), expected);
        map.push(0);
        let last = Have(map.into()).items().last();
        assert_eq!(last, Some(Err(WireError::Trailing)));
    }
}
