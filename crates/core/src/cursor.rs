//! A named position in all logs (`docs/protocol/operations.md#5`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::cbor::{self, CborError, Reader, Writer};
use crate::{Heights, LogId, VerifyingKey};

/// A named position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Name under which the position is stored.
    pub name: String,
    /// The highest position per author and log.
    pub heights: Heights,
}

impl Cursor {
    /// A cursor at the beginning.
    pub fn new(name: impl Into<String>) -> Cursor {
        Cursor {
            name: name.into(),
            heights: Heights::new(),
        }
    }

    /// Moves forward to `seq` of a log; true if it was before that. Never moves back.
    pub fn advance(&mut self, author: VerifyingKey, log: LogId, seq: u32) -> bool {
        self.heights.raise(author, log, seq)
    }

    /// Encodes to `[name, {author: {log: height}}]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.array(2).text(&self.name);
        self.heights.write(&mut writer);
        writer.into_bytes()
    }

    /// Decodes `[name, {author: {log: height}}]`, the whole input.
    pub fn decode(bytes: &[u8]) -> Result<Cursor, CborError> {
        let mut reader = Reader::checked(bytes, cbor::VALUE)?;
        if reader.array()? != 2 {
            return Err(CborError::Type);
        }
        let name = reader.text()?.to_string();
        let heights = Heights::read(&mut reader)?;
        reader.finish()?;
        Ok(Cursor { name, heights })
    }
}
