//! The engine's own thread, and the queue in front of it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2panda_core::Timestamp;
use p2panda_core::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use thiserror::Error;

use crate::command::Command;
use crate::engine::{Committed, Corrupt, Engine, Now};

/// Reads the time.
pub type Clock = Box<dyn Fn() -> Now + Send>;

/// Called on the engine's thread after each commit. It must not block.
pub type OnCommit = Box<dyn FnMut(&Committed) + Send>;

/// Given back when the command it came with has been processed.
pub type Permit = Box<dyn Send>;

/// The engine has stopped: the command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// Where commands enter. Cheap to clone.
///
/// The queue itself has no bound: who sends acquires a permit first and sends it along
/// ([`Queue::send_with`]), so that there are never more commands than permits.
#[derive(Clone)]
pub struct Queue {
    sender: Sender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Mutex<Option<Arc<Corrupt>>>,
}

enum Message {
    Command(Command, Option<Permit>),
    Close,
}

/// Gives the engine a thread of its own.
pub fn spawn(engine: Engine, clock: Clock, on_commit: OnCommit) -> Queue {
    let (sender, receiver) = channel();
    let shared = Arc::new(Shared {
        thread: Mutex::new(None),
        failure: Mutex::new(None),
    });
    let inside = shared.clone();
    let run = move || {
        if let Err(error) = (Loop {
            engine,
            receiver,
            clock,
            on_commit,
        })
        .run()
        {
            tracing::error!(%error, "the engine has stopped");
            *lock(&inside.failure) = Some(Arc::new(error));
        }
    };
    let thread = std::thread::Builder::new()
        .name("p2panda-engine".into())
        .spawn(run);
    let thread = thread.expect("the system has room for one thread");
    *lock(&shared.thread) = Some(thread);
    Queue { sender, shared }
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

impl Queue {
    /// Hands over a command. Never blocks.
    pub fn send(&self, command: Command) -> Result<(), Stopped> {
        self.sender
            .send(Message::Command(command, None))
            .map_err(|_| Stopped)
    }

    /// Hands over a command with a permit, which is dropped when the command was processed.
    pub fn send_with(&self, command: Command, permit: Permit) -> Result<(), Stopped> {
        self.sender
            .send(Message::Command(command, Some(permit)))
            .map_err(|_| Stopped)
    }

    /// Processes what is queued, closes the directory and ends the thread. Blocks until then.
    /// Commands sent afterwards fail.
    ///
    /// # Errors
    ///
    /// What the engine failed with, now or earlier.
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

    /// Why the engine stopped, if it did by itself.
    pub fn failure(&self) -> Option<Arc<Corrupt>> {
        lock(&self.shared.failure).clone()
    }
}

struct Loop {
    engine: Engine,
    receiver: Receiver<Message>,
    clock: Clock,
    on_commit: OnCommit,
}

/// What is taken from the queue at once.
#[derive(Default)]
struct Taken {
    commands: Vec<Command>,
    permits: Vec<Permit>,
    operations: usize,
    bytes: usize,
    close: bool,
}

impl Loop {
    fn run(mut self) -> Result<(), Corrupt> {
        loop {
            let taken = self.take();
            let close = taken.close;
            let committed = self.engine.process(taken.commands, (self.clock)())?;
            (self.on_commit)(&committed);
            drop(taken.permits);
            if close {
                return self.engine.close();
            }
        }
    }

    /// Waits for a command or for what is due, then takes what is queued within the bounds of
    /// a batch, without waiting for more (`docs/protocol/streams.md#8`).
    fn take(&self) -> Taken {
        let mut taken = Taken::default();
        match self.wait() {
            Some(message) => taken.add(message),
            None => return taken,
        }
        while !taken.is_full() {
            match self.receiver.try_recv() {
                Ok(message) => taken.add(message),
                Err(_) => break,
            }
        }
        taken
    }

    /// The next message, or `None` when something is due.
    fn wait(&self) -> Option<Message> {
        let Some(wake) = self.engine.next_wake() else {
            // Nobody is left who could send: that is the end, too.
            return Some(self.receiver.recv().unwrap_or(Message::Close));
        };
        let wait_us = wake.saturating_sub((self.clock)().elapsed_us);
        match self.receiver.recv_timeout(Duration::from_micros(wait_us)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
        }
    }
}

impl Taken {
    fn add(&mut self, message: Message) {
        match message {
            Message::Command(command, permit) => {
                self.operations += command.operations();
                self.bytes += command.bytes();
                self.commands.push(command);
                self.permits.extend(permit);
            }
            Message::Close => self.close = true,
        }
    }

    fn is_full(&self) -> bool {
        self.close || self.operations >= BATCH_OPERATIONS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

/// A lock is never held while something can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
