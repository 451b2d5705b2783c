//! What views cannot be built from again, counted when it leaves the feed
//! (`docs/protocol/views.md#3`).

use rusqlite::params;

use crate::database::error::StoreError;
use crate::database::tx::{LogKey, Tx};

impl Tx<'_> {
    /// Entries of a log that leave the feed, from one sequence number to before another: views that
    /// have applied them cannot be built anew from the same. Entries without content stay where a body
    /// is dropped.
    pub(crate) fn leave_views(
        &mut self,
        log: LogKey,
        (first, end): (u32, u32),
        with_changes: bool,
    ) -> Result<(), StoreError> {
        if !self.has_views() {
            return Ok(());
        }
        let sql = "UPDATE app_view SET lost = lost + (SELECT count(*) FROM operation o
                WHERE o.log = ?1 AND o.seq >= ?2 AND o.seq < ?3 AND o.offset <= app_view.position
                AND (?4 OR o.content IS NULL OR o.content <= 1))
            WHERE role < 2 AND id IN (SELECT v.view FROM view_topic v
                JOIN topic t ON t.topic = v.topic JOIN log l ON l.topic = t.id WHERE l.id = ?1)";
        self.cached(sql)?
            .execute(params![log.0, first, end, with_changes])?;
        Ok(())
    }
}
