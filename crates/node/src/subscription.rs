//! Reading a topic: a pull from the feed, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::{FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX};
use p2panda_store::{FeedEntry, FeedPage, PageLimits, SkipAcked};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::Error;
use crate::acks::Acks;
use crate::body::{self, Raw};
use crate::message::Message;
use crate::node::Node;
use crate::stream::Ack;
use crate::topic::Feed;

/// Messages of one page. While one is handed out, the next is read.
const PAGE: PageLimits = PageLimits {
    rows: FEED_PAGE_ROWS_MAX,
    bytes: FEED_PAGE_BYTES_MAX,
};

/// The reading half of a topic stream.
///
/// It pulls from the stored feed: however slow it is, it holds at most two pages in memory, stalls
/// nobody and loses nothing. Every subscription of a topic sees every message.
#[derive(Debug)]
pub struct Subscription<M = Raw> {
    pub(crate) node: Node,
    pub(crate) topic: Topic,
    pub(crate) acks: Arc<Acks>,
    pub(crate) policy: Ack,
    /// Up to this offset, what the topic's consumer has acknowledged is skipped.
    pub(crate) skip_acked_until: u64,
    pub(crate) position: u64,
    pub(crate) feed: Feed,
    pub(crate) page: VecDeque<FeedEntry>,
    /// The page after `page`, if there was more when that was read.
    pub(crate) ahead: Option<JoinHandle<Result<FeedPage, Error>>>,
    /// Handed out and not acknowledged yet, under the automatic policy.
    pub(crate) handed_out: Option<u64>,
    pub(crate) decode: fn(&[u8]) -> Option<Result<M, body::DecodeError>>,
}

pub(crate) fn untyped(_: &[u8]) -> Option<Result<Raw, body::DecodeError>> {
    None
}

pub(crate) fn typed<M: DeserializeOwned>(body: &[u8]) -> Option<Result<M, body::DecodeError>> {
    Some(body::value(body))
}

impl<M> Subscription<M> {
    /// The next message of the topic, waiting until there is one. `None` when the node is shut
    /// down or has left the topic.
    ///
    /// Under [`Ack::Automatic`] asking for the next message acknowledges the one before: what was
    /// being worked on in a crash comes again.
    ///
    /// Cancel safe: a message is only taken when the future completes.
    pub async fn next(&mut self) -> Option<Message<M>> {
        if let (Ack::Automatic, Some(offset)) = (self.policy, self.handed_out.take()) {
            self.acks.ack_soon(offset);
        }
        while self.page.is_empty() {
            self.fill().await?;
        }
        let entry = self.page.pop_front()?;
        self.position = entry.offset;
        self.handed_out = Some(entry.offset);
        let value = (self.decode)(entry.operation.body.as_deref().unwrap_or_default());
        Some(Message::new(entry, value, Arc::clone(&self.acks)))
    }

    /// The topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Takes the next page, or waits until the feed has grown.
    async fn fill(&mut self) -> Option<()> {
        let (page, ahead) = match &mut self.ahead {
            Some(reading) => {
                let page = reading.await.unwrap_or(Err(Error::Closed));
                self.ahead = None;
                (page, true)
            }
            None => {
                // Marked as seen before reading, so that growth during the read wakes us.
                self.feed.mark_seen();
                if let Some(newest) = self.newest() {
                    self.page = newest;
                    if self.page.is_empty() {
                        self.feed.changed().await?;
                    }
                    return Some(());
                }
                (self.read(self.position).await, false)
            }
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                if !self.node.is_closed() {
                    tracing::error!(%error, "the feed cannot be read");
                }
                return None;
            }
        };
        for row in &page.unreadable {
            tracing::error!(author = %row.author, seq = row.seq, "a stored operation is damaged");
        }
        self.position = self.position.max(page.last_offset);
        self.page = page.entries.into();
        if page.more {
            self.ahead = Some(tokio::spawn(self.read(self.position)));
        } else if self.page.is_empty() && !ahead {
            self.feed.changed().await?;
        }
        Some(())
    }

    /// What was committed a moment ago, if nothing before it is left to read.
    fn newest(&self) -> Option<VecDeque<FeedEntry>> {
        if self.position < self.skip_acked_until || self.node.is_closed() {
            return None;
        }
        self.feed.newest(self.position)
    }

    fn read(&self, after: u64) -> impl Future<Output = Result<FeedPage, Error>> + Send + 'static {
        let (storage, topic) = (self.node.storage().clone(), self.topic);
        let until = self.skip_acked_until;
        let rows = self.feed.above(after);
        async move {
            let page = storage.read_newest(rows, move |reader| {
                let consumer = (after < until).then(|| consumer_name(&topic));
                let skip = consumer
                    .as_deref()
                    .map(|consumer| SkipAcked { consumer, until });
                reader.feed_page(&topic, after, PAGE, skip)
            });
            page.await
        }
    }
}

/// All handles of a topic acknowledge into this one consumer.
pub(crate) fn consumer_name(topic: &Topic) -> String {
    format!("topic {}", topic.log_id())
}
