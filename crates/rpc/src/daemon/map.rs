//! The node's types as those of the RPC. Nothing else turns one into the other: a program that looks at a
//! node without the RPC says the same by it.

mod spaces;

use std::time::Duration;

use bytes::Bytes;
use p2panda::{
    Change, ConsumerError, Error, ErrorKind, Event, Health, PeerState, PublishError, Raw,
    RejectReason, TraceProgress, TraceState,
};
use p2panda_core::limits::RPC_NOT_KEPT_MAX;

use crate::api::{self, Bin, Code, Expected, RpcError};

pub(crate) use spaces::role_of;
pub use spaces::{devices, role, space, space_invite, space_members, space_why, team};

/// An error of the node.
pub(crate) fn error(error: &Error) -> RpcError {
    let code = code(error);
    let made = RpcError::new(code, error.to_string());
    match hint(code) {
        _ if error.kind() == ErrorKind::NotYet => made.hint("wait, and call it again"),
        Some(hint) => made.hint(hint),
        None => made,
    }
}

fn code(error: &Error) -> Code {
    match error {
        Error::Publish(PublishError::KeyTaken { .. }) => Code::KeyTaken,
        Error::Publish(PublishError::TooMany { .. } | PublishError::TooLarge { .. }) => {
            Code::TooLarge
        }
        Error::Publish(PublishError::UnknownParent { .. }) => Code::NotFound,
        Error::Consumer(error) => of_consumer(error),
        Error::View(p2panda::ViewError::Unknown) => Code::NotFound,
        error => match error.kind() {
            ErrorKind::Restored => Code::Restored,
            ErrorKind::Invalid => Code::Invalid,
            ErrorKind::Limit => Code::Limit,
            ErrorKind::NotYet => Code::Conflict,
            ErrorKind::Closed => Code::Closed,
            ErrorKind::Busy | ErrorKind::Full => Code::Storage,
            _ => Code::Internal,
        },
    }
}

fn of_consumer(error: &ConsumerError) -> Code {
    match error {
        ConsumerError::Unknown | ConsumerError::Deleted => Code::UnknownConsumer,
        ConsumerError::InUse => Code::ConsumerInUse,
        ConsumerError::TakenOver => Code::TakenOver,
        ConsumerError::StaleToken | ConsumerError::NotDelivered => Code::StaleDelivery,
        ConsumerError::ForeignToken => Code::ForeignConsumer,
        ConsumerError::Conflict(_) => Code::Conflict,
        ConsumerError::UnknownTopic => Code::UnknownTopic,
        ConsumerError::UnknownOffset
        | ConsumerError::UnknownOperation
        | ConsumerError::UnknownDeadLetter => Code::NotFound,
        ConsumerError::Limit(_) => Code::Limit,
        ConsumerError::Damaged => Code::Internal,
        _ => Code::Invalid,
    }
}

fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::KeyTaken => "a request id names one message; choose a new one for another message",
        Code::TooLarge => "at most 1 000 messages and 4 MiB go into one publish.batch",
        Code::ConsumerInUse => "close the other reader, or open with take_over",
        Code::UnknownConsumer => "consumer.list has the names",
        Code::StaleDelivery => "the message comes again; settle the new delivery",
        Code::Storage => "make room on the disk; the node goes on by itself",
        Code::Closed => "start the node, or keep the topic again",
        Code::Restored => "start the node with one of the two ways on: see `panda help restored`",
        Code::Conflict => "close its readers first, or leave the setting out",
        _ => return None,
    })
}

/// A settling of so many.
pub(crate) fn settled(settled: p2panda::Settled) -> api::SettledResult {
    match settled {
        p2panda::Settled::Done => api::SettledResult {
            done: 1,
            already: 0,
        },
        _ => api::SettledResult {
            done: 0,
            already: 1,
        },
    }
}

pub(crate) fn place(dependency: &p2panda::Dependency) -> api::Place {
    api::Place {
        author: dependency.author,
        log: dependency.log,
        seq: dependency.seq,
        id: dependency.id,
    }
}

/// A message under the alias of its topic.
pub(crate) fn message(
    alias: &str,
    message: &p2panda::Message<Raw>,
    with_header: bool,
) -> api::Message {
    let text = message.text().ok().map(str::to_owned);
    let bytes = message
        .bytes()
        .ok()
        .map(|bytes| Bin(Bytes::copy_from_slice(bytes)));
    let is_other = text.is_none() && bytes.is_none() && !message.raw().is_empty();
    api::Message {
        topic: alias.to_owned(),
        author: message.author(),
        log: message.log(),
        seq: message.seq(),
        id: message.id(),
        offset: message.offset(),
        timestamp: message.timestamp().as_micros(),
        cbor: is_other.then(|| Bin(Bytes::copy_from_slice(message.raw()))),
        text,
        bytes,
        change: message.change().map(|change| {
            match change {
                Change::Withdrawn => "withdrawn",
                Change::Members => "members",
                Change::Expired => "expired",
                _ => "other",
            }
            .to_owned()
        }),
        first_offset: message.first_offset(),
        missing: message.missing_dependencies().iter().map(place).collect(),
        header: with_header.then(|| Bin(message.header().clone())),
        delivery: None,
        count: None,
    }
}

/// Returns a word for the reason of a refusal.
pub fn reason(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Undecodable => "undecodable",
        RejectReason::InvalidSignature => "invalid-signature",
        RejectReason::PayloadMismatch => "payload-mismatch",
        RejectReason::MissingExtensions => "missing-extensions",
        RejectReason::InvalidExtensions => "invalid-extensions",
        RejectReason::UnknownExtensions => "unknown-extensions",
        RejectReason::WrongTopic => "wrong-topic",
        RejectReason::Fork => "fork",
        RejectReason::BacklinkMismatch => "backlink-mismatch",
        RejectReason::SeqNumNonIncremental => "seq-num-non-incremental",
        RejectReason::TooLarge => "too-large",
        RejectReason::NoSpaceMessage => "no-space-message",
        RejectReason::NotAllowed => "not-allowed",
        RejectReason::Quota => "quota",
        _ => "other",
    }
}

/// A topic under its alias, or under what name it is shown.
pub fn topic_status(alias: String, status: &p2panda::TopicStatus) -> api::TopicStatusResult {
    api::TopicStatusResult {
        topic: alias,
        logs: status.logs,
        operations: status.totals.operations,
        bytes: status.totals.bytes,
        first: status.feed.map(|(first, _)| first),
        last: status.feed.map(|(_, last)| last),
        waiting: status.waiting,
        sealed: status.sealed,
        rejected: status
            .rejected
            .iter()
            .map(|(why, count)| (reason(*why).to_owned(), *count))
            .collect(),
        forks: status.forks,
        blocked: status.blocked.len() as u64,
        own_log_closed: status.own_log_closed,
        consumers: status
            .consumers
            .iter()
            .map(|one| one.name.clone())
            .collect(),
        positions: status
            .consumers
            .iter()
            .map(|one| api::TopicPosition {
                name: one.name.clone(),
                position: one.position,
                unsettled: one.unsettled,
                oldest: one.oldest,
                since: one.since.map(|since| since.as_micros()),
            })
            .collect(),
        blocked_logs: status.blocked.iter().map(blocked).collect(),
        wanted: 0,
        not_kept: Vec::new(),
    }
}

/// Converts what peers do not keep, as much of it as one answer has.
pub fn not_kept_of(logs: &[p2panda::NotKept]) -> Vec<api::NotKeptView> {
    logs.iter().take(RPC_NOT_KEPT_MAX).map(not_kept).collect()
}

/// Converts what a peer does not keep.
fn not_kept(log: &p2panda::NotKept) -> api::NotKeptView {
    api::NotKeptView {
        node: log.peer,
        author: log.author,
        named: log.label.is_some(),
        from: log.from,
        quota: quota(log.quota).to_owned(),
    }
}

/// A quota of a peer, in a word.
fn quota(quota: p2panda::Quota) -> &'static str {
    match quota {
        p2panda::Quota::All => "all",
        p2panda::Quota::Topic => "topic",
        p2panda::Quota::Author => "author",
        p2panda::Quota::Other(_) => "other",
    }
}

/// A log that cannot continue.
pub fn blocked(log: &p2panda::BlockedLog) -> api::BlockedLogView {
    api::BlockedLogView {
        author: log.author,
        seq: log.seq,
        reason: reason(log.reason).to_owned(),
        bytes: log.bytes,
    }
}

/// Converts a trace, under the name that its topic is shown by.
pub fn trace(alias: String, trace: &p2panda::Trace) -> api::TraceResult {
    let mut result = api::TraceResult {
        id: trace.id,
        topic: alias,
        author: trace.place.map(|place| place.author.to_string()),
        seq: trace.place.map(|place| place.seq),
        state: String::new(),
        reason: None,
        missing: Vec::new(),
        secret: None,
        offset: None,
        next: None,
        front: None,
        received: trace
            .received
            .iter()
            .map(|(peer, at)| api::ReceivedCopy {
                peer: *peer,
                at: at.as_micros(),
            })
            .collect(),
        consumers: trace
            .consumers
            .iter()
            .map(|one| (one.consumer.clone(), one.acknowledged))
            .collect(),
        sent_to: trace.sent_to.clone(),
        stored_by: trace.stored_by.clone(),
        not_kept: not_kept_of(&trace.not_kept),
    };
    let state = match &trace.state {
        TraceState::Refused { reason: why, .. } => {
            result.reason = why.map(|why| reason(why).to_owned());
            "refused"
        }
        TraceState::Early { next } => {
            result.next = Some(*next);
            "early"
        }
        TraceState::Stored(TraceProgress::Waiting { missing, front }) => {
            result.front = Some(*front);
            result.missing = missing.iter().map(place).collect();
            "waiting"
        }
        TraceState::Stored(TraceProgress::WantsBody { .. }) => "wants-body",
        TraceState::Stored(TraceProgress::NoMessage) => "no-message",
        TraceState::Stored(TraceProgress::Sealed { secret }) => {
            result.secret = Some(p2panda::Hash::from_bytes(*secret).to_string());
            "sealed"
        }
        TraceState::Stored(TraceProgress::Ordered) => "ordered",
        TraceState::Stored(TraceProgress::InFeed { offset, missing }) => {
            result.missing = missing.iter().map(place).collect();
            result.offset = Some(*offset);
            "in-feed"
        }
        _ => "stored",
    };
    result.state = state.to_owned();
    result
}

pub(crate) fn health(health: &Health) -> api::HealthView {
    let (state, reason) = match health {
        Health::Ok => ("ok", None),
        Health::Waiting { reason, .. } => ("waiting", Some(reason.to_string())),
        Health::Stopped { error } => ("stopped", Some(error.to_string())),
        _ => ("other", None),
    };
    api::HealthView {
        state: state.to_owned(),
        reason,
    }
}

/// A node that is known. Topics are named by `alias`.
pub fn peer(
    peer: &p2panda::PeerStatus,
    alias: impl Fn(&p2panda::Topic) -> String,
) -> api::PeerView {
    let (state, why) = match peer.state {
        PeerState::Known => ("known", None),
        PeerState::Connecting => ("connecting", None),
        PeerState::Unreached(why) => ("unreached", Some(contact(why))),
        PeerState::Met => ("met", None),
        PeerState::Connected => ("connected", None),
        PeerState::Live => ("live", None),
        _ => ("other", None),
    };
    api::PeerView {
        node: peer.id,
        addrs: peer.addrs.iter().map(ToString::to_string).collect(),
        relays: peer.relays.clone(),
        connected: peer.connected,
        relayed: peer.relayed,
        rtt_us: peer.rtt.map(micros),
        state: state.to_owned(),
        why,
        sessions: peer.sessions.len() as u64,
        topics_shared: peer.topics_shared as u64,
        contact: peer.contact.map(|status| contact(status.contact)),
        contact_since: peer.contact.map(|status| {
            let since = status.since.duration_since(std::time::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        }),
        clock_ahead: peer.clock.map(|by| match by {
            p2panda::ClockDifference::Ahead(by) => by.as_secs().cast_signed(),
            p2panda::ClockDifference::Behind(by) => -by.as_secs().cast_signed(),
        }),
        refused: peer
            .refused
            .iter()
            .map(|refused| api::RefusedTopic {
                topic: alias(&refused.topic),
                reason: kebab(&format!("{:?}", refused.reason)),
            })
            .collect(),
    }
}

/// Returns a word for the state of a node that was named.
pub fn contact(contact: p2panda::Contact) -> String {
    kebab(&format!("{contact:?}"))
}

/// An interface on which others are looked for.
pub fn local_network(network: &p2panda::LocalNetwork) -> api::LocalNetworkView {
    api::LocalNetworkView {
        interface: network.interface.clone(),
        ipv6: network.ipv6,
        failed: network.failed.map(|failed| failed.to_string()),
    }
}

/// A version of a view.
pub fn view(view: &p2panda::ViewStatus) -> api::ViewVersion {
    let (state, lacks, stop) = match &view.state {
        p2panda::ViewState::Answers => ("answers", None, None),
        p2panda::ViewState::Stopped(stop) => ("stopped", None, Some(stop)),
        p2panda::ViewState::Lacks { entries } => ("lacks", Some(*entries), None),
        _ => ("built", None, None),
    };
    api::ViewVersion {
        name: view.name.clone(),
        version: view.version,
        state: state.to_owned(),
        position: view.position,
        end: view.end,
        applied: view.applied,
        skipped: view.skipped,
        to_come: view.to_come,
        lacks,
        stopped_at: stop.map(|stop| stop.offset),
        reason: stop.map(|stop| format!("{:?}: {}", stop.reason, stop.detail)),
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `ClosedPort` as `closed-port`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric())
    {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// An event. Nothing names its topic but `alias`.
pub fn event(alias: impl Fn(&p2panda::Topic) -> String, event: &Event) -> api::EventNote {
    let (topic, peer, detail) = about(event);
    api::EventNote {
        subscription: 0,
        event: kebab(&format!("{event:?}")),
        topic: topic.as_ref().map(alias),
        peer: peer.map(|peer| peer.to_string()),
        detail,
    }
}

type About = (
    Option<p2panda::Topic>,
    Option<p2panda::VerifyingKey>,
    Option<String>,
);

fn about(event: &Event) -> About {
    match event {
        Event::PeerFound { peer } | Event::CopyRuns { peer } | Event::ClockDiffers { peer, .. } => {
            (None, Some(*peer), None)
        }
        Event::ContactChanged { peer, contact } => {
            (None, Some(*peer), Some(kebab(&format!("{contact:?}"))))
        }
        Event::NeighbourUp { topic, peer }
        | Event::NeighbourDown { topic, peer }
        | Event::SessionStarted { topic, peer, .. }
        | Event::CatchUpStarted { topic, peer, .. }
        | Event::CatchUpGoesOn { topic, peer, .. }
        | Event::PublishesHeld { topic, peer } => (Some(*topic), Some(*peer), None),
        Event::CatchUpEnded {
            topic,
            peer,
            transfer,
            ..
        } => {
            let detail = format!("received {} operations", transfer.received_operations);
            (Some(*topic), Some(*peer), Some(detail))
        }
        Event::SessionEnded {
            topic,
            peer,
            reason,
            ..
        } => (
            Some(*topic),
            Some(*peer),
            Some(kebab(&format!("{reason:?}"))),
        ),
        Event::SessionRefused {
            topic,
            peer,
            reason,
        } => (
            Some(*topic),
            Some(*peer),
            Some(kebab(&format!("{reason:?}"))),
        ),
        Event::TopicUntold { topic } => (Some(*topic), None, None),
        Event::Forked { topic, fork } | Event::OwnFork { topic, fork } => {
            (Some(*topic), Some(fork.first.author()), None)
        }
        Event::Rejected {
            topic,
            id,
            reason: why,
            peer,
        } => (Some(*topic), *peer, Some(format!("{}: {id}", reason(*why)))),
        Event::LogBlocked { topic, log } => (
            Some(*topic),
            Some(log.author),
            Some(reason(log.reason).to_owned()),
        ),
        Event::NotKept { topic, log } | Event::KeptAgain { topic, log } => {
            let detail = format!("{} of {} from {}", quota(log.quota), log.author, log.from);
            (Some(*topic), Some(log.peer), Some(detail))
        }
        Event::LogGoesOn { topic, author } | Event::Damaged { topic, author, .. } => {
            (Some(*topic), Some(*author), None)
        }
        Event::Space { topic, news } => (Some(*topic), None, Some(news.to_string())),
        Event::StorageWaits { reason } => (None, None, Some(reason.to_string())),
        Event::ViewStopped { name, .. }
        | Event::ViewSwapped { name, .. }
        | Event::ViewLacks { name, .. }
        | Event::ConsumerInactive { name }
        | Event::ConsumerFullOfDead { name } => (None, None, Some(name.clone())),
        Event::Lagged(lost) => (None, None, Some(format!("{lost} events were lost"))),
        _ => (None, None, None),
    }
}

/// Converts the start of a consumer.
pub(crate) fn start(start: api::Start) -> p2panda::ConsumerStart {
    match start {
        api::Start::Resume => p2panda::ConsumerStart::Resume,
        api::Start::Beginning => p2panda::ConsumerStart::Beginning,
        api::Start::Now => p2panda::ConsumerStart::Now,
        api::Start::Offset(offset) => p2panda::ConsumerStart::Offset(offset),
        api::Start::Time(us) => p2panda::ConsumerStart::Time(p2panda::Timestamp::from_micros(us)),
        api::Start::Operation(id) => p2panda::ConsumerStart::Operation(id),
    }
}

/// A consumer under the name that its client uses. Topics are named by `alias`.
pub fn consumer(
    alias: impl Fn(&p2panda::Topic) -> String,
    name: String,
    info: &p2panda::ConsumerInfo,
) -> api::ConsumerView {
    api::ConsumerView {
        name,
        positions: info
            .positions
            .iter()
            .map(|place| api::Position {
                topic: alias(&place.topic),
                position: place.position,
                open: place.open,
            })
            .collect(),
        readers: info.readers,
        paused: info.paused,
        full_of_dead: info.full_of_dead,
        in_flight: info.in_flight,
        dead: info.dead,
        inactive_ms: info.inactive.map(|after| micros(after) / 1_000),
    }
}

/// A dead letter. Topics are named by `alias`.
pub fn dead_letter(
    alias: impl Fn(&p2panda::Topic) -> String,
    letter: &p2panda::DeadLetter,
) -> api::DeadLetter {
    let (reason, said) = match &letter.row.reason {
        p2panda::DeadReason::MaxDeliveries => ("max-deliveries", None),
        p2panda::DeadReason::Terminated(said) => ("terminated", Some(said.to_string())),
        p2panda::DeadReason::Pruned => ("pruned", None),
        _ => ("other", None),
    };
    api::DeadLetter {
        number: letter.number,
        topic: alias(&letter.topic),
        offset: letter.offset,
        id: letter.id,
        reason: reason.to_owned(),
        said,
        count: letter.row.count,
        at: letter.row.at_us,
    }
}

/// The log continues elsewhere.
pub(crate) fn log_moved(expected: Expected) -> RpcError {
    let seq = expected.seq;
    let mut error = RpcError::new(
        Code::LogMoved,
        format!("the next operation of the log has seq {seq}"),
    )
    .hint("check that the log is yours up to there, and sign again at `expected`");
    error.data.expected = Some(expected);
    error
}

/// The operation breaks a rule.
pub(crate) fn refused(reason: &str) -> RpcError {
    if reason == self::reason(RejectReason::Quota) {
        let message = "the node keeps no more of this author or topic: a quota is used up";
        let mut error = RpcError::new(Code::Quota, message).hint(
            "try again later; there is room when the author prunes, or when the node deletes old \
            content or raises its quota",
        );
        error.data.reason = Some(reason.to_owned());
        return error;
    }
    let message = format!("the operation is refused: {reason}");
    let mut error = RpcError::new(Code::RefusedOperation, message)
        .hint("docs/protocol/operations.md and streams.md have the rules");
    error.data.reason = Some(reason.to_owned());
    error
}
