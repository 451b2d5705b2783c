//! The subscriptions of a client.

use std::collections::VecDeque;

use super::{Client, ClientError, Notes};
use crate::api::{
    self, AckParams, CreditParams, EndedNote, Message, NakParams, Note, PrunedNote, RpcError,
    SettledResult, SubscribeResult, SubscriptionParams, TermParams,
};

/// Messages of a subscription. It ends when it is dropped.
#[derive(Debug)]
pub struct MessageStream {
    stream: NoteStream,
    topics: Vec<String>,
    waiting: VecDeque<Message>,
    pruned: Vec<PrunedNote>,
    /// Bytes that are given back once what they paid for is taken.
    taken: u32,
}

impl MessageStream {
    pub(crate) fn new(client: Client, subscribed: &SubscribeResult, notes: Notes) -> Self {
        MessageStream {
            topics: subscribed.topics.clone(),
            stream: NoteStream::new(client, subscribed, notes),
            waiting: VecDeque::new(),
            pruned: Vec::new(),
            taken: 0,
        }
    }

    /// Aliases of the topics.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// The next message. `None` when the connection is over.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] when the node ended the subscription, and why.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(Some(message));
            }
            self.give();
            match self.stream.next().await? {
                Some(Note::Messages(note)) => {
                    self.taken = note.bytes;
                    self.waiting.extend(note.messages);
                    self.pruned.extend(note.pruned);
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Ends the subscription, and returns once the node has done so: the consumer has no reader any more.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn end(self) -> Result<(), ClientError> {
        let subscription = self.stream.subscription;
        let params = SubscriptionParams { subscription };
        let client = &self.stream.client;
        client.call::<api::SubscriptionEnd>(&params).await?;
        Ok(())
    }

    /// Takes what was pruned before it was settled, since the last call. It is settled with its
    /// delivery.
    pub fn take_pruned(&mut self) -> Vec<PrunedNote> {
        std::mem::take(&mut self.pruned)
    }

    /// The message was handled. Returns once that is on the node's disk.
    ///
    /// # Errors
    /// As [`Client::call`]; `stale-delivery` when it comes again.
    pub async fn ack(&self, message: &Message) -> Result<SettledResult, ClientError> {
        self.ack_all([message]).await
    }

    /// The same for several, with one request.
    ///
    /// # Errors
    /// As [`MessageStream::ack`].
    pub async fn ack_all<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<SettledResult, ClientError> {
        let messages = messages.into_iter();
        let params = AckParams {
            subscription: self.stream.subscription,
            deliveries: messages.filter_map(|message| message.delivery).collect(),
        };
        self.stream.client.call::<api::ConsumerAck>(&params).await
    }

    /// The message is to come again.
    ///
    /// # Errors
    /// As [`MessageStream::ack`].
    pub async fn nak(
        &self,
        message: &Message,
        delay_ms: Option<u64>,
    ) -> Result<SettledResult, ClientError> {
        let params = NakParams {
            subscription: self.stream.subscription,
            delivery: message.delivery.unwrap_or_default(),
            delay_ms,
        };
        self.stream.client.call::<api::ConsumerNak>(&params).await
    }

    /// The message cannot be handled.
    ///
    /// # Errors
    /// As [`MessageStream::ack`].
    pub async fn term(
        &self,
        message: &Message,
        reason: &str,
    ) -> Result<SettledResult, ClientError> {
        let params = TermParams {
            subscription: self.stream.subscription,
            delivery: message.delivery.unwrap_or_default(),
            reason: reason.to_owned(),
        };
        self.stream.client.call::<api::ConsumerTerm>(&params).await
    }

    fn give(&mut self) {
        let bytes = std::mem::take(&mut self.taken);
        if bytes > 0 {
            let subscription = self.stream.subscription;
            let params = CreditParams {
                subscription,
                bytes,
            };
            self.stream.client.notify::<api::MessagesCredit>(&params);
        }
    }
}

/// Notifications of a subscription. It ends when it is dropped.
#[derive(Debug)]
pub struct NoteStream {
    client: Client,
    subscription: u64,
    notes: Notes,
}

impl NoteStream {
    pub(crate) fn new(client: Client, subscribed: &SubscribeResult, notes: Notes) -> Self {
        NoteStream {
            client,
            subscription: subscribed.subscription,
            notes,
        }
    }

    /// The next one. `None` when the connection is over.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] when the node ended the subscription, and why.
    pub async fn next(&mut self) -> Result<Option<Note>, ClientError> {
        match self.notes.recv().await {
            Some(Note::Ended(EndedNote { message, data, .. })) => {
                let code = data.code.number();
                let data = Box::new(data);
                Err(ClientError::Rpc(RpcError {
                    code,
                    message,
                    data,
                }))
            }
            note => Ok(note),
        }
    }
}

impl Drop for NoteStream {
    fn drop(&mut self) {
        let subscription = self.subscription;
        self.client.connection.forget(subscription);
        let params = SubscriptionParams { subscription };
        self.client.notify::<api::SubscriptionEnd>(&params);
    }
}
