//! Content that passed before: what opens of it now, and of what opens once only, what was stored
//! (`docs/protocol/spaces-message.md#7`).

use p2panda_core::Header;
use p2panda_store::{Change, LogKey, Ready, SealedOperation, StoreError};

use crate::space::form::Content;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Opens the body of an operation of a space, which erases a key where there is one for each message.
pub(crate) fn open(turn: &mut Turn<'_>, topic: &TopicRef, header: &Header, body: &[u8]) -> Content {
    let spaces = &mut turn.state.spaces;
    let id = spaces.id(&topic.topic);
    // A key may be erased by it.
    spaces.touch();
    let form = &mut spaces.form;
    form.open_content(id, &header.author(), header.seq(), body)
}

/// The header of a stored operation; none if it is damaged.
pub(crate) fn header_of(operation: &SealedOperation) -> Option<Header> {
    Header::decode_unverified(operation.header.clone()).ok()
}

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
