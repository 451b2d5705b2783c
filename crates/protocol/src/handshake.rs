//! The topic handshake on the first stream of a sync connection (docs/protocol/sync.md#3).
//!
//! ```text
//! initiator                          acceptor
//!   Topic(topic)  ----------------->
//!                 <-----------------  Done
//!   Done          ----------------->
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Topic, limits};
use thiserror::Error;

use crate::close::CloseCode;
use crate::frame::{self, Decoder, Frame, FrameError};
use crate::time::{Time, patience};
use crate::wire::{Reader, WireError, Writer};

const TOPIC: u32 = 0;
const DONE: u32 = 1;

/// One message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The initiator names the topic that it wants to sync.
    Topic(Topic),
    /// The sender has what it needs.
    Done,
}

impl Message {
    /// Appends this message as one frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let encoded = frame::encode(out, |out| {
            let mut writer = Writer::new(out);
            match self {
                Message::Topic(topic) => writer.uint(TOPIC).bytes(topic.as_bytes()),
                Message::Done => writer.uint(DONE),
            };
        });
        encoded.expect("a handshake message is neither empty nor large");
    }

    /// Reads one payload.
    pub fn decode(payload: Bytes) -> Result<Message, WireError> {
        let mut reader = Reader::new(payload);
        let message = match reader.tag()? {
            TOPIC => Message::Topic(Topic::from_bytes(reader.sized::<32>()?)),
            DONE => Message::Done,
            _ => return Err(WireError::Tag),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// Input from the driver.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Bytes received on the stream.
    Bytes(Bytes),
    /// The peer finished its side of the stream.
    EndOfStream,
    /// The stream or the connection failed.
    Lost,
    /// The node no longer wants this session.
    Stop,
}

/// Action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes to the stream.
    Send(Bytes),
    /// Give [`Input::Tick`] at this moment, unless the handshake ended before.
    Wake(Time),
    /// Both sides agreed to sync this topic. The last output; the acceptor now looks whether it
    /// serves the topic.
    Agreed(Topic),
    /// Close the connection. The last output.
    Close(CloseCode, Failure),
}

/// Reason why a handshake did not succeed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The bytes cannot be cut into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame exceeds the limit of the handshake.
    #[error("a frame of the handshake is too large")]
    Oversize,
    /// A payload is not a message of the handshake.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message came out of order.
    #[error("a message of the handshake came out of order")]
    Unexpected,
    /// The stream ended early.
    #[error("the stream ended during the handshake")]
    Ended,
    /// The peer took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// The node no longer wants the session.
    #[error("the handshake was stopped")]
    Stopped,
}

impl Failure {
    /// The code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Failure::Frame(FrameError::TooLarge { .. }) | Failure::Oversize => CloseCode::Limit,
            Failure::Frame(_) | Failure::Wire(_) | Failure::Unexpected | Failure::Ended => {
                CloseCode::Violation
            }
            Failure::Timeout => CloseCode::Timeout,
            Failure::Stopped => CloseCode::Stopped,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InitiatorStart,
    InitiatorAwaitsDone,
    AcceptorAwaitsTopic,
    AcceptorAwaitsDone,
    Ended,
}

/// One handshake, for either side. Ends by itself after [`limits::HANDSHAKE_TIMEOUT`], or
/// later on a slow path.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    topic: Option<Topic>,
    began: Time,
    deadline: Time,
    decoder: Decoder,
    outputs: VecDeque<Output>,
}

impl Handshake {
    /// The side that dialled and opened the stream.
    pub fn initiate(topic: Topic, now: Time) -> Handshake {
        Handshake::new(State::InitiatorStart, Some(topic), now)
    }

    /// The side that accepted the stream.
    pub fn accept(now: Time) -> Handshake {
        Handshake::new(State::AcceptorAwaitsTopic, None, now)
    }

    /// The path takes that long there and back: waits accordingly. Said before anything is handled.
    #[must_use]
    pub fn over(mut self, round_trip: Duration) -> Handshake {
        self.deadline = self.began + patience(limits::HANDSHAKE_TIMEOUT, round_trip);
        self.outputs = VecDeque::from([Output::Wake(self.deadline)]);
        self
    }

    /// Takes one input; drain [`Handshake::poll`] afterwards. Nothing happens after the end.
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.state == State::Ended {
            return;
        }
        let step = match input {
            _ if now >= self.deadline => Err(Failure::Timeout),
            Input::Tick => Ok(()),
            Input::Bytes(bytes) => {
                self.decoder.push(bytes);
                Ok(())
            }
            Input::EndOfStream | Input::Lost => Err(Failure::Ended),
            Input::Stop => Err(Failure::Stopped),
        };
        if let Err(failure) = step.and_then(|()| self.advance()) {
            self.state = State::Ended;
            self.decoder = Decoder::new();
            self.outputs
                .push_back(Output::Close(failure.close_code(), failure));
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn new(state: State, topic: Option<Topic>, now: Time) -> Handshake {
        let deadline = now + limits::HANDSHAKE_TIMEOUT;
        let outputs = VecDeque::from([Output::Wake(deadline)]);
        Handshake {
            state,
            topic,
            began: now,
            deadline,
            decoder: Decoder::new(),
            outputs,
        }
    }

    fn advance(&mut self) -> Result<(), Failure> {
        if self.state == State::InitiatorStart {
            let topic = self.topic.expect("an initiator has a topic");
            self.send(Message::Topic(topic));
            self.state = State::InitiatorAwaitsDone;
        }
        while self.state != State::Ended {
            match self.decoder.next(|_| limits::CONTROL_BYTES_MAX as u32)? {
                None => return Ok(()),
                Some(Frame::Oversize { .. }) => return Err(Failure::Oversize),
                Some(Frame::Message(payload)) => self.receive(Message::decode(payload)?)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: Message) -> Result<(), Failure> {
        match (self.state, message) {
            (State::InitiatorAwaitsDone, Message::Done) => {
                self.send(Message::Done);
                self.agree()
            }
            (State::AcceptorAwaitsTopic, Message::Topic(topic)) => {
                self.topic = Some(topic);
                self.send(Message::Done);
                self.state = State::AcceptorAwaitsDone;
                Ok(())
            }
            (State::AcceptorAwaitsDone, Message::Done) => self.agree(),
            _ => Err(Failure::Unexpected),
        }
    }

    fn agree(&mut self) -> Result<(), Failure> {
        let topic = self.topic.take().ok_or(Failure::Unexpected)?;
        self.state = State::Ended;
        self.outputs.push_back(Output::Agreed(topic));
        Ok(())
    }

    fn send(&mut self, message: Message) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn topic() -> Topic {
        Topic::from_bytes([7; 32])
    }

    fn drain(handshake: &mut Handshake) -> Vec<Output> {
        std::iter::from_fn(|| handshake.poll()).collect()
    }

    fn sent(outputs: &[Output]) -> Vec<u8> {
        let sent = outputs.iter().filter_map(|output| match output {
            Output::Send(bytes) => Some(bytes.to_vec()),
            _ => None,
        });
        sent.flatten().collect()
    }

    /// Runs both sides with streams cut into pieces of `size` bytes.
    fn run(size: usize) -> (Vec<Output>, Vec<Output>) {
        let mut alice = Handshake::initiate(topic(), Time::ZERO);
        let mut bob = Handshake::accept(Time::ZERO);
        let (mut from_alice, mut from_bob) = (Vec::new(), Vec::new());
        alice.handle(Input::Tick, Time::ZERO);
        let mut to_bob = drain(&mut alice);
        from_alice.extend(to_bob.clone());
        for _ in 0..2 {
            for piece in sent(&to_bob).chunks(size) {
                bob.handle(Input::Bytes(Bytes::copy_from_slice(piece)), Time::ZERO);
            }
            let to_alice = drain(&mut bob);
            from_bob.extend(to_alice.clone());
            for piece in sent(&to_alice).chunks(size) {
                alice.handle(Input::Bytes(Bytes::copy_from_slice(piece)), Time::ZERO);
            }
            to_bob = drain(&mut alice);
            from_alice.extend(to_bob.clone());
        }
        (from_alice, from_bob)
    }

    #[test]
    fn both_sides_agree_on_the_topic_however_the_stream_is_cut() {
        for size in [1, 3, 100] {
            let (alice, bob) = run(size);
            assert_eq!(alice.last(), Some(&Output::Agreed(topic())));
            assert_eq!(bob.last(), Some(&Output::Agreed(topic())));
        }
    }

    #[test]
    fn a_silent_peer_is_closed_after_ten_seconds_and_not_before() {
        let mut bob = Handshake::accept(Time::ZERO);
        let deadline = Time::ZERO.after(10_000);
        assert_eq!(drain(&mut bob), [Output::Wake(deadline)]);
        bob.handle(Input::Tick, Time::from_micros(deadline.as_micros() - 1));
        assert_eq!(drain(&mut bob), []);
        bob.handle(Input::Tick, deadline);
        assert_eq!(
            drain(&mut bob),
            [Output::Close(CloseCode::Timeout, Failure::Timeout)]
        );
        bob.handle(Input::Tick, deadline);
        assert_eq!(drain(&mut bob), []);
    }

    #[test]
    fn a_peer_on_a_slow_path_has_twenty_round_trips() {
        let mut bob = Handshake::accept(Time::ZERO).over(Duration::from_secs(2));
        assert_eq!(drain(&mut bob), [Output::Wake(Time::ZERO.after(40_000))]);
        bob.handle(Input::Tick, Time::ZERO.after(39_999));
        assert_eq!(drain(&mut bob), []);
        bob.handle(Input::Tick, Time::ZERO.after(40_000));
        assert_eq!(
            drain(&mut bob),
            [Output::Close(CloseCode::Timeout, Failure::Timeout)]
        );
    }

    #[test]
    fn what_is_not_the_handshake_closes_with_a_code() {
        let mut topic_frame = BytesMut::new();
        Message::Topic(topic()).encode(&mut topic_frame);
        for (bytes, code) in [
            (&[0, 0, 0, 1, 1][..], CloseCode::Violation),
            (&[0, 0, 0, 1, 2], CloseCode::Violation),
            (&[0, 0, 0, 0], CloseCode::Violation),
            (&[0, 0, 0, 2, 0, 0x20], CloseCode::Violation),
            (&[0, 0, 0, 2, 1, 1], CloseCode::Violation),
            (&[8, 0, 0, 1], CloseCode::Limit),
            (
                &[&topic_frame[..], &topic_frame[..]].concat(),
                CloseCode::Violation,
            ),
        ] {
            let mut bob = Handshake::accept(Time::ZERO);
            bob.handle(Input::Bytes(Bytes::copy_from_slice(bytes)), Time::ZERO);
            let outputs = drain(&mut bob);
            assert!(
                matches!(outputs.last(), Some(Output::Close(got, _)) if *got == code),
                "{bytes:?}: {outputs:?}"
            );
        }
    }

    #[test]
    fn an_oversize_frame_and_an_early_end_close_it() {
        let mut bob = Handshake::accept(Time::ZERO);
        let mut stream = (limits::CONTROL_BYTES_MAX as u32 + 1)
            .to_be_bytes()
            .to_vec();
        stream.extend(vec![0; 64 * 1024]);
        bob.handle(Input::Bytes(stream.into()), Time::ZERO);
        let close = Output::Close(CloseCode::Limit, Failure::Oversize);
        assert_eq!(drain(&mut bob).last(), Some(&close));

        let mut alice = Handshake::initiate(topic(), Time::ZERO);
        alice.handle(Input::EndOfStream, Time::ZERO);
        let close = Output::Close(CloseCode::Violation, Failure::Ended);
        assert_eq!(drain(&mut alice).last(), Some(&close));
    }
}
