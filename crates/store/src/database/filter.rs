//! Filters for the entries of a feed (`docs/protocol/consumers.md#8`).

use std::collections::BTreeSet;

use p2panda_core::cbor::{self, CborError, Reader, Writer};
use p2panda_core::limits::{CONSUMER_AUTHORS_MAX, CONSUMER_LOGS_MAX};
use p2panda_core::{Header, LogName, Timestamp, VerifyingKey};

/// Filter of the messages that a consumer or a view gets (`docs/protocol/consumers.md#8`). A part
/// that is not set admits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    authors: Option<BTreeSet<VerifyingKey>>,
    /// Names of logs; none: the first log of each author.
    logs: Option<BTreeSet<Option<LogName>>>,
    bodies: bool,
    opened: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Reason why a filter is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterFault {
    /// No entry passes it.
    AdmitsNothing,
    /// It names too many authors.
    Authors,
    /// It names too many logs.
    Logs,
}

/// Kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Body,
    Opened,
    Change,
}

impl Filter {
    /// Only what these have written.
    pub fn authors(mut self, authors: impl IntoIterator<Item = VerifyingKey>) -> Self {
        self.authors = Some(authors.into_iter().collect());
        self
    }

    /// Only what is in logs with these names, and in other logs that are asked for.
    pub fn logs(mut self, names: impl IntoIterator<Item = LogName>) -> Self {
        let logs = self.logs.get_or_insert_default();
        logs.extend(names.into_iter().map(Some));
        self
    }

    /// Only what is in the first log of its author, the one without a name, and in other logs that are
    /// asked for.
    pub fn first_logs(mut self) -> Self {
        self.logs.get_or_insert_default().insert(None);
        self
    }

    /// Only content that its author published as it is, and other kinds that are asked for.
    pub fn bodies(mut self) -> Self {
        self.bodies = true;
        self
    }

    /// Only content that was sealed, and other kinds that are asked for.
    pub fn opened(mut self) -> Self {
        self.opened = true;
        self
    }

    /// Only what its author says was written at this time or later.
    pub fn from(mut self, time: Timestamp) -> Self {
        self.from = Some(time);
        self
    }

    /// Only what its author says was written before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    pub(crate) fn admits_parts(&self, shown: Shown, header: &Header) -> bool {
        let kinds = self.bodies || self.opened;
        let is_kind = match shown {
            Shown::Body => !kinds || self.bodies,
            Shown::Opened => !kinds || self.opened,
            Shown::Change => true,
        };
        is_kind && self.admits_header(header)
    }

    fn admits_header(&self, header: &Header) -> bool {
        if let Some(authors) = &self.authors
            && !authors.contains(&header.author())
        {
            return false;
        }
        if self.from.is_none() && self.until.is_none() && self.logs.is_none() {
            return true;
        }
        let extensions = header.node_extensions().ok();
        let (time, name) = extensions.map_or((Timestamp::from_micros(0), None), |found| {
            (found.timestamp, found.name)
        });
        let is_log = self.logs.as_ref().is_none_or(|logs| logs.contains(&name));
        let is_late = self.from.is_none_or(|from| time >= from);
        is_log && is_late && self.until.is_none_or(|until| time < until)
    }

    /// Checks whether it is possible.
    ///
    /// # Errors
    /// It can admit nothing, or names too much.
    pub fn check(&self) -> Result<(), FilterFault> {
        let authors = self.authors.as_ref().map(BTreeSet::len);
        let logs = self.logs.as_ref().map(BTreeSet::len);
        let is_never =
            matches!((self.from, self.until), (Some(from), Some(until)) if from >= until);
        if authors == Some(0) || logs == Some(0) || is_never {
            Err(FilterFault::AdmitsNothing)
        } else if authors.is_some_and(|authors| authors > CONSUMER_AUTHORS_MAX) {
            Err(FilterFault::Authors)
        } else if logs.is_some_and(|logs| logs > CONSUMER_LOGS_MAX) {
            Err(FilterFault::Logs)
        } else {
            Ok(())
        }
    }

    /// The same bytes for the same filter; none for one that admits everything.
    pub fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// `None`: it is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Filter> {
        let mut reader = Reader::checked(bytes, cbor::VALUE).ok()?;
        Filter::read(&mut reader).ok()?
    }

    /// Writes it as a part of something larger. A filter that does not ask for logs is written as before
    /// there were any.
    pub fn write(&self, writer: &mut Writer) {
        let kinds = u64::from(self.bodies) | u64::from(self.opened) << 1;
        let parts = 4 + usize::from(self.logs.is_some());
        writer.array(parts).uint(kinds);
        writer.uint(self.from.map_or(0, Timestamp::as_micros));
        writer.uint(self.until.map_or(0, Timestamp::as_micros));
        match &self.authors {
            None => drop(writer.null()),
            Some(authors) => {
                writer.array(authors.len());
                for author in authors {
                    writer.bytes(author.as_bytes());
                }
            }
        }
        if let Some(logs) = &self.logs {
            writer.array(logs.len());
            for log in logs {
                let name = log.as_ref().map(|name| name.as_bytes().as_slice());
                writer.bytes(name.unwrap_or_default());
            }
        }
    }

    /// Reads what [`Filter::write`] has written; `None`: it is damaged.
    ///
    /// # Errors
    /// It is not such a value at all.
    pub fn read(reader: &mut Reader<'_>) -> Result<Option<Filter>, CborError> {
        let parts = reader.array()?;
        let kinds = reader.uint()?;
        let time = |us: u64| (us > 0).then(|| Timestamp::from_micros(us));
        let (from, until) = (time(reader.uint()?), time(reader.uint()?));
        let authors = match reader.peek()? {
            cbor::Kind::Array => {
                let mut authors = BTreeSet::new();
                for _ in 0..reader.array()? {
                    let key = reader.bytes()?.try_into().ok();
                    let Some(author) = key.and_then(|key| VerifyingKey::from_bytes(key).ok())
                    else {
                        return Ok(None);
                    };
                    authors.insert(author);
                }
                Some(authors)
            }
            _ => {
                reader.null()?;
                None
            }
        };
        let logs = match parts {
            4 => None,
            _ => {
                let mut logs = BTreeSet::new();
                for _ in 0..reader.array()? {
                    let name: Option<[u8; 32]> = reader.bytes()?.try_into().ok();
                    logs.insert(name.map(LogName::from_bytes));
                }
                Some(logs)
            }
        };
        Ok(Some(Filter {
            authors,
            logs,
            bodies: kinds & 1 > 0,
            opened: kinds & 2 > 0,
            from,
            until,
        }))
    }
}
