//! Waiting for the growth of a topic.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::inner::topic::{Feed, TopicState};
use crate::topic_handle::TopicHandle;

/// Waits until a topic grows. Made by [`TopicHandle::follow`], which makes the node interested in the topic.
/// It ends when the topic is left, also if somebody joins it again.
pub struct Following {
    handle: TopicHandle,
    state: Arc<TopicState>,
    feed: Feed,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Following");
        shown.field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Following {
    pub(crate) fn new(handle: TopicHandle, state: Arc<TopicState>) -> Following {
        let feed = state.feed();
        Following {
            handle,
            state,
            feed,
        }
    }

    /// Waits until the feed of the topic has an entry after offset `after`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::Left`] when the topic was left; [`Error::Closed`] after shutdown; errors of the store.
    pub async fn grown(&mut self, after: u64) -> Result<(), Error> {
        loop {
            self.feed.mark_seen();
            self.state.check_open()?;
            if self.handle.last_offset().await? > after {
                return Ok(());
            }
            self.changed().await?;
        }
    }

    /// Waits until an operation is stored after arrival number `after` and the feed of the topic has
    /// grown.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Following::grown`].
    pub async fn arrived(&mut self, after: u64) -> Result<(), Error> {
        loop {
            self.feed.mark_seen();
            self.state.check_open()?;
            if !self.handle.operations_page(after, 1, 0).await?.is_empty() {
                return Ok(());
            }
            self.changed().await?;
        }
    }

    async fn changed(&mut self) -> Result<(), Error> {
        if self.feed.changed().await.is_some() {
            return Ok(());
        }
        self.state.check_open()?;
        Err(Error::Left)
    }
}
