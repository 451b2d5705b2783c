//! A member that got the secrets from a recovery file (`docs/protocol/encryption.md#10.3`).

use super::Group;
use crate::data::members::Membership;
use crate::data::secret::SecretBundle;

impl<M: Membership> Group<M> {
    /// Begins an existing group with secrets from another source, such as a recovery file. Only for
    /// groups whose membership the caller decides, which reports when we become a member.
    ///
    /// Data under these secrets opens at once. Nothing is sealed under them, because it is unknown
    /// who else holds them: [`Group::rekey`] asks for a new one. Does nothing if the group has
    /// begun.
    pub fn recover(&mut self, secrets: SecretBundle) {
        if self.welcomed || self.orderer.has_joined() {
            return;
        }
        self.bundle.extend(secrets);
        self.parked.look_again();
        self.welcomed = true;
        self.orderer.begin();
    }

    /// Returns the secrets of a group in which nothing has happened since [`Group::recover`].
    pub fn recovered(&self) -> Option<SecretBundle> {
        let is_new = self.welcomed && self.orderer.graph().is_empty();
        is_new.then(|| self.bundle.duplicate())
    }
}
