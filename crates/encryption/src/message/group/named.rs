//! Messages of the application that others name (`docs/protocol/encryption.md#12.2.1`).

use super::Group;
use crate::message::views::Membership;
use crate::{Member, OperationId};

impl<M: Membership> Group<M> {
    /// Says that a message of the application was processed before, of which we have forgotten the
    /// id: only the newest of each member are known by id. What waits for it then continues.
    ///
    /// Call it where another message waits ([`Group::missing`]) for one that you have stored. Gives
    /// what of its own past is not known, in which case nothing has changed: begin with that.
    pub fn known(
        &mut self,
        operation: OperationId,
        sender: Member,
        dependencies: &[OperationId],
    ) -> Vec<OperationId> {
        let is_member = self.knows(&sender);
        self.orderer
            .known(operation, sender, dependencies, is_member)
    }

    /// Returns `true` if somebody is or was a member.
    pub(super) fn knows(&self, member: &Member) -> bool {
        *member == self.agreement.my_id()
            || self.decryption.contains_key(member)
            || self.agreement.members().members().contains(member)
            || self.removals.iter().any(|(_, removed)| removed == member)
    }
}
