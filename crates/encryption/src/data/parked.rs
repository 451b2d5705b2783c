//! Data that waits for its secret (`docs/protocol/encryption.md#10.3`).

use std::collections::{BTreeMap, VecDeque};

use p2panda_core::limits::{PARKED_BYTES_MAX, PARKED_MAX};

use super::payload::Encrypted;
use super::secret::SecretId;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, list, tuple, write_list};
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
    messages: VecDeque<Waiting>,
    /// A secret came since they were looked at.
    look_again: bool,
}

impl Parked {
    /// Keeps a message. Where that is too much, the sender that has the most loses its oldest.
    pub(super) fn park(&mut self, operation: OperationId, sender: Member, encrypted: Encrypted) {
        self.messages.push_back(Waiting {
            operation,
            sender,
            encrypted,
        });
        while self.messages.len() > PARKED_MAX || self.bytes() > PARKED_BYTES_MAX {
            let mut by_sender: BTreeMap<Member, usize> = BTreeMap::new();
            for message in &self.messages {
                *by_sender.entry(message.sender).or_default() += message.bytes();
            }
            let most = by_sender.into_iter().max_by_key(|(_, bytes)| *bytes);
            let oldest = |message: &Waiting| most.is_some_and(|(most, _)| most == message.sender);
            let place = self.messages.iter().position(oldest).unwrap_or(0);
            self.messages.remove(place);
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
        let opens = |message: &Waiting| has(&message.encrypted.secret);
        let place = self.messages.iter().position(opens);
        self.look_again = place.is_some();
        place.and_then(|place| self.messages.remove(place))
    }

    fn bytes(&self) -> usize {
        self.messages.iter().map(Waiting::bytes).sum()
    }
}

impl Waiting {
    /// What it costs, apart from its ciphertext about as much again as a short message.
    fn bytes(&self) -> usize {
        self.encrypted.ciphertext.len().saturating_add(200)
    }
}

impl Wire for Parked {
    fn write(&self, w: &mut Writer) {
        w.array(2).bool(self.look_again);
        write_list(&self.messages, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Parked, DecodeError> {
        tuple(r, 2, |r| {
            let look_again = r.bool()?;
            let messages: Vec<Waiting> = list(r, usize::MAX)?;
            Ok(Parked {
                messages: messages.into(),
                look_again,
            })
        })
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
