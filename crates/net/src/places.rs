//! Chooses the connection that makes room for another one (`docs/protocol/network.md#11`).

use std::collections::HashMap;

use p2panda_core::VerifyingKey;
use p2panda_core::budget::Standing;

/// Rank by which a connection makes room for others: the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Has shown nothing. The oldest goes first: anyone who means well soon shows something.
    Silent,
    /// Has shown something and did not sync in time. The newest goes first: it has proved least.
    Idle,
    /// Has time to show something or to sync, and little moves. Goes only for the sake of a peer or an
    /// address prefix that has fewer.
    Begun,
}

/// A connection that may have to make room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    pub(crate) number: u64,
    pub(crate) peer: VerifyingKey,
    pub(crate) standing: Standing,
    pub(crate) rank: Rank,
}

/// Chooses the connection that makes room for one of a newcomer (`docs/protocol/network.md#11`).
pub(crate) fn chosen(
    ranked: &[Ranked],
    newcomer: &VerifyingKey,
    standing: Standing,
) -> Option<u64> {
    let mut of_peer: HashMap<VerifyingKey, usize> = HashMap::new();
    let mut of_prefix: HashMap<Standing, usize> = HashMap::new();
    for one in ranked {
        *of_peer.entry(one.peer).or_default() += 1;
        *of_prefix.entry(one.standing).or_default() += 1;
    }
    let own = of_peer.get(newcomer).copied().unwrap_or_default();
    let near = of_prefix.get(&standing).copied().unwrap_or_default();
    let candidates = ranked.iter().filter_map(|one| {
        let count = of_peer.get(&one.peer).copied()?;
        let crowd = of_prefix.get(&one.standing).copied()?;
        let (may, age) = match one.rank {
            Rank::Silent => (count > own, one.number),
            Rank::Idle => (count > own, u64::MAX - one.number),
            Rank::Begun => (crowd > near + 1 || count > own + 1, one.number),
        };
        // Who has time goes last, also if it is near.
        let is_far = one.standing != standing;
        let turn = (one.rank == Rank::Begun, is_far, one.rank);
        let most = usize::MAX
            - if one.rank == Rank::Begun {
                crowd
            } else {
                count
            };
        may.then_some(((turn, most, age), one.number))
    });
    candidates.min().map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;
    use p2panda_core::budget::Prefix;

    use super::*;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn at(prefix: u8) -> Standing {
        Standing::Unproven(Prefix::of([10, 0, prefix, 1].into()))
    }

    /// Connections by their places: peer, prefix and rank.
    fn ranked(connections: &[(u8, u8, Rank)]) -> Vec<Ranked> {
        let numbered = (0..).zip(connections);
        let ranked = numbered.map(|(number, (peer, prefix, rank))| Ranked {
            number,
            peer: key(*peer),
            standing: at(*prefix),
            rank: *rank,
        });
        ranked.collect()
    }

    #[test]
    fn the_silent_go_first_and_of_the_idle_the_newest() {
        use Rank::{Begun, Idle, Silent};
        let open = [
            (1, 1, Begun),
            (2, 1, Idle),
            (3, 1, Idle),
            (4, 1, Silent),
            (5, 1, Silent),
        ];
        assert_eq!(chosen(&ranked(&open), &key(9), at(1)), Some(3));
        assert_eq!(chosen(&ranked(&open[..3]), &key(9), at(1)), Some(2));
        assert_eq!(chosen(&ranked(&open[..1]), &key(9), at(1)), None);
        // Of the own prefix first: its share may be the one that is used up.
        let near = [(1, 1, Silent), (2, 2, Idle), (3, 2, Begun)];
        assert_eq!(chosen(&ranked(&near), &key(9), at(2)), Some(1));
    }

    #[test]
    fn a_place_is_kept_against_a_holder_of_as_many() {
        use Rank::Silent;
        let open = [
            (1, 1, Silent),
            (1, 1, Silent),
            (2, 1, Silent),
            (3, 1, Silent),
        ];
        assert_eq!(chosen(&ranked(&open), &key(3), at(1)), Some(0));
        assert_eq!(chosen(&ranked(&open[1..]), &key(3), at(1)), None);
    }

    #[test]
    fn a_timed_place_goes_to_those_with_fewer_only() {
        use Rank::Begun;
        let crowd = [(1, 1, Begun), (2, 1, Begun), (3, 2, Begun)];
        assert_eq!(chosen(&ranked(&crowd), &key(9), at(3)), Some(0));
        assert_eq!(chosen(&ranked(&crowd), &key(9), at(2)), None);
        assert_eq!(chosen(&ranked(&crowd), &key(9), at(1)), None);
        let greedy = [(1, 1, Begun), (1, 1, Begun), (2, 1, Begun)];
        assert_eq!(chosen(&ranked(&greedy), &key(9), at(1)), Some(0));
    }
}
