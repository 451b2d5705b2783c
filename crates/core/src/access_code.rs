//! An invite to the RPC of a node (`docs/protocol/rpc.md#4`).

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use thiserror::Error;

use crate::VerifyingKey;

/// Prefix of an invite.
const SCHEME: &str = "panda-access:";
/// The only version of the format.
const VERSION: u8 = 1;
/// Context of key derivation for the checksum.
const CHECKSUM: &str = "p2panda rpc invite checksum v1";

/// An invite to a node: anyone who has it can have a key admitted there, up to its number of uses.
///
/// ```
/// use p2panda_core::{AccessCode, SigningKey};
///
/// let node = SigningKey::from_bytes(&[1; 32]).verifying_key();
/// let code = AccessCode { node, id: [2; 8], secret: [3; 32] };
/// let read: AccessCode = code.to_string().parse()?;
/// assert_eq!(read, code);
/// # Ok::<(), p2panda_core::AccessCodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AccessCode {
    /// Node that created it.
    pub node: VerifyingKey,
    /// Id of the invite; not secret.
    pub id: [u8; 8],
    /// Secret that a client proves to know; never sent.
    pub secret: [u8; 32],
}

impl fmt::Debug for AccessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = &self.node;
        f.debug_struct("AccessCode").field("node", node).finish()
    }
}

/// Reason why a string is not an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccessCodeError {
    /// It does not begin with `panda-access:`.
    #[error("an invite to a node begins with `panda-access:`")]
    Scheme,
    /// A later version of the format.
    #[error("the invite has version {version}, of a newer p2panda; run a newer version")]
    Newer {
        /// Version of the invite.
        version: u8,
    },
    /// A character is wrong, missing or added.
    #[error("a character of the invite is wrong or missing; copy it again")]
    Damaged,
}

impl AccessCode {
    /// Id of the invite as text.
    pub fn id_text(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.id)
    }
}

/// Proves to the node that a client has an invite, without sending the secret: keyed BLAKE3 of the
/// text that the client signs, followed by its key. Valid for this key, node, connection and minute,
/// as the signature is.
pub fn invite_proof(secret: &[u8; 32], challenge_text: &str, key: &VerifyingKey) -> [u8; 32] {
    let text = format!("{challenge_text}key: {key}\n");
    *blake3::keyed_hash(secret, text.as_bytes()).as_bytes()
}

impl fmt::Display for AccessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend(self.node.as_bytes());
        bytes.extend(self.id);
        bytes.extend(self.secret);
        bytes.extend(checksum(&bytes));
        let text = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        write!(f, "{SCHEME}{text}")
    }
}

impl FromStr for AccessCode {
    type Err = AccessCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().strip_prefix(SCHEME);
        let text = text.ok_or(AccessCodeError::Scheme)?;
        // Do not decode much longer strings.
        if text.len() > 2 * (1 + 32 + 8 + 32 + 4) {
            return Err(AccessCodeError::Damaged);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| AccessCodeError::Damaged)?;
        let (front, sum) = bytes
            .split_last_chunk::<4>()
            .ok_or(AccessCodeError::Damaged)?;
        if checksum(front) != *sum {
            return Err(AccessCodeError::Damaged);
        }
        match front.first() {
            Some(&VERSION) => read(front).ok_or(AccessCodeError::Damaged),
            Some(&version) => Err(AccessCodeError::Newer { version }),
            None => Err(AccessCodeError::Damaged),
        }
    }
}

fn read(front: &[u8]) -> Option<AccessCode> {
    let (_, rest) = front.split_first()?;
    let (node, rest) = rest.split_first_chunk::<32>()?;
    let (id, secret) = rest.split_first_chunk::<8>()?;
    Some(AccessCode {
        node: VerifyingKey::from_bytes(*node).ok()?,
        id: *id,
        secret: secret.try_into().ok()?,
    })
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = blake3::derive_key(CHECKSUM, bytes);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::string::ToString;

    use super::*;

    fn code() -> AccessCode {
        AccessCode {
            node: crate::SigningKey::from_bytes(&[1; 32]).verifying_key(),
            id: [2; 8],
            secret: [3; 32],
        }
    }

    #[test]
    fn an_invite_is_read_whole_or_not_at_all() {
        let text = code().to_string();
        assert_eq!(text.parse(), Ok(code()));
        assert_eq!(format!(" {text}\n").parse(), Ok(code()));
        assert!(!format!("{:?}", code()).contains("3, 3"));
        let read = |text: &str| text.parse::<AccessCode>().unwrap_err();
        assert_eq!(read("panda:aa"), AccessCodeError::Scheme);
        for end in SCHEME.len()..text.len() {
            assert_eq!(read(text.get(..end).unwrap()), AccessCodeError::Damaged);
        }
        for long in [1, 10_000_000] {
            let text = format!("{text}{}", "a".repeat(long));
            assert_eq!(read(&text), AccessCodeError::Damaged);
        }
        for at in SCHEME.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            let byte = changed.get_mut(at).unwrap();
            *byte = if *byte == b'a' { b'b' } else { b'a' };
            assert!(
                String::from_utf8(changed)
                    .unwrap()
                    .parse::<AccessCode>()
                    .is_err()
            );
        }
        let mut newer = vec![2, 7];
        newer.extend(checksum(&newer));
        let newer = format!("{SCHEME}{}", BASE32_NOPAD.encode(&newer));
        assert_eq!(read(&newer), AccessCodeError::Newer { version: 2 });
    }
}
