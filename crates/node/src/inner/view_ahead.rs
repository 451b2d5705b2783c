//! Reads the part of the feed that a view works on next, on a thread of its own, while the function of the
//! application is called for the one before (`docs/protocol/views.md#2`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use p2panda_core::limits::{VIEW_STEP_BYTES_MAX, VIEW_STEP_ENTRIES_MAX};
use p2panda_store::{MergedPage, PageLimits, StoreError};

use crate::inner::views::Running;

/// Entries that are read at a time.
pub(crate) const PAGE: PageLimits = PageLimits {
    rows: VIEW_STEP_ENTRIES_MAX,
    bytes: VIEW_STEP_BYTES_MAX,
};

type Page = Result<MergedPage, StoreError>;

/// Its thread has ended when this is dropped.
pub(crate) struct Ahead {
    asked: Option<SyncSender<u64>>,
    pages: Receiver<Page>,
    /// Behind which offset the page begins that was asked for.
    from: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// `None`: there is no thread for it, and nothing is read ahead.
    pub(crate) fn begin(running: &Arc<Running>) -> Option<Ahead> {
        let (asked, questions) = sync_channel(1);
        let (answers, pages) = sync_channel(1);
        let running = Arc::clone(running);
        let read = move || {
            let Ok(reader) = running.parts.readers.open() else {
                return;
            };
            for after in questions {
                let page = reader.merged_page(&running.parts.topics, after, PAGE);
                if answers.send(page).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("view-ahead".to_owned());
        let thread = thread.spawn(read).ok()?;
        Some(Ahead {
            asked: Some(asked),
            pages,
            from: None,
            thread: Some(thread),
        })
    }

    /// Has a page read.
    pub(crate) fn ask(&mut self, after: u64) {
        if let (None, Some(asked)) = (self.from, &self.asked)
            && asked.send(after).is_ok()
        {
            self.from = Some(after);
        }
    }

    /// The page after this offset, if it is the one that was asked for.
    pub(crate) fn take(&mut self, after: u64) -> Option<Page> {
        let page = self.from.take().map(|from| (from, self.pages.recv()));
        let (from, page) = page?;
        page.ok().filter(|_| from == after)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.asked = None;
        if let Some(thread) = self.thread.take() {
            // It panics nowhere.
            let _ = thread.join();
        }
    }
}
