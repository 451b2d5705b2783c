//! Sends what subscriptions deliver, within their credit (`docs/protocol/rpc.md#5`).

use std::sync::Arc;

use futures_util::FutureExt;
use p2panda::{Delivered, Delivery, Following, Message, Topic};
use p2panda_core::limits::{RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX};
use tokio::sync::mpsc;

use super::budget::Budget;
use super::filling::{Draft, Filling, Lacks, Outgoing};
use super::map;
use super::service::Service;
use super::subscription::{Credit, Open};
use crate::api::{self, Code, EndedNote, Note, NoteOut, RpcError};

/// Form in which deliveries are shown.
#[derive(Clone, Copy)]
pub(crate) struct Views {
    pub header: bool,
    pub keeps: bool,
}

impl Views {
    pub fn of(
        self,
        batch: Vec<Delivery>,
        open: &Open,
        mut alias: impl FnMut(&Topic) -> String,
    ) -> (Vec<api::Message>, Vec<api::PrunedNote>) {
        let (mut messages, mut pruned) = (Vec::new(), Vec::new());
        for delivery in batch {
            let topic = delivery.topic();
            let alias = alias(&topic);
            match delivery.what() {
                Delivered::Pruned(what) => {
                    let (author, below, unsettled) = (what.author, what.below, what.unsettled);
                    pruned.push(api::PrunedNote {
                        topic: alias,
                        author,
                        below,
                        unsettled,
                        delivery: open.keep_pruned(Box::new(delivery)),
                    });
                }
                Delivered::Message(message) | Delivered::Changed(_, message) => {
                    let mut view = map::message(&alias, message, self.header);
                    view.count = Some(delivery.count());
                    if let (true, Some(token)) = (self.keeps, delivery.token()) {
                        view.delivery = Some(open.keep(topic, view.offset, token));
                    }
                    messages.push(view);
                }
                _ => {}
            }
        }
        (messages, pruned)
    }
}

pub(crate) fn closed() -> RpcError {
    RpcError::new(Code::Closed, "the node shuts down").hint("connect again once it is back")
}

pub(crate) async fn tell_end(notes: &mpsc::Sender<Outgoing>, subscription: u64, error: RpcError) {
    let note = Note::Ended(EndedNote {
        subscription,
        message: error.message,
        data: *error.data,
    });
    // Nobody may be there any more.
    let _ = notes.send(NoteOut::text(&note).into()).await;
}

/// A subscription of a client, which ends when one of its topics becomes one of a space that the client
/// may not read (4.10.1).
pub(crate) struct May<F> {
    pub closes: F,
    pub notes: mpsc::Sender<Outgoing>,
    pub subscription: u64,
}

impl<F: Future<Output = RpcError>> May<F> {
    pub async fn run(self, work: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            refused = self.closes => tell_end(&self.notes, self.subscription, refused).await,
            () = work => {}
        }
    }
}

/// Sends messages within the credit.
pub(crate) struct Sender {
    pub service: Service,
    pub notes: mpsc::Sender<Outgoing>,
    pub credit: Arc<Credit>,
    pub budget: Budget,
    pub header: bool,
    /// `true` if the client may be shown what the node opens in spaces.
    pub opens_spaces: bool,
}

/// The connection is gone.
pub(super) struct Gone;

/// Outcome of reading a page.
enum Read {
    /// What fitted was sent; the next message lacks this.
    Sent(Lacks),
    /// There is nothing yet.
    Nothing,
    /// The connection is gone.
    Gone,
}

/// The number of bytes that a message has at least as JSON.
pub(super) fn least(message: &Message) -> usize {
    message.raw().len()
}

impl Sender {
    /// A subscription to these topics, as long as the client may read them.
    pub fn may(
        &self,
        subscription: u64,
        topics: Vec<Topic>,
    ) -> May<impl Future<Output = RpcError> + Send + use<>> {
        May {
            closes: self.service.closes(self.opens_spaces, topics),
            notes: self.notes.clone(),
            subscription,
        }
    }

    /// Lends a consumer to `consumer.fetch` as long as the client may read its topics.
    pub async fn lend(self, subscription: u64, topics: Vec<Topic>, open: Arc<Open>) {
        let refused = self.service.closes(self.opens_spaces, topics).await;
        if let Ok(pulled) = open.pulled() {
            // A fetch that waits ends for the same reason.
            *pulled.consumer.lock().await = None;
        }
        tell_end(&self.notes, subscription, refused).await;
    }

    /// Messages of a topic, until the topic is left or the connection gone. While it waits for credit or
    /// budget it holds no message: it reads them again.
    pub async fn stream(
        self,
        subscription: u64,
        mut following: Following,
        topic: Topic,
        after: u64,
    ) {
        let (mut after, mut lacks) = (after, Lacks(0));
        loop {
            match self.page(subscription, topic, &mut after, lacks).await {
                Ok(Read::Sent(more)) => lacks = more,
                Ok(Read::Nothing) => {
                    lacks = Lacks(0);
                    if let Err(error) = following.grown(after).await {
                        let error = map::error(&error);
                        return tell_end(&self.notes, subscription, error).await;
                    }
                }
                Ok(Read::Gone) => return,
                Err(error) => return tell_end(&self.notes, subscription, error).await,
            }
        }
    }

    /// Sends as many messages after an offset as there is credit and budget for, at least so much.
    async fn page(
        &self,
        subscription: u64,
        topic: Topic,
        after: &mut u64,
        Lacks(needed): Lacks,
    ) -> Result<Read, RpcError> {
        self.credit.until(needed).await;
        let room = self.budget.take(needed.max(RPC_READ_BYTES_MAX)).await;
        let mut filling = Filling::new(subscription, &self.credit, room);
        let reading = self.service.reads.acquire().await;
        let handle = self.service.node.topic(topic);
        let page = handle.messages(*after, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX);
        let page = page.await.map_err(|error| map::error(&error))?;
        // The topic may have become one of a space.
        self.service.may_open(self.opens_spaces, topic).await?;
        if page.is_empty() {
            return Ok(Read::Nothing);
        }
        let alias = self.service.aliases.of(&topic);
        let mut lacks = Lacks(0);
        for message in page {
            let offset = message.offset();
            if let Err(more) = self.fill(&mut filling, &alias, message) {
                lacks = more;
                break;
            }
            *after = offset;
        }
        drop(reading);
        Ok(match self.pass_on(filling).await {
            Ok(()) => Read::Sent(lacks),
            Err(Gone) => Read::Gone,
        })
    }

    fn fill(&self, filling: &mut Filling<'_>, alias: &str, message: Message) -> Result<(), Lacks> {
        filling.has_room(least(&message))?;
        let view = map::message(alias, &message, self.header);
        drop(message);
        filling.add(serde_json::to_string(&view).unwrap_or_default())
    }

    pub(super) async fn pass_on(&self, filling: Filling<'_>) -> Result<(), Gone> {
        match filling.finish() {
            Some(note) => self.notes.send(note).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }

    /// Messages from the node's own position on, each kept until it is acknowledged.
    pub async fn follow(
        self,
        subscription: u64,
        mut messages: p2panda::Subscription,
        open: Arc<Open>,
    ) {
        let alias = self.service.aliases.of(&messages.topic());
        let mut held_back = None;
        loop {
            let first = match held_back.take() {
                Some(message) => Some(message),
                None => messages.next().await,
            };
            let Some(first) = first else { break };
            let (mut views, mut bytes, mut next) = (Vec::new(), 0, Some(first));
            while let Some(message) = next.take() {
                // What is ready goes before anything waits for room.
                let room = match views.is_empty() {
                    true => open.room().await,
                    false => open.try_room(),
                };
                let Some(room) = room else {
                    held_back = Some(message);
                    break;
                };
                bytes += message.raw().len() + message.header().len();
                let mut view = map::message(&alias, &message, self.header);
                view.delivery = Some(open.keep_seen(message, room));
                views.push(view);
                if views.len() < RPC_FRAME_MESSAGES_MAX && bytes < RPC_READ_BYTES_MAX {
                    // What is there by now. Nothing waits for more.
                    next = messages.next().now_or_never().flatten();
                }
            }
            if self.send(subscription, views, Vec::new()).await.is_err() {
                return;
            }
        }
        let error = match messages.ended() {
            Some(p2panda::Ended::Failed(error)) => map::error(&error),
            _ => closed(),
        };
        tell_end(&self.notes, subscription, error).await;
    }

    /// In as many notifications as the credit needs.
    async fn send(
        &self,
        subscription: u64,
        messages: Vec<api::Message>,
        pruned: Vec<api::PrunedNote>,
    ) -> Result<(), Gone> {
        let mut note = Draft::new(subscription);
        for message in &messages {
            let text = serde_json::to_string(message).unwrap_or_default();
            if !self.credit.try_take(text.len() as i64) {
                if let Some(full) = note.finish() {
                    self.notes.send(full.into()).await.map_err(|_| Gone)?;
                    note = Draft::new(subscription);
                }
                self.credit.take(text.len()).await;
            }
            note.add(text);
        }
        for what in &pruned {
            note.add_pruned(&serde_json::to_string(what).unwrap_or_default());
        }
        match note.finish() {
            Some(full) => self.notes.send(full.into()).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }
}
