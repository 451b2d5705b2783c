//! Ephemeral messages of spaces (`docs/protocol/spaces.md#9`).

use bytes::Bytes;
use p2panda_core::{Topic, VerifyingKey};

use crate::space::form::Form;
use crate::space_command::SpaceError;
use crate::state::State;
use crate::turn::Turn;

/// Sealed for the members.
pub(crate) fn seal(turn: &mut Turn<'_>, topic: &Topic, data: &[u8]) -> Result<Bytes, SpaceError> {
    let State { spaces, rng, .. } = &mut *turn.state;
    match (spaces.forms.of(topic), spaces.id(topic)) {
        (Form::Native(native), Some(id)) => {
            let sealed = native.spaces.seal_ephemeral(id, data, rng)?;
            Ok(sealed.into())
        }
        _ => Err(SpaceError::Unknown),
    }
}

/// Opens what a member that may write has sealed.
pub(crate) fn open(
    turn: &Turn<'_>,
    topic: &Topic,
    author: &VerifyingKey,
    body: &[u8],
) -> Option<Bytes> {
    let (id, native) = turn.state.spaces.native(topic)?;
    let opened = native.spaces.open_ephemeral(&id, author, body)?;
    Some(Bytes::copy_from_slice(&opened))
}
