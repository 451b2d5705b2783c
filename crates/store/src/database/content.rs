//! What the feed shows of an operation, and how that stands in its row
//! (`docs/protocol/streams.md#9.1`).

use bytes::Bytes;

/// What an entry of the feed shows of its operation (`docs/protocol/streams.md#9.1`).
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

/// What an entry without content says about its operation (`docs/protocol/streams.md#9.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// What the operation said does not count any more. Anyone who was given it before takes it
    /// back.
    Withdrawn,
    /// The operation changed who is a member, or how.
    Members,
    /// Its plaintext was kept for its time and is erased; it cannot be opened again
    /// (`docs/protocol/spaces-message.md#7`).
    Expired,
}

/// How an operation is ready for the feed, as the writer says it.
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
    /// What the application reads; `None` if the entry reports a change.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Content::Body(bytes) | Content::Opened(bytes) => Some(bytes),
            Content::Change(_) => None,
        }
    }

    /// What the columns of a row say; `None`: it is damaged.
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
    /// What the entry of an operation shows; `None` if that is a body and there is none.
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

    /// What the stored body was opened to.
    pub fn plaintext(&self) -> Option<&[u8]> {
        match self {
            Ready::Opened(plaintext) => Some(plaintext),
            Ready::Body | Ready::Changed(_) => None,
        }
    }
}
