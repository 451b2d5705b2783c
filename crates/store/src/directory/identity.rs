//! Whose directory it is, and whether it is the newest copy (`docs/protocol/streams.md#16`,
//! layers a and b).

use std::collections::BTreeMap;
use std::path::Path;

use p2panda_core::{LogId, SigningKey, Topic, VerifyingKey};
use rusqlite::Connection;

use crate::database::meta::{Counters, Epochs, meta};
use crate::database::sql::Blob32;
use crate::directory::guard::{Guard, Memory, Restored, RestoredAction};
use crate::directory::key::{self, KeyFile};
use crate::directory::store::Options;
use crate::error::OpenError;

/// What was found out before anything is written for this open.
pub(crate) struct Identity {
    pub key: SigningKey,
    pub guard: Option<Guard>,
    pub restored: Option<Restored>,
}

impl Identity {
    /// Brings key file, database and guard file together. An open that crashed between them is
    /// completed, so that none of them lags two epochs behind.
    pub fn establish(
        dir: &Path,
        connection: &Connection,
        options: Options,
        epochs: Epochs,
        counters: Counters,
    ) -> Result<Identity, OpenError> {
        let key = match_key(dir, options.key, epochs, counters)?;
        let author = key.verifying_key();
        let own = own_heights(connection, &author)?;
        let Some(guard_dir) = options.guard_dir else {
            return Ok(Identity {
                key,
                guard: None,
                restored: None,
            });
        };
        let mut guard = Guard::new(&guard_dir, &author);
        let memory = guard.read()?;
        let restored = recognise(connection, memory.as_ref(), &own, epochs)?;
        if restored.is_some() && options.restored == Some(RestoredAction::NewIdentity) {
            let key = key::draw()?;
            let guard = Some(Guard::new(&guard_dir, &key.verifying_key()));
            return Ok(Identity {
                key,
                guard,
                restored: None,
            });
        }
        if restored.is_none() {
            confirm(&mut guard, memory.as_ref(), epochs, &own)?;
        }
        Ok(Identity {
            key,
            guard: Some(guard),
            restored,
        })
    }
}

/// The key in use: the given one, the stored one, or a new one for a new directory.
fn match_key(
    dir: &Path,
    given: Option<SigningKey>,
    epochs: Epochs,
    counters: Counters,
) -> Result<SigningKey, OpenError> {
    let path = dir.join(key::FILE);
    let found = key::read(&path)?;
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
            &path,
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
