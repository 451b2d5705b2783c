use bytes::Bytes;
use p2panda_core::limits::{
    GARBAGE_PASSED_ROWS_MAX, LARGE_BODY_BYTES, PAGE_BYTES_DEFAULT, PAGE_ROWS_DEFAULT,
};
use p2panda_core::{Header, Unreadable, VerifyingKey};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::database::large::{self, LargeBodies};
use crate::database::sql::unsigned;

/// Limits of a page. The first row is in it no matter what its size, so that there is progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Number of rows.
    pub rows: usize,
    /// Header and body bytes.
    pub bytes: usize,
}

impl Default for PageLimits {
    fn default() -> PageLimits {
        PageLimits {
            rows: PAGE_ROWS_DEFAULT,
            bytes: PAGE_BYTES_DEFAULT,
        }
    }
}

/// Column of the body in a query of a page.
pub(crate) const COLUMN_BODY: usize = 3;

/// The body in a query of a page; the length of one that is large ([`LARGE_BODY_BYTES`]), which is read
/// by itself.
macro_rules! body_column {
    () => {
        "CASE WHEN length(o.body) < 262144 THEN o.body ELSE length(o.body) END"
    };
}
pub(crate) use body_column;

/// Row of a query of a page: `arrival, seq, header, body, log, offset`, and whether it was pruned.
pub(crate) struct RawRow {
    pub offset: u64,
    pub log: i64,
    /// Label of the log.
    pub label: VerifyingKey,
    pub seq: u32,
    pub bytes: usize,
    pub arrival: u64,
    /// `None`: the header is damaged.
    pub content: Option<(Header, Option<Bytes>)>,
    /// Bytes of a large body, until it is loaded.
    large: Option<usize>,
}

impl RawRow {
    /// `shown` is the column of what is read as the body, if anything is.
    pub(crate) fn read(
        row: &Row<'_>,
        shown: Option<usize>,
        label_of: impl FnOnce(i64) -> rusqlite::Result<VerifyingKey>,
    ) -> rusqlite::Result<RawRow> {
        let seq: u32 = row.get(1)?;
        let log = row.get(4)?;
        let label = label_of(log)?;
        let header = row.get_ref(2)?.as_blob().unwrap_or_default();
        let shown = shown.map(|shown| row.get_ref(shown)).transpose()?;
        let (body, large) = match shown {
            Some(ValueRef::Blob(body)) => (Some(body), None),
            None | Some(ValueRef::Null) => (None, None),
            Some(ValueRef::Integer(bytes)) => (None, usize::try_from(bytes).ok()),
            // Nothing that was stored.
            Some(_) => (None, Some(0)),
        };
        let readable = large.is_none_or(|bytes| bytes >= LARGE_BODY_BYTES);
        let bytes = header.len() + body.map_or(0, <[u8]>::len) + large.unwrap_or_default();
        let content = match Header::decode_unverified(Bytes::copy_from_slice(header)) {
            Ok(header) if readable && header.seq() == seq && header.label() == label => {
                Some((header, body.map(Bytes::copy_from_slice)))
            }
            _ => None,
        };
        Ok(RawRow {
            offset: unsigned(row, 5)?,
            log,
            label,
            seq,
            bytes,
            arrival: unsigned(row, 0)?,
            content,
            large,
        })
    }

    /// Reads the body if it is large; to be called once it is known that the row fits its page.
    pub(crate) fn load(
        &mut self,
        connection: &Connection,
        bodies: &LargeBodies,
    ) -> rusqlite::Result<()> {
        let (Some(bytes), Some((header, body))) = (self.large.take(), &mut self.content) else {
            return Ok(());
        };
        let arrival = self.arrival;
        let read = || large::read(connection, arrival, bytes);
        *body = bodies.share(header.id(), read)?;
        if body.is_none() {
            self.content = None;
        }
        Ok(())
    }

    pub(crate) fn unreadable(&self) -> Unreadable {
        Unreadable {
            author: self.label,
            seq: self.seq,
        }
    }
}

/// Counts rows against the limits.
pub(crate) struct Fill {
    limits: PageLimits,
    rows: usize,
    bytes: usize,
    passed: usize,
}

impl Fill {
    pub(crate) fn new(limits: PageLimits) -> Fill {
        Fill {
            limits,
            rows: 0,
            bytes: 0,
            passed: 0,
        }
    }

    /// Counts a pruned row; whether the next one may be examined.
    pub(crate) fn pass(&mut self) -> bool {
        self.passed += 1;
        self.passed < GARBAGE_PASSED_ROWS_MAX.max(self.limits.rows)
    }

    /// Returns `true` if a row of this size still fits.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.rows < self.limits.rows.max(1)
            && self.bytes.saturating_add(bytes) <= self.limits.bytes;
        if fits || self.rows == 0 {
            self.rows += 1;
            self.bytes = self.bytes.saturating_add(bytes);
            return true;
        }
        false
    }
}
