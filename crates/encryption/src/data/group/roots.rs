//! Groups that keep only what follows from the secrets that members are sent
//! (`docs/protocol/spaces-message.md#2`).

use super::Group;
use crate::data::agreement::Output;
use crate::data::members::Membership;
use crate::data::secret::{GroupSecret, SecretId};
use crate::secret::Secret;
use crate::sessions::Context;
use crate::{Member, OperationId};

/// What a secret of the group was derived from: handed out once, and stored nowhere.
#[derive(Debug)]
pub struct Root {
    /// The operation that brought it.
    pub operation: OperationId,
    /// The secret that follows from it.
    pub id: SecretId,
    /// The bytes.
    pub secret: Secret,
}

/// The roots that came since they were taken out.
#[derive(Debug, Default)]
pub(super) struct Roots {
    is_split: bool,
    came: Vec<Root>,
}

impl Roots {
    /// A secret that is drawn.
    pub(super) fn drawn(&self, secret: Secret, date: u64) -> GroupSecret {
        let secret = GroupSecret::new(secret, date);
        match self.is_split {
            true => secret.split(),
            false => secret,
        }
    }

    /// What a control message brought; a welcome hands out what is kept.
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
    /// From now on members are sent roots, of which the group keeps only what follows from them: take
    /// each root after each call ([`Group::take_roots`]), derive keys that die, and drop it. All
    /// members do the same. It is not stored: say it again after [`Group::load`].
    pub fn split(&mut self) {
        self.roots.is_split = true;
    }

    /// The roots that came since the last call. Nobody can be sent them again.
    pub fn take_roots(&mut self) -> Vec<Root> {
        std::mem::take(&mut self.roots.came)
    }

    /// Whether a message to a member can be sealed now.
    pub fn reaches(&self, member: &Member, context: &Context<'_>) -> bool {
        self.agreement.reaches(member, context)
    }
}
