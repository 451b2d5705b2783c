//! The database: its schema, the writer's transaction and the readers.

pub(crate) mod consumer;
pub(crate) mod evidence;
pub(crate) mod garbage;
pub(crate) mod meta;
pub(crate) mod missing;
pub(crate) mod page;
pub(crate) mod reader;
pub(crate) mod schema;
pub(crate) mod space;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod tx;
