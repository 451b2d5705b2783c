//! Requests.

use std::net::{SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;

use p2panda_core::{NamedAddr, NetworkId, Topic, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::Hex;

/// The requests, told apart by the field `op`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Opens the node; without `dir` in a directory that goes with it.
    Open(Open),
    /// Subscribes to a topic.
    Subscribe {
        /// The topic that this is about.
        topic: Topic,
        /// Position at which to begin.
        #[serde(default)]
        from: StartAt,
        /// Side that acks.
        #[serde(default)]
        ack: AckMode,
        /// Content of the events.
        #[serde(default)]
        deliver: Deliver,
    },
    /// Acks one message of an `explicit` subscription.
    Ack {
        /// The topic that this is about.
        topic: Topic,
        /// The message's place in the feed.
        offset: u64,
    },
    /// Publishes a message, or `count` times the same.
    Publish {
        /// The topic, subscribed to before.
        topic: Topic,
        /// The message.
        #[serde(flatten)]
        content: Content,
        /// Number of times; once unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// Prunes the node's own log of a topic, with a last text if given.
    Prune {
        /// The topic, subscribed to before.
        topic: Topic,
        /// The message that stays.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Imports operations.
    Import {
        /// Topic that they belong to.
        topic: Topic,
        /// The operations, those of a log in their order.
        operations: Vec<ImportedOperation>,
    },
    /// Subscribes to the ephemeral messages of a topic.
    Ephemeral {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Publishes an ephemeral message.
    EphemeralPublish {
        /// The topic, its ephemeral messages subscribed to before.
        topic: Topic,
        /// The message.
        #[serde(flatten)]
        content: Content,
    },
    /// Counts of a topic.
    Status {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Replies once that many messages were received and operations are stored.
    Wait {
        /// The topic, subscribed to before.
        topic: Topic,
        /// Messages that the subscription has received.
        #[serde(skip_serializing_if = "Option::is_none")]
        received: Option<u64>,
        /// Operations that are stored.
        #[serde(skip_serializing_if = "Option::is_none")]
        operations: Option<u64>,
        /// Time limit in milliseconds.
        timeout_ms: u64,
    },
    /// Replies once the newest operation of this node in a topic was sent to a peer, or is stored by
    /// that many (`docs/protocol/streams.md#19`).
    Receipt {
        /// The topic, subscribed to before.
        topic: Topic,
        /// Peers that say that they have stored it; without this, *sent* suffices.
        #[serde(skip_serializing_if = "Option::is_none")]
        stored: Option<u32>,
        /// Time limit in milliseconds.
        timeout_ms: u64,
    },
    /// All operations of a topic, by author, seq and id.
    Dump {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Number, bytes and one hash of what `dump` shows.
    Digest {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Creates an encrypted space in a topic, with this node as its owner.
    SpaceCreate {
        /// The topic that is to carry it.
        topic: Topic,
    },
    /// Follows the space in a topic: publishes the keys with which an owner adds this node.
    SpaceFollow {
        /// The topic that carries it.
        topic: Topic,
    },
    /// Makes a node an editor of a space that this node owns.
    SpaceAdd {
        /// The topic that carries it.
        topic: Topic,
        /// The new member.
        member: VerifyingKey,
    },
    /// Replies once this node knows that many members of a space, and all have what they need.
    SpaceWait {
        /// The topic that carries it.
        topic: Topic,
        /// Number of members.
        members: u64,
        /// Time limit in milliseconds.
        timeout_ms: u64,
    },
    /// Known nodes.
    Peers,
    /// Names a node and an address of it.
    AddPeer {
        /// The node's id.
        node: VerifyingKey,
        /// One address of it, or a host name with a port.
        #[serde(with = "super::text")]
        addr: NamedAddr,
    },
    /// Leaves a topic.
    Leave {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Bytes on the wire.
    Counters,
    /// Shuts the node down; nothing is served after that.
    Shutdown,
}

/// Options of opening the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Open {
    /// Data directory; without it a temporary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Directory of the guard file; without it none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Signing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Hex>,
    /// Id of the network that the node joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// IPv4 address to listen on, `127.0.0.1:0` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_v4: Option<SocketAddrV4>,
    /// IPv6 address to listen on, none unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_v6: Option<SocketAddrV6>,
    /// First contacts.
    pub bootstrap: Vec<Bootstrap>,
    /// Multicast DNS.
    pub mdns: Mdns,
    /// The largest operation, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_bytes_max: Option<u32>,
    /// `true` if sessions may compare a digest first; they may unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<bool>,
    /// Defaults for a link of a few kbit/s.
    pub low_bandwidth: bool,
}

/// A first contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Its id.
    pub node: VerifyingKey,
    /// One address of it, or a host name with a port.
    #[serde(with = "super::text")]
    pub addr: NamedAddr,
}

/// Multicast DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Position at which a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At the oldest message.
    Start,
    /// After what is acked.
    #[default]
    Resume,
    /// At the next message.
    Now,
}

/// Side that acks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// The subscription, each message when it asks for the next one.
    #[default]
    Auto,
    /// The request `ack`.
    Explicit,
}

/// Content of the events of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Published content: exactly one field, which the server sees to, so that it can name the request
/// that it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The body is this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A byte string of these bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Hex>,
    /// A body that is encoded already: one CBOR item in the deterministic form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Hex>,
    /// A byte string of that many bytes, which the server makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

impl Content {
    /// Makes the content of a text message.
    pub fn text(text: impl Into<String>) -> Content {
        Content {
            text: Some(text.into()),
            ..Content::default()
        }
    }
}

/// An operation to import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedOperation {
    /// Header bytes.
    pub header: Hex,
    /// Body bytes, if they are known.
    pub body: Option<Hex>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::wire::Call;

    const TOPIC: Topic = Topic::from_bytes([0xab; 32]);

    fn hex(bytes: &[u8]) -> Hex {
        Hex(bytes.to_vec().into())
    }

    /// Opened with nothing and with everything said.
    fn opens() -> [Request; 2] {
        let node = p2panda_core::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let addr = "[fe80::1]:9".parse().unwrap();
        let host = "node.example.org:9".parse().unwrap();
        let everything = Open {
            dir: Some("/var/lib/p2panda".into()),
            state_dir: Some("/var/lib/state".into()),
            seed: Some(hex(&[7; 32])),
            network: Some(NetworkId::from_bytes([1; 32])),
            bind_v4: Some("127.0.0.1:0".parse().unwrap()),
            bind_v6: Some("[::1]:0".parse().unwrap()),
            bootstrap: vec![Bootstrap { node, addr }, Bootstrap { node, addr: host }],
            mdns: Mdns::Active,
            operation_bytes_max: Some(1),
            state_digest: Some(false),
            low_bandwidth: true,
        };
        [Open::default(), everything].map(Request::Open)
    }

    /// One of each, the optional parts there and not.
    fn requests() -> Vec<Request> {
        let topic = TOPIC;
        let contents = [
            Content::default(),
            Content::text("a line\nand \"another\" one\u{1f43c}"),
            Content {
                text: Some(String::new()),
                bytes: Some(hex(&[0, 0xff])),
                body: Some(hex(&[0xf6])),
                size: Some(u32::MAX),
            },
        ];
        let operation = |body| ImportedOperation {
            header: hex(&[0x86]),
            body,
        };
        let mut requests = opens().to_vec();
        for (from, ack, deliver) in [
            (StartAt::Start, AckMode::Auto, Deliver::Full),
            (StartAt::Resume, AckMode::Explicit, Deliver::Text),
            (StartAt::Now, AckMode::Auto, Deliver::Count),
        ] {
            requests.push(Request::Subscribe {
                topic,
                from,
                ack,
                deliver,
            });
        }
        for (content, count) in contents.iter().zip([None, Some(0), Some(u32::MAX)]) {
            let content = content.clone();
            requests.push(Request::Publish {
                topic,
                content: content.clone(),
                count,
            });
            requests.push(Request::EphemeralPublish { topic, content });
        }
        for (received, operations) in [(None, None), (Some(1), Some(u64::MAX))] {
            requests.push(Request::Wait {
                topic,
                received,
                operations,
                timeout_ms: 1,
            });
        }
        for stored in [None, Some(2)] {
            requests.push(Request::Receipt {
                topic,
                stored,
                timeout_ms: 1,
            });
        }
        for text in [None, Some("last".to_owned())] {
            requests.push(Request::Prune { topic, text });
        }
        requests.extend([
            Request::Ack { topic, offset: 1 },
            Request::Import {
                topic,
                operations: vec![operation(None), operation(Some(hex(&[0xf6])))],
            },
            Request::Ephemeral { topic },
            Request::Status { topic },
            Request::Dump { topic },
            Request::Digest { topic },
            Request::SpaceCreate { topic },
            Request::SpaceFollow { topic },
            Request::SpaceAdd {
                topic,
                member: p2panda_core::SigningKey::from_bytes(&[7; 32]).verifying_key(),
            },
            Request::SpaceWait {
                topic,
                members: 2,
                timeout_ms: 1,
            },
            Request::Peers,
            Request::AddPeer {
                node: p2panda_core::SigningKey::from_bytes(&[7; 32]).verifying_key(),
                addr: "127.0.0.1:9".parse().unwrap(),
            },
            Request::Leave { topic },
            Request::Counters,
            Request::Shutdown,
        ]);
        requests
    }

    /// All values of `op`, as the message about an unknown one lists them.
    fn ops() -> BTreeSet<String> {
        let error = serde_json::from_str::<Request>(r#"{"op":"fly"}"#).unwrap_err();
        let message = error.to_string();
        let names = message.split('`').skip(1).step_by(2);
        names
            .filter(|name| *name != "fly")
            .map(str::to_owned)
            .collect()
    }

    fn op(request: &Request) -> String {
        let value = serde_json::to_value(request).unwrap();
        value["op"].as_str().unwrap().to_owned()
    }

    #[test]
    fn every_request_comes_back_as_what_it_was() {
        let requests = requests();
        for request in &requests {
            let text = serde_json::to_string(request).unwrap();
            let back: Request = serde_json::from_str(&text).unwrap();
            assert_eq!(&back, request, "{text}");
            let call = Call {
                id: u64::MAX,
                request: request.clone(),
            };
            let text = serde_json::to_string(&call).unwrap();
            assert_eq!(serde_json::from_str::<Call>(&text).unwrap(), call, "{text}");
        }
        let tried: BTreeSet<String> = requests.iter().map(op).collect();
        assert_eq!(tried, ops());
    }

    #[test]
    fn the_documentation_lists_every_request() {
        let readme = include_str!("../../README.md");
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: BTreeSet<String> = rows
            .filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
            .collect();
        let missing: Vec<_> = ops().difference(&listed).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_publish_request_is_one_flat_object() {
        let line = format!(r#"{{"id":7,"op":"publish","topic":"{TOPIC}","text":"hi"}}"#);
        let call: Call = serde_json::from_str(&line).unwrap();
        let request = Request::Publish {
            topic: TOPIC,
            content: Content::text("hi"),
            count: None,
        };
        assert_eq!(call, Call { id: 7, request });
        assert_eq!(serde_json::to_string(&call).unwrap(), line);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let line = format!(r#"{{"op":"subscribe","topic":"{TOPIC}"}}"#);
        let subscribe = Request::Subscribe {
            topic: TOPIC,
            from: StartAt::Resume,
            ack: AckMode::Auto,
            deliver: Deliver::Full,
        };
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), subscribe);
        let Request::Open(open) = serde_json::from_str(r#"{"op":"open"}"#).unwrap() else {
            panic!("not open");
        };
        assert!(open.dir.is_none() && open.mdns == Mdns::Off);
    }

    #[test]
    fn nulls_and_unknown_fields_are_as_if_not_there() {
        for request in requests() {
            let mut value = serde_json::to_value(&request).unwrap();
            let fields = value.as_object_mut().unwrap();
            fields.insert("zest".to_owned(), true.into());
            for optional in ["dir", "seed", "bind_v6", "text", "count", "received"] {
                fields.entry(optional).or_insert(Value::Null);
            }
            assert_eq!(serde_json::from_value::<Request>(value).unwrap(), request);
        }
    }

    #[test]
    fn invalid_requests_are_refused() {
        for line in [
            "",
            "{}",
            r#"{"id":1}"#,
            r#"{"id":1,"op":"fly"}"#,
            r#"{"id":-1,"op":"peers"}"#,
            r#"{"id":1,"op":"leave","topic":"ab"}"#,
            r#"{"id":1,"op":"open","seed":"0g"}"#,
        ] {
            assert!(serde_json::from_str::<Call>(line).is_err(), "{line}");
        }
    }
}
