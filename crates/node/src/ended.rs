//! Reasons why a subscription has ended.

use std::sync::Arc;

use crate::Error;

/// Reason why there is nothing more to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The topic was left.
    Left,
    /// The node was shut down.
    Shutdown,
    /// The node has stopped by itself ([`crate::Health::Stopped`]), or the feed could not be read.
    /// In the latter case nothing was skipped: the next call tries again at the same place.
    Failed(Arc<Error>),
}
