//! Peers whose session with a node never leaves catch-up: they claim, they drip, they flood.

use std::sync::mpsc::Receiver;

use p2panda_core::log::Head;
use p2panda_core::{
    Draft, NodeExtensions, Operation, Phase, SigningKey, Timestamp, Topic, VerifyingKey,
};
use p2panda_engine::{Command, Incoming, NewMessage, PublishError, Published, Source};

use crate::node::NodeId;
use crate::simulation::{Sim, text_body};

/// Numbers of such sessions, apart from those of links.
const FIRST_SESSION: u64 = 1 << 32;

/// A peer in a session that stays in catch-up until it is ended.
pub struct Stuck {
    node: NodeId,
    topic: Topic,
    session: u64,
    key: SigningKey,
    head: Option<Head>,
}

impl Stuck {
    /// The peer's node id.
    pub fn key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }
}

impl Sim {
    /// A stranger begins a session with a node.
    pub fn stuck(&mut self, node: NodeId, topic: Topic) -> Stuck {
        let key = SigningKey::from_bytes(self.topic().as_bytes());
        let session = FIRST_SESSION + self.chance(1 << 32);
        let stuck = Stuck {
            node,
            topic,
            session,
            key,
            head: None,
        };
        self.stuck_phase(&stuck, Phase::CatchUp);
        stuck
    }

    /// The session is over.
    pub fn end_stuck(&mut self, stuck: Stuck) {
        self.stuck_phase(&stuck, Phase::Ended);
    }

    /// The peer claims to have the node's own log up to here.
    pub fn claim(&mut self, stuck: &Stuck, own_seq: u32) {
        let (topic, session, peer) = (stuck.topic, stuck.session, stuck.key());
        let claim = Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        };
        self.command(stuck.node, claim);
    }

    /// The peer brings one more small operation of its own.
    pub fn drip(&mut self, stuck: &mut Stuck) {
        let operation = sign(&stuck.key, stuck.topic, stuck.head, "x");
        stuck.head = Some(Head::of(&operation.header));
        self.bring(stuck, vec![operation]);
    }

    /// The peer brings the first operation of this many authors that nobody knows.
    pub fn flood(&mut self, stuck: &Stuck, authors: usize) {
        let operations = (0..authors).map(|_| {
            let key = SigningKey::from_bytes(self.topic().as_bytes());
            sign(&key, stuck.topic, None, "spam")
        });
        let operations = operations.collect();
        self.bring(stuck, operations);
    }

    /// The peer brings operations that somebody signed.
    pub fn bring(&mut self, stuck: &Stuck, operations: Vec<Operation>) {
        let (topic, id, peer) = (stuck.topic, stuck.session, stuck.key());
        let ingest = Command::Ingest {
            topic,
            source: Source::Session { id, peer },
            operations: operations.into_iter().map(Incoming::Valid).collect(),
            reply: None,
        };
        self.command(stuck.node, ingest);
    }

    /// Publishes a text, which may have to wait.
    pub fn publish_later(
        &mut self,
        node: NodeId,
        topic: Topic,
        text: &str,
    ) -> Receiver<Result<Published, PublishError>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let publish = Command::Publish {
            topic,
            message: NewMessage::new(text_body(text)),
            reply: Box::new(move |published| drop(sender.send(published))),
        };
        self.command(node, publish);
        receiver
    }

    fn stuck_phase(&mut self, stuck: &Stuck, phase: Phase) {
        let (topic, session) = (stuck.topic, stuck.session);
        let command = Command::Session {
            topic,
            session,
            phase,
        };
        self.command(stuck.node, command);
    }

    fn command(&mut self, node: NodeId, command: Command) {
        self.at_mut(node).queue.push(command);
        self.run_engine(node);
    }
}

/// The next operation of a log.
fn sign(key: &SigningKey, topic: Topic, head: Option<Head>, text: &str) -> Operation {
    let body = text_body(text);
    let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
    let draft = Draft {
        seq: head.map_or(0, |head| head.seq + 1),
        backlink: head.map(|head| head.id),
        body: Some(&body),
        extensions: Some(&extensions),
    };
    Operation::create(key, draft).expect("small enough")
}
