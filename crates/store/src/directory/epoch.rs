use std::fmt;

use crate::database::error::StoreError;
use crate::database::writer::Database;
use crate::directory::error::{OpenError, OpenErrorKind};
use crate::error::ErrorOf;

/// Notes in the database.
const CURRENT: &str = "epoch";
const PREVIOUS: &str = "previous";

/// A random number drawn at every open of a directory. Database, key file and guard file carry
/// it, so that files of different copies are recognised (`docs/protocol/streams.md#16`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch([u8; 16]);

impl Epoch {
    pub(crate) fn draw() -> Result<Epoch, OpenError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| ErrorOf::new(OpenErrorKind::Random))?;
        Ok(Epoch(bytes))
    }

    fn from_slice(bytes: &[u8]) -> Option<Epoch> {
        bytes.try_into().ok().map(Epoch)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_hex(text: &str) -> Option<Epoch> {
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(|number| Epoch(number.to_be_bytes()))
    }
}

/// Epoch of the last open and its predecessor, none in a new directory.
pub(crate) type Epochs = Option<(Epoch, Option<Epoch>)>;

/// The epochs that the database remembers.
pub(crate) fn load(database: &Database) -> Result<Epochs, StoreError> {
    let epoch = |name| -> Result<Option<Epoch>, StoreError> {
        Ok(database
            .note(name)?
            .and_then(|bytes| Epoch::from_slice(&bytes)))
    };
    Ok(match epoch(CURRENT)? {
        Some(current) => Some((current, epoch(PREVIOUS)?)),
        None => None,
    })
}

/// The first write of an open: its epoch, and the last one as predecessor.
pub(crate) fn start(database: &mut Database, epoch: Epoch, last: Epochs) -> Result<(), StoreError> {
    match last {
        Some((previous, _)) => {
            database.start(&[(CURRENT, epoch.as_bytes()), (PREVIOUS, previous.as_bytes())])
        }
        None => database.start(&[(CURRENT, epoch.as_bytes())]),
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_epoch_survives_its_text_form() {
        let epoch = Epoch::draw().unwrap();
        assert_eq!(Epoch::from_hex(&epoch.to_string()), Some(epoch));
        assert_eq!(Epoch::from_hex("+f"), None);
        assert_eq!(Epoch::from_hex(""), None);
    }
}
