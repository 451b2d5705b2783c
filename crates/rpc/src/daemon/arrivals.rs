//! Signed operations as they are stored (`docs/protocol/rpc.md#9`).

use std::sync::Arc;

use p2panda::{Following, StoredOperation, TopicHandle};
use p2panda_core::limits::{RPC_CREDIT_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX};
use tokio::sync::mpsc;

use super::access::Who;
use super::map;
use super::sending::tell_end;
use super::session::Session;
use super::subscription::{Credit, Subscription};
use crate::api::{self, Note, NoteOut, OperationsNote, RpcError, StoredView, SubscribeResult};

pub(crate) async fn subscribe(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::OperationsParams,
) -> Result<SubscribeResult, RpcError> {
    let notes = session.notes()?;
    let (topic, alias) = session.service.used_topic(&who, &params.topic).await?;
    let credit = params
        .credit
        .map_or(RPC_CREDIT_BYTES_MAX, |bytes| bytes as usize);
    let credit = Arc::new(Credit::new(credit));
    let handle = session.service.node.topic(topic);
    let following = handle.follow().await;
    let following = following.map_err(|error| map::error(&error))?;
    let subscription = session.subscribe(&who, |subscription| {
        let sender = Sender {
            notes,
            credit: Arc::clone(&credit),
            subscription,
        };
        let task = tokio::spawn(sender.run(handle, following, params.after));
        Arc::new(Subscription::new(credit, Arc::default(), task))
    })?;
    Ok(SubscribeResult {
        subscription,
        topics: vec![alias],
    })
}

/// Sends operations within the credit. It holds one small page while it waits.
struct Sender {
    notes: mpsc::Sender<String>,
    credit: Arc<Credit>,
    subscription: u64,
}

/// The connection is gone.
struct Gone;

impl Sender {
    async fn run(self, handle: TopicHandle, mut following: Following, mut after: u64) {
        loop {
            let page = handle.operations_page(after, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX);
            let page = match page.await {
                Ok(page) => page,
                Err(error) => return self.end(map::error(&error)).await,
            };
            let Some(last) = page.last().map(|operation| operation.arrival) else {
                match following.arrived(after).await {
                    Ok(()) => continue,
                    Err(error) => return self.end(map::error(&error)).await,
                }
            };
            if self.send(page).await.is_err() {
                return;
            }
            after = last;
        }
    }

    async fn end(&self, error: RpcError) {
        tell_end(&self.notes, self.subscription, error).await;
    }

    /// In as many notifications as the credit needs.
    async fn send(&self, page: Vec<StoredOperation>) -> Result<(), Gone> {
        let (mut operations, mut bytes) = (Vec::new(), 0);
        for stored in page {
            let view = StoredView {
                arrival: stored.arrival,
                header: stored.header.into(),
                body: stored.body.map(Into::into),
            };
            let cost = serde_json::to_string(&view).unwrap_or_default().len();
            if !self.credit.try_take(cost as i64) {
                self.note(std::mem::take(&mut operations), std::mem::take(&mut bytes))
                    .await?;
                self.credit.take(cost).await;
            }
            bytes += cost;
            operations.push(view);
        }
        self.note(operations, bytes).await
    }

    async fn note(&self, operations: Vec<StoredView>, bytes: usize) -> Result<(), Gone> {
        if operations.is_empty() {
            return Ok(());
        }
        let note = Note::Operations(OperationsNote {
            subscription: self.subscription,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            operations,
        });
        let sent = self.notes.send(NoteOut::text(&note)).await;
        sent.map_err(|_| Gone)
    }
}
