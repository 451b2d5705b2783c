//! Signed operations as they are stored (`docs/protocol/rpc.md#9`).

use std::sync::Arc;

use p2panda::{Error, Following, TopicHandle};
use p2panda_core::limits::{RPC_CREDIT_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX};
use tokio::sync::mpsc;

use super::access::Who;
use super::budget::Budget;
use super::filling::Outgoing;
use super::map;
use super::sending::tell_end;
use super::service::Service;
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
            service: session.service.clone(),
            notes,
            budget: session.budget(&who),
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

/// Sends operations within credit and budget. While it waits for them it holds none: it reads them again.
struct Sender {
    service: Service,
    notes: mpsc::Sender<Outgoing>,
    budget: Budget,
    credit: Arc<Credit>,
    subscription: u64,
}

/// Outcome of reading a page.
enum Read {
    /// What fitted was sent; the next operation lacks this many bytes of credit or budget.
    Sent(usize),
    /// There is nothing yet.
    Nothing,
    /// The connection is gone.
    Gone,
}

impl Sender {
    async fn run(self, handle: TopicHandle, mut following: Following, mut after: u64) {
        let mut needed = 0;
        loop {
            let next = match self.page(&handle, &mut after, needed).await {
                Ok(Read::Sent(lacks)) => Ok(lacks),
                Ok(Read::Nothing) => following.arrived(after).await.map(|()| 0),
                Ok(Read::Gone) => return,
                Err(error) => Err(error),
            };
            match next {
                Ok(next) => needed = next,
                Err(error) => {
                    let error = map::error(&error);
                    return tell_end(&self.notes, self.subscription, error).await;
                }
            }
        }
    }

    /// Sends as many operations after an arrival as there is credit and budget for, at least so much.
    async fn page(
        &self,
        handle: &TopicHandle,
        after: &mut u64,
        needed: usize,
    ) -> Result<Read, Error> {
        self.credit.until(needed).await;
        let mut room = self.budget.take(needed.max(RPC_READ_BYTES_MAX)).await;
        let reading = self.service.reads.acquire().await;
        let page = handle.operations_page(*after, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX);
        let page = page.await?;
        if page.is_empty() {
            return Ok(Read::Nothing);
        }
        let (mut operations, mut bytes, mut lacks) = (Vec::new(), 0, 0);
        for stored in page {
            let arrival = stored.arrival;
            let view = StoredView {
                arrival,
                header: stored.header.into(),
                body: stored.body.map(Into::into),
            };
            let cost = serde_json::to_string(&view).unwrap_or_default().len();
            if !room.covers(bytes + cost) || !self.credit.try_take(cost as i64) {
                lacks = cost;
                break;
            }
            bytes += cost;
            operations.push(view);
            *after = arrival;
        }
        let sent = match operations.is_empty() {
            true => Ok(()),
            false => {
                let text = self.note(operations, bytes);
                drop(reading);
                let room = Some(room);
                self.notes.send(Outgoing { text, room }).await
            }
        };
        Ok(sent.map_or(Read::Gone, |()| Read::Sent(lacks)))
    }

    fn note(&self, operations: Vec<StoredView>, bytes: usize) -> String {
        NoteOut::text(&Note::Operations(OperationsNote {
            subscription: self.subscription,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            operations,
        }))
    }
}
