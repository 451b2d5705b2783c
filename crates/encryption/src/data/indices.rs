//! Members by number, and sets of them.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use crate::Member;
use crate::rows::{LoadError, Rows, Table, key, tag};
use crate::wire::{DecodeError, Reader, Wire, Writer};

/// Every member that ever held a secret, by a number that stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    members: Table<u32, Member>,
    numbers: BTreeMap<Member, u32>,
}

/// Members by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indices(Vec<u64>);

impl Roster {
    pub(super) fn number(&mut self, member: Member) -> u32 {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(member).or_insert(next);
        if number == next {
            self.members.insert(number, member);
        }
        number
    }

    pub(super) fn find(&self, member: &Member) -> Option<u32> {
        self.numbers.get(member).copied()
    }

    pub(super) fn number_all(&mut self, members: impl IntoIterator<Item = Member>) -> Indices {
        let mut all = Indices::default();
        for member in members {
            all.insert(self.number(member));
        }
        all
    }

    /// Those that have a number; the others hold nothing.
    pub(super) fn find_all(&self, members: &BTreeSet<Member>) -> Indices {
        let mut all = Indices::default();
        if members.len() < self.numbers.len() / 8 {
            let found = members.iter().filter_map(|member| self.find(member));
            found.for_each(|number| all.insert(number));
            return all;
        }
        // Both are sorted.
        let mut numbers = self.numbers.iter().peekable();
        for member in members {
            while numbers.next_if(|(known, _)| *known < member).is_some() {}
            if let Some((_, number)) = numbers.next_if(|(known, _)| *known == member) {
                all.insert(*number);
            }
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns `true` if every number up to the last one is there.
    pub(super) fn is_whole(&self) -> bool {
        let last = self.members.last().map_or(0, |last| *last as usize + 1);
        last == self.members.len() && last == self.numbers.len()
    }

    pub(super) fn rows(&self, out: &mut Rows) {
        self.members.rows(tag::INDEX, out);
    }

    pub(super) fn settle(&mut self) {
        self.members.settle();
    }

    pub(super) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (number, member) = (key(name)?, Member::decode_stored(value)?);
        self.numbers.insert(member, number);
        self.members.insert_stored(number, member);
        Ok(())
    }
}

impl Indices {
    pub(super) fn insert(&mut self, index: u32) {
        let (word, bit) = (index as usize / 64, index % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        let word = self.0.get(index as usize / 64);
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(super) fn is_subset(&self, other: &Indices) -> bool {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        self.0
            .iter()
            .zip(others)
            .all(|(one, other)| one & !other == 0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn extend(&mut self, other: &Indices) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (one, other) in self.0.iter_mut().zip(&other.0) {
            *one |= other;
        }
    }
}

/// The lowest numbers first, without zeros at the end.
impl Wire for Indices {
    fn write(&self, w: &mut Writer) {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        w.bytes(bytes.get(..len).unwrap_or(&[]));
    }

    fn read(r: &mut Reader<'_>) -> Result<Indices, DecodeError> {
        let mut words = Vec::new();
        for chunk in r.bytes()?.chunks(8) {
            let mut word = [0; 8];
            if let Some(word) = word.get_mut(..chunk.len()) {
                word.copy_from_slice(chunk);
            }
            words.push(u64::from_le_bytes(word));
        }
        Ok(Indices(words))
    }
}
