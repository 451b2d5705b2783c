//! How far a sync session has come, as everybody but its machine needs to know it.

/// How far a sync session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opened; it may bring operations that others depend on.
    CatchUp,
    /// Both sides are done, and all that was received is durable.
    Live,
    /// Over, however it ended.
    Ended,
}
