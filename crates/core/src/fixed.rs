//! Text, slice and serde forms shared by all types of a fixed number of bytes.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};
use thiserror::Error;

use crate::key::KeyError;

/// Why text or a slice is not a value of a fixed-size type.
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
        /// Which one, from 1 on.
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
    let found = text.chars().count();
    if found != 2 * N {
        let expected = 2 * N;
        return Err(ParseError::Digits { expected, found });
    }
    let mut bytes = [0; N];
    for (index, digit) in text.chars().enumerate() {
        let place = index + 1;
        let digit = digit.to_digit(16).ok_or(ParseError::Digit { place })?;
        if let Some(byte) = bytes.get_mut(index / 2) {
            *byte = (*byte << 4) | digit as u8;
        }
    }
    Ok(bytes)
}

/// Writes lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
