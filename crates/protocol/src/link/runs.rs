//! The runs of each peer, by which a restart is told from a copy (docs/protocol/link.md#5).

use std::collections::{BTreeMap, VecDeque};

use p2panda_core::{VerifyingKey, limits};

use crate::link::message::Instance;
use crate::time::Time;

/// Runs of peers that another run has replaced. If one of them is back while the other is there, they
/// are two nodes with one key.
#[derive(Debug, Default)]
pub struct Runs(BTreeMap<VerifyingKey, Former>);

#[derive(Debug, Default)]
struct Former {
    runs: VecDeque<Instance>,
    /// Time at which one of them was back last although another one was there.
    copy_at: Option<Time>,
}

impl Runs {
    /// The link with this run ends, since another one has taken its place.
    pub fn replaced(&mut self, peer: VerifyingKey, run: Instance) {
        if self.0.len() >= limits::LINK_RUNS_PEERS_MAX && !self.0.contains_key(&peer) {
            self.0.clear();
        }
        let Former { runs, .. } = self.0.entry(peer).or_default();
        runs.retain(|other| *other != run);
        if runs.len() >= limits::LINK_RUNS_MAX {
            runs.pop_front();
        }
        runs.push_back(run);
    }

    /// A link with this run has come, while those with `others` are open. Returns whether the run is a
    /// copy: its link is temporary then, and takes no other one's place.
    pub fn is_copy(
        &mut self,
        peer: &VerifyingKey,
        run: Instance,
        others: impl IntoIterator<Item = Instance>,
        now: Time,
    ) -> bool {
        let Some(former) = self.0.get_mut(peer) else {
            return false;
        };
        let is_copy = former.runs.contains(&run) && others.into_iter().any(|other| other != run);
        if is_copy {
            former.copy_at = Some(now);
        }
        is_copy
    }

    /// Returns `true` if a copy was there not long ago: an address that a record does not name any
    /// more may be the other one's.
    pub fn has_copies(&self, peer: &VerifyingKey, now: Time) -> bool {
        let seen = self.0.get(peer).and_then(|former| former.copy_at);
        seen.is_some_and(|at| at + limits::LINK_COPIES_REMEMBERED > now)
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn run(number: u8) -> Instance {
        Instance::from_bytes([number; 16])
    }

    fn peer(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    #[test]
    fn a_returning_run_takes_nobodys_place() {
        let (mut runs, now) = (Runs::default(), Time::ZERO);
        let peer = peer(1);
        assert!(!runs.is_copy(&peer, run(1), [], now));
        assert!(!runs.is_copy(&peer, run(2), [run(1)], now));
        runs.replaced(peer, run(1));
        // Each time that it comes. The other one never becomes a copy by that, nor by a link of its own
        // that it lost: only one of them ever gives way.
        for _ in 0..10 {
            assert!(runs.is_copy(&peer, run(1), [run(2)], now));
            assert!(!runs.is_copy(&peer, run(2), [], now));
            assert!(!runs.is_copy(&peer, run(2), [run(2)], now));
        }
        // When the other one has gone, it is a node as any other.
        assert!(!runs.is_copy(&peer, run(1), [], now));
        // A third one is taken for a restart, and gives nobody a turn.
        assert!(!runs.is_copy(&peer, run(3), [run(2)], now));
        runs.replaced(peer, run(2));
        for copy in [run(1), run(2)] {
            assert!(runs.is_copy(&peer, copy, [run(3)], now));
        }
    }

    #[test]
    fn a_peer_that_restarts_has_no_copies() {
        let (mut runs, now) = (Runs::default(), Time::ZERO);
        let peer = peer(1);
        for number in 1..20 {
            assert!(!runs.is_copy(&peer, run(number), [run(number - 1)], now));
            runs.replaced(peer, run(number - 1));
        }
        assert!(!runs.has_copies(&peer, now));
    }

    #[test]
    fn that_a_peer_has_copies_is_known_for_a_time() {
        let mut runs = Runs::default();
        let peer = peer(1);
        runs.replaced(peer, run(1));
        let seen = Time::from_micros(7);
        assert!(runs.is_copy(&peer, run(1), [run(2)], seen));
        let end = seen + limits::LINK_COPIES_REMEMBERED;
        let before = Time::from_micros(end.as_micros() - 1);
        assert!(runs.has_copies(&peer, before));
        assert!(!runs.has_copies(&peer, end));
    }

    #[test]
    fn no_more_runs_and_peers_are_remembered_than_the_limits_say() {
        let (mut runs, now) = (Runs::default(), Time::ZERO);
        let one = peer(1);
        let last = u8::try_from(limits::LINK_RUNS_MAX).unwrap_or(u8::MAX);
        (0..=last).for_each(|number| runs.replaced(one, run(number)));
        assert!(!runs.is_copy(&one, run(0), [run(99)], now));
        assert!((1..=last).all(|number| runs.is_copy(&one, run(number), [run(99)], now)));
        let others = (1..=limits::LINK_RUNS_PEERS_MAX).map(|number| {
            let mut bytes = [9; 32];
            for (byte, of) in bytes.iter_mut().zip(number.to_be_bytes()) {
                *byte = of;
            }
            VerifyingKey::from_bytes_unchecked(bytes)
        });
        for (count, other) in others.enumerate() {
            let is_full = count + 1 == limits::LINK_RUNS_PEERS_MAX;
            runs.replaced(other, run(1));
            assert_eq!(runs.is_copy(&one, run(1), [run(99)], now), !is_full);
        }
    }
}
