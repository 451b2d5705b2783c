//! Tells peers which logs the quotas of this node block (`docs/protocol/link.md#12`).

use std::collections::BTreeSet;
use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::LINK_BLOCKED_INTERVAL;
use p2panda_engine::{QuotaOf, Quotas};
use p2panda_protocol::link::{AuthorLog, Block, Blocks, Quota};
use p2panda_store::{Reader, RejectReason, StoreError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::inner::storage::Storage;
use crate::inner::topic::Topics;

/// Topics of which a log was blocked or continues. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Changed(Arc<(Mutex<Due>, Notify)>);

#[derive(Default)]
struct Due {
    topics: BTreeSet<Topic>,
    /// The quotas of the node at present.
    quotas: Quotas,
    /// There were quotas at some time: only then is there something to tell.
    is_watched: bool,
    ended: bool,
}

impl Changed {
    pub(crate) fn add(&self, topic: Topic) {
        let (due, notify) = &*self.0;
        let mut due = due.lock();
        if due.is_watched && due.topics.insert(topic) {
            notify.notify_one();
        }
    }

    /// The node is shut down.
    pub(crate) fn end(&self) {
        let (due, notify) = &*self.0;
        due.lock().ended = true;
        notify.notify_one();
    }

    /// The quotas from now on. What is told may change in any topic.
    pub(crate) fn set_quotas(&self, quotas: Quotas, topics: impl Iterator<Item = Topic>) {
        let (due, notify) = &*self.0;
        let mut due = due.lock();
        due.quotas = quotas;
        due.is_watched |= quotas.is_any();
        if due.is_watched {
            due.topics.extend(topics);
            notify.notify_one();
        }
    }

    fn quotas(&self) -> Quotas {
        self.0.0.lock().quotas
    }

    /// `None` at the end.
    async fn next(&self) -> Option<BTreeSet<Topic>> {
        let (due, notify) = &*self.0;
        loop {
            {
                let mut due = due.lock();
                if due.ended {
                    return None;
                }
                if !due.topics.is_empty() {
                    return Some(std::mem::take(&mut due.topics));
                }
            }
            notify.notified().await;
        }
    }
}

/// Starts to tell, until the node is shut down. Topics that are joined later are told of.
pub(crate) fn start(topics: Topics, storage: Storage, quotas: Quotas) {
    let changed = topics.blocking().clone();
    changed.set_quotas(quotas, std::iter::empty());
    tokio::spawn(async move {
        while let Some(due) = changed.next().await {
            let round = Instant::now();
            for topic in due {
                match tell(&topics, &storage, topic, changed.quotas()).await {
                    Ok(()) => {}
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::debug!(%error, "peers cannot be told now what is blocked");
                        changed.add(topic);
                    }
                }
            }
            // A blocked log changes with each of its operations that comes.
            sleep_until(round + LINK_BLOCKED_INTERVAL).await;
        }
    });
}

async fn tell(
    topics: &Topics,
    storage: &Storage,
    topic: Topic,
    quotas: Quotas,
) -> Result<(), Error> {
    let Some(state) = topics.get(&topic) else {
        return Ok(());
    };
    let read = move |reader: &Reader| blocks(reader, &topic, &quotas);
    let blocks = storage.read(read).await?;
    if let Some(sync) = state.sync() {
        sync.block(blocks);
    }
    Ok(())
}

fn blocks(reader: &Reader, topic: &Topic, quotas: &Quotas) -> Result<Blocks, StoreError> {
    let mut blocks = Blocks::new();
    for log in reader.blocked(topic)? {
        if log.reason != RejectReason::Quota {
            continue;
        }
        let kept = reader.kept_bytes_of(topic, &log.author)?;
        let exceeded = quotas.exceeded(kept.unwrap_or_default(), log.bytes);
        let quota = match exceeded.unwrap_or(narrowest(quotas)) {
            QuotaOf::Author => Quota::Author,
            QuotaOf::Topic => Quota::Topic,
            QuotaOf::All => Quota::All,
        };
        let of = AuthorLog {
            author: log.author,
            label: (log.label != log.author).then(|| log.label.into()),
        };
        let height = log.seq;
        blocks.insert(of, Block { height, quota });
    }
    Ok(blocks)
}

/// For a log that is blocked although there is room by now.
fn narrowest(quotas: &Quotas) -> QuotaOf {
    match (quotas.author, quotas.topic) {
        (Some(_), _) => QuotaOf::Author,
        (None, Some(_)) => QuotaOf::Topic,
        (None, None) => QuotaOf::All,
    }
}
