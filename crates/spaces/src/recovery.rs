//! Recovery of a person that has lost all devices: the secrets in its recovery file, and how the
//! new device joins its spaces (`docs/protocol/recovery.md`).

mod content;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod vector_tests;

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::PERSON_OPERATIONS_MAX;
use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_groups::{Access, Action, GroupId, Member};
use rand_core::CryptoRng;

use crate::graph::Place;
use crate::local::{Desk, Done, LocalError};
use crate::receive::{ProcessError, view_of};
use crate::sealed::{Forge, GroupOperation, STRUCTURE, Structure, copy};
use crate::space::Space;
use crate::spaces::Spaces;
use crate::{KeyId, Pointer, Role, SpaceId};

pub use content::{RecoveryContent, RecoveryError, SpaceSecrets};

impl Spaces {
    /// Returns all secrets of a space that this node holds. `None` without any.
    pub fn secrets_of(&self, space: &SpaceId) -> Option<SpaceSecrets> {
        let (known, native) = self.native(space)?;
        let secrets = known.encryption.secrets();
        let derived = secrets.iter().map(|(_, secret)| secret.derive(STRUCTURE));
        let derived: BTreeSet<KeyId> = derived.map(|key| KeyId::of(&key)).collect();
        let others = native.ring.all().filter(|(id, _)| !derived.contains(id));
        let all = SpaceSecrets {
            secrets: secrets.duplicate(),
            keys: others.map(|(_, key)| copy(key)).collect(),
        };
        (!all.is_empty()).then_some(all)
    }

    /// Stores the secrets of a space of which this node knows nothing else: messages under them
    /// open when they arrive. Changes nothing in a known space.
    pub fn take_secrets(&mut self, id: SpaceId, secrets: &SpaceSecrets) {
        if self.spaces.contains_key(&id) {
            return;
        }
        let mut space = Space::native(id, self.me);
        space.encryption.recover(secrets.secrets.duplicate());
        if let Some(native) = &mut space.native {
            native.ring.learn(space.encryption.secrets());
            for key in &secrets.keys {
                native.ring.insert(copy(key));
            }
        }
        self.spaces.insert(id, space);
    }

    /// Joins a space as a device that a recovery key has added to its person, with one pointer to
    /// operations that this key signs. The device gets the role of the person.
    pub fn recover<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        by: &SigningKey,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if self.known(space)?.native.is_none() {
            return Err(LocalError::Form);
        }
        let recovery = by.verifying_key();
        if !self.reads(&space, &recovery) {
            return Err(LocalError::NotRecoverable);
        }
        let entry = |key: &VerifyingKey| {
            let direct = self.groups.now().direct_members(&group);
            let mut direct = direct.into_iter();
            let found = direct.find(|(member, _)| *member == Member::Individual(*key));
            found.map(|(_, access)| access)
        };
        let owns = entry(&recovery) == Some(Access::Manage);
        if owns && entry(&self.me) != Some(Access::Manage) {
            let (member, access) = (Member::Individual(self.me), Access::Manage);
            let draft = self
                .groups
                .draft(&recovery, &group, Action::Add { member, access });
            let events = self.take_signed(by, &draft.arguments)?;
            self.told.extend(events);
        } else if self.reads(&space, &self.me) {
            // This key can do no more.
            return Ok(self.events());
        }
        self.merge_if_in(space, desk)?;
        let heads = self.groups.heads_of(&[group, person]);
        let auth = heads.into_iter().find(|auth| self.comes_in(&space, auth));
        let auth = auth.ok_or(LocalError::NotRecoverable)?;
        self.point(space, group, auth, desk)?;
        Ok(self.events())
    }

    /// Returns `true` if, according to the messages of a space, a key is a member that receives
    /// secrets.
    fn reads(&self, space: &SpaceId, key: &VerifyingKey) -> bool {
        let known = self.spaces.get(space);
        let role = known.and_then(|known| known.roles.get(key));
        role.is_some_and(|role| role.has_secrets())
    }

    /// Members name all last messages before they publish a pointer.
    fn merge_if_in<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        match self.has_secrets(space) {
            true => self.merge(space, desk),
            false => Ok(()),
        }
    }

    /// Returns `true` if an operation on a group that the space does not know makes this node a
    /// member that receives secrets.
    fn comes_in(&self, space: &SpaceId, auth: &Hash) -> bool {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return false;
        };
        let place = known.graph.place(self.me, &known.graph.heads());
        let named: Vec<Hash> = place.named.iter().copied().chain([*auth]).collect();
        let view = view_of(&self.groups, &named);
        let role = view.ok().and_then(|view| {
            let roles = known.roles_in(&view, &founded.group);
            roles.get(&self.me).copied()
        });
        role.is_some_and(Role::has_secrets)
    }

    /// Returns `true` if the operations that a pointer names make its author a member. Another
    /// key must have signed them.
    pub(crate) fn is_admitted_by(
        &self,
        author: VerifyingKey,
        pointer: &Pointer,
        place: &Place,
    ) -> Result<bool, ProcessError> {
        let space = self.spaces.get(&pointer.space);
        let Some(space) = space.filter(|space| space.native.is_some()) else {
            return Ok(false);
        };
        let named: Vec<Hash> = place.named.iter().copied().chain([pointer.auth]).collect();
        let view = view_of(&self.groups, &named)?;
        let roles = space.roles_in(&view, &pointer.group);
        Ok(roles.get(&author).is_some_and(|role| role.has_secrets()))
    }

    /// Returns `true` if the operations that a message carries may make its author a member:
    /// members in its past signed all of them, or keys that those added, and one of them adds the
    /// author.
    pub(crate) fn may_admit(
        &self,
        id: SpaceId,
        author: VerifyingKey,
        (structure, place): (&Structure, &Place),
    ) -> Result<bool, ProcessError> {
        let founded = self.spaces.get(&id).and_then(|space| space.founded);
        let (Some(space), Some(founded)) = (self.spaces.get(&id), founded) else {
            return Ok(false);
        };
        let operations = &structure.operations;
        let is_pointer = structure
            .pointer
            .is_some_and(|(group, _)| group == founded.group);
        let is_more = structure.asks || !structure.notes.is_empty();
        if !is_pointer || is_more || !(1..=PERSON_OPERATIONS_MAX).contains(&operations.len()) {
            return Ok(false);
        }
        let view = view_of(&self.groups, &place.named)?;
        let mut known = crate::space::secret(&space.roles_in(&view, &founded.group));
        for operation in operations {
            if !operation.is_signed || !known.contains(&operation.author) {
                return Ok(false);
            }
            known.extend(added(operation));
        }
        Ok(known.contains(&author))
    }
}

/// Returns the member that an operation adds.
fn added(operation: &GroupOperation) -> Option<VerifyingKey> {
    match operation.arguments.action {
        Action::Add {
            member: Member::Individual(key),
            ..
        } => Some(key),
        _ => None,
    }
}
