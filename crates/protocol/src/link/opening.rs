//! The frames in front of a session on a topic stream (docs/protocol/link.md#4).
//!
//! A driver reads the four bytes of a length, asks [`payload_bytes`] how many follow, and gives those to
//! [`Opening::decode`]. What comes after belongs to the session.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::limits;
use thiserror::Error;

use crate::frame;
use crate::link::secret::{Proof, Tag};
use crate::wire::{Reader, WireError, Writer};

const OPEN: u32 = 0;
const ACCEPT: u32 = 1;
const REFUSE: u32 = 2;

/// The first frame of either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The opener shows that it knows the topic.
    Open {
        /// Its tag of the topic's membership overlay, by which the topic is found.
        tag: Tag,
        /// Its proof of the topic.
        proof: Proof,
    },
    /// So does the acceptor, and the session begins.
    Accept(Proof),
    /// There is no session.
    Refuse {
        /// Reason for the refusal.
        refusal: Refusal,
        /// Minimum wait before asking again.
        wait: Duration,
    },
}

/// Reason why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The acceptor has no such topic.
    Unknown,
    /// It has no room for another session, or says another reason.
    Full,
    /// It stops.
    Stopping,
}

/// Reason why bytes are not such a frame. Ends the stream.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpeningError {
    /// The frame is empty or too large.
    #[error("a frame in front of a session has a wrong size")]
    Size,
    /// The payload does not follow the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Returns the number of bytes that follow these four.
pub fn payload_bytes(length: [u8; 4]) -> Result<usize, OpeningError> {
    let bytes = u32::from_be_bytes(length) as usize;
    match bytes {
        1..=limits::LINK_OPENING_BYTES_MAX => Ok(bytes),
        _ => Err(OpeningError::Size),
    }
}

impl Opening {
    /// The frame.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        let encoded = frame::encode(&mut out, |out| {
            let mut writer = Writer::new(out);
            match self {
                Opening::Open { tag, proof } => writer.uint(OPEN).array(&tag.0).array(&proof.0),
                Opening::Accept(proof) => writer.uint(ACCEPT).array(&proof.0),
                Opening::Refuse { refusal, wait } => {
                    let code = match refusal {
                        Refusal::Unknown => 0u32,
                        Refusal::Full => 1,
                        Refusal::Stopping => 2,
                    };
                    writer.uint(REFUSE).uint(code).uint(whole_seconds(*wait))
                }
            };
        });
        encoded.expect("a frame in front of a session is neither empty nor large");
        out.freeze()
    }

    /// Reads one payload.
    pub fn decode(payload: Bytes) -> Result<Opening, OpeningError> {
        let mut reader = Reader::new(payload);
        let opening = match reader.tag()? {
            OPEN => Opening::Open {
                tag: Tag(reader.array()?),
                proof: Proof(reader.array()?),
            },
            ACCEPT => Opening::Accept(Proof(reader.array()?)),
            REFUSE => {
                let refusal = match reader.u32()? {
                    0 => Refusal::Unknown,
                    2 => Refusal::Stopping,
                    _ => Refusal::Full,
                };
                let wait = Duration::from_secs(reader.u32()?.into());
                let wait = wait.min(limits::LINK_REFUSAL_WAIT_MAX);
                Opening::Refuse { refusal, wait }
            }
            _ => return Err(WireError::Tag.into()),
        };
        reader.finish()?;
        Ok(opening)
    }
}

/// Rounded up, so that nobody comes back too early, and no more than a peer takes seriously.
fn whole_seconds(wait: Duration) -> u64 {
    let wait = wait.min(limits::LINK_REFUSAL_WAIT_MAX);
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_frame_comes_back_and_fits_its_limit() {
        let refusals = [Refusal::Unknown, Refusal::Full, Refusal::Stopping];
        let wait = Duration::from_secs(7);
        let refused = refusals.map(|refusal| Opening::Refuse { refusal, wait });
        let opened = [
            Opening::Open {
                tag: Tag([3; 16]),
                proof: Proof([1; 32]),
            },
            Opening::Accept(Proof([2; 32])),
        ];
        for opening in refused.into_iter().chain(opened) {
            let frame = opening.encode();
            let length = frame.first_chunk().copied().unwrap();
            assert_eq!(payload_bytes(length), Ok(frame.len() - 4));
            assert_eq!(Opening::decode(frame.slice(4..)), Ok(opening));
        }
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_its_bytes_come() {
        let max = limits::LINK_OPENING_BYTES_MAX as u32;
        assert!(payload_bytes(max.to_be_bytes()).is_ok());
        assert_eq!(
            payload_bytes((max + 1).to_be_bytes()),
            Err(OpeningError::Size)
        );
        assert_eq!(payload_bytes([0; 4]), Err(OpeningError::Size));
    }

    #[test]
    fn an_unknown_reason_means_full_and_a_long_wait_is_cut() {
        let payload = Bytes::from_static(&[2, 77, 0xff, 0xff, 3]);
        let wait = limits::LINK_REFUSAL_WAIT_MAX;
        let refusal = Refusal::Full;
        assert_eq!(
            Opening::decode(payload),
            Ok(Opening::Refuse { refusal, wait })
        );
    }

    #[test]
    fn any_wait_can_be_sent_in_whole_seconds_that_are_not_too_early() {
        let max = limits::LINK_REFUSAL_WAIT_MAX;
        for (wait, sent) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::from_millis(1), Duration::from_secs(1)),
            (Duration::from_millis(2_500), Duration::from_secs(3)),
            (max, max),
            (max + Duration::from_nanos(1), max),
            (Duration::MAX, max),
        ] {
            let refusal = Refusal::Full;
            let frame = Opening::Refuse { refusal, wait }.encode();
            let decoded = Opening::decode(frame.slice(4..));
            let wait = sent;
            assert_eq!(decoded, Ok(Opening::Refuse { refusal, wait }));
        }
    }
}
