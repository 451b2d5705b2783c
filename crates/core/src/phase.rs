//! The phase of a sync session, as seen from outside its state machine.

/// The phase of a sync session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opened; it may bring operations that others depend on.
    CatchUp,
    /// Both sides are done, and all that was received is durable.
    Live,
    /// Ended, for any reason.
    Ended,
}
