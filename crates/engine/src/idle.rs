//! Long work in slices: jobs that run next to the batches, one bounded step at a time
//! (`docs/protocol/streams.md#2`).
//!
//! A job is a function that does one step, in a transaction of its own, and says whether more is
//! left. The engine runs a step whenever nothing is queued, and under load one per
//! [`BATCHES_PER_STEP_MAX`](p2panda_core::limits::BATCHES_PER_STEP_MAX) batches or [`STEP_WAIT`].
//! What is left to do is found in the database, so that a job continues after a restart.

use p2panda_core::limits::{
    BODIES_SCAN_STEP_ROWS_MAX, FORGET_WAIT, PLAINTEXTS_STEP_ROWS_MAX, PRUNE_BYTES_MAX,
    SHRINK_STEP_PAGES_MAX, SHRINK_WAIT, STEP_WAIT,
};
use p2panda_store::{Database, Durability, Slice, StoreError};

use crate::now::micros;
use crate::schedule::Job;
use crate::state::State;
use crate::turn::Turn;

/// Result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// More: the next step is due at once.
    More,
    /// Nothing can be done before this many microseconds have passed.
    Later(u64),
    /// Nothing, until the job is woken again.
    Nothing,
}

/// Finds out what was left to do when the directory was closed.
pub(crate) fn load(
    database: &mut Database,
    state: &mut State,
    now_us: u64,
) -> Result<(), StoreError> {
    let tx = database.begin(Durability::Normal)?;
    let has_garbage = tx.has_garbage();
    tx.commit()?;
    if has_garbage {
        state.schedule.wake(Job::Prune, now_us);
    }
    if has_garbage || database.has_remains()? {
        let wait_us = micros(SHRINK_WAIT);
        state
            .schedule
            .wake(Job::Shrink, now_us.saturating_add(wait_us));
        forget(state, now_us);
    }
    if database.has_unscanned_bodies()? {
        state.schedule.wake(Job::Bodies, now_us);
    }
    if database.has_other_plaintexts()? {
        state.schedule.wake(Job::Plaintexts, now_us);
    }
    old_views(database, state, now_us);
    Ok(())
}

/// Does a step if one is due, since nothing else is to be done. Whether another one is due at once.
pub(crate) fn step(
    database: &mut Database,
    state: &mut State,
    now_us: u64,
) -> Result<bool, StoreError> {
    let Some(job) = state.schedule.next_idle(now_us) else {
        return Ok(false);
    };
    run(job, database, state, now_us)?;
    Ok(state.schedule.is_due(now_us))
}

/// Does a step after a batch, if the last one was long enough ago.
pub(crate) fn step_under_load(
    database: &mut Database,
    state: &mut State,
    now_us: u64,
) -> Result<(), StoreError> {
    match state.schedule.next_under_load(now_us) {
        Some(job) => run(job, database, state, now_us),
        None => Ok(()),
    }
}

/// One bounded step: a few milliseconds, in a transaction of its own.
fn run(
    job: Job,
    database: &mut Database,
    state: &mut State,
    now_us: u64,
) -> Result<(), StoreError> {
    let left = match job {
        Job::Prune => prune(database, state.limits.prune_slice),
        Job::Shrink => shrink(database),
        Job::Bodies => bodies(database),
        Job::Views => views(database),
        Job::Forget => empty_journal(database),
        Job::Plaintexts => plaintexts(database),
    };
    let schedule = &mut state.schedule;
    let left = left.inspect_err(|_| {
        // What is left to do is in the database, no matter what failed.
        schedule.wake(job, now_us.saturating_add(micros(STEP_WAIT)));
    })?;
    match left {
        Left::More => schedule.wake(job, now_us),
        Left::Later(wait_us) => schedule.wake(job, now_us.saturating_add(wait_us)),
        Left::Nothing if job == Job::Views => {
            schedule.wake(Job::Shrink, now_us.saturating_add(micros(SHRINK_WAIT)));
        }
        Left::Nothing if job == Job::Plaintexts => forget(state, now_us),
        Left::Nothing => {}
    }
    Ok(())
}

/// Tables of old versions of views are deleted next to the batches, if there are any.
pub(crate) fn old_views(database: &Database, state: &mut State, now_us: u64) {
    if database.has_old_views() {
        state.schedule.wake(Job::Views, now_us);
    }
}

/// A batch pruned logs.
pub(crate) fn pruned(turn: &mut Turn<'_>) {
    if turn.tx.has_garbage() {
        let now_us = turn.now.elapsed_us;
        turn.state.schedule.wake(Job::Prune, now_us);
    }
    deleted(turn);
}

/// A batch deleted what must not stay readable in the files.
pub(crate) fn deleted(turn: &mut Turn<'_>) {
    let shrink_us = turn.now.elapsed_us.saturating_add(micros(SHRINK_WAIT));
    turn.state.schedule.wake(Job::Shrink, shrink_us);
}

/// A batch forgot a sealed row (`docs/protocol/at-rest.md#4`).
pub(crate) fn forget(state: &mut State, now_us: u64) {
    let from_us = now_us.saturating_add(micros(FORGET_WAIT));
    state.schedule.wake(Job::Forget, from_us);
}

fn empty_journal(database: &mut Database) -> Result<Left, StoreError> {
    // A reader in the way is gone soon.
    Ok(match database.try_checkpoint()? {
        true => Left::Nothing,
        false => Left::Later(micros(STEP_WAIT)),
    })
}

fn prune(database: &mut Database, slice: Slice) -> Result<Left, StoreError> {
    let mut tx = database.begin(Durability::Step)?;
    let more = tx.delete_garbage(slice)?;
    tx.commit()?;
    Ok(match more {
        true => Left::More,
        false => Left::Nothing,
    })
}

fn shrink(database: &mut Database) -> Result<Left, StoreError> {
    let mut tx = database.begin(Durability::Step)?;
    if tx.has_garbage() {
        // Pages that are free soon need not be moved.
        return Ok(Left::Later(micros(STEP_WAIT)));
    }
    let more = tx.give_back(SHRINK_STEP_PAGES_MAX)?;
    tx.commit()?;
    if more {
        return Ok(Left::More);
    }
    empty_journal(database)
}

/// Views never stop the engine: if their tables are damaged, they stay.
fn views(database: &mut Database) -> Result<Left, StoreError> {
    match database.delete_old_views() {
        Ok(true) => Ok(Left::More),
        Ok(false) => Ok(Left::Nothing),
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the tables of an old view could not be deleted");
            Ok(Left::Nothing)
        }
    }
}

fn plaintexts(database: &mut Database) -> Result<Left, StoreError> {
    let mut tx = database.begin(Durability::Step)?;
    let more = tx.restore_plaintexts(Slice {
        rows: PLAINTEXTS_STEP_ROWS_MAX,
        bytes: PRUNE_BYTES_MAX,
    })?;
    tx.commit()?;
    Ok(match more {
        true => Left::More,
        false => Left::Nothing,
    })
}

fn bodies(database: &mut Database) -> Result<Left, StoreError> {
    let mut tx = database.begin(Durability::Normal)?;
    let more = tx.scan_bodies(BODIES_SCAN_STEP_ROWS_MAX)?;
    tx.commit()?;
    Ok(match more {
        true => Left::More,
        false => Left::Nothing,
    })
}
