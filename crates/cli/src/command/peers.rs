//! `panda peers`

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use p2panda::{ClockDifference, Contact, LocalNetwork, PeerState, PeerStatus, Refusal};
use serde::Serialize;

use crate::args::{NodeArgs, PeersArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};

/// Looks around for a while and prints the nodes that are known then.
pub async fn run(args: &NodeArgs, peers: PeersArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    tokio::select! {
        () = tokio::time::sleep(peers.wait) => {}
        () = interrupt.wait() => {}
    }
    let known = node.net().peers();
    output::note(&looked(args.no_mdns, &node.net().local_networks()));
    let printed = print(&known, peers.json).map_err(Failure::Stdout);
    interrupt.finish(node.shutdown()).await?;
    printed?;
    if known.is_empty() {
        output::note("no other node found; name one with --bootstrap ID@ADDR");
    }
    Ok(Outcome::Done)
}

fn print(peers: &[PeerStatus], json: bool) -> std::io::Result<()> {
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

/// Where other nodes were looked for by multicast DNS, and where that did not work.
fn looked(no_mdns: bool, networks: &[LocalNetwork]) -> String {
    if no_mdns {
        return "did not look on local networks (--no-mdns)".to_owned();
    }
    let mut by_interface: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for network in networks {
        let family = if network.ipv6 { "IPv6" } else { "IPv4" };
        let said = match network.failed {
            Some(failed) => format!("{family}: {failed}"),
            None => family.to_owned(),
        };
        by_interface
            .entry(&network.interface)
            .or_default()
            .push(said);
    }
    if by_interface.is_empty() {
        return "found no interface that can multicast".to_owned();
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
    state: &'static str,
    connected: bool,
    addrs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_since_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<String>,
    /// On how many topics it refuses a session, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refuses: BTreeMap<&'static str, usize>,
}

impl PeerLine {
    fn new(peer: &PeerStatus) -> PeerLine {
        PeerLine {
            id: peer.id.to_string(),
            state: state(peer.state),
            connected: peer.connected,
            addrs: peer.addrs.iter().map(ToString::to_string).collect(),
            contact: peer.contact.map(|status| contact(status.contact)),
            contact_since_s: peer.contact.map(|status| {
                let since = status.since.duration_since(UNIX_EPOCH);
                since.unwrap_or_default().as_secs()
            }),
            clock: peer.clock.map(clock),
            refuses: refuses(peer.refused.iter().map(|refused| refused.reason)),
        }
    }

    fn plain(&self) -> String {
        let state = match self.contact {
            Some("no common topic") if self.connected => "connected, no common topic",
            _ => self.state,
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

/// How things stand with a node.
fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Connecting => "connecting",
        PeerState::Unreached(reason) => contact(reason),
        PeerState::Met => "gone",
        PeerState::Connected => "connected",
        PeerState::Live => "live",
        _ => "known",
    }
}

/// What became of a node that was named on the command line.
fn contact(contact: Contact) -> &'static str {
    match contact {
        Contact::Untried => "not tried yet",
        Contact::Unresolved => "unresolved",
        Contact::Dead => "dead",
        Contact::ClosedPort => "closed port",
        Contact::Refused => "refused",
        Contact::OtherNetwork => "other network",
        Contact::WrongId => "wrong id",
        Contact::NoCommonTopic => "no common topic",
        Contact::Reached => "reached",
        _ => "unreachable",
    }
}

/// On how many topics a peer refuses a session, by the reason.
fn refuses(reasons: impl Iterator<Item = Refusal>) -> BTreeMap<&'static str, usize> {
    let mut topics = BTreeMap::new();
    for reason in reasons {
        let reason = match reason {
            Refusal::TooMany => "too many sessions",
            Refusal::NotServed => "not served",
            _ => "other",
        };
        *topics.entry(reason).or_default() += 1;
    }
    topics
}

/// How far a clock is from ours, in the largest unit that it fills twice.
fn clock(by: ClockDifference) -> String {
    const UNITS: [(u64, &str); 4] = [
        (365 * 24 * 60 * 60, "years"),
        (24 * 60 * 60, "days"),
        (60 * 60, "hours"),
        (60, "minutes"),
    ];
    let (by, way) = match by {
        ClockDifference::Ahead(by) => (by.as_secs(), "ahead of"),
        ClockDifference::Behind(by) => (by.as_secs(), "behind"),
    };
    let mut units = UNITS.iter().filter(|(unit, _)| by >= unit * 2);
    let (unit, name) = units.next().copied().unwrap_or((1, "seconds"));
    format!("at least {} {name} {way} this one", by / unit)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let reasons = [Refusal::TooMany, Refusal::NotServed, Refusal::TooMany];
        let counted = refuses(reasons.into_iter());
        let said = BTreeMap::from([("too many sessions", 2), ("not served", 1)]);
        assert_eq!(counted, said);
    }

    #[test]
    fn a_clock_that_differs_is_said_in_words() {
        for (by, said) in [
            (11 * 60, "at least 11 minutes"),
            (90 * 60, "at least 90 minutes"),
            (3 * 60 * 60, "at least 3 hours"),
            (50 * 365 * 24 * 60 * 60, "at least 50 years"),
        ] {
            let by = Duration::from_secs(by);
            let ahead = clock(ClockDifference::Ahead(by));
            assert_eq!(ahead, format!("{said} ahead of this one"));
            let behind = clock(ClockDifference::Behind(by));
            assert_eq!(behind, format!("{said} behind this one"));
        }
    }
}
