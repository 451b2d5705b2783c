//! Text, slice and serde forms shared by all types of a fixed number of bytes.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};
use thiserror::Error;

use crate::key::KeyError;

/// Reason why text or a slice is not a value of a fixed-size type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The number of bytes is wrong.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes of the type.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The number of characters in a text is wrong.
    #[error("expected {expected} hexadecimal digits, found {found} characters")]
    Digits {
        /// Hexadecimal digits of the type.
        expected: usize,
        /// Characters given.
        found: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("character {place} is not a hexadecimal digit")]
    Digit {
        /// Index of the item, from 1 on.
        place: usize,
    },
    /// The bytes are not a verifying key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Copies a slice of exactly `N` bytes.
pub(crate) fn from_slice<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ParseError> {
    <[u8; N]>::try_from(bytes).map_err(|_| ParseError::Length {
        expected: N,
        found: bytes.len(),
    })
}

/// Reads exactly `2 * N` hexadecimal digits of either case.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseError> {
    let expected = 2 * N;
    if text.len() != expected || !text.is_ascii() {
        let found = text.chars().count();
        if found != expected {
            return Err(ParseError::Digits { expected, found });
        }
    }
    let mut bytes = [0; N];
    let mut digits = text.chars().zip(1..);
    for byte in &mut bytes {
        for (digit, place) in digits.by_ref().take(2) {
            let digit = digit.to_digit(16).ok_or(ParseError::Digit { place })?;
            *byte = (*byte << 4) | digit as u8;
        }
    }
    Ok(bytes)
}

/// Bytes that are written as hexadecimal digits at once.
const HEX_BYTES: usize = 32;

/// Writes lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; 2 * HEX_BYTES];
    for bytes in bytes.chunks(HEX_BYTES) {
        let mut length = 0;
        for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
            for (digit, half) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = half + if half < 10 { b'0' } else { b'a' - 10 };
            }
            length += 2;
        }
        let written = text.get(..length).unwrap_or_default();
        f.write_str(core::str::from_utf8(written).map_err(|_| fmt::Error)?)?;
    }
    Ok(())
}

/// Hex text for people, a byte string for machines.
pub(crate) fn serialize<S: Serializer>(
    bytes: &[u8],
    text: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(text)
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// The inverse of [`serialize`].
pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Fixed)
    } else {
        deserializer.deserialize_bytes(Fixed)
    }
}

struct Fixed<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Fixed<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        from_hex(text).map_err(E::custom)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        from_slice(bytes).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
        let mut bytes = [0; N];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = seq
                .next_element()?
                .ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        Ok(bytes)
    }
}

/// Gives a tuple struct of `[u8; N]` with a `from_array` its accessor, text, slice and serde form.
macro_rules! fixed_bytes {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The bytes as they cross the wire.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::fixed::write_hex(&self.0, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::ParseError;

            fn from_str(text: &str) -> Result<Self, $crate::ParseError> {
                Self::from_array($crate::fixed::from_hex(text)?)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = $crate::ParseError;

            fn try_from(bytes: &[u8]) -> Result<Self, $crate::ParseError> {
                Self::from_array($crate::fixed::from_slice(bytes)?)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::fixed::serialize(&self.0, self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let bytes = $crate::fixed::deserialize(deserializer)?;
                Self::from_array(bytes).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Lets every array of the right length be a value, and prints it as `Name(hex)`.
macro_rules! any_bytes {
    ($name:ident, $len:literal) => {
        $crate::fixed::fixed_bytes!($name, $len);

        impl $name {
            /// Takes the bytes as they are; every array is valid.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            fn from_array(bytes: [u8; $len]) -> Result<Self, $crate::ParseError> {
                Ok(Self(bytes))
            }
        }
    };
}

/// Prints `Name(hex)`.
macro_rules! debug_hex {
    ($name:ident) => {
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

pub(crate) use {any_bytes, debug_hex, fixed_bytes};
