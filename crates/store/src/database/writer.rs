//! The only writer of a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use p2panda_core::limits::{JOURNAL_BYTES_ALARM, JOURNAL_LOOK_BYTES};
use p2panda_core::{LogId, Topic, VerifyingKey};
use rusqlite::Connection;

use crate::database::connection::{self, AUTOCHECKPOINT_PAGES, STEP_CHECKPOINT_PAGES};
use crate::database::error::{StoreError, StoreErrorKind};
use crate::database::fault::{Fault, Faults};
use crate::database::meta::{self, CLEAN, Counters};
use crate::database::neighbour::has_garbage;
use crate::database::obstacle;
use crate::database::presence::Presence;
use crate::database::reader::Readers;
use crate::database::schema;
use crate::database::sealing::Sealing;
use crate::database::sql::{Blob32, unsigned};
use crate::database::views::connection::{ViewWriter, stored_views};
use crate::error::ErrorOf;

/// Durability of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to disk: it survives a power cut.
    Full,
    /// It survives a crash of the process; a power cut may take it back, in order.
    Normal,
    /// As [`Durability::Normal`], for one of many steps of long work: the commit moves the write-ahead
    /// log into the database in small portions, so that no other commit has to move much.
    Step,
}

/// A database, opened for writing. It has one writer at a time, which its owner sees to: a
/// [`Store`](crate::Store) by the lock of its directory.
///
/// Dropping it without [`Database::close`] is a crash as far as the database is concerned:
/// everything that was committed is there at the next open.
pub struct Database {
    pub(crate) connection: Connection,
    pub(crate) counters: Counters,
    /// See [`Tx::torn_until`].
    pub(crate) torn_until: u64,
    /// The numbers that the database knows.
    pub(crate) reserved: Counters,
    pub(crate) written_bytes: u64,
    /// There are pruned operations that are still to be deleted.
    pub(crate) garbage: bool,
    /// Free pages can be taken out of the file.
    pub(crate) gives_back: bool,
    /// A write-ahead log was there at the open.
    pub(crate) found_journal: bool,
    /// Files that must exist for a commit to count.
    pub(crate) presence: Presence,
    /// Seals and opens plaintext.
    pub(crate) sealing: Sealing,
    pub(crate) faults: Faults,
    /// Connection for views of applications, once there is one.
    pub(crate) views: Option<ViewWriter>,
    /// There are views, and versions of them that are still to be deleted.
    pub(crate) has_views: bool,
    pub(crate) has_old_views: bool,
    synchronous: Option<Durability>,
    path: PathBuf,
}

impl Database {
    /// Opens the database in a file, creates it if it is not there, without a data directory around
    /// it: no lock, no key, no guard. A data directory is opened with [`Store`](crate::Store).
    ///
    /// # Errors
    ///
    /// [`Newer`](crate::StoreErrorKind::Newer): a newer version of this software wrote it; nothing
    /// is changed then. Otherwise what SQLite says.
    pub fn open(path: &Path) -> Result<Database, StoreError> {
        let mut database = Database::load(path)?;
        database.start(&[])?;
        Ok(database)
    }

    /// Opens the database and brings it to the newest schema. Before the first transaction comes
    /// [`Database::start`].
    pub(crate) fn load(path: &Path) -> Result<Database, StoreError> {
        let opened = Database::try_load(path);
        opened.map_err(|error| obstacle::named(error, path, false))
    }

    fn try_load(path: &Path) -> Result<Database, StoreError> {
        let found_journal = connection::journal_bytes(path) > 0;
        let mut connection = connection::connect(path)?;
        schema::migrate(&mut connection)?;
        let gives_back = connection::overwrite_deleted(&connection)?;
        let garbage = has_garbage(&connection)?;
        let (has_views, has_old_views) = stored_views(&connection)?;
        let (counters, torn_until) = meta::load_counters(&connection)?;
        Ok(Database {
            connection,
            counters,
            torn_until,
            reserved: counters,
            written_bytes: 0,
            garbage,
            gives_back,
            found_journal,
            presence: Presence::default(),
            sealing: Sealing::default(),
            faults: Faults::default(),
            views: None,
            has_views,
            has_old_views,
            synchronous: None,
            path: path.to_path_buf(),
        })
    }

    /// The first write of an open: that it is not closed, the numbers, and what a directory notes.
    pub(crate) fn start(&mut self, notes: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for (name, value) in notes {
            meta::put_meta(&transaction, name, value)?;
        }
        meta::remove_meta(&transaction, CLEAN)?;
        meta::save_counters(&transaction, self.counters)?;
        transaction.commit()?;
        let database = self.path.clone();
        self.require(&database)?;
        self.require(&connection::journal(&database))?;
        Ok(connection::opened(&self.connection)?)
    }

    /// From now on nothing is committed without this file, which is next to the database.
    pub(crate) fn require(&mut self, path: &Path) -> Result<(), StoreError> {
        let required = self.presence.require(path);
        required.map_err(|error| ErrorOf::caused_by(StoreErrorKind::of_io(&error), error))
    }

    /// From now on transactions fail like this, until they do not: for tests of what is built on it.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.faults.set(fault);
    }

    /// Returns a factory of readers, for other threads too, also while a transaction runs.
    pub fn readers(&self) -> Readers {
        Readers::new(self.path.clone()).with(self.sealing.clone())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves what is in the write-ahead log into the database and empties the log.
    pub(crate) fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(connection::checkpoint(&self.connection)?)
    }

    /// Closes the database: numbers continue without a gap at the next open.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.views = None;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        meta::save_counters(&self.connection, self.counters)?;
        self.put_note(CLEAN, &[1])?;
        self.checkpoint()
    }

    /// Returns `true` if anything was ever stored.
    pub(crate) fn was_used(&self) -> bool {
        self.counters.arrival > 0
    }

    /// Reads a note of the directory.
    pub(crate) fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(meta::meta(&self.connection, name)?)
    }

    pub(crate) fn put_note(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        Ok(meta::put_meta(&self.connection, name, value)?)
    }

    pub(crate) fn remove_note(&mut self, name: &str) -> Result<(), StoreError> {
        Ok(meta::remove_meta(&self.connection, name)?)
    }

    /// Returns the heights of an author's logs.
    pub(crate) fn heights_of(
        &self,
        author: &VerifyingKey,
    ) -> Result<BTreeMap<LogId, u32>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT t.topic, l.head_seq, NULL FROM topic t
             JOIN log l ON l.topic = t.id AND l.author = (SELECT id FROM author WHERE key = ?1)
             UNION ALL SELECT t.topic, l.head_seq, n.log_id FROM named_log n
             JOIN log l ON l.author = n.label JOIN topic t ON t.id = l.topic WHERE n.author = ?1",
        )?;
        let rows = statement.query_map([author.as_bytes().as_slice()], |row| {
            let Blob32(topic) = row.get(0)?;
            let named: Option<Blob32> = row.get(2)?;
            let named = named.map(|Blob32(id)| LogId::from_bytes(id));
            let id = named.unwrap_or_else(|| Topic::from_bytes(topic).log_id());
            Ok((id, row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Bytes of the database without free pages.
    pub(crate) fn content_bytes(&self) -> Result<u64, StoreError> {
        let number = |pragma: &str| {
            self.connection
                .query_row(pragma, [], |row| unsigned(row, 0))
        };
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(pages * number("PRAGMA page_size")?)
    }

    /// Writes the content into another file, without free pages.
    pub(crate) fn write_anew(&self, path: &Path) -> Result<(), StoreError> {
        let name = path.to_string_lossy();
        self.connection.execute("VACUUM INTO ?1", [&name])?;
        Ok(())
    }

    /// Ends the connection without a mark that the database was closed.
    pub(crate) fn leave(self) -> Result<(), StoreError> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }

    /// Prepares the next transaction; SQLite does not change this inside one.
    pub(crate) fn set_durability(&mut self, durability: Durability) -> Result<(), StoreError> {
        if self.synchronous == Some(durability) {
            return Ok(());
        }
        let (mode, pages) = match durability {
            Durability::Full => ("FULL", AUTOCHECKPOINT_PAGES),
            Durability::Normal => ("NORMAL", AUTOCHECKPOINT_PAGES),
            Durability::Step => ("NORMAL", STEP_CHECKPOINT_PAGES),
        };
        self.connection.pragma_update(None, "synchronous", mode)?;
        let is_step = durability == Durability::Step;
        if is_step || self.synchronous == Some(Durability::Step) {
            self.connection
                .pragma_update(None, "wal_autocheckpoint", pages)?;
        }
        self.synchronous = Some(durability);
        Ok(())
    }

    /// Keeps the write-ahead log small: a commit's own checkpoint cannot start it over while
    /// some reader is active at every single commit. A failure is none of the commit's.
    pub(crate) fn watch_journal(&mut self) {
        if self.written_bytes < JOURNAL_LOOK_BYTES {
            return;
        }
        self.written_bytes = 0;
        if connection::journal_bytes(&self.path) > JOURNAL_BYTES_ALARM
            && let Err(error) = self.checkpoint()
        {
            tracing::warn!(%error, "the write-ahead log could not be emptied");
        }
    }
}
