//! A consumer in one topic: its position, what is open, and what of it is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::delivery::ReaderNumber;
use super::item::{Item, Stand};
use super::rows::{Changes, DeadReason, DeadRow, OpenRow, PlaceRow, Stored, TopicNumber};
use super::sights::Sights;

#[derive(Debug)]
pub(super) struct Place {
    stored: PlaceRow,
    /// As it was when the consumer was loaded: what is not above may have been delivered by a process
    /// before.
    handed_before: u64,
    handed: u64,
    /// The highest offset that was delivered, in this process or one before.
    given: u64,
    /// The highest offset that may have been given out before a seek, and whether it is stored.
    seen: u64,
    seen_stored: u64,
    /// Ends of the feed when parts of it were read.
    sights: Sights,
    /// The last offset that was offered.
    read: u64,
    /// The highest offset that was settled by itself.
    settled: u64,
    items: BTreeMap<u64, Item>,
    /// Open entries that are not reached yet: they were delivered, and nothing behind them was settled.
    ahead: BTreeMap<u64, OpenRow>,
    /// Offsets whose row may have to change.
    touched: BTreeSet<u64>,
    /// Rows of entries that are settled.
    gone: BTreeSet<u64>,
    dead: Vec<(u64, DeadRow)>,
}

impl Place {
    pub fn load(stored: &Stored) -> Self {
        Self {
            stored: stored.place,
            handed_before: stored.place.handed,
            handed: stored.place.handed,
            given: stored.place.handed,
            seen: stored.seen,
            seen_stored: stored.seen,
            sights: Sights::default(),
            read: stored.place.position,
            settled: stored.place.position,
            items: BTreeMap::new(),
            ahead: stored.ahead().collect(),
            touched: BTreeSet::new(),
            gone: BTreeSet::new(),
            dead: Vec::new(),
        }
    }

    pub fn read(&self) -> u64 {
        self.read
    }

    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.items.keys().copied()
    }

    pub fn holds(&self, offset: u64) -> bool {
        self.items.contains_key(&offset)
    }

    /// Reads on to an offset. Its entry as it was left; `None` if it was read already.
    pub fn reach(&mut self, offset: u64, now_us: u64) -> Option<Item> {
        if offset <= self.read {
            return None;
        }
        self.pass(offset.saturating_sub(1), now_us);
        self.read = offset;
        let row = self.ahead.remove(&offset);
        let deliveries = u32::from(offset <= self.handed_before);
        Some(row.map_or_else(|| Item::new(deliveries), |row| Item::load(&row, now_us)))
    }

    /// Notes that what lies above an offset is read from a feed that reaches this far.
    pub fn sight(&mut self, after: u64, feed_end: u64) {
        // What was given out before may have been another entry of the same operation.
        let given = after.max(self.handed_before).max(self.seen);
        self.sights.add(self.read, given, feed_end);
    }

    /// Returns `true` if the first place of an operation was found empty here, since it had this
    /// one by then.
    pub fn has_passed(&self, first: u64, offset: u64) -> bool {
        self.sights.hold(first, offset)
    }

    /// Reads on to an offset, up to which nothing is left in the feed.
    pub fn pass(&mut self, offset: u64, now_us: u64) {
        self.read = self.read.max(offset);
        while let Some(entry) = self.ahead.first_entry()
            && *entry.key() <= offset
        {
            let (lost, row) = entry.remove_entry();
            let (reason, count) = (DeadReason::Pruned, row.deliveries);
            let at_us = now_us;
            self.gone.insert(lost);
            self.bury(
                lost,
                DeadRow {
                    reason,
                    count,
                    at_us,
                },
            );
        }
    }

    /// The entry is not wanted: what is stored of it goes.
    pub fn decline(&mut self, offset: u64, item: &Item) {
        if item.stored.is_some() {
            self.gone.insert(offset);
        }
    }

    pub fn insert(&mut self, offset: u64, item: Item) {
        self.gone.remove(&offset);
        self.items.insert(offset, item);
        self.touch(offset, &item);
    }

    /// The row of an entry may have to change. One that has none gets none as long as it is above the
    /// position and was delivered once at most: that a position passes it is noticed by itself.
    fn touch(&mut self, offset: u64, item: &Item) {
        let has_none = item.stored.is_none() && item.deliveries <= 1 && !item.returned;
        if !has_none || offset <= self.settled {
            self.touched.insert(offset);
        }
    }

    pub fn take(&mut self, offset: u64) -> Option<Item> {
        let item = self.items.remove(&offset)?;
        self.touched.remove(&offset);
        if item.stored.is_some() {
            self.gone.insert(offset);
        }
        Some(item)
    }

    pub fn settled(&mut self, offset: u64) {
        self.settled = self.settled.max(offset);
    }

    pub fn bury(&mut self, offset: u64, row: DeadRow) {
        self.dead.push((offset, row));
    }

    /// Returns the state of an entry, and the number of its deliveries.
    pub fn stand(&self, offset: u64) -> Option<(Stand, u32)> {
        let item = self.items.get(&offset)?;
        Some((item.stand, item.deliveries))
    }

    /// It is to be delivered again, also if those around it are settled.
    pub fn returned(&mut self, offset: u64) {
        if let Some(item) = self.items.get_mut(&offset) {
            item.returned = true;
        }
    }

    pub fn change(&mut self, offset: u64, stand: Stand) {
        if let Some(item) = self.items.get_mut(&offset) {
            item.stand = stand;
            self.touched.insert(offset);
        }
    }

    /// An entry that waited for its key can be given out. Whether it did.
    pub fn come_forward(&mut self, offset: u64) -> bool {
        let item = self.items.get_mut(&offset);
        let Some(item) = item.filter(|item| item.stand == Stand::Behind) else {
            return false;
        };
        item.stand = Stand::Ready;
        true
    }

    pub fn deliver(&mut self, offset: u64, stand: Stand) -> Option<u32> {
        let item = self.items.get_mut(&offset)?;
        item.deliveries = item.deliveries.saturating_add(1);
        item.returned = false;
        item.stand = stand;
        let item = *item;
        self.handed = self.handed.max(offset);
        self.given = self.given.max(offset);
        self.touch(offset, &item);
        Some(item.deliveries)
    }

    /// Sets a later end of the wait. Returns the one of before.
    pub fn prolong(&mut self, offset: u64, later_us: u64) -> Option<u64> {
        match &mut self.items.get_mut(&offset)?.stand {
            Stand::Flight { until_us, .. } => until_us.replace(later_us),
            _ => None,
        }
    }

    pub fn held_by(&self, by: ReaderNumber) -> impl Iterator<Item = u64> + '_ {
        let held = self.items.iter().filter(
            move |(_, item)| matches!(item.stand, Stand::Flight { reader, .. } if reader == by),
        );
        held.map(|(offset, _)| *offset)
    }

    /// Returns the offsets below this one that were delivered.
    pub fn given_below(&self, offset: u64) -> Vec<u64> {
        let below = self.items.range(..offset);
        let given = below.filter(|(_, item)| item.deliveries > 0);
        given.map(|(offset, _)| *offset).collect()
    }

    /// Returns `true` if everything at or below an offset was delivered, or is settled.
    pub fn has_given(&self, offset: u64) -> bool {
        offset <= self.given.max(self.position())
    }

    /// Returns the offsets up to this one that were delivered, without what was returned since.
    pub fn given_until(&self, offset: u64) -> Vec<u64> {
        let until = self.items.range(..=offset);
        let given = until.filter(|(_, item)| item.deliveries > 0 && !item.returned);
        given.map(|(offset, _)| *offset).collect()
    }

    /// Returns `true` if what is stored would forget a delivery of this entry.
    pub fn marks_first(&self, offset: u64, deliveries_max: Option<u32>) -> bool {
        match self.items.get(&offset) {
            Some(item) if item.deliveries == 0 => offset > self.stored.handed,
            Some(item) => {
                let counted = item.stored.map_or(1, |row| row.deliveries);
                deliveries_max.is_some() && counted <= item.deliveries
            }
            None => false,
        }
    }

    /// The delivery of this entry is about to be made.
    pub fn mark(&mut self, offset: u64, exactly: bool) {
        let until = if exactly { offset } else { self.read };
        self.handed = self.handed.max(until).max(offset);
        if let Some(item) = self.items.get_mut(&offset)
            && item.deliveries > 0
        {
            item.marked = item.deliveries.saturating_add(1);
            self.touched.insert(offset);
        }
    }

    pub fn open_behind(&self) -> usize {
        self.items.range(..=self.position()).count()
    }

    pub fn in_flight(&self) -> usize {
        let items = self.items.values();
        let held = items.filter(|item| matches!(item.stand, Stand::Flight { .. }));
        held.count()
    }

    /// Closes the place. Marked entries that were not delivered do not count.
    pub fn close(&mut self) {
        self.handed = self.given;
    }

    pub fn seek(&mut self, after: u64) {
        self.gone
            .extend(std::mem::take(&mut self.ahead).into_keys());
        self.seen = self.seen.max(self.handed).max(self.given);
        self.sights = Sights::default();
        self.read = after;
        self.settled = after;
        self.handed = after;
        self.given = after;
        self.handed_before = after;
    }

    /// Up to where everything is settled, except what is open.
    pub fn position(&self) -> u64 {
        match self.items.first_key_value() {
            None => self.read,
            Some((lowest, _)) => self.settled.max(lowest.saturating_sub(1)),
        }
    }

    pub fn changes(&mut self, topic: TopicNumber, changes: &mut Changes) {
        let position = self.position().max(self.settled);
        let handed = self.handed.max(position);
        let row = PlaceRow { position, handed };
        if row != self.stored {
            // What is open below the position from now on has to be stored.
            let below = self.items.range(..=position);
            let unsaved = below.filter(|(_, item)| item.stored.is_none());
            self.touched.extend(unsaved.map(|(offset, _)| *offset));
            self.stored = row;
            changes.places.push((topic, row));
        }
        if self.seen != self.seen_stored {
            self.seen_stored = self.seen;
            changes.seen.push((topic, self.seen));
        }
        for offset in std::mem::take(&mut self.gone) {
            changes.open.push((topic, offset, None));
        }
        for offset in std::mem::take(&mut self.touched) {
            let Some(item) = self.items.get_mut(&offset) else {
                continue;
            };
            let row = item.row();
            let carries = offset <= position || item.returned || row.deliveries > 1;
            if item.stored != Some(row) && (carries || item.stored.is_some()) {
                item.stored = Some(row);
                changes.open.push((topic, offset, Some(row)));
            }
        }
        for (offset, row) in self.dead.drain(..) {
            changes.dead.push((topic, offset, row));
        }
    }
}
