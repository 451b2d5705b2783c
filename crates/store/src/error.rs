//! The shape that the errors of this crate share.

use std::fmt;

/// Error of another library.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure of a kind. What caused it is behind
/// [`source`](std::error::Error::source) and at the end of the message; its type may change.
#[derive(Debug)]
pub struct ErrorOf<K> {
    kind: K,
    source: Option<Source>,
}

impl<K> ErrorOf<K> {
    /// Returns the kind of the error.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// An error of a kind, without a cause.
    pub fn new(kind: K) -> ErrorOf<K> {
        ErrorOf { kind, source: None }
    }

    pub(crate) fn caused_by(kind: K, source: impl Into<Source>) -> ErrorOf<K> {
        let source = Some(source.into());
        ErrorOf { kind, source }
    }

    pub(crate) fn map<L>(self, kind: impl FnOnce(K) -> L) -> ErrorOf<L> {
        ErrorOf {
            kind: kind(self.kind),
            source: self.source,
        }
    }
}

impl<K: fmt::Display> fmt::Display for ErrorOf<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{}: {source}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl<K: fmt::Debug + fmt::Display> std::error::Error for ErrorOf<K> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source: &(dyn std::error::Error + 'static) = &**self.source.as_ref()?;
        Some(source)
    }
}
