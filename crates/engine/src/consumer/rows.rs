//! What is stored of a consumer.

/// A topic, by a number that the driver chose for it.
pub type TopicNumber = u32;

/// What is to be stored, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Positions that moved.
    pub places: Vec<(TopicNumber, PlaceRow)>,
    /// Open entries: their new row, or none any more.
    pub open: Vec<(TopicNumber, u64, Option<OpenRow>)>,
    /// New dead letters.
    pub dead: Vec<(TopicNumber, u64, DeadRow)>,
}

impl Changes {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.open.is_empty() && self.dead.is_empty()
    }
}

/// A consumer in a topic, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands.
    pub place: PlaceRow,
    /// What is open, by offset.
    pub open: Vec<(u64, OpenRow)>,
}

impl Stored {
    /// What is open at or below the position.
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

/// Where a consumer stands in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceRow {
    /// Everything at or below is settled, except what is open.
    pub position: u64,
    /// Nothing above was ever delivered.
    pub handed: u64,
}

/// An entry that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRow {
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it may be delivered again, on the driver's clock; `None`: at once.
    pub due_us: Option<u64>,
    /// What holds entries in order.
    pub key: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// Why.
    pub reason: DeadReason,
    /// How often it was delivered.
    pub count: u32,
    /// When, on the driver's clock.
    pub at_us: u64,
}

/// Why an entry is a dead letter (`docs/protocol/consumers.md#6`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadReason {
    /// It was delivered as often as is allowed.
    MaxDeliveries,
    /// The application said so, and why.
    Terminated(Box<str>),
    /// It was pruned before it was settled.
    Pruned,
}
