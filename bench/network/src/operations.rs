//! Operations of many authors, signed here and imported into nodes.

use p2panda_core::cbor::Writer;
use p2panda_core::{Draft, NodeExtensions, Operation, Timestamp, Topic};
use p2panda_rpc::wire::{Hex, ImportedOperation};

use crate::error::Error;
use crate::node::key;

/// Numbers of nodes are below.
const FIRST_AUTHOR: u32 = 1_000_000;
/// Bytes of content.
const CONTENT: [u8; 100] = [0x5a; 100];

/// One operation of each author.
pub fn one_each(topic: Topic, authors: u32) -> Result<Vec<ImportedOperation>, Error> {
    let mut writer = Writer::with_capacity(CONTENT.len() + 5);
    writer.bytes(&CONTENT);
    let body = writer.into_bytes();
    let signed = (0..authors).map(|author| {
        let micros = 1_700_000_000_000_000 + u64::from(author);
        let timestamp = Timestamp::from_micros(micros);
        let extensions = NodeExtensions::new(topic.log_id(), timestamp).encode();
        let draft = Draft {
            seq: 0,
            backlink: None,
            body: Some(&body),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(&key(FIRST_AUTHOR + author), draft)?;
        Ok(ImportedOperation {
            header: Hex(operation.header.as_bytes().clone()),
            body: operation.body.map(Hex),
        })
    });
    signed.collect()
}
