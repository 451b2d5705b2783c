//! The content of a ticket into a topic (`docs/protocol/ticket.md#2`).

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Ticket, TicketContact, TicketError};
use crate::cbor::{CborError, Limits, Reader, Writer};
use crate::limits::{
    TICKET_ADDRESSES_MAX, TICKET_CHARACTERS_MAX, TICKET_CONTACTS_MAX, TICKET_DEPTH_MAX,
};
use crate::{NamedAddr, NetworkId, Topic, VerifyingKey};

/// Keys of the map.
const TOPIC: u64 = 0;
const NETWORK: u64 = 1;
const CONTACTS: u64 = 2;
const INVITE: u64 = 3;

const LIMITS: Limits = Limits {
    length_max: TICKET_CHARACTERS_MAX as u64,
    depth_max: TICKET_DEPTH_MAX,
};

pub(super) fn encode(ticket: &Ticket) -> Vec<u8> {
    let has_network = ticket.network != NetworkId::default();
    let has_contacts = !ticket.contacts.is_empty();
    let has_invite = ticket.invite.is_some();
    let mut writer = Writer::new();
    let more = [has_network, has_contacts, has_invite].map(usize::from);
    writer.map(1 + more.iter().sum::<usize>());
    writer.uint(TOPIC).bytes(ticket.topic.as_bytes());
    if has_network {
        writer.uint(NETWORK).bytes(ticket.network.as_bytes());
    }
    if has_contacts {
        writer.uint(CONTACTS).array(ticket.contacts.len());
        for contact in &ticket.contacts {
            write_contact(&mut writer, contact);
        }
    }
    if let Some(invite) = &ticket.invite {
        writer.uint(INVITE).bytes(&invite.0);
    }
    writer.into_bytes()
}

fn write_contact(writer: &mut Writer, contact: &TicketContact) {
    writer.array(2 + usize::from(contact.relay.is_some()));
    writer.bytes(contact.node.as_bytes());
    writer.array(contact.addrs.len());
    for addr in &contact.addrs {
        writer.text(&addr.to_string());
    }
    if let Some(relay) = &contact.relay {
        writer.text(relay);
    }
}

/// Reads a ticket that invites into a space, or one into a topic only.
pub(super) fn decode(content: &[u8], invites: bool) -> Result<Ticket, TicketError> {
    // Every error of reading is one to the user: nothing was lost on the way.
    let mut reader = Reader::checked(content, LIMITS).map_err(broken)?;
    let (mut topic, mut network, mut contacts, mut invite) = (None, None, None, None);
    for _ in 0..reader.map().map_err(broken)? {
        match reader.uint() {
            Ok(TOPIC) => topic = Some(Topic::from_bytes(fixed(&mut reader)?)),
            Ok(NETWORK) => network = Some(NetworkId::from_bytes(fixed(&mut reader)?)),
            Ok(CONTACTS) => contacts = Some(read_contacts(&mut reader)?),
            Ok(INVITE) if invites => invite = Some(reader.bytes().map_err(broken)?),
            Ok(_) => reader.skip().map_err(broken)?,
            Err(_) => return Err(TicketError::Content),
        }
    }
    if network == Some(NetworkId::default()) {
        return Err(TicketError::Content);
    }
    let mut ticket = Ticket::new(topic.ok_or(TicketError::Content)?);
    ticket.network = network.unwrap_or_default();
    for contact in contacts.unwrap_or_default() {
        ticket.add(contact).map_err(|_| TicketError::Content)?;
    }
    match (invites, invite) {
        (false, _) => Ok(ticket),
        (true, Some(invite)) => ticket.with_invite(invite).map_err(|_| TicketError::Content),
        (true, None) => Err(TicketError::Content),
    }
}

fn read_contacts(reader: &mut Reader<'_>) -> Result<Vec<TicketContact>, TicketError> {
    let count = reader.array().map_err(broken)?;
    if !(1..=TICKET_CONTACTS_MAX as u64).contains(&count) {
        return Err(TicketError::Content);
    }
    (0..count).map(|_| read_contact(reader)).collect()
}

fn read_contact(reader: &mut Reader<'_>) -> Result<TicketContact, TicketError> {
    let elements = reader.array().map_err(broken)?;
    let more = elements.checked_sub(2).ok_or(TicketError::Content)?;
    let node = VerifyingKey::from_bytes(fixed(reader)?).map_err(|_| TicketError::Content)?;
    let count = reader.array().map_err(broken)?;
    if count > TICKET_ADDRESSES_MAX as u64 {
        return Err(TicketError::Content);
    }
    let addrs: Result<Vec<NamedAddr>, TicketError> =
        (0..count).map(|_| read_addr(reader)).collect();
    let relay = match more {
        0 => None,
        _ => Some(reader.text().map_err(broken)?.to_owned()),
    };
    for _ in 1..more {
        reader.skip().map_err(broken)?;
    }
    let addrs = addrs?;
    Ok(TicketContact { node, addrs, relay })
}

/// An address, in the one form in which it is printed.
fn read_addr(reader: &mut Reader<'_>) -> Result<NamedAddr, TicketError> {
    let text = reader.text().map_err(broken)?;
    let addr: NamedAddr = text.parse().map_err(|_| TicketError::Content)?;
    match addr.to_string() == text {
        true => Ok(addr),
        false => Err(TicketError::Content),
    }
}

fn fixed(reader: &mut Reader<'_>) -> Result<[u8; 32], TicketError> {
    let bytes = reader.bytes().map_err(broken)?;
    bytes.try_into().map_err(|_| TicketError::Content)
}

fn broken(_: CborError) -> TicketError {
    TicketError::Content
}
