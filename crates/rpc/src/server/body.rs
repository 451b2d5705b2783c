//! The body of a publish request.

use p2panda::Body;

use super::ServeError;
use crate::wire::{Content, Hex};

/// The body of exactly one field.
pub fn of(content: Content) -> Result<Body, ServeError> {
    let Content {
        text,
        bytes,
        body,
        size,
    } = content;
    match (text, bytes, body, size) {
        (Some(text), None, None, None) => Ok(Body::from(text)),
        (None, Some(Hex(bytes)), None, None) => Ok(Body::from(bytes)),
        (None, None, Some(Hex(item)), None) => Ok(Body::from_cbor(item)?),
        (None, None, None, Some(size)) => {
            let bytes: Vec<u8> = (0..size).map(|index| index as u8).collect();
            Ok(Body::from(bytes))
        }
        _ => Err(ServeError::Content),
    }
}
