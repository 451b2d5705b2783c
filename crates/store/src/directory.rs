//! The files of a node's data directory: its lock, the signing key, the guard file outside of it, and
//! the database's file.

pub(crate) mod compact;
pub(crate) mod epoch;
pub(crate) mod guard;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod private;
pub(crate) mod store;
