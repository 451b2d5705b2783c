//! Events.

use p2panda_core::{Hash, HybridTimestamp, Topic, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Hex, text};

/// The events, told apart by the field `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A message of a subscription.
    Message(Message),
    /// An ephemeral message.
    Ephemeral(Ephemeral),
    /// A step of a sync session.
    Sync(Sync),
}

/// A message, as much of it as the subscription asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// With `deliver: "full"`.
    Full(FullMessage),
    /// With `deliver: "text"`.
    Text(TextMessage),
}

/// A message with the operation that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullMessage {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the message.
    pub author: VerifyingKey,
    /// Place in the author's log.
    pub seq: u32,
    /// Operation id.
    pub id: Hash,
    /// Place in the node's feed, to be acked.
    pub offset: u64,
    /// Header bytes.
    pub header: Hex,
    /// Body bytes.
    pub body: Hex,
    /// Operations that it depends on and that have not arrived.
    pub missing: Vec<Missing>,
}

/// A message as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextMessage {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the message.
    pub author: VerifyingKey,
    /// Place in the author's log.
    pub seq: u32,
    /// Place in the node's feed, to be acked.
    pub offset: u64,
    /// The text, empty if the body is none.
    pub text: String,
}

/// An operation that has not arrived: `[author, seq, id]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Hash, u32, Hash)", into = "(VerifyingKey, u32, Hash)")]
pub struct Missing {
    /// Author of the log. Not checked to be a point of the curve.
    pub author: VerifyingKey,
    /// Place in the log.
    pub seq: u32,
    /// Operation id.
    pub id: Hash,
}

/// A dependency names any 32 bytes as its author, which only a [`struct@Hash`] takes.
impl From<(Hash, u32, Hash)> for Missing {
    fn from((author, seq, id): (Hash, u32, Hash)) -> Missing {
        let author = VerifyingKey::from_bytes_unchecked(*author.as_bytes());
        Missing { author, seq, id }
    }
}

impl From<Missing> for (VerifyingKey, u32, Hash) {
    fn from(Missing { author, seq, id }: Missing) -> (VerifyingKey, u32, Hash) {
        (author, seq, id)
    }
}

/// An ephemeral message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ephemeral {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Time at which the author says it was sent: `"micros/count"`.
    #[serde(with = "text")]
    pub timestamp: HybridTimestamp,
    /// The body, one CBOR item.
    pub body: Hex,
}

/// A step of a sync session, with what has crossed so far: bytes of headers and bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sync {
    /// The topic that this is about.
    pub topic: Topic,
    /// The node at the other end.
    pub peer: VerifyingKey,
    /// The step.
    pub kind: SyncKind,
    /// Operations sent.
    pub sent_operations: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Operations received.
    pub received_operations: u64,
    /// Bytes received.
    pub received_bytes: u64,
}

/// The steps of a sync session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncKind {
    /// The handshake is done.
    Started,
    /// Everything was sent, and everything received is durable.
    CaughtUp,
    /// The session is over.
    Ended,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::Output;

    fn events() -> Vec<Event> {
        let author = p2panda_core::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let (topic, id) = (Topic::from_bytes([1; 32]), Hash::digest(b"id"));
        let full = |missing| FullMessage {
            topic,
            author,
            seq: 7,
            id,
            offset: u64::MAX,
            header: Hex(vec![0x86].into()),
            body: Hex(vec![0xf6].into()),
            missing,
        };
        let missing = Missing { author, seq: 1, id };
        let no_point = Missing {
            author: VerifyingKey::from_bytes_unchecked([2; 32]),
            ..missing
        };
        let text = |text: &str| TextMessage {
            topic,
            author,
            seq: 7,
            offset: 1,
            text: text.to_owned(),
        };
        let sync = |kind| Sync {
            topic,
            peer: author,
            kind,
            sent_operations: 1,
            sent_bytes: 2,
            received_operations: 3,
            received_bytes: 4,
        };
        vec![
            Event::Message(Message::Full(full(vec![]))),
            Event::Message(Message::Full(full(vec![missing, no_point]))),
            Event::Message(Message::Text(text(""))),
            Event::Message(Message::Text(text("a line\nand \"another\" one\u{1f43c}"))),
            Event::Ephemeral(Ephemeral {
                topic,
                author,
                timestamp: HybridTimestamp::new(u64::MAX, 7),
                body: Hex(vec![0xf6].into()),
            }),
            Event::Sync(sync(SyncKind::Started)),
            Event::Sync(sync(SyncKind::CaughtUp)),
            Event::Sync(sync(SyncKind::Ended)),
        ]
    }

    /// A new event does not compile until it is counted here, and fails until it has a sample.
    fn number(event: &Event) -> usize {
        match event {
            Event::Message(Message::Full(_)) => 0,
            Event::Message(Message::Text(_)) => 1,
            Event::Ephemeral(_) => 2,
            Event::Sync(Sync { kind, .. }) => match kind {
                SyncKind::Started => 3,
                SyncKind::CaughtUp => 4,
                SyncKind::Ended => 5,
            },
        }
    }

    #[test]
    fn every_event_comes_back_as_what_it_was() {
        let events = events();
        for event in &events {
            let text = serde_json::to_string(event).unwrap();
            assert_eq!(
                &serde_json::from_str::<Event>(&text).unwrap(),
                event,
                "{text}"
            );
            let output: Output = serde_json::from_str(&text).unwrap();
            assert_eq!(output, Output::Event(event.clone()), "{text}");
        }
        let numbers: std::collections::BTreeSet<usize> = events.iter().map(number).collect();
        assert!(numbers.into_iter().eq(0..6), "an event has no sample");
    }

    #[test]
    fn what_an_event_lacks_is_not_made_up() {
        for event in events() {
            let whole = serde_json::to_value(&event).unwrap();
            for field in whole.as_object().unwrap().keys() {
                let mut part = whole.clone();
                part.as_object_mut().unwrap().remove(field);
                let part = serde_json::from_value::<Event>(part);
                assert!(part.is_err(), "{event:?} without {field}");
            }
        }
    }
}
