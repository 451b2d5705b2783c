//! A member that has secrets from elsewhere (`docs/protocol/encryption.md#10.3`).

use super::Group;
use crate::data::members::Membership;
use crate::data::secret::SecretBundle;

impl<M: Membership> Group<M> {
    /// Begins a group that exists already with secrets that came by another way, for instance from a
    /// recovery file. For a membership that is decided elsewhere, which says when we are a member.
    ///
    /// Data under these secrets opens at once. Who else holds them is not known, so nothing is sealed
    /// under them: [`Group::rekey`] asks for a new one. A group that has begun stays as it is.
    pub fn recover(&mut self, secrets: SecretBundle) {
        if self.welcomed || self.orderer.has_joined() {
            return;
        }
        self.bundle.extend(secrets);
        self.parked.look_again();
        self.welcomed = true;
        self.orderer.begin();
    }

    /// The secrets of a group that nothing has happened in since [`Group::recover`].
    pub fn recovered(&self) -> Option<SecretBundle> {
        let is_new = self.welcomed && self.orderer.graph().is_empty();
        is_new.then(|| self.bundle.duplicate())
    }
}
