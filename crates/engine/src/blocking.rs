//! Logs that cannot continue here, since this node does not take their next operation, and their
//! release (`docs/protocol/streams.md#4.9`).

use p2panda_core::log::Head;
use p2panda_core::{Header, Topic, VerifyingKey};
use p2panda_store::{BlockedLog, NamedLog, RejectReason, StoreError, TopicKey};

use crate::answer::EngineEvent;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// An operation is not taken, which its author made: if it is the next one of its log, that is blocked.
pub(crate) fn refused(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
    reason: RejectReason,
    bytes: u64,
) -> Result<(), StoreError> {
    if saw(turn, topic, header)? || turn.state.blocked.is_full() {
        return Ok(());
    }
    let (author, label) = (header.author(), header.label());
    let head = turn.log(topic, &label)?.map(|log| log.head);
    if !is_next(topic, header, head) {
        return Ok(());
    }
    if let Some(named) = named_log(header) {
        turn.tx.name_log(&label, &named)?;
    }
    let log = BlockedLog {
        author,
        label,
        seq: header.seq(),
        reason,
        bytes,
        seen: Head::of(header),
        at: turn.now.wall,
    };
    set(turn, topic, log)?;
    let topic = topic.topic;
    turn.batch
        .events
        .push(EngineEvent::LogBlocked { topic, log });
    Ok(())
}

/// An operation above a gap. Returns whether that is there because the log is blocked: then it is not
/// kept, and known to have been seen.
pub(crate) fn saw(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
) -> Result<bool, StoreError> {
    let Some(log) = turn.state.blocked.get(topic.topic, header.label()) else {
        return Ok(false);
    };
    let follows =
        Some(header.seq()) == log.seen.seq.checked_add(1) && header.backlink() == Some(log.seen.id);
    if follows {
        let seen = Head::of(header);
        set(turn, topic, BlockedLog { seen, ..log })?;
    }
    Ok(follows || (log.seq..=log.seen.seq).contains(&header.seq()))
}

/// An operation was appended: a log that was blocked below it continues.
pub(crate) fn appended(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    label: VerifyingKey,
    seq: u32,
) -> Result<(), StoreError> {
    let log = turn.state.blocked.get(topic.topic, label);
    match log {
        Some(log) if seq >= log.seq => goes_on(turn, (topic.topic, topic.key), &log),
        _ => Ok(()),
    }
}

/// Reports a log as unblocked: its operations would be accepted now, or do not matter any more.
pub(crate) fn goes_on(
    turn: &mut Turn<'_>,
    (topic, key): (Topic, TopicKey),
    log: &BlockedLog,
) -> Result<(), StoreError> {
    let (label, author) = (log.label, log.author);
    turn.state.blocked.remove(topic, label);
    turn.tx.unblock(key, &label)?;
    turn.batch.change(topic).heads.blocked.push((label, None));
    turn.batch
        .events
        .push(EngineEvent::LogGoesOn { topic, author });
    Ok(())
}

fn named_log(header: &Header) -> Option<NamedLog> {
    let extensions = header.node_extensions().ok()?;
    extensions.name.map(|name| NamedLog {
        author: header.author(),
        name,
        id: extensions.log_id,
    })
}

fn set(turn: &mut Turn<'_>, topic: &TopicRef, log: BlockedLog) -> Result<(), StoreError> {
    turn.tx.block(topic.key, &log)?;
    let (topic, label) = (topic.topic, log.label);
    turn.state.blocked.insert(topic, log);
    let blocked = (label, Some(log.seen));
    turn.batch.change(topic).heads.blocked.push(blocked);
    Ok(())
}

/// Returns `true` if it continues a log with this head in this topic. Extensions that cannot be
/// read do not say which log it is; the operation before it does.
fn is_next(topic: &TopicRef, header: &Header, head: Option<Head>) -> bool {
    let of_topic = match header.node_extensions() {
        Ok(extensions) => topic.has_log(&extensions),
        Err(_) => head.is_some(),
    };
    of_topic
        && match head {
            None => header.seq() == 0,
            Some(head) => {
                Some(header.seq()) == head.seq.checked_add(1) && header.backlink() == Some(head.id)
            }
        }
}
