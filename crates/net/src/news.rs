//! Nodes that joined an overlay, by their own word: news that links pass on.

use std::collections::VecDeque;
use std::sync::Arc;

use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::watch;

/// The latest news. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct News(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The oldest first; the last one led to the version there is.
    joins: Mutex<VecDeque<(VerifyingKey, Overlay)>>,
    version: watch::Sender<u64>,
}

impl Default for News {
    fn default() -> Self {
        Self(Arc::new(Inner {
            joins: Mutex::default(),
            version: watch::Sender::new(0),
        }))
    }
}

impl News {
    /// A node said that it is in these overlays.
    pub(crate) fn joined(&self, node: VerifyingKey, overlays: impl IntoIterator<Item = Overlay>) {
        let mut joins = self.0.joins.lock();
        let mut new = 0;
        for overlay in overlays {
            if joins.len() >= limits::LINK_CHANGES_REMEMBERED_MAX {
                joins.pop_front();
            }
            joins.push_back((node, overlay));
            new += 1;
        }
        if new > 0 {
            self.0.version.send_modify(|version| *version += new);
        }
    }

    /// The version there is, and changes of it.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Returns the news since a version, and the new version. `None`: too many to remember.
    pub(crate) fn since(&self, version: u64) -> (Option<Vec<(VerifyingKey, Overlay)>>, u64) {
        let joins = self.0.joins.lock();
        let now = *self.0.version.borrow();
        let new = usize::try_from(now.saturating_sub(version)).ok();
        let old = new.and_then(|new| joins.len().checked_sub(new));
        (
            old.map(|old| joins.iter().skip(old).copied().collect()),
            now,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn news_is_told_in_order_up_to_a_bound() {
        let news = News::default();
        let node = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let overlay = |byte| Overlay::from_bytes([byte; 32]);
        news.joined(node, [overlay(1)]);
        let (_, seen) = news.since(0);
        assert_eq!(news.since(seen), (Some(vec![]), seen));
        news.joined(node, [overlay(2), overlay(3)]);
        let (new, now) = news.since(seen);
        assert_eq!(new.unwrap(), [(node, overlay(2)), (node, overlay(3))]);
        for _ in 0..limits::LINK_CHANGES_REMEMBERED_MAX {
            news.joined(node, [overlay(4)]);
        }
        assert!(news.since(now).0.is_some() && news.since(now - 1).0.is_none());
    }
}
