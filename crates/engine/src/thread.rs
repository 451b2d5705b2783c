//! The engine's own thread, and the queue in front of it.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2panda_core::Timestamp;
use thiserror::Error;

use crate::answer::Committed;
use crate::command::Command;
use crate::engine::{Corrupt, Engine};
use crate::inbox::{Inbox, Message, Next};
use crate::lanes::Lanes;
use crate::now::{Now, micros};
use crate::views::ViewCommand;
use crate::workshop::Workshop;

/// Reads the time.
pub type Clock = Box<dyn Fn() -> Now + Send>;

/// Called on the engine's thread after each commit, before the answers. It must not block.
pub type OnCommit = Box<dyn FnMut(&Committed) + Send>;

/// Called once on the engine's thread when the engine stops by itself. It must not block.
pub type OnFailure = Box<dyn FnOnce(Arc<Corrupt>) + Send>;

/// The engine has stopped: the command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// The handle for sending commands. Cheap to clone.
///
/// The queue itself has no bound: the senders bound what is in flight, for each kind of command
/// (`docs/protocol/streams.md#8`).
#[derive(Clone)]
pub struct Handle {
    sender: Arc<Sender<Message>>,
    shared: Arc<Shared>,
}

struct Shared {
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Mutex<Option<Arc<Corrupt>>>,
}

/// Runs the engine on a separate thread.
pub fn spawn(engine: Engine, clock: Clock, on_commit: OnCommit) -> Handle {
    spawn_watched(engine, clock, on_commit, Box::new(|_| ()))
}

/// The same, with a callback for when the engine stops by itself.
pub fn spawn_watched(
    mut engine: Engine,
    clock: Clock,
    on_commit: OnCommit,
    on_failure: OnFailure,
) -> Handle {
    let (sender, receiver) = channel();
    let sender = Arc::new(sender);
    let workshop = Workshop::new(Arc::downgrade(&sender));
    engine.seal_elsewhere(true);
    let shared = Arc::new(Shared {
        thread: Mutex::new(None),
        failure: Mutex::new(None),
    });
    let inside = shared.clone();
    let run = move || {
        let mut running = Loop {
            inbox: Inbox::new(receiver),
            lanes: Lanes::new(engine.signing_key().verifying_key()),
            engine,
            workshop,
            clock,
            on_commit,
        };
        let ended = running.run();
        let Loop {
            engine,
            inbox,
            lanes,
            ..
        } = running;
        let (ended, engine) = match ended {
            Ok(()) => (close(engine), None),
            // To close it in order, the directory would have to be written.
            Err(error) => (Err(error), Some(engine)),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the engine has stopped");
            let error = Arc::new(error);
            *lock(&inside.failure) = Some(Arc::clone(&error));
            on_failure(error);
        }
        // Only now does who waits for an answer hear that there is none, and finds out why.
        drop((engine, lanes, inbox));
    };
    let thread = std::thread::Builder::new()
        .name("p2panda-engine".into())
        .spawn(run);
    let thread = thread.expect("the system has room for one thread");
    *lock(&shared.thread) = Some(thread);
    Handle { sender, shared }
}

/// The system's clocks.
pub fn system_clock() -> Clock {
    let start = Instant::now();
    Box::new(move || Now {
        wall: Timestamp::from_micros(micros(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )),
        elapsed_us: micros(start.elapsed()),
    })
}

impl Handle {
    /// Sends a command. Never blocks.
    pub fn send(&self, command: Command) -> Result<(), Stopped> {
        self.sender
            .send(Message::Command(command))
            .map_err(|_| Stopped)
    }

    /// Sends a request to a view. Never blocks. A request in flight when the engine is closed is not
    /// executed, and its reply is dropped.
    pub fn view(&self, command: ViewCommand) -> Result<(), Stopped> {
        self.sender
            .send(Message::View(command))
            .map_err(|_| Stopped)
    }

    /// Processes what is queued, closes the directory and ends the thread. Blocks until then.
    /// Commands sent afterwards fail.
    ///
    /// # Errors
    ///
    /// The error with which the engine failed, now or earlier.
    pub fn close(&self) -> Result<(), Arc<Corrupt>> {
        // If the thread has ended, there is nobody to tell.
        let _ = self.sender.send(Message::Close);
        if let Some(thread) = lock(&self.shared.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread panicked");
            return Err(Arc::new(Corrupt::Stopped));
        }
        self.failure().map_or(Ok(()), Err)
    }

    /// Returns why the engine stopped, if it did by itself.
    pub fn failure(&self) -> Option<Arc<Corrupt>> {
        lock(&self.shared.failure).clone()
    }
}

struct Loop {
    engine: Engine,
    inbox: Inbox,
    lanes: Lanes,
    workshop: Workshop,
    clock: Clock,
    on_commit: OnCommit,
}

impl Loop {
    /// Until it is closed, or something fails that does not pass.
    fn run(&mut self) -> Result<(), Corrupt> {
        while self.wait() != Next::Close {
            let inbox = &mut self.inbox;
            let mut refill = |lanes: &mut Lanes| inbox.take_all(lanes);
            let (engine, now) = (&mut self.engine, (self.clock)());
            self.lanes
                .process_and_refill(engine, &mut refill, &mut self.on_commit, now)?;
            for work in self.engine.take_work() {
                self.workshop.take(work);
            }
        }
        let (engine, now) = (&mut self.engine, (self.clock)());
        self.lanes.finish(engine, &mut self.on_commit, now)
    }

    fn wait(&mut self) -> Next {
        let (engine, clock) = (&self.engine, &self.clock);
        let until = |wake_us: u64| {
            let wait_us = wake_us.saturating_sub(clock().elapsed_us);
            Duration::from_micros(wait_us)
        };
        match self.lanes.next_wake() {
            Some(wake_us) => self.inbox.wait_out(&mut self.lanes, until(wake_us)),
            None => {
                let views_us = self.lanes.views_wake();
                let due = || engine.next_wake().into_iter().chain(views_us).min();
                self.inbox.wait(&mut self.lanes, || due().map(until))
            }
        }
    }
}

/// Closes the directory. What passes is not a failure: everything is stored, only numbers continue with a
/// gap.
fn close(engine: Engine) -> Result<(), Corrupt> {
    match engine.close() {
        Err(error) if error.is_retryable() => {
            tracing::warn!(%error, "the directory was not closed cleanly");
            Ok(())
        }
        closed => closed,
    }
}

/// A lock is never held while something can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
