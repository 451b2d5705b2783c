//! The limits of this machine, for operations of the usual sizes and with the libraries that
//! the node uses.

pub mod disk;
pub mod quic;
pub mod signature;
