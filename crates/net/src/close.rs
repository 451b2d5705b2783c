//! Closing a connection with one of our codes.

use iroh::endpoint::{Connection, VarInt};
use p2panda_protocol::close::CloseCode;

/// Closes a connection with one of our codes.
pub(crate) fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.code()), code.reason().as_bytes());
}
