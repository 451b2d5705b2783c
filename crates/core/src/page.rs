//! Pages of stored operations: what a session asks for, what a store answers, and what the newest
//! operations in memory answer in its place.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::limits::HEADER_HELD_BACK_MAX;
use crate::{Header, LogRange, Timestamp, VerifyingKey};

/// A page to read in one short transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Entries of some logs, one log after the other, each ascending by sequence number.
    Logs {
        /// The logs and the ranges, `after` exclusive.
        ranges: Vec<LogRange>,
        /// Stop after about this many bytes.
        bytes_max: usize,
    },
    /// Entries of the topic, ascending by arrival number.
    Arrivals {
        /// Exclusive.
        after: u64,
        /// Stop after about this many bytes.
        bytes_max: usize,
    },
}

/// A page of stored operations.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order asked for.
    pub entries: Vec<Entry>,
    /// The number of requested ranges that are complete in it; the next one is incomplete.
    pub ranges: usize,
    /// Damaged rows. They are left out, and so is everything after the first one of a log.
    pub unreadable: Vec<Unreadable>,
    /// Arrival number of the last row examined, damaged and pruned ones included: the next page of
    /// arrivals begins after it. 0 if there was none.
    pub last_arrival: u64,
    /// `true` if there may be more: the page was full, or many pruned rows that are still to be
    /// deleted were skipped. In that case it may have no entries.
    pub more: bool,
}

/// A stored operation with its place in the order of arrival.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its arrival number.
    pub arrival: u64,
    /// Its header; `as_bytes` are those received. Its signature was verified on the way in.
    pub header: Header,
    /// Its body, if it has come and was not dropped.
    pub body: Option<Bytes>,
    /// Reason why the body that the header names is not here; `None` if it is, or if there is
    /// none.
    pub absent: Option<Absent>,
}

/// Reason why an operation is stored without the body that its header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It has not arrived, and peers are asked for it: the header is not forwarded
    /// (`docs/protocol/sync.md#6`).
    Wanted {
        /// Time at which the header came; unknown for one that an older version stored.
        since: Option<Timestamp>,
    },
    /// It has been wanted for so long that the header continues without it.
    Overdue,
    /// It was dropped here on purpose, and is not requested.
    Dropped,
}

/// A row that cannot be read. Only its log suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Label of the log.
    pub author: VerifyingKey,
    /// Its sequence number.
    pub seq: u32,
}

/// The first entry of a log whose body has not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Label of the log.
    pub author: VerifyingKey,
    /// Place in the log.
    pub seq: u32,
}

/// Wanted bodies to look up, at most [`BODIES_ASKED_MAX`](crate::limits::BODIES_ASKED_MAX).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Those of the topic after this entry, or from the start.
    After(Option<(VerifyingKey, u32)>),
    /// Those of these entries that are still wanted.
    Of(Vec<LogRange>),
}

/// Entries whose bodies are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By log and sequence number.
    pub ranges: Vec<LogRange>,
    /// `true` if more may follow after the last entry.
    pub more: bool,
}

impl Entry {
    /// Label of the log: the author, unless the log has a name
    /// (`docs/protocol/operations.md#4`).
    pub fn label(&self) -> VerifyingKey {
        self.header.label()
    }

    /// Returns `true` if its log has a name: only nodes of this project know such logs
    /// (`docs/protocol/sync.md#5`).
    pub fn is_in_named_log(&self) -> bool {
        self.label() != self.header.author()
    }

    /// Place in the log.
    pub fn seq(&self) -> u32 {
        self.header.seq()
    }

    /// Header and body bytes.
    pub fn bytes(&self) -> usize {
        self.header.as_bytes().len() + self.body.as_ref().map_or(0, Bytes::len)
    }
}

impl Absent {
    /// The reason at this time: a body wanted for too long becomes overdue.
    pub fn at(self, now: Timestamp) -> Absent {
        match self {
            Absent::Wanted { since: Some(since) } => {
                let held_us = now.as_micros().saturating_sub(since.as_micros());
                match u128::from(held_us) > HEADER_HELD_BACK_MAX.as_micros() {
                    true => Absent::Overdue,
                    false => self,
                }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_held_back_for_its_body_for_a_day_and_no_longer() {
        let wanted = Absent::Wanted {
            since: Some(Timestamp::from_micros(1_000)),
        };
        let day_us = HEADER_HELD_BACK_MAX.as_micros() as u64;
        let at = |us| wanted.at(Timestamp::from_micros(us));
        assert_eq!(at(0), wanted);
        assert_eq!(at(1_000 + day_us), wanted);
        assert_eq!(at(1_001 + day_us), Absent::Overdue);
        let end = Timestamp::from_micros(u64::MAX);
        let unknown = Absent::Wanted { since: None };
        assert_eq!(unknown.at(end), unknown);
        assert_eq!(Absent::Dropped.at(end), Absent::Dropped);
    }
}
