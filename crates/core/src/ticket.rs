//! One string that lets another person into a topic (`docs/protocol/ticket.md`).

mod content;
mod device;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use thiserror::Error;

pub use device::{DeviceCode, DeviceCodeError};

use crate::limits::{
    TICKET_ADDRESSES_MAX, TICKET_CHARACTERS_MAX, TICKET_CONTACTS_MAX, TICKET_INVITE_BYTES_MAX,
    TICKET_RELAY_BYTES_MAX,
};
use crate::{Hash, NamedAddr, NetworkId, Topic, VerifyingKey};

/// The prefix of every ticket.
const SCHEME: &str = "panda:";
/// The only version of the format.
const VERSION: u8 = 1;
/// Kinds.
const TOPIC: u8 = 1;
const SPACE_INVITE: u8 = 2;
const DEVICE: u8 = 3;
/// Version and kind in front, the checksum behind.
const FRONT_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 4;
/// Context of key derivation.
const CHECKSUM: &str = "p2panda ticket v1";

/// A topic with a few nodes to begin with and their network, as one string: `panda:...`. It may hold an
/// invite into the space that the topic carries.
///
/// It is as secret as the topic. `Display` shows it, for the person who shares it; `Debug` does not.
///
/// ```
/// use p2panda_core::{Ticket, Topic};
///
/// let ticket = Ticket::new(Topic::from_bytes([7; 32]));
/// let read: Ticket = ticket.to_string().parse()?;
/// assert_eq!(read, ticket);
/// # Ok::<(), p2panda_core::TicketError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    topic: Topic,
    network: NetworkId,
    contacts: Vec<TicketContact>,
    invite: Option<InviteBytes>,
    device: Option<DeviceCode>,
}

/// An invite into a space, as the crate that knows spaces wrote it.
#[derive(Clone, PartialEq, Eq)]
struct InviteBytes(Vec<u8>);

impl fmt::Debug for InviteBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteBytes(..)")
    }
}

/// A node as a first contact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketContact {
    /// Its id.
    pub node: VerifyingKey,
    /// Its addresses.
    pub addrs: Vec<NamedAddr>,
    /// The URL of the relay through which it is reached.
    pub relay: Option<String>,
}

/// Reason why a string is not a ticket, or not one that can be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin with `panda:`.
    #[error("a ticket begins with `panda:`")]
    Scheme,
    /// More characters than [`TICKET_CHARACTERS_MAX`].
    #[error("a ticket has at most {TICKET_CHARACTERS_MAX} characters")]
    TooLong,
    /// A character is not base32.
    #[error("character {place} is not allowed in a ticket; copy it whole, without line breaks")]
    Character {
        /// Its position in the string, from 1.
        place: usize,
    },
    /// It ends within a byte, or before the checksum.
    #[error("the ticket ends too early; copy it whole")]
    TooShort,
    /// A character is wrong, missing or added.
    #[error("a character of the ticket is wrong; copy it again")]
    Checksum,
    /// A later version of the format.
    #[error("the ticket has version {version}, of a newer p2panda; run a newer version")]
    Newer {
        /// Version of the format that the ticket has.
        version: u8,
    },
    /// A ticket of an unknown kind.
    #[error("the ticket is of kind {kind}, which this version does not know; run a newer version")]
    UnknownKind {
        /// Unknown kind of the ticket.
        kind: u8,
    },
    /// The checksum is right, but the content breaks a rule.
    #[error("the content of the ticket breaks the rules; ask for another one")]
    Content,
}

/// Reason why something cannot be put into a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketContactError {
    /// There are [`TICKET_CONTACTS_MAX`] contacts already.
    #[error("a ticket has at most {TICKET_CONTACTS_MAX} contacts")]
    Contacts,
    /// No address and no relay, or more addresses than [`TICKET_ADDRESSES_MAX`].
    #[error("a contact has 1 to {TICKET_ADDRESSES_MAX} addresses, or a relay")]
    Addresses,
    /// The node is in it already.
    #[error("the node is already in the ticket")]
    Twice,
    /// An address with port 0, or in a form in which it is not printed.
    #[error("an address of the contact cannot be dialled")]
    Address,
    /// No `https://` or `http://` URL of at most [`TICKET_RELAY_BYTES_MAX`] bytes.
    #[error("a relay is an https:// or http:// URL of at most {TICKET_RELAY_BYTES_MAX} bytes")]
    Relay,
}

/// An invite that cannot be put into a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an invite in a ticket has 1 to {TICKET_INVITE_BYTES_MAX} bytes")]
pub struct TicketInviteError;

impl Ticket {
    /// A ticket into a topic of the usual network, without a contact.
    pub fn new(topic: Topic) -> Ticket {
        Ticket {
            topic,
            network: NetworkId::default(),
            contacts: Vec::new(),
            invite: None,
            device: None,
        }
    }

    /// A ticket by which a device is linked (`docs/protocol/device-link.md`), without a contact.
    pub fn of_device(code: DeviceCode) -> Ticket {
        Ticket {
            device: Some(code.clone()),
            ..Ticket::new(code.topic())
        }
    }

    /// The same with an invite into the space that the topic carries (`docs/protocol/spaces.md#16`).
    ///
    /// # Errors
    /// It is empty, or has more bytes than [`TICKET_INVITE_BYTES_MAX`].
    pub fn with_invite(mut self, invite: &[u8]) -> Result<Ticket, TicketInviteError> {
        if invite.is_empty() || invite.len() > TICKET_INVITE_BYTES_MAX {
            return Err(TicketInviteError);
        }
        self.device = None;
        self.invite = Some(InviteBytes(invite.to_vec()));
        Ok(self)
    }

    /// The same in another network.
    #[must_use]
    pub fn in_network(mut self, network: NetworkId) -> Ticket {
        self.network = network;
        self
    }

    /// Adds a first contact.
    ///
    /// # Errors
    /// The contact breaks a rule of tickets (`docs/protocol/ticket.md#2`).
    pub fn add(&mut self, contact: TicketContact) -> Result<(), TicketContactError> {
        contact.check()?;
        if self.contacts.len() == TICKET_CONTACTS_MAX {
            return Err(TicketContactError::Contacts);
        }
        if self.contacts.iter().any(|it| it.node == contact.node) {
            return Err(TicketContactError::Twice);
        }
        self.contacts.push(contact);
        Ok(())
    }

    /// Returns the topic that the ticket names.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The network that the topic is in.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// The first contacts.
    pub fn contacts(&self) -> &[TicketContact] {
        &self.contacts
    }

    /// The invite into the space that the topic carries, if it holds one. Anyone who has it may ask
    /// to join.
    pub fn invite(&self) -> Option<&[u8]> {
        self.invite.as_ref().map(|invite| &invite.0[..])
    }

    /// The secret by which a device is linked, if it holds one.
    pub fn device(&self) -> Option<&DeviceCode> {
        self.device.as_ref()
    }

    /// The ticket in upper case, which makes a smaller QR code.
    pub fn to_upper_case(&self) -> String {
        self.to_string().to_ascii_uppercase()
    }
}

impl TicketContact {
    /// A node at these addresses.
    pub fn new(node: VerifyingKey, addrs: Vec<NamedAddr>) -> TicketContact {
        TicketContact {
            node,
            addrs,
            relay: None,
        }
    }

    /// The same node, reached through a relay as well.
    #[must_use]
    pub fn through(mut self, relay: &str) -> TicketContact {
        self.relay = Some(relay.to_string());
        self
    }

    fn check(&self) -> Result<(), TicketContactError> {
        let count = self.addrs.len();
        if count > TICKET_ADDRESSES_MAX || count == 0 && self.relay.is_none() {
            return Err(TicketContactError::Addresses);
        }
        let is_same = |addr: &NamedAddr| addr.to_string().parse().as_ref() == Ok(addr);
        if !self.addrs.iter().all(is_same) {
            return Err(TicketContactError::Address);
        }
        match self.relay.as_deref().is_none_or(is_relay) {
            true => Ok(()),
            false => Err(TicketContactError::Relay),
        }
    }
}

fn is_relay(url: &str) -> bool {
    let host = url.strip_prefix("https://");
    let host = host.or_else(|| url.strip_prefix("http://"));
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    host.is_some_and(|host| !host.is_empty() && host.chars().all(is_plain))
        && url.len() <= TICKET_RELAY_BYTES_MAX
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = *Hash::derived_parts(CHECKSUM, &[bytes]).as_bytes();
    [a, b, c, d]
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.device, &self.invite) {
            (Some(_), _) => DEVICE,
            (None, Some(_)) => SPACE_INVITE,
            (None, None) => TOPIC,
        };
        let mut bytes = Vec::from([VERSION, kind]);
        bytes.extend(content::encode(self));
        bytes.extend(checksum(&bytes));
        let text = BASE32_NOPAD.encode(&bytes);
        write!(f, "{SCHEME}{}", text.to_ascii_lowercase())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Ticket, TicketError> {
        let text = text.trim();
        let front = text.get(..SCHEME.len());
        if !front.is_some_and(|front| front.eq_ignore_ascii_case(SCHEME)) {
            return Err(TicketError::Scheme);
        }
        if text.chars().nth(TICKET_CHARACTERS_MAX).is_some() {
            return Err(TicketError::TooLong);
        }
        let digits = text.get(SCHEME.len()..).unwrap_or_default();
        let bytes = bytes_of(digits)?;
        let end = bytes.len().checked_sub(CHECKSUM_BYTES);
        let end = end.filter(|end| *end >= FRONT_BYTES);
        let (checked, sum) = bytes.split_at(end.ok_or(TicketError::TooShort)?);
        if checksum(checked) != sum {
            return Err(TicketError::Checksum);
        }
        match checked {
            [
                VERSION,
                kind @ (TOPIC | SPACE_INVITE | DEVICE),
                content @ ..,
            ] => content::decode(content, *kind),
            [VERSION, kind, ..] => Err(TicketError::UnknownKind { kind: *kind }),
            [version, ..] => Err(TicketError::Newer { version: *version }),
            [] => Err(TicketError::TooShort),
        }
    }
}

fn bytes_of(digits: &str) -> Result<Vec<u8>, TicketError> {
    let is_digit = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '2'..='7');
    if let Some(at) = digits.chars().position(|c| !is_digit(c)) {
        let place = SCHEME.len() + at + 1;
        return Err(TicketError::Character { place });
    }
    // What is left is a number of digits that makes no bytes, or bits that would be lost.
    let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes());
    bytes.map_err(|_| TicketError::TooShort)
}

#[cfg(test)]
mod tests;
