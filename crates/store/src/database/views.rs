//! Views: tables of the application, derived from the feed, with the position in the same transaction
//! (`docs/protocol/views.md`).
//!
//! Writes by the application's statements go through a connection of its own, whose transactions
//! the owner of the database begins between those of the [`Tx`]: no matter what a statement does
//! to its transaction, it is no other's. An authorizer keeps it to the tables of its view.

pub(crate) mod connection;
pub(crate) mod loss;
pub(crate) mod read;
pub(crate) mod scope;
pub(crate) mod step;
pub(crate) mod value;
pub(crate) mod version;

#[cfg(test)]
mod times;

use std::collections::HashMap;
use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::{
    VIEW_ERROR_BYTES_MAX, VIEW_STATEMENT_BYTES_MAX, VIEW_STATEMENTS_KNOWN_MAX,
};

use crate::database::filter::Filter;
use crate::database::views::value::Value;

/// The row of a version of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ViewKey(pub(crate) i64);

impl ViewKey {
    /// Returns the prefix of the names of its tables.
    pub(crate) fn prefix(self) -> String {
        format!("v{}_", self.0)
    }
}

/// Definition of a view by the application.
#[derive(Clone, Debug)]
pub struct ViewDefinition {
    /// The name under which it is stored.
    pub name: String,
    /// Version of the definition; a higher one replaces lower ones.
    pub version: u32,
    /// The topics whose feeds it is derived from.
    pub topics: Vec<Topic>,
    /// Statements that create its tables, with `{view}` for the prefix.
    pub statements: Vec<String>,
    /// Filter of the entries that it is derived from.
    pub filter: Filter,
}

/// A version of a view that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedView {
    /// Its row.
    pub key: ViewKey,
    /// The last offset that it has applied.
    pub position: u64,
    /// `true` if it answers; otherwise it is built next to the one that does.
    pub answers: bool,
}

/// A statement of an application, with its prefix.
#[derive(Clone, Debug)]
pub struct Statement {
    /// From [`Sql::of`].
    pub sql: Arc<str>,
    /// Values that are bound to the parameters of the statement.
    pub parameters: Vec<Value>,
}

/// Changes of a view for a part of the feed.
#[derive(Clone, Debug, Default)]
pub struct ViewStep {
    /// By entry: its offset, and the end of its statements among all.
    pub entries: Vec<(u64, usize)>,
    /// The statements of all entries.
    pub statements: Vec<Statement>,
    /// The position that it follows on: it is applied there and nowhere else.
    pub after: u64,
    /// The last offset that was examined.
    pub until: u64,
}

/// Writes the prefix of a version into the statements of an application.
#[derive(Debug)]
pub struct Sql {
    key: ViewKey,
    old: Option<ViewKey>,
    known: HashMap<String, Arc<str>>,
}

impl Sql {
    /// For the statements of a version. `{old}` stands for the version before, if one is given.
    pub fn new(key: ViewKey, old: Option<ViewKey>) -> Sql {
        Sql {
            key,
            old,
            known: HashMap::new(),
        }
    }

    /// A statement with the prefix in it. One that is too long stays as it is, and fails.
    pub fn of(&mut self, sql: &str) -> Arc<str> {
        if let Some(known) = self.known.get(sql) {
            return Arc::clone(known);
        }
        let made: Arc<str> = prefixed(sql, self.key, self.old).into();
        if self.known.len() >= VIEW_STATEMENTS_KNOWN_MAX {
            self.known.clear();
        }
        if sql.len() <= VIEW_STATEMENT_BYTES_MAX {
            self.known.insert(sql.to_owned(), Arc::clone(&made));
        }
        made
    }
}

/// The mark in front tells prepared statements of views apart: none runs what another may.
pub(crate) fn prefixed(sql: &str, key: ViewKey, old: Option<ViewKey>) -> String {
    let mut sql = sql.replace("{view}", &key.prefix());
    if let Some(old) = old {
        sql = sql.replace("{old}", &old.prefix());
    }
    format!("/* {} */ {sql}", key.0)
}

/// Reason why a view is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// A statement failed.
    Statement,
    /// A statement does what a view may not.
    Forbidden,
    /// The statements of an entry took too long.
    TooLong,
    /// A statement ended the transaction.
    EndedTransaction,
    /// The function of the application returned an error.
    Refused,
    /// The function of the application panicked.
    Panicked,
    /// The function of the application did not return in time.
    NoReturn,
    /// The function returned more statements than an entry may have.
    TooMany,
    /// The database failed under it.
    Storage,
}

const REASONS: [StopReason; 9] = [
    StopReason::Statement,
    StopReason::Forbidden,
    StopReason::TooLong,
    StopReason::EndedTransaction,
    StopReason::Refused,
    StopReason::Panicked,
    StopReason::NoReturn,
    StopReason::TooMany,
    StopReason::Storage,
];

impl StopReason {
    pub(crate) fn code(self) -> i64 {
        REASONS
            .iter()
            .position(|reason| *reason == self)
            .unwrap_or(0) as i64
    }

    pub(crate) fn of_code(code: i64) -> StopReason {
        let place = usize::try_from(code).unwrap_or(usize::MAX);
        REASONS.get(place).copied().unwrap_or(StopReason::Statement)
    }
}

/// Stop of a view: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewStop {
    /// The offset of the entry that it did not come past.
    pub offset: u64,
    /// Reason for the stop.
    pub reason: StopReason,
    /// The message of the error, at most 512 bytes.
    pub detail: String,
}

impl ViewStop {
    /// Creates a stop. Cuts the message to the limit.
    pub fn new(offset: u64, reason: StopReason, detail: impl ToString) -> ViewStop {
        let mut detail = detail.to_string();
        let end = (0..=VIEW_ERROR_BYTES_MAX.min(detail.len()))
            .rev()
            .find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or(0));
        ViewStop {
            offset,
            reason,
            detail,
        }
    }
}

/// Reason why a request about a view is refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A name has 1 to 128 bytes without control characters.
    #[error("invalid name of a view")]
    InvalidName,
    /// It has no topics, or more than a view may have.
    #[error("a view has 1 to 1000 topics")]
    Topics,
    /// It has more statements, or longer ones, or there are more views than there may be.
    #[error("a limit of views is exceeded")]
    Limit,
    /// This version is below the one that is stored.
    #[error("a higher version of this view, {stored}, is stored")]
    Version {
        /// Stored version.
        stored: u32,
    },
    /// The same version was made from other topics or statements.
    #[error("this version of the view was made from other topics or statements")]
    Conflict,
    /// This version runs already.
    #[error("this version of the view is already running")]
    Runs,
    /// A statement that makes or reads tables failed.
    #[error("the statement failed: {0}")]
    Statement(String),
    /// A statement does what a view may not.
    #[error("a view may not do that: {0}")]
    Forbidden(String),
    /// The statements took too long.
    #[error("the statements took too long")]
    TooLong,
    /// There is no such view, or it was deleted, or a higher version has taken its place.
    #[error("there is no such view")]
    Unknown,
    /// The view is stopped.
    #[error("the view is stopped at offset {}: {}", .0.offset, .0.detail)]
    Stopped(ViewStop),
    /// It does not stand still.
    #[error("the view is not stopped")]
    NotStopped,
    /// The feed lacks what the version before had applied.
    #[error("the feed lacks {entries} entries that the previous version had applied")]
    Lacks {
        /// Number of entries.
        entries: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_error_is_cut_between_characters() {
        let said = "🐼".repeat(VIEW_ERROR_BYTES_MAX);
        let stop = ViewStop::new(1, StopReason::Refused, said);
        assert_eq!(stop.detail.len(), VIEW_ERROR_BYTES_MAX);
        let odd = ViewStop::new(1, StopReason::Refused, format!("a{}", "🐼".repeat(200)));
        assert_eq!(odd.detail.len(), 509);
    }

    #[test]
    fn a_reason_is_what_it_was_when_it_is_read_again() {
        for reason in REASONS {
            assert_eq!(StopReason::of_code(reason.code()), reason);
        }
    }
}
