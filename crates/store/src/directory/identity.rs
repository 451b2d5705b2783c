//! Identity of a directory, and whether it is the newest copy (`docs/protocol/streams.md#16`,
//! layers a and b).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use p2panda_core::{LogId, SigningKey, VerifyingKey};

use crate::database::writer::Database;
use crate::directory::epoch::Epochs;
use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::guard::{Guard, Memory, Restored, RestoredAction};
use crate::directory::key;
use crate::error::ErrorOf;

/// Noted in the database while our own logs are pulled into a restored directory.
pub(crate) const PULLING: &str = "pulling";

/// Stored in the database once its key file is written: the node id, or a single byte in older
/// databases.
const KEYED: &str = "keyed";

/// Options of opening a directory.
#[derive(Default)]
pub struct Options {
    /// The signing key, if the caller has it. Otherwise it is read from the key file, or drawn
    /// for a new directory.
    pub key: Option<SigningKey>,
    /// The caller keeps the key, which is not written into the directory; the file `node.epoch`
    /// holds the epoch of each open.
    pub key_elsewhere: bool,
    /// Directory of guard files, one per identity, outside of the data directory. `None`: no
    /// guard, for throw-away nodes.
    pub guard_dir: Option<PathBuf>,
    /// Action to take if the directory turns out to be an old copy or in use twice, or a new
    /// identity for a database whose key is lost. It has no effect otherwise.
    pub restored: Option<RestoredAction>,
}

/// Findings before anything is written for this open.
pub(crate) struct Identity {
    pub key: SigningKey,
    pub guard: Option<Guard>,
    pub restored: Option<Restored>,
    /// The key whose place a new one takes.
    pub left: Option<SigningKey>,
}

impl Identity {
    /// Brings key file, database and guard file together. An open that crashed between them is
    /// completed, so that none of them lags two epochs behind.
    pub fn establish(
        dir: &Path,
        database: &Database,
        options: Options,
        epochs: Epochs,
    ) -> Result<Identity, OpenError> {
        let anew = options.restored == Some(RestoredAction::NewIdentity);
        let elsewhere = options.key_elsewhere && options.key.is_some();
        let given = (options.key.clone(), elsewhere);
        let key = match_key(dir, database, given, (epochs, anew))?;
        let author = key.verifying_key();
        let own = database.own_heights(&author)?;
        let new_guard = |key: &VerifyingKey| {
            let dir = options.guard_dir.as_ref();
            dir.map(|dir| Guard::new(dir, key))
        };
        let mut guard = new_guard(&author);
        let memory = match &mut guard {
            Some(guard) => guard.read()?,
            None => None,
        };
        let restored = recognise(database, memory.as_ref(), &own, epochs)?;
        if anew && (restored.is_some() || is_forked(database, &author)?) {
            if elsewhere {
                let dir = dir.to_path_buf();
                return Err(ErrorOf::new(OpenErrorKind::KeyElsewhere { dir }));
            }
            let new = key::draw()?;
            return Ok(Identity {
                guard: new_guard(&new.verifying_key()),
                key: new,
                restored: None,
                left: Some(key),
            });
        }
        if let (None, Some(guard)) = (&restored, &mut guard) {
            confirm(guard, memory.as_ref(), epochs, &own)?;
        }
        Ok(Identity {
            key,
            guard,
            restored,
            left: None,
        })
    }
}

/// Returns `true` if a copy of the directory published to a log of the node.
fn is_forked(database: &Database, node: &VerifyingKey) -> Result<bool, OpenError> {
    let mut own = database.own_authors()?;
    own.push(*node);
    for author in own {
        if database.is_forked(&author)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key in use: the given one, the stored one, or a new one for a new directory.
fn match_key(
    dir: &Path,
    database: &Database,
    (given, elsewhere): (Option<SigningKey>, bool),
    (epochs, anew): (Epochs, bool),
) -> Result<SigningKey, OpenError> {
    let other = || {
        ErrorOf::new(OpenErrorKind::OtherKey {
            dir: dir.to_path_buf(),
        })
    };
    let Some(found) = key::kept(dir, elsewhere)? else {
        // A new directory, a crash between the first two writes of its first open, or a key that was
        // kept in the directory before.
        return match given {
            Some(key) => match elsewhere && is_of_another(database, &key)? {
                true => Err(other()),
                false => Ok(key),
            },
            None if anew || !had_key(database, epochs)? => key::draw(),
            None => Err(ErrorOf::new(OpenErrorKind::KeyMissing {
                dir: dir.to_path_buf(),
            })),
        };
    };
    let mixed = || {
        ErrorOf::new(OpenErrorKind::Mixed {
            dir: dir.to_path_buf(),
        })
    };
    let (current, previous) = epochs.ok_or_else(mixed)?;
    let key = match (given, found.key) {
        (Some(key), _) if key.verifying_key() != found.node => return Err(other()),
        (Some(key), _) | (None, Some(key)) => key,
        // The caller passed the key.
        (None, None) => return Err(other()),
    };
    if Some(found.epoch) == previous {
        // A crash came between database and key file: complete that open first.
        key::note(dir, &key, current, elsewhere)?;
    } else if found.epoch != current {
        return Err(mixed());
    }
    Ok(key)
}

/// Returns `true` if the database says that it was opened with a key other than this one.
fn is_of_another(database: &Database, key: &SigningKey) -> Result<bool, OpenError> {
    let noted = database.note(KEYED)?;
    let noted = noted.filter(|noted| noted.len() == key.verifying_key().as_bytes().len());
    Ok(noted.is_some_and(|noted| noted != key.verifying_key().as_bytes()))
}

/// Returns `true` if the database was open with a key file next to it.
fn had_key(database: &Database, epochs: Epochs) -> Result<bool, OpenError> {
    let opened_again = epochs.is_some_and(|(_, previous)| previous.is_some());
    Ok(opened_again || database.was_used() || database.note(KEYED)?.is_some())
}

/// Stores that there is a key, and its node id.
pub(crate) fn keyed(database: &mut Database, node: &VerifyingKey) -> Result<(), OpenError> {
    if database.note(KEYED)?.as_deref() != Some(node.as_bytes()) {
        database.put_note(KEYED, node.as_bytes())?;
    }
    Ok(())
}

/// Completes the guard file of an open that crashed.
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
    database: &Database,
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
    let pulling = database.note(PULLING)?.is_some();
    Ok(Some(Restored { ahead, pulling }))
}
