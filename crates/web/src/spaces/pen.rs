//! Signing of our own actions, which happens where the key is and takes time: an action is done
//! with the signatures that are there, and once more with one more of them until none is missing.

use bytes::Bytes;
use p2panda_core::{Hash, Header, Signature, Topic, VerifyingKey};
use p2panda_spaces::{Log, Outgoing, Signer, SpaceId};

use super::room::{Kind, Operation, Room};
use crate::draft::Draft;

/// Appends to our control log.
pub(super) struct Pen<'p> {
    me: VerifyingKey,
    topic: Topic,
    pub room: &'p mut Room,
    /// Head of the log.
    head: Option<(u32, Hash)>,
    /// Microseconds since 1970, of the next operation.
    timestamp: u64,
    signatures: std::vec::IntoIter<Signature>,
    /// The first thing that lacks a signature.
    pub unsigned: Option<Vec<u8>>,
    /// It does not fit an operation, or a signature is not ours.
    pub failed: Option<String>,
    pub published: Vec<Operation>,
}

impl<'p> Pen<'p> {
    pub fn new(
        (me, topic): (VerifyingKey, Topic),
        room: &'p mut Room,
        head: Option<(u32, Hash)>,
        timestamp: u64,
        signatures: Vec<Signature>,
    ) -> Pen<'p> {
        Pen {
            me,
            topic,
            room,
            head,
            timestamp,
            signatures: signatures.into_iter(),
            unsigned: None,
            failed: None,
            published: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.unsigned.is_some() || self.failed.is_some()
    }

    fn signature(&mut self, bytes: &[u8]) -> Option<Signature> {
        if self.is_over() {
            return None;
        }
        let signature = self.signatures.next();
        if signature.is_none() {
            self.unsigned = Some(bytes.to_vec());
        }
        signature
    }

    /// Appends an operation with this body to our control log.
    pub fn append(&mut self, named: &[Hash], body: &[u8]) -> Option<Hash> {
        if self.is_over() {
            return None;
        }
        let (seq, backlink) = match self.head {
            Some((seq, id)) => (seq.checked_add(1)?, Some(id)),
            None => (0, None),
        };
        let draft = Draft {
            topic: self.topic,
            name: Some(Kind::Control.name()),
            seq,
            backlink,
            body: Some(body),
            timestamp: self.timestamp,
            prune: false,
            deps: self.room.named(&self.topic, named),
        };
        let unsigned = match draft.unsigned(&self.me) {
            Ok(unsigned) => unsigned,
            Err(error) => {
                self.failed = Some(error.to_string());
                return None;
            }
        };
        let signature = self.signature(unsigned.signing_bytes())?;
        match draft.assemble(&self.me, &signature) {
            Ok(header) => Some(self.keep(&header, body)),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn keep(&mut self, header: &Header, body: &[u8]) -> Hash {
        let operation = Operation {
            id: header.id(),
            author: self.me,
            seq: header.seq(),
            kind: Kind::Control,
            dependencies: Vec::new(),
            header: header.as_bytes().clone(),
            body: Bytes::copy_from_slice(body),
        };
        let id = operation.id;
        self.head = Some((operation.seq, id));
        self.timestamp += 1;
        // The crate that knows spaces has taken it in by then.
        self.room.pass(&self.topic, &operation);
        self.published.push(operation);
        id
    }
}

const NOTHING: [u8; 32] = [0; 32];

impl Signer for Pen<'_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        let signature = self.signature(bytes);
        signature.unwrap_or_else(|| Signature::from_bytes([0; 64]))
    }

    fn publish(&mut self, outgoing: Outgoing) -> Hash {
        let id = match outgoing.log {
            Log::Control => self.append(&outgoing.dependencies, &outgoing.body),
            Log::Content => None,
        };
        id.unwrap_or(Hash::from_bytes(NOTHING))
    }

    fn height(&self, _: &SpaceId, author: &VerifyingKey) -> u64 {
        let next = self.room.next.get(&(Kind::Content, *author));
        next.copied().unwrap_or(0).into()
    }
}
