//! Logs that have a name: an author may have several in a topic (`docs/protocol/operations.md#4`).
//!
//! Where logs are told apart, the *label* of such a log stands in place of the author. So the
//! first logs of authors cost nothing for it.

use p2panda_core::{Dependency, Header, Label, LogId, LogName, Topic, VerifyingKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::database::error::StoreError;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, verifying_key};
use crate::database::tx::Tx;

/// A log with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedLog {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Hash of its name.
    pub name: LogName,
    /// Id of the log, derived from topic and name.
    pub id: LogId,
}

const BY_LABEL: &str = "SELECT author, name, log_id FROM named_log
    WHERE label = (SELECT id FROM author WHERE key = ?1)";

impl Tx<'_> {
    /// Notes which log a label stands for.
    pub fn name_log(&mut self, label: &VerifyingKey, log: &NamedLog) -> Result<(), StoreError> {
        self.author(label)?;
        let sql = "INSERT OR IGNORE INTO named_log(label, author, name, log_id)
            VALUES((SELECT id FROM author WHERE key = ?1), ?2, ?3, ?4)";
        self.cached(sql)?.execute(params![
            label.as_bytes().as_slice(),
            log.author.as_bytes().as_slice(),
            log.name.as_bytes().as_slice(),
            log.id.as_bytes().as_slice(),
        ])?;
        Ok(())
    }

    /// The log with a name that a label stands for.
    pub fn named_log(&self, label: &VerifyingKey) -> Result<Option<NamedLog>, StoreError> {
        let label = label.as_bytes().as_slice();
        let mut statement = self.cached(BY_LABEL)?;
        Ok(statement.query_row([label], named_log).optional()?)
    }

    /// The newest operation of one of our own logs with a name implies everything ordered so far.
    pub fn set_log_implied(&mut self, label: &VerifyingKey, order: u64) -> Result<(), StoreError> {
        let sql = "UPDATE named_log SET implied = ?2
            WHERE label = (SELECT id FROM author WHERE key = ?1)";
        let label = label.as_bytes().as_slice();
        self.cached(sql)?.execute(params![label, int(order)])?;
        Ok(())
    }
}

impl Reader {
    /// The logs with a name that an author has in a topic, with their labels.
    pub fn named_logs_of(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
    ) -> Result<Vec<(LogName, Label)>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let sql = "SELECT n.name, a.key FROM named_log n JOIN author a ON a.id = n.label
            JOIN log l ON l.topic = ?1 AND l.author = n.label WHERE n.author = ?2 ORDER BY l.id";
        let mut statement = snapshot.prepare_cached(sql)?;
        let of = params![key, author.as_bytes().as_slice()];
        let rows = statement.query_map(of, |row| {
            let (Blob32(name), Blob32(label)) = (row.get(0)?, row.get(1)?);
            Ok((LogName::from_bytes(name), Label::from_bytes(label)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The log with a name that a label stands for; none if it is the key of an author, or not known.
    pub fn named_log(&self, label: &Label) -> Result<Option<NamedLog>, StoreError> {
        let label = label.as_bytes().as_slice();
        let mut statement = self.connection.prepare_cached(BY_LABEL)?;
        Ok(statement.query_row([label], named_log).optional()?)
    }
}

/// The author of the log that a label stands for.
pub(crate) fn author_of(
    snapshot: &Connection,
    label: VerifyingKey,
) -> rusqlite::Result<VerifyingKey> {
    let mut statement = snapshot.prepare_cached(BY_LABEL)?;
    let named = statement.query_row([label.as_bytes().as_slice()], named_log);
    Ok(named.optional()?.map_or(label, |named| named.author))
}

/// The id of the log that a label stands for, if it has a name.
pub(crate) fn log_id_of(
    snapshot: &Connection,
    label: &VerifyingKey,
) -> rusqlite::Result<Option<LogId>> {
    let mut statement = snapshot.prepare_cached(BY_LABEL)?;
    let named = statement.query_row([label.as_bytes().as_slice()], named_log);
    Ok(named.optional()?.map(|named| named.id))
}

/// Gives the dependencies of an operation that were stored by label their authors and logs: the header
/// names them.
pub(crate) fn restore(missing: &mut [Dependency], header: &Header) {
    let named = header
        .node_extensions()
        .map(|extensions| extensions.deps)
        .unwrap_or_default();
    for dependency in missing {
        let same = |named: &&Dependency| {
            (named.seq, named.id) == (dependency.seq, dependency.id)
                && named.label() == dependency.author
        };
        if let Some(named) = named.iter().find(same) {
            *dependency = *named;
        }
    }
}

fn named_log(row: &Row<'_>) -> rusqlite::Result<NamedLog> {
    let Blob32(name) = row.get(1)?;
    let Blob32(id) = row.get(2)?;
    Ok(NamedLog {
        author: verifying_key(row, 0)?,
        name: LogName::from_bytes(name),
        id: LogId::from_bytes(id),
    })
}
