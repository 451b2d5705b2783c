//! What the process says: replies and events, one line of JSON each.

use std::net::SocketAddr;

use bytes::Bytes;
use p2panda::{Event, Message, Raw, Topic, Transfer, VerifyingKey};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::hex::Hex;
use crate::request::Deliver;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The line is no request.
    #[error("not a request: {0}")]
    Request(#[source] serde_json::Error),
    /// Content must be named by exactly one field.
    #[error("give exactly one of text, bytes, body and size")]
    Content,
    /// A signing key has 32 bytes.
    #[error("seed is not 32 bytes")]
    Seed,
    /// The body cannot be published.
    #[error("the body is not one deterministic CBOR item: {0}")]
    Encode(#[from] p2panda::EncodeError),
    /// Asked before `open`.
    #[error("the node is not open")]
    NotOpen,
    /// Asked to open twice.
    #[error("the node is open already")]
    Open,
    /// Asked before `subscribe`.
    #[error("not subscribed to this topic")]
    NotSubscribed,
    /// No message of this offset waits for its ack.
    #[error("no message with this offset waits for an ack")]
    NotWaiting,
    /// It took longer than asked for.
    #[error("not reached in time")]
    Timeout,
    /// The node refused.
    #[error(transparent)]
    Node(#[from] p2panda::Error),
}

impl DriverError {
    fn kind(&self) -> String {
        match self {
            DriverError::Node(error) => format!("{:?}", error.kind()),
            DriverError::Timeout => "Timeout".to_owned(),
            DriverError::NotOpen | DriverError::NotSubscribed => "Closed".to_owned(),
            _ => "Request".to_owned(),
        }
    }
}

/// The reply to a request.
pub fn reply(id: Option<u64>, result: Result<Value, DriverError>) -> String {
    match result {
        Ok(value) => json!({ "id": id, "ok": value }),
        Err(error) => json!({
            "id": id,
            "error": { "kind": error.kind(), "message": error.to_string() },
        }),
    }
    .to_string()
}

/// A message as an event, `None` where only counting is asked for.
pub fn message(topic: Topic, message: &Message<Raw>, deliver: Deliver) -> Option<String> {
    match deliver {
        Deliver::Count => None,
        Deliver::Text => Some(line(&TextEvent {
            event: "message",
            topic,
            author: message.author(),
            seq: message.seq(),
            offset: message.offset(),
            text: message.text().unwrap_or_default(),
        })),
        Deliver::Full => Some(line(&MessageEvent {
            event: "message",
            topic,
            author: message.author(),
            seq: message.seq(),
            id: message.id().to_string(),
            offset: message.offset(),
            header: Hex(message.header().clone()),
            body: Hex(Bytes::copy_from_slice(message.raw())),
            missing: message
                .missing_dependencies()
                .iter()
                .map(|dependency| json!([dependency.author, dependency.seq, dependency.id]))
                .collect(),
        })),
    }
}

/// An event of the node as a line, if it is about sync.
pub fn sync(event: &Event) -> Option<String> {
    let (kind, topic, peer, transfer) = match event {
        Event::SessionStarted { topic, peer, .. } => ("started", topic, peer, Transfer::default()),
        Event::CatchUpEnded {
            topic,
            peer,
            transfer,
            ..
        } => ("caught_up", topic, peer, *transfer),
        Event::SessionEnded {
            topic,
            peer,
            transfer,
            ..
        } => ("ended", topic, peer, *transfer),
        _ => return None,
    };
    Some(line(&json!({
        "event": "sync",
        "kind": kind,
        "topic": topic,
        "peer": peer,
        "sent_operations": transfer.sent_operations,
        "sent_bytes": transfer.sent_bytes,
        "received_operations": transfer.received_operations,
        "received_bytes": transfer.received_bytes,
    })))
}

/// A value as one line of JSON.
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("keys are strings and nothing else can fail")
}

/// The reply to `open`.
#[derive(Serialize)]
pub struct Opened {
    pub node: VerifyingKey,
    pub addrs: Vec<SocketAddr>,
}

#[derive(Serialize)]
struct MessageEvent {
    event: &'static str,
    topic: Topic,
    author: VerifyingKey,
    seq: u32,
    id: String,
    offset: u64,
    header: Hex,
    body: Hex,
    missing: Vec<Value>,
}

#[derive(Serialize)]
struct TextEvent<'a> {
    event: &'static str,
    topic: Topic,
    author: VerifyingKey,
    seq: u32,
    offset: u64,
    text: &'a str,
}
