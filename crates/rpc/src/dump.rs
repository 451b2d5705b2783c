//! What a node holds of a topic, in an order that is the same everywhere: by author and seq.

use p2panda::{Hash, Node, StoredOperation, Topic};
use serde::Serialize;
use serde_json::{Value, json};

use crate::event::DriverError;
use crate::hex::Hex;

/// All operations.
pub async fn operations(node: &Node, topic: Topic) -> Result<Value, DriverError> {
    let mut rows = Vec::new();
    each(node, topic, |operation| {
        rows.push(Row {
            author: operation.author.to_string(),
            seq: operation.seq,
            id: Hash::digest(&operation.header).to_string(),
            header: Hex(operation.header),
            body: operation.body.map(Hex),
        });
    })
    .await?;
    rows.sort_by(|a, b| (&a.author, a.seq).cmp(&(&b.author, b.seq)));
    Ok(json!({ "operations": rows }))
}

/// Number, bytes, and a hash over the hashes of header and body.
pub async fn digest(node: &Node, topic: Topic) -> Result<Value, DriverError> {
    let mut bytes = 0;
    let mut rows = Vec::new();
    each(
        node,
        topic,
        |StoredOperation {
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
    Ok(json!({
        "operations": rows.len(),
        "bytes": bytes,
        "digest": Hash::digest(&hashes),
    }))
}

/// One stored operation of a dump.
#[derive(Serialize)]
struct Row {
    author: String,
    seq: u32,
    id: String,
    header: Hex,
    body: Option<Hex>,
}

/// Goes through all operations, page by page.
async fn each(
    node: &Node,
    topic: Topic,
    mut take: impl FnMut(StoredOperation),
) -> Result<(), DriverError> {
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
