//! The files in a data directory.

/// The database.
pub(crate) const DATABASE: &str = "p2panda.sqlite";
/// The new database while a compaction writes it.
pub(crate) const UNFINISHED: &str = "p2panda.sqlite.compact";
