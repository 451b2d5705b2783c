//! Long work in slices: jobs that run beside the batches, one bounded step at a time
//! (`docs/protocol/streams.md#2`).
//!
//! A job is a function that does one step, in a transaction of its own, and says whether more is
//! left. The engine runs a step whenever nothing is queued, and under load one per
//! [`BATCHES_PER_STEP_MAX`] batches or [`STEP_WAIT`]. Which steps are due is kept in memory only;
//! what is left to do is found in the store, so that a job goes on after a restart. Without work a
//! batch costs one comparison.

use p2panda_core::limits::{
    BATCHES_PER_STEP_MAX, BODIES_SCAN_STEP_ROWS_MAX, SHRINK_STEP_PAGES_MAX, SHRINK_WAIT, STEP_WAIT,
};
use p2panda_store::{Durability, Store, StoreError, Tx};

use crate::now::micros;
use crate::state::State;

/// What a step leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// More: the next step is due at once.
    More,
    /// Nothing can be done before so many microseconds have passed.
    Later(u64),
    /// Nothing, until the job is woken again.
    Nothing,
}

/// One bounded step: a few milliseconds, in a transaction of its own.
type Step = fn(&mut Store, &mut State) -> Result<Left, StoreError>;

/// What takes longer than a batch may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    /// Deletes what was pruned.
    Prune,
    /// Gives free pages of the database back to the file system, then empties the write-ahead
    /// log, so that what was deleted cannot be read in the files.
    Shrink,
    /// Looks for bodies that are missing among what an earlier version stored.
    Bodies,
}

/// All jobs, in the order of `Job`.
const JOBS: [Step; 3] = [prune, shrink, bodies];

/// When steps are due.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// By job: from when on its next step is due, in elapsed microseconds.
    due: [Option<u64>; JOBS.len()],
    /// The job that was served last.
    last: usize,
    /// Batches since the last step.
    batches: usize,
    /// When that was, and the time of the last batch.
    stepped_us: u64,
    now_us: u64,
}

impl Idle {
    /// There is something to do for a job, from a time on.
    pub fn wake(&mut self, job: Job, from_us: u64) {
        self.set(job as usize, from_us);
    }

    fn set(&mut self, job: usize, from_us: u64) {
        if let Some(due) = self.due.get_mut(job) {
            *due = Some(due.map_or(from_us, |due| due.min(from_us)));
        }
    }

    /// When the next step is due if no batch comes before.
    pub fn next_wake(&self) -> Option<u64> {
        let first = self.due.iter().flatten().min();
        first.map(|due| self.now_us.max(*due))
    }

    /// A batch is over: the job whose step is to be done now. After a batch without commands that is
    /// any that is due.
    fn next(&mut self, is_idle: bool, now_us: u64) -> Option<usize> {
        self.now_us = now_us;
        if self.due.iter().all(Option::is_none) {
            return None;
        }
        self.batches += 1;
        let waited_us = now_us.saturating_sub(self.stepped_us);
        if !is_idle && self.batches < BATCHES_PER_STEP_MAX && waited_us < micros(STEP_WAIT) {
            return None;
        }
        let mut turns = (1..=JOBS.len()).map(|n| (self.last + n) % JOBS.len());
        let is_due = |job: &usize| {
            let due = self.due.get(*job).copied().flatten();
            due.is_some_and(|due| due <= now_us)
        };
        let job = turns.find(is_due)?;
        (self.last, self.batches, self.stepped_us) = (job, 0, now_us);
        if let Some(due) = self.due.get_mut(job) {
            *due = None;
        }
        Some(job)
    }
}

/// Finds out what was left to do when the directory was closed.
pub(crate) fn load(store: &mut Store, state: &mut State, now_us: u64) -> Result<(), StoreError> {
    let tx = store.begin(Durability::Normal)?;
    let has_garbage = tx.has_garbage();
    tx.commit()?;
    if has_garbage {
        state.idle.wake(Job::Prune, now_us);
    }
    if has_garbage || store.has_remains()? {
        let wait_us = micros(SHRINK_WAIT);
        state.idle.wake(Job::Shrink, now_us.saturating_add(wait_us));
    }
    if store.has_unscanned_bodies()? {
        state.idle.wake(Job::Bodies, now_us);
    }
    Ok(())
}

/// Does a step if it is time for one.
pub(crate) fn work(
    store: &mut Store,
    state: &mut State,
    is_idle: bool,
    now_us: u64,
) -> Result<(), StoreError> {
    let Some(job) = state.idle.next(is_idle, now_us) else {
        return Ok(());
    };
    let Some(step) = JOBS.get(job) else {
        return Ok(());
    };
    match step(store, state)? {
        Left::More => state.idle.set(job, now_us),
        Left::Later(wait_us) => state.idle.set(job, now_us.saturating_add(wait_us)),
        Left::Nothing => {}
    }
    Ok(())
}

/// A batch pruned logs.
pub(crate) fn pruned(state: &mut State, tx: &Tx<'_>, now_us: u64) {
    if tx.has_garbage() {
        state.idle.wake(Job::Prune, now_us);
    }
    deleted(state, now_us);
}

/// A batch deleted what must not stay readable in the files.
pub(crate) fn deleted(state: &mut State, now_us: u64) {
    let shrink_us = now_us.saturating_add(micros(SHRINK_WAIT));
    state.idle.wake(Job::Shrink, shrink_us);
}

fn prune(store: &mut Store, state: &mut State) -> Result<Left, StoreError> {
    let mut tx = store.begin(Durability::Step)?;
    let more = tx.delete_garbage(state.limits.prune_slice)?;
    tx.commit()?;
    Ok(match more {
        true => Left::More,
        false => Left::Nothing,
    })
}

fn shrink(store: &mut Store, _state: &mut State) -> Result<Left, StoreError> {
    let mut tx = store.begin(Durability::Step)?;
    if tx.has_garbage() {
        // Pages that are free soon need not be moved.
        return Ok(Left::Later(micros(STEP_WAIT)));
    }
    let more = tx.give_back(SHRINK_STEP_PAGES_MAX)?;
    tx.commit()?;
    if more {
        return Ok(Left::More);
    }
    // A reader in the way is gone soon.
    Ok(match store.try_checkpoint()? {
        true => Left::Nothing,
        false => Left::Later(micros(STEP_WAIT)),
    })
}

fn bodies(store: &mut Store, _state: &mut State) -> Result<Left, StoreError> {
    let mut tx = store.begin(Durability::Normal)?;
    let more = tx.scan_bodies(BODIES_SCAN_STEP_ROWS_MAX)?;
    tx.commit()?;
    Ok(match more {
        true => Left::More,
        false => Left::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the job is served in so many batches, one each `batch_us`.
    fn steps(idle: &mut Idle, batches: u64, batch_us: u64, is_idle: bool) -> usize {
        let start = idle.now_us;
        let served = (1..=batches).filter(|n| {
            let now_us = start + n * batch_us;
            let job = idle.next(is_idle, now_us);
            job.inspect(|job| idle.set(*job, now_us)).is_some()
        });
        served.count()
    }

    #[test]
    fn with_nothing_to_do_there_is_no_wake_and_no_step() {
        let mut idle = Idle::default();
        assert_eq!(idle.next_wake(), None);
        assert_eq!(steps(&mut idle, 100, 1, true), 0);
    }

    #[test]
    fn a_step_is_due_whenever_nothing_is_queued() {
        let mut idle = Idle::default();
        idle.wake(Job::Shrink, 0);
        assert_eq!(idle.next_wake(), Some(0));
        assert_eq!(steps(&mut idle, 10, 1, true), 10);
        assert_eq!(idle.next_wake(), Some(10));
    }

    #[test]
    fn under_load_there_is_a_step_per_16_batches_or_per_second() {
        let mut idle = Idle::default();
        idle.wake(Job::Shrink, 0);
        assert_eq!(steps(&mut idle, 160, 10, false), 10);
        assert_eq!(steps(&mut idle, 30, 500_000, false), 15);
    }

    #[test]
    fn a_job_waits_for_its_time_and_then_runs_once() {
        let mut idle = Idle::default();
        idle.wake(Job::Shrink, 1_000);
        assert_eq!(idle.next_wake(), Some(1_000));
        assert_eq!(idle.next(true, 999), None);
        assert_eq!(idle.next(true, 1_000), Some(Job::Shrink as usize));
        assert_eq!(idle.next_wake(), None);
        assert_eq!(idle.next(true, 1_001), None);
    }
}
