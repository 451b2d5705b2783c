//! Progress reports of a catch-up, and the reason why a session ended.

use iroh::endpoint::ConnectionError;
use p2panda_core::limits::PROGRESS_INTERVAL;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::{End, Fault};
use p2panda_protocol::time::Time;

use crate::event::{SessionEnd, Transfer};

/// Progress reports of a catch-up. The first comes after a moment, because most have ended by then.
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

    /// Returns `true` if it is to be told now that so much was exchanged.
    pub(super) fn is_due(&mut self, transfer: Transfer, now: Time) -> bool {
        let is_due = self.at + PROGRESS_INTERVAL <= now && transfer != self.told;
        if is_due {
            (self.told, self.at) = (transfer, now);
        }
        is_due
    }
}

/// Way in which the peer, or the network, ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByPeer {
    /// The peer ended the connection, or the stream, with this code.
    Code(u64),
    /// The connection was lost, or ended without a word about this session.
    Lost,
}

/// Returns how the connection ended, and otherwise how the stream did.
pub(super) fn by_peer(closed: Option<&ConnectionError>, stream: Option<u64>) -> Option<ByPeer> {
    match closed {
        Some(ConnectionError::ApplicationClosed(close)) => {
            Some(ByPeer::Code(close.error_code.into_inner()))
        }
        // Closed on this side, for instance at the farewell of the peer: its sessions end with it.
        Some(ConnectionError::LocallyClosed) => Some(stream.map_or(ByPeer::Lost, ByPeer::Code)),
        Some(_) => Some(ByPeer::Lost),
        None => stream.map(ByPeer::Code),
    }
}

/// Returns why a session ended, from what both sides know.
pub(super) fn end(end: End, fault: Fault, left: bool, by_peer: Option<ByPeer>) -> SessionEnd {
    let stopped = ByPeer::Code(CloseCode::Stopped.code().into());
    match (fault, end.code) {
        _ if left => SessionEnd::Left,
        _ if end.ok => SessionEnd::Done,
        (Fault::Refused(_), _) => SessionEnd::Refused,
        (Fault::NotServed, _) => SessionEnd::NotServed,
        (_, CloseCode::Violation) => SessionEnd::Violation,
        (_, CloseCode::Limit) => SessionEnd::Limit,
        (_, CloseCode::Timeout) => SessionEnd::TimedOut,
        _ => match by_peer {
            Some(by_peer) if by_peer == stopped => SessionEnd::PeerStopped,
            Some(ByPeer::Code(_)) => SessionEnd::PeerEnded,
            Some(ByPeer::Lost) => SessionEnd::Lost,
            None => SessionEnd::Failed,
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
        let stopped = by_peer(Some(&stopped), None);
        let other = closed(CloseCode::Violation);
        let other = by_peer(Some(&other), None);
        let lost = by_peer(Some(&ConnectionError::TimedOut), Some(0));
        // The stream may be reset before the connection is closed.
        let reset = by_peer(None, Some(CloseCode::Stopped.code().into()));
        assert_eq!(reset, stopped);
        let cut = by_peer(Some(&ConnectionError::LocallyClosed), Some(0));
        assert_eq!(
            by_peer(Some(&ConnectionError::LocallyClosed), None),
            Some(ByPeer::Lost)
        );
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
                end(failed, Fault::Failed, false, stopped),
                SessionEnd::PeerStopped,
            ),
            (
                end(failed, Fault::Failed, false, other),
                SessionEnd::PeerEnded,
            ),
            (end(failed, Fault::Failed, false, lost), SessionEnd::Lost),
            (
                end(failed, Fault::Failed, false, cut),
                SessionEnd::PeerEnded,
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
