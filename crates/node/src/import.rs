//! Importing operations from a file, a radio or another store.

use bytes::Bytes;
use futures_lite::{Stream, StreamExt, future};
use p2panda_core::limits::{IMPORT_BATCH_BYTES_MAX, IMPORT_BATCH_OPERATIONS_MAX};
use p2panda_core::{Header, Received, Refused, Topic};
use p2panda_engine::{Incoming, IngestReport, Source};

use crate::Error;
use crate::inner::verify::verify_new;
use crate::node::Node;

/// An operation to import, as the bytes that sync would bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedOperation {
    /// Signed header.
    pub header: Bytes,
    /// Body, if there is one.
    pub body: Option<Bytes>,
}

impl Node {
    /// Imports operations of a topic from any source, through the same checks and the same queue
    /// as those of peers. Returns when the last one is stored or refused; nothing is dropped
    /// silently.
    ///
    /// Several imports and sync may run at once. Operations that come before those they follow in
    /// their log are kept for the time of the import, within limits. Dropping the future ends the
    /// import: what was queued is stored, what waits for earlier operations is let go.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is shut down meanwhile; what was stored stays stored.
    pub async fn import(
        &self,
        topic: Topic,
        operations: impl Stream<Item = ImportedOperation>,
    ) -> Result<IngestReport, Error> {
        let import = ImportGuard::begin(self, topic);
        let mut report = IngestReport::default();
        // A batch may end with the stream, which must not be polled again then.
        let mut operations = std::pin::pin!(operations.fuse());
        let mut under_way = None;
        while let Some(first) = operations.next().await {
            let batch = verify_batch(take_batch(first, &mut operations).await).await?;
            let stored = self
                .queue()
                .ingest(topic, Source::Import { id: import.id }, batch)
                .await?;
            // One batch is stored while the next one is verified.
            if let Some(previous) = under_way.replace(stored) {
                report.add(previous.await.map_err(|_| self.queue().ended())?);
            }
        }
        if let Some(last) = under_way {
            report.add(last.await.map_err(|_| self.queue().ended())?);
        }
        Ok(report)
    }
}

impl Node {
    /// Returns once everything that was stored before is synced to the disk: what an import has stored
    /// survives a power cut from then on, as this node's own messages do when they are published.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the disk refuses.
    pub async fn sync(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(self.queue().ended());
        }
        self.journal().sync().await
    }
}

/// While it lives, early operations of the import are kept.
struct ImportGuard<'a> {
    node: &'a Node,
    topic: Topic,
    id: u64,
}

impl<'a> ImportGuard<'a> {
    fn begin(node: &'a Node, topic: Topic) -> Self {
        let id = node.next_import();
        Self { node, topic, id }
    }
}

impl Drop for ImportGuard<'_> {
    fn drop(&mut self) {
        self.node.queue().import_ended(self.topic, self.id);
    }
}

/// The next operation, and those that are ready with it.
async fn take_batch(
    first: ImportedOperation,
    operations: &mut (impl Stream<Item = ImportedOperation> + Unpin),
) -> Vec<ImportedOperation> {
    let mut bytes = operation_bytes(&first);
    let mut batch = vec![first];
    while batch.len() < IMPORT_BATCH_OPERATIONS_MAX && bytes < IMPORT_BATCH_BYTES_MAX {
        let Some(Some(operation)) = future::poll_once(operations.next()).await else {
            break;
        };
        bytes += operation_bytes(&operation);
        batch.push(operation);
    }
    batch
}

fn operation_bytes(operation: &ImportedOperation) -> usize {
    operation.header.len() + operation.body.as_ref().map_or(0, Bytes::len)
}

async fn verify_batch(batch: Vec<ImportedOperation>) -> Result<Vec<Incoming>, Error> {
    let received =
        batch.into_iter().map(
            |ImportedOperation { header, body }| match Header::decode_unverified(header.clone()) {
                Ok(header) => Received::Operation { header, body },
                Err(_) => {
                    let body_bytes = body.as_ref().map_or(0, Bytes::len);
                    Received::Refused(Refused::undecodable(&header, body_bytes))
                }
            },
        );
    verify_new(received.collect()).await
}
