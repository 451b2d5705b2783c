//! Content that opens once: what was stored of it is all there is
//! (`docs/protocol/spaces-message.md#7`).

use p2panda_store::{Change, LogKey, Ready, StoreError};

use crate::turn::Turn;

/// It stands, and nobody can say any more what it said.
pub(crate) fn lost() -> Ready {
    Ready::Changed(Change::Expired)
}

/// What is shown of content that stands after all and was opened before; none if nothing was ever
/// shown of it.
pub(crate) fn kept(
    turn: &Turn<'_>,
    (log, seq): (LogKey, u32),
) -> Result<Option<Ready>, StoreError> {
    let standing = turn.tx.standing(log, seq)?;
    Ok(standing.and_then(|standing| match standing.opened {
        Some(plaintext) => Some(Ready::Opened(plaintext)),
        None if standing.change == Some(Change::Withdrawn) => Some(lost()),
        None => None,
    }))
}
