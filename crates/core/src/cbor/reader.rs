//! Reads deterministic CBOR without copying, recursing or trusting a length.

use alloc::vec::Vec;

use super::float::{shorten_32, shorten_64, widen_16, widen_32};
use super::{CborError, Limits};

/// Kind of the next item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned integer of at most 64 bits.
    Uint,
    /// A negative integer of at most 64 bits.
    Negative,
    /// A byte string.
    Bytes,
    /// A text string.
    Text,
    /// An array.
    Array,
    /// A map.
    Map,
    /// A tag; the item that it marks follows.
    Tag,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// A float.
    Float,
    /// Another simple value.
    Simple,
}

/// Reads items one after another.
///
/// [`Reader::checked`] validates the whole input first; afterwards reading can only fail because
/// an item is of another type. With [`Reader::new`] each call checks what it reads, but only
/// [`Reader::skip`] and [`Reader::item`] check the order of map keys and the nesting. After an
/// error the position is unspecified.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
    limits: Limits,
    stored: bool,
}

impl<'a> Reader<'a> {
    /// Reads from the start of the bytes.
    pub fn new(input: &'a [u8], limits: Limits) -> Reader<'a> {
        Reader {
            input,
            position: 0,
            limits,
            stored: false,
        }
    }

    /// For input that this software has checked before it stored it. Structures need not check again what
    /// is expensive to check.
    #[must_use]
    pub fn stored(self) -> Reader<'a> {
        Reader {
            stored: true,
            ..self
        }
    }

    /// Returns `true` if the input was checked before it was stored.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Reads from bytes that are exactly one valid item.
    pub fn checked(input: &'a [u8], limits: Limits) -> Result<Reader<'a>, CborError> {
        super::check(input, limits)?;
        Ok(Reader::new(input, limits))
    }

    /// Returns the number of bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the unread input.
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    /// Ends reading; bytes left over are [`CborError::Trailing`].
    pub fn finish(self) -> Result<(), CborError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(CborError::Trailing)
        }
    }

    /// The kind of the next item, judged by its first byte.
    pub fn peek(&self) -> Result<Kind, CborError> {
        let first = *self.rest().first().ok_or(CborError::Eof)?;
        Ok(match (first >> 5, first & 0x1f) {
            (0, _) => Kind::Uint,
            (1, _) => Kind::Negative,
            (2, _) => Kind::Bytes,
            (3, _) => Kind::Text,
            (4, _) => Kind::Array,
            (5, _) => Kind::Map,
            (6, _) => Kind::Tag,
            (_, 20 | 21) => Kind::Bool,
            (_, 22) => Kind::Null,
            (_, 25..=27) => Kind::Float,
            _ => Kind::Simple,
        })
    }

    /// Reads an unsigned integer.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(Kind::Uint)
    }

    /// Reads an integer that fits `i64`; others are [`CborError::Type`].
    pub fn int(&mut self) -> Result<i64, CborError> {
        if self.peek()? == Kind::Negative {
            let value = self.expect(Kind::Negative)?;
            let value = i64::try_from(value).map_err(|_| CborError::Type)?;
            return Ok(!value);
        }
        i64::try_from(self.uint()?).map_err(|_| CborError::Type)
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let len = self.expect(Kind::Bytes)?;
        self.string(len)
    }

    /// Reads a text string.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let len = self.expect(Kind::Text)?;
        core::str::from_utf8(self.string(len)?).map_err(|_| CborError::Utf8)
    }

    /// Reads the head of an array; as many items follow.
    pub fn array(&mut self) -> Result<u64, CborError> {
        let len = self.expect(Kind::Array)?;
        self.length(len)
    }

    /// Reads the head of a map; as many pairs follow.
    pub fn map(&mut self) -> Result<u64, CborError> {
        let len = self.expect(Kind::Map)?;
        self.length(len)
    }

    /// Reads a tag; the item that it marks follows.
    pub fn tag(&mut self) -> Result<u64, CborError> {
        self.expect(Kind::Tag)
    }

    /// Reads `true` or `false`.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        Ok(self.expect(Kind::Bool)? == 21)
    }

    /// Reads `null`.
    pub fn null(&mut self) -> Result<(), CborError> {
        self.expect(Kind::Null).map(|_| ())
    }

    /// Reads a float.
    pub fn float(&mut self) -> Result<f64, CborError> {
        if self.peek()? != Kind::Float {
            return Err(CborError::Type);
        }
        let Head { info, argument, .. } = self.head()?;
        Ok(match info {
            25 => widen_16(argument as u16),
            26 => widen_32(argument as u32),
            _ => f64::from_bits(argument),
        })
    }

    /// Reads one whole item of any kind, checks it and gives its bytes.
    pub fn item(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.position;
        self.skip()?;
        Ok(self.input.get(start..self.position).unwrap_or_default())
    }

    /// Reads past one whole item of any kind and checks it.
    pub fn skip(&mut self) -> Result<(), CborError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            if let Some(container) = self.begin(open.len())? {
                open.push(container);
                continue;
            }
            // An item has ended, and with it every container whose last item it was.
            loop {
                let Some(container) = open.last_mut() else {
                    return Ok(());
                };
                if !container.item_ended(self.input, self.position)? {
                    break;
                }
                open.pop();
            }
        }
    }

    /// Reads a head and the content of a string. Gives the container that was opened, if items
    /// of it follow.
    fn begin(&mut self, depth: usize) -> Result<Option<Open>, CborError> {
        let head = self.head()?;
        match head.major {
            2 => self.string(head.argument).map(|_| None),
            3 => match core::str::from_utf8(self.string(head.argument)?) {
                Ok(_) => Ok(None),
                Err(_) => Err(CborError::Utf8),
            },
            4..=6 if depth >= self.limits.depth_max => Err(CborError::TooDeep),
            4 => {
                let left = self.length(head.argument)?;
                Ok((left > 0).then_some(Open { left, keys: None }))
            }
            5 => {
                let pairs = self.length(head.argument)?;
                let keys = Some(Keys {
                    previous: None,
                    start: self.position,
                });
                let left = pairs.checked_mul(2).ok_or(CborError::TooLong)?;
                Ok((left > 0).then_some(Open { left, keys }))
            }
            6 if head.argument == 2 || head.argument == 3 => self.bignum().map(|()| None),
            6 => Ok(Some(Open {
                left: 1,
                keys: None,
            })),
            _ => Ok(None),
        }
    }

    /// The content of tags 2 and 3: only numbers that need it, without leading zeros.
    fn bignum(&mut self) -> Result<(), CborError> {
        if self.peek()? != Kind::Bytes {
            return Err(CborError::Malformed);
        }
        let number = self.bytes()?;
        if number.len() <= 8 || number.first() == Some(&0) {
            return Err(CborError::NonDeterministic);
        }
        Ok(())
    }

    fn expect(&mut self, kind: Kind) -> Result<u64, CborError> {
        if self.peek()? != kind {
            return Err(CborError::Type);
        }
        Ok(self.head()?.argument)
    }

    fn length(&self, length: u64) -> Result<u64, CborError> {
        if length > self.limits.length_max {
            Err(CborError::TooLong)
        } else {
            Ok(length)
        }
    }

    fn string(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let length = usize::try_from(self.length(length)?).map_err(|_| CborError::TooLong)?;
        self.take(length)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CborError> {
        let end = self.position.checked_add(count).ok_or(CborError::Eof)?;
        let bytes = self.input.get(self.position..end).ok_or(CborError::Eof)?;
        self.position = end;
        Ok(bytes)
    }

    fn head(&mut self) -> Result<Head, CborError> {
        let first = *self.take(1)?.first().ok_or(CborError::Eof)?;
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..=23 => {
                return Ok(Head {
                    major,
                    info,
                    argument: u64::from(info),
                });
            }
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 if (2..=5).contains(&major) => return Err(CborError::NonDeterministic),
            _ => return Err(CborError::Malformed),
        };
        let bytes = self.take(width)?;
        let argument = bytes
            .iter()
            .fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
        let head = Head {
            major,
            info,
            argument,
        };
        if major == 7 {
            head.check_simple()?
        } else {
            head.check_shortest()?
        }
        Ok(head)
    }
}

struct Head {
    major: u8,
    info: u8,
    /// Value, length or tag; of a float its bits.
    argument: u64,
}

impl Head {
    fn check_shortest(&self) -> Result<(), CborError> {
        let shorter_max = match self.info {
            24 => 23,
            25 => u64::from(u8::MAX),
            26 => u64::from(u16::MAX),
            _ => u64::from(u32::MAX),
        };
        if self.argument <= shorter_max {
            Err(CborError::NonDeterministic)
        } else {
            Ok(())
        }
    }

    fn check_simple(&self) -> Result<(), CborError> {
        let shorter = match self.info {
            24 if self.argument < 32 => return Err(CborError::Malformed),
            26 => shorten_32(self.argument as u32).is_some(),
            27 => shorten_64(self.argument).is_some(),
            _ => false,
        };
        if shorter {
            Err(CborError::NonDeterministic)
        } else {
            Ok(())
        }
    }
}

/// An array, map or tag of which items are still to come.
struct Open {
    left: u64,
    keys: Option<Keys>,
}

/// Positions of a map's keys in the input, to compare each with the one before.
struct Keys {
    previous: Option<(usize, usize)>,
    start: usize,
}

impl Open {
    /// Takes note that an item ended at `end`; true if it was the container's last.
    fn item_ended(&mut self, input: &[u8], end: usize) -> Result<bool, CborError> {
        let was_key = self.left.is_multiple_of(2);
        self.left -= 1;
        if let Some(keys) = &mut self.keys {
            if was_key {
                keys.key_ended(input, end)?;
            } else {
                keys.start = end;
            }
        }
        Ok(self.left == 0)
    }
}

impl Keys {
    fn key_ended(&mut self, input: &[u8], end: usize) -> Result<(), CborError> {
        let key = input.get(self.start..end);
        if let Some((start, end)) = self.previous
            && input.get(start..end) >= key
        {
            return Err(CborError::NonDeterministic);
        }
        self.previous = Some((self.start, end));
        Ok(())
    }
}
