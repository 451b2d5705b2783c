use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2panda_core::{LogId, SigningKey, Topic, VerifyingKey};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::epoch::Epoch;
use crate::error::{OpenError, StoreError};
use crate::guard::{Guard, Memory, Restored, RestoredAction};
use crate::key::{self, KeyFile};
use crate::reader::{Reader, Readers};
use crate::sql::{Blob32, int, unsigned};
use crate::tx::Tx;
use crate::{lock, schema};

/// Added to the last arrival number and feed offset when the directory was not closed
/// cleanly, so that none which a power cut took back is handed out again
/// (`docs/protocol/decisions.md#10`).
const UNCLEAN_GAP: u64 = 1 << 32;
/// Pages in the write-ahead log after which a commit moves them into the database.
const AUTOCHECKPOINT_PAGES: u32 = 2_000;
/// The write-ahead log is cut down to this when it starts over.
const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A write-ahead log larger than this is emptied, waiting for readers if it must.
const JOURNAL_BYTES_ALARM: u64 = 32 * 1024 * 1024;
/// Bytes written between two looks at the size of the write-ahead log.
const JOURNAL_LOOK_BYTES: u64 = 4 * 1024 * 1024;
/// How long a checkpoint waits for readers, whose transactions are short.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// How a directory is opened.
#[derive(Default)]
pub struct Options {
    /// The signing key, if the caller has it. Otherwise it is read from the key file, or drawn
    /// for a new directory.
    pub key: Option<SigningKey>,
    /// Where guard files live, one per identity, outside of the data directory. `None`: no
    /// guard, for throw-away nodes.
    pub guard_dir: Option<PathBuf>,
    /// What to do if the directory turns out to be an old copy. It has no effect otherwise.
    pub restored: Option<RestoredAction>,
}

/// Epoch of the last open and its predecessor, none in a new directory.
pub(crate) type Epochs = Option<(Epoch, Option<Epoch>)>;

/// How far a commit reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to disk: it survives a power cut.
    Full,
    /// It survives a crash of the process; a power cut may take it back, in order.
    Normal,
}

/// The one writer of a data directory.
///
/// Dropping it without [`Store::close`] is a crash as far as the directory is concerned:
/// everything that was committed is there at the next open.
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) counters: Counters,
    pub(crate) written_bytes: u64,
    synchronous: Option<Durability>,
    path: PathBuf,
    key: SigningKey,
    epoch: Epoch,
    guard: Option<Guard>,
    restored: Option<Restored>,
    _lock: File,
}

/// The last numbers handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub arrival: u64,
    pub offset: u64,
    pub order: u64,
}

impl Store {
    /// Opens the directory, creates it if it is not there.
    ///
    /// # Errors
    ///
    /// Everything in [`OpenError`]. A restored directory is no error, see [`Store::restored`].
    pub fn open(dir: &Path, options: Options) -> Result<Store, OpenError> {
        create_private_dir(dir).map_err(OpenError::io(dir))?;
        let lock = lock::acquire(dir)?;
        let path = dir.join("p2panda.sqlite");
        let mut connection = connect(&path)?;
        schema::migrate(&mut connection, dir)?;
        let (counters, last_epochs) = load_meta(&connection)?;

        let key_path = dir.join("node.key");
        let found = key::read(&key_path)?;
        let mut key = match_key(dir, found, options.key, last_epochs, &key_path, counters)?;
        let mut guard = options
            .guard_dir
            .map(|dir| Guard::new(&dir, &key.verifying_key()));
        let own = own_heights(&connection, &key.verifying_key())?;
        let memory = match &mut guard {
            Some(guard) => guard.read()?,
            None => None,
        };
        let mut restored = recognise(&connection, memory.as_ref(), &own, last_epochs)?;
        if restored.is_some() && options.restored == Some(RestoredAction::NewIdentity) {
            key = key::draw()?;
            let author = key.verifying_key();
            guard = guard.map(|guard| guard.for_author(&author));
            restored = None;
        }
        if let (None, Some(guard)) = (&restored, &mut guard) {
            confirm(guard, memory.as_ref(), last_epochs, &own)?;
        }

        let epoch = Epoch::draw()?;
        save_epoch(
            &mut connection,
            epoch,
            last_epochs.map(|(current, _)| current),
            counters,
        )?;
        key::write(
            &key_path,
            &KeyFile {
                key: key.clone(),
                epoch,
            },
        )?;
        let mut store = Store {
            connection,
            counters,
            written_bytes: 0,
            synchronous: None,
            path,
            key,
            epoch,
            guard,
            restored,
            _lock: lock,
        };
        if store.restored.is_none() {
            store.write_guard()?;
        } else if options.restored == Some(RestoredAction::PullOwnLog) {
            store.pull_own_log()?;
        }
        Ok(store)
    }

    /// The node's signing key.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// Set if this directory is an older copy: nothing may be published before one of the two
    /// ways on was taken.
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }

    /// Takes the first way on from a restored directory. The choice is remembered.
    pub fn pull_own_log(&mut self) -> Result<(), OpenError> {
        let Some(restored) = &mut self.restored else {
            return Ok(());
        };
        restored.pulling = true;
        put_meta(&self.connection, "pulling", &[1])?;
        if restored.ahead.is_empty() {
            self.settle_restored()
        } else {
            Ok(())
        }
    }

    /// Follows our own logs with the guard file after a commit.
    pub fn follow_own_logs(&mut self, own: &[(LogId, u32)]) -> Result<(), OpenError> {
        if let Some(restored) = &mut self.restored {
            for (log, seq) in own {
                if restored.ahead.get(log).is_some_and(|ahead| ahead <= seq) {
                    restored.ahead.remove(log);
                }
            }
            if !restored.pulling {
                return Ok(());
            }
            if restored.ahead.is_empty() {
                return self.settle_restored();
            }
        }
        if let Some(guard) = &mut self.guard {
            guard.follow(self.epoch, own);
        }
        Ok(())
    }

    /// Opens a reader with a connection of its own.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        self.readers().open()
    }

    /// What opens readers, also from other threads and while a transaction runs.
    pub fn readers(&self) -> Readers {
        Readers::new(self.path.clone())
    }

    /// Begins the next transaction. Dropping it takes back everything in it.
    pub fn begin(&mut self, durability: Durability) -> Result<Tx<'_>, StoreError> {
        // SQLite does not change this inside a transaction.
        if self.synchronous != Some(durability) {
            let mode = match durability {
                Durability::Full => "FULL",
                Durability::Normal => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", mode)?;
            self.synchronous = Some(durability);
        }
        Tx::begin(self)
    }

    /// Moves what is in the write-ahead log into the database and empties the log.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        checkpoint(&self.connection, "TRUNCATE")
    }

    /// Closes the directory: numbers go on without a gap at the next open.
    pub fn close(mut self) -> Result<(), StoreError> {
        let own = own_heights(&self.connection, &self.key.verifying_key())?;
        if let (None, Some(guard)) = (&self.restored, &mut self.guard)
            && let Err(error) = guard.write(self.epoch, own)
        {
            tracing::warn!(%error, "guard file not written");
        }
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        put_meta(&self.connection, "clean", &[1])?;
        self.checkpoint()
    }

    /// Keeps the write-ahead log small: a commit's own checkpoint cannot start it over while
    /// some reader is active at every single commit. A failure is none of the commit's.
    pub(crate) fn watch_journal(&mut self) {
        if self.written_bytes < JOURNAL_LOOK_BYTES {
            return;
        }
        self.written_bytes = 0;
        let journal = self.path.with_extension("sqlite-wal");
        if fs::metadata(journal).is_ok_and(|file| file.len() > JOURNAL_BYTES_ALARM)
            && let Err(error) = self.checkpoint()
        {
            tracing::warn!(%error, "the write-ahead log could not be emptied");
        }
    }

    fn write_guard(&mut self) -> Result<(), OpenError> {
        let own = own_heights(&self.connection, &self.key.verifying_key())?;
        match &mut self.guard {
            Some(guard) => guard.write(self.epoch, own),
            None => Ok(()),
        }
    }

    fn settle_restored(&mut self) -> Result<(), OpenError> {
        self.write_guard()?;
        self.connection
            .execute("DELETE FROM meta WHERE name = 'pulling'", [])?;
        self.restored = None;
        Ok(())
    }
}

fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", int(JOURNAL_BYTES_MAX))?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<(), StoreError> {
    // A reader that stays in the way is no failure: the next look tries again.
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    Ok(())
}

/// The key in use: the given one, the stored one, or a new one for a new directory.
fn match_key(
    dir: &Path,
    found: Option<KeyFile>,
    given: Option<SigningKey>,
    epochs: Epochs,
    key_path: &Path,
    counters: Counters,
) -> Result<SigningKey, OpenError> {
    let Some(found) = found else {
        // A new directory, or a crash between the first two writes of its first open.
        return match given {
            Some(key) => Ok(key),
            None if counters.arrival == 0 => key::draw(),
            None => Err(OpenError::KeyMissing {
                dir: dir.to_path_buf(),
            }),
        };
    };
    let mixed = || OpenError::Mixed {
        dir: dir.to_path_buf(),
    };
    let (current, previous) = epochs.ok_or_else(mixed)?;
    if given.is_some_and(|key| key.verifying_key() != found.key.verifying_key()) {
        return Err(OpenError::OtherKey {
            dir: dir.to_path_buf(),
        });
    }
    if Some(found.epoch) == previous {
        // A crash came between database and key file: complete that open first.
        key::write(
            key_path,
            &KeyFile {
                key: found.key.clone(),
                epoch: current,
            },
        )?;
    } else if found.epoch != current {
        return Err(mixed());
    }
    Ok(found.key)
}

/// Completes the guard file of an open that crashed, so that it never lags two epochs behind.
fn confirm(
    guard: &mut Guard,
    memory: Option<&Memory>,
    epochs: Epochs,
    own: &BTreeMap<LogId, u32>,
) -> Result<(), OpenError> {
    match (memory, epochs) {
        (Some(memory), Some((current, _))) if memory.epoch != Some(current) => {
            guard.write(current, own.clone())
        }
        _ => Ok(()),
    }
}

/// Compares the guard file with the database.
pub(crate) fn recognise(
    connection: &Connection,
    memory: Option<&Memory>,
    own: &BTreeMap<LogId, u32>,
    epochs: Epochs,
) -> Result<Option<Restored>, OpenError> {
    let Some(memory) = memory else {
        return Ok(None);
    };
    let known = memory.epoch.is_some()
        && epochs.is_some_and(|(current, previous)| {
            memory.epoch == Some(current) || memory.epoch == previous
        });
    let ahead: BTreeMap<LogId, u32> = memory
        .heights
        .iter()
        .filter(|(log, seq)| own.get(log).is_none_or(|height| height < *seq))
        .map(|(log, seq)| (*log, *seq))
        .collect();
    if known && ahead.is_empty() {
        return Ok(None);
    }
    let pulling = meta(connection, "pulling")?.is_some();
    Ok(Some(Restored { ahead, pulling }))
}

pub(crate) fn own_heights(
    connection: &Connection,
    author: &VerifyingKey,
) -> Result<BTreeMap<LogId, u32>, rusqlite::Error> {
    let mut statement = connection.prepare(
        "SELECT t.topic, l.head_seq FROM topic t
         JOIN log l ON l.topic = t.id AND l.author = (SELECT id FROM author WHERE key = ?1)",
    )?;
    let rows = statement.query_map([author.as_bytes().as_slice()], |row| {
        let Blob32(topic) = row.get(0)?;
        Ok((Topic::from_bytes(topic).log_id(), row.get(1)?))
    })?;
    rows.collect()
}

pub(crate) fn load_meta(connection: &Connection) -> Result<(Counters, Epochs), OpenError> {
    let epoch = |name| -> Result<Option<Epoch>, OpenError> {
        Ok(meta(connection, name)?.and_then(|bytes| Epoch::from_slice(&bytes)))
    };
    let epochs = match epoch("epoch")? {
        Some(current) => Some((current, epoch("previous")?)),
        None => None,
    };
    let mut counters = load_counters(connection)?;
    if epochs.is_some() && meta(connection, "clean")?.is_none() && counters.arrival > 0 {
        counters.arrival += UNCLEAN_GAP;
        counters.offset += UNCLEAN_GAP;
    }
    Ok((counters, epochs))
}

fn load_counters(connection: &Connection) -> Result<Counters, OpenError> {
    let row = connection
        .query_row("SELECT arrival, offset, ordering FROM counter", [], |row| {
            Ok(Counters {
                arrival: unsigned(row, 0)?,
                offset: unsigned(row, 1)?,
                order: unsigned(row, 2)?,
            })
        })
        .optional()?;
    Ok(row.unwrap_or(Counters {
        arrival: 0,
        offset: 0,
        order: 0,
    }))
}

/// The first write of an open: epoch and predecessor, numbers, and that it is not closed.
fn save_epoch(
    connection: &mut Connection,
    epoch: Epoch,
    previous: Option<Epoch>,
    counters: Counters,
) -> Result<(), OpenError> {
    let transaction = connection.transaction()?;
    put_meta(&transaction, "epoch", epoch.as_bytes())?;
    if let Some(previous) = previous {
        put_meta(&transaction, "previous", previous.as_bytes())?;
    }
    transaction.execute("DELETE FROM meta WHERE name = 'clean'", [])?;
    save_counters(&transaction, counters)?;
    transaction.commit()?;
    Ok(())
}

pub(crate) fn save_counters(
    connection: &Connection,
    counters: Counters,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO counter(id, arrival, offset, ordering) VALUES(1, ?1, ?2, ?3)
               ON CONFLICT(id) DO UPDATE SET arrival = ?1, offset = ?2, ordering = ?3";
    let Counters {
        arrival,
        offset,
        order,
    } = counters;
    connection
        .prepare_cached(sql)?
        .execute(params![int(arrival), int(offset), int(order)])?;
    Ok(())
}

fn meta(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
}

fn put_meta(connection: &Connection, name: &str, value: &[u8]) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES(?1, ?2)",
        params![name, value],
    )?;
    Ok(())
}
