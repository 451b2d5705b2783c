//! The engine itself: one transaction after the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::budget::Budget;
use p2panda_core::limits::{
    DEPENDENCY_WAIT, DEPENDENCY_WAIT_MAX, IDEMPOTENCY_WINDOW, OPERATION_BYTES_MAX_DEFAULT,
    OWN_LOG_WAIT, PRUNE_BYTES_MAX, PRUNE_ROWS_MAX, SPACE_PLAINTEXT_KEPT,
};
use p2panda_core::{SigningKey, Topic};
use p2panda_store::{
    Durability, Fault, Journal, OpenError, Readers, Restored, RestoredAction, Slice, Store,
    StoreError,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::again::{self, Again};
use crate::aging::Retention;
use crate::answer::{Committed, EngineEvent, RestoredError, StorageWait};
use crate::at_rest::{AtRest, Sealer};
use crate::authors::Authors;
use crate::batch::Batch;
use crate::command::Command;
use crate::drafted::DraftWork;
use crate::kept::Quotas;
use crate::now::{Now, micros};
use crate::state::{Limits, State};
use crate::turn::Turn;
use crate::views::ViewQueue;
use crate::{idle, pipeline};

/// Options of opening an engine.
pub struct Options {
    /// The signing key, if the caller has it; otherwise that of the directory, or a new one.
    pub key: Option<SigningKey>,
    /// The caller keeps the key, which is not written into the directory.
    pub key_elsewhere: bool,
    /// Directory of guard files (`$XDG_STATE_HOME/p2panda`). `None`: no guard file.
    pub guard_dir: Option<PathBuf>,
    /// Action to take if the directory turns out to be an older copy.
    pub restored: Option<RestoredAction>,
    /// Time for which an operation waits for a dependency that does not come
    /// (`docs/protocol/streams.md#6`).
    pub causal_wait: Duration,
    /// Time for which an operation waits in any case, also while sessions in catch-up go on.
    pub causal_wait_max: Duration,
    /// Time for which publishing waits for peers that claim to have more of our own log and do not
    /// show it, all of them together (`docs/protocol/streams.md#16`).
    pub own_log_wait: Duration,
    /// Time for which an idempotency key is remembered (`docs/protocol/streams.md#3`).
    pub idempotency_window: Duration,
    /// Bytes of header and body, frame included, that may be published.
    pub operation_bytes_max: usize,
    /// Time for which plaintext of the message scheme is kept
    /// (`docs/protocol/spaces-message.md#7`).
    pub plaintext_kept: Duration,
    /// Storage limits for the data of others (`docs/protocol/streams.md#21`).
    pub quotas: Quotas,
    /// Maximum age of content by other authors (`docs/protocol/streams.md#22`).
    pub retention: Retention,
    /// Memory that peers may make the node hold; early operations are charged to it.
    pub budget: Option<Budget>,
    /// Pruned operations that are deleted in one transaction. What is more goes in steps between
    /// the batches.
    pub prune_rows_max: usize,
    /// Source of the secret that opens what is sealed in the database.
    pub at_rest: AtRest,
    /// Source so far, if that changes with this open.
    pub at_rest_before: Option<AtRest>,
    /// `true` if the plaintext of messages of spaces is sealed in the database
    /// (`docs/protocol/at-rest.md#5`).
    pub seal_messages: bool,
    /// Seed of the random numbers. `None`: the system's generator.
    pub seed: Option<[u8; 32]>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            key: None,
            key_elsewhere: false,
            guard_dir: None,
            restored: None,
            causal_wait: DEPENDENCY_WAIT,
            causal_wait_max: DEPENDENCY_WAIT_MAX,
            own_log_wait: OWN_LOG_WAIT,
            idempotency_window: IDEMPOTENCY_WINDOW,
            operation_bytes_max: OPERATION_BYTES_MAX_DEFAULT,
            plaintext_kept: SPACE_PLAINTEXT_KEPT,
            quotas: Quotas::default(),
            retention: Retention::default(),
            budget: None,
            prune_rows_max: PRUNE_ROWS_MAX,
            at_rest: AtRest::default(),
            at_rest_before: None,
            seal_messages: false,
            seed: None,
        }
    }
}

/// Our own state broke, or the disk did. The engine has stopped; what was committed is safe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Corrupt {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was closed while nothing could be stored: what was queued is not stored.
    #[error("storing failed: {0}")]
    GivenUp(StorageWait),
    /// The engine stopped earlier.
    #[error("the engine has stopped")]
    Stopped,
}

impl Corrupt {
    /// Returns `true` if the same call may succeed later: another writer ends, or somebody makes
    /// room.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Corrupt::Store(error) if error.is_retryable())
    }
}

/// Asked for a command that has come since and may be part of a transaction of this durability.
pub(crate) type More<'a> = &'a mut dyn FnMut(Durability) -> Option<Command>;

/// Told of a commit before its commands are answered.
pub(crate) type Announce<'a> = &'a mut dyn FnMut(&Committed);

/// A batch that was taken back: nothing of it is stored, and memory is what it was.
pub(crate) struct Undone {
    pub error: StoreError,
    /// Its commands, in the order in which they were processed, with their replies.
    pub commands: Vec<Command>,
}

/// The one place where a node's data changes.
pub struct Engine {
    store: Store,
    state: State,
    stopped: bool,
    /// Events while opening, for the first batch to report.
    untold: Vec<EngineEvent>,
    /// Commands that come to nothing, since it has stopped. Who waits for them hears of it when the
    /// engine is dropped, and then finds out why.
    given_up: Vec<Command>,
    /// Answers that are true already, for the next commit to give.
    unanswered: Vec<Box<dyn FnOnce() + Send>>,
    /// Commands that wait for what is computed elsewhere, in order.
    postponed: BTreeMap<Topic, Vec<Command>>,
}

impl Engine {
    /// Opens a data directory, creates it if it is not there.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. An older copy of a directory opens, see [`Engine::restored`].
    pub fn open(dir: &Path, options: Options, now: Now) -> Result<Engine, OpenError> {
        let store_options = p2panda_store::Options {
            key: options.key,
            key_elsewhere: options.key_elsewhere,
            guard_dir: options.guard_dir,
            restored: options.restored,
        };
        let mut store = Store::open(dir, store_options)?;
        let limits = Limits {
            causal_wait_us: micros(options.causal_wait),
            causal_wait_max_us: micros(options.causal_wait_max),
            own_log_wait_us: micros(options.own_log_wait),
            operation_bytes_max: options.operation_bytes_max,
            quotas: options.quotas,
            retention: options.retention,
            idempotency_window_us: micros(options.idempotency_window),
            prune_slice: Slice {
                rows: options.prune_rows_max.max(1),
                bytes: PRUNE_BYTES_MAX,
            },
        };
        let seed = match options.seed {
            Some(seed) => Zeroizing::new(seed),
            None => p2panda_store::draw_secret()?,
        };
        let rng = ChaCha20Rng::from_seed(*seed);
        let mut state = State::new(store.signing_key().clone(), limits, options.budget, rng);
        state.spaces.expiry.kept_us = micros(options.plaintext_kept);
        let sources = (&options.at_rest, options.at_rest_before.as_ref());
        state.sealer = Sealer::open(dir, &mut store, sources)?;
        state.open_plaintexts(&mut store, options.seal_messages)?;
        let mut tx = store.begin(Durability::Normal)?;
        let author = state.author;
        state.spaces.load(&mut tx, &state.sealer, author)?;
        state.show_authors();
        state.load_waiting(&mut tx)?;
        let (operation_bytes_max, quotas) = (state.limits.operation_bytes_max, state.limits.quotas);
        tx.count_kept(quotas.is_any())?;
        state.blocked.open(&mut tx, operation_bytes_max, &quotas)?;
        tx.commit()?;
        idle::load(store.database(), &mut state, now.elapsed_us)?;
        let mut engine = Engine {
            store,
            state,
            stopped: false,
            untold: Vec::new(),
            given_up: Vec::new(),
            unanswered: Vec::new(),
            postponed: BTreeMap::new(),
        };
        // What waits for its order since before the restart gets its deadline now.
        engine.untold = engine
            .run(Vec::new(), &mut |_| None, &mut |_| (), now)
            .map_err(|undone| undone.error)?
            .events;
        Ok(engine)
    }

    /// Runs commands through the pipeline, in one transaction, and answers them after the
    /// commit. What is due by time is done as well.
    ///
    /// # Errors
    ///
    /// The database failed: nothing of the batch is stored, and replies are dropped uncalled. Unless
    /// the error is one that passes ([`Corrupt::is_retryable`]) the engine does nothing more.
    /// [`Lanes`](crate::Lanes) keep the commands and try again.
    pub fn process(&mut self, commands: Vec<Command>, now: Now) -> Result<Committed, Corrupt> {
        let processed = self.process_and_more(commands, &mut |_| None, &mut |_| (), now)?;
        Ok(processed.map_err(|undone| undone.error)?)
    }

    /// As [`Engine::process`]; before the commit `more` is asked again and again for commands that
    /// have come meanwhile and may be part of a transaction of this durability. A batch that failed
    /// for a reason that passes comes back.
    pub(crate) fn process_and_more(
        &mut self,
        commands: Vec<Command>,
        more: More<'_>,
        announce: Announce<'_>,
        now: Now,
    ) -> Result<Result<Committed, Undone>, Corrupt> {
        if self.stopped {
            return Err(Corrupt::Stopped);
        }
        self.stopped = true;
        let is_load = !commands.is_empty();
        let committed = match self.run(commands, more, announce, now) {
            Err(undone) if !undone.error.is_retryable() => {
                self.given_up = undone.commands;
                return Err(undone.error.into());
            }
            processed => processed,
        };
        if is_load && committed.is_ok() {
            let step =
                idle::step_under_load(self.store.database(), &mut self.state, now.elapsed_us);
            // What passes is no matter of the batch: the step is due again.
            step.or_else(|error| error.is_retryable().then_some(()).ok_or(error))?;
        }
        self.stopped = false;
        Ok(committed)
    }

    /// One bounded step of background work, in a transaction of its own, for when nothing is
    /// queued. Whether another one is due at once.
    ///
    /// # Errors
    ///
    /// As [`Engine::process`].
    pub fn idle(&mut self, now: Now) -> Result<bool, Corrupt> {
        if self.stopped {
            return Err(Corrupt::Stopped);
        }
        let step = idle::step(self.store.database(), &mut self.state, now.elapsed_us);
        self.stopped = step.as_ref().is_err_and(|error| !error.is_retryable());
        Ok(step?)
    }

    /// Does the next thing that views wait for. Views never stop the engine, no matter what fails.
    pub(crate) fn view_turn(&mut self, views: &mut ViewQueue, now: Now) {
        if self.stopped {
            return;
        }
        views.turn(self.store.database(), now);
        idle::old_views(self.store.database(), &mut self.state, now.elapsed_us);
    }

    /// Does what is due by time, and a step of background work.
    ///
    /// # Errors
    ///
    /// As [`Engine::process`].
    pub fn tick(&mut self, now: Now) -> Result<Committed, Corrupt> {
        let committed = self.process(Vec::new(), now)?;
        self.idle(now)?;
        Ok(committed)
    }

    /// Sets whether somebody does the work of [`Engine::take_work`] and hands in its results. At
    /// first nobody does, and what is sealed for many members is sealed between the commits.
    pub fn seal_elsewhere(&mut self, is_on: bool) {
        self.state.spaces.drafts.set(is_on);
    }

    /// Takes the work of sealing for many members, for a thread that does not write.
    pub fn take_work(&mut self) -> Vec<DraftWork> {
        self.state.spaces.drafts.take_work()
    }

    /// Commands that wait for such work, which nobody does any more.
    pub(crate) fn recall(&mut self) -> Vec<Command> {
        self.seal_elsewhere(false);
        let postponed = std::mem::take(&mut self.postponed);
        postponed.into_values().flatten().collect()
    }

    /// Returns the time at which [`Engine::tick`] has something to do, in elapsed microseconds.
    pub fn next_wake(&self) -> Option<u64> {
        self.state.next_wake()
    }

    /// Header and body bytes of operations that wait in memory for earlier ones of their log.
    pub fn early_bytes(&self) -> usize {
        self.state.early.bytes()
    }

    /// The node's signing key.
    pub fn signing_key(&self) -> &SigningKey {
        self.store.signing_key()
    }

    /// The authors that the node is: its node id, and its own keys of spaces.
    pub fn authors(&self) -> &Authors {
        &self.state.authors
    }

    /// Returns what opens readers of the directory.
    pub fn readers(&self) -> Readers {
        self.store.readers()
    }

    /// Returns what syncs commits of the directory that were made without.
    pub fn journal(&self) -> Journal {
        self.store.journal()
    }

    /// From now on the storage fails like this, until it does not: for tests and the simulation.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.store.database().set_fault(fault);
    }

    /// Set if the directory is an older copy and publishing is not possible yet.
    pub fn restored(&self) -> Option<&Restored> {
        self.store.restored()
    }

    /// Closes the directory. Dropping the engine instead is a crash: nothing is lost, numbers
    /// go on with a gap.
    pub fn close(self) -> Result<(), Corrupt> {
        Ok(self.store.close()?)
    }

    fn run(
        &mut self,
        commands: Vec<Command>,
        more: More<'_>,
        announce: Announce<'_>,
        now: Now,
    ) -> Result<Committed, Undone> {
        let (aside, commands) = commands
            .into_iter()
            .partition::<Vec<_>, _>(Command::is_aside);
        let mut released = Vec::new();
        for command in aside {
            match command {
                Command::Restored { action, reply } => {
                    let result = self.leave_restored(action);
                    self.unanswered.push(Box::new(move || reply(result)));
                }
                Command::Drafted(drafted) => {
                    let topic = drafted.topic();
                    self.state.spaces.drafted(*drafted, now.elapsed_us);
                    released.extend(self.postponed.remove(&topic).into_iter().flatten());
                }
                _ => {}
            }
        }
        released.extend(commands);
        let commands = released;
        self.state.restored = self.store.restored().cloned();
        let sync = commands
            .iter()
            .any(|command| command.must_sync(&self.state.authors))
            || self.state.holds_publishes()
            || self.state.spaces.publishes(now.elapsed_us);
        let durability = if sync {
            Durability::Full
        } else {
            Durability::Normal
        };
        let mut rest = commands.into_iter();
        let mut kept = Vec::with_capacity(rest.len());
        let joining = rest
            .by_ref()
            .chain(std::iter::from_fn(|| more(durability)))
            .map(|command| {
                let (command, again) = again::keep(command);
                kept.push(again);
                command
            });
        let mut batch = match self.transact(joining, durability, now) {
            Ok(batch) => batch,
            Err(error) => {
                let commands = kept.into_iter().map(|again: Again<Command>| again());
                let commands = commands.chain(rest).collect();
                return Err(Undone { error, commands });
            }
        };
        // Before anybody reads it from the store: a large operation is not in memory twice.
        drop(kept);
        self.state.settle();
        for (topic, command) in std::mem::take(&mut batch.postponed) {
            self.postponed.entry(topic).or_default().push(command);
        }
        self.follow_own_logs(&mut batch);
        let mut events = std::mem::take(&mut self.untold);
        events.append(&mut batch.events);
        batch.events = events;
        let mut answers = std::mem::take(&mut self.unanswered);
        answers.append(&mut batch.answers);
        let committed = batch.committed();
        announce(&committed);
        for answer in answers {
            answer();
        }
        Ok(committed)
    }

    /// One transaction, committed or taken back as a whole.
    fn transact(
        &mut self,
        commands: impl Iterator<Item = Command>,
        durability: Durability,
        now: Now,
    ) -> Result<Batch, StoreError> {
        let tx = self.store.begin(durability)?;
        let mut turn = Turn {
            state: &mut self.state,
            tx,
            batch: Batch::default(),
            now,
        };
        let run = || {
            turn.state.begin(&mut turn.tx)?;
            pipeline::run(&mut turn, commands)
        };
        let committed = run().and_then(|()| turn.commit());
        if committed.is_err() {
            self.state.take_back();
        }
        committed
    }

    fn leave_restored(&mut self, action: RestoredAction) -> Result<(), RestoredError> {
        match (self.store.restored(), action) {
            (None, _) => Err(RestoredError::NotRestored),
            (Some(_), RestoredAction::NewIdentity) => Err(RestoredError::NeedsOpen),
            (Some(_), RestoredAction::PullOwnLog) => Ok(self.store.pull_own_log()?),
        }
    }

    fn follow_own_logs(&mut self, batch: &mut Batch) {
        let own = batch.own_heights(&self.state.authors);
        if own.is_empty() {
            return;
        }
        let restored = self.store.restored().is_some();
        if let Err(error) = self.store.follow_own_logs(&own) {
            // The logs are back, only the file does not say so: the next open asks again.
            tracing::warn!(%error, "guard file not written");
        }
        if restored && self.store.restored().is_none() {
            batch.events.push(EngineEvent::OwnLogPulled);
        }
    }
}
