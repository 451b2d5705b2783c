//! A range of logs: all whose key begins with the same bits (`docs/protocol/ranges.md#2`).

use core::cmp::Ordering;
use core::fmt;

use crate::{LogId, VerifyingKey};

/// Bytes of the key of a log: author, then log id.
const KEY_BYTES: usize = 64;
/// Bits of the key of a log.
const KEY_BITS: u16 = 8 * KEY_BYTES as u16;

/// The key of a log, by which logs are ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    pub(super) fn new(author: &VerifyingKey, log: &LogId) -> Key {
        let mut bytes = [0; KEY_BYTES];
        let (front, back) = bytes.split_at_mut(32);
        front.copy_from_slice(author.as_bytes());
        back.copy_from_slice(log.as_bytes());
        Key(bytes)
    }

    /// Bit 0 is the highest one of the first byte.
    pub(super) fn bit(&self, at: u16) -> bool {
        bit(&self.0, at)
    }

    /// Returns the number of leading bits that the two share.
    pub(super) fn shared_bits(&self, other: &Key) -> u16 {
        let differs = self
            .0
            .iter()
            .zip(&other.0)
            .position(|(one, two)| one != two);
        differs.map_or(KEY_BITS, |at| {
            let byte = |key: &Key| key.0.get(at).copied().unwrap_or_default();
            8 * at as u16 + (byte(self) ^ byte(other)).leading_zeros() as u16
        })
    }
}

fn bit(bytes: &[u8], at: u16) -> bool {
    let byte = bytes.get(usize::from(at / 8)).copied().unwrap_or_default();
    byte & (0x80 >> (at % 8)) != 0
}

/// The leading bits that the keys of a range share. A key is the author and then the log id, so a
/// prefix has at most 512 bits; that of no bits is the range of everything. Ranges that are apart
/// are ordered as their logs are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Bits behind those that count are 0.
    bytes: [u8; KEY_BYTES],
    bits: u16,
}

impl Prefix {
    /// The range of all logs.
    pub const WHOLE: Prefix = Prefix {
        bytes: [0; KEY_BYTES],
        bits: 0,
    };
    /// Bits of the longest prefix, which is one log.
    pub const BITS: u16 = KEY_BITS;

    /// Takes the bits from the front of `bytes`, which has exactly as many bytes as they need.
    /// `None` if it has not, if there are more than [`Prefix::BITS`], or if a bit behind them
    /// is set.
    pub fn new(bits: u16, bytes: &[u8]) -> Option<Prefix> {
        let mut prefix = Prefix {
            bits,
            ..Prefix::WHOLE
        };
        if bits > Prefix::BITS || bytes.len() != usize::from(bits.div_ceil(8)) {
            return None;
        }
        prefix.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let clean = (bits..bits.next_multiple_of(8)).all(|at| !bit(&prefix.bytes, at));
        clean.then_some(prefix)
    }

    /// Number of bits.
    pub fn bits(&self) -> u16 {
        self.bits
    }

    /// The bits, in as many bytes as they need; what is left of the last one is 0.
    pub fn as_bytes(&self) -> &[u8] {
        let bytes = usize::from(self.bits.div_ceil(8));
        self.bytes.get(..bytes).unwrap_or_default()
    }

    /// This prefix with the bits of another behind it; `None` if they are too many.
    pub fn join(&self, tail: &Prefix) -> Option<Prefix> {
        let mut joined = *self;
        for at in 0..tail.bits {
            joined = joined.push(bit(&tail.bytes, at))?;
        }
        Some(joined)
    }

    /// This prefix with the lowest `count` bits of a number after it, the highest of them first;
    /// `None` if they are too many.
    pub fn child(&self, count: u8, number: u8) -> Option<Prefix> {
        let mut child = *self;
        for at in (0..count).rev() {
            child = child.push(number.checked_shr(u32::from(at)).unwrap_or(0) & 1 == 1)?;
        }
        Some(child)
    }

    /// Returns the rest of this prefix behind `front`, with which it begins.
    pub fn behind(&self, front: &Prefix) -> Prefix {
        let mut rest = Prefix::WHOLE;
        for at in front.bits..self.bits {
            // It has fewer bits than this one.
            rest = rest.push(bit(&self.bytes, at)).unwrap_or(rest);
        }
        rest
    }

    /// The ranges that, with `self`, make up the range of `front`, with which this prefix begins.
    pub fn beside(&self, front: &Prefix) -> impl Iterator<Item = Prefix> + use<> {
        let this = *self;
        (front.bits..this.bits).filter_map(move |at| {
            let start = this.truncate(at);
            start.push(!bit(&this.bytes, at))
        })
    }

    /// Returns `true` if all logs of the other range are in this one.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.bits <= other.bits && other.truncate(self.bits) == *self
    }

    /// Returns `true` if this range ends before the other one begins.
    pub fn is_before(&self, other: &Prefix) -> bool {
        let bits = self.bits.min(other.bits);
        self.truncate(bits).bytes < other.truncate(bits).bytes
    }

    /// Returns `true` if a log is in the range.
    pub fn has(&self, author: &VerifyingKey, log: &LogId) -> bool {
        self.place_of(&Key::new(author, log)) == Ordering::Equal
    }

    /// Compares a key with the range: before, in or behind it.
    pub(super) fn place_of(&self, key: &Key) -> Ordering {
        let key = Prefix {
            bytes: key.0,
            bits: KEY_BITS,
        };
        key.truncate(self.bits).bytes.cmp(&self.bytes)
    }

    pub(super) fn bit(&self, at: u16) -> bool {
        bit(&self.bytes, at)
    }

    /// The first bits of a key.
    pub(super) fn of(key: &Key, bits: u16) -> Prefix {
        let whole = Prefix {
            bytes: key.0,
            bits: KEY_BITS,
        };
        whole.truncate(bits)
    }

    fn truncate(&self, bits: u16) -> Prefix {
        let mut bytes = self.bytes;
        let full = usize::from(bits / 8);
        for (at, byte) in bytes.iter_mut().enumerate().skip(full) {
            let kept = if at == full {
                !(0xff_u8 >> (bits % 8))
            } else {
                0
            };
            *byte &= kept;
        }
        Prefix { bytes, bits }
    }

    fn push(mut self, one: bool) -> Option<Prefix> {
        let byte = self.bytes.get_mut(usize::from(self.bits / 8))?;
        if one {
            *byte |= 0x80 >> (self.bits % 8);
        }
        self.bits += 1;
        Some(self)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix(")?;
        (0..self.bits).try_for_each(|at| write!(f, "{}", u8::from(self.bit(at))))?;
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.chars()
            .fold(Prefix::WHOLE, |all, one| all.push(one == '1').unwrap())
    }

    #[test]
    fn a_prefix_with_wrong_bytes_is_refused() {
        assert_eq!(Prefix::new(0, &[]), Some(Prefix::WHOLE));
        assert_eq!(Prefix::new(3, &[0b1010_0000]), Some(prefix("101")));
        for (bits, bytes) in [(0, &[0][..]), (3, &[]), (3, &[0b1011_0000]), (3, &[0, 0])] {
            assert_eq!(Prefix::new(bits, bytes), None, "{bits} {bytes:?}");
        }
        assert!(Prefix::new(512, &[9; 64]).is_some());
        assert_eq!(Prefix::new(513, &[9; 65]), None);
        assert_eq!(Prefix::new(512, &[9; 64]).unwrap().child(1, 0), None);
    }

    #[test]
    fn the_parts_of_a_range_are_sorted_and_cover_it() {
        let range = prefix("1010");
        assert_eq!(range.child(3, 0b110), Some(prefix("1010110")));
        assert_eq!(range.join(&prefix("110")), Some(prefix("1010110")));
        assert_eq!(prefix("1010110").behind(&range), prefix("110"));
        let beside: Vec<Prefix> = prefix("1010110").beside(&range).collect();
        let expected = ["10100", "101010", "1010111"].map(prefix);
        assert_eq!(beside, expected);
        assert!(range.covers(&range) && range.covers(&prefix("10101")));
        assert!(!range.covers(&prefix("101")) && !range.covers(&prefix("10110")));
        assert!(prefix("10100").is_before(&prefix("101010")));
        assert!(!prefix("1010").is_before(&prefix("10101")));
        assert!(!prefix("10101").is_before(&prefix("1010")));
        assert_eq!(format!("{range:?}"), "Prefix(1010)");
    }

    #[test]
    fn keys_are_compared_bit_by_bit_from_the_first() {
        let key = |author: u8, log: u8| {
            let author = VerifyingKey::from_bytes_unchecked([author; 32]);
            Key::new(&author, &LogId::from_bytes([log; 32]))
        };
        assert_eq!(key(1, 2).shared_bits(&key(1, 2)), 512);
        assert_eq!(key(1, 2).shared_bits(&key(1, 3)), 256 + 7);
        assert_eq!(key(0x80, 2).shared_bits(&key(0, 2)), 0);
        assert!(Prefix::of(&key(0x80, 2), 9).bit(0));
        assert_eq!(prefix("1").place_of(&key(0x7f, 0)), Ordering::Less);
        assert_eq!(prefix("01").place_of(&key(0x7f, 0)), Ordering::Equal);
        assert_eq!(prefix("00").place_of(&key(0x7f, 0)), Ordering::Greater);
    }
}
