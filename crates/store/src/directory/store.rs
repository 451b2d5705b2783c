//! An open data directory.

use std::path::Path;

use p2panda_core::{LogId, SigningKey};

use crate::database::connection::companions;
use crate::database::error::StoreError;
use crate::database::journal::Journal;
use crate::database::reader::Readers;
use crate::database::tx::Tx;
use crate::database::writer::{Database, Durability};
use crate::directory::epoch::{self, Epoch};
use crate::directory::error::OpenError;
use crate::directory::guard::{Guard, Restored, RestoredAction};
use crate::directory::identity::{self, Identity, Options, PULLING};
use crate::directory::key;
use crate::directory::lock::Lock;
use crate::directory::names::{DATABASE, LOCK};
use crate::directory::{compact, lock, private};

/// An open data directory: its database with the one writer, and the identity that lives in it.
///
/// Dropping it without [`Store::close`] is a crash as far as the directory is concerned:
/// everything that was committed is there at the next open.
pub struct Store {
    database: Database,
    key: SigningKey,
    epoch: Epoch,
    guard: Option<Guard>,
    restored: Option<Restored>,
    _lock: Lock,
}

impl Store {
    /// Opens the directory, creates it if it is not there.
    ///
    /// # Errors
    ///
    /// Every kind of [`OpenErrorKind`](crate::OpenErrorKind). A restored directory is no error, see
    /// [`Store::restored`].
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
        let mut database = Database::load(&path).map_err(OpenError::of_database(dir))?;
        let epochs = epoch::load(&database)?;
        let elsewhere = options.key_elsewhere && options.key.is_some();
        let pull = options.restored == Some(RestoredAction::PullOwnLog);
        let Identity {
            key,
            guard,
            mut restored,
            left,
        } = Identity::establish(dir, &database, options, epochs)?;

        let epoch = Epoch::draw()?;
        epoch::start(&mut database, epoch, epochs)?;
        // Without it another process may have opened the directory.
        database.require(&dir.join(LOCK))?;
        if let Some(left) = left {
            database.leave_branches(&left.verifying_key())?;
            for author in database.own_authors()? {
                database.leave_branches(&author)?;
            }
            database.leave_own_authors()?;
            key::put_aside(dir, left, epoch)?;
        }
        if pull {
            let mut given_up = database.give_up_branches(&key.verifying_key())?;
            for author in database.own_authors()? {
                given_up.extend(database.give_up_branches(&author)?);
            }
            if let Some(restored) = &mut restored {
                restored.ahead.retain(|log, _| !given_up.contains(log));
            }
        }
        key::note(dir, &key, epoch, elsewhere)?;
        identity::keyed(&mut database, &key.verifying_key())?;
        let mut store = Store {
            database,
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
        self.database.put_note(PULLING, &[1])?;
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

    /// The database of the directory.
    pub fn database(&mut self) -> &mut Database {
        &mut self.database
    }

    /// Begins the next transaction, see [`Database::begin`].
    pub fn begin(&mut self, durability: Durability) -> Result<Tx<'_>, StoreError> {
        self.database.begin(durability)
    }

    /// Returns what opens readers, see [`Database::readers`].
    pub fn readers(&self) -> Readers {
        self.database.readers()
    }

    /// Returns what syncs commits, see [`Database::journal`].
    pub fn journal(&self) -> Journal {
        self.database.journal()
    }

    /// Closes the directory: numbers continue without a gap at the next open.
    pub fn close(mut self) -> Result<(), StoreError> {
        let own = self.database.own_heights(&self.key.verifying_key())?;
        if let (None, Some(guard)) = (&self.restored, &mut self.guard)
            && let Err(error) = guard.write(self.epoch, own)
        {
            tracing::warn!(%error, "guard file not written");
        }
        self.database.close()
    }

    fn write_guard(&mut self) -> Result<(), OpenError> {
        let own = self.database.own_heights(&self.key.verifying_key())?;
        match &mut self.guard {
            Some(guard) => guard.write(self.epoch, own),
            None => Ok(()),
        }
    }

    /// The directory is the newest copy: the guard file says so.
    fn settle_restored(&mut self) -> Result<(), OpenError> {
        self.write_guard()?;
        self.database.remove_note(PULLING)?;
        self.restored = None;
        Ok(())
    }
}

/// Only the owner may read the database: SQLite gives the files that it makes next to it the mode
/// of the database file, and keeps the mode of those that a crash left.
fn make_private(database: &Path) -> std::io::Result<()> {
    private::ensure(database)?;
    for companion in companions(database) {
        private::narrow(&companion);
    }
    Ok(())
}
