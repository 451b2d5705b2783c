use std::path::PathBuf;

/// Why a step of a case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was waited for did not come in time.
    #[error("gave up waiting for {0}")]
    Timeout(&'static str),
    /// Our node answered a request with an error.
    #[error("our node refused: {kind}: {message}")]
    Refused {
        /// The kind of the error, a stable name.
        kind: String,
        /// What our node says about it.
        message: String,
    },
    /// Our node's process ended, or closed its output, with a request open.
    #[error("our node's process is gone")]
    Gone,
    /// Our node's process said something that is not in its protocol.
    #[error("our node's process said what cannot be read")]
    Protocol(#[from] serde_json::Error),
    /// A program of ours could not be built; cargo's output says why.
    #[error("cargo could not build our program in {0}")]
    Build(PathBuf),
    /// The published crates report an error.
    #[error("the published node failed")]
    Published(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system refused.
    #[error("the operating system refused")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Wraps an error of the published crates.
    pub fn published(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Published(Box::new(error))
    }
}
