//! Content whose verdict has changed and that was not judged again yet
//! (`docs/protocol/streams.md#7`).

use std::collections::BTreeMap;

use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Row;
use zeroize::Zeroizing;

/// Part of an author's content log whose verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub topic: Topic,
    pub author: VerifyingKey,
    /// First seq that is left to judge.
    pub first: u32,
    pub end: u32,
    pub stands: bool,
}

/// Ranges that are not finished, in the order in which they are judged.
#[derive(Default)]
pub(crate) struct Ranges {
    left: BTreeMap<u64, Range>,
    changed: Vec<u64>,
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Adds a range. It replaces those of the same log that it contains.
    pub fn add(&mut self, range: Range) {
        let covers = |other: &Range| {
            let is_same = (other.topic, other.author) == (range.topic, range.author);
            is_same && other.first >= range.first && other.end <= range.end
        };
        let left = self.left.iter();
        let covered = left.filter_map(|(number, other)| covers(other).then_some(*number));
        for number in covered.collect::<Vec<_>>() {
            self.left.remove(&number);
            self.changed.push(number);
        }
        let last = self.left.last_key_value().map_or(0, |(number, _)| *number);
        self.left.insert(last + 1, range);
        self.changed.push(last + 1);
    }

    /// Returns the first range, with its number.
    pub fn first(&self) -> Option<(u64, Range)> {
        let (number, range) = self.left.first_key_value()?;
        Some((*number, *range))
    }

    /// Continues a range at `from`, and removes it when it is finished.
    pub fn go_on(&mut self, number: u64, from: u32) {
        if let Some(range) = self.left.get_mut(&number) {
            range.first = from;
            if from >= range.end {
                self.left.remove(&number);
            }
            self.changed.push(number);
        }
    }

    /// Loads a stored row.
    pub fn load(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let number = u64::from_be_bytes(name.try_into().ok()?);
        let (topic, rest) = value.split_first_chunk::<32>()?;
        let (author, rest) = rest.split_first_chunk::<32>()?;
        let (first, rest) = rest.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<4>()?;
        let [stands @ (0 | 1)] = rest else {
            return None;
        };
        let range = Range {
            topic: Topic::from_bytes(*topic),
            author: VerifyingKey::from_bytes_unchecked(*author),
            first: u32::from_be_bytes(*first),
            end: u32::from_be_bytes(*end),
            stands: *stands == 1,
        };
        self.left.insert(number, range);
        Some(())
    }

    /// Takes the rows that have changed, under keys that begin with `kind`.
    pub fn take_changed(&mut self, kind: u8) -> Vec<Row> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let row = |number: u64| Row {
            key: [&[kind][..], &number.to_be_bytes()].concat(),
            value: self.left.get(&number).map(Range::write),
        };
        changed.into_iter().map(row).collect()
    }
}

impl Range {
    fn write(&self) -> Zeroizing<Vec<u8>> {
        let parts = [
            &self.topic.as_bytes()[..],
            self.author.as_bytes(),
            &self.first.to_be_bytes(),
            &self.end.to_be_bytes(),
            &[u8::from(self.stands)],
        ];
        Zeroizing::new(parts.concat())
    }
}
