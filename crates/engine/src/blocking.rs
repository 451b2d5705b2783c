//! When a log cannot go on here, since this node does not take its next operation, and when it does
//! (`docs/protocol/streams.md#4.9`).

use p2panda_core::log::Head;
use p2panda_core::{Header, VerifyingKey};
use p2panda_store::{BlockedLog, RejectReason, StoreError};

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
    let head = turn.log(topic, &header.author())?.map(|log| log.head);
    if !is_next(topic, header, head) {
        return Ok(());
    }
    let log = BlockedLog {
        author: header.author(),
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

/// An operation above a gap. Answers whether that is there because the log is blocked: then it is not
/// kept, and known to have been seen.
pub(crate) fn saw(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
) -> Result<bool, StoreError> {
    let Some(log) = turn.state.blocked.get(topic.topic, header.author()) else {
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

/// An operation was appended: a log that was blocked below it goes on.
pub(crate) fn appended(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    author: VerifyingKey,
    seq: u32,
) -> Result<(), StoreError> {
    let log = turn.state.blocked.get(topic.topic, author);
    if log.is_none_or(|log| seq < log.seq) {
        return Ok(());
    }
    turn.state.blocked.remove(topic.topic, author);
    turn.tx.unblock(topic.key, &author)?;
    let topic = topic.topic;
    turn.batch.change(topic).heads.blocked.push((author, None));
    turn.batch
        .events
        .push(EngineEvent::LogGoesOn { topic, author });
    Ok(())
}

fn set(turn: &mut Turn<'_>, topic: &TopicRef, log: BlockedLog) -> Result<(), StoreError> {
    turn.tx.block(topic.key, &log)?;
    let (topic, author) = (topic.topic, log.author);
    turn.state.blocked.insert(topic, log);
    let blocked = (author, Some(log.seen));
    turn.batch.change(topic).heads.blocked.push(blocked);
    Ok(())
}

/// Whether it continues a log with this head in this topic. Extensions that cannot be read do not say
/// which log it is; the operation before it does.
fn is_next(topic: &TopicRef, header: &Header, head: Option<Head>) -> bool {
    let of_topic = match header.node_extensions() {
        Ok(extensions) => extensions.log_id == topic.log_id,
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
