//! Frames made by hand, or with the project's own encoders where those can be made to lie.

use bytes::{BufMut, Bytes, BytesMut};
use p2panda_core::{
    Dependency, Draft, Hash, NodeExtensions, Operation, SigningKey, Timestamp, Topic, VerifyingKey,
    cbor,
};
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::wire::Writer;

use crate::attacker::key;

/// Have without entries.
pub(crate) const EMPTY_HAVE: &[u8] = &[0, 0, 0, 3, 0, 0, 0];
/// PreSync that announces a million operations of a gigabyte.
pub(crate) const PRE_SYNC: &[u8] = &[
    0, 0, 0, 10, 0, 1, 0xc0, 0x84, 0x3d, 0x80, 0x80, 0x80, 0x80, 0x04,
];
/// Done.
pub(crate) const DONE: &[u8] = &[0, 0, 0, 2, 0, 3];
/// Done without its length.
pub(crate) const DONE_PAYLOAD: &[u8] = &[0, 3];

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    Timestamp::from_micros(since.map_or(1, |since| since.as_micros() as u64))
}

/// Some bytes that nobody has seen before.
pub(crate) fn garbage(seed: &str, number: usize, len: usize) -> Vec<u8> {
    let number = (number as u64).to_le_bytes();
    let block = Hash::digest_parts(&[b"garbage", seed.as_bytes(), &number]);
    block.as_bytes().iter().copied().cycle().take(len).collect()
}

/// The body of a text message.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut writer = cbor::Writer::new();
    writer.text(text);
    writer.into_bytes()
}

/// The body of a message of bytes.
pub(crate) fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut writer = cbor::Writer::new();
    writer.bytes(bytes);
    writer.into_bytes()
}

/// A log that is written by hand.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    key: SigningKey,
    topic: Topic,
    seq: u32,
    head: Option<Hash>,
}

impl Log {
    pub(crate) fn new(key: SigningKey, topic: Topic) -> Log {
        Log {
            key,
            topic,
            seq: 0,
            head: None,
        }
    }

    /// Signs the next operation. `None` never comes for bodies of the sizes used here.
    pub(crate) fn append(
        &mut self,
        body: Option<&[u8]>,
        prune: bool,
        deps: &[Dependency],
    ) -> Option<Operation> {
        let mut extensions = NodeExtensions::new(self.topic.log_id(), now());
        extensions.prune = prune;
        extensions.deps = deps.to_vec();
        let operation = Operation::create(
            &self.key,
            Draft {
                seq: self.seq,
                backlink: self.head,
                body,
                extensions: Some(&extensions.encode()),
            },
        );
        let operation = operation.ok()?;
        self.seq += 1;
        self.head = Some(operation.header.id());
        Some(operation)
    }
}

/// The first operation of a log of its own.
pub(crate) fn fresh(kind: &str, number: usize, topic: Topic, body: &[u8]) -> Option<Operation> {
    Log::new(key(kind, number), topic).append(Some(body), false, &[])
}

/// An operation that comes before the one that it follows.
pub(crate) fn early(number: usize, topic: Topic, body: &[u8]) -> Option<Operation> {
    let log = Log {
        key: key("early", number),
        topic,
        seq: 7,
        head: Some(Hash::digest(&number.to_le_bytes())),
    };
    log.clone().append(Some(body), false, &[])
}

/// The frame of an operation in catch-up.
pub(crate) fn operation(operation: &Operation) -> Bytes {
    encode(Message::Operation {
        header: operation.header.as_bytes().clone(),
        body: operation.body.clone(),
    })
}

/// The frame of an operation in live mode.
pub(crate) fn live(operation: &Operation) -> Bytes {
    encode(Message::Live {
        header: operation.header.as_bytes().clone(),
        body: operation.body.clone(),
    })
}

fn encode(message: Message) -> Bytes {
    let mut out = BytesMut::new();
    // Fails only above 128 MiB, which nothing here reaches.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// The first bytes of a frame of `payload` bytes: length and kind, then `fill` bytes of content.
pub(crate) fn begun(payload: u32, kind: &[u8], fill: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(fill + 16);
    out.put_u32(payload);
    out.put_slice(kind);
    out.put_bytes(0x55, fill.saturating_sub(kind.len()));
    out.freeze()
}

/// An Operation frame whose header is `header_bytes` of nothing.
pub(crate) fn bad_header(header_bytes: usize, seed: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(header_bytes + 16);
    let header = garbage("header", seed, header_bytes);
    Writer::new(&mut payload)
        .array(&[0, 2])
        .bytes(&header)
        .option_bytes(None);
    framed(&payload)
}

/// A Have of about `bytes` bytes: one author, as many logs as fit.
pub(crate) fn have_of_logs(bytes: usize) -> Bytes {
    let logs = bytes.saturating_sub(64) / 34;
    let mut payload = BytesMut::with_capacity(bytes);
    let mut writer = Writer::new(&mut payload);
    let author = key("have", 0).verifying_key();
    writer.array(&[0, 0]).count(1);
    writer.bytes(author.as_bytes()).count(logs);
    for number in 0..logs {
        let id = Hash::digest_parts(&[b"log", &(number as u64).to_le_bytes()]);
        writer.bytes(id.as_bytes()).uint(7u32);
    }
    framed(&payload)
}

/// A Have of about `bytes` bytes: as many authors as fit, each with the log of the topic.
pub(crate) fn have_of_authors(bytes: usize, topic: Topic) -> Bytes {
    let authors = bytes.saturating_sub(64) / 68;
    let mut payload = BytesMut::with_capacity(bytes);
    let mut writer = Writer::new(&mut payload);
    writer.array(&[0, 0]).count(authors);
    let (mut written, mut number) = (0, 0u64);
    while written < authors {
        number += 1;
        let bytes = *Hash::digest_parts(&[b"author", &number.to_le_bytes()]).as_bytes();
        // Half of all values are a point of the curve.
        if VerifyingKey::from_bytes(bytes).is_err() {
            continue;
        }
        written += 1;
        writer.bytes(&bytes).count(1);
        writer.bytes(topic.log_id().as_bytes()).uint(7u32);
    }
    framed(&payload)
}

/// A Have that claims one log up to `seq`.
pub(crate) fn have_of(author: &VerifyingKey, topic: Topic, seq: u32) -> Bytes {
    let mut payload = BytesMut::new();
    let mut writer = Writer::new(&mut payload);
    writer.array(&[0, 0]).count(1);
    writer.bytes(author.as_bytes()).count(1);
    writer.bytes(topic.log_id().as_bytes()).uint(seq);
    framed(&payload)
}

/// A payload with its length.
pub(crate) fn framed(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 4);
    out.put_u32(payload.len() as u32);
    out.put_slice(payload);
    out.freeze()
}
