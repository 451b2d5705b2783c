//! Errors of a run, apart from what it measures.

use std::io;

/// Why a run could not be carried out. What the node did wrong is in the report instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, a socket or a process failed.
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    /// A line between the two processes is not what it should be.
    #[error("a line of the node's process cannot be read: {0}")]
    Line(#[from] serde_json::Error),
    /// An honest node failed.
    #[error("an honest node failed: {0}")]
    Node(#[from] p2panda::Error),
    /// An attacker's endpoint did not start.
    #[error("an attacker's endpoint did not start")]
    Endpoint,
    /// The node's process ended.
    #[error("the node's process ended")]
    Ended,
    /// The node's process could not do what it was asked.
    #[error("the node's process refused a request, its standard error tells why")]
    Refused,
    /// Something that must come first did not happen in time.
    #[error("waited in vain for {0}")]
    Late(&'static str),
    /// The system has no /proc with what is measured.
    #[error("the figures of the process cannot be read from /proc")]
    Proc,
}

/// A node ended what an attacker was doing: the usual end of an attack.
#[derive(Debug)]
pub(crate) struct Stopped;

impl<E: std::error::Error> From<E> for Stopped {
    fn from(_: E) -> Stopped {
        Stopped
    }
}
