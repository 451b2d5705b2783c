//! Large bodies, which are written and read in one buffer: SQLite would make two copies of each on its
//! way through a statement.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use p2panda_core::Hash;
use p2panda_core::limits::LARGE_BODY_BYTES;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use crate::database::error::StoreError;
use crate::database::sql::int;

/// Those that are in memory, by the operation: anyone who reads one that another one holds shares
/// it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct LargeBodies(Arc<Mutex<HashMap<Hash, Weak<Vec<u8>>>>>);

impl fmt::Debug for LargeBodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeBodies").finish_non_exhaustive()
    }
}

/// Keeps a body in memory.
struct Holder(Arc<Vec<u8>>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl LargeBodies {
    /// The body of an operation: the one that somebody holds, or else what `read` answers. Who asks
    /// meanwhile waits, so that it is read once.
    pub(crate) fn share(
        &self,
        id: Hash,
        read: impl FnOnce() -> rusqlite::Result<Option<Vec<u8>>>,
    ) -> rusqlite::Result<Option<Bytes>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(body) = held.get(&id).and_then(Weak::upgrade) {
            return Ok(Some(Bytes::from_owner(Holder(body))));
        }
        let Some(body) = read()?.map(Arc::new) else {
            return Ok(None);
        };
        held.retain(|_, body| body.strong_count() > 0);
        held.insert(id, Arc::downgrade(&body));
        Ok(Some(Bytes::from_owner(Holder(body))))
    }
}

/// Reads the body of a row. `None`: what is there is no body of that length.
pub(crate) fn read(
    connection: &Connection,
    arrival: u64,
    bytes: usize,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let blob = match connection.blob_open(MAIN_DB, "operation", "body", int(arrival), true) {
        Ok(blob) => blob,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => return Ok(None),
        Err(error) => return Err(error),
    };
    if blob.len() != bytes {
        return Ok(None);
    }
    let mut body = vec![0; bytes];
    blob.read_at_exact(&mut body, 0)?;
    Ok(Some(body))
}

/// Returns what a statement puts in place of a body: a large one as zeroes, until it is
/// [written](write).
pub(crate) fn placed(body: Option<&[u8]>) -> ToSqlOutput<'_> {
    match body {
        // Of another type in other versions of rusqlite; no operation has 2 GiB.
        Some(body) if is_large(body) => ToSqlOutput::ZeroBlob(body.len() as _),
        Some(body) => ToSqlOutput::Borrowed(ValueRef::Blob(body)),
        None => ToSqlOutput::Owned(Value::Null),
    }
}

/// Writes a body over what was [placed] in its row, if it is large.
pub(crate) fn write(
    connection: &Connection,
    arrival: u64,
    body: Option<&[u8]>,
) -> Result<(), StoreError> {
    if let Some(body) = body.filter(|body| is_large(body)) {
        let mut blob = connection.blob_open(MAIN_DB, "operation", "body", int(arrival), false)?;
        blob.write_all_at(body, 0)?;
        blob.close()?;
    }
    Ok(())
}

fn is_large(body: &[u8]) -> bool {
    body.len() >= LARGE_BODY_BYTES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::database::page::body_column;

    #[test]
    fn a_large_body_is_read_once_for_all_holders() {
        let bodies = LargeBodies::default();
        let id = Hash::digest(b"large");
        let first = bodies.share(id, || Ok(Some(vec![1; 9]))).unwrap().unwrap();
        let second = bodies.share(id, || unreachable!()).unwrap().unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
        drop((first, second));
        let third = bodies.share(id, || Ok(Some(vec![2; 9]))).unwrap().unwrap();
        assert_eq!(third[..], [2; 9]);
        drop(third);
        let other = Hash::digest(b"other");
        assert!(bodies.share(other, || Ok(None)).unwrap().is_none());
    }

    #[test]
    fn the_column_of_a_page_and_the_limit_name_the_same_length() {
        assert!(body_column!().contains(&format!("< {LARGE_BODY_BYTES} ")));
    }
}
