//! Decoders of what other members publish and seal, for fuzz targets and nothing else.

use zeroize::Zeroizing;

use crate::Invalid;
use crate::sealed::{Body, Structure};

/// Decodes the body of an operation, and encodes it again.
pub fn body(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
    Ok(Body::decode(bytes)?.encode())
}

/// Decodes what is sealed in a control message, and encodes it again.
pub fn structure(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Invalid> {
    Ok(Structure::decode(bytes)?.encode())
}
