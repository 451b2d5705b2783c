//! What can be asked of spaces.

use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_encryption::data::Rekey;
use p2panda_spaces::{LocalError, Role, Settings, SpaceId};
use thiserror::Error;

use crate::answer::PublishError;
use crate::reply::Reply;

/// What can be asked of spaces.
#[non_exhaustive]
pub enum SpaceCommand {
    /// Makes a space in a topic; we are its owner.
    Create {
        /// The topic; it carries no space so far.
        topic: Topic,
        /// What the creator decides, for all its life.
        settings: Settings,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// From now on a topic carries a space: of the logs `control` and `content` in it, nothing is shown
    /// that is not permitted and opened (`docs/protocol/streams.md#7`). Our keys are published there,
    /// so that an owner can make us a member.
    Follow {
        /// The topic.
        topic: Topic,
        /// Which space, if an invite names it; otherwise the first one into which we are welcomed.
        id: Option<SpaceId>,
        /// Whether it did not before; called when that is synced to disk.
        reply: Reply<Result<bool, SpaceError>>,
    },
    /// Changes a space.
    Change {
        /// The topic that carries it.
        topic: Topic,
        /// How.
        change: SpaceChange,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Who is a member.
    Look {
        /// The topic that carries the space.
        topic: Topic,
        /// At which control operation; now, if not said.
        at: Option<Hash>,
        /// None if this is not known.
        reply: Reply<Option<SpaceLook>>,
    },
    /// The topics that carry spaces, sorted.
    List {
        /// With the spaces, where they are known.
        reply: Reply<Vec<(Topic, Option<SpaceId>)>>,
    },
}

/// A change of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceChange {
    /// Makes somebody a member.
    Add(VerifyingKey, Role),
    /// Gives a member another role.
    SetRole(VerifyingKey, Role),
    /// Takes a membership away; ours too, unless we are the last owner.
    Remove(VerifyingKey),
    /// Makes a new secret.
    Rotate,
    /// Brings the space up to date, and hands secrets to whoever lacks them and can be reached.
    Heal,
    /// Says that we lack something.
    Ask,
}

/// A space as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceLook {
    /// Which it is.
    pub id: SpaceId,
    /// The members, sorted.
    pub members: Vec<(VerifyingKey, Role)>,
    /// Members that lack secrets and can be reached: they are handed them soon.
    pub lacking: Vec<VerifyingKey>,
    /// Changes of groups that the space does not know yet.
    pub behind: bool,
    /// Whether a new secret is needed.
    pub rekey: Rekey,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The topic carries no space, or it is not known here yet.
    #[error("the topic carries no space that is known here")]
    Unknown,
    /// It carries one already.
    #[error("the topic carries a space already")]
    Exists,
    /// What belongs to it could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The space does not allow it, or not now.
    #[error(transparent)]
    Space(#[from] LocalError),
}

impl SpaceLook {
    /// Whether nobody lacks anything, and no new secret is needed.
    pub fn is_healed(&self) -> bool {
        !self.behind && self.rekey == Rekey::None && self.lacking.is_empty()
    }
}

impl SpaceError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SpaceError::Space(error) => error.is_retryable(),
            SpaceError::Publish(error) => *error == PublishError::PullingOwnLog,
            _ => false,
        }
    }
}

impl SpaceCommand {
    /// Whether a power cut must take nothing of it back.
    pub(crate) fn must_sync(&self) -> bool {
        !matches!(self, SpaceCommand::Look { .. } | SpaceCommand::List { .. })
    }
}
