//! Tickets (`docs/protocol/ticket.md`).

/// Characters of a ticket, `panda:` included (`docs/protocol/ticket.md#1`).
pub const TICKET_CHARACTERS_MAX: usize = 9_000;
/// Contacts in a ticket (`docs/protocol/ticket.md#2`).
pub const TICKET_CONTACTS_MAX: usize = 4;
/// Addresses of one contact in a ticket (`docs/protocol/ticket.md#2`).
pub const TICKET_ADDRESSES_MAX: usize = 4;
/// Bytes of the URL of a relay in a ticket (`docs/protocol/ticket.md#2`).
pub const TICKET_RELAY_BYTES_MAX: usize = 256;
/// Levels of arrays and maps in the content of a ticket (`docs/protocol/ticket.md#2`).
pub const TICKET_DEPTH_MAX: usize = 8;
/// Bytes of an invite into a space in a ticket (`docs/protocol/ticket.md#4`).
pub const TICKET_INVITE_BYTES_MAX: usize = 160;
