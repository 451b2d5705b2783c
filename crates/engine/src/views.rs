//! Steps of views: what the application's functions returned is applied between the batches, each time
//! in a transaction of its own (`docs/protocol/views.md#2`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use p2panda_core::limits::{STORAGE_RETRY_WAIT, STORAGE_RETRY_WAIT_MAX, VIEW_PAUSE_FACTOR};
use p2panda_store::{
    Asked, Database, OpenedView, StepEnd, StoreError, Swap, ViewDefinition, ViewKey, ViewStep,
    ViewStop,
};

use crate::now::{Now, micros};
use crate::reply::Reply;

/// A request to a view. It is never part of a batch.
#[non_exhaustive]
pub enum ViewCommand {
    /// Opens a version, makes it if it is new.
    Open {
        /// Definition of the view.
        definition: ViewDefinition,
        /// Its row and its position.
        reply: Reply<Asked<OpenedView>>,
    },
    /// Applies a part of the feed.
    Step {
        /// The version.
        key: ViewKey,
        /// Changes that follow from the entries.
        step: ViewStep,
        /// Called once, when all of it is applied or the version is stopped.
        reply: Reply<StepEnd>,
    },
    /// Lets a version answer that has caught up.
    Swap {
        /// The version.
        key: ViewKey,
        /// Result: whether it answers now.
        reply: Reply<Asked<Swap>>,
    },
    /// Notes that a version is stopped.
    Stop {
        /// The version.
        key: ViewKey,
        /// Reason for the stop.
        stop: ViewStop,
        /// Called when it is noted.
        reply: Reply<Asked<()>>,
    },
    /// Lets a stopped version continue.
    Resume {
        /// The version.
        key: ViewKey,
        /// `true` if it skips the entry at which it stopped.
        skip: bool,
        /// Its position.
        reply: Reply<Asked<u64>>,
    },
    /// Accepts a swap although the feed lacks something by now.
    AcceptLoss {
        /// The version that is built.
        key: ViewKey,
        /// Called when that is noted.
        reply: Reply<Asked<()>>,
    },
    /// Runs statements that read the tables of the version before.
    Migrate {
        /// The version that is built.
        key: ViewKey,
        /// The statements, as those of one entry.
        step: ViewStep,
        /// Called when it is done.
        reply: Reply<Asked<()>>,
    },
    /// Deletes a view.
    Delete {
        /// The name under which it is stored.
        name: String,
        /// Called when it is no longer there; its tables go in steps.
        reply: Reply<Asked<()>>,
    },
}

/// Requests that wait for their turn.
#[derive(Default)]
pub(crate) struct ViewQueue {
    waiting: VecDeque<Waiting>,
    /// While the storage takes nothing: when it is tried again, and how long it was waited for that.
    retry: Option<(u64, Duration)>,
    /// End of the last turn, and its duration.
    last: Option<(Instant, Duration)>,
}

struct Waiting {
    command: ViewCommand,
    /// Entries of a step that are applied.
    applied: usize,
}

impl ViewQueue {
    pub fn push(&mut self, command: ViewCommand) {
        let applied = 0;
        self.waiting.push_back(Waiting { command, applied });
    }

    /// Returns `true` if there is something to do at once.
    pub fn is_ready(&self) -> bool {
        !self.waiting.is_empty() && self.retry.is_none()
    }

    /// Returns the time at which it is tried again, if the storage took nothing.
    pub fn next_wake(&self) -> Option<u64> {
        let (retry_us, _) = self.retry?;
        (!self.waiting.is_empty()).then_some(retry_us)
    }

    pub fn is_due(&self, now_us: u64) -> bool {
        !self.waiting.is_empty() && self.retry.is_none_or(|(retry_us, _)| retry_us <= now_us)
    }

    /// Returns `true` if the batches had enough time since the last turn.
    pub fn may_step(&self) -> bool {
        self.last
            .is_none_or(|(end, took)| end.elapsed() >= took * VIEW_PAUSE_FACTOR)
    }

    /// Does the next thing. What the storage does not take at the moment stays, in its place.
    pub fn turn(&mut self, database: &mut Database, now: Now) {
        let Some(waiting) = self.waiting.pop_front() else {
            return;
        };
        let start = Instant::now();
        match run(waiting, database) {
            Ran::Done => self.retry = None,
            Ran::Part(waiting) => {
                self.retry = None;
                // The others have a turn before.
                self.waiting.push_back(waiting);
            }
            Ran::Passing(waiting) => {
                self.waiting.push_front(waiting);
                let wait = match self.retry {
                    None => STORAGE_RETRY_WAIT,
                    Some((_, wait)) => (wait * 2).min(STORAGE_RETRY_WAIT_MAX),
                };
                self.retry = Some((now.elapsed_us.saturating_add(micros(wait)), wait));
            }
        }
        self.last = Some((Instant::now(), start.elapsed()));
    }
}

enum Ran {
    Done,
    Part(Waiting),
    Passing(Waiting),
}

fn run(waiting: Waiting, database: &mut Database) -> Ran {
    let Waiting { command, applied } = waiting;
    let again = |command| Ran::Passing(Waiting { command, applied });
    match command {
        ViewCommand::Open { definition, reply } => {
            match settle(database.open_view(&definition), reply) {
                None => Ran::Done,
                Some(reply) => again(ViewCommand::Open { definition, reply }),
            }
        }
        ViewCommand::Step { key, step, reply } => match database.step_view(key, &step, applied) {
            Ok(StepEnd::Part(more)) => Ran::Part(Waiting {
                applied: applied + more,
                command: ViewCommand::Step { key, step, reply },
            }),
            Ok(end) => {
                reply(end);
                Ran::Done
            }
            Err(_) => again(ViewCommand::Step { key, step, reply }),
        },
        ViewCommand::Swap { key, reply } => match settle(database.swap_view(key), reply) {
            None => Ran::Done,
            Some(reply) => again(ViewCommand::Swap { key, reply }),
        },
        ViewCommand::Stop { key, stop, reply } => {
            match settle(database.stop_view(key, &stop), reply) {
                None => Ran::Done,
                Some(reply) => again(ViewCommand::Stop { key, stop, reply }),
            }
        }
        ViewCommand::Resume { key, skip, reply } => {
            match settle(database.resume_view(key, skip), reply) {
                None => Ran::Done,
                Some(reply) => again(ViewCommand::Resume { key, skip, reply }),
            }
        }
        ViewCommand::AcceptLoss { key, reply } => {
            match settle(database.accept_view_loss(key), reply) {
                None => Ran::Done,
                Some(reply) => again(ViewCommand::AcceptLoss { key, reply }),
            }
        }
        ViewCommand::Migrate { key, step, reply } => {
            match settle(database.migrate_view(key, &step), reply) {
                None => Ran::Done,
                Some(reply) => again(ViewCommand::Migrate { key, step, reply }),
            }
        }
        ViewCommand::Delete { name, reply } => match settle(database.delete_view(&name), reply) {
            None => Ran::Done,
            Some(reply) => again(ViewCommand::Delete { name, reply }),
        },
    }
}

/// Answers, unless it is to be tried again.
fn settle<T>(asked: Asked<T>, reply: Reply<Asked<T>>) -> Option<Reply<Asked<T>>> {
    if asked.as_ref().is_err_and(StoreError::is_retryable) {
        return Some(reply);
    }
    reply(asked);
    None
}
