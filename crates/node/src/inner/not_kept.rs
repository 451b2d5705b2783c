//! Logs that peers said they do not keep of a topic (`docs/protocol/link.md#12`).

use std::collections::BTreeMap;

use p2panda_core::VerifyingKey;
use p2panda_protocol::link::{AuthorLog, Block, BlockChange, Blocks};
use parking_lot::Mutex;

use crate::not_kept::NotKept;

/// By peer, as it said on its last link. The network bounds how much that is.
#[derive(Default)]
pub(crate) struct NotKeptBy(Mutex<BTreeMap<VerifyingKey, OnLink>>);

struct OnLink {
    /// Number of the link.
    link: u64,
    blocks: Blocks,
}

impl NotKeptBy {
    /// A peer said it. Returns what is new, and which logs the peer takes again.
    pub(crate) fn said(
        &self,
        peer: VerifyingKey,
        link: u64,
        changes: Vec<BlockChange>,
    ) -> (Vec<NotKept>, Vec<NotKept>) {
        let mut peers = self.0.lock();
        let new = || OnLink {
            link,
            blocks: Blocks::new(),
        };
        let known = peers.entry(peer).or_insert_with(new);
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        if known.link > link {
            return (begun, ended);
        }
        if known.link < link {
            *known = new();
        }
        for (log, block) in changes {
            match block {
                Some(block) => {
                    known.blocks.insert(log, block);
                    begun.push(not_kept(peer, &log, &block));
                }
                None => {
                    let before = known.blocks.remove(&log);
                    ended.extend(before.map(|before| not_kept(peer, &log, &before)));
                }
            }
        }
        if known.blocks.is_empty() {
            peers.remove(&peer);
        }
        (begun, ended)
    }

    /// A link is over. Returns whether anything was said on it.
    pub(crate) fn unlinked(&self, peer: &VerifyingKey, link: u64) -> bool {
        let mut peers = self.0.lock();
        let is_it = peers.get(peer).is_some_and(|known| known.link == link);
        if is_it {
            peers.remove(peer);
        }
        is_it
    }

    /// A peer has stored a log up to an entry. Returns what it refused before, if it took it.
    pub(crate) fn stored(&self, peer: &VerifyingKey, log: &AuthorLog, seq: u32) -> Option<NotKept> {
        let mut peers = self.0.lock();
        let known = peers.get_mut(peer)?;
        let block = *known.blocks.get(log).filter(|block| block.height <= seq)?;
        known.blocks.remove(log);
        if known.blocks.is_empty() {
            peers.remove(peer);
        }
        Some(not_kept(*peer, log, &block))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Everything, by peer.
    pub(crate) fn all(&self) -> Vec<NotKept> {
        let peers = self.0.lock();
        let of_peer = peers.iter().flat_map(|(peer, known)| {
            let blocks = known.blocks.iter();
            blocks.map(|(log, block)| not_kept(*peer, log, block))
        });
        of_peer.collect()
    }

    /// The peers that refuse this entry of a log.
    pub(crate) fn of(&self, log: &AuthorLog, seq: u32) -> Vec<NotKept> {
        let peers = self.0.lock();
        let of_log = peers.iter().filter_map(|(peer, known)| {
            let block = known.blocks.get(log)?;
            (block.height <= seq).then(|| not_kept(*peer, log, block))
        });
        of_log.collect()
    }
}

fn not_kept(peer: VerifyingKey, log: &AuthorLog, block: &Block) -> NotKept {
    NotKept {
        peer,
        author: log.author,
        label: log.label,
        from: block.height,
        quota: block.quota,
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;
    use p2panda_protocol::link::Quota;

    use super::*;

    fn key(byte: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[byte; 32]).verifying_key()
    }

    const BLOCK: Block = Block {
        height: 5,
        quota: Quota::Author,
    };

    fn log(byte: u8) -> AuthorLog {
        AuthorLog {
            author: key(byte),
            label: None,
        }
    }

    #[test]
    fn what_a_peer_refuses_is_known_until_it_takes_it_again() {
        let known = NotKeptBy::default();
        let (begun, ended) = known.said(key(1), 4, vec![(log(2), Some(BLOCK)), (log(3), None)]);
        assert_eq!((begun.len(), ended.len()), (1, 0));
        assert_eq!(known.of(&log(2), 4), []);
        assert_eq!(known.of(&log(2), 5), begun);
        assert_eq!(known.of(&log(3), 5), []);
        let (_, ended) = known.said(key(1), 4, vec![(log(2), None)]);
        assert_eq!(ended, begun);
        assert!(known.is_empty());
        // A peer that has stored the entry took it.
        known.said(key(1), 4, vec![(log(2), Some(BLOCK))]);
        assert_eq!(known.stored(&key(1), &log(2), 4), None);
        assert_eq!(known.all(), begun);
        let stored = known.stored(&key(1), &log(2), 5);
        assert_eq!(stored.as_slice(), begun);
        assert_eq!(known.stored(&key(1), &log(2), 5), None);
        assert!(known.is_empty());
    }

    #[test]
    fn only_the_last_link_with_a_peer_counts() {
        let known = NotKeptBy::default();
        known.said(key(1), 4, vec![(log(2), Some(BLOCK))]);
        known.said(key(1), 6, vec![(log(3), Some(BLOCK))]);
        known.said(key(1), 4, vec![(log(2), Some(BLOCK))]);
        assert_eq!(known.of(&log(2), 9), []);
        assert!(!known.unlinked(&key(1), 4));
        assert_eq!(known.all().len(), 1);
        assert!(known.unlinked(&key(1), 6));
        assert!(known.is_empty());
    }
}
