//! Schedule of the steps of long work. That is kept in memory only; without work a batch costs one
//! comparison.

use p2panda_core::limits::{BATCHES_PER_STEP_MAX, STEP_WAIT};

use crate::now::micros;

/// Work that takes longer than a batch may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    /// Deletes what was pruned.
    Prune,
    /// Gives free pages of the database back to the file system, then empties the write-ahead
    /// log, so that what was deleted cannot be read in the files.
    Shrink,
    /// Looks for bodies that are missing among what an earlier version stored.
    Bodies,
    /// Deletes the tables of old versions of views.
    Views,
    /// Empties the write-ahead log, since a sealed row was forgotten.
    Forget,
    /// Seals the plaintext of messages that was stored before, or opens it.
    Plaintexts,
}

/// All jobs, in the order of their numbers.
const JOBS: [Job; 6] = [
    Job::Prune,
    Job::Shrink,
    Job::Bodies,
    Job::Views,
    Job::Forget,
    Job::Plaintexts,
];

/// Schedule of steps.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// By job: from when on its next step is due, in elapsed microseconds.
    due: [Option<u64>; JOBS.len()],
    /// The job that was served last.
    last: usize,
    /// Batches since the last step.
    batches: usize,
    /// Time of the last step, and of the last batch.
    stepped_us: u64,
    now_us: u64,
}

impl Schedule {
    /// There is something to do for a job, from a time on.
    pub fn wake(&mut self, job: Job, from_us: u64) {
        if let Some(due) = self.due.get_mut(job as usize) {
            *due = Some(due.map_or(from_us, |due| due.min(from_us)));
        }
    }

    /// Returns the time at which the next step is due if no batch comes before.
    pub fn next_wake(&self) -> Option<u64> {
        let first = self.due.iter().flatten().min();
        first.map(|due| self.now_us.max(*due))
    }

    /// Returns `true` if a step of a job is due.
    pub fn is_due(&self, now_us: u64) -> bool {
        self.due.iter().flatten().any(|due| *due <= now_us)
    }

    /// Nothing is queued: the job whose step is to be done now, if one is due.
    pub fn next_idle(&mut self, now_us: u64) -> Option<Job> {
        self.now_us = now_us;
        self.take(now_us)
    }

    /// A batch is over: the same, if the last step was enough batches or time ago.
    pub fn next_under_load(&mut self, now_us: u64) -> Option<Job> {
        self.now_us = now_us;
        if self.due.iter().all(Option::is_none) {
            return None;
        }
        self.batches += 1;
        let waited_us = now_us.saturating_sub(self.stepped_us);
        if self.batches < BATCHES_PER_STEP_MAX && waited_us < micros(STEP_WAIT) {
            return None;
        }
        self.take(now_us)
    }

    /// The jobs that are due, in turns.
    fn take(&mut self, now_us: u64) -> Option<Job> {
        let mut numbers = (1..=JOBS.len()).map(|n| (self.last + n) % JOBS.len());
        let is_due = |number: &usize| {
            let due = self.due.get(*number).copied().flatten();
            due.is_some_and(|due| due <= now_us)
        };
        let number = numbers.find(is_due)?;
        (self.last, self.batches, self.stepped_us) = (number, 0, now_us);
        if let Some(due) = self.due.get_mut(number) {
            *due = None;
        }
        JOBS.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the steps of the job in this many batches, one each `batch_us`.
    fn steps(schedule: &mut Schedule, batches: u64, batch_us: u64, is_idle: bool) -> usize {
        let start = schedule.now_us;
        let served = (1..=batches).filter(|n| {
            let now_us = start + n * batch_us;
            let job = match is_idle {
                true => schedule.next_idle(now_us),
                false => schedule.next_under_load(now_us),
            };
            job.inspect(|job| schedule.wake(*job, now_us)).is_some()
        });
        served.count()
    }

    #[test]
    fn with_nothing_to_do_there_is_no_wake_and_no_step() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next_wake(), None);
        assert_eq!(steps(&mut schedule, 100, 1, true), 0);
    }

    #[test]
    fn a_step_is_due_whenever_nothing_is_queued() {
        let mut schedule = Schedule::default();
        schedule.wake(Job::Shrink, 0);
        assert_eq!(schedule.next_wake(), Some(0));
        assert_eq!(steps(&mut schedule, 10, 1, true), 10);
        assert_eq!(schedule.next_wake(), Some(10));
    }

    #[test]
    fn under_load_there_is_a_step_per_16_batches_or_per_second() {
        let mut schedule = Schedule::default();
        schedule.wake(Job::Shrink, 0);
        assert_eq!(steps(&mut schedule, 160, 10, false), 10);
        assert_eq!(steps(&mut schedule, 30, 500_000, false), 15);
    }

    #[test]
    fn a_job_waits_for_its_time_and_then_runs_once() {
        let mut schedule = Schedule::default();
        schedule.wake(Job::Shrink, 1_000);
        assert_eq!(schedule.next_wake(), Some(1_000));
        assert_eq!(schedule.next_idle(999), None);
        assert_eq!(schedule.next_idle(1_000), Some(Job::Shrink));
        assert_eq!(schedule.next_wake(), None);
        assert_eq!(schedule.next_idle(1_001), None);
    }
}
