//! Actions and views of the application of a simulated node.

use bytes::Bytes;
use p2panda_core::cbor::{self, Reader, Writer};
use p2panda_core::limits::ACKS_GATHER_DELAY;
use p2panda_core::{Operation, Topic, VerifyingKey};
use p2panda_engine::{Command, Durability, Incoming, NewMessage, Published, Source};

use super::{Event, Sim};
use crate::node::{Delivery, NodeId};

impl Sim {
    /// Drops a body of a node on purpose.
    pub fn drop_body(&mut self, node: NodeId, topic: Topic, author: VerifyingKey, seq: u32) {
        self.at_mut(node).queue.push(Command::DropBody {
            topic,
            log: author.into(),
            seq,
            reply: None,
        });
        self.run_engine(node);
    }

    /// Publishes a text and runs the engine: it is stored when this returns.
    pub fn publish(&mut self, node: NodeId, topic: Topic, text: &str) -> Published {
        self.publish_body(node, topic, Some(text_body(text)), false)
    }

    /// Publishes a body, or prunes, or both.
    pub fn publish_body(
        &mut self,
        node: NodeId,
        topic: Topic,
        body: Option<Bytes>,
        prune: bool,
    ) -> Published {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.at_mut(node).queue.push(Command::Publish {
            topic,
            message: NewMessage {
                body,
                prune,
                ..NewMessage::default()
            },
            reply: Box::new(move |published| drop(sender.send(published))),
        });
        self.run_engine(node);
        receiver
            .try_recv()
            .expect("answered at once")
            .expect("published")
    }

    /// Acknowledges feed offsets for a consumer.
    pub fn ack(&mut self, node: NodeId, topic: Topic, consumer: &str, offsets: &[u64]) {
        self.at_mut(node).queue.push(Command::Ack {
            consumer: consumer.to_owned(),
            topic,
            offsets: offsets.to_vec(),
            durability: Durability::Full,
            reply: None,
        });
        self.run_engine(node);
    }

    /// Acknowledges one offset as a subscription does it, without waiting.
    pub fn ack_soon(&mut self, node: NodeId, topic: Topic, consumer: &str, offset: u64) {
        let acks = &mut self.at_mut(node).acks;
        let gathered = acks.entry((topic, consumer.to_owned())).or_default();
        if gathered.add(offset) {
            let at = self.now + ACKS_GATHER_DELAY;
            self.schedule(at, Event::Acks(node, topic, consumer.to_owned()));
        }
    }

    pub(super) fn send_acks(&mut self, node: NodeId, topic: Topic, consumer: String) {
        if self.at(node).is_up() {
            self.at_mut(node).send_acks(topic, consumer);
            self.run_engine(node);
        }
    }

    /// Hands an operation to a node as if a peer had sent it in a session of this topic.
    pub fn inject(&mut self, node: NodeId, topic: Topic, operation: Operation) {
        let peer = operation.header.author();
        self.at_mut(node).queue.push(Command::Ingest {
            topic,
            source: Source::Session { id: u64::MAX, peer },
            operations: vec![Incoming::Valid(operation)],
            reply: None,
        });
        self.run_engine(node);
    }

    /// The node's feed of a topic, in order.
    pub fn feed(&self, node: NodeId, topic: Topic) -> Vec<Delivery> {
        self.at(node).feed(&topic, None)
    }

    /// Returns what a consumer that resumes is given.
    pub fn unacked(&self, node: NodeId, topic: Topic, consumer: &str) -> Vec<Delivery> {
        self.at(node).feed(&topic, Some(consumer))
    }

    /// The texts of the node's feed, in order.
    pub fn texts(&self, node: NodeId, topic: Topic) -> Vec<String> {
        let texts = self.feed(node, topic).into_iter().map(|delivery| {
            let mut reader = Reader::new(&delivery.body, cbor::VALUE);
            reader.text().expect("a text").to_owned()
        });
        texts.collect()
    }

    /// The store's view of a topic.
    pub fn status(&self, node: NodeId, topic: Topic) -> p2panda_store::TopicStatus {
        self.at(node)
            .reader()
            .status(&topic)
            .expect("the database can be read")
    }

    /// The operations of a topic that a node has refused.
    pub fn rejected(&self, node: NodeId, topic: Topic) -> Vec<p2panda_store::RejectedRow> {
        let rows = self.at(node).reader().rejected_page(&topic, 0, 1_000);
        rows.expect("the database can be read")
    }
}

/// A text as the body of an operation.
pub(crate) fn text_body(text: &str) -> Bytes {
    let mut writer = Writer::new();
    writer.text(text);
    writer.into_bytes().into()
}
