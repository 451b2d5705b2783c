//! Owners that can go on with a space (`docs/protocol/spaces.md#7`).

use p2panda_core::VerifyingKey;
use p2panda_core::ordered::BTreeSet;
use p2panda_groups::{Access, Action, GroupId, Member};

use super::{former, groups_in};
use crate::SpaceId;
use crate::graph::Kind;
use crate::local::LocalError;
use crate::space::Space;
use crate::spaces::Spaces;
use crate::team::is_team;

impl Spaces {
    /// Checks that one of the owners after these actions has the secrets of a space, as far as is
    /// known, if one of those before has.
    ///
    /// # Errors
    /// [`LocalError::NoUsableOwner`].
    pub(crate) fn leaves_a_usable_owner(
        &self,
        id: &SpaceId,
        actions: &[Action],
    ) -> Result<(), LocalError> {
        let known = self.spaces.get(id).filter(|known| known.native.is_some());
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return Ok(());
        };
        let group = founded.group;
        let before = self.owners_of(&group);
        let mut after = before.clone();
        for action in actions {
            if let Some(Member::Individual(key)) = action.member() {
                match action.access() {
                    Some(Access::Manage) => after.insert(key),
                    _ => after.remove(&key),
                };
            }
        }
        let is_usable = |owner: &VerifyingKey| self.is_usable_owner(known, &group, owner);
        if before.is_subset(&after) || after.iter().any(is_usable) {
            return Ok(());
        }
        match before.iter().any(is_usable) {
            true => Err(LocalError::NoUsableOwner(after.into_iter().collect())),
            false => Ok(()),
        }
    }

    fn owners_of(&self, group: &GroupId) -> BTreeSet<VerifyingKey> {
        let direct = self.groups.now().direct_members(group).into_iter();
        let owner = |(member, access)| match member {
            Member::Individual(key) if access == Access::Manage => Some(key),
            _ => None,
        };
        direct.filter_map(owner).collect()
    }

    /// Returns `true` if an owner was sent secrets since it became a member, and no person has revoked
    /// its key.
    fn is_usable_owner(&self, space: &Space, group: &GroupId, owner: &VerifyingKey) -> bool {
        if *owner == self.me && !self.has_secrets(space.id) {
            return false;
        }
        let mut given = space.holders.given_by(owner, &space.graph);
        for pointer in space
            .silenced
            .get(owner)
            .into_iter()
            .flat_map(|by| by.values().flatten())
        {
            let Some(node) = space.graph.get(pointer) else {
                continue;
            };
            if let Kind::Pointer(pointed) = &node.kind
                && !space
                    .members_after(node, pointed, &self.groups)
                    .contains(owner)
            {
                // What it was sent before it was removed does not open what came since.
                given.retain(|by| !space.graph.precedes(by, pointer));
            }
        }
        !given.is_empty() && !self.is_revoked(group, owner)
    }

    /// Returns `true` if a person in a group has revoked a device, and its entry in the group is of
    /// before.
    fn is_revoked(&self, group: &GroupId, device: &VerifyingKey) -> bool {
        let now = self.groups.now();
        groups_in(now.direct_members(group)).iter().any(|person| {
            !is_team(&now, person)
                && former(&now, person).contains(device)
                && self.word(group, person).counts(device)
                && !self.is_meant(group, person, device)
        })
    }
}
