//! Results of requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use p2panda_core::{Hash, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::Hex;

/// The replies. A reply does not name its request; its fields tell it from the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// The first that fits is taken: of two whose fields are a subset, the larger one stands first.
#[serde(untagged)]
pub enum Reply {
    /// Answers `open`.
    Opened(Opened),
    /// Answers `publish`.
    Published(Published),
    /// Answers `prune`.
    Pruned(Pruned),
    /// Answers `import`.
    Imported(Imported),
    /// Answers `receipt`.
    Receipt(Receipt),
    /// Answers `status`.
    Status(Status),
    /// Answers `dump`.
    Dump(Dump),
    /// Answers `digest`.
    Digest(Digest),
    /// Answers `peers`.
    Peers(Peers),
    /// Answers `counters`.
    Counters(Counters),
    /// Answers all other requests.
    Done(Done),
}

/// The node is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its id.
    pub node: VerifyingKey,
    /// Addresses on which it listens.
    pub addrs: Vec<SocketAddr>,
}

/// Operations were published, one after the other in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Id of the first.
    pub id: Hash,
    /// Place of the first in the log.
    pub seq: u32,
    /// Place of the last in the log.
    pub last_seq: u32,
}

/// The node's own log was pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Id of the operation that prunes it.
    pub id: Hash,
    /// Its place in the log, now the first.
    pub seq: u32,
}

/// Delivery state of what this node published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Place of the newest operation in the log.
    pub seq: u32,
    /// Peers that were sent everything up to it.
    pub sent_to: Vec<VerifyingKey>,
    /// Peers that say that they have stored everything up to it.
    pub held_by: Vec<VerifyingKey>,
}

/// Result of an import of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// New and valid.
    pub stored: u64,
    /// There already, or pruned before.
    pub duplicates: u64,
    /// Refused.
    pub rejected: u64,
    /// Kept until the operations before them come.
    pub early: u64,
}

/// Counts of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Operations stored.
    pub operations: u64,
    /// Bytes of their headers and bodies.
    pub bytes: u64,
    /// Logs, one per author.
    pub logs: u64,
    /// Messages that this process's subscription has received.
    pub received: u64,
    /// Operations ever refused, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Forks with evidence.
    pub forks: u64,
    /// Sync sessions that are running.
    pub sessions: u64,
    /// Operations that wait for their causal order.
    pub waiting: u64,
}

/// Reason why an operation was refused (`docs/protocol/operations.md#3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RejectReason {
    /// The header is not a valid encoding of one.
    Undecodable,
    /// The signature does not verify.
    InvalidSignature,
    /// The body does not match hash and size in the header.
    PayloadMismatch,
    /// The header has no extensions.
    MissingExtensions,
    /// The extensions have another shape than the node's.
    InvalidExtensions,
    /// The extensions are of a version or variant that the node does not know.
    UnknownExtensions,
    /// The operation belongs to another topic.
    WrongTopic,
    /// Another operation of the same author has this place in the log.
    Fork,
    /// The operation names another predecessor than the one stored.
    BacklinkMismatch,
    /// It does not continue the log.
    SeqNumNonIncremental,
    /// Header and body are larger than the node takes.
    TooLarge,
    /// Its topic carries a space, and it is not a message of one.
    NoSpaceMessage,
    /// Its author may not do in the space what it asks for.
    NotAllowed,
    /// A quota of what the node keeps is used up.
    Quota,
    /// One that this version has no name for.
    #[serde(other)]
    Other,
}

/// All operations of a topic, by author and place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// Stored operations, in that order.
    pub operations: Vec<StoredOperation>,
}

/// One stored operation of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOperation {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Place in the log.
    pub seq: u32,
    /// Operation id.
    pub id: Hash,
    /// Header bytes.
    pub header: Hex,
    /// Body bytes, unless they have not come or there are none.
    pub body: Option<Hex>,
}

/// Digest that two nodes compare to see whether they hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Operations stored.
    pub operations: u64,
    /// Bytes of their headers and bodies.
    pub bytes: u64,
    /// BLAKE3 over the BLAKE3 hashes of header and body, by author and place in the log.
    pub digest: Hash,
}

/// The nodes that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The nodes.
    pub peers: Vec<Peer>,
}

/// A node that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub node: VerifyingKey,
    /// Its addresses, the signed ones first.
    pub addrs: Vec<SocketAddr>,
    /// `true` if a connection to it is open.
    pub connected: bool,
    /// Number of topics that it is known to share.
    pub topics_shared: u64,
    /// Seconds that its clock is ahead of the node's, at least, if it differs much; negative where
    /// it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<i64>,
    /// State of the contact, if it was named by `open` or `add_peer` and something was tried
    /// since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<ContactStatus>,
}

/// State of a node that was named, and since when it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactStatus {
    /// State of the contact.
    pub contact: Contact,
    /// Seconds since 1970.
    pub since_s: u64,
}

/// State of a node that was named, by the last attempt or session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contact {
    /// Its host name cannot be resolved to an address.
    Unresolved,
    /// Nothing answers at its addresses.
    Dead,
    /// Nobody listens at its addresses.
    ClosedPort,
    /// None of the protocols of this network is spoken at its address.
    OtherNetwork,
    /// Another node answers at its address.
    WrongId,
    /// It answers, and refuses the connection.
    Refused,
    /// It could not be reached, for an unknown reason.
    Unreachable,
    /// It was met, and shares no topic.
    NoCommonTopic,
    /// It was met, and shares a topic.
    Reached,
}

/// Bytes in UDP datagrams since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Bytes that were received.
    pub received_bytes: u64,
}

/// Nothing but that it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// Any other reply would fit.
#[serde(deny_unknown_fields)]
pub struct Done {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// One of each, the optional parts there and not.
    fn replies() -> Vec<Reply> {
        let author = p2panda_core::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let id = Hash::digest(b"id");
        let addrs = vec!["127.0.0.1:9".parse().unwrap(), "[::1]:9".parse().unwrap()];
        let stored = |body| StoredOperation {
            author,
            seq: 7,
            id,
            header: Hex(vec![0x86].into()),
            body,
        };
        vec![
            Reply::Opened(Opened {
                node: author,
                addrs: addrs.clone(),
            }),
            Reply::Published(Published {
                id,
                seq: 0,
                last_seq: u32::MAX,
            }),
            Reply::Pruned(Pruned { id, seq: 1 }),
            Reply::Imported(Imported {
                stored: 1,
                duplicates: 2,
                rejected: 3,
                early: u64::MAX,
            }),
            Reply::Receipt(Receipt {
                seq: 1,
                sent_to: vec![author],
                held_by: vec![],
            }),
            Reply::Status(Status::default()),
            Reply::Status(Status {
                operations: 1,
                bytes: 2,
                logs: 3,
                received: 4,
                rejected: [(RejectReason::Fork, 5), (RejectReason::WrongTopic, 6)].into(),
                forks: 7,
                sessions: 8,
                waiting: 9,
            }),
            Reply::Dump(Dump { operations: vec![] }),
            Reply::Dump(Dump {
                operations: vec![stored(Some(Hex(vec![0xf6].into()))), stored(None)],
            }),
            Reply::Digest(Digest {
                operations: 1,
                bytes: 2,
                digest: id,
            }),
            Reply::Peers(Peers { peers: vec![] }),
            Reply::Peers(Peers {
                peers: vec![Peer {
                    node: author,
                    addrs,
                    connected: true,
                    topics_shared: 1,
                    clock_ahead_s: Some(-9),
                    contact: Some(ContactStatus {
                        contact: Contact::Dead,
                        since_s: 1,
                    }),
                }],
            }),
            Reply::Counters(Counters {
                sent_bytes: 1,
                received_bytes: 2,
            }),
            Reply::Done(Done {}),
        ]
    }

    /// A new reply does not compile until it is counted here, and fails until it has a sample.
    fn number(reply: &Reply) -> usize {
        match reply {
            Reply::Opened(_) => 0,
            Reply::Published(_) => 1,
            Reply::Pruned(_) => 2,
            Reply::Imported(_) => 3,
            Reply::Receipt(_) => 4,
            Reply::Status(_) => 5,
            Reply::Dump(_) => 6,
            Reply::Digest(_) => 7,
            Reply::Peers(_) => 8,
            Reply::Counters(_) => 9,
            Reply::Done(_) => 10,
        }
    }

    #[test]
    fn every_reply_comes_back_as_what_it_was() {
        let replies = replies();
        for reply in &replies {
            let text = serde_json::to_string(reply).unwrap();
            let back: Reply = serde_json::from_str(&text).unwrap();
            assert_eq!(&back, reply, "{text}");
        }
        let numbers = replies.iter().map(number);
        let numbers: std::collections::BTreeSet<usize> = numbers.collect();
        assert!(numbers.into_iter().eq(0..11), "a reply has no sample");
    }

    #[test]
    fn a_reply_with_fields_of_a_newer_version_is_still_that_reply() {
        for reply in replies() {
            if matches!(reply, Reply::Done(_)) {
                continue;
            }
            let mut value = serde_json::to_value(&reply).unwrap();
            let fields = value.as_object_mut().unwrap();
            fields.insert("zest".to_owned(), true.into());
            let back: Reply = serde_json::from_value(value).unwrap();
            assert_eq!(back, reply);
        }
    }

    #[test]
    fn a_reason_of_a_newer_version_can_be_read() {
        let reason: RejectReason = serde_json::from_str("\"TooOld\"").unwrap();
        assert_eq!(reason, RejectReason::Other);
    }
}
