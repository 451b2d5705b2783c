//! Paces the pieces of a large operation (`docs/protocol/link.md#11`).

use p2panda_core::limits;

use crate::flow::Flow;

/// Turn on a stream: of a large operation, or of all other messages.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Bytes of other messages since the last piece.
    passed_bytes: usize,
    /// `true` if a piece is being written.
    in_piece: bool,
}

impl Turns {
    /// Returns `true` if pieces go: nothing else is to be written, or enough of that went before.
    pub(super) fn has_come(&self, has_pieces: bool, nothing_else: bool) -> bool {
        let enough = self.passed_bytes >= limits::LINK_PASSED_BYTES_MAX;
        has_pieces && (enough || nothing_else)
    }

    /// Returns `true` if the path has room for a piece, which is handed out then.
    pub(super) fn begin(&mut self, flow: Option<&Flow>, company: bool) -> bool {
        self.in_piece = flow.is_none_or(|flow| flow.take(limits::LINK_PIECE_BYTES, company));
        self.in_piece
    }

    /// The piece is handed out.
    pub(super) fn end(&mut self) {
        (self.in_piece, self.passed_bytes) = (false, 0);
    }

    /// Counts bytes that will be written. Returns whether they belong to another message.
    pub(super) fn passed(&mut self, bytes: usize) -> bool {
        if !self.in_piece {
            self.passed_bytes = self.passed_bytes.saturating_add(bytes);
        }
        !self.in_piece
    }
}

/// Waits for a change, if there is one to wait for.
pub(super) async fn wait(change: Option<impl Future<Output = ()>>) -> Option<()> {
    change?.await;
    Some(())
}
