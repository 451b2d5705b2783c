//! What a session tells of its catch-up while that goes on, and why it ended.

use iroh::endpoint::ConnectionError;
use p2panda_core::limits::PROGRESS_INTERVAL;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::{End, Fault};
use p2panda_protocol::time::Time;

use crate::event::{SessionEnd, Transfer};

/// What is told of a catch-up: nothing for a moment, since most are over by then.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) expected: Transfer,
    told: Transfer,
    at: Time,
}

impl Progress {
    pub(super) fn new(expected: Transfer, now: Time) -> Box<Progress> {
        let told = Transfer::default();
        Box::new(Progress {
            expected,
            told,
            at: now,
        })
    }

    /// Whether it is to be told now that so much was exchanged.
    pub(super) fn is_due(&mut self, transfer: Transfer, now: Time) -> bool {
        let is_due = self.at + PROGRESS_INTERVAL <= now && transfer != self.told;
        if is_due {
            (self.told, self.at) = (transfer, now);
        }
        is_due
    }
}

/// Why a session ended, from what both sides know.
pub(super) fn end(
    end: End,
    fault: Fault,
    left: bool,
    closed: Option<&ConnectionError>,
) -> SessionEnd {
    let by_peer = match closed {
        Some(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
        _ => None,
    };
    let is = |code: CloseCode| by_peer == Some(u64::from(code.code()));
    match (fault, end.code) {
        _ if left => SessionEnd::Left,
        _ if end.ok => SessionEnd::Done,
        (Fault::Refused(_), _) => SessionEnd::Refused,
        (Fault::NotServed, _) => SessionEnd::NotServed,
        (_, CloseCode::Violation) => SessionEnd::Violation,
        (_, CloseCode::Limit) => SessionEnd::Limit,
        (_, CloseCode::Timeout) => SessionEnd::TimedOut,
        _ if is(CloseCode::Stopped) => SessionEnd::PeerStopped,
        _ if by_peer.is_some() => SessionEnd::PeerEnded,
        // Our own side of it does not count as a loss: somebody here closed it.
        _ => match closed {
            Some(ConnectionError::LocallyClosed) | None => SessionEnd::Failed,
            Some(_) => SessionEnd::Lost,
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use iroh::endpoint::{ApplicationClose, VarInt};

    use super::*;

    fn ended(code: CloseCode, ok: bool) -> End {
        End { code, ok }
    }

    fn closed(code: CloseCode) -> ConnectionError {
        ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: VarInt::from_u32(code.code()),
            reason: Bytes::new(),
        })
    }

    #[test]
    fn a_session_says_why_it_ended() {
        let failed = ended(CloseCode::Failed, false);
        let stopped = closed(CloseCode::Stopped);
        let other = closed(CloseCode::Violation);
        let lost = ConnectionError::TimedOut;
        for (of, said) in [
            (
                end(ended(CloseCode::Done, true), Fault::Failed, false, None),
                SessionEnd::Done,
            ),
            (
                end(ended(CloseCode::Done, true), Fault::Failed, true, None),
                SessionEnd::Left,
            ),
            (
                end(failed, Fault::NotServed, false, None),
                SessionEnd::NotServed,
            ),
            (
                end(ended(CloseCode::Timeout, false), Fault::Failed, false, None),
                SessionEnd::TimedOut,
            ),
            (
                end(failed, Fault::Failed, false, Some(&stopped)),
                SessionEnd::PeerStopped,
            ),
            (
                end(failed, Fault::Failed, false, Some(&other)),
                SessionEnd::PeerEnded,
            ),
            (
                end(failed, Fault::Failed, false, Some(&lost)),
                SessionEnd::Lost,
            ),
            (end(failed, Fault::Failed, false, None), SessionEnd::Failed),
        ] {
            assert_eq!(of, said);
        }
    }

    #[test]
    fn progress_is_told_once_per_interval_and_only_if_there_is_any() {
        let mut progress = Progress::new(Transfer::default(), Time::ZERO);
        let at = |count: u32| Time::ZERO + PROGRESS_INTERVAL * count;
        let came = |bytes| Transfer {
            received_bytes: bytes,
            ..Transfer::default()
        };
        assert!(!progress.is_due(came(1), Time::ZERO));
        assert!(progress.is_due(came(1), at(1)));
        assert!(!progress.is_due(came(2), at(1)));
        assert!(!progress.is_due(came(1), at(2)));
        assert!(progress.is_due(came(3), at(3)));
    }
}
