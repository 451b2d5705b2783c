//! Entries that views cannot be built from again, counted when they leave the feed
//! (`docs/protocol/views.md#3`).

use bytes::Bytes;
use p2panda_core::Header;
use rusqlite::params;

use crate::database::content::code;
use crate::database::error::StoreError;
use crate::database::filter::{Filter, Shown};
use crate::database::sql::{int, unsigned};
use crate::database::tx::{LogKey, Tx};

/// An entry that leaves the feed.
struct Leaving {
    offset: u64,
    shown: Shown,
    header: Option<Header>,
}

impl Tx<'_> {
    /// Entries of a log that leave the feed, from one sequence number to before another: views that
    /// have applied them cannot be rebuilt from the same. Entries without content stay where a body
    /// is dropped.
    pub(crate) fn leave_views(
        &mut self,
        log: LogKey,
        range: (u32, u32),
        with_changes: bool,
    ) -> Result<(), StoreError> {
        if !self.has_views() {
            return Ok(());
        }
        let (first, end) = range;
        let sql = "UPDATE app_view SET lost = lost + (SELECT count(*) FROM operation o
                WHERE o.log = ?1 AND o.seq >= ?2 AND o.seq < ?3 AND o.offset <= app_view.position
                AND (?4 OR o.content IS NULL OR o.content <= 1))
            WHERE role < 2 AND id IN (SELECT v.view FROM view_topic v
                JOIN topic t ON t.topic = v.topic JOIN log l ON l.topic = t.id WHERE l.id = ?1)
            AND NOT EXISTS (SELECT 1 FROM view_filter f WHERE f.view = app_view.id)";
        self.cached(sql)?
            .execute(params![log.0, first, end, with_changes])?;
        self.leave_filtered(log, range, with_changes)
    }

    /// The same for views that get a part of the entries only.
    fn leave_filtered(
        &mut self,
        log: LogKey,
        range: (u32, u32),
        with_changes: bool,
    ) -> Result<(), StoreError> {
        let sql =
            "SELECT a.id, a.position, f.filter FROM view_filter f JOIN app_view a ON a.id = f.view
            WHERE a.role < 2 AND a.id IN (SELECT v.view FROM view_topic v
                JOIN topic t ON t.topic = v.topic JOIN log l ON l.topic = t.id WHERE l.id = ?1)";
        let views: Vec<(i64, u64, Vec<u8>)> = self.rows(sql, [log.0], |row| {
            Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?))
        })?;
        if views.is_empty() {
            return Ok(());
        }
        let leaving = self.leaving(log, range, with_changes)?;
        for (view, position, filter) in views {
            let filter = Filter::decode(&filter).unwrap_or_default();
            // What cannot be read was not applied either.
            let is_lost = |one: &&Leaving| {
                let admits = |header| filter.admits_parts(one.shown, header);
                one.offset <= position && one.header.as_ref().is_some_and(admits)
            };
            let lost = leaving.iter().filter(is_lost).count();
            let sql = "UPDATE app_view SET lost = lost + ?2 WHERE id = ?1";
            self.cached(sql)?.execute([view, int(lost as u64)])?;
        }
        Ok(())
    }

    fn leaving(
        &self,
        log: LogKey,
        (first, end): (u32, u32),
        with_changes: bool,
    ) -> Result<Vec<Leaving>, StoreError> {
        let sql = "SELECT offset, content, header FROM operation
            WHERE log = ?1 AND seq >= ?2 AND seq < ?3 AND offset > 0
                AND (?4 OR content IS NULL OR content <= 1)";
        self.rows(sql, params![log.0, first, end, with_changes], |row| {
            let header = row.get_ref(2)?.as_blob().unwrap_or_default();
            let header = Header::decode_unverified(Bytes::copy_from_slice(header));
            Ok(Leaving {
                offset: unsigned(row, 0)?,
                shown: match row.get::<_, Option<i64>>(1)? {
                    None => Shown::Body,
                    Some(code::OPENED) => Shown::Opened,
                    Some(_) => Shown::Change,
                },
                header: header.ok(),
            })
        })
    }
}
