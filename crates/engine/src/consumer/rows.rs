//! The stored rows of a consumer.

pub use p2panda_store::{DeadReason, DeadRow, OpenRow, PlaceRow};

/// A topic, by a number that the driver chose for it.
pub type TopicNumber = u32;

/// Changes to store in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Positions that moved.
    pub places: Vec<(TopicNumber, PlaceRow)>,
    /// The highest offsets that were given out before a seek.
    pub seen: Vec<(TopicNumber, u64)>,
    /// Open entries: their new row, or none any more.
    pub open: Vec<(TopicNumber, u64, Option<OpenRow>)>,
    /// New dead letters.
    pub dead: Vec<(TopicNumber, u64, DeadRow)>,
}

impl Changes {
    /// Returns `true` if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
            && self.seen.is_empty()
            && self.open.is_empty()
            && self.dead.is_empty()
    }
}

/// A consumer in a topic, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Position in the topic.
    pub place: PlaceRow,
    /// Open entries, by offset.
    pub open: Vec<(u64, OpenRow)>,
    /// The highest offset that may have been given out, where that is above what the place says.
    pub seen: u64,
}

impl Stored {
    /// Returns the open entries at or below the position.
    pub(super) fn behind(&self) -> impl Iterator<Item = (u64, OpenRow)> + '_ {
        let position = self.place.position;
        let rows = self.open.iter().copied();
        rows.filter(move |(offset, _)| *offset <= position)
    }

    pub(super) fn ahead(&self) -> impl Iterator<Item = (u64, OpenRow)> + '_ {
        let position = self.place.position;
        let rows = self.open.iter().copied();
        rows.filter(move |(offset, _)| *offset > position)
    }
}
