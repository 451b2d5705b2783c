//! The data directory around a database: its files and its identity.

pub(crate) mod compact;
pub(crate) mod epoch;
pub(crate) mod error;
pub(crate) mod guard;
pub(crate) mod holder;
pub(crate) mod identity;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod private;
pub(crate) mod secret_file;
pub(crate) mod store;
pub(crate) mod temporary;
