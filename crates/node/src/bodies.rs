//! Bodies that are not here: what the store says of them, as sessions hear it
//! (`docs/protocol/streams.md#4.6`).

use std::time::{SystemTime, UNIX_EPOCH};

use p2panda_core::limits::{BODIES_ASKED_MAX, HEADER_HELD_BACK_MAX};
use p2panda_core::{Timestamp, Topic};
use p2panda_protocol::sync::{self, Gap, Look, Wanted};
use p2panda_store::{Absent, Reader, StoreError, WantedLog};

pub(crate) fn gaps(wanted: &[WantedLog]) -> Vec<Gap> {
    let gaps = wanted.iter().map(|log| Gap {
        author: log.author,
        seq: log.seq,
    });
    gaps.collect()
}

pub(crate) fn wanted(reader: &Reader, topic: &Topic, look: Look) -> Result<Wanted, StoreError> {
    Ok(match look {
        Look::After(after) => {
            let page = reader.wanted_page(topic, after, BODIES_ASKED_MAX)?;
            Wanted {
                ranges: page.ranges,
                more: page.more,
            }
        }
        Look::Of(ranges) => Wanted {
            ranges: reader.wanted_of(topic, &ranges, BODIES_ASKED_MAX)?,
            more: false,
        },
    })
}

/// A header is held back while its body is wanted, but not for ever.
pub(crate) fn absent(absent: Absent) -> sync::Absent {
    let overdue = |since: Timestamp| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let held_us = now.as_micros().saturating_sub(since.as_micros().into());
        held_us > HEADER_HELD_BACK_MAX.as_micros()
    };
    match absent {
        Absent::Dropped => sync::Absent::Dropped,
        Absent::Wanted { since: Some(since) } if overdue(since) => sync::Absent::Overdue,
        Absent::Wanted { .. } => sync::Absent::Wanted,
    }
}
