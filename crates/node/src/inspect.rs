//! A data directory without a node: what is stored in it, and nothing is written.

use std::collections::VecDeque;
use std::path::Path;

use p2panda_core::limits::{
    CONSUMER_PAGE_ROWS, FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX, TOPICS_PAGE_ROWS,
};
use p2panda_core::{Hash, Topic};
use p2panda_store::{FeedEntry, Holder, PageLimits, Reader, SkipAcked, TopicStatus};

use crate::consumer_handle::{ConsumerInfo, info_of};
use crate::inner::consumer;
use crate::view::ViewStatus;
use crate::{Error, Message, Raw, Trace, subscription};

/// Content of a data directory. Made by [`inspect`].
///
/// Neither key nor lock are touched: it works next to a running node, and on read-only media. Each
/// call blocks for as long as the read takes.
pub struct Inspection(Reader);

/// Reads a data directory without starting its node: nobody is contacted, nothing is acknowledged,
/// and on read-only media nothing is written.
///
/// # Errors
/// [`Error::Open`] when there is no database, when it is of another version, or when it cannot be read.
pub fn inspect(dir: impl AsRef<Path>) -> Result<Inspection, Error> {
    let readers = p2panda_store::inspect(dir.as_ref())?;
    Ok(Inspection(readers.open()?))
}

/// The process that has a data directory open, whether or not it answers commands; none if nobody has.
///
/// # Errors
/// [`Error::Open`] when the lock cannot be read.
pub fn holder(dir: impl AsRef<Path>) -> Result<Option<Holder>, Error> {
    Ok(p2panda_store::holder(dir.as_ref())?)
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspection")
    }
}

impl Inspection {
    /// The topics of which something is stored, and those that the node keeps
    /// ([`TopicHandle::keep`](crate::TopicHandle::keep)), in their order, at most 1 000 behind `after`; empty
    /// at the end. An empty topic that somebody reads is only in the memory of the running node.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn topics(&self, after: Option<Topic>) -> Result<Vec<Topic>, Error> {
        Ok(self.0.topics(after.as_ref(), TOPICS_PAGE_ROWS)?)
    }

    /// As [`crate::TopicHandle::status`].
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn status(&self, topic: Topic) -> Result<TopicStatus, Error> {
        Ok(self.0.status(&topic)?)
    }

    /// Checks the whole database with SQLite. Returns `None`, or the first damage.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn check(&self) -> Result<Option<String>, Error> {
        Ok(self.0.check()?)
    }

    /// Stored header and payload bytes of this node and others. `None` if the last node had no
    /// quotas.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn kept_bytes(&self) -> Result<Option<u64>, Error> {
        Ok(self.0.kept_bytes(None)?)
    }

    /// Source that opens the sealed rows, as named in the configuration: `key-file`, `file`,
    /// `keychain` or `passphrase`. `None` while nothing is sealed, or if this version does not
    /// know the source.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn sealed_by(&self) -> Result<Option<&'static str>, Error> {
        Ok(self.0.sealed_by()?.and_then(p2panda_engine::source_name))
    }

    /// All stored views, by name and version.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn views(&self) -> Result<Vec<ViewStatus>, Error> {
        Ok(self.0.views()?.into_iter().map(ViewStatus::of).collect())
    }

    /// The named consumers as they are stored, in the order of their names, at most 1 000 behind the
    /// name `after`. The messages that readers of a running node hold are not known here.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn consumers(&self, after: Option<&str>) -> Result<Vec<ConsumerInfo>, Error> {
        let stored = self.0.named_consumers(after, CONSUMER_PAGE_ROWS)?;
        Ok(stored.into_iter().filter_map(info_of).collect())
    }

    /// Looks up an operation in the database. Only a running node knows from whom it came, who was
    /// sent it, and what waits in memory for earlier operations.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be read.
    pub fn trace(&self, id: Hash) -> Result<Option<Trace>, Error> {
        Trace::of_store(&self.0, id)
    }

    /// The stored messages of a topic, oldest first: all of them, or only those that the application
    /// has not acknowledged. They cannot be acknowledged here.
    pub fn messages(&self, topic: Topic, unseen: bool) -> StoredMessages<'_> {
        StoredMessages {
            reader: &self.0,
            topic,
            unseen: unseen.then(|| consumer::of_topic(&topic)),
            page: VecDeque::new(),
            after: 0,
            more: true,
        }
    }
}

/// Stored messages, one after the other. Holds one page in memory.
pub struct StoredMessages<'i> {
    reader: &'i Reader,
    topic: Topic,
    /// Reader whose acknowledgements count.
    unseen: Option<String>,
    page: VecDeque<FeedEntry>,
    after: u64,
    more: bool,
}

impl std::fmt::Debug for StoredMessages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredMessages")
            .field("topic", &self.topic)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Iterator for StoredMessages<'_> {
    type Item = Result<Message<Raw>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.page.is_empty() && self.more {
            let limits = PageLimits {
                rows: FEED_PAGE_ROWS_MAX,
                bytes: FEED_PAGE_BYTES_MAX,
            };
            let skip = self.unseen.as_deref().map(|consumer| SkipAcked {
                consumer,
                until: u64::MAX,
            });
            match self.reader.feed_page(&self.topic, self.after, limits, skip) {
                Ok(page) => {
                    (self.after, self.more) = (page.last_offset, page.more);
                    self.page.extend(page.entries);
                }
                Err(error) => {
                    self.more = false;
                    return Some(Err(error.into()));
                }
            }
        }
        let entry = self.page.pop_front()?;
        Some(Ok(Message::new(entry, subscription::untyped, None)))
    }
}
