//! Checks by a page of an operation that a node shows (`docs/protocol/operations.md#3.3`).

use bytes::Bytes;
use p2panda_core::{
    ExtensionsError, Header, HeaderError, NodeExtensions, Operation, Topic, Verifier,
};

/// An operation that is its author's and of this topic.
#[derive(Clone, Debug)]
pub struct Received {
    /// Decoded header of the operation.
    pub header: Header,
    /// Extensions, which say which log it is in.
    pub extensions: NodeExtensions,
}

/// Reason why an operation is not shown, by the names of `docs/protocol/streams.md#4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The header is none.
    Undecodable,
    /// The signature is not the author's.
    InvalidSignature,
    /// The body is another one, or missing.
    PayloadMismatch,
    /// It has no extensions of a node.
    InvalidExtensions,
    /// A later release may read them.
    UnknownExtensions,
    /// It is of another topic.
    WrongTopic,
}

impl Forged {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Forged::Undecodable => "undecodable",
            Forged::InvalidSignature => "invalid-signature",
            Forged::PayloadMismatch => "payload-mismatch",
            Forged::InvalidExtensions => "invalid-extensions",
            Forged::UnknownExtensions => "unknown-extensions",
            Forged::WrongTopic => "wrong-topic",
        }
    }
}

/// Verifies signature, body and topic.
///
/// # Errors
/// The first rule that is broken.
pub fn verify(
    verifier: &mut Verifier,
    topic: &Topic,
    header: Bytes,
    body: Option<&[u8]>,
) -> Result<Received, Forged> {
    let header = Header::decode_unverified(header);
    let header = header.and_then(|header| verifier.verify(&header).map(|()| header));
    let header = header.map_err(|error| match error {
        HeaderError::InvalidSignature => Forged::InvalidSignature,
        _ => Forged::Undecodable,
    })?;
    Operation::check_body(&header, body).map_err(|_| Forged::PayloadMismatch)?;
    let extensions = header.node_extensions().map_err(|error| match error {
        ExtensionsError::UnknownExtensions { .. } => Forged::UnknownExtensions,
        _ => Forged::InvalidExtensions,
    })?;
    if !topic.has_log(&extensions.log_id, extensions.name.as_ref()) {
        return Err(Forged::WrongTopic);
    }
    Ok(Received { header, extensions })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::{Draft, SigningKey, Timestamp};

    use super::*;

    fn operation(topic: Topic, extensions: Option<&[u8]>) -> (Bytes, Bytes) {
        let key = SigningKey::from_bytes(&[42; 32]);
        let own = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
        let draft = Draft {
            seq: 0,
            backlink: None,
            body: Some(b"\x65panda"),
            extensions: extensions.or(Some(&own)),
        };
        let operation = Operation::create(&key, draft).unwrap();
        (operation.header.as_bytes().clone(), operation.body.unwrap())
    }

    #[test]
    fn each_forgery_has_its_name() {
        let topic = Topic::from_bytes([5; 32]);
        let (header, body) = operation(topic, None);
        let verify = |header: &[u8], body: &[u8], topic: &Topic| {
            let header = Bytes::copy_from_slice(header);
            super::verify(&mut Verifier::default(), topic, header, Some(body)).err()
        };
        assert_eq!(verify(&header, &body, &topic), None);
        let mut changed = header.to_vec();
        // A byte of the timestamp.
        let last = changed.len() - 2;
        *changed.get_mut(last).unwrap() ^= 1;
        assert_eq!(
            verify(&changed, &body, &topic),
            Some(Forged::InvalidSignature)
        );
        assert_eq!(verify(b"\x80", &body, &topic), Some(Forged::Undecodable));
        assert_eq!(
            verify(&header, b"\x65pando", &topic),
            Some(Forged::PayloadMismatch)
        );
        let other = Topic::from_bytes([6; 32]);
        assert_eq!(verify(&header, &body, &other), Some(Forged::WrongTopic));
        let (header, body) = operation(topic, Some(b"\x00"));
        assert_eq!(
            verify(&header, &body, &topic),
            Some(Forged::InvalidExtensions)
        );
        let (header, body) = operation(topic, Some(b"\x82\x01\x01"));
        assert_eq!(
            verify(&header, &body, &topic),
            Some(Forged::UnknownExtensions)
        );
    }
}
