//! Publishing as the node (`docs/protocol/rpc.md#8`).

use std::sync::Arc;
use std::time::Duration;

use p2panda::{Body, Dependency, Error, NewMessage, Publisher, Receipt};
use p2panda_core::limits::RPC_RECEIPT_WAIT;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::access::Who;
use super::map;
use super::session::Session;
use crate::api::{self, Code, Content, Empty, RpcError, UploadKind};

type Of<T> = Result<T, RpcError>;

pub(crate) async fn publish(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::PublishParams,
) -> Of<api::PublishResult> {
    let order = session.order.lock().await;
    publish_in(session, who, params, order).await
}

/// Refused where the topic carries no space: nothing that is meant for members goes out in clear.
pub(crate) async fn publish_sealed(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::PublishParams,
) -> Of<api::PublishResult> {
    let order = session.order.lock().await;
    super::spaces::named(session, &who, &params.topic).await?;
    publish_in(session, who, params, order).await
}

async fn publish_in(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::PublishParams,
    order: MutexGuard<'_, ()>,
) -> Of<api::PublishResult> {
    let publisher = publisher(session, &who, &params.topic).await?;
    let message = message(session, &who, params.message)?;
    let receipt = in_order(publisher.publish_message(message), order).await;
    let receipt = receipt.map_err(|error| map::error(&error))?;
    let waited = match params.wait {
        None => true,
        Some(wait) => wait_for(&receipt, wait).await?,
    };
    Ok(api::PublishResult {
        id: receipt.id(),
        seq: receipt.seq(),
        sent_to: receipt.sent_to(),
        held_by: receipt.held_by(),
        waited,
        not_kept: map::not_kept_of(&receipt.refused_by()),
    })
}

pub(crate) async fn publish_batch(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::PublishBatchParams,
) -> Of<api::PublishBatchResult> {
    let order = session.order.lock().await;
    let publisher = publisher(session, &who, &params.topic).await?;
    let messages = params.messages.into_iter();
    let messages: Vec<_> = messages
        .map(|new| message(session, &who, new))
        .collect::<Result<_, _>>()?;
    let receipts = in_order(publisher.publish_messages(messages), order).await;
    let receipts = receipts.map_err(|error| map::error(&error))?;
    let published = |receipt: &Receipt| api::Published {
        id: receipt.id(),
        seq: receipt.seq(),
    };
    Ok(api::PublishBatchResult {
        published: receipts.iter().map(published).collect(),
    })
}

pub(crate) async fn upload(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::UploadParams,
) -> Of<api::UploadResult> {
    // Its number is one of the connection.
    session.notes()?;
    let room = &session.service.uploads;
    let added = session.uploads.add(room, params.upload, &params.data.0);
    let (upload, bytes) = added?;
    Ok(api::UploadResult {
        upload,
        bytes: bytes as u64,
    })
}

pub(crate) async fn ephemeral(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::EphemeralPublishParams,
) -> Of<Empty> {
    let (topic, _) = session.service.opened_topic(&who, &params.topic).await?;
    let opened = session.service.node.ephemeral(topic).await;
    let (publisher, _) = opened.map_err(|error| map::error(&error))?;
    let sent = publisher.publish(body(session, params.content)?).await;
    sent.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

/// The first poll of a publish takes its place in the log; the next one may begin then.
async fn in_order<T>(publish: impl Future<Output = T>, order: MutexGuard<'_, ()>) -> T {
    let mut publish = std::pin::pin!(publish);
    match futures_lite::future::poll_once(&mut publish).await {
        Some(published) => published,
        None => {
            drop(order);
            publish.await
        }
    }
}

/// Returns the publisher of a topic. A caller that may not read what members say publishes nothing
/// to them (4.10).
async fn publisher(session: &Session, who: &Who, topic: &str) -> Of<Publisher> {
    let (topic, _) = session.service.opened_topic(who, topic).await?;
    let publisher = session.service.node.publisher(topic).await;
    publisher.map_err(|error| map::error(&error))
}

/// Waits, and returns `true` if the condition was met in time.
async fn wait_for(receipt: &Receipt, wait: api::Wait) -> Of<bool> {
    let time = Duration::from_millis(wait.timeout_ms).min(RPC_RECEIPT_WAIT);
    let waiting = async {
        match wait.stored {
            0 => receipt.sent().await,
            peers => receipt.stored(peers).await,
        }
    };
    match timeout(time, waiting).await {
        Ok(Ok(())) => Ok(true),
        // It is published; the result names the peers.
        Ok(Err(Error::NotKept(_) | Error::OwnKey)) => Ok(false),
        Ok(Err(error)) => Err(map::error(&error)),
        Err(_) => Ok(false),
    }
}

/// The message as the node publishes it. A request id is one of its client.
fn message(session: &Session, who: &Who, new: api::NewMessage) -> Of<NewMessage> {
    let mut message = match new.content {
        Some(content) => NewMessage::new(body(session, content)?),
        None if new.prune => NewMessage::empty(),
        None => {
            let error = RpcError::new(Code::InvalidParams, "a message without content");
            return Err(error.hint("give text, bytes, cbor or json, or prune"));
        }
    };
    if new.prune {
        message = message.prune();
    }
    if let Some(log) = &new.log {
        message = message
            .to_log(log)
            .map_err(|error| map::error(&error.into()))?;
    }
    if let Some(request) = &new.request {
        // A name has no `/`.
        message = message.idempotency_key(format!("{}/{request}", who.name));
    }
    let after = new.after.iter().map(|place| Dependency {
        author: place.author,
        log: place.log,
        seq: place.seq,
        id: place.id,
    });
    Ok(message.after(after))
}

fn body(session: &Session, content: Content) -> Of<Body> {
    let invalid = |error: p2panda::EncodeError| {
        RpcError::new(Code::InvalidParams, error.to_string())
            .hint("cbor is one CBOR item in the deterministic form")
    };
    match content {
        Content::Text(text) => Ok(Body::from(text)),
        Content::Bytes(bytes) => Ok(Body::from(bytes.0.to_vec())),
        Content::Cbor(item) => Body::from_cbor(item.0).map_err(invalid),
        Content::Json(value) => Body::value(&value).map_err(invalid),
        Content::Upload(uploaded) => {
            let bytes = session.uploads.take(uploaded.number)?;
            match uploaded.kind {
                UploadKind::Bytes => Ok(Body::from(bytes)),
                UploadKind::Cbor => Body::from_cbor(bytes).map_err(invalid),
                UploadKind::Text => String::from_utf8(bytes).map(Body::from).map_err(|_| {
                    RpcError::new(Code::InvalidParams, "the upload is not UTF-8")
                        .hint("publish it as bytes")
                }),
            }
        }
    }
}
