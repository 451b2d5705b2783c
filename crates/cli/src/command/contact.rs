//! State of other nodes, in words: why one was not reached and what to do, and how far a catch-up
//! is.

use std::collections::HashSet;
use std::net::SocketAddr;

use p2panda::{Contact, Event, Node, SessionEnd, Topic, Transfer, VerifyingKey};
use p2panda_rpc::api::{EventNote, PeerView};

use crate::face::Face;
use crate::failure::Failure;
use crate::output::note;

/// Number of digits of an id that are shown as a name.
const NAME_DIGITS: usize = 8;

/// Nodes that nobody named of which something is said.
const OTHERS_SAID: usize = 3;

/// The first digits of a node id.
pub fn name(node: VerifyingKey) -> String {
    node.to_string().chars().take(NAME_DIGITS).collect()
}

/// Says on standard error how things stand with each node that was named, or with some that are known:
/// why nobody has what is stored here.
pub async fn note_unreached(face: &Face, topic: Topic) -> Result<(), Failure> {
    let peers = face.peers().await?.peers;
    let topic = face.named(topic).await?;
    let mut said: Vec<_> = peers.iter().filter(|peer| peer.contact.is_some()).collect();
    if said.is_empty() {
        said = peers.iter().take(OTHERS_SAID).collect();
    }
    for peer in said {
        note(&format!("{}: {}", name(peer.node), says(peer, &topic)));
    }
    Ok(())
}

/// Describes the state of a node, and what to do about it.
fn says(peer: &PeerView, topic: &str) -> String {
    let at = match peer.addrs.is_empty() {
        true => "its address".to_owned(),
        false => peer.addrs.join(", "),
    };
    let refused = peer.refused.iter().find(|refused| refused.topic == topic);
    let refused = refused.map(|refused| refused.reason.as_str());
    match (peer.state.as_str(), refused) {
        ("live" | "connected" | "met", Some("too-many")) => {
            "it serves as many sessions as it can; this node asks again; or name another one"
                .to_owned()
        }
        ("live" | "connected" | "met", Some("not-served")) => no_common_topic(),
        ("live", _) => {
            "a session with it is live, in this topic or another one; give it time with --wait, or \
            run `panda sub` with this topic there"
                .to_owned()
        }
        ("connected" | "met", _) if peer.contact.as_deref() == Some("no-common-topic") => {
            no_common_topic()
        }
        ("connected", _) => {
            "it is connected and still catching up; give it time with --wait".to_owned()
        }
        ("met", _) => "it was reached and is gone; this node tries again".to_owned(),
        ("known", _) if is_not_dialled(peer) => format!(
            "nothing is sent to {at}, because no machine has such an address (documentation, multicast or \
            reserved); start it with another --listen there, or name it here with --bootstrap ID@ADDR"
        ),
        ("known", _) => format!("it was not dialled at {at} yet; give it time with --wait"),
        ("connecting", _) => format!(
            "nothing has answered at {at} so far; is it running, and does a firewall let UDP through?"
        ),
        ("unreached", _) => what_to_do(peer.why.as_deref().unwrap_or_default(), &at),
        _ => "it was not reached".to_owned(),
    }
}

/// Returns `true` if a node is known by addresses alone at which no node is dialled, and the configuration
/// does not name it.
fn is_not_dialled(peer: &PeerView) -> bool {
    let names_no_machine = |addr: &String| {
        let addr = addr.parse::<SocketAddr>();
        addr.is_ok_and(p2panda::names_no_machine)
    };
    peer.contact.is_none()
        && peer.relays.is_empty()
        && !peer.addrs.is_empty()
        && peer.addrs.iter().all(names_no_machine)
}

fn no_common_topic() -> String {
    "it was reached and is not interested in this topic; run `panda sub` with the same topic there"
        .to_owned()
}

/// Describes the result of an attempt to reach a node at an address, and what to do about it.
pub fn what_to_do(contact: &str, at: &str) -> String {
    match contact {
        "unresolved" => "its host name has no address; check the name".to_owned(),
        "dead" => format!(
            "nothing answers at {at} (dead); is it running, and does a firewall let UDP through?"
        ),
        "closed-port" => format!(
            "nobody listens at {at} (closed port); start it there, or get its address again from \
            `panda id --addr`"
        ),
        "other-network" => format!(
            "a node of another network is at {at}; give both the same --network, or none"
        ),
        "wrong-id" => format!(
            "another node answers at {at} (wrong id); get ID@ADDR again from `panda id --addr` there"
        ),
        "refused" => {
            "it answers and refuses the connection: it is stopping, or serves as many as it can; this \
            node tries again; or name another one"
                .to_owned()
        }
        "no-common-topic" => no_common_topic(),
        "reached" => "it was reached".to_owned(),
        _ => format!("the connection to {at} ended without a reason; is it running? look at its log"),
    }
}

/// Tells on standard error what becomes of the nodes that were named, and how catch-up goes.
pub struct Told {
    topic: Topic,
    /// Peers that were caught up with.
    caught_up: HashSet<VerifyingKey>,
}

impl Told {
    /// Nothing is told yet.
    pub fn new(topic: Topic) -> Told {
        Told {
            topic,
            caught_up: HashSet::new(),
        }
    }

    /// Says what is worth it.
    pub fn tell(&mut self, node: &Node, event: &Event) {
        if let Some(line) = self.line(node, event) {
            note(&line);
        }
    }

    /// The same of a node that runs, whose events name the topic `alias`.
    pub fn tell_of(&mut self, alias: &str, event: &EventNote) {
        let of_topic = event.topic.as_deref() == Some(alias);
        if let ("space", true, Some(detail)) = (event.event.as_str(), of_topic, &event.detail) {
            return note(detail);
        }
        let (Some(peer), Some(detail)) = (&event.peer, &event.detail) else {
            return;
        };
        let Ok(id) = peer.parse() else { return };
        let peer = name(id);
        match event.event.as_str() {
            "contact-changed" if detail != "reached" => {
                note(&format!("{peer}: {}", what_to_do(detail, "its address")));
            }
            "catch-up-ended" if of_topic && self.caught_up.insert(id) => {
                note(&format!("caught up with {peer}: {detail}"));
            }
            "session-ended" if of_topic => {
                self.caught_up.remove(&id);
            }
            _ => {}
        }
    }

    fn line(&mut self, node: &Node, event: &Event) -> Option<String> {
        Some(match event {
            Event::ContactChanged { peer, contact } if !contact.is_met() => {
                let peers = node.net().peers();
                let known = peers.iter().find(|known| known.id == *peer)?;
                let addrs: Vec<_> = known.addrs.iter().map(ToString::to_string).collect();
                format!(
                    "{}: {}",
                    name(*peer),
                    what_to_do(&kebab(*contact), &addrs.join(", "))
                )
            }
            Event::ContactChanged {
                peer,
                contact: Contact::NoCommonTopic,
            } => format!("{}: {}", name(*peer), no_common_topic()),
            Event::CatchUpGoesOn {
                topic,
                peer,
                expected,
                transfer,
                ..
            } if *topic == self.topic => progress(*peer, expected, transfer),
            Event::CatchUpEnded {
                topic,
                peer,
                transfer,
                blocked,
                ..
            } if *topic == self.topic => {
                let is_new = self.caught_up.insert(*peer);
                if !is_new && transfer.received_operations == 0 {
                    return None;
                }
                caught_up(*peer, transfer.received_operations, *blocked)
            }
            Event::SessionEnded {
                topic,
                peer,
                reason,
                ..
            } if *topic == self.topic => {
                let why = ended(*reason)?;
                self.caught_up.remove(peer);
                format!("the session with {} ended: {why}", name(*peer))
            }
            _ => return None,
        })
    }
}

/// A contact as the RPC names it.
fn kebab(contact: Contact) -> String {
    p2panda_rpc::daemon::map::contact(contact)
}

fn progress(peer: VerifyingKey, expected: &Transfer, transfer: &Transfer) -> String {
    format!(
        "catching up with {}: {} of {} operations, {} of {} bytes",
        name(peer),
        transfer.received_operations,
        expected.received_operations,
        transfer.received_bytes,
        expected.received_bytes
    )
}

fn caught_up(peer: VerifyingKey, operations: u64, blocked: usize) -> String {
    let name = name(peer);
    match blocked {
        0 => format!("caught up with {name}: {operations} operations arrived"),
        blocked => format!(
            "not caught up with {name}: {operations} operations arrived, and {blocked} of the logs \
            cannot continue here; `panda status` says why"
        ),
    }
}

/// Describes why a session ended, if that is worth a line.
fn ended(reason: SessionEnd) -> Option<&'static str> {
    Some(match reason {
        SessionEnd::Done | SessionEnd::Left | SessionEnd::Refused | SessionEnd::NotServed => {
            return None;
        }
        SessionEnd::TimedOut => "the peer made no progress in time",
        SessionEnd::Violation => "the peer broke the protocol",
        SessionEnd::Limit => "the peer exceeded a limit",
        SessionEnd::PeerStopped => "the peer stopped",
        SessionEnd::PeerEnded => "the peer ended it",
        SessionEnd::Lost => "the connection ended or was lost",
        _ => "something failed on this side",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_sentence_of_its_own_with_a_next_step() {
        let contacts = [
            Contact::Unresolved,
            Contact::Dead,
            Contact::ClosedPort,
            Contact::OtherNetwork,
            Contact::WrongId,
            Contact::Refused,
            Contact::Unreachable,
            Contact::NoCommonTopic,
        ];
        let said: HashSet<_> = contacts
            .iter()
            .map(|contact| what_to_do(&kebab(*contact), "192.0.2.1:9"))
            .collect();
        assert_eq!(said.len(), contacts.len());
        assert!(said.iter().all(|line| line.contains(';')), "{said:?}");
    }

    #[test]
    fn a_refusal_does_not_claim_that_the_peer_is_full() {
        // The system of a node that stops refuses in the same way as a full one.
        let line = what_to_do(&kebab(Contact::Refused), "192.0.2.1:9");
        assert!(line.contains("is stopping, or serves as many"), "{line}");
    }

    fn known_at(addrs: &[&str], contact: Option<&str>) -> PeerView {
        PeerView {
            node: VerifyingKey::from_bytes_unchecked([7; 32]),
            addrs: addrs.iter().map(ToString::to_string).collect(),
            relays: Vec::new(),
            connected: false,
            relayed: false,
            rtt_us: None,
            state: "known".into(),
            why: None,
            sessions: 0,
            topics_shared: 0,
            contact: contact.map(str::to_owned),
            contact_since: None,
            clock_ahead: None,
            refused: Vec::new(),
        }
    }

    #[test]
    fn nobody_is_told_to_wait_for_an_address_without_a_dial() {
        for addr in [
            "192.0.2.1:9",
            "198.51.100.1:9",
            "203.0.113.1:9",
            "[2001:db8::1]:9",
        ] {
            let line = says(&known_at(&[addr], None), "");
            assert!(line.starts_with("nothing is sent to"), "{line}");
        }
        for (addrs, contact) in [
            (&["192.0.2.1:9"][..], Some("untried")),
            (&["192.0.2.1:9", "192.168.1.7:9"], None),
            (&[], None),
        ] {
            let line = says(&known_at(addrs, contact), "");
            assert!(line.contains("give it time"), "{line}");
        }
    }

    #[test]
    fn with_blocked_logs_nobody_says_caught_up() {
        let peer = VerifyingKey::from_bytes_unchecked([7; 32]);
        assert!(caught_up(peer, 3, 0).starts_with("caught up"));
        assert!(caught_up(peer, 3, 1).starts_with("not caught up"));
    }
}
