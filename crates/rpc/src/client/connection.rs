//! The connection of a client: requests out, answers and notifications in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt, StreamExt};
use p2panda_core::limits::{RPC_FRAME_MESSAGES_MAX, RPC_REQUEST_BYTES_MAX};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_websockets::{ClientBuilder, Message};

use super::{ClientError, Notes};
use crate::api::{
    self, Code, Method, Note, Request, RpcError, SUBPROTOCOL, SubscribeResult, SubscriptionParams,
};

/// Requests that wait to be written.
const WAITING: usize = 1_024;

/// One connection. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: mpsc::Sender<String>,
    shared: Arc<Shared>,
    next: AtomicU64,
    tasks: tokio::task::JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// `None` once the connection is over.
    pending: Mutex<Option<Pending>>,
    over: watch::Sender<bool>,
    /// Those of the connection, as long as there is one.
    requests: mpsc::WeakSender<String>,
}

#[derive(Debug, Default)]
struct Pending {
    answers: HashMap<u64, Waiting>,
    notes: HashMap<u64, mpsc::UnboundedSender<Note>>,
}

/// Caller that waits for an answer.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<Box<RawValue>, ClientError>>,
    /// Of a subscription: where its notifications go. They may come with the answer.
    notes: Option<mpsc::UnboundedSender<Note>>,
}

/// Anything that a server sends.
#[derive(Deserialize)]
struct Any<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

/// Host and port of a URL.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

impl Connection {
    #[cfg(unix)]
    pub(crate) async fn unix(path: &std::path::Path) -> Result<Self, ClientError> {
        let stream = tokio::net::UnixStream::connect(path).await;
        let (read, mut write) = stream.map_err(lost)?.into_split();
        let (mut connection, mut waiting) = Self::new();
        let shared = Arc::clone(&connection.shared);
        connection.tasks.spawn(async move {
            let mut lines = BufReader::with_capacity(64 * 1024, read);
            let mut line = String::new();
            while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                shared.take(&line);
                line.clear();
            }
            shared.end();
        });
        connection.tasks.spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, RPC_FRAME_MESSAGES_MAX).await > 0 {
                let mut lines = batch.drain(..).fold(String::new(), |mut lines, message| {
                    lines.push_str(&message);
                    lines.push('\n');
                    lines
                });
                if write.write_all(lines.as_bytes()).await.is_err() {
                    return;
                }
                lines.clear();
            }
        });
        Ok(connection)
    }

    pub(crate) async fn websocket(url: &str) -> Result<Self, ClientError> {
        let builder = ClientBuilder::new().uri(url).map_err(lost)?;
        let name = "sec-websocket-protocol".parse().map_err(lost)?;
        let protocol = SUBPROTOCOL.parse().map_err(lost)?;
        let builder = builder.add_header(name, protocol).map_err(lost)?;
        let (socket, _) = builder.connect().await.map_err(lost)?;
        let (mut write, mut read) = socket.split();
        let (mut connection, mut waiting) = Self::new();
        let shared = Arc::clone(&connection.shared);
        connection.tasks.spawn(async move {
            while let Some(Ok(message)) = read.next().await {
                let Some(text) = message.as_text() else {
                    continue;
                };
                if let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(text) {
                    messages
                        .into_iter()
                        .for_each(|message| shared.take(message.get()));
                }
            }
            shared.end();
        });
        connection.tasks.spawn(async move {
            let mut batch = Vec::new();
            while waiting.recv_many(&mut batch, RPC_FRAME_MESSAGES_MAX).await > 0 {
                for frame in frames(&mut batch) {
                    if write.send(Message::text(frame)).await.is_err() {
                        return;
                    }
                }
            }
            let _ = write.close().await;
        });
        Ok(connection)
    }

    fn new() -> (Self, mpsc::Receiver<String>) {
        let (requests, waiting) = mpsc::channel(WAITING);
        let shared = Shared {
            pending: Mutex::new(Some(Pending::default())),
            over: watch::Sender::new(false),
            requests: requests.downgrade(),
        };
        let connection = Connection {
            requests,
            shared: Arc::new(shared),
            next: AtomicU64::new(1),
            tasks: tokio::task::JoinSet::new(),
        };
        (connection, waiting)
    }

    pub(crate) async fn call<M: Method>(
        &self,
        params: &M::Params,
    ) -> Result<M::Result, ClientError> {
        self.ask::<M>(params, None).await
    }

    /// Calls a method that subscribes.
    pub(crate) async fn subscribe<M: Method<Result = SubscribeResult>>(
        &self,
        params: &M::Params,
    ) -> Result<(SubscribeResult, Notes), ClientError> {
        let (sender, notes) = mpsc::unbounded_channel();
        let subscribed = self.ask::<M>(params, Some(sender)).await?;
        Ok((subscribed, notes))
    }

    async fn ask<M: Method>(
        &self,
        params: &M::Params,
        notes: Option<mpsc::UnboundedSender<Note>>,
    ) -> Result<M::Result, ClientError> {
        let result = self.ask_raw(M::NAME, params, notes).await?;
        let result = serde_json::from_str(result.get());
        result.map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Calls a method by its name.
    pub(crate) async fn ask_raw(
        &self,
        method: &str,
        params: &impl Serialize,
        notes: Option<mpsc::UnboundedSender<Note>>,
    ) -> Result<Box<RawValue>, ClientError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let text = text(method, Some(id), params)?;
        // With the brackets of an array.
        if text.len() + 2 > RPC_REQUEST_BYTES_MAX {
            let error = RpcError::new(Code::TooLarge, "the request has more than 1 MiB");
            return Err(ClientError::Rpc(
                error.hint("`upload` takes content in parts"),
            ));
        }
        let (answer, waiting) = oneshot::channel();
        let ended = || ClientError::Connection("it is over".into());
        {
            let mut pending = self.shared.pending.lock();
            let pending = pending.as_mut().ok_or_else(ended)?;
            pending.answers.insert(id, Waiting { answer, notes });
        }
        // Unconstrained: calls that begin one after the other are sent in this order.
        let sent = tokio::task::unconstrained(self.requests.send(text));
        sent.await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())?
    }

    /// Without an answer.
    pub(crate) fn notify<M: Method>(&self, params: &M::Params) {
        if let Ok(text) = text(M::NAME, None, params) {
            send_later(&self.requests, text);
        }
    }

    pub(crate) fn forget(&self, subscription: u64) {
        if let Some(pending) = self.shared.pending.lock().as_mut() {
            pending.notes.remove(&subscription);
        }
    }

    pub(crate) async fn closed(&self) {
        let mut over = self.shared.over.subscribe();
        let _ = over.wait_for(|over| *over).await;
    }
}

impl Shared {
    fn take(&self, text: &str) {
        let Ok(any) = serde_json::from_str::<Any<'_>>(text) else {
            return;
        };
        if any.method.is_some() {
            // One that a later version sends is passed over.
            let Ok(note) = serde_json::from_str::<Note>(text) else {
                return;
            };
            let number = match &note {
                Note::Messages(note) => note.subscription,
                Note::Operations(note) => note.subscription,
                Note::Ephemeral(note) => note.subscription,
                Note::Event(note) => note.subscription,
                Note::Ended(note) => note.subscription,
            };
            return self.take_note(number, note);
        }
        self.take_answer(any);
    }

    fn take_note(&self, number: u64, note: Note) {
        let mut pending = self.pending.lock();
        let Some(pending) = pending.as_mut() else {
            return;
        };
        let notes = pending.notes.get(&number);
        if notes.is_some_and(|notes| notes.send(note).is_err()) {
            // The call that subscribed was given up when its answer had come.
            pending.notes.remove(&number);
            self.end_subscription(number);
        }
    }

    fn take_answer(&self, any: Any<'_>) {
        let mut pending = self.pending.lock();
        let Some(pending) = pending.as_mut() else {
            return;
        };
        if let (None, Some(error)) = (any.id, &any.error) {
            // The node could not read a frame, and does not say whose: no answer comes to its calls.
            for (_, waiting) in pending.answers.drain() {
                let unknown = ClientError::Unanswered(error.clone());
                let _ = waiting.answer.send(Err(unknown));
            }
            return;
        }
        let Some(waiting) = any.id.and_then(|id| pending.answers.remove(&id)) else {
            return;
        };
        let answer = match (any.result, any.error) {
            (Some(result), _) => Ok(result.to_owned()),
            (None, Some(error)) => Err(ClientError::Rpc(error)),
            (None, None) => return,
        };
        let mut opened = None;
        if let (Ok(result), Some(notes)) = (&answer, waiting.notes)
            && let Ok(subscribed) = serde_json::from_str::<SubscribeResult>(result.get())
        {
            pending.notes.insert(subscribed.subscription, notes);
            opened = Some(subscribed.subscription);
        }
        let is_given_up = waiting.answer.send(answer).is_err();
        if let (true, Some(subscription)) = (is_given_up, opened) {
            pending.notes.remove(&subscription);
            self.end_subscription(subscription);
        }
    }

    /// Ends a subscription that has no reader.
    fn end_subscription(&self, subscription: u64) {
        let params = SubscriptionParams { subscription };
        let text = text(api::SubscriptionEnd::NAME, None, &params);
        if let (Some(requests), Ok(text)) = (self.requests.upgrade(), text) {
            send_later(&requests, text);
        }
    }

    fn end(&self) {
        self.pending.lock().take();
        self.over.send_replace(true);
    }
}

/// Sends a request without waiting for its answer. One that finds no room is sent later: credit must not be lost.
fn send_later(requests: &mpsc::Sender<String>, text: String) {
    if let Err(mpsc::error::TrySendError::Full(text)) = requests.try_send(text)
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        let requests = requests.clone();
        runtime.spawn(async move { requests.send(text).await });
    }
}

fn text(method: &str, id: Option<u64>, params: &impl Serialize) -> Result<String, ClientError> {
    let request = Request {
        jsonrpc: "2.0",
        id,
        method,
        params,
    };
    let text = serde_json::to_string(&request);
    text.map_err(|error| ClientError::Answer(error.to_string()))
}

/// Arrays of requests, within what a frame may have.
fn frames(batch: &mut Vec<String>) -> Vec<String> {
    let (mut frames, mut frame) = (Vec::new(), String::new());
    for message in batch.drain(..) {
        if !frame.is_empty() && frame.len() + message.len() + 2 > RPC_REQUEST_BYTES_MAX {
            frame.push(']');
            frames.push(std::mem::take(&mut frame));
        }
        frame.push(if frame.is_empty() { '[' } else { ',' });
        frame.push_str(&message);
    }
    frame.push(']');
    frames.push(frame);
    frames
}

fn lost(error: impl std::fmt::Display) -> ClientError {
    ClientError::Connection(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_refused_frame_leaves_the_outcome_of_calls_unknown() {
        let (connection, mut waiting) = Connection::new();
        let call = connection.call::<api::NodeStatus>(&api::Empty {});
        let refuse = async {
            waiting.recv().await.unwrap();
            let refused = r#"{"jsonrpc":"2.0","id":null,
                "error":{"code":-32002,"message":"no","data":{"code":"quota"}}}"#;
            connection.shared.take(refused);
        };
        let (outcome, ()) = tokio::join!(call, refuse);
        let error = outcome.unwrap_err();
        assert!(matches!(error, ClientError::Unanswered(_)), "{error}");
        assert_eq!(error.code(), Code::Closed);
    }
}
