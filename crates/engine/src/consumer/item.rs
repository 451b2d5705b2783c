//! An entry that is not settled.

use super::delivery::ReaderNumber;
use super::rows::OpenRow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub stand: Stand,
    /// Number of deliveries.
    pub deliveries: u32,
    /// The delivery that is about to be made, where that is stored first.
    pub marked: u32,
    pub key: u64,
    /// It was given back to be delivered again, and was not since.
    pub returned: bool,
    /// As it is stored, if it is.
    pub stored: Option<OpenRow>,
}

/// State of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It can be given out.
    Ready,
    /// It waits for the one before it of its key.
    Behind,
    /// A reader has it.
    Flight {
        reader: ReaderNumber,
        delivery: u64,
        until_us: Option<u64>,
    },
    /// It was given back.
    Delayed { until_us: u64 },
}

impl Stand {
    /// Returns the time at which its wait or delay ends.
    pub fn until_us(self) -> Option<u64> {
        match self {
            Stand::Flight { until_us, .. } => until_us,
            Stand::Delayed { until_us } => Some(until_us),
            Stand::Ready | Stand::Behind => None,
        }
    }
}

impl Item {
    pub fn new(deliveries: u32) -> Self {
        Self {
            stand: Stand::Ready,
            deliveries,
            marked: 0,
            key: 0,
            returned: false,
            stored: None,
        }
    }

    /// One that was a dead letter; it has to be stored as open.
    pub fn redriven() -> Self {
        Self::new(0)
    }

    pub fn load(row: &OpenRow, now_us: u64) -> Self {
        let stand = match row.due_us {
            Some(until_us) if until_us > now_us => Stand::Delayed { until_us },
            _ => Stand::Ready,
        };
        Self {
            stand,
            deliveries: row.deliveries,
            marked: 0,
            key: row.key,
            returned: row.due_us.is_some(),
            stored: Some(*row),
        }
    }

    /// Returns the row to store.
    pub fn row(&self) -> OpenRow {
        let due_us = match self.stand {
            Stand::Delayed { until_us } => Some(until_us),
            // Its delay is over.
            _ => self.returned.then_some(0),
        };
        OpenRow {
            deliveries: self.deliveries.max(self.marked),
            due_us,
            key: self.key,
        }
    }
}
