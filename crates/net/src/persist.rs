//! Hands changes of the address book to the node, a few times a minute rather than at each one.

use p2panda_core::limits;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::book::AddressBook;
use crate::request::Request;
use crate::signals::Signals;

/// Stores changes until the network is shut down.
pub(crate) async fn run(book: AddressBook, requests: mpsc::Sender<Request>, signals: Signals) {
    loop {
        tokio::select! {
            () = book.changed() => {}
            () = sleep(limits::BOOK_EXPIRE_INTERVAL) => {}
            () = signals.stopped() => return,
        }
        tokio::select! {
            () = sleep(limits::BOOK_STORE_DELAY) => {}
            () = signals.stopped() => return,
        }
        flush(&book, &requests).await;
    }
}

/// Stores what has changed so far.
pub(crate) async fn flush(book: &AddressBook, requests: &mpsc::Sender<Request>) {
    book.expire();
    loop {
        // Page by page: the whole book is never held twice.
        let changed = book.lock().take_changed();
        let is_last = changed.len() < limits::BOOK_PAGE_ROWS_MAX;
        for (node, stored) in changed {
            let request = match stored {
                Some(stored) => Request::Record { node, stored },
                None => Request::Forget { node },
            };
            if requests.send(request).await.is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}
