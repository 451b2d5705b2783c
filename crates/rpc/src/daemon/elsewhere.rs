//! Operations that were signed elsewhere (`docs/protocol/rpc.md#9`).

use std::sync::Arc;

use futures_lite::stream;
use p2panda::{Hash, ImportedOperation, LogName, Topic};
use p2panda_core::{EphemeralMessage, Header};

use super::access::Who;
use super::map;
use super::session::Session;
use crate::api::{self, Code, Expected, RpcError};

type Of<T> = Result<T, RpcError>;

pub(crate) async fn log_next(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::LogNextParams,
) -> Of<api::LogNextResult> {
    let topic = kept(session, &who, &params.topic).await?;
    let name = params.log.as_deref().map(LogName::of).transpose();
    let name = name.map_err(|error| map::error(&error.into()))?;
    let log_id = match &name {
        None => topic.log_id(),
        Some(name) => topic.named_log_id(name),
    };
    let expected = expected(session, &topic, params.author, name).await?;
    Ok(api::LogNextResult { expected, log_id })
}

pub(crate) async fn submit(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SubmitParams,
) -> Of<api::SubmitResult> {
    // Each continues the log behind the one before; they are synced together.
    let order = session.order.lock().await;
    let (id, duplicate) = store(session, &who, params).await?;
    drop(order);
    promise(session, id, duplicate).await
}

/// The id of the operation, and whether it was stored before.
async fn store(session: &Session, who: &Who, params: api::SubmitParams) -> Of<(Hash, bool)> {
    let topic = kept(session, who, &params.topic).await?;
    let header = params.header.0;
    let body = params.body.map(|body| body.0);
    let decoded = Header::decode(header.clone()).map_err(|_| map::refused("undecodable"))?;
    check(&topic, &decoded, body.as_deref())?;
    let (author, id) = (decoded.author(), decoded.id());
    let extensions = decoded.node_extensions();
    let name = extensions.ok().and_then(|extensions| extensions.name);
    let before = expected(session, &topic, author, name).await?;
    let goes_on = Expected {
        seq: decoded.seq(),
        backlink: decoded.backlink(),
    };
    if goes_on != before {
        let is_stored = decoded.seq() < before.seq && is_stored(session, id).await?;
        return match is_stored {
            true => Ok((id, true)),
            // It is not brought to the node: for a place that is taken it would be evidence of a fork.
            false => Err(map::log_moved(before)),
        };
    }
    let operation = stream::once(ImportedOperation { header, body });
    let report = session.service.node.import(topic, operation).await;
    let report = report.map_err(|error| map::error(&error))?;
    if report.stored + report.duplicates == 0 {
        let now = expected(session, &topic, author, name).await?;
        let moved = decoded.seq() != now.seq || report.early + report.dropped > 0;
        return Err(match moved {
            true => map::log_moved(now),
            false => map::refused(&reason(session, id).await),
        });
    }
    Ok((id, report.stored == 0))
}

/// The answer is a promise: what it names is on the disk.
async fn promise(session: &Session, id: Hash, duplicate: bool) -> Of<api::SubmitResult> {
    let synced = session.service.node.sync().await;
    synced.map_err(|error| map::error(&error))?;
    Ok(api::SubmitResult { id, duplicate })
}

async fn is_stored(session: &Session, id: Hash) -> Of<bool> {
    let trace = session.service.node.trace(id).await;
    let trace = trace.map_err(|error| map::error(&error))?;
    Ok(trace.is_some_and(|trace| matches!(trace.state, p2panda::TraceState::Stored(_))))
}

/// Checks an operation without the store.
fn check(topic: &Topic, header: &Header, body: Option<&[u8]>) -> Of<()> {
    let extensions = header.node_extensions();
    let extensions = extensions.map_err(|_| map::refused("invalid-extensions"))?;
    if !topic.has_log(&extensions.log_id, extensions.name.as_ref()) {
        return Err(map::refused("wrong-topic"));
    }
    match body {
        Some(body) => {
            let fits = header.payload_hash() == Some(Hash::digest(body))
                && header.payload_size() as usize == body.len();
            fits.then_some(())
                .ok_or_else(|| map::refused("payload-mismatch"))
        }
        None if header.payload_size() > 0 => {
            let error = RpcError::new(
                Code::InvalidParams,
                "the header has a body, which is missing",
            );
            Err(error.hint("send the body with its header"))
        }
        None => Ok(()),
    }
}

/// The rule that the node names.
async fn reason(session: &Session, id: Hash) -> String {
    let trace = session.service.node.trace(id).await;
    match trace.ok().flatten().map(|trace| trace.state) {
        Some(p2panda::TraceState::Refused {
            reason: Some(why), ..
        }) => map::reason(why).to_owned(),
        _ => "other".to_owned(),
    }
}

async fn expected(
    session: &Session,
    topic: &Topic,
    author: p2panda::VerifyingKey,
    name: Option<LogName>,
) -> Of<Expected> {
    let next = session
        .service
        .node
        .topic(*topic)
        .next_entry(author, name)
        .await;
    let (seq, backlink) = next.map_err(|error| map::error(&error))?;
    Ok(Expected { seq, backlink })
}

/// Publishes an ephemeral message. Clients of this node receive it immediately; other nodes get it inside
/// a message of the node.
pub(crate) async fn ephemeral(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::EphemeralSubmitParams,
) -> Of<api::Empty> {
    let topic = kept(session, &who, &params.topic).await?;
    session.service.may_seal(&who, topic).await?;
    let message = params.message.0;
    EphemeralMessage::open(message.clone()).map_err(|error| {
        RpcError::new(Code::Invalid, error.to_string())
            .hint("docs/protocol/operations.md#8 has the form")
    })?;
    let opened = session.service.node.ephemeral(topic).await;
    let (publisher, _) = opened.map_err(|error| map::error(&error))?;
    let sent = publisher.publish(message.to_vec()).await;
    sent.map_err(|error| map::error(&error))?;
    // Nobody may listen.
    let _ = session.service.nearby.send((topic, message));
    Ok(api::Empty {})
}

async fn kept(session: &Session, who: &Who, topic: &str) -> Of<Topic> {
    let topic = session.service.topic(who, topic).await?;
    match session.service.keeps(&topic).await? {
        true => Ok(topic),
        false => Err(
            RpcError::new(Code::Forbidden, "the node does not keep this topic")
                .hint("a scope admin keeps it with topic.keep"),
        ),
    }
}
