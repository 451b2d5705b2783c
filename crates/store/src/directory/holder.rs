use std::fmt;

/// The process that holds a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process id, if it is known.
    pub pid: Option<u32>,
    /// The name of its command, if it is known.
    pub command: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, self.pid) {
            (Some(command), Some(pid)) => write!(f, "{command} (process {pid})"),
            (None, Some(pid)) => write!(f, "process {pid}"),
            _ => write!(f, "another process"),
        }
    }
}
