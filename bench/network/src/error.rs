//! Why a scenario could not be run.

use p2panda_core::{DraftError, OperationError};
use p2panda_rpc::wire::Failure;

/// Why a scenario could not be run. That a node did too little is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, a socket or a process failed.
    #[error("input or output failed: {0}")]
    Io(#[from] std::io::Error),
    /// A line of another process is not what it should be.
    #[error("a line of another process cannot be read: {0}")]
    Line(#[from] serde_json::Error),
    /// A node refused a request.
    #[error("a node refused a request: {0}")]
    Refused(#[from] Failure),
    /// A node answered something else than what was asked.
    #[error("a node answered something else")]
    Answer,
    /// A node's process, or that of a router, ended.
    #[error("a process ended, its standard error tells why")]
    Ended,
    /// A program of the system failed.
    #[error("`{program}` failed: {message}")]
    Program {
        /// Program with its arguments.
        program: String,
        /// Output of the program.
        message: String,
    },
    /// Something that a scenario needs first did not happen in time.
    #[error("waited in vain for {0}")]
    Late(&'static str),
    /// The system has no /proc with what is measured.
    #[error("the figures of a process cannot be read from /proc")]
    Proc,
    /// More links than addresses.
    #[error("a network has at most 250 links")]
    Links,
    /// An operation could not be made.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// An operation could not be made.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// iroh or iroh-gossip by itself failed.
    #[error(transparent)]
    Gossip(Box<dyn std::error::Error + Send + Sync>),
    /// A task of the rig failed.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}
