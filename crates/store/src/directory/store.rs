use std::fs::{self, File};
use std::path::{Path, PathBuf};

use p2panda_core::limits::{
    CHECKPOINT_WAIT, JOURNAL_BYTES_ALARM, JOURNAL_BYTES_MAX, JOURNAL_LOOK_BYTES, WRITER_BUSY_WAIT,
};
use p2panda_core::{LogId, SigningKey};
use rusqlite::{Connection, OpenFlags};

use crate::database::meta::{
    Counters, load_meta, put_meta, remove_meta, save_counters, save_epoch,
};
use crate::database::reader::{Reader, Readers};
use crate::database::sql::{int, keep_plans};
use crate::database::tx::Tx;
use crate::database::{garbage, schema, space};
use crate::directory::epoch::Epoch;
use crate::directory::guard::{Guard, Restored, RestoredAction};
use crate::directory::identity::{Identity, own_heights};
use crate::directory::key::{self, KeyFile};
use crate::directory::{compact, lock, private};
use crate::error::{OpenError, StoreError};

/// The file of the database.
pub(crate) const DATABASE: &str = "p2panda.sqlite";
/// Pages in the write-ahead log after which a commit moves them into the database.
const AUTOCHECKPOINT_PAGES: u32 = 2_000;
/// The same for a step of long work, of which each writes about 50.
const STEP_CHECKPOINT_PAGES: u32 = 400;

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

/// How far a commit reaches.
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

/// The one writer of a data directory.
///
/// Dropping it without [`Store::close`] is a crash as far as the directory is concerned:
/// everything that was committed is there at the next open.
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) counters: Counters,
    /// The numbers that the database knows.
    pub(crate) reserved: Counters,
    pub(crate) written_bytes: u64,
    /// There are pruned operations that are still to be deleted.
    pub(crate) garbage: bool,
    /// Free pages can be taken out of the file.
    pub(crate) gives_back: bool,
    /// A write-ahead log was there at the open.
    pub(crate) found_journal: bool,
    synchronous: Option<Durability>,
    path: PathBuf,
    key: SigningKey,
    epoch: Epoch,
    guard: Option<Guard>,
    restored: Option<Restored>,
    _lock: File,
}

impl Store {
    /// Opens the directory, creates it if it is not there.
    ///
    /// # Errors
    ///
    /// Everything in [`OpenError`]. A restored directory is no error, see [`Store::restored`].
    pub fn open(dir: &Path, options: Options) -> Result<Store, OpenError> {
        private::create_dir(dir).map_err(OpenError::io(dir))?;
        if private::others_may_enter(dir) {
            let dir = dir.display();
            tracing::warn!(%dir, "other users may look into the data directory or change it");
        }
        let lock = lock::acquire(dir)?;
        compact::remove_unfinished(dir)?;
        let path = dir.join(DATABASE);
        make_private(&path).map_err(OpenError::io(&path))?;
        let found_journal = space::has_journal(&path);
        let mut connection = connect(&path)?;
        schema::migrate(&mut connection, dir)?;
        let gives_back = space::overwrite_deleted(&connection)?;
        let garbage = garbage::has_garbage(&connection)?;
        let (counters, epochs) = load_meta(&connection)?;
        let pull = options.restored == Some(RestoredAction::PullOwnLog);
        let identity = Identity::establish(dir, &connection, options, epochs, counters)?;
        let Identity {
            key,
            guard,
            restored,
        } = identity;

        let epoch = Epoch::draw()?;
        save_epoch(&mut connection, epoch, epochs, counters)?;
        key::write(
            &dir.join(key::FILE),
            &KeyFile {
                key: key.clone(),
                epoch,
            },
        )?;
        let mut store = Store {
            connection,
            counters,
            reserved: counters,
            written_bytes: 0,
            garbage,
            gives_back,
            found_journal,
            synchronous: None,
            path,
            key,
            epoch,
            guard,
            restored,
            _lock: lock,
        };
        match store.restored {
            None => store.settle_restored()?,
            Some(_) if pull => store.pull_own_log()?,
            Some(_) => {}
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
        }
        Tx::begin(self)
    }

    /// Moves what is in the write-ahead log into the database and empties the log.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        checkpoint(&self.connection)
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
        save_counters(&self.connection, self.counters)?;
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
        let journal = space::journal(&self.path);
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

    /// The directory is the newest copy: the guard file says so.
    fn settle_restored(&mut self) -> Result<(), OpenError> {
        self.write_guard()?;
        remove_meta(&self.connection, "pulling")?;
        self.restored = None;
        Ok(())
    }
}

/// Only the owner may read the database: SQLite gives the files that it makes beside it the mode of
/// the database file, and keeps the mode of those that a crash left.
fn make_private(database: &Path) -> std::io::Result<()> {
    private::ensure(database)?;
    for extension in ["sqlite-wal", "sqlite-shm", "sqlite-journal"] {
        private::narrow(&database.with_extension(extension));
    }
    Ok(())
}

pub(crate) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WRITER_BUSY_WAIT)?;
    space::prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", int(JOURNAL_BYTES_MAX))?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    keep_plans(&connection)?;
    Ok(connection)
}

fn checkpoint(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(CHECKPOINT_WAIT)?;
    // A reader that stays in the way is no failure: the next look tries again.
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(WRITER_BUSY_WAIT)?;
    Ok(done?)
}
