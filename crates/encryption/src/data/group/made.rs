//! Operations that made the secrets of a group, for a caller that decides who is handed which.

use super::Group;
use crate::OperationId;
use crate::data::members::Membership;
use crate::data::secret::SecretId;

/// Secrets that arrived with the operation that made them since the last call of
/// [`Group::take_made`]. Not kept unless asked for.
#[derive(Debug, Default)]
pub(super) struct Made {
    is_asked: bool,
    came: Vec<(OperationId, SecretId)>,
}

impl Made {
    pub(super) fn came(&mut self, operation: OperationId, secret: SecretId) {
        if self.is_asked {
            self.came.push((operation, secret));
        }
    }
}

impl<M: Membership> Group<M> {
    /// Makes the group note which operation made a secret. After each call, take the notes
    /// ([`Group::take_made`]). Not stored: call it again after [`Group::load`].
    pub fn note_made(&mut self) {
        self.made.is_asked = true;
    }

    /// Returns the secrets that arrived since the last call, each with the operation that made it.
    /// Secrets of a welcome are not among them.
    pub fn take_made(&mut self) -> Vec<(OperationId, SecretId)> {
        std::mem::take(&mut self.made.came)
    }
}
