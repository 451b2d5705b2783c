//! Why a workload could not be run.

use std::sync::Arc;

use thiserror::Error;

/// Why a workload could not be run.
#[derive(Debug, Error)]
pub enum Failure {
    /// A file or a process.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The node.
    #[error(transparent)]
    Node(#[from] p2panda::Error),
    /// The directory.
    #[error(transparent)]
    Open(#[from] p2panda_engine::OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] p2panda_store::StoreError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] p2panda_engine::Corrupt),
    /// The engine's thread.
    #[error(transparent)]
    EngineThread(#[from] Arc<p2panda_engine::Corrupt>),
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] p2panda_engine::thread::Stopped),
    /// A draft.
    #[error(transparent)]
    Draft(#[from] p2panda_core::DraftError),
    /// An operation.
    #[error(transparent)]
    Operation(#[from] p2panda_core::OperationError),
    /// A key.
    #[error(transparent)]
    Key(#[from] p2panda_core::KeyError),
    /// A signature, of the library itself.
    #[error(transparent)]
    Signature(#[from] ed25519_dalek::SignatureError),
    /// A line between two processes.
    #[error(transparent)]
    Line(#[from] serde_json::Error),
    /// A task.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    /// Operations by nobody.
    #[error("logs need at least one author")]
    NoAuthor,
    /// Not everything that was expected was stored.
    #[error("{stored} of {expected} operations were stored")]
    NotStored {
        /// Stored.
        stored: usize,
        /// Expected.
        expected: usize,
    },
    /// A node has no address.
    #[error("the node has no address")]
    NoAddress,
    /// A process of a node has ended.
    #[error("the process of a node ended")]
    Ended,
    /// A process of a node took too long.
    #[error("no answer within {seconds} s to {request}")]
    Late {
        /// Length of the wait.
        seconds: u64,
        /// For what.
        request: &'static str,
    },
    /// SQLite by itself.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// QUIC by itself.
    #[error(transparent)]
    Quic(Box<dyn std::error::Error + Send + Sync>),
    /// A thread panicked.
    #[error("a thread panicked")]
    Panicked,
}
