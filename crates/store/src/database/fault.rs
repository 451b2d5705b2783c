//! A disk that fails on purpose, for tests and the simulation.

use std::cell::Cell;

use rusqlite::ffi;

/// Fault of the storage from some statement on, until it is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Another process keeps the database locked: no transaction begins.
    Busy,
    /// There is no room: after this many more statements nothing is written.
    Full {
        /// Statements that still succeed.
        after: u32,
    },
    /// The disk fails, and it will not get better.
    Broken,
}

/// Current fault, and how far away it is.
#[derive(Default)]
pub(crate) struct Faults(Cell<Option<Fault>>);

impl Faults {
    pub(crate) fn set(&self, fault: Option<Fault>) {
        self.0.set(fault);
    }

    /// A transaction begins.
    pub(crate) fn begin(&self) -> rusqlite::Result<()> {
        match self.0.get() {
            Some(Fault::Busy) => failed(ffi::SQLITE_BUSY),
            Some(Fault::Broken) => failed(ffi::SQLITE_IOERR),
            _ => Ok(()),
        }
    }

    /// A statement runs within one.
    pub(crate) fn statement(&self) -> rusqlite::Result<()> {
        let Some(Fault::Full { after }) = self.0.get() else {
            return Ok(());
        };
        match after.checked_sub(1) {
            Some(after) => {
                self.0.set(Some(Fault::Full { after }));
                Ok(())
            }
            None => failed(ffi::SQLITE_FULL),
        }
    }
}

fn failed(code: i32) -> rusqlite::Result<()> {
    let code = ffi::Error::new(code);
    Err(rusqlite::Error::SqliteFailure(code, None))
}
