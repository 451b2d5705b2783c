//! The newest commits, kept in memory for readers directly behind the writer.

use alloc::collections::VecDeque;

use crate::limits::{RECENT_BYTES_MAX, RECENT_OPERATIONS_MAX};
use crate::{Entry, Page, Read};

/// The end of a numbered sequence: its last number, and as many of its last items as fit. Readers
/// further back read the store.
#[derive(Debug)]
pub struct Tail<T> {
    last: u64,
    /// All items above this number are here. `None`: nothing is known about the store.
    complete_above: Option<u64>,
    items: VecDeque<Item<T>>,
    bytes: usize,
}

#[derive(Debug)]
struct Item<T> {
    number: u64,
    bytes: usize,
    value: T,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self {
            last: 0,
            complete_above: None,
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Tail<T> {
    /// The last number, 0: none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Moves the end to this number; readers find the items in the store.
    pub fn skip_to(&mut self, number: u64) {
        if number > self.last {
            self.last = number;
            self.forget();
        }
    }

    /// Forgets the items, because stored ones changed.
    pub fn forget(&mut self) {
        self.items = VecDeque::new();
        self.bytes = 0;
        self.complete_above = Some(self.last);
    }

    /// Adds the next item. Ignores numbers at or below the end.
    pub fn push(&mut self, number: u64, bytes: usize, value: T) {
        if number <= self.last {
            return;
        }
        if bytes > RECENT_BYTES_MAX {
            return self.skip_to(number);
        }
        self.last = number;
        self.complete_above.get_or_insert(number - 1);
        self.bytes += bytes;
        if self.items.is_empty() {
            // Most topics have one message now and then.
            self.items.reserve_exact(1);
        }
        self.items.push_back(Item {
            number,
            bytes,
            value,
        });
        while self.items.len() > RECENT_OPERATIONS_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.items.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            self.complete_above = Some(oldest.number);
        }
    }

    /// All items above a number, with their bytes, or `None` if not all of them are here.
    pub fn above(&self, number: u64) -> Option<impl Iterator<Item = (&T, usize)>> {
        if self.complete_above? > number {
            return None;
        }
        let from = self.items.partition_point(|item| item.number <= number);
        let items = self.items.iter().skip(from);
        Some(items.map(|item| (&item.value, item.bytes)))
    }
}

impl Tail<Entry> {
    /// The page, if it is within the newest arrivals; otherwise read the store.
    pub fn page(&self, read: &Read) -> Option<Page> {
        let Read::Arrivals { after, bytes_max } = *read else {
            return None;
        };
        let mut page = Page {
            last_arrival: after,
            ..Page::default()
        };
        let mut left = bytes_max;
        for (entry, bytes) in self.above(after)? {
            if bytes > left && !page.entries.is_empty() {
                page.more = true;
                break;
            }
            left = left.saturating_sub(bytes);
            page.last_arrival = entry.arrival;
            page.entries.push(entry.clone());
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::{Draft, Header, SigningKey};

    fn above(tail: &Tail<u64>, number: u64) -> Option<Vec<u64>> {
        Some(tail.above(number)?.map(|(value, _)| *value).collect())
    }

    #[test]
    fn nothing_is_complete_before_anything_is_known() {
        let tail = Tail::default();
        assert_eq!((tail.last(), above(&tail, 0)), (0, None));
    }

    #[test]
    fn a_reader_before_the_first_known_item_uses_the_store() {
        let mut tail = Tail::default();
        tail.push(7, 1, 7);
        assert_eq!(above(&tail, 5), None);
        assert_eq!(above(&tail, 6), Some(vec![7]));
        tail.push(9, 1, 9);
        assert_eq!(above(&tail, 6), Some(vec![7, 9]));
        assert_eq!(above(&tail, 7), Some(vec![9]));
        assert_eq!(above(&tail, 8), Some(vec![9]));
        assert_eq!(above(&tail, 9), Some(vec![]));
    }

    #[test]
    fn a_reader_at_the_known_end_does_not_use_the_store() {
        let mut tail = Tail::default();
        tail.skip_to(100);
        assert_eq!(above(&tail, 99), None);
        assert_eq!(above(&tail, 100), Some(vec![]));
        tail.push(140, 1, 140);
        assert_eq!(above(&tail, 100), Some(vec![140]));
        tail.skip_to(120);
        assert_eq!(above(&tail, 100), Some(vec![140]));
        tail.skip_to(150);
        assert_eq!((tail.last(), above(&tail, 140)), (150, None));
    }

    #[test]
    fn items_at_or_below_the_known_end_are_not_added() {
        let mut tail = Tail::default();
        tail.skip_to(10);
        tail.push(10, 1, 10);
        tail.push(9, 1, 9);
        assert_eq!((tail.last(), above(&tail, 10)), (10, Some(vec![])));
    }

    #[test]
    fn a_change_sends_readers_to_the_store() {
        let mut tail = Tail::default();
        tail.skip_to(1);
        tail.push(2, 1, 2);
        tail.forget();
        assert_eq!((tail.last(), above(&tail, 1)), (2, None));
        tail.push(3, 1, 3);
        assert_eq!(above(&tail, 2), Some(vec![3]));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut tail = Tail::default();
        tail.skip_to(0);
        for number in 1..=RECENT_OPERATIONS_MAX as u64 + 3 {
            tail.push(number, 1, number);
        }
        assert_eq!(above(&tail, 2), None);
        assert_eq!(
            above(&tail, 3).map(|items| items.len()),
            Some(RECENT_OPERATIONS_MAX)
        );
        tail.push(100, RECENT_BYTES_MAX, 100);
        assert_eq!(above(&tail, 67), Some(vec![100]));
        assert_eq!(above(&tail, 66), None);
        tail.push(101, RECENT_BYTES_MAX + 1, 101);
        assert_eq!((tail.last(), above(&tail, 100)), (101, None));
        assert_eq!(above(&tail, 101), Some(vec![]));
    }

    fn arrivals(arrivals: &[u64]) -> Tail<Entry> {
        let header = Header::sign(&SigningKey::from_bytes(&[1; 32]), Draft::default()).unwrap();
        let mut tail = Tail::default();
        for arrival in arrivals {
            let entry = Entry {
                arrival: *arrival,
                header: header.clone(),
                body: None,
                absent: None,
            };
            tail.push(*arrival, 6, entry);
        }
        tail
    }

    fn page(tail: &Tail<Entry>, after: u64, bytes_max: usize) -> Option<(Vec<u64>, u64, bool)> {
        let page = tail.page(&Read::Arrivals { after, bytes_max })?;
        let arrivals = page.entries.iter().map(|entry| entry.arrival).collect();
        Some((arrivals, page.last_arrival, page.more))
    }

    #[test]
    fn the_newest_arrivals_are_a_page_without_the_store() {
        let tail = arrivals(&[4, 7, 9]);
        assert_eq!(page(&tail, 2, 100), None);
        assert_eq!(page(&tail, 3, 100), Some((vec![4, 7, 9], 9, false)));
        assert_eq!(page(&tail, 3, 12), Some((vec![4, 7], 7, true)));
        assert_eq!(page(&tail, 7, 1), Some((vec![9], 9, false)));
        assert_eq!(page(&tail, 9, 1), Some((vec![], 9, false)));
    }
}
