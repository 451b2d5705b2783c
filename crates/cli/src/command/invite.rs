//! `panda topic invite`

use std::io::IsTerminal;

use p2panda::{Node, Ticket, TicketContact};
use p2panda_rpc::reachable::reachable;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Serialize;

use crate::args::{InviteArgs, NodeArgs};
use crate::command::id::known_addresses;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::parse::NodeAddr;
use crate::remote::Remote;
use crate::settings::{Resolved, Settings};

const NO_ADDRESS: &str = "this machine has no address in a network: the ticket holds the topic only; name a \
    node with --contact ID@ADDR";

/// Prints a ticket, and on a terminal its QR code.
pub async fn run(args: &NodeArgs, invite: InviteArgs) -> Result<Outcome, Failure> {
    let settings = Settings::load(args)?.resolved;
    let running = Face::running(args, false).await?;
    let network = match &running {
        Some(remote) => Some(remote.status().await?.network),
        None => crate::open::network(args, &settings)?,
    };
    let mut ticket = Ticket::new(invite.topic.topic);
    if let Some(network) = network {
        ticket = ticket.in_network(network);
    }
    match (invite.contact.is_empty(), running) {
        (true, Some(remote)) => add_running(&mut ticket, &remote, &settings).await?,
        (true, None) => add_own(&mut ticket, args, &settings).await?,
        (false, _) => add_named(&mut ticket, &invite.contact)?,
    }
    let line = match invite.json {
        true => Some(TicketLine::of(&ticket)),
        false => None,
    };
    print(&ticket, line, invite.qr).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// The nodes that were named, each with all its addresses.
pub fn add_named(ticket: &mut Ticket, named: &[NodeAddr]) -> Result<(), Failure> {
    let mut contacts: Vec<TicketContact> = Vec::new();
    for NodeAddr { node, addr } in named {
        match contacts.iter_mut().find(|contact| contact.node == *node) {
            Some(contact) => contact.addrs.push(addr.clone()),
            None => contacts.push(TicketContact::new(*node, vec![addr.clone()])),
        }
    }
    for contact in contacts {
        let name = contact.node.to_string();
        ticket
            .add(contact)
            .map_err(|why| Failure::Contact { contact: name, why })?;
    }
    Ok(())
}

/// The node that runs, where it can be reached.
pub async fn add_running(
    ticket: &mut Ticket,
    remote: &Remote,
    settings: &Resolved,
) -> Result<(), Failure> {
    let status = remote.status().await?;
    let addrs = status.addrs.iter().filter_map(|addr| addr.parse().ok());
    let contact = TicketContact::new(status.node, reachable(addrs.collect()));
    let contact = match settings.relays.first() {
        Some(relay) if remote.is_local() => contact.through(relay),
        _ => contact,
    };
    if ticket.add(contact).is_err() {
        note(NO_ADDRESS);
    }
    Ok(())
}

/// This node, where it can be reached.
async fn add_own(ticket: &mut Ticket, args: &NodeArgs, settings: &Resolved) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    add_node(ticket, &node, settings).await;
    interrupt.finish(node.shutdown()).await?;
    Ok(())
}

/// A node that is open, where it can be reached.
pub async fn add_node(ticket: &mut Ticket, node: &Node, settings: &Resolved) {
    known_addresses(node).await;
    let addrs = reachable(node.net().addr());
    let contact = TicketContact::new(node.id(), addrs);
    let contact = match settings.relays.first() {
        Some(relay) => contact.through(relay),
        None => contact,
    };
    if ticket.add(contact).is_err() {
        note(NO_ADDRESS);
    } else if !settings.listen.has_port() {
        note(
            "the port changes with each command: give --listen ADDR:PORT here and to the one that stays \
            online, or set network.listen",
        );
    }
}

/// A ticket as `panda topic invite --json` prints it.
#[derive(Serialize)]
pub struct TicketLine {
    ticket: String,
    topic: String,
    network: String,
    contacts: Vec<String>,
}

impl TicketLine {
    pub fn of(ticket: &Ticket) -> TicketLine {
        let contacts = ticket.contacts().iter().flat_map(|contact| {
            let addrs = contact.addrs.iter().map(ToString::to_string);
            let addrs = addrs.chain(contact.relay.clone());
            addrs.map(|addr| format!("{}@{addr}", contact.node))
        });
        TicketLine {
            ticket: ticket.to_string(),
            topic: ticket.topic().to_string(),
            network: ticket.network().to_string(),
            contacts: contacts.collect(),
        }
    }
}

/// Prints a ticket, as JSON if a line of it is given, and as a QR code on a terminal.
pub fn print(ticket: &Ticket, json: Option<impl Serialize>, qr: bool) -> std::io::Result<()> {
    // Whether somebody reads it to its end makes no difference.
    let _ = match &json {
        Some(line) => output::json(line)?,
        None => output::line(&ticket.to_string())?,
    };
    if qr || json.is_none() && std::io::stdout().is_terminal() {
        match squares(ticket) {
            Some(squares) => drop(output::line(&squares)?),
            None => note("the ticket is too long for a QR code; leave contacts out"),
        }
    }
    Ok(())
}

/// The code (QR) for a terminal with light text on a dark ground.
fn squares(ticket: &Ticket) -> Option<String> {
    let code = QrCode::new(ticket.to_upper_case()).ok()?;
    let mut render = code.render::<Dense1x2>();
    let render = render
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark);
    Some(render.build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_ticket_fits_into_a_qr_code_of_80_columns() {
        let mut ticket = Ticket::new(p2panda::random_topic().unwrap());
        let node = p2panda::random_key().unwrap().verifying_key();
        let addrs = vec![
            "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
                .parse()
                .unwrap();
            3
        ];
        ticket.add(TicketContact::new(node, addrs)).unwrap();
        // As wide as a terminal.
        let squares = squares(&ticket).unwrap();
        assert!(squares.lines().all(|line| line.chars().count() <= 80));
    }
}
