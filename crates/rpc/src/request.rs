//! What the process can be asked. Each request is one line of JSON with an `id` and an `op`.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;

use p2panda::{NetworkId, Topic, VerifyingKey};
use serde::Deserialize;

use crate::hex::Hex;

/// One line of standard input.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Comes back in the reply.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// The requests.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Opens the node of this process; without `dir` in a directory that goes with it.
    Open(Open),
    /// Subscribes to a topic.
    Subscribe {
        topic: Topic,
        #[serde(default)]
        from: From,
        #[serde(default)]
        ack: AckMode,
        #[serde(default)]
        deliver: Deliver,
    },
    /// Acks one message of an `explicit` subscription.
    Ack { topic: Topic, offset: u64 },
    /// Publishes a message, or `count` times the same.
    Publish {
        topic: Topic,
        #[serde(flatten)]
        content: Content,
        count: Option<u32>,
    },
    /// Prunes the own log of a topic, with a last text if given.
    Prune { topic: Topic, text: Option<String> },
    /// Imports operations.
    Import {
        topic: Topic,
        operations: Vec<ImportedOperation>,
    },
    /// Subscribes to the ephemeral messages of a topic.
    Ephemeral { topic: Topic },
    /// Publishes an ephemeral message.
    EphemeralPublish {
        topic: Topic,
        #[serde(flatten)]
        content: Content,
    },
    /// Counts of a topic.
    Status { topic: Topic },
    /// Replies once that many messages were received or operations are stored.
    Wait {
        topic: Topic,
        received: Option<u64>,
        operations: Option<u64>,
        timeout_ms: u64,
    },
    /// All operations of a topic, by author and seq.
    Dump { topic: Topic },
    /// Number, bytes and one hash of what `dump` shows.
    Digest { topic: Topic },
    /// Known nodes.
    Peers,
    /// Names a node and an address of it.
    AddPeer {
        node: VerifyingKey,
        addr: SocketAddr,
    },
    /// Leaves a topic.
    Leave { topic: Topic },
    /// Bytes on the wire.
    Counters,
    /// Shuts the node down and ends the process.
    Shutdown,
}

/// How to open the node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Open {
    /// Data directory; without it a temporary one.
    pub dir: Option<PathBuf>,
    /// Where the guard file goes; without it none is written.
    pub state_dir: Option<PathBuf>,
    /// Signing key.
    pub seed: Option<Hex>,
    /// Network id.
    pub network: Option<NetworkId>,
    /// IPv4 address to listen on, `127.0.0.1:0` unless given.
    pub bind_v4: Option<SocketAddrV4>,
    /// IPv6 address to listen on, none unless given.
    pub bind_v6: Option<SocketAddrV6>,
    /// First contacts.
    pub bootstrap: Vec<Bootstrap>,
    /// Multicast DNS.
    pub mdns: Mdns,
    /// The largest operation, in bytes.
    pub operation_bytes_max: Option<u32>,
    /// Whether sessions may compare a digest first; they may unless given.
    pub state_digest: Option<bool>,
}

/// A first contact.
#[derive(Debug, Deserialize)]
pub struct Bootstrap {
    /// Its id.
    pub node: VerifyingKey,
    /// One address of it.
    pub addr: SocketAddr,
}

/// Multicast DNS.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mdns {
    /// Neither listens nor shows itself.
    #[default]
    Off,
    /// Listens only.
    Listen,
    /// Listens and shows itself.
    Active,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// At the oldest message.
    Start,
    /// After what is acked.
    #[default]
    Resume,
    /// At the next message.
    Now,
}

/// Who acks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// The subscription, each message when it asks for the next one.
    #[default]
    Auto,
    /// The request `ack`.
    Explicit,
}

/// What the events of a subscription show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deliver {
    /// Header and body.
    #[default]
    Full,
    /// The text instead of header and body.
    Text,
    /// No event per message; `status` and `wait` count them.
    Count,
}

/// What is published: exactly one field. With `size`, text or bytes of that many bytes are made.
#[derive(Debug, Deserialize)]
pub struct Content {
    pub text: Option<String>,
    pub bytes: Option<Hex>,
    pub body: Option<Hex>,
    pub size: Option<u32>,
}

/// An operation to import.
#[derive(Debug, Deserialize)]
pub struct ImportedOperation {
    /// Header bytes.
    pub header: Hex,
    /// Body bytes, if they are known.
    pub body: Option<Hex>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn topic() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_publish_request_is_one_flat_object() {
        let line = format!(
            r#"{{"id":7,"op":"publish","topic":"{}","text":"hi"}}"#,
            topic()
        );
        let request: Request = serde_json::from_str(&line).unwrap();
        assert_eq!(request.id, 7);
        match request.op {
            Op::Publish {
                content,
                count: None,
                ..
            } => {
                assert_eq!(content.text.as_deref(), Some("hi"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let line = format!(r#"{{"id":1,"op":"subscribe","topic":"{}"}}"#, topic());
        match serde_json::from_str::<Request>(&line).unwrap().op {
            Op::Subscribe {
                from: From::Resume,
                ack: AckMode::Auto,
                deliver: Deliver::Full,
                ..
            } => {}
            other => panic!("{other:?}"),
        }
        let Op::Open(open) = serde_json::from_str::<Request>(r#"{"id":1,"op":"open"}"#)
            .unwrap()
            .op
        else {
            panic!("not open");
        };
        assert!(open.dir.is_none() && matches!(open.mdns, Mdns::Off));
    }

    #[test]
    fn requests_that_cannot_be_are_refused() {
        for line in [
            "",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":1,"op":"fly"}"#,
            r#"{"id":-1,"op":"peers"}"#,
            r#"{"id":1,"op":"leave","topic":"ab"}"#,
            r#"{"id":1,"op":"open","seed":"0g"}"#,
        ] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }
}
