//! Entries that are announced and fetched, and what of a topic a peer wants whole
//! (`docs/protocol/link.md#9`).

use p2panda_core::{Hash, VerifyingKey};

use super::message::MessageError;
use crate::wire::{Reader, WireError, Writer};

/// The first bytes of an operation id: enough to see that two entries differ.
pub type Check = [u8; 8];

/// The check of an operation.
pub(super) fn check_of(id: &Hash) -> Check {
    id.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Entries of one log of the topic, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Author of the log. It may be no key: then nothing is known of it, here or there.
    pub author: VerifyingKey,
    /// The first entry.
    pub first: u32,
    /// The last entry, not before the first.
    pub last: u32,
}

impl Entries {
    pub(super) const BYTES_MIN: usize = 32 + 2;

    pub(super) fn single(author: VerifyingKey, seq: u32) -> Self {
        let (first, last) = (seq, seq);
        Self {
            author,
            first,
            last,
        }
    }

    pub(super) fn count(&self) -> usize {
        (u64::from(self.last) + 1).saturating_sub(self.first.into()) as usize
    }

    pub(super) fn seqs(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..=self.last
    }

    /// Returns `true` if it took the entry in, which follows it.
    pub(super) fn extend(&mut self, author: &VerifyingKey, seq: u32) -> bool {
        let follows = self.author == *author && self.last.checked_add(1) == Some(seq);
        if follows {
            self.last = seq;
        }
        follows
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer
            .array(self.author.as_bytes())
            .uint(self.first)
            .uint(self.last);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, MessageError> {
        let author = VerifyingKey::from_bytes_unchecked(reader.array()?);
        let (first, last) = (reader.u32()?, reader.u32()?);
        if first > last {
            return Err(MessageError::Range);
        }
        Ok(Self {
            author,
            first,
            last,
        })
    }
}

/// Entries that the sender has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The announced entries.
    pub entries: Entries,
    /// Check of the last entry.
    pub check: Check,
}

impl Announced {
    pub(super) const BYTES_MIN: usize = Entries::BYTES_MIN + size_of::<Check>();

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        self.entries.write(writer);
        writer.array(&self.check);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, MessageError> {
        let entries = Entries::read(reader)?;
        let check = reader.array()?;
        Ok(Self { entries, check })
    }
}

/// Authors whose operations a peer wants whole, and those that it wants announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// Of all authors that are not named: whole, or announced. With it, all names of before are
    /// forgotten. `None`: as before.
    pub rest: Option<bool>,
    /// Authors for whom the opposite of the rest holds from now on.
    pub begin: Vec<VerifyingKey>,
    /// Those for whom it does no longer.
    pub end: Vec<VerifyingKey>,
}

impl Prefer {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self.rest {
            None => writer.array(&[0]),
            Some(whole) => writer.array(&[1, u8::from(whole)]),
        };
        for authors in [&self.begin, &self.end] {
            writer.count(authors.len());
            for author in authors {
                writer.array(author.as_bytes());
            }
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, MessageError> {
        let rest = match reader.option()? {
            true => Some(reader.option()?),
            false => None,
        };
        let (begin, end) = (read_authors(reader)?, read_authors(reader)?);
        Ok(Self { rest, begin, end })
    }
}

fn read_authors(reader: &mut Reader) -> Result<Vec<VerifyingKey>, WireError> {
    let count = reader.count(32)?;
    let authors = (0..count).map(|_| reader.array().map(VerifyingKey::from_bytes_unchecked));
    authors.collect()
}
