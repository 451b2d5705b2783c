//! Dump of what a node holds of a topic, in an order that is the same everywhere: by author, seq and
//! id. Several logs of an author have operations of the same seq.

use p2panda::{Hash, Node, Topic};

use super::ServeError;
use crate::wire::{Digest, Dump, Hex, StoredOperation};

/// All operations.
pub async fn operations(node: &Node, topic: Topic) -> Result<Dump, ServeError> {
    let mut operations = Vec::new();
    each(node, topic, |operation| {
        operations.push(StoredOperation {
            author: operation.author,
            seq: operation.seq,
            id: Hash::digest(&operation.header),
            header: Hex(operation.header),
            body: operation.body.map(Hex),
        });
    })
    .await?;
    operations.sort_by_key(|operation| (operation.author, operation.seq, operation.id));
    Ok(Dump { operations })
}

/// Number, bytes, and a hash over the hashes of header and body.
pub async fn digest(node: &Node, topic: Topic) -> Result<Digest, ServeError> {
    let mut bytes = 0;
    let mut rows = Vec::new();
    each(
        node,
        topic,
        |p2panda::StoredOperation {
             author,
             seq,
             header,
             body,
             ..
         }| {
            let body = body.unwrap_or_default();
            bytes += header.len() + body.len();
            rows.push((author, seq, Hash::digest_parts(&[&header, &body])));
        },
    )
    .await?;
    rows.sort_unstable();
    let hashes: Vec<u8> = rows
        .iter()
        .flat_map(|(.., hash)| *hash.as_bytes())
        .collect();
    Ok(Digest {
        operations: rows.len() as u64,
        bytes: bytes as u64,
        digest: Hash::digest(&hashes),
    })
}

/// Goes through all operations, page by page.
async fn each(
    node: &Node,
    topic: Topic,
    mut take: impl FnMut(p2panda::StoredOperation),
) -> Result<(), ServeError> {
    let topic = node.topic(topic);
    let mut after = 0;
    loop {
        let page = topic.operations(after).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.arrival;
        page.into_iter().for_each(&mut take);
    }
}
