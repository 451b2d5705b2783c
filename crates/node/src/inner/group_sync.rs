//! One sync of the journal for all who wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_store::StoreError;
use tokio::sync::Mutex;

use crate::Error;

/// Syncs once for all who asked before the sync began.
pub(crate) struct GroupSync {
    work: Arc<dyn Fn() -> Result<(), StoreError> + Send + Sync>,
    /// The number of the last one who asked.
    asked: AtomicU64,
    /// The last one of those whom a sync covers.
    covered: Mutex<u64>,
}

impl GroupSync {
    pub(crate) fn new(work: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static) -> Self {
        GroupSync {
            work: Arc::new(work),
            asked: AtomicU64::new(0),
            covered: Mutex::new(0),
        }
    }

    /// Returns once what was stored before this call is on the disk.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut covered = self.covered.lock().await;
        if *covered >= number {
            return Ok(());
        }
        // What they stored, they stored before they asked.
        let all = self.asked.load(Ordering::SeqCst);
        let work = self.work.clone();
        let synced = tokio::task::spawn_blocking(move || work());
        synced.await.map_err(|_| Error::Closed)??;
        *covered = all;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::pin;
    use std::sync::mpsc;

    use futures_lite::future::poll_once;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_a_sync() {
        let (release, held) = mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let group = GroupSync::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            held.lock().unwrap().recv().unwrap();
            Ok(())
        });
        let mut first = pin!(group.sync());
        assert!(poll_once(first.as_mut()).await.is_none());
        let mut others: Vec<_> = (0..10).map(|_| Box::pin(group.sync())).collect();
        for other in &mut others {
            assert!(poll_once(other.as_mut()).await.is_none());
        }
        for _ in 0..2 {
            release.send(()).unwrap();
        }
        first.await.unwrap();
        for other in others {
            other.await.unwrap();
        }
        // The first one began before the others asked.
        assert_eq!(count.load(Ordering::SeqCst), 2);
        release.send(()).unwrap();
        group.sync().await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }
}
