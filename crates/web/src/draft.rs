//! An operation before it is signed (`docs/protocol/operations.md#3.6`).

use p2panda_core::limits::{OPERATION_FRAME_OVERHEAD_BYTES, WEB_OPERATION_BYTES_MAX};
use p2panda_core::{
    AssembleError, Dependency, DraftError, Hash, Header, LogName, NodeExtensions, Signature,
    Timestamp, Topic, UnsignedHeader, VerifyingKey,
};

/// Fields of an operation that a page decides about.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The topic that this is about.
    pub topic: Topic,
    /// Name of the log, if it is not the first one.
    pub name: Option<LogName>,
    /// Place in the log.
    pub seq: u32,
    /// Id of the operation before.
    pub backlink: Option<Hash>,
    /// The message: one CBOR item.
    pub body: Option<&'a [u8]>,
    /// Microseconds since 1970.
    pub timestamp: u64,
    /// `true` if everything before it in the log may be deleted.
    pub prune: bool,
    /// Operations of other logs that it was written after, the newest first.
    pub deps: Vec<Dependency>,
}

impl Draft<'_> {
    /// The header without its signature. What others could not take is refused before it is signed.
    ///
    /// # Errors
    /// Those of [`UnsignedHeader::new`]; [`DraftError::TooLarge`] above [`WEB_OPERATION_BYTES_MAX`].
    pub fn unsigned(&self, author: &VerifyingKey) -> Result<UnsignedHeader, DraftError> {
        let mut extensions =
            NodeExtensions::new(self.topic.log_id(), Timestamp::from_micros(self.timestamp));
        extensions.prune = self.prune;
        extensions.deps.clone_from(&self.deps);
        if let Some(name) = self.name {
            extensions.log_id = self.topic.named_log_id(&name);
            extensions.name = Some(name);
        }
        let extensions = extensions.encode();
        let draft = p2panda_core::Draft {
            seq: self.seq,
            backlink: self.backlink,
            body: self.body,
            extensions: Some(&extensions),
        };
        let unsigned = UnsignedHeader::new(author, draft)?;
        // The signature with its head.
        let header = unsigned.signing_bytes().len() + 66;
        let body = self.body.map_or(0, <[u8]>::len);
        match header + body + OPERATION_FRAME_OVERHEAD_BYTES <= WEB_OPERATION_BYTES_MAX {
            true => Ok(unsigned),
            false => Err(DraftError::TooLarge),
        }
    }

    /// The signed header, verified.
    ///
    /// # Errors
    /// Those of [`Draft::unsigned`], or that the signature is not the author's.
    pub fn assemble(&self, author: &VerifyingKey, signature: &Signature) -> Result<Header, String> {
        let unsigned = self.unsigned(author).map_err(|error| error.to_string())?;
        let header = unsigned.assemble(signature);
        header.map_err(|error: AssembleError| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::SigningKey;

    use super::*;

    fn draft(body: &[u8]) -> Draft<'_> {
        Draft {
            topic: Topic::from_bytes([5; 32]),
            name: None,
            seq: 0,
            backlink: None,
            body: Some(body),
            timestamp: 1_780_000_000_000_000,
            prune: false,
            deps: Vec::new(),
        }
    }

    #[test]
    fn an_operation_signed_elsewhere_is_that_of_a_node() {
        let key = SigningKey::from_bytes(&[42; 32]);
        let draft = draft(b"\x65panda");
        let author = key.verifying_key();
        let unsigned = draft.unsigned(&author).unwrap();
        let header = draft.assemble(&author, &key.sign(unsigned.signing_bytes()));
        let header = header.unwrap();
        let extensions = NodeExtensions::new(
            draft.topic.log_id(),
            Timestamp::from_micros(draft.timestamp),
        );
        let extensions = extensions.encode();
        let whole = p2panda_core::Draft {
            seq: 0,
            backlink: None,
            body: draft.body,
            extensions: Some(&extensions),
        };
        assert_eq!(header, Header::sign(&key, whole).unwrap());
        let foreign = SigningKey::from_bytes(&[1; 32]).sign(unsigned.signing_bytes());
        assert!(draft.assemble(&author, &foreign).is_err());
    }

    #[test]
    fn a_log_with_a_name_has_the_log_id_of_its_name() {
        let key = SigningKey::from_bytes(&[42; 32]);
        let name = LogName::of("control").unwrap();
        let draft = Draft {
            name: Some(name),
            ..draft(b"\x61a")
        };
        let author = key.verifying_key();
        let signing_bytes = draft.unsigned(&author).unwrap().signing_bytes().to_vec();
        let header = draft.assemble(&author, &key.sign(&signing_bytes)).unwrap();
        let extensions = header.node_extensions().unwrap();
        assert!(draft.topic.has_log(&extensions.log_id, Some(&name)));
        assert_eq!(extensions.name, Some(name));
    }

    #[test]
    fn an_operation_fits_a_request_or_is_not_signed() {
        let author = SigningKey::from_bytes(&[42; 32]).verifying_key();
        let empty = draft(b"\x40").unsigned(&author).unwrap();
        // The size of a body up to 64 KiB and above has two bytes more than that of this one.
        let around = empty.signing_bytes().len() + 4 + 66 + OPERATION_FRAME_OVERHEAD_BYTES;
        let body = |over: usize| vec![0_u8; WEB_OPERATION_BYTES_MAX - around + over];
        assert!(draft(&body(0)).unsigned(&author).is_ok());
        let too_large = draft(&body(1)).unsigned(&author).err();
        assert_eq!(too_large, Some(DraftError::TooLarge));
    }
}
