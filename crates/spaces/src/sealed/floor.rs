//! The least suite of a space's channels: the create says it, and owners raise it
//! (`docs/protocol/spaces.md 9.8.1`).

use p2panda_core::VerifyingKey;
use p2panda_encryption::{Context, Suite};
use rand_core::CryptoRng;

use super::invites::Note;
use super::{Sealed, Signer};
use crate::SpaceId;
use crate::graph::{Graph, Kind, Place};
use crate::local::{Desk, LocalError};
use crate::space::{Space, secret};
use crate::spaces::Spaces;

/// The suite of channels between our own nodes: the least that a create can ask for, and the
/// greatest that we speak.
pub(crate) const SUITE: u8 = Suite::Hybrid.number();

impl Spaces {
    /// The least suite of the channels of a space, as its messages make it; none for an unknown
    /// space. A space in the form of 0.7.1 has suite 1.
    pub fn floor(&self, space: &SpaceId) -> Option<u8> {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some())?;
        Some(known.floor())
    }

    /// Returns `true` if a quantum computer of later opens nothing of this space from a recording
    /// of today: all its secrets go through hybrid channels. That of all spaces between our own
    /// nodes.
    pub fn is_post_quantum(&self, space: &SpaceId) -> bool {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some());
        known.is_some_and(|known| {
            known.floor() >= Suite::Hybrid.number() && known.encryption.is_post_quantum()
        })
    }

    /// Raises the least suite of the channels. Only owners can, and it is never lowered. Nothing is
    /// published where the space requires as much already.
    pub fn raise_floor<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        suite: u8,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(), LocalError> {
        if suite > SUITE {
            return Err(LocalError::NoSuite {
                suite,
                supported: SUITE,
            });
        }
        let floor = self.floor(&space).ok_or(LocalError::UnknownSpace(space))?;
        match suite > floor {
            true => self.note_of_owner(space, Note::Floor(suite), desk),
            false => Ok(()),
        }
    }

    /// Returns `true` if this version supports what the space requires now.
    pub fn supports(&self, space: &SpaceId) -> bool {
        let known = self.spaces.get(space);
        known.is_some_and(|known| known.speaks().is_ok())
    }

    /// Returns the members with secrets of which no valid keys of the least suite are known here;
    /// all of them if this version does not support that suite.
    pub fn without_suite(&self, space: &SpaceId, context: &Context<'_>) -> Vec<VerifyingKey> {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some());
        let Some(known) = known else {
            return Vec::new();
        };
        let speaks = known.speaks().is_ok();
        let has_keys = |member: &VerifyingKey| {
            speaks && (*member == self.me || known.reaches(member, context))
        };
        let members = secret(&known.roles).into_iter();
        members.filter(|member| !has_keys(member)).collect()
    }
}

impl Space {
    /// At the last messages.
    pub(crate) fn floor(&self) -> u8 {
        self.of_create().max(raised(&self.graph, |_| true))
    }

    /// At the past of a message.
    pub(crate) fn floor_at(&self, place: &Place) -> u8 {
        let of_create = self.of_create();
        of_create.max(raised(&self.graph, |raise| place.has_seen(raise)))
    }

    /// Checks that we speak what the space demands now.
    pub(crate) fn speaks(&self) -> Result<(), LocalError> {
        match self.floor() {
            floor if floor > SUITE => Err(LocalError::Suite(floor)),
            _ => Ok(()),
        }
    }

    fn of_create(&self) -> u8 {
        let native = self.native.as_ref();
        native.map_or(Suite::Classic.number(), |native| {
            native.settings.map_or(SUITE, |settings| settings.floor)
        })
    }
}

/// The greatest suite to which owners raised the space by messages that count here.
fn raised(graph: &Graph, counts: impl Fn(&Place) -> bool) -> u8 {
    let nodes = graph.noting().filter_map(|id| graph.get(id));
    let nodes = nodes.filter(|node| node.kind != Kind::Refused && counts(&node.place));
    let notes = nodes.flat_map(|node| &node.notes);
    let raises = notes.filter_map(|note| match note {
        Note::Floor(suite) => Some(*suite),
        _ => None,
    });
    raises.max().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
#[path = "floor_tests.rs"]
mod tests;
