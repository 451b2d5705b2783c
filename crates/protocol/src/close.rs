//! Codes with which a connection is closed.

/// Reason why one of our connections ends: a QUIC application close code with a reason text.
///
/// Peers of release 0.7.1 close with 0 only and interpret neither code nor reason, so the numbers
/// above 0 are ours and exist for logs and for our own nodes (docs/protocol/sync.md#6,
/// docs/protocol/discovery.md#1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 0, `done`: a discovery session was completed.
    Done,
    /// 0, `sync protocol initiate completed`: the dialler of a sync session ends it in order.
    SyncInitiated,
    /// 0, `sync protocol accept completed`: the acceptor of a sync session ends it in order.
    SyncAccepted,
    /// 0, no reason: the handshake named a topic that we do not serve.
    NotServed,
    /// 1: the peer sent something that the protocol does not allow here.
    Violation,
    /// 2: the peer exceeded a limit.
    Limit,
    /// 3: the peer made no progress in time.
    Timeout,
    /// 4: we serve no more sessions with this peer or in total for now.
    Refused,
    /// 5: we stop, or no longer need the session, before it was completed.
    Stopped,
    /// 6: something of ours failed; the peer may try again.
    Failed,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn code(self) -> u32 {
        match self {
            CloseCode::Done
            | CloseCode::SyncInitiated
            | CloseCode::SyncAccepted
            | CloseCode::NotServed => 0,
            CloseCode::Violation => 1,
            CloseCode::Limit => 2,
            CloseCode::Timeout => 3,
            CloseCode::Refused => 4,
            CloseCode::Stopped => 5,
            CloseCode::Failed => 6,
        }
    }

    /// The reason text on the wire.
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Done => "done",
            CloseCode::SyncInitiated => "sync protocol initiate completed",
            CloseCode::SyncAccepted => "sync protocol accept completed",
            CloseCode::NotServed => "",
            CloseCode::Violation => "protocol violation",
            CloseCode::Limit => "limit exceeded",
            CloseCode::Timeout => "timeout",
            CloseCode::Refused => "too many sessions",
            CloseCode::Stopped => "stopped",
            CloseCode::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_end_has_code_zero() {
        assert_eq!(CloseCode::Done.code(), 0);
        assert_eq!(CloseCode::Done.reason(), "done");
        assert_eq!(CloseCode::NotServed.reason(), "");
        for code in [CloseCode::Violation, CloseCode::Limit, CloseCode::Timeout] {
            assert_ne!(code.code(), 0);
        }
    }
}
