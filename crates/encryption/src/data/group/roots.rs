//! Groups that keep only secrets derived from the ones that members are sent
//! (`docs/protocol/spaces-message.md#2`).

use super::Group;
use crate::data::agreement::Output;
use crate::data::members::Membership;
use crate::data::secret::{GroupSecret, SecretId};
use crate::secret::Secret;
use crate::sessions::Context;
use crate::{Member, OperationId};

/// The root from which a secret of the group was derived. Returned once, and never stored.
#[derive(Debug)]
pub struct Root {
    /// The operation that carried it.
    pub operation: OperationId,
    /// The secret derived from it.
    pub id: SecretId,
    /// The root itself.
    pub secret: Secret,
}

/// The roots that arrived since the last call of [`Group::take_roots`].
#[derive(Debug, Default)]
pub(super) struct Roots {
    is_split: bool,
    came: Vec<Root>,
}

impl Roots {
    /// Returns the secret to keep for a new random one.
    pub(super) fn drawn(&self, secret: Secret, date: u64) -> GroupSecret {
        let secret = GroupSecret::new(secret, date);
        match self.is_split {
            true => secret.split(),
            false => secret,
        }
    }

    /// Converts the secrets of a control message to those to keep. A welcome already carries kept
    /// ones.
    pub(super) fn of(&self, output: Output) -> Output {
        match output {
            Output::Secret(secret) if self.is_split => Output::Secret(secret.split()),
            output => output,
        }
    }

    pub(super) fn came(&mut self, operation: OperationId, id: SecretId, root: Option<Secret>) {
        if let Some(secret) = root {
            self.came.push(Root {
                operation,
                id,
                secret,
            });
        }
    }
}

impl<M: Membership> Group<M> {
    /// Makes the group send roots and keep only secrets derived from them. After each call, take
    /// the roots ([`Group::take_roots`]), derive keys that are erased on use, and drop the roots.
    /// All members must do the same. Not stored: call it again after [`Group::load`].
    pub fn split(&mut self) {
        self.roots.is_split = true;
    }

    /// Returns the roots that arrived since the last call. They cannot be sent to anybody again.
    pub fn take_roots(&mut self) -> Vec<Root> {
        std::mem::take(&mut self.roots.came)
    }

    /// Returns `true` if a message can be sealed to a member now.
    pub fn reaches(&self, member: &Member, context: &Context<'_>) -> bool {
        self.agreement.reaches(member, context)
    }
}
