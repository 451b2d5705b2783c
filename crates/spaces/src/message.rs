//! A received message.

use p2panda_core::{Hash, VerifyingKey};

use crate::SpacesArgs;

/// A message whose signature was verified by the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The id of the operation that carries it.
    pub id: Hash,
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Content of the message.
    pub args: SpacesArgs,
}
