//! Spaces of a person, and its devices that are recovery keys, as its devices tell each other
//! (`docs/protocol/spaces.md#18`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{PERSON_SPACES_MAX, SPACE_NOTES_MAX};
use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_groups::GroupId;
use rand_core::CryptoRng;

use crate::graph::{Graph, Kind};
use crate::local::{Desk, Done, LocalError};
use crate::sealed::{Forge, Note};
use crate::spaces::Spaces;
use crate::{Role, SpaceId};

/// A report of a device about a space to the other devices of its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Telling {
    /// The person is a member of the space.
    Joined(Topic, SpaceId),
    /// The person is no longer a member.
    Left(Topic, SpaceId),
    /// A device is a recovery key, whose file was written at that time in seconds since 1970; 0: not yet.
    Recovery(VerifyingKey, u64),
}

impl From<Telling> for Note {
    fn from(telling: Telling) -> Note {
        match telling {
            Telling::Joined(topic, space) => Note::Joined(topic, space),
            Telling::Left(topic, space) => Note::Left(topic, space),
            Telling::Recovery(key, written) => Note::Recovery(key, written),
        }
    }
}

/// The last reports about one space, and whether they say that the person is a member.
type Last = Vec<(Hash, bool)>;

impl Spaces {
    /// Returns the spaces that were reported in the device space of a person, and whether the
    /// person is a member.
    pub fn told_spaces(&self, of_devices: &SpaceId) -> BTreeMap<(Topic, SpaceId), bool> {
        let Some(known) = self.spaces.get(of_devices) else {
            return BTreeMap::new();
        };
        let mut told: BTreeMap<(Topic, SpaceId), Last> = BTreeMap::new();
        for id in known.graph.noting() {
            let node = known.graph.get(id);
            let Some(node) = node.filter(|node| node.kind != Kind::Refused) else {
                continue;
            };
            for note in &node.notes {
                let (about, is_in) = match note {
                    Note::Joined(topic, space) => ((*topic, *space), true),
                    Note::Left(topic, space) => ((*topic, *space), false),
                    _ => continue,
                };
                says(&known.graph, told.entry(about).or_default(), (*id, is_in));
            }
        }
        let is_in = |last: Last| last.iter().any(|(_, is_in)| *is_in);
        let told = told.into_iter().take(PERSON_SPACES_MAX);
        told.map(|(about, last)| (about, is_in(last))).collect()
    }

    /// The devices of a person that are recovery keys, as devices told each other in the space of the
    /// person, with when their files were written. A key that publishes there is none.
    pub fn told_recovery(
        &self,
        of_devices: &SpaceId,
        person: &GroupId,
    ) -> BTreeMap<VerifyingKey, u64> {
        let mut told = BTreeMap::new();
        let Some(known) = self.spaces.get(of_devices) else {
            return told;
        };
        let devices = self.devices(person);
        let nodes = known.graph.noting().filter_map(|id| known.graph.get(id));
        let nodes = nodes.filter(|node| node.kind != Kind::Refused);
        for note in nodes.flat_map(|node| &node.notes) {
            if let Note::Recovery(key, written) = note
                && devices.binary_search(key).is_ok()
                && !known.graph.has_author(key)
            {
                let last = told.entry(*key).or_insert(*written);
                *last = (*last).max(*written);
            }
        }
        told
    }

    /// Publishes at most 64 reports in the device space of our person. Fails if this node may not
    /// publish there, so that a revoked device learns nothing.
    pub fn tell_devices<R: CryptoRng, F: Forge>(
        &mut self,
        of_devices: SpaceId,
        tellings: &[Telling],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let role = self.writable(of_devices)?.roles.get(&self.me).copied();
        if role != Some(Role::Owner) {
            return Err(LocalError::Role(role));
        }
        if tellings.len() > SPACE_NOTES_MAX {
            return Err(LocalError::TooLarge);
        }
        // Naming the last messages makes these reports replace theirs.
        self.merge(of_devices, desk)?;
        self.notes = tellings.iter().map(|telling| (*telling).into()).collect();
        let done = self.plain(of_devices, false, desk);
        self.notes.clear();
        done.map(|()| self.events())
    }

    /// Returns `true` if we may write in a space now without sealing to a former member.
    pub fn may_write(&self, space: &SpaceId) -> bool {
        self.writable(*space).is_ok()
    }

    /// Returns `true` if, according to the messages of a space, a device of a person has a role in
    /// it.
    pub fn has_person(&self, space: &SpaceId, person: &GroupId) -> bool {
        let devices: BTreeSet<VerifyingKey> = self.devices(person).into_iter().collect();
        let roles = self.spaces.get(space).map(|known| &known.roles);
        roles.is_some_and(|roles| roles.keys().any(|key| devices.contains(key)))
    }
}

/// Adds a report about a space. It replaces those in its past, and is dropped if one of them has it
/// in its past.
fn says(graph: &Graph, last: &mut Last, (id, is_in): (Hash, bool)) {
    if last.iter().any(|(later, _)| graph.precedes(&id, later)) {
        return;
    }
    last.retain(|(earlier, _)| !graph.precedes(earlier, &id));
    last.push((id, is_in));
}
