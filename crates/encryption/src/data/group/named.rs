//! Data that other messages name (`docs/protocol/encryption.md#12.2.1`).

use super::Group;
use crate::data::members::Membership;
use crate::{Member, OperationId};

impl<M: Membership> Group<M> {
    /// Says that a message of the application was processed before: one of our own, which never
    /// comes back to us, or one of which we have forgotten the id. Only the newest of each member
    /// are known by id. What waits for it then continues.
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
        *member == self.agreement.my_id() || self.holdings.knows(member)
    }
}
