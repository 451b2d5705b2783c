//! Data that waits for its secret (`docs/protocol/encryption.md#10.3`).

use p2panda_core::ordered::BTreeMap;

use p2panda_core::limits::{PARKED_BYTES_MAX, PARKED_MAX};

use super::payload::Encrypted;
use super::secret::SecretId;
use crate::rows::{LoadError, Rows, Table, key, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, tuple};
use crate::{Member, OperationId};

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) operation: OperationId,
    pub(super) sender: Member,
    pub(super) encrypted: Encrypted,
}

/// All of them, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parked {
    messages: Table<u64, Waiting>,
    bytes: usize,
    /// A secret came since they were looked at.
    pub(super) look_again: bool,
}

impl Parked {
    /// Keeps a message. Where that is too much, the sender that has the most loses its oldest.
    pub(super) fn park(&mut self, operation: OperationId, sender: Member, encrypted: Encrypted) {
        let message = Waiting {
            operation,
            sender,
            encrypted,
        };
        self.bytes = self.bytes.saturating_add(message.bytes());
        let place = self
            .messages
            .last()
            .map_or(0, |last| last.saturating_add(1));
        self.messages.insert(place, message);
        while self.messages.len() > PARKED_MAX || self.bytes > PARKED_BYTES_MAX {
            let mut by_sender: BTreeMap<Member, usize> = BTreeMap::new();
            for message in self.messages.values() {
                *by_sender.entry(message.sender).or_default() += message.bytes();
            }
            let most = by_sender.into_iter().max_by_key(|(_, bytes)| *bytes);
            let oldest = |message: &Waiting| most.is_some_and(|(most, _)| most == message.sender);
            let place = self.place_of(oldest);
            if place.and_then(|place| self.remove(place)).is_none() {
                break;
            }
        }
    }

    /// A secret came.
    pub(super) fn look_again(&mut self) {
        self.look_again |= !self.messages.is_empty();
    }

    /// The oldest message whose secret is there.
    pub(super) fn take(&mut self, has: impl Fn(&SecretId) -> bool) -> Option<Waiting> {
        if !self.look_again {
            return None;
        }
        let place = self.place_of(|message| has(&message.encrypted.secret));
        self.look_again = place.is_some();
        place.and_then(|place| self.remove(place))
    }

    fn place_of(&self, is_sought: impl Fn(&Waiting) -> bool) -> Option<u64> {
        let mut messages = self.messages.iter();
        let found = messages.find(|(_, message)| is_sought(message));
        found.map(|(place, _)| *place)
    }

    fn remove(&mut self, place: u64) -> Option<Waiting> {
        let message = self.messages.remove(&place)?;
        self.bytes = self.bytes.saturating_sub(message.bytes());
        Some(message)
    }

    pub(super) fn rows(&self, out: &mut Rows) {
        self.messages.rows(tag::PARKED, out);
    }

    pub(super) fn settle(&mut self) {
        self.messages.settle();
    }

    pub(super) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let message = Waiting::decode_stored(value)?;
        self.bytes = self.bytes.saturating_add(message.bytes());
        self.messages.insert_stored(key(name)?, message);
        Ok(())
    }
}

impl Waiting {
    /// Returns the cost of the message, apart from its ciphertext about as much again as a short
    /// message.
    fn bytes(&self) -> usize {
        self.encrypted.ciphertext.len().saturating_add(200)
    }
}

impl Wire for Waiting {
    fn write(&self, w: &mut Writer) {
        w.array(3).item(&self.operation).item(&self.sender);
        w.item(&self.encrypted);
    }

    fn read(r: &mut Reader<'_>) -> Result<Waiting, DecodeError> {
        tuple(r, 3, |r| {
            Ok(Waiting {
                operation: OperationId::read(r)?,
                sender: Member::read(r)?,
                encrypted: Encrypted::read(r)?,
            })
        })
    }
}
