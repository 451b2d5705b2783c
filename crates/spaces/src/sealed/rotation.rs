//! New secrets by age, where owners ask for that (`docs/protocol/spaces.md#8`).

use p2panda_core::Hash;
use p2panda_core::limits::SPACE_ROTATION_DAYS_MAX;
use p2panda_encryption::data::SecretId;
use rand_core::CryptoRng;

use super::invites::Note;
use super::{Sealed, Signer};
use crate::SpaceId;
use crate::graph::{Graph, Kind};
use crate::local::{Desk, LocalError};
use crate::spaces::Spaces;

impl Spaces {
    /// Asks the owners to replace a secret when it is so many days old, or with 0 not to do that any
    /// more. Only for owners.
    pub fn set_rotation<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        days: u32,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(), LocalError> {
        match days <= SPACE_ROTATION_DAYS_MAX {
            true => self.note_of_owner(space, Note::Rotation(days), desk),
            false => Err(LocalError::TooManyDays),
        }
    }

    /// Returns after how many days owners replace a secret; `None` if no owner asks for that. Of the
    /// numbers that no later one replaces, the smallest counts.
    pub fn rotation_days(&self, space: &SpaceId) -> Option<u32> {
        days_of(&self.spaces.get(space)?.graph)
    }

    /// Returns the secret under which we would seal now, with its date in seconds since 1970; `None`
    /// if there is none, for instance because the space has to be healed first.
    pub fn sealing_secret(&self, space: &SpaceId) -> Option<(SecretId, u64)> {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some())?;
        let secret = known.encryption.sending().ok()?;
        Some((secret.id(), secret.timestamp()))
    }
}

fn days_of(graph: &Graph) -> Option<u32> {
    let asked = |id: &Hash| {
        let node = graph.get(id).filter(|node| node.kind != Kind::Refused)?;
        asked_by(&node.notes)
    };
    let asking = graph.noting().filter(|id| asked(id).is_some());
    let last = graph.last_of(asking.copied().collect());
    let days = last.iter().filter_map(asked);
    days.filter(|days| *days > 0).min()
}

/// Returns the days that a message asks for: of several, the last ones.
fn asked_by(notes: &[Note]) -> Option<u32> {
    notes.iter().rev().find_map(|note| match note {
        Note::Rotation(days) => Some(*days),
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#[path = "rotation_tests.rs"]
mod tests;
