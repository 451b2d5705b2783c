//! Sends what subscriptions deliver, within their credit (`docs/protocol/rpc.md#5`).

use std::fmt::Write;
use std::sync::Arc;

use futures_util::FutureExt;
use p2panda::{Consumer, Delivered, Delivery, Following, Topic};
use p2panda_core::limits::{RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX};
use tokio::sync::mpsc;

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

pub(crate) async fn tell_end(notes: &mpsc::Sender<String>, subscription: u64, error: RpcError) {
    let note = Note::Ended(EndedNote {
        subscription,
        message: error.message,
        data: *error.data,
    });
    // Nobody may be there any more.
    let _ = notes.send(NoteOut::text(&note)).await;
}

/// A subscription of a client, which ends when one of its topics becomes one of a space that the client
/// may not read (4.10.1).
pub(crate) struct May<F> {
    pub closes: F,
    pub notes: mpsc::Sender<String>,
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
    pub notes: mpsc::Sender<String>,
    pub credit: Arc<Credit>,
    pub header: bool,
    /// `true` if the client may be shown what the node opens in spaces.
    pub opens_spaces: bool,
}

/// The connection is gone.
struct Gone;

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

    /// Messages of a topic, until the topic is left or the connection gone. It holds nothing while it
    /// waits for credit but one small page.
    pub async fn stream(
        self,
        subscription: u64,
        mut following: Following,
        topic: Topic,
        after: u64,
    ) {
        let alias = self.service.aliases.of(&topic);
        let handle = self.service.node.topic(topic);
        let mut after = after;
        loop {
            let page = handle.messages(after, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX);
            let page = match page.await {
                Ok(page) => page,
                Err(error) => return tell_end(&self.notes, subscription, map::error(&error)).await,
            };
            // The topic may have become one of a space.
            if let Err(error) = self.service.may_open(self.opens_spaces, topic).await {
                return tell_end(&self.notes, subscription, error).await;
            }
            let Some(last) = page.last().map(p2panda::Message::offset) else {
                match following.grown(after).await {
                    Ok(()) => continue,
                    Err(error) => {
                        return tell_end(&self.notes, subscription, map::error(&error)).await;
                    }
                }
            };
            let view = |message| map::message(&alias, message, self.header);
            let views = page.iter().map(view).collect();
            drop(page);
            if self.send(subscription, views, Vec::new()).await.is_err() {
                return;
            }
            after = last;
        }
    }

    /// Sends what a consumer delivers.
    pub async fn deliver(
        self,
        subscription: u64,
        mut consumer: Consumer,
        open: Arc<Open>,
        keeps: bool,
    ) {
        let topics: Vec<_> = consumer
            .handle()
            .position()
            .iter()
            .map(|place| place.topic)
            .collect();
        let mut aliases = self.service.aliases_of(&topics);
        loop {
            let batch = consumer
                .fetch(RPC_FRAME_MESSAGES_MAX)
                .max_bytes(RPC_READ_BYTES_MAX);
            let batch = match batch.await {
                Ok(batch) => batch,
                Err(error) => return tell_end(&self.notes, subscription, map::error(&error)).await,
            };
            for delivery in &batch {
                let may = self.service.may_open(self.opens_spaces, delivery.topic());
                if let Err(error) = may.await {
                    return tell_end(&self.notes, subscription, error).await;
                }
            }
            let views = Views {
                header: self.header,
                keeps,
            };
            let alias = |topic: &Topic| {
                let alias = aliases.entry(*topic);
                alias
                    .or_insert_with(|| self.service.aliases.of(topic))
                    .clone()
            };
            let (messages, pruned) = views.of(batch, &open, alias);
            if self.send(subscription, messages, pruned).await.is_err() {
                return;
            }
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
                    self.notes.send(full).await.map_err(|_| Gone)?;
                    note = Draft::new(subscription);
                }
                self.credit.take(text.len()).await;
            }
            note.add(&text);
        }
        for what in &pruned {
            note.add_pruned(&serde_json::to_string(what).unwrap_or_default());
        }
        match note.finish() {
            Some(full) => self.notes.send(full).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }
}

/// A notification of messages that are texts already.
struct Draft {
    subscription: u64,
    bytes: usize,
    messages: String,
    pruned: String,
}

impl Draft {
    fn new(subscription: u64) -> Self {
        Draft {
            subscription,
            bytes: 0,
            messages: String::new(),
            pruned: String::new(),
        }
    }

    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        if !self.messages.is_empty() {
            self.messages.push(',');
        }
        self.messages.push_str(text);
    }

    fn add_pruned(&mut self, text: &str) {
        if !self.pruned.is_empty() {
            self.pruned.push(',');
        }
        self.pruned.push_str(text);
    }

    /// None if there is nothing in it.
    fn finish(&self) -> Option<String> {
        if self.messages.is_empty() && self.pruned.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.messages.len() + self.pruned.len() + 128);
        // A string takes everything.
        let _ = write!(
            text,
            "{{\"jsonrpc\":\"2.0\",\"method\":\"messages\",\"params\":{{\"subscription\":{},\"bytes\":{},\
             \"messages\":[{}],\"pruned\":[{}]}}}}",
            self.subscription, self.bytes, self.messages, self.pruned
        );
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_notification_that_is_put_together_is_one_of_the_types() {
        let message = api::Message {
            topic: "t0123456789abcdef".into(),
            author: p2panda::SigningKey::from_bytes(&[1; 32]).verifying_key(),
            log: None,
            seq: 0,
            id: p2panda::Hash::digest(b"x"),
            offset: 7,
            timestamp: 8,
            text: Some("\"}\u{2028}".into()),
            bytes: None,
            cbor: None,
            change: None,
            first_offset: None,
            missing: Vec::new(),
            header: None,
            delivery: Some(1),
            count: Some(2),
        };
        let mut draft = Draft::new(3);
        assert_eq!(draft.finish(), None);
        let text = serde_json::to_string(&message).unwrap();
        draft.add(&text);
        draft.add(&text);
        let note: Note = serde_json::from_str(&draft.finish().unwrap()).unwrap();
        let Note::Messages(note) = note else {
            unreachable!("it is one of messages")
        };
        assert_eq!(
            (note.subscription, note.bytes as usize),
            (3, 2 * text.len())
        );
        assert_eq!(note.messages, vec![message.clone(), message]);
    }
}
