//! The content of a ticket into a topic (`docs/protocol/ticket.md#2`).

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{
    DEVICE, DeviceCode, SPACE_INVITE, TOPIC as TOPIC_KIND, Ticket, TicketContact, TicketError,
};
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
const SECRET: u64 = 4;

const LIMITS: Limits = Limits {
    length_max: TICKET_CHARACTERS_MAX as u64,
    depth_max: TICKET_DEPTH_MAX,
};

pub(super) fn encode(ticket: &Ticket) -> Vec<u8> {
    let has_network = ticket.network != NetworkId::default();
    let has_contacts = !ticket.contacts.is_empty();
    let (has_invite, has_topic) = (ticket.invite.is_some(), ticket.device.is_none());
    let mut writer = Writer::new();
    let more = [has_network, has_contacts, has_invite].map(usize::from);
    // The topic of a device follows from its secret: there is one of the two.
    writer.map(1 + more.iter().sum::<usize>());
    if has_topic {
        writer.uint(TOPIC).bytes(ticket.topic.as_bytes());
    }
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
    if let Some(code) = &ticket.device {
        writer.uint(SECRET).bytes(code.as_bytes());
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

/// Reads the content of a kind.
pub(super) fn decode(content: &[u8], kind: u8) -> Result<Ticket, TicketError> {
    // Every error of reading is one to the user: nothing was lost on the way.
    let mut reader = Reader::checked(content, LIMITS).map_err(broken)?;
    let (mut topic, mut network, mut contacts) = (None, None, None);
    let (mut invite, mut code) = (None, None);
    for _ in 0..reader.map().map_err(broken)? {
        match reader.uint() {
            Ok(TOPIC) if kind != DEVICE => topic = Some(Topic::from_bytes(fixed(&mut reader)?)),
            Ok(NETWORK) => network = Some(NetworkId::from_bytes(fixed(&mut reader)?)),
            Ok(CONTACTS) => contacts = Some(read_contacts(&mut reader)?),
            Ok(INVITE) if kind == SPACE_INVITE => {
                invite = Some(reader.bytes().map_err(broken)?);
            }
            Ok(SECRET) if kind == DEVICE => {
                code = Some(DeviceCode::from_bytes(fixed(&mut reader)?));
            }
            Ok(_) => reader.skip().map_err(broken)?,
            Err(_) => return Err(TicketError::Content),
        }
    }
    if network == Some(NetworkId::default()) {
        return Err(TicketError::Content);
    }
    let mut ticket = match (kind, code, topic) {
        (DEVICE, Some(code), _) => Ticket::of_device(code),
        (TOPIC_KIND | SPACE_INVITE, _, Some(topic)) => Ticket::new(topic),
        _ => return Err(TicketError::Content),
    };
    ticket.network = network.unwrap_or_default();
    for contact in contacts.unwrap_or_default() {
        ticket.add(contact).map_err(|_| TicketError::Content)?;
    }
    match (kind, invite) {
        (SPACE_INVITE, Some(invite)) => {
            ticket.with_invite(invite).map_err(|_| TicketError::Content)
        }
        (SPACE_INVITE, None) => Err(TicketError::Content),
        _ => Ok(ticket),
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

fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], TicketError> {
    let bytes = reader.bytes().map_err(broken)?;
    bytes.try_into().map_err(|_| TicketError::Content)
}

fn broken(_: CborError) -> TicketError {
    TicketError::Content
}
