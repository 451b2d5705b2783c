//! The digest by which two nodes find out that they hold the same (`docs/protocol/digest.md`).

use bytes::{Bytes, BytesMut};
use p2panda_core::{Hash, Heights, VerifyingKey};

use crate::frame;
use crate::wire::{Reader, WireError, Writer};

/// One more of the inner messages of log sync (`docs/protocol/sync.md#4`).
const SYNC: u32 = 0;
const DIGEST: u32 = 4;
/// The version that this node speaks.
const VERSION: u32 = 1;
/// Keeps the hash of a state apart from every other hash.
const CONTEXT: &[u8] = b"p2panda/state_digest/v1";

/// The hash of all heights of a topic: what a Have without a limit would list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(Hash);

impl State {
    /// Hashes the heights; linear in the number of logs.
    pub fn of(heights: &Heights) -> State {
        State(Hash::digest_parts(&[CONTEXT, &heights.encode()]))
    }

    /// Returns the digest that `sender` sends in this state. Bound to the sender, so that a peer
    /// that only sends back what it was told is not taken to hold the same.
    pub fn digest(&self, sender: &VerifyingKey) -> Digest {
        let parts = [sender.as_bytes().as_slice(), self.0.as_bytes().as_slice()];
        Digest::Known(Hash::digest_parts(&parts))
    }
}

/// The first message of each side (`docs/protocol/digest.md#3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Version 1.
    Known(Hash),
    /// A version of a later day. It differs from every digest that this node can compute.
    Unknown,
}

impl Digest {
    /// Appends this message as one frame. An unknown version is read, never written: nothing is
    /// appended for it.
    pub fn encode(&self, out: &mut BytesMut) {
        let Digest::Known(hash) = self else {
            return;
        };
        let encoded = frame::encode(out, |out| {
            Writer::new(out)
                .uint(SYNC)
                .uint(DIGEST)
                .uint(VERSION)
                .bytes(hash.as_bytes());
        });
        encoded.expect("a digest is neither empty nor large");
    }

    /// Reads one payload.
    pub fn decode(payload: Bytes) -> Result<Digest, WireError> {
        let mut reader = Reader::new(payload);
        if (reader.tag()?, reader.tag()?) != (SYNC, DIGEST) {
            return Err(WireError::Tag);
        }
        if reader.u32()? != VERSION {
            return Ok(Digest::Unknown);
        }
        let hash = Hash::from_bytes(reader.sized::<32>()?);
        reader.finish()?;
        Ok(Digest::Known(hash))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_core::{LogId, SigningKey};

    use super::*;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn heights(logs: &[(u8, u32)]) -> Heights {
        let log = LogId::from_bytes([7; 32]);
        let heights = logs.iter().map(|(seed, seq)| (key(*seed), log, *seq));
        heights.collect()
    }

    #[test]
    fn the_same_heights_give_the_same_digest_and_any_other_another() {
        let state = State::of(&heights(&[(1, 5), (2, 0)]));
        assert_eq!(state, State::of(&heights(&[(2, 0), (1, 5)])));
        for other in [&[(1, 5)][..], &[(1, 5), (2, 1)], &[(1, 5), (3, 0)], &[]] {
            assert_ne!(state, State::of(&heights(other)), "{other:?}");
        }
    }

    #[test]
    fn a_digest_that_is_sent_back_is_not_that_of_the_peer() {
        let state = State::of(&heights(&[(1, 5)]));
        assert_ne!(state.digest(&key(1)), state.digest(&key(2)));
    }

    #[test]
    fn an_unknown_version_is_no_error_and_a_malformed_known_one_is() {
        let decode = |bytes: &[u8]| Digest::decode(Bytes::copy_from_slice(bytes));
        assert_eq!(decode(&[0, 4, 0]), Ok(Digest::Unknown));
        assert_eq!(decode(&[0, 4, 2, 0xff, 0xff]), Ok(Digest::Unknown));
        assert_eq!(decode(&[0, 4]), Err(WireError::Eof));
        assert_eq!(decode(&[0, 4, 1, 0x1f]), Err(WireError::Length));
        assert_eq!(decode(&[0, 4, 1, 0x20, 0]), Err(WireError::Eof));
        let long = [&[0, 4, 1, 0x20][..], &[9; 33]].concat();
        assert_eq!(decode(&long), Err(WireError::Trailing));
        for other in [&[0, 0, 0][..], &[0, 3, 0], &[1, 4, 0], &[2, 4, 0]] {
            assert_eq!(decode(other), Err(WireError::Tag), "{other:?}");
        }
    }

    #[test]
    fn a_digest_comes_back_from_its_frame() {
        let digest = State::of(&Heights::new()).digest(&key(1));
        let mut out = BytesMut::new();
        digest.encode(&mut out);
        assert_eq!(out.len(), 40);
        assert_eq!(Digest::decode(out.freeze().slice(4..)), Ok(digest));
    }
}
