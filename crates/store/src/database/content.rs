//! The content of entries of the feed, and its columns (`docs/protocol/streams.md#9.1`).

use bytes::Bytes;

/// Content of an entry of the feed (`docs/protocol/streams.md#9.1`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Its body, as it is forwarded to peers. It was verified on the way in.
    Body(Bytes),
    /// The plaintext of its sealed body. The stored body stays sealed, and so it is forwarded.
    Opened(Bytes),
    /// Nothing of its own: it reports a change.
    Change(Change),
}

/// Change that an entry without content reports about its operation
/// (`docs/protocol/streams.md#9.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The content no longer counts. A reader that got it before withdraws it.
    Withdrawn,
    /// The operation changed who is a member, or how.
    Members,
    /// Its plaintext was kept for its time and is erased; it cannot be opened again
    /// (`docs/protocol/spaces-message.md#7`).
    Expired,
}

/// Entry of the feed for an operation, as the writer stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// With its stored body.
    #[default]
    Body,
    /// With this plaintext of its stored body.
    Opened(Bytes),
    /// Without content. Plaintext that it was opened to stays stored.
    Changed(Change),
}

/// The column `content`. It is NULL where the feed shows the body.
pub(crate) mod code {
    pub(crate) const OPENED: i64 = 1;
    pub(crate) const WITHDRAWN: i64 = 2;
    pub(crate) const MEMBERS: i64 = 3;
    pub(crate) const EXPIRED: i64 = 4;
}

impl Content {
    /// Returns the bytes for the application; `None` if the entry reports a change.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Content::Body(bytes) | Content::Opened(bytes) => Some(bytes),
            Content::Change(_) => None,
        }
    }

    /// Decodes the columns of a row. `None` if it is damaged.
    pub(crate) fn read(code: Option<i64>, shown: Option<Bytes>) -> Option<Content> {
        Some(match code {
            None => Content::Body(shown?),
            Some(code::OPENED) => Content::Opened(shown?),
            Some(code::WITHDRAWN) => Content::Change(Change::Withdrawn),
            Some(code::MEMBERS) => Content::Change(Change::Members),
            Some(code::EXPIRED) => Content::Change(Change::Expired),
            Some(_) => return None,
        })
    }
}

impl Ready {
    /// Returns the content of an operation's entry; `None` if the content is a body that is not
    /// stored.
    pub fn content(&self, body: Option<&Bytes>) -> Option<Content> {
        match self {
            Ready::Body => body.cloned().map(Content::Body),
            Ready::Opened(plaintext) => Some(Content::Opened(plaintext.clone())),
            Ready::Changed(change) => Some(Content::Change(*change)),
        }
    }

    pub(crate) fn code(&self) -> Option<i64> {
        match self {
            Ready::Body => None,
            Ready::Opened(_) => Some(code::OPENED),
            Ready::Changed(Change::Withdrawn) => Some(code::WITHDRAWN),
            Ready::Changed(Change::Members) => Some(code::MEMBERS),
            Ready::Changed(Change::Expired) => Some(code::EXPIRED),
        }
    }

    /// Returns the plaintext of the stored body.
    pub fn plaintext(&self) -> Option<&[u8]> {
        match self {
            Ready::Opened(plaintext) => Some(plaintext),
            Ready::Body | Ready::Changed(_) => None,
        }
    }
}
