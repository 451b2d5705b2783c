//! Pulls the feeds of one or more topics by offset, page by page.

use std::collections::VecDeque;
use std::future::{self, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use p2panda_core::Topic;
use p2panda_core::limits::{FEED_PAGE_BYTES_MAX, FEED_PAGE_ROWS_MAX};
use p2panda_store::{FeedEntry, FeedPage, PageLimits, Reader, SkipAcked};
use tokio::task::JoinHandle;

use crate::Error;
use crate::ended::Ended;
use crate::inner::topic::Feed;
use crate::node::Node;

/// Messages of one page. While one is handed out, the next is read.
const PAGE: PageLimits = PageLimits {
    rows: FEED_PAGE_ROWS_MAX,
    bytes: FEED_PAGE_BYTES_MAX,
};

/// A place in the feed of each topic.
///
/// It holds at most two pages per topic. Entries of a topic come in the order of their offsets.
/// Stored entries of several topics are merged by offset; of those that are committed while they
/// are read, one topic's may come before the other's.
#[derive(Debug)]
pub(crate) struct Cursor {
    node: Node,
    sources: Vec<Source>,
}

/// Start in a topic.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) topic: Topic,
    /// The last offset that is not wanted.
    pub(crate) after: u64,
    /// Up to this offset, what this consumer has acknowledged is skipped.
    pub(crate) skip_acked: Option<(Arc<str>, u64)>,
}

/// One topic.
#[derive(Debug)]
struct Source {
    start: Start,
    position: u64,
    feed: Feed,
    page: VecDeque<FeedEntry>,
    /// The page after `page`, if there was more when that was read.
    ahead: Option<JoinHandle<Result<FeedPage, Error>>>,
    /// Nothing was left to read when it was last checked.
    at_end: bool,
    /// The topic was left.
    left: bool,
}

impl Cursor {
    pub(crate) fn new(node: &Node, starts: impl IntoIterator<Item = (Start, Feed)>) -> Self {
        let sources = starts.into_iter().map(|(start, feed)| Source {
            position: start.after,
            start,
            feed,
            page: VecDeque::new(),
            ahead: None,
            at_end: false,
            left: false,
        });
        Self {
            node: node.clone(),
            sources: sources.collect(),
        }
    }

    /// The next entry and the place of its topic among the starts, waiting until there is one. It
    /// ends when the last topic was left.
    ///
    /// Cancel safe: an entry is only taken when the future completes.
    pub(crate) async fn next(&mut self) -> Result<(usize, FeedEntry), Ended> {
        loop {
            if self.node.has_stopped() {
                return Err(self.node.ended().unwrap_or(Ended::Left));
            }
            for source in &mut self.sources {
                source.fill(&self.node).await?;
            }
            let sources = self.sources.iter_mut().enumerate();
            let first = sources.filter_map(|(place, source)| {
                let offset = source.page.front()?.offset;
                Some((offset, place, source))
            });
            if let Some((offset, place, source)) = first.min_by_key(|(offset, ..)| *offset)
                && let Some(entry) = source.page.pop_front()
            {
                source.position = offset;
                if source.page.is_empty() {
                    // Not the memory of the largest page for as long as nothing comes.
                    source.page = VecDeque::new();
                }
                return Ok((place, entry));
            }
            self.changed().await?;
        }
    }

    /// Waits until a feed has grown, or a topic was left.
    async fn changed(&mut self) -> Result<(), Ended> {
        match first_changed(&mut self.sources).await {
            Changed::Grown(place) => {
                if let Some(source) = self.sources.get_mut(place) {
                    source.at_end = false;
                }
            }
            Changed::Left(place) => {
                if let Some(source) = self.sources.get_mut(place) {
                    source.left = true;
                }
            }
            Changed::Nothing => {}
        }
        match self.sources.iter().all(|source| source.left) {
            true => Err(self.node.ended().unwrap_or(Ended::Left)),
            false => Ok(()),
        }
    }
}

/// Change of the source at this index.
enum Changed {
    Grown(usize),
    Left(usize),
    /// There is none.
    Nothing,
}

impl Changed {
    fn of(place: usize, grown: Option<()>) -> Self {
        match grown {
            Some(()) => Self::Grown(place),
            None => Self::Left(place),
        }
    }
}

/// The first source whose feed has grown, or whose topic was left.
async fn first_changed(sources: &mut [Source]) -> Changed {
    type Change<'a> = Pin<Box<dyn Future<Output = Option<()>> + Send + 'a>>;
    if let [source] = sources {
        return Changed::of(0, source.feed.changed().await);
    }
    let mut changes: Vec<(usize, Change<'_>)> = Vec::with_capacity(sources.len());
    for (place, source) in sources.iter_mut().enumerate() {
        if !source.left {
            changes.push((place, Box::pin(source.feed.changed())));
        }
    }
    future::poll_fn(|context| {
        for (place, change) in &mut changes {
            if let Poll::Ready(grown) = change.as_mut().poll(context) {
                return Poll::Ready(Changed::of(*place, grown));
            }
        }
        match changes.is_empty() {
            true => Poll::Ready(Changed::Nothing),
            false => Poll::Pending,
        }
    })
    .await
}

impl Source {
    /// Makes sure that the page has an entry, or that nothing is left to read.
    async fn fill(&mut self, node: &Node) -> Result<(), Ended> {
        while self.page.is_empty() && (!self.at_end || self.feed.has_grown()) {
            if self.ahead.is_none() {
                // Marked as seen before reading, so that growth during the read wakes us.
                self.feed.mark_seen();
                if let Some(newest) = self.newest(node) {
                    self.page = newest;
                    self.at_end = true;
                    continue;
                }
            }
            // Boxed: anyone who waits for what comes next would hold room for it.
            Box::pin(self.read_on(node)).await?;
        }
        Ok(())
    }

    async fn read_on(&mut self, node: &Node) -> Result<(), Ended> {
        let (page, ahead) = match &mut self.ahead {
            Some(reading) => {
                let page = reading.await.unwrap_or(Err(Error::Closed));
                self.ahead = None;
                (page, true)
            }
            None => (self.read(node, self.position).await, false),
        };
        let failed = |error| Ended::Failed(Arc::new(error));
        let page = page.map_err(|error| node.ended().unwrap_or_else(|| failed(error)))?;
        node.event_sender()
            .damaged(self.start.topic, &page.unreadable);
        self.position = self.position.max(page.last_offset);
        self.page = page.entries.into();
        self.at_end = !page.more && !ahead;
        if page.more {
            self.ahead = Some(tokio::spawn(self.read(node, self.position)));
        }
        Ok(())
    }

    /// Returns the newest commits from memory, if nothing before them is left to read.
    fn newest(&self, node: &Node) -> Option<VecDeque<FeedEntry>> {
        let until = self
            .start
            .skip_acked
            .as_ref()
            .map_or(0, |(_, until)| *until);
        if self.position < until || node.is_closed() {
            return None;
        }
        self.feed.newest(self.position)
    }

    fn read(
        &self,
        node: &Node,
        after: u64,
    ) -> impl Future<Output = Result<FeedPage, Error>> + Send + 'static {
        let (storage, topic) = (node.storage().clone(), self.start.topic);
        let skip = self.start.skip_acked.clone();
        let rows = self.feed.above(after);
        async move {
            let read = move |reader: &Reader| {
                let skip = skip.as_ref().filter(|(_, until)| after < *until);
                let skip = skip.map(|(consumer, until)| SkipAcked {
                    consumer,
                    until: *until,
                });
                reader.feed_page(&topic, after, PAGE, skip)
            };
            let page = storage.read_newest(rows, read).await?;
            let shown = page.entries.iter();
            storage.keep(shown.filter_map(|entry| entry.content.bytes()));
            Ok(page)
        }
    }
}
