//! Signed operations, and databases that hold them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use p2panda::operation::{Extensions, LogId, Operation};
use p2panda_core::cbor::encode_cbor;
use p2panda_core::logs::LogHeights;
use p2panda_core::{Body, Cursor, Header, SigningKey, Topic};
use p2panda_store::Transaction;
use p2panda_store::cursors::CursorStore;
use p2panda_store::operations::OperationStore;
use p2panda_store::sqlite::{SqliteStore, SqliteStoreBuilder};
use p2panda_store::topics::TopicStore;
use serde_bytes::ByteBuf;

/// What an application sends.
pub type Message = ByteBuf;

/// Makes room for a database and gives its URL.
pub fn fresh(database: &Path) -> String {
    if let Some(dir) = database.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        // Usually there is none.
        let _ = std::fs::remove_file(PathBuf::from(path));
    }
    url(database)
}

/// The URL of a database.
pub fn url(database: &Path) -> String {
    format!("sqlite://{}", database.display())
}

/// The key with a number.
pub fn key(number: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// The one topic.
pub fn topic() -> Result<Topic> {
    Topic::from_bytes(&[1; 32]).context("the topic")
}

/// Content that begins with a number.
pub fn content(bytes: usize, number: u64) -> Vec<u8> {
    let number = number.to_le_bytes();
    number
        .into_iter()
        .chain(std::iter::repeat(0x5a))
        .take(bytes)
        .collect()
}

/// A CBOR byte string.
pub fn body(payload_bytes: usize, number: u64) -> Result<Vec<u8>> {
    Ok(encode_cbor(&ByteBuf::from(content(payload_bytes, number)))?)
}

/// Signed operations, author after author in turn, each log from the first.
pub fn operations(n: usize, authors: usize, payload_bytes: usize) -> Result<Vec<Operation>> {
    let topic = topic()?;
    let keys: Vec<_> = (0..authors as u32).map(key).collect();
    let mut heads = vec![None; authors];
    let mut operations = Vec::with_capacity(n);
    for number in 0..n {
        let author = number % authors;
        let body = body(payload_bytes, number as u64)?;
        let (seq, backlink) = match heads[author] {
            Some((seq, id)) => (seq + 1, Some(id)),
            None => (0, None),
        };
        let extensions = Extensions::from_topic(topic);
        let header = Header::builder()
            .seq_num(seq)
            .backlink(backlink)
            .body(&body);
        let header = header.build(&keys[author], extensions);
        let operation = Operation::from_parts(header, Some(Body::from(body)));
        heads[author] = Some((seq, operation.hash));
        operations.push(operation);
    }
    Ok(operations)
}

/// Opens a database.
pub async fn store(database: &Path) -> Result<SqliteStore> {
    let builder = SqliteStoreBuilder::new().database_url(&url(database));
    Ok(builder.build().await?)
}

/// A new database that holds operations, all acknowledged. They are written in one transaction,
/// past the ingest, which would take a time that grows with the square of their number.
pub async fn filled(database: &Path, operations: &[Operation]) -> Result<SqliteStore> {
    fresh(database);
    let store = store(database).await?;
    let topic = topic()?;
    let log_id = LogId::from_topic(topic);
    let permit = store.begin().await?;
    let mut heights: LogHeights<_, LogId> = Default::default();
    for operation in operations {
        OperationStore::insert_operation(&store, &operation.hash, operation, &log_id).await?;
        let author = operation.header.verifying_key;
        if operation.header.seq_num == 0 {
            store.associate(&topic, &author, &log_id).await?;
        }
        let seq = operation.header.seq_num;
        heights.entry(author).or_default().insert(log_id, seq);
    }
    store
        .set_cursor(&Cursor::new(topic.to_string(), heights))
        .await?;
    store.commit(permit).await?;
    Ok(store)
}
