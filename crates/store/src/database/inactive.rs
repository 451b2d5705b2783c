//! Named consumers that nobody has open: for how long, and which of them are to go
//! (`docs/protocol/consumers.md#11`).

use p2panda_core::limits::CONSUMER_INACTIVE_MAX;

use crate::database::error::StoreError;
use crate::database::sql::int;
use crate::database::tx::{NamedKey, Tx};

impl Tx<'_> {
    /// Nobody has had any consumer open for this many microseconds more, except those in `idle`, which
    /// nobody had for as long as is said there. Counts only for those with a threshold.
    pub fn age_named(
        &mut self,
        idle: &[(NamedKey, u64)],
        elapsed_us: u64,
    ) -> Result<(), StoreError> {
        let most_us = u64::try_from(CONSUMER_INACTIVE_MAX.as_micros()).unwrap_or(u64::MAX);
        let older = "UPDATE named_consumer SET idle = min(idle + ?1, ?2)
            WHERE inactive IS NOT NULL";
        if elapsed_us > 0 {
            let elapsed_us = elapsed_us.min(most_us);
            self.cached(older)?
                .execute([int(elapsed_us), int(most_us)])?;
        }
        let exactly = "UPDATE named_consumer SET idle = ?2
            WHERE id = ?1 AND inactive IS NOT NULL AND idle <> ?2";
        for (consumer, idle_us) in idle {
            let idle_us = int((*idle_us).min(most_us));
            self.cached(exactly)?.execute([consumer.0, idle_us])?;
        }
        Ok(())
    }

    /// Consumers whose threshold has passed, with their names.
    pub fn inactive_named(&self) -> Result<Vec<(NamedKey, String)>, StoreError> {
        let sql = "SELECT id, name FROM named_consumer
            WHERE inactive IS NOT NULL AND idle >= inactive ORDER BY id";
        self.rows(sql, [], |row| Ok((NamedKey(row.get(0)?), row.get(1)?)))
    }

    /// Every consumer with a threshold, and the microseconds until that has passed.
    pub fn until_inactive(&self) -> Result<Vec<(NamedKey, u64)>, StoreError> {
        let sql = "SELECT id, max(inactive - idle, 0) FROM named_consumer
            WHERE inactive IS NOT NULL";
        self.rows(sql, [], |row| {
            let rest_us: i64 = row.get(1)?;
            Ok((NamedKey(row.get(0)?), rest_us.unsigned_abs()))
        })
    }
}
