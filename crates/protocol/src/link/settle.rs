//! Chooses which of two links between the same nodes stays (docs/protocol/link.md#5).

use p2panda_core::VerifyingKey;

use crate::link::message::Instance;
use crate::link::secret::Side;

/// One of two links, the older or the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The side that this node has of it.
    pub side: Side,
    /// Run of the peer that it is with.
    pub instance: Instance,
}

/// Decision about which link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The one that was there before.
    OlderEnds,
    /// The one that has come.
    NewerEnds,
}

/// Both sides answer the same for the same two links.
pub fn settle(local: &VerifyingKey, remote: &VerifyingKey, older: Link, newer: Link) -> Settled {
    if older.instance != newer.instance || older.side == newer.side {
        return Settled::OlderEnds;
    }
    let local_dialled_older = older.side == Side::Dialler;
    let local_is_smaller = local.as_bytes() < remote.as_bytes();
    match local_dialled_older == local_is_smaller {
        true => Settled::NewerEnds,
        false => Settled::OlderEnds,
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn link(side: Side, instance: u8) -> Link {
        Link {
            side,
            instance: Instance::from_bytes([instance; 16]),
        }
    }

    #[test]
    fn both_sides_keep_the_same_link() {
        let mut keys = [1, 2].map(|byte| SigningKey::from_bytes(&[byte; 32]).verifying_key());
        keys.sort_by_key(|key| *key.as_bytes());
        let [small, great] = keys;
        for (side, kept) in [
            (Side::Dialler, Settled::NewerEnds),
            (Side::Acceptor, Settled::OlderEnds),
        ] {
            let (older, newer) = (link(side, 1), link(side.other(), 1));
            assert_eq!(settle(&small, &great, older, newer), kept);
            let (older, newer) = (link(side.other(), 1), link(side, 1));
            assert_eq!(settle(&great, &small, older, newer), kept);
        }
    }

    #[test]
    fn links_of_ended_runs_and_replaced_links_end() {
        let [one, two] = [1, 2].map(|byte| SigningKey::from_bytes(&[byte; 32]).verifying_key());
        for side in [Side::Dialler, Side::Acceptor] {
            for (local, remote) in [(&one, &two), (&two, &one)] {
                for newer in [link(side, 2), link(side.other(), 2), link(side, 1)] {
                    let settled = settle(local, remote, link(side, 1), newer);
                    assert_eq!(settled, Settled::OlderEnds);
                }
            }
        }
    }
}
