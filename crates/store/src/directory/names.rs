//! The files in a data directory.

/// Name of the database of SQLite.
pub(crate) const DATABASE: &str = "p2panda.sqlite";
/// Held while the directory is open.
pub(crate) const LOCK: &str = "lock";
/// Says that the directory was made to be discarded.
pub(crate) const TEMPORARY: &str = "temporary";
/// The new database while a compaction writes it.
pub(crate) const UNFINISHED: &str = "p2panda.sqlite.compact";
