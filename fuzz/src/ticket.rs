//! Tickets, which people paste.

use p2panda_core::{Ticket, Topic, limits};

/// Text is read within bounds, and what was read is written and read again as the same.
pub fn text(input: &[u8]) {
    read(&String::from_utf8_lossy(input));
    read(&format!("panda:{}", String::from_utf8_lossy(input)));
}

fn read(text: &str) {
    let Ok(ticket) = text.parse::<Ticket>() else {
        return;
    };
    assert!(ticket.contacts().len() <= limits::TICKET_CONTACTS_MAX);
    for contact in ticket.contacts() {
        assert!(contact.addrs.len() <= limits::TICKET_ADDRESSES_MAX);
    }
    for written in [ticket.to_string(), ticket.to_upper_case()] {
        assert!(written.len() <= limits::TICKET_CHARACTERS_MAX);
        assert_eq!(written.parse(), Ok(ticket.clone()));
    }
}

/// Inputs to start from, by target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let ticket = Ticket::new(Topic::from_bytes([7; 32])).to_string();
    vec![("ticket_text", vec![ticket.into_bytes()])]
}
