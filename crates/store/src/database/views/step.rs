//! Steps of views (`docs/protocol/views.md#2`).

use rusqlite::OptionalExtension;

use crate::database::error::StoreError;
use crate::database::views::connection::{ViewTx, ViewWriter};
use crate::database::views::scope::Mode;
use crate::database::views::version::{Asked, mark_stopped};
use crate::database::views::{StopReason, ViewError, ViewKey, ViewStep, ViewStop};
use crate::database::writer::{Database, Durability};

/// Outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// This many more entries are applied; the rest of the step is to be done in the next one.
    Part(usize),
    /// All of it is.
    Done,
    /// The view is stopped. Everything before the entry that it did not come past is applied.
    Stopped(ViewStop),
    /// The version is no longer there, or not at the position that the step follows on.
    Gone,
}

impl Database {
    /// The next transaction of views.
    pub(crate) fn begin_views(&mut self, durability: Durability) -> Result<ViewTx<'_>, StoreError> {
        self.faults.begin()?;
        let path = self.path().to_path_buf();
        let writer = match &mut self.views {
            Some(writer) => writer,
            views => views.insert(ViewWriter::open(&path)?),
        };
        writer.begin(durability == Durability::Full)?;
        Ok(ViewTx {
            writer,
            presence: &mut self.presence,
            faults: &self.faults,
            written_bytes: &mut self.written_bytes,
        })
    }

    /// Applies a step from an entry on, until it is done or takes too long for one transaction.
    ///
    /// # Errors
    ///
    /// Only what passes: nothing of it is applied then, and it can be done again.
    pub fn step_view(
        &mut self,
        key: ViewKey,
        step: &ViewStep,
        from: usize,
    ) -> Result<StepEnd, StoreError> {
        let ended = self.try_step(key, step, from, usize::MAX);
        let (ended, bytes) = match ended {
            Ok(ended) => (ended, bytes_of(step)),
            Err(error) if error.is_retryable() => return Err(error),
            // The database is broken, or gone: the owner notices by itself.
            Err(error) => {
                let next = step.entries.get(from);
                let offset = next.map_or(step.until, |(offset, _)| *offset);
                let stop = ViewStop::new(offset, StopReason::Storage, &error);
                // If that cannot be stored either, it is found out again.
                let _ = self.stop_view(key, &stop);
                return Ok(StepEnd::Stopped(stop));
            }
        };
        self.written_bytes += bytes as u64;
        self.watch_journal();
        Ok(ended)
    }

    /// At most this many entries. What comes before an entry that fails is applied once more, without it.
    fn try_step(
        &mut self,
        key: ViewKey,
        step: &ViewStep,
        from: usize,
        entries_max: usize,
    ) -> Result<StepEnd, StoreError> {
        let mut tx = self.begin_views(Durability::Step)?;
        match tx.state(key)? {
            None => return Ok(StepEnd::Gone),
            Some((_, Some(stop))) => return Ok(StepEnd::Stopped(stop)),
            Some((at, None)) if at != position(step, from) => return Ok(StepEnd::Gone),
            Some(_) => {}
        }
        let mode = Mode::Step {
            prefix: key.prefix(),
            old: None,
        };
        let (applied, failed) = tx.apply(step, from, entries_max, mode)?;
        let Some(stop) = failed else {
            let is_done = from + applied >= step.entries.len();
            tx.advance(key, reached(step, from + applied), applied)?;
            tx.commit()?;
            return Ok(match is_done {
                true => StepEnd::Done,
                false => StepEnd::Part(applied),
            });
        };
        drop(tx);
        let mut tx = self.begin_views(Durability::Step)?;
        if applied > 0 {
            let mode = Mode::Step {
                prefix: key.prefix(),
                old: None,
            };
            let (again, failed) = tx.apply(step, from, applied, mode)?;
            if again < applied || failed.is_some() {
                // It was too slow this time: as much of it as there is, and the rest once more.
                if failed.is_none() && again > 0 {
                    tx.advance(key, reached(step, from + again), again)?;
                    tx.commit()?;
                    return Ok(StepEnd::Part(again));
                }
                drop(tx);
                tx = self.begin_views(Durability::Step)?;
            } else {
                tx.advance(key, reached(step, from + applied), applied)?;
            }
        }
        mark_stopped(tx.connection(), key, &stop)?;
        tx.commit()?;
        Ok(StepEnd::Stopped(stop))
    }

    /// Runs statements of the application that read the tables of the version before, in one
    /// transaction, for a version that is built.
    pub fn migrate_view(&mut self, key: ViewKey, step: &ViewStep) -> Asked<()> {
        let mut tx = self.begin_views(Durability::Full)?;
        let sql = "SELECT old.id FROM app_view old, app_view new WHERE new.id = ?1
            AND new.role = 1 AND old.name = new.name AND old.role = 0";
        let mut statement = tx.connection().prepare_cached(sql)?;
        let old = statement.query_row([key.0], |row| row.get(0).map(ViewKey));
        let old = old.optional()?;
        drop(statement);
        let Some(old) = old else {
            return Ok(Err(ViewError::Unknown));
        };
        let mode = Mode::Step {
            prefix: key.prefix(),
            old: Some(old.prefix()),
        };
        match tx.apply(step, 0, usize::MAX, mode)? {
            (_, Some(stop)) => Ok(Err(match stop.reason {
                StopReason::Forbidden => ViewError::Forbidden(stop.detail),
                StopReason::TooLong => ViewError::TooLong,
                _ => ViewError::Statement(stop.detail),
            })),
            (_, None) => {
                tx.commit()?;
                Ok(Ok(()))
            }
        }
    }
}

/// The position after this many entries of a step.
fn position(step: &ViewStep, entries: usize) -> u64 {
    let last = entries
        .checked_sub(1)
        .and_then(|last| step.entries.get(last));
    last.map_or(step.after, |(offset, _)| *offset)
}

/// The same when they are applied: behind the last one lies what has no entries.
fn reached(step: &ViewStep, entries: usize) -> u64 {
    match entries >= step.entries.len() {
        true => step.until,
        false => position(step, entries),
    }
}

fn bytes_of(step: &ViewStep) -> usize {
    let parameters = step
        .statements
        .iter()
        .flat_map(|statement| &statement.parameters);
    parameters.map(|parameter| parameter.bytes()).sum()
}
