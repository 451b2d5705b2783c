//! The channel to the engine's thread, in front of the lanes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use p2panda_core::limits::ENGINE_AWAKE_MAX;

use crate::command::Command;
use crate::lanes::Lanes;
use crate::views::ViewCommand;

pub(crate) enum Message {
    Command(Command),
    View(ViewCommand),
    Close,
}

/// The receiving end of the queue.
pub(crate) struct Inbox {
    receiver: Receiver<Message>,
    closed: bool,
}

/// Next action of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Something is queued.
    Batch,
    /// Work that is due by time.
    Tick,
    Close,
}

impl Inbox {
    pub(crate) fn new(receiver: Receiver<Message>) -> Inbox {
        Inbox {
            receiver,
            closed: false,
        }
    }

    /// Waits for a command, at most until something is due.
    pub(crate) fn wait(
        &mut self,
        lanes: &mut Lanes,
        due: impl FnOnce() -> Option<Duration>,
    ) -> Next {
        if !self.look(lanes) {
            match due().map(|wait| self.receiver.recv_timeout(wait)) {
                None => match self.receiver.recv() {
                    Ok(message) => self.sort(message, lanes),
                    // Nobody is left who could send: that is the end, too.
                    Err(_) => self.closed = true,
                },
                Some(Ok(message)) => self.sort(message, lanes),
                Some(Err(RecvTimeoutError::Timeout)) => return Next::Tick,
                Some(Err(RecvTimeoutError::Disconnected)) => self.closed = true,
            }
        }
        match lanes.is_empty() {
            // Only then: what was queued before the close is processed.
            true => Next::Close,
            false => Next::Batch,
        }
    }

    /// Waits until it is time, or something comes, no matter what is in the lanes.
    pub(crate) fn wait_out(&mut self, lanes: &mut Lanes, time: Duration) -> Next {
        if !self.closed {
            match self.receiver.recv_timeout(time) {
                Ok(message) => self.sort(message, lanes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
        }
        self.take_all(lanes);
        match self.closed {
            true => Next::Close,
            false => Next::Batch,
        }
    }

    /// Puts what has come into the lanes.
    pub(crate) fn take_all(&mut self, lanes: &mut Lanes) {
        while !self.closed
            && let Ok(message) = self.receiver.try_recv()
        {
            self.sort(message, lanes);
        }
    }

    /// Looks for commands that come within a moment: anyone who was answered may send the next
    /// command at once, and to fall asleep and be woken takes longer than that. Other threads go
    /// first meanwhile.
    fn look(&mut self, lanes: &mut Lanes) -> bool {
        let start = Instant::now();
        loop {
            self.take_all(lanes);
            if self.closed || !lanes.is_empty() {
                return true;
            }
            if start.elapsed() >= ENGINE_AWAKE_MAX {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn sort(&mut self, message: Message, lanes: &mut Lanes) {
        match message {
            Message::Command(command) => lanes.push(command),
            Message::View(command) => lanes.push_view(command),
            Message::Close => self.closed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use p2panda_core::{SigningKey, Topic};

    use super::*;

    fn lanes() -> Lanes {
        Lanes::new(SigningKey::from_bytes(&[1; 32]).verifying_key())
    }

    fn ended() -> Message {
        let (topic, import) = (Topic::from_bytes([1; 32]), 0);
        Message::Command(Command::ImportEnded { topic, import })
    }

    #[test]
    fn a_close_ends_the_queue_behind_what_was_queued() {
        let (sender, receiver) = channel();
        let (mut inbox, mut lanes) = (Inbox::new(receiver), lanes());
        for message in [ended(), Message::Close, ended()] {
            sender.send(message).unwrap();
        }
        assert_eq!(inbox.wait(&mut lanes, || None), Next::Batch);
        assert_eq!(lanes.len(), 1);
        lanes = self::lanes();
        assert_eq!(inbox.wait(&mut lanes, || None), Next::Close);
    }

    #[test]
    fn an_empty_queue_waits_until_something_is_due() {
        let (_sender, receiver) = channel();
        let mut inbox = Inbox::new(receiver);
        let next = inbox.wait(&mut lanes(), || Some(Duration::ZERO));
        assert_eq!(next, Next::Tick);
    }
}
