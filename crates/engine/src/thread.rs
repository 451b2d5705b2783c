//! The engine's own thread, and the queue in front of it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use p2panda_core::limits::{BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX};
use p2panda_core::{Timestamp, VerifyingKey};
use p2panda_store::Durability;
use thiserror::Error;

use crate::command::Command;
use crate::engine::{Committed, Corrupt, Engine, Now, is_aside};

/// Reads the time.
pub type Clock = Box<dyn Fn() -> Now + Send>;

/// Called on the engine's thread after each commit, before the answers. It must not block.
pub type OnCommit = Box<dyn FnMut(&Committed) + Send>;

/// Given back when the command it came with has been processed.
pub type Permit = Box<dyn Send>;

/// How long the engine stays awake after a batch.
const LOOK: Duration = Duration::from_micros(50);

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
            author: engine.signing_key().verifying_key(),
            engine,
            inbox: Inbox {
                receiver,
                held: None,
            },
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
    author: VerifyingKey,
    engine: Engine,
    inbox: Inbox,
    clock: Clock,
    on_commit: OnCommit,
}

struct Inbox {
    receiver: Receiver<Message>,
    /// Received, and not fit for the batch that was under way.
    held: Option<Message>,
}

/// What is taken from the queue for one batch.
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
            let mut taken = self.take();
            let commands = std::mem::take(&mut taken.commands);
            let (inbox, author) = (&mut self.inbox, &self.author);
            // Whoever was answered after the last commit may have sent the next command while the
            // first ones of this batch were processed.
            let mut more = |durability| {
                let fits = |command: &Command| {
                    let synced = durability == Durability::Full;
                    !is_aside(command) && (synced || !command.must_sync(author))
                };
                if taken.is_full() {
                    return None;
                }
                let (command, permit) = inbox.next_if(fits)?;
                taken.count(&command, permit);
                Some(command)
            };
            let now = (self.clock)();
            self.engine
                .process_and_more(commands, &mut more, &mut self.on_commit, now)?;
            let close = taken.close;
            drop(taken.permits);
            if close {
                return self.engine.close();
            }
        }
    }

    /// Waits for a command or for what is due, then takes what is queued within the bounds of
    /// a batch, without waiting for more (`docs/protocol/streams.md#8`).
    fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        match self.wait() {
            Some(message) => taken.add(message),
            None => return taken,
        }
        while !taken.is_full()
            && let Some(message) = self.inbox.queued()
        {
            taken.add(message);
        }
        taken
    }

    /// The next message, or `None` when something is due.
    fn wait(&mut self) -> Option<Message> {
        if let Some(message) = self.inbox.look() {
            return Some(message);
        }
        let receiver = &self.inbox.receiver;
        let Some(wake) = self.engine.next_wake() else {
            // Nobody is left who could send: that is the end, too.
            return Some(receiver.recv().unwrap_or(Message::Close));
        };
        let wait_us = wake.saturating_sub((self.clock)().elapsed_us);
        match receiver.recv_timeout(Duration::from_micros(wait_us)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Close),
        }
    }
}

impl Inbox {
    /// What comes within a moment: whoever was answered may send the next command at once, and to
    /// fall asleep and be woken takes longer than that. Other threads go first meanwhile.
    fn look(&mut self) -> Option<Message> {
        let start = Instant::now();
        loop {
            let message = self.queued();
            if message.is_some() || start.elapsed() >= LOOK {
                return message;
            }
            std::thread::yield_now();
        }
    }

    /// What is queued already.
    fn queued(&mut self) -> Option<Message> {
        self.held.take().or_else(|| self.receiver.try_recv().ok())
    }

    /// A command that is queued by now and fits. The first one that does not is held, and nothing
    /// behind it passes.
    fn next_if(
        &mut self,
        fits: impl FnOnce(&Command) -> bool,
    ) -> Option<(Command, Option<Permit>)> {
        if self.held.is_some() {
            return None;
        }
        match self.queued()? {
            Message::Command(command, permit) if fits(&command) => Some((command, permit)),
            other => {
                self.held = Some(other);
                None
            }
        }
    }
}

impl Taken {
    fn add(&mut self, message: Message) {
        match message {
            Message::Command(command, permit) => {
                self.count(&command, permit);
                self.commands.push(command);
            }
            Message::Close => self.close = true,
        }
    }

    fn count(&mut self, command: &Command, permit: Option<Permit>) {
        self.operations += command.operations();
        self.bytes += command.bytes();
        self.permits.extend(permit);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::Topic;

    use super::*;

    fn inbox(commands: impl IntoIterator<Item = Command>) -> Inbox {
        let (sender, receiver) = channel();
        for command in commands {
            sender.send(Message::Command(command, None)).unwrap();
        }
        Inbox {
            receiver,
            held: None,
        }
    }

    fn publish() -> Command {
        Command::Publish {
            topic: Topic::from_bytes([1; 32]),
            body: None,
            prune: false,
            reply: Box::new(|_| ()),
        }
    }

    fn ended() -> Command {
        let topic = Topic::from_bytes([1; 32]);
        Command::ImportEnded { topic, import: 0 }
    }

    #[test]
    fn what_does_not_fit_a_batch_is_held_and_nothing_passes_it() {
        let mut inbox = inbox([ended(), publish(), ended()]);
        let unsynced = |command: &Command| !matches!(command, Command::Publish { .. });
        assert!(inbox.next_if(unsynced).is_some());
        assert!(inbox.next_if(unsynced).is_none());
        assert!(matches!(
            inbox.held,
            Some(Message::Command(Command::Publish { .. }, None))
        ));
        assert!(inbox.next_if(|_| true).is_none());
    }

    #[test]
    fn a_close_joins_no_batch_and_is_not_lost() {
        let (sender, receiver) = channel();
        sender.send(Message::Close).unwrap();
        let mut inbox = Inbox {
            receiver,
            held: None,
        };
        assert!(inbox.next_if(|_| true).is_none());
        assert!(matches!(inbox.held, Some(Message::Close)));
    }

    #[test]
    fn an_empty_queue_holds_up_no_batch() {
        assert!(inbox([]).next_if(|_| true).is_none());
    }
}
