//! Operations of many authors, signed here and imported into nodes.

use p2panda_core::cbor::Writer;
use p2panda_core::{Draft, NodeExtensions, Operation, Timestamp, Topic};
use p2panda_rpc::wire::{Hex, ImportedOperation};

use crate::error::Error;
use crate::node::key;

/// Numbers of nodes are below.
const FIRST_AUTHOR: u32 = 1_000_000;
/// Time of the first operation.
const FIRST_MICROS: u64 = 1_700_000_000_000_000;
/// Bytes of content.
const CONTENT: [u8; 100] = [0x5a; 100];

/// This many operations of each author, one log after the other.
pub fn logs(topic: Topic, authors: u32, each: u32) -> Result<Vec<ImportedOperation>, Error> {
    let mut writer = Writer::with_capacity(CONTENT.len() + 5);
    writer.bytes(&CONTENT);
    let body = writer.into_bytes();
    let mut operations = Vec::with_capacity(authors as usize * each as usize);
    for author in 0..authors {
        let key = key(FIRST_AUTHOR + author);
        let mut backlink = None;
        for seq in 0..each {
            let micros = FIRST_MICROS + u64::from(author) + u64::from(seq) * 1_000_000;
            let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(micros));
            let extensions = extensions.encode();
            let draft = Draft {
                seq,
                backlink,
                body: Some(&body),
                extensions: Some(&extensions),
            };
            let operation = Operation::create(&key, draft)?;
            backlink = Some(operation.header.id());
            operations.push(ImportedOperation {
                header: Hex(operation.header.as_bytes().clone()),
                body: operation.body.map(Hex),
            });
        }
    }
    Ok(operations)
}
