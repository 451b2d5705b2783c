//! The card of a person, which a new device receives (`docs/protocol/spaces.md#18`).

use p2panda_core::cbor::{self, Reader};
use p2panda_core::limits::{PERSON_OPERATIONS_MAX, PERSON_SPACES_MAX};
use p2panda_core::{SigningKey, Topic};
use p2panda_encryption::Writer;
use p2panda_groups::{Arguments, GroupId};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::event::Event;
use crate::local::LocalError;
use crate::sealed::{GroupOperation, ReceiveError, read_array, read_key, read_list, read_optional};
use crate::spaces::Spaces;
use crate::{Invalid, SpaceId};

const VERSION: u64 = 2;

/// Card about its person that a new device receives. Secret, because it names topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonCard {
    /// The group of the person's devices.
    pub person: GroupId,
    /// The signed operations on this group, each after its dependencies.
    pub operations: Vec<Vec<u8>>,
    /// The spaces in which the person is a member.
    pub spaces: Vec<(Topic, SpaceId)>,
    /// The device space, and its topic.
    pub of_devices: Option<(Topic, SpaceId)>,
}

/// Reason why a card is refused. In the spaces nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// The bytes are not a card.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An operation is about another group, has a wrong signature or breaks the rules of groups.
    #[error("an operation of the card is wrong")]
    Operation,
}

impl PersonCard {
    /// The device space, if there is one, then the others.
    pub fn followed(&self) -> impl Iterator<Item = &(Topic, SpaceId)> {
        self.of_devices.iter().chain(&self.spaces)
    }

    /// Encodes the card.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.array(5).uint(VERSION).bytes(self.person.as_bytes());
        w.array(self.operations.len());
        for operation in &self.operations {
            w.raw(operation);
        }
        w.array(self.spaces.len());
        for (topic, space) in &self.spaces {
            w.array(2).bytes(topic.as_bytes()).bytes(space.as_bytes());
        }
        match &self.of_devices {
            Some((topic, space)) => {
                w.array(2).bytes(topic.as_bytes()).bytes(space.as_bytes());
            }
            None => {
                w.null();
            }
        }
        w.into_bytes()
    }

    /// Decodes the output of [`PersonCard::encode`].
    pub fn decode(bytes: &[u8]) -> Result<PersonCard, Invalid> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        if r.array()? != 5 || r.uint()? != VERSION {
            return Err(Invalid::Variant);
        }
        let card = PersonCard {
            person: read_key(&mut r)?.into(),
            operations: read_list(&mut r, PERSON_OPERATIONS_MAX, |r| Ok(r.item()?.to_vec()))?,
            spaces: read_list(&mut r, PERSON_SPACES_MAX, read_space)?,
            of_devices: read_optional(&mut r, read_space)?,
        };
        r.finish()?;
        Ok(card)
    }
}

fn read_space(r: &mut Reader<'_>) -> Result<(Topic, SpaceId), Invalid> {
    match r.array()? {
        2 => {
            let topic = Topic::from_bytes(read_array(r)?);
            Ok((topic, SpaceId::from_bytes(read_array(r)?)))
        }
        _ => Err(Invalid::Bytes),
    }
}

impl Spaces {
    /// Returns the card of a person, without spaces. [`LocalError::NoDevice`]: this node does not
    /// know the person.
    pub fn card(&self, person: GroupId) -> Result<PersonCard, LocalError> {
        let ids = self.operations_of(&person);
        if ids.len() > PERSON_OPERATIONS_MAX {
            return Err(LocalError::TooManyDevices);
        }
        let signed = ids.iter().map(|id| self.signed.get(id).cloned());
        let operations: Option<Vec<Vec<u8>>> = signed.collect();
        let operations = operations.filter(|operations| !operations.is_empty());
        Ok(PersonCard {
            person,
            operations: operations.ok_or(LocalError::NoDevice)?,
            spaces: Vec::new(),
            of_devices: None,
        })
    }

    /// Processes the operations on the group of a person. This changes nothing in a space.
    pub fn take_card(&mut self, card: &PersonCard) -> Result<Vec<Event>, CardError> {
        let mut operations = Vec::with_capacity(card.operations.len());
        for bytes in &card.operations {
            let operation = GroupOperation::decode(bytes)?;
            if !operation.is_signed || operation.arguments.group != card.person {
                return Err(CardError::Operation);
            }
            operations.push(operation);
        }
        let mut events = Vec::new();
        for operation in &operations {
            match self.admit(operation, &mut events) {
                Ok(true) => {}
                Ok(false) | Err(ReceiveError::Wait(_)) => return Err(CardError::Operation),
                Err(ReceiveError::Invalid(invalid)) => return Err(invalid.into()),
            }
        }
        if self.own.is_none() {
            self.note_own(card.person);
        }
        Ok(events)
    }

    /// Signs an operation with a key that may be another than ours, and processes it.
    pub(crate) fn take_signed(
        &mut self,
        by: &SigningKey,
        arguments: &Arguments,
    ) -> Result<Vec<Event>, LocalError> {
        let author = by.verifying_key();
        let signature = by.sign(&GroupOperation::to_sign(&author, arguments));
        let operation = GroupOperation::new(author, arguments, &signature);
        let mut events = Vec::new();
        match self.admit(&operation, &mut events) {
            Ok(true) => Ok(events),
            _ => Err(LocalError::NoDevice),
        }
    }
}
