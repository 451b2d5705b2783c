//! The database: its schema, the one writer with its transactions, and the readers. SQL and nothing
//! else: a database needs no data directory around it.

pub(crate) mod blocked;
pub(crate) mod branch;
pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod content;
pub(crate) mod error;
pub(crate) mod evidence;
pub(crate) mod fault;
pub(crate) mod feed;
pub(crate) mod feed_time;
pub(crate) mod garbage;
pub(crate) mod holdings;
pub(crate) mod idempotency;
pub(crate) mod inactive;
pub(crate) mod journal;
pub(crate) mod large;
pub(crate) mod level;
pub(crate) mod log_name;
pub(crate) mod meta;
pub(crate) mod missing;
pub(crate) mod moved;
pub(crate) mod named;
pub(crate) mod neighbour;
pub(crate) mod obstacle;
pub(crate) mod page;
pub(crate) mod presence;
pub(crate) mod reader;
pub(crate) mod schema;
pub(crate) mod space;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod tx;
pub(crate) mod views;
pub(crate) mod writer;
