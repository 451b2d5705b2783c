//! Promises of the store, over its public API and real directories.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod bounds;
mod database;
mod directory;
mod elsewhere;
mod feed;
mod named;
mod obstacles;
mod pages;
mod sealed;
mod space;
mod views;

use std::path::Path;

use p2panda_core::log::Head;
use p2panda_core::{Draft, Header, NodeExtensions, SigningKey, Timestamp, Topic, VerifyingKey};
use p2panda_store::{Database, Durability, Log, NewOperation, Options, Ready, Store, TopicKey, Tx};

pub(crate) const TOPIC: Topic = Topic::from_bytes([1; 32]);

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).unwrap()
}

/// Somebody whose log is written straight into the store.
pub(crate) struct Author {
    key: SigningKey,
    head: Option<Head>,
}

impl Author {
    pub(crate) fn new(seed: u8) -> Author {
        Author {
            key: SigningKey::from_bytes(&[seed; 32]),
            head: None,
        }
    }

    pub(crate) fn key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub(crate) fn header(&mut self, body: &[u8]) -> Header {
        let extensions = NodeExtensions::new(TOPIC.log_id(), Timestamp::from_micros(1)).encode();
        let draft = Draft {
            seq: self.head.map_or(0, |head| head.seq + 1),
            backlink: self.head.map(|head| head.id),
            body: Some(body),
            extensions: Some(&extensions),
        };
        let header = Header::sign(&self.key, draft).unwrap();
        self.head = Some(Head::of(&header));
        header
    }

    pub(crate) fn write(&mut self, store: &mut Store, bodies: &[&[u8]]) {
        self.write_into(store.database(), bodies);
    }

    pub(crate) fn write_into(&mut self, database: &mut Database, bodies: &[&[u8]]) {
        let mut tx = database.begin(Durability::Full).unwrap();
        let topic = tx.topic(&TOPIC).unwrap();
        for body in bodies {
            let header = self.header(body);
            append(&mut tx, topic, &header, body);
        }
        tx.commit().unwrap();
    }
}

fn append(tx: &mut Tx<'_>, topic: TopicKey, header: &Header, body: &[u8]) -> Log {
    let head = Head::of(header);
    let known = tx.log(topic, &header.author()).unwrap();
    let mut log = known.unwrap_or_else(|| tx.create_log(topic, &header.author(), head).unwrap());
    let (arrival, offset) = (tx.next_arrival(), Some(tx.next_offset()));
    tx.add_operation(&NewOperation {
        arrival,
        topic,
        log: log.key,
        seq: head.seq,
        offset,
        ready: &Ready::Body,
        bytes_before: log.bytes,
        header: header.as_bytes(),
        body: Some(body),
    })
    .unwrap();
    log.head = head;
    log.bytes += (header.as_bytes().len() + body.len()) as u64;
    log.ordered_seq = Some(head.seq);
    log.ordered_at = tx.next_order();
    tx.save_log(&log).unwrap();
    log
}
