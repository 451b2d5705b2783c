//! A header together with its body (`docs/protocol/operations.md#3`).

use bytes::Bytes;
use thiserror::Error;

use crate::{Draft, DraftError, Hash, Header, HeaderError, SigningKey};

/// A header and its body, if it is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The signed header.
    pub header: Header,
    /// The body; `None` where there is none, or where it has not arrived or was deleted.
    pub body: Option<Bytes>,
}

/// Reason why received bytes are not an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The header is wrong.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The body is not the header's.
    #[error(transparent)]
    Payload(#[from] PayloadMismatch),
}

/// The body is not the one that the header names by size and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body does not match the header")]
pub struct PayloadMismatch;

impl Operation {
    /// Builds and signs an operation. Refuses what others could not accept.
    pub fn create(key: &SigningKey, draft: Draft<'_>) -> Result<Operation, DraftError> {
        let header = Header::sign(key, draft)?;
        Ok(Operation {
            header,
            body: draft.body.map(Bytes::copy_from_slice),
        })
    }

    /// Decodes an operation and verifies signature and body.
    pub fn decode(header: Bytes, body: Option<Bytes>) -> Result<Operation, OperationError> {
        let header = Header::decode(header)?;
        Operation::check_body(&header, body.as_deref())?;
        Ok(Operation { header, body })
    }

    /// Checks that a body belongs to a header. No body at all belongs to every header; an empty
    /// one to none.
    pub fn check_body(header: &Header, body: Option<&[u8]>) -> Result<(), PayloadMismatch> {
        let Some(body) = body else {
            return Ok(());
        };
        // The size is compared first: a wrong one costs no hashing.
        let size = u32::try_from(body.len()).map_err(|_| PayloadMismatch)?;
        if size == header.payload_size() && header.payload_hash() == Some(Hash::digest(body)) {
            Ok(())
        } else {
            Err(PayloadMismatch)
        }
    }
}
