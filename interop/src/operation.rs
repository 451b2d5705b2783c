//! One operation as bytes: what both sides are compared by.

use std::fmt;

use p2panda::operation::Extensions;
use p2panda_core::{Hash, Header, SigningKey, Topic};
use serde::{Deserialize, Serialize};

use crate::{Error, Message};

/// An operation as one side holds it. Two nodes agree when their lists of these are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Operation {
    /// The author's key.
    #[serde(with = "hex::serde")]
    pub author: [u8; 32],
    /// Place in the author's log, from 0.
    pub seq: u32,
    /// BLAKE3 of the header.
    #[serde(with = "hex::serde")]
    pub id: [u8; 32],
    /// The signed header.
    #[serde(with = "hex::serde")]
    pub header: Vec<u8>,
    /// The body, one CBOR item, where the operation has one.
    #[serde(with = "optional_hex")]
    pub body: Option<Vec<u8>>,
}

/// Short, because lists of these appear in failed assertions.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (author, id) = (hex::encode(self.author), hex::encode(self.id));
        let author = author.get(..8).unwrap_or(&author);
        let id = id.get(..8).unwrap_or(&id);
        let body = self.body.as_ref().map(Vec::len);
        let header = self.header.len();
        write!(
            f,
            "{author}/{}={id} header {header} body {body:?}",
            self.seq
        )
    }
}

/// Writes a log of its own for one topic, without a node: the signed operations are made by the
/// published crates.
#[derive(Clone, Debug)]
pub struct Author {
    key: SigningKey,
    topic: Topic,
    next_seq: u32,
    backlink: Option<Hash>,
}

impl Author {
    /// The author with this key, before the first operation.
    #[must_use]
    pub fn new(seed: [u8; 32], topic: [u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(&seed),
            topic: topic.into(),
            next_seq: 0,
            backlink: None,
        }
    }

    /// The next operation of the log. With `prune`, all before it may go.
    ///
    /// # Errors
    ///
    /// Only if the published encoder fails.
    pub fn write(&mut self, message: &Message, prune: bool) -> Result<Operation, Error> {
        let body = message.encode()?;
        let header = Header::builder()
            .seq_num(self.next_seq)
            .backlink(self.backlink)
            .body(&body)
            .build(
                &self.key,
                Extensions::from_topic(self.topic).set_prune_flag(prune),
            );
        let operation = Operation {
            author: *header.verifying_key.as_bytes(),
            seq: header.seq_num,
            id: *header.hash().as_bytes(),
            header: header.encode(),
            body: Some(body),
        };
        self.next_seq = self.next_seq.saturating_add(1);
        self.backlink = Some(header.hash());
        Ok(operation)
    }

    /// The next operations of the log, one for each message.
    ///
    /// # Errors
    ///
    /// Only if the published encoder fails.
    pub fn write_all<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a Message>,
    ) -> Result<Vec<Operation>, Error> {
        let written = messages
            .into_iter()
            .map(|message| self.write(message, false));
        written.collect()
    }
}

/// `operations` by author and then by place in the log, each of them once.
#[must_use]
pub fn sorted(mut operations: Vec<Operation>) -> Vec<Operation> {
    operations.sort();
    operations
}

/// One hash over the bytes of `operations` in this order, as our node computes it for large topics.
#[must_use]
pub fn digest(operations: &[Operation]) -> String {
    let hashes = operations.iter().flat_map(|operation| {
        let body = operation.body.as_deref().unwrap_or_default();
        let hash = Hash::digest([operation.header.as_slice(), body].concat());
        *hash.as_bytes()
    });
    Hash::digest(hashes.collect::<Vec<_>>()).to_hex()
}

/// Hex text or null.
mod optional_hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(hex::encode).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(hex::decode)
            .transpose()
            .map_err(serde::de::Error::custom)
    }
}
