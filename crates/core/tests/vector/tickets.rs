//! `tickets.json`: `docs/protocol/ticket.md`.

use p2panda_core::{Ticket, TicketContact, TicketError};
use serde_json::{Value, json};

use crate::file::entries;

#[test]
fn tickets_are_read_and_written_as_recorded() {
    for entry in entries("tickets.json") {
        let (name, expected) = (&entry.name, &entry.expected);
        let text = entry.inputs["text"].as_str().unwrap();
        match text.parse::<Ticket>() {
            Ok(ticket) => {
                assert_eq!(ticket.topic().to_string(), expected["topic"], "{name}");
                assert_eq!(ticket.network().to_string(), expected["network"], "{name}");
                let contacts: Vec<Value> = ticket.contacts().iter().map(contact).collect();
                assert_eq!(Value::from(contacts), expected["contacts"], "{name}");
                let invite = ticket.invite().map(hex);
                assert_eq!(Value::from(invite), expected["invite"], "{name}");
                let device = ticket.device().map(|code| hex(code.as_bytes()));
                assert_eq!(Value::from(device), expected["device"], "{name}");
                let is_written_so = ticket.to_string() == text;
                assert_eq!(
                    Value::from(is_written_so),
                    expected["is_written_so"],
                    "{name}"
                );
                assert_eq!(ticket.to_string().parse(), Ok(ticket), "{name}");
            }
            Err(error) => assert_eq!(word(error), expected["error"], "{name}: {error}"),
        }
    }
}

fn contact(contact: &TicketContact) -> Value {
    let addrs: Vec<String> = contact.addrs.iter().map(ToString::to_string).collect();
    json!({ "node": contact.node.to_string(), "addrs": addrs, "relay": contact.relay })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn word(error: TicketError) -> &'static str {
    match error {
        TicketError::Scheme => "scheme",
        TicketError::TooLong => "too_long",
        TicketError::Character { .. } => "character",
        TicketError::TooShort => "too_short",
        TicketError::Checksum => "checksum",
        TicketError::Newer { .. } => "newer",
        TicketError::UnknownKind { .. } => "unknown_kind",
        TicketError::Content => "content",
        _ => "another",
    }
}
