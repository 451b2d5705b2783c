//! `panda peers`

use std::collections::BTreeMap;

use p2panda::Mdns;
use p2panda_rpc::api::{LocalNetworkView, PeerView};
use serde::Serialize;

use crate::args::{NodeArgs, PeersArgs};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};
use crate::settings::Settings;

/// Looks around for a while and prints the nodes that are known then.
pub async fn run(args: &NodeArgs, peers: PeersArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    tokio::select! {
        () = tokio::time::sleep(peers.wait) => {}
        () = interrupt.wait() => {}
    }
    let found = face.peers().await;
    interrupt.finish(face.close()).await?;
    let found = found?;
    let looks = match &face {
        Face::Running(_) => Looks::Unknown,
        Face::Own(_) => match Settings::load(args)?.resolved.mdns {
            Mdns::Off => Looks::No,
            _ => Looks::Yes,
        },
    };
    output::note(&looked(looks, &found.local_networks));
    print(&found.peers, peers.json).map_err(Failure::Stdout)?;
    if found.peers.is_empty() {
        output::note("no other node found; name one with --bootstrap ID@ADDR");
    }
    Ok(Outcome::Done)
}

fn print(peers: &[PeerView], json: bool) -> std::io::Result<()> {
    for peer in peers {
        let line = PeerLine::new(peer);
        let written = if json {
            output::json(&line)?
        } else {
            output::line(&line.plain())?
        };
        if written == Written::Closed {
            break;
        }
    }
    Ok(())
}

/// Whether a node looks for others by multicast DNS.
#[derive(Clone, Copy)]
enum Looks {
    Yes,
    No,
    /// A node that runs has settings of its own.
    Unknown,
}

/// Describes where other nodes were looked for by multicast DNS, and where that did not work.
fn looked(looks: Looks, networks: &[LocalNetworkView]) -> String {
    let mut by_interface: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for network in networks {
        let family = if network.ipv6 { "IPv6" } else { "IPv4" };
        let said = match &network.failed {
            Some(failed) => format!("{family}: {failed}"),
            None => family.to_owned(),
        };
        by_interface
            .entry(&network.interface)
            .or_default()
            .push(said);
    }
    if by_interface.is_empty() {
        return match looks {
            Looks::Yes => "found no interface that can multicast",
            Looks::No => "did not look on local networks (--no-mdns, or network.mdns is \"off\")",
            Looks::Unknown => {
                "the running node looks on no local network: it has --no-mdns or network.mdns = \"off\", \
                or no interface can multicast"
            }
        }
        .to_owned();
    }
    let each = by_interface
        .iter()
        .map(|(interface, said)| format!("{interface} ({})", said.join(", ")));
    format!("looked on {}", each.collect::<Vec<_>>().join(", "))
}

/// A node as `panda peers --json` prints it.
#[derive(Serialize)]
struct PeerLine {
    id: String,
    state: String,
    connected: bool,
    addrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_since_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    /// On how many topics it refuses a session, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refuses: BTreeMap<String, usize>,
}

impl PeerLine {
    fn new(peer: &PeerView) -> PeerLine {
        PeerLine {
            id: peer.node.to_string(),
            state: state(peer),
            connected: peer.connected,
            addrs: peer.addrs.clone(),
            contact: peer.contact.as_deref().map(contact),
            contact_since_s: peer.contact_since,
            clock: peer.clock_ahead.map(clock),
            refuses: refuses(peer.refused.iter().map(|refused| refused.reason.as_str())),
        }
    }

    fn plain(&self) -> String {
        let state = match self.contact.as_deref() {
            Some("no common topic") if self.connected => "connected, no common topic",
            _ => self.state.as_str(),
        };
        let mut plain = format!("{} {state:9} {}", self.id, self.addrs.join(" "));
        if let Some(clock) = &self.clock {
            plain.push_str("\n  its clock is ");
            plain.push_str(clock);
        }
        for (reason, topics) in &self.refuses {
            plain.push_str(&format!("\n  it refuses {topics} of the topics: {reason}"));
        }
        plain
    }
}

/// Describes the state of a node.
fn state(peer: &PeerView) -> String {
    match (peer.state.as_str(), &peer.why) {
        ("unreached", Some(why)) => contact(why),
        ("met", _) => "gone".to_owned(),
        (state, _) => state.to_owned(),
    }
}

/// State of contact with a node that was named on the command line.
fn contact(contact: &str) -> String {
    match contact {
        "untried" => "not tried yet".to_owned(),
        contact => contact.replace('-', " "),
    }
}

/// On how many topics a peer refuses a session, by the reason.
fn refuses<'a>(reasons: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut topics = BTreeMap::new();
    for reason in reasons {
        let reason = match reason {
            "too-many" => "too many sessions",
            "not-served" => "not served",
            _ => "other",
        };
        *topics.entry(reason.to_owned()).or_default() += 1;
    }
    topics
}

/// Describes how far a clock is from ours, in the largest unit that it fills twice.
fn clock(ahead_s: i64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (365 * 24 * 60 * 60, "years"),
        (24 * 60 * 60, "days"),
        (60 * 60, "hours"),
        (60, "minutes"),
    ];
    let (by, way) = match ahead_s {
        0.. => (ahead_s.unsigned_abs(), "ahead of"),
        _ => (ahead_s.unsigned_abs(), "behind"),
    };
    let mut units = UNITS.iter().filter(|(unit, _)| by >= unit * 2);
    let (unit, name) = units.next().copied().unwrap_or((1, "seconds"));
    format!("at least {} {name} {way} this one", by / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let reasons = ["too-many", "not-served", "too-many"];
        let counted = refuses(reasons.into_iter());
        let said = [("too many sessions", 2), ("not served", 1)];
        let said = said.map(|(reason, topics)| (reason.to_owned(), topics));
        let said = BTreeMap::from(said);
        assert_eq!(counted, said);
    }

    #[test]
    fn a_node_that_does_not_look_is_not_said_to_find_nothing() {
        let said = |looks| looked(looks, &[]);
        assert!(said(Looks::Yes).starts_with("found no interface"));
        assert!(said(Looks::No).starts_with("did not look"));
        assert!(said(Looks::Unknown).starts_with("the running node looks on no local network"));
        let network = LocalNetworkView {
            interface: "eth0".to_owned(),
            ipv6: false,
            failed: None,
        };
        assert_eq!(looked(Looks::Unknown, &[network]), "looked on eth0 (IPv4)");
    }

    #[test]
    fn a_clock_difference_is_printed_in_words() {
        for (by, said) in [
            (11 * 60, "at least 11 minutes"),
            (90 * 60, "at least 90 minutes"),
            (3 * 60 * 60, "at least 3 hours"),
            (50 * 365 * 24 * 60 * 60, "at least 50 years"),
        ] {
            let ahead = clock(by);
            assert_eq!(ahead, format!("{said} ahead of this one"));
            let behind = clock(-by);
            assert_eq!(behind, format!("{said} behind this one"));
        }
    }
}
