#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::SigningKey;

fn node(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn contact(seed: u8) -> TicketContact {
    TicketContact::new(node(seed), vec!["192.0.2.7:2022".parse().unwrap()])
}

fn ticket() -> Ticket {
    let mut ticket = Ticket::new(Topic::from_bytes([0xab; 32]));
    ticket.add(contact(1)).unwrap();
    ticket
}

#[test]
fn every_single_wrong_character_is_noticed() {
    let text = ticket().to_string();
    for at in SCHEME.len()..text.len() {
        for digit in "abcdefghijklmnopqrstuvwxyz234567".chars() {
            let mut wrong = text.clone();
            wrong.replace_range(at..=at, &digit.to_string());
            if wrong != text {
                assert!(wrong.parse::<Ticket>().is_err(), "{wrong}");
            }
        }
    }
}

#[test]
fn a_character_that_is_none_is_named_by_its_place() {
    let mut text = ticket().to_string();
    text.replace_range(9..10, "é");
    let error = text.parse::<Ticket>().unwrap_err();
    assert_eq!(error, TicketError::Character { place: 10 });
}

#[test]
fn contacts_and_addresses_of_a_ticket_are_bounded() {
    let mut ticket = Ticket::new(Topic::from_bytes([1; 32]));
    for seed in 1..=TICKET_CONTACTS_MAX as u8 {
        assert_eq!(ticket.add(contact(seed)), Ok(()));
    }
    assert_eq!(ticket.add(contact(9)), Err(TicketContactError::Contacts));

    let addrs = |count| vec!["192.0.2.7:2022".parse().unwrap(); count];
    let with = |count| {
        Ticket::new(Topic::from_bytes([1; 32])).add(TicketContact::new(node(1), addrs(count)))
    };
    assert_eq!(with(TICKET_ADDRESSES_MAX), Ok(()));
    assert_eq!(
        with(TICKET_ADDRESSES_MAX + 1),
        Err(TicketContactError::Addresses)
    );
    assert_eq!(with(0), Err(TicketContactError::Addresses));
}

#[test]
fn what_cannot_be_dialled_does_not_go_into_a_ticket() {
    let mut ticket = ticket();
    assert_eq!(ticket.add(contact(1)), Err(TicketContactError::Twice));
    let port_0 = NamedAddr::Socket("192.0.2.7:0".parse().unwrap());
    let refused = ticket.add(TicketContact::new(node(2), vec![port_0]));
    assert_eq!(refused, Err(TicketContactError::Address));
    let longest = format!("https://{}", "r".repeat(TICKET_RELAY_BYTES_MAX - 8));
    for relay in [
        "relay.example.org",
        "https://",
        "https://a b",
        &format!("{longest}r"),
    ] {
        let refused = ticket.add(contact(2).through(relay));
        assert_eq!(refused, Err(TicketContactError::Relay), "{relay}");
    }
    assert_eq!(ticket.add(contact(2).through(&longest)), Ok(()));
    assert_eq!(ticket.to_string().parse(), Ok(ticket));
}

#[test]
fn the_largest_ticket_can_be_read() {
    let mut largest =
        Ticket::new(Topic::from_bytes([1; 32])).in_network(NetworkId::from_bytes([2; 32]));
    // Each label has 63 bytes, each name 253.
    let label = |count| "a".repeat(count);
    let name = [label(63), label(63), label(63), label(61)].join(".");
    let addrs = vec![format!("{name}:65535").parse().unwrap(); TICKET_ADDRESSES_MAX];
    let relay = format!("https://{}", "r".repeat(TICKET_RELAY_BYTES_MAX - 8));
    for seed in 1..=TICKET_CONTACTS_MAX as u8 {
        let contact = TicketContact::new(node(seed), addrs.clone()).through(&relay);
        assert_eq!(largest.add(contact), Ok(()));
    }
    let largest = largest.with_invite(&[7; TICKET_INVITE_BYTES_MAX]).unwrap();
    assert!(largest.to_string().len() <= TICKET_CHARACTERS_MAX);
    assert_eq!(largest.to_string().parse(), Ok(largest));
}

#[test]
fn the_bytes_of_an_invite_are_bounded_and_not_empty() {
    let with = |bytes: &[u8]| ticket().with_invite(bytes).map(drop);
    assert_eq!(with(&[7; TICKET_INVITE_BYTES_MAX]), Ok(()));
    assert_eq!(
        with(&[7; TICKET_INVITE_BYTES_MAX + 1]),
        Err(TicketInviteError)
    );
    assert_eq!(with(&[]), Err(TicketInviteError));
}

#[test]
fn debug_shows_neither_topic_nor_invite() {
    let invite = ticket().with_invite(&[0xcd; 9]).unwrap();
    let text = format!("{invite:?} {:x?}", invite.invite.as_ref().unwrap());
    assert!(
        !text.contains("abab") && !text.contains("205") && !text.contains("cd"),
        "{text}"
    );
}
