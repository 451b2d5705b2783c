//! The node's types as those of the wire, and back. Nothing else turns one into the other.
//!
//! Kinds that the node names and the wire does not are left out or become `Other`, so that a node
//! may know more than the clients of its process.

use bytes::Bytes;
use p2panda::{ErrorKind, Event, Raw, Topic};

use crate::server::ServeError;
use crate::wire;
use crate::wire::{FailureKind, Hex, Missing, SyncKind};

pub fn failure(error: &ServeError) -> wire::Failure {
    let kind = match error {
        ServeError::Node(error) => failure_kind(error.kind()),
        ServeError::Timeout => FailureKind::Timeout,
        ServeError::NotOpen | ServeError::NotSubscribed => FailureKind::Closed,
        ServeError::Content
        | ServeError::NoSpace
        | ServeError::NothingPublished
        | ServeError::Seed
        | ServeError::Encode(_)
        | ServeError::Open
        | ServeError::NotWaiting => FailureKind::Request,
    };
    wire::Failure {
        kind,
        message: error.to_string(),
    }
}

fn failure_kind(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::Locked => FailureKind::Locked,
        ErrorKind::Restored => FailureKind::Restored,
        ErrorKind::Invalid => FailureKind::Invalid,
        ErrorKind::Limit => FailureKind::Limit,
        ErrorKind::Corrupt => FailureKind::Corrupt,
        ErrorKind::Closed => FailureKind::Closed,
        ErrorKind::Io => FailureKind::Io,
        ErrorKind::Network => FailureKind::Network,
        _ => FailureKind::Other,
    }
}

/// A message as an event, `None` where only counting is asked for.
pub fn message(
    topic: Topic,
    message: &p2panda::Message<Raw>,
    deliver: wire::Deliver,
) -> Option<wire::Message> {
    match deliver {
        wire::Deliver::Count => None,
        wire::Deliver::Text => Some(wire::Message::Text(wire::TextMessage {
            topic,
            author: message.author(),
            seq: message.seq(),
            offset: message.offset(),
            text: message.text().unwrap_or_default().to_owned(),
        })),
        wire::Deliver::Full => Some(wire::Message::Full(wire::FullMessage {
            topic,
            author: message.author(),
            seq: message.seq(),
            id: message.id(),
            offset: message.offset(),
            header: Hex(message.header().clone()),
            body: Hex(Bytes::copy_from_slice(message.raw())),
            missing: message
                .missing_dependencies()
                .iter()
                .map(|dependency| Missing {
                    author: dependency.author,
                    seq: dependency.seq,
                    id: dependency.id,
                })
                .collect(),
        })),
    }
}

/// An event of the node, if it is about sync.
pub fn sync(event: &Event) -> Option<wire::Sync> {
    let (kind, topic, peer, transfer) = match event {
        Event::SessionStarted { topic, peer, .. } => {
            let nothing = p2panda::Transfer::default();
            (SyncKind::Started, topic, peer, nothing)
        }
        Event::CatchUpEnded {
            topic,
            peer,
            transfer,
            ..
        } => (SyncKind::CaughtUp, topic, peer, *transfer),
        Event::SessionEnded {
            topic,
            peer,
            transfer,
            ..
        } => (SyncKind::Ended, topic, peer, *transfer),
        _ => return None,
    };
    Some(wire::Sync {
        topic: *topic,
        peer: *peer,
        kind,
        sent_operations: transfer.sent_operations,
        sent_bytes: transfer.sent_bytes,
        received_operations: transfer.received_operations,
        received_bytes: transfer.received_bytes,
    })
}

pub fn ephemeral(topic: Topic, message: &p2panda::EphemeralMessage<Raw>) -> wire::Ephemeral {
    wire::Ephemeral {
        topic,
        author: message.author(),
        timestamp: message.timestamp(),
        body: Hex(Bytes::copy_from_slice(message.raw())),
    }
}

/// The counts of a topic; the node does not know what this process has received.
pub fn status(
    topic: Topic,
    status: &p2panda::TopicStatus,
    received: u64,
    peers: &[p2panda::PeerStatus],
) -> wire::Status {
    let mut rejected = std::collections::BTreeMap::new();
    for (reason, count) in &status.rejected {
        *rejected.entry(reject_reason(*reason)).or_default() += count;
    }
    let sessions = peers.iter().flat_map(|peer| &peer.sessions);
    wire::Status {
        operations: status.totals.operations,
        bytes: status.totals.bytes,
        logs: status.logs,
        received,
        rejected,
        forks: status.forks,
        sessions: sessions.filter(|session| session.topic == topic).count() as u64,
        waiting: status.waiting,
    }
}

fn reject_reason(reason: p2panda::RejectReason) -> wire::RejectReason {
    use p2panda::RejectReason as Node;
    use wire::RejectReason as Wire;
    match reason {
        Node::Undecodable => Wire::Undecodable,
        Node::InvalidSignature => Wire::InvalidSignature,
        Node::PayloadMismatch => Wire::PayloadMismatch,
        Node::MissingExtensions => Wire::MissingExtensions,
        Node::InvalidExtensions => Wire::InvalidExtensions,
        Node::UnknownExtensions => Wire::UnknownExtensions,
        Node::WrongTopic => Wire::WrongTopic,
        Node::Fork => Wire::Fork,
        Node::BacklinkMismatch => Wire::BacklinkMismatch,
        Node::SeqNumNonIncremental => Wire::SeqNumNonIncremental,
        Node::TooLarge => Wire::TooLarge,
        Node::NoSpaceMessage => Wire::NoSpaceMessage,
        Node::NotAllowed => Wire::NotAllowed,
        Node::Quota => Wire::Quota,
        _ => Wire::Other,
    }
}

pub fn imported(report: &p2panda::IngestReport) -> wire::Imported {
    wire::Imported {
        stored: report.stored as u64,
        duplicates: report.duplicates as u64,
        rejected: report.rejected as u64,
        early: report.early as u64,
    }
}

pub fn peer(peer: &p2panda::PeerStatus) -> wire::Peer {
    wire::Peer {
        node: peer.id,
        addrs: peer.addrs.clone(),
        connected: peer.connected,
        topics_shared: peer.topics_shared as u64,
        clock_ahead_s: peer.clock.map(clock_ahead_s),
        contact: peer.contact.and_then(contact_status),
    }
}

/// Nothing until something was tried.
fn contact_status(status: p2panda::ContactStatus) -> Option<wire::ContactStatus> {
    let since = status.since.duration_since(std::time::UNIX_EPOCH);
    Some(wire::ContactStatus {
        contact: contact(status.contact)?,
        since_s: since.unwrap_or_default().as_secs(),
    })
}

fn contact(contact: p2panda::Contact) -> Option<wire::Contact> {
    use p2panda::Contact as Node;
    use wire::Contact as Wire;
    Some(match contact {
        Node::Untried => return None,
        Node::Unresolved => Wire::Unresolved,
        Node::Dead => Wire::Dead,
        Node::ClosedPort => Wire::ClosedPort,
        Node::Refused => Wire::Refused,
        Node::OtherNetwork => Wire::OtherNetwork,
        Node::WrongId => Wire::WrongId,
        Node::NoCommonTopic => Wire::NoCommonTopic,
        Node::Reached => Wire::Reached,
        _ => Wire::Unreachable,
    })
}

fn clock_ahead_s(by: p2panda::ClockDifference) -> i64 {
    use p2panda::ClockDifference::{Ahead, Behind};
    let seconds = |by: std::time::Duration| i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    match by {
        Ahead(by) => seconds(by),
        Behind(by) => -seconds(by),
    }
}

pub fn counters(counters: &p2panda::Counters) -> wire::Counters {
    wire::Counters {
        sent_bytes: counters.udp_sent_bytes,
        received_bytes: counters.udp_received_bytes,
    }
}

pub fn start(from: wire::StartAt) -> p2panda::StartAt {
    match from {
        wire::StartAt::Start => p2panda::StartAt::Beginning,
        wire::StartAt::Resume => p2panda::StartAt::Resume,
        wire::StartAt::Now => p2panda::StartAt::Now,
    }
}

pub fn ack(mode: wire::AckMode) -> p2panda::Ack {
    match mode {
        wire::AckMode::Auto => p2panda::Ack::Automatic,
        wire::AckMode::Explicit => p2panda::Ack::Explicit,
    }
}

pub fn mdns(mdns: wire::Mdns) -> p2panda::Mdns {
    match mdns {
        wire::Mdns::Off => p2panda::Mdns::Off,
        wire::Mdns::Listen => p2panda::Mdns::Listen,
        wire::Mdns::Active => p2panda::Mdns::Active,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_reason_of_the_node_goes_by_its_own_name() {
        let known: Vec<_> = (0..=u8::MAX)
            .filter_map(p2panda::RejectReason::from_code)
            .collect();
        assert!(known.len() >= 11);
        for reason in known {
            let on_the_wire = serde_json::to_value(reject_reason(reason)).unwrap();
            assert_eq!(on_the_wire, format!("{reason:?}"));
        }
    }
}
