//! Reads next to the writer: a few read-only connections, used from blocking threads; the newest
//! few rows are read in place.

use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::limits::{
    LARGE_BODY_BYTES, LARGE_BODY_KEPT, READ_IN_PLACE_ROWS_MAX, READER_CONNECTIONS_MAX,
    READER_CONNECTIONS_MIN,
};
use p2panda_store::{Reader, Readers, StoreError};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::Error;

/// Hands out read-only connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Storage {
    readers: Readers,
    idle: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
    /// The large body that was read last, for a moment, and its number.
    last_large: Arc<Mutex<(u64, Option<Bytes>)>>,
}

impl Storage {
    pub(crate) fn new(readers: Readers) -> Self {
        Self {
            readers,
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(connections())),
            last_large: Arc::default(),
        }
    }

    /// Returns the factory of separate connections.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Runs a read on a blocking thread. `read` makes one short transaction per call of a reader.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let storage = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            storage.run(read)
        });
        Ok(task.await.map_err(|_| Error::Closed)??)
    }

    /// As [`Storage::read`], for the `rows` that were stored last: a few are read in place.
    pub(crate) async fn read_newest<T: Send + 'static>(
        &self,
        rows: u64,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        if rows > READ_IN_PLACE_ROWS_MAX {
            return self.read(read).await;
        }
        match self.permits.try_acquire() {
            Ok(_permit) => Ok(self.run(read)?),
            Err(_) => self.read(read).await,
        }
    }

    fn run<T>(&self, read: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.readers.open()?,
        };
        let result = read(&reader);
        self.idle().push(reader);
        result
    }

    /// Keeps the last large one of these bodies for a moment: what is new is read by sessions and
    /// subscriptions one after the other, and they share it.
    pub(crate) fn keep<'a>(&self, bodies: impl Iterator<Item = &'a Bytes>) {
        let Some(body) = bodies.filter(|body| body.len() >= LARGE_BODY_BYTES).last() else {
            return;
        };
        let number = {
            let mut last = self.last_large.lock();
            *last = (last.0 + 1, Some(body.clone()));
            last.0
        };
        let kept = self.last_large.clone();
        tokio::spawn(async move {
            sleep(LARGE_BODY_KEPT).await;
            let mut last = kept.lock();
            if last.0 == number {
                last.1 = None;
            }
        });
    }

    /// Closes all connections; later reads fail.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle().clear();
        self.last_large.lock().1 = None;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock()
    }
}

/// More than there are processors read no faster, and each takes memory of its own: the first reads of
/// many topics at once open all of them.
fn connections() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    processors.clamp(READER_CONNECTIONS_MIN, READER_CONNECTIONS_MAX)
}
