//! Opens content again that passed before; of content that opens only once, reads what was stored
//! (`docs/protocol/spaces-message.md#7`).

use p2panda_core::Header;
use p2panda_store::{Change, LogKey, Ready, SealedOperation, StoreError};

use crate::space::form::Content;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Opens the body of an operation of a space. In the message scheme this erases its key.
pub(crate) fn open(turn: &mut Turn<'_>, topic: &TopicRef, header: &Header, body: &[u8]) -> Content {
    let spaces = &mut turn.state.spaces;
    let id = spaces.id(&topic.topic);
    // Opening may have erased a key.
    spaces.touch_in(&topic.topic);
    let form = spaces.forms.of_mut(&topic.topic);
    form.open_content(id, &header.author(), header.seq(), body)
}

/// Decodes the header of a stored operation. `None` if it is damaged.
pub(crate) fn header_of(operation: &SealedOperation) -> Option<Header> {
    Header::decode_unverified(operation.header.clone()).ok()
}

/// The entry of an operation that counts but whose plaintext no longer exists.
pub(crate) fn lost() -> Ready {
    Ready::Changed(Change::Expired)
}

/// Returns the entry of content that counts again and was opened before. `None` if it was never
/// shown.
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
