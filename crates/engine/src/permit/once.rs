//! Content that can be opened only once: later reads use its stored plaintext
//! (`docs/protocol/spaces-message.md#7`).

use p2panda_store::{Change, LogKey, Ready, StoreError};

use crate::turn::Turn;

/// The message stands, but its plaintext is gone.
pub(crate) fn lost() -> Ready {
    Ready::Changed(Change::Expired)
}

/// Returns what to show of opened content that stands again; `None` if it was never shown.
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
