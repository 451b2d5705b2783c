//! Hands changes of the address book to the node, a few times a minute rather than at each one.

use std::sync::Arc;

use p2panda_core::limits;
use tokio::time::sleep;

use crate::request::Request;
use crate::shared::Shared;

/// Stores changes until the network is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.book_changed.notified() => {}
            () = sleep(limits::BOOK_EXPIRE_INTERVAL) => {}
            () = shared.stopped() => return,
        }
        tokio::select! {
            () = sleep(limits::BOOK_STORE_DELAY) => {}
            () = shared.stopped() => return,
        }
        flush(&shared).await;
    }
}

/// Stores what has changed so far.
pub(crate) async fn flush(shared: &Shared) {
    let book = || shared.book.lock();
    book().expire(crate::clock::wall());
    loop {
        // Page by page: the whole book is never held twice.
        let changed = book().take_changed();
        let is_last = changed.len() < limits::BOOK_PAGE_ROWS_MAX;
        for (node, stored) in changed {
            let request = match stored {
                Some(stored) => Request::Record { node, stored },
                None => Request::Forget { node },
            };
            if shared.requests.send(request).await.is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}
