//! Closes a connection with one of our codes.

use std::time::Duration;

use iroh::endpoint::{ApplicationClose, Connection, ConnectionError, VarInt};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::Fault;

/// Closes a connection with one of our codes.
pub(crate) fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.code()), code.reason().as_bytes());
}

/// Returns why a connection came to nothing, as far as the peer said so.
pub(crate) fn fault(connection: &Connection) -> Fault {
    connection
        .close_reason()
        .map_or(Fault::Failed, |error| fault_of(&error))
}

pub(crate) fn fault_of(error: &ConnectionError) -> Fault {
    let is = |close: &ApplicationClose, code: CloseCode| {
        close.error_code.into_inner() == u64::from(code.code())
    };
    match error {
        ConnectionError::ApplicationClosed(close) => match close.reason.is_empty() {
            true if is(close, CloseCode::NotServed) => Fault::NotServed,
            _ if is(close, CloseCode::Refused) || is(close, CloseCode::Limit) => {
                Fault::Refused(Duration::ZERO)
            }
            _ => Fault::Failed,
        },
        _ => Fault::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusing_and_not_serving_are_told_apart() {
        let closed = |code: CloseCode| {
            fault_of(&ConnectionError::ApplicationClosed(ApplicationClose {
                error_code: VarInt::from_u32(code.code()),
                reason: bytes::Bytes::from_static(code.reason().as_bytes()),
            }))
        };
        assert_eq!(closed(CloseCode::NotServed), Fault::NotServed);
        assert_eq!(closed(CloseCode::Refused), Fault::Refused(Duration::ZERO));
        assert_eq!(closed(CloseCode::Limit), Fault::Refused(Duration::ZERO));
        for code in [CloseCode::Violation, CloseCode::Failed, CloseCode::Stopped] {
            assert_eq!(closed(code), Fault::Failed);
        }
        assert_eq!(closed(CloseCode::SyncAccepted), Fault::Failed);
        assert_eq!(fault_of(&ConnectionError::TimedOut), Fault::Failed);
    }
}
