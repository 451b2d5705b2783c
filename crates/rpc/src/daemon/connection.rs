//! A connection that stays open, no matter what carries it (`docs/protocol/rpc.md#2`).

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use p2panda_core::limits::{
    RPC_FRAME_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_HELLO_WAIT, RPC_IN_FLIGHT_MAX,
    RPC_PING_INTERVAL, RPC_SHUTDOWN_WAIT,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::budget::Room;
use super::filling::Outgoing;
use super::session::{Answer, Session, failed};
use crate::api::{RequestId, RpcError};

/// Transport of a connection.
pub(crate) trait Transport: Send {
    /// The next frame; `None` at the end. Cancel safe.
    fn recv(&mut self) -> impl Future<Output = Option<Frame>> + Send;

    /// Sends messages, in as few frames as they fit into. If the future is dropped, the frame that was begun
    /// is completed by what is sent next.
    fn send(&mut self, messages: Vec<String>) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Asks the client for a sign of life. Returns `false` if the transport itself notices that a client is gone.
    fn ping(&mut self) -> impl Future<Output = Result<bool, Gone>> + Send;

    /// Says why nothing follows.
    fn close(&mut self, why: Close) -> impl Future<Output = ()> + Send;
}

/// Input from the client.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A frame of messages.
    Text(String),
    /// One that is too large, or no text: it is answered, and skipped.
    Refused(RpcError),
    /// A sign of life, and nothing else.
    Alive,
    /// Something after which nothing can be understood.
    Broken(Broken),
}

/// What the input has against the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A frame that the protocol of the transport does not allow.
    Frame,
    /// A message that is no text.
    Binary,
    /// A message that is far too large.
    Large,
}

/// Nobody reads any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// Reason why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The node ends.
    Shutdown,
    /// No credential came in time.
    NoHello,
    /// No sign of life came.
    Silent,
    /// The input breaks the protocol of the transport.
    Broken(Broken),
}

/// Serves a connection until one of the sides ends it.
pub(crate) async fn serve(
    session: Arc<Session>,
    mut notes: mpsc::Receiver<Outgoing>,
    mut transport: impl Transport,
) {
    let why = run(&session, &mut notes, &mut transport).await;
    if why == Some(Close::Shutdown) {
        // Nobody may be there any more, or read.
        let last = transport.send(session.last_words());
        let _ = tokio::time::timeout(RPC_SHUTDOWN_WAIT, last).await;
    }
    session.close();
    if let Some(why) = why {
        transport.close(why).await;
    }
}

/// Returns `true` if the next frame is read, with this many requests being processed.
fn may_read(session: &Session, requests: usize) -> bool {
    requests < RPC_IN_FLIGHT_MAX && !session.is_greeting()
}

/// What goes into the next frames.
#[derive(Default)]
struct Out {
    messages: Vec<String>,
    bytes: usize,
    rooms: Vec<Room>,
}

impl Out {
    fn answer(&mut self, answer: Option<String>) {
        if let Some(text) = answer {
            self.bytes += text.len();
            self.messages.push(text);
        }
    }

    fn refuse(&mut self, error: RpcError) {
        self.answer(Some(failed(RequestId::Null, error)));
    }

    fn note(&mut self, note: Outgoing) {
        self.rooms.extend(note.room);
        self.answer(Some(note.text));
    }

    /// Returns `true` if a frame is full.
    fn is_full(&self) -> bool {
        self.messages.len() >= RPC_FRAME_MESSAGES_MAX || self.bytes >= RPC_FRAME_BYTES_MAX
    }
}

async fn run(
    session: &Arc<Session>,
    notes: &mut mpsc::Receiver<Outgoing>,
    transport: &mut impl Transport,
) -> Option<Close> {
    let mut running: FuturesUnordered<Answer> = FuturesUnordered::new();
    let mut ended = pin!(session.service.ended());
    let mut left = pin!(session.left());
    let mut hello = pin!(tokio::time::sleep(RPC_HELLO_WAIT));
    let mut silent = pin!(tokio::time::sleep(RPC_PING_INTERVAL));
    let (mut was_pinged, mut pings) = (false, true);
    let mut out = Out::default();
    loop {
        let mut asks = false;
        tokio::select! {
            biased;
            () = &mut ended => return Some(Close::Shutdown),
            () = &mut left => return None,
            Some(answer) = running.next() => out.answer(answer),
            Some(note) = notes.recv() => out.note(note),
            frame = transport.recv(), if may_read(session, running.len()) => {
                was_pinged = false;
                silent.as_mut().reset(Instant::now() + RPC_PING_INTERVAL);
                match frame? {
                    Frame::Text(text) => match session.handle(&text) {
                        Ok(begun) => running.extend(begun.answers),
                        Err(error) => out.refuse(error),
                    },
                    Frame::Refused(error) => out.refuse(error),
                    Frame::Alive => {}
                    Frame::Broken(why) => return Some(Close::Broken(why)),
                }
            }
            () = &mut silent, if pings && may_read(session, running.len()) => {
                if was_pinged {
                    return Some(Close::Silent);
                }
                was_pinged = true;
                asks = true;
            }
            () = &mut hello, if session.who().is_none() => return Some(Close::NoHello),
        }
        // What is there by now goes into the same frame. Nothing waits for more.
        while !out.is_full() {
            match running.next().now_or_never() {
                Some(Some(answer)) => out.answer(answer),
                _ => match notes.try_recv() {
                    Ok(note) => out.note(note),
                    Err(_) => break,
                },
            }
        }
        let Out {
            messages, rooms, ..
        } = std::mem::take(&mut out);
        if messages.is_empty() && !asks {
            continue;
        }
        let mut send = pin!(async {
            if !messages.is_empty() {
                transport.send(messages).await?;
            }
            if asks {
                pings = transport.ping().await?;
                silent.as_mut().reset(Instant::now() + RPC_PING_INTERVAL);
            }
            Ok::<_, Gone>(())
        });
        // The client may not read for as long as it likes, and it must not gain time by that.
        tokio::select! {
            biased;
            () = &mut ended => {
                // Among it may be the answer to what ended the node.
                let _ = tokio::time::timeout(RPC_SHUTDOWN_WAIT, send).await;
                return Some(Close::Shutdown);
            }
            () = &mut left => return None,
            sent = &mut send => if sent.is_err() {
                return None;
            },
            () = &mut hello, if session.who().is_none() => return Some(Close::NoHello),
        }
        // What was delivered counts until it is written.
        drop(rooms);
    }
}

#[cfg(test)]
mod tests;
