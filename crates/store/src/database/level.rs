//! The stored level of a log (`docs/protocol/link.md#10`).

use p2panda_core::{Hash, Label, Topic};
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::meta::meta;
use crate::database::missing::SCANNED;
use crate::database::page::PageLimits;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, unsigned};

/// An entry up to which a log is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLevel {
    /// Its place in the log.
    pub seq: u32,
    /// Id of the operation.
    pub id: Hash,
}

/// The newest entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestEntry {
    /// Its place in the log.
    pub seq: u32,
    /// Id of the operation.
    pub id: Hash,
    /// Its arrival number.
    pub arrival: u64,
}

impl Reader {
    /// Up to where a log is stored with all bodies, but those that were dropped on
    /// purpose. `None`: nothing is, or it is not known yet which bodies are missing.
    pub fn stored_level(
        &self,
        topic: &Topic,
        label: &Label,
    ) -> Result<Option<StoredLevel>, StoreError> {
        let found = {
            let snapshot = self.snapshot()?;
            let Some(key) = topic_key(&snapshot, topic)? else {
                return Ok(None);
            };
            if meta(&snapshot, SCANNED)?.is_some() {
                return Ok(None);
            }
            let sql = "SELECT l.head_seq, l.head_id,
                    (SELECT min(w.seq) FROM wanted w WHERE w.topic = ?1 AND w.log = l.id)
                FROM log l WHERE l.topic = ?1
                AND l.author = (SELECT id FROM author WHERE key = ?2)";
            let mut statement = snapshot.prepare_cached(sql)?;
            let label = label.as_bytes().as_slice();
            let row = statement.query_row(params![key, label], |row| {
                let Blob32(id) = row.get(1)?;
                Ok((row.get::<_, u32>(0)?, id, row.get::<_, Option<u32>>(2)?))
            });
            row.optional()?
        };
        let Some((seq, id, wanted)) = found else {
            return Ok(None);
        };
        let Some(wanted) = wanted else {
            let id = Hash::from_bytes(id);
            return Ok(Some(StoredLevel { seq, id }));
        };
        let Some(seq) = wanted.checked_sub(1) else {
            return Ok(None);
        };
        let id = self.operation_id(topic, label, seq)?;
        Ok(id.map(|id| StoredLevel { seq, id }))
    }

    /// The id of a stored operation.
    pub fn operation_id(
        &self,
        topic: &Topic,
        label: &Label,
        seq: u32,
    ) -> Result<Option<Hash>, StoreError> {
        let one = PageLimits { rows: 1, bytes: 1 };
        let author = label.in_place_of_author();
        let page = self.log_page(topic, &author, seq.checked_sub(1), seq, one)?;
        let entry = page.entries.first();
        Ok(entry
            .map(|entry| &entry.header)
            .filter(|header| header.seq() == seq)
            .map(|header| header.id()))
    }

    /// The newest entry of a log.
    pub fn newest_entry(
        &self,
        topic: &Topic,
        label: &Label,
    ) -> Result<Option<NewestEntry>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(None);
        };
        let sql = "SELECT l.head_seq, l.head_id, o.arrival
            FROM log l JOIN operation o ON o.log = l.id AND o.seq = l.head_seq
            WHERE l.topic = ?1 AND l.author = (SELECT id FROM author WHERE key = ?2)";
        let mut statement = snapshot.prepare_cached(sql)?;
        let label = label.as_bytes().as_slice();
        let newest = statement.query_row(params![key, label], |row| {
            let Blob32(id) = row.get(1)?;
            Ok(NewestEntry {
                seq: row.get(0)?,
                id: Hash::from_bytes(id),
                arrival: unsigned(row, 2)?,
            })
        });
        Ok(newest.optional()?)
    }

    /// Counts the operations of a log that arrived after this number: looks at these, and at one
    /// more.
    pub fn newer_than(
        &self,
        topic: &Topic,
        label: &Label,
        arrival: u64,
    ) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        let sql = "SELECT o.arrival FROM log l JOIN operation o ON o.log = l.id
            WHERE l.topic = ?1 AND l.author = (SELECT id FROM author WHERE key = ?2)
            AND o.seq >= l.first_seq ORDER BY o.seq DESC";
        let mut statement = snapshot.prepare_cached(sql)?;
        let label = label.as_bytes().as_slice();
        let mut rows = statement.query(params![key, label])?;
        let mut newer = 0;
        while let Some(row) = rows.next()? {
            if unsigned(row, 0)? <= arrival {
                break;
            }
            newer += 1;
        }
        Ok(newer)
    }
}
