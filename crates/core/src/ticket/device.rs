//! The secret by which a device is linked, as the characters that a person types
//! (`docs/protocol/device-link.md#2`).

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Hash, Topic};

const TOPIC: &str = "p2panda device link topic v1";
const CHARACTERS: usize = 26;

/// The secret of one device link: 26 characters. `Display` shows it, for the person who types it into the
/// new device; `Debug` does not.
///
/// ```
/// use p2panda_core::DeviceCode;
///
/// let code = DeviceCode::from_bytes([7; 16]);
/// let typed: DeviceCode = "A4DQO-BYHA4-DQOBY-HA4DQ-OBYHA4".parse()?;
/// assert_eq!(typed, code);
/// # Ok::<(), p2panda_core::DeviceCodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCode([u8; 16]);

/// Reason why a text is not the code of a device link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceCodeError {
    /// A character is not base32.
    #[error("character {place} does not belong into a code: it has letters and 2 to 7 only")]
    Character {
        /// Its position in the string, from 1.
        place: usize,
    },
    /// More or fewer characters, or bits that would be lost.
    #[error("a code has 26 characters; copy it whole")]
    Length,
}

impl DeviceCode {
    /// The code of a secret, which must be random and is used for one link.
    pub fn from_bytes(secret: [u8; 16]) -> DeviceCode {
        DeviceCode(secret)
    }

    /// The secret.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the topic in which both devices meet.
    pub fn topic(&self) -> Topic {
        Topic::from_bytes(*Hash::derived_parts(TOPIC, &[&self.0]).as_bytes())
    }
}

impl fmt::Display for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Zeroizing::new(BASE32_NOPAD.encode(&self.0));
        f.write_str(&Zeroizing::new(text.to_ascii_lowercase()))
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceCode(..)")
    }
}

impl FromStr for DeviceCode {
    type Err = DeviceCodeError;

    fn from_str(text: &str) -> Result<DeviceCode, DeviceCodeError> {
        let mut digits = Zeroizing::new(String::with_capacity(CHARACTERS));
        for (at, c) in text.chars().enumerate() {
            match c {
                'a'..='z' | 'A'..='Z' | '2'..='7' if digits.len() == CHARACTERS => {
                    return Err(DeviceCodeError::Length);
                }
                'a'..='z' | 'A'..='Z' | '2'..='7' => digits.push(c),
                c if c == '-' || c.is_whitespace() => {}
                _ => return Err(DeviceCodeError::Character { place: at + 1 }),
            }
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes());
        let bytes = Zeroizing::new(bytes.map_err(|_| DeviceCodeError::Length)?);
        let secret = bytes[..].try_into().map_err(|_| DeviceCodeError::Length)?;
        Ok(DeviceCode(secret))
    }
}

impl Drop for DeviceCode {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for DeviceCode {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_code_is_read_in_either_case_with_hyphens_and_spaces() {
        let code = DeviceCode::from_bytes([7; 16]);
        let text = code.to_string();
        assert_eq!(text.len(), 26);
        for typed in [
            text.clone(),
            text.to_ascii_uppercase(),
            format!(" {}-{} {}\n", &text[..4], &text[4..8], &text[8..]),
        ] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        assert_eq!(format!("{code:?}"), "DeviceCode(..)");
    }

    #[test]
    fn one_character_more_or_fewer_or_lost_bits_are_refused() {
        let text = DeviceCode::from_bytes([7; 16]).to_string();
        let read = |text: &str| text.parse::<DeviceCode>();
        assert_eq!(read(&text[1..]), Err(DeviceCodeError::Length));
        assert_eq!(read(&format!("{text}a")), Err(DeviceCodeError::Length));
        assert_eq!(read(""), Err(DeviceCodeError::Length));
        let lost = format!("{}b", &text[..25]);
        assert_eq!(read(&lost), Err(DeviceCodeError::Length));
        let place = 3;
        assert_eq!(read("aa1"), Err(DeviceCodeError::Character { place }));
    }
}
