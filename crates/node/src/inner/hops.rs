//! From whom operations came lately (`docs/guide/observe.md`).

use std::collections::{HashMap, VecDeque};

use p2panda_core::limits::TRACED_COPIES_MAX;
use p2panda_core::{Hash, Received, Timestamp, VerifyingKey};
use parking_lot::Mutex;

/// Recent copies of operations that arrived. The oldest batches are dropped.
#[derive(Default)]
pub(crate) struct Hops(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    batches: VecDeque<Batch>,
    copies: usize,
    /// Peers by number: a batch names its peer in four bytes.
    peers: Vec<Peer>,
    numbers: HashMap<VerifyingKey, u32>,
    free: Vec<u32>,
}

struct Peer {
    key: VerifyingKey,
    batches: usize,
}

/// Copies that came together.
struct Batch {
    peer: u32,
    at: Timestamp,
    ids: Box<[ShortId]>,
}

/// The beginning of an operation id: enough that nobody finds two with the same.
type ShortId = [u8; 16];

fn short(id: &Hash) -> ShortId {
    let mut short = [0; 16];
    short
        .iter_mut()
        .zip(id.as_bytes())
        .for_each(|(to, from)| *to = *from);
    short
}

impl Hops {
    /// Operations came from a peer.
    pub(crate) fn came(&self, peer: VerifyingKey, operations: &[Received], at: Timestamp) {
        let ids = operations.iter().filter_map(|one| match one {
            Received::Operation { header, .. } => Some(short(&header.id())),
            Received::Refused(_) => None,
        });
        let ids: Box<[ShortId]> = ids.collect();
        if !ids.is_empty() {
            self.0.lock().add(peer, ids, at);
        }
    }

    /// From whom an operation came, and when, oldest first.
    pub(crate) fn of(&self, id: &Hash) -> Vec<(VerifyingKey, Timestamp)> {
        let id = short(id);
        let inner = self.0.lock();
        let batches = inner.batches.iter().filter(|batch| batch.ids.contains(&id));
        let peers = batches.filter_map(|batch| {
            let peer = inner.peers.get(batch.peer as usize)?;
            Some((peer.key, batch.at))
        });
        peers.collect()
    }
}

impl Inner {
    fn add(&mut self, peer: VerifyingKey, ids: Box<[ShortId]>, at: Timestamp) {
        let peer = self.number(peer);
        self.copies += ids.len();
        self.batches.push_back(Batch { peer, at, ids });
        while self.copies > TRACED_COPIES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.copies -= oldest.ids.len();
            self.release(oldest.peer);
        }
    }

    fn number(&mut self, key: VerifyingKey) -> u32 {
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = self.free.pop().unwrap_or(self.peers.len() as u32);
                self.numbers.insert(key, number);
                match self.peers.get_mut(number as usize) {
                    Some(peer) => peer.key = key,
                    None => self.peers.push(Peer { key, batches: 0 }),
                }
                number
            }
        };
        if let Some(peer) = self.peers.get_mut(number as usize) {
            peer.batches += 1;
        }
        number
    }

    /// A peer of which no batch is left frees its number.
    fn release(&mut self, number: u32) {
        let Some(peer) = self.peers.get_mut(number as usize) else {
            return;
        };
        peer.batches = peer.batches.saturating_sub(1);
        if peer.batches == 0 {
            self.numbers.remove(&peer.key);
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::{Draft, Operation, SigningKey};

    use super::*;

    fn peer(number: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[number; 32]).verifying_key()
    }

    fn short_of(number: usize) -> ShortId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn every_copy_of_an_operation_is_told_with_its_peer_and_time() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let operation = Operation::create(&key, Draft::default()).unwrap();
        let id = operation.header.id();
        let received = [Received::Operation {
            header: operation.header,
            body: None,
        }];
        let hops = Hops::default();
        hops.came(peer(1), &received, Timestamp::from_micros(5));
        hops.came(peer(2), &received, Timestamp::from_micros(7));
        let times = |micros| Timestamp::from_micros(micros);
        assert_eq!(hops.of(&id), [(peer(1), times(5)), (peer(2), times(7))]);
        assert_eq!(hops.of(&Hash::digest(b"another")), []);
    }

    #[test]
    fn what_is_remembered_is_bounded_however_many_peers_bring_it() {
        let mut inner = Inner::default();
        let at = Timestamp::from_micros(1);
        for round in 0..3 {
            for number in 0..200_u8 {
                let ids = (0..TRACED_COPIES_MAX / 100).map(short_of).collect();
                inner.add(peer(number), ids, at);
                assert!(inner.copies <= TRACED_COPIES_MAX, "round {round}");
                assert!(inner.peers.len() <= 102 && inner.numbers.len() <= 102);
            }
        }
        // A batch that is larger than all there may be is not kept.
        inner.add(peer(1), (0..=TRACED_COPIES_MAX).map(short_of).collect(), at);
        assert_eq!((inner.copies, inner.numbers.len()), (0, 0));
    }
}
