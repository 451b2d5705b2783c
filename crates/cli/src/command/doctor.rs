//! `panda doctor`

use std::net::UdpSocket;
use std::path::Path;

use p2panda_rpc::api;
use serde::Serialize;

use crate::args::{DoctorArgs, NodeArgs};
use crate::command::compact::is_missing;
use crate::command::contact::{name, what_to_do};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Written};
use crate::remote::Remote;
use crate::settings::Settings;
use crate::socket::Named;

/// Room on the disk below which a node has soon none, in bytes.
const FREE_BYTES_LOW: u64 = 512 * 1_024 * 1_024;

/// A clock that is further off than this puts messages into a wrong order for people.
const CLOCK_OFF_SECONDS: i64 = 60;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and something may not.
    Warn,
    /// Something does not work.
    Bad,
}

/// One check as `panda doctor --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    state: State,
    says: String,
    /// Advice for the user.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Check {
    fn ok(check: &'static str, says: impl Into<String>) -> Check {
        Check {
            check,
            state: State::Ok,
            says: says.into(),
            next: None,
        }
    }

    fn of(
        check: &'static str,
        state: State,
        says: impl Into<String>,
        next: impl Into<String>,
    ) -> Check {
        Check {
            check,
            state,
            says: says.into(),
            next: Some(next.into()),
        }
    }

    fn plain(&self) -> String {
        let state = match self.state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Bad => "bad ",
        };
        let next = self.next.as_deref();
        let next = next.map_or_else(String::new, |next| format!("; {next}"));
        format!(
            "{state} {}: {}{next}",
            self.check,
            output::visible(&self.says)
        )
    }
}

/// Looks at everything that commonly stands in the way, a line each.
pub async fn run(args: &NodeArgs, doctor: DoctorArgs) -> Result<Outcome, Failure> {
    let settings = Settings::load(args)?;
    let home = crate::open::home(args)?;
    let mut checks = Vec::new();
    // The home of a node that is named is not known here.
    if !Remote::is_named(args)? {
        checks.extend([of_home(&home), of_key(&home), of_disk(&home)]);
        checks.extend(of_database(&home));
        checks.extend(of_quota(&settings, &home));
    }
    match Face::running(args, false).await {
        Ok(Some(remote)) => {
            checks.extend(of_running(&remote).await?);
            checks.extend(of_recovery(&remote).await);
        }
        Ok(None) => match p2panda::holder(&home) {
            Ok(Some(holder)) => checks.push(of_holder(&holder, crate::socket::changes(&home))),
            _ => {
                checks.push(of_socket(&home));
                checks.push(of_ports(&settings));
            }
        },
        Err(failure) => checks.push(Check {
            check: "node",
            state: State::Bad,
            // It says what to do.
            says: failure.to_string(),
            next: None,
        }),
    }
    let mut all_well = true;
    for check in &checks {
        all_well &= check.state != State::Bad;
        let written = match doctor.json {
            true => output::json(check),
            false => output::line(&check.plain()),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    match all_well {
        true => Ok(Outcome::Done),
        false => Ok(Outcome::Unwell),
    }
}

/// Checks whether the recovery file of the node's person should be written again.
async fn of_recovery(remote: &Remote) -> Option<Check> {
    let list = remote.call::<api::DeviceList>(&api::Empty {}).await.ok()?;
    let says = "the recovery file is more than 30 days old";
    let next = "write a new one with `panda device export FILE`";
    list.renewal_due
        .then(|| Check::of("recovery", State::Warn, says, next))
}

fn of_home(home: &Path) -> Check {
    let shown = home.display();
    match std::fs::metadata(home) {
        Ok(found) if !found.is_dir() => {
            let says = format!("{shown} is no directory");
            Check::of("home", State::Bad, says, "name another one with --home DIR")
        }
        Ok(found) if others_may_enter(&found) => {
            let says = format!("other users may look into {shown}");
            Check::of("home", State::Warn, says, format!("chmod 700 {shown}"))
        }
        Ok(found) if found.permissions().readonly() => {
            let says = format!("{shown} cannot be written");
            Check::of("home", State::Bad, says, format!("chmod u+w {shown}"))
        }
        Ok(_) => Check::ok("home", shown.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::ok(
            "home",
            format!("{shown} is not there yet; the first command makes it"),
        ),
        Err(error) => {
            let next = "look at the permissions of the directories above it";
            Check::of("home", State::Bad, format!("{shown}: {error}"), next)
        }
    }
}

fn of_key(home: &Path) -> Check {
    let path = home.join("node.key");
    let shown = path.display();
    match std::fs::metadata(&path) {
        Ok(found) => {
            if others_may_enter(&found) {
                let says = format!("other users may read {shown}, and write as this node");
                return Check::of("key", State::Bad, says, format!("chmod 600 {shown}"));
            }
            Check::ok("key", format!("{shown} is for its owner alone"))
        }
        Err(error) if is_missing(&error) && home.join("node.epoch").exists() => Check::ok(
            "key",
            "the key is kept elsewhere: node.key of the configuration",
        ),
        Err(error) if is_missing(&error) && home.join("p2panda.sqlite").exists() => {
            let says = format!("{shown} is not there, and the database is");
            let next = "put it back from the same copy, or start once with --restored new-identity";
            Check::of("key", State::Bad, says, next)
        }
        Err(error) if is_missing(&error) => Check::ok("key", "none yet"),
        Err(error) => {
            let next = "run it as the owner of the file";
            Check::of("key", State::Bad, format!("{shown}: {error}"), next)
        }
    }
}

/// Returns `true` if other users of this machine may look into it, or change it.
#[cfg(unix)]
fn others_may_enter(file: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_enter(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn of_disk(home: &Path) -> Check {
    let there = home.ancestors().find(|dir| dir.exists());
    let stat = rustix::fs::statvfs(there.unwrap_or(home));
    match stat {
        Ok(stat) => of_room(stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => {
            let next = "look at the file system";
            Check::of("disk", State::Warn, error.to_string(), next)
        }
    }
}

#[cfg(not(unix))]
fn of_disk(_: &Path) -> Check {
    Check::ok("disk", "not looked at on this system")
}

fn of_room(free: u64) -> Check {
    let says = format!("{} MiB free", free / (1_024 * 1_024));
    match free < FREE_BYTES_LOW {
        true => {
            let next = "make room; a node that cannot store waits and goes on by itself";
            Check::of("disk", State::Warn, says, next)
        }
        false => Check::ok("disk", says),
    }
}

/// The schema, and whether SQLite finds the file whole.
fn of_database(home: &Path) -> Vec<Check> {
    let inspection = match p2panda::inspect(home) {
        Ok(inspection) => inspection,
        Err(error) if is_missing(&error) => return vec![Check::ok("database", "none yet")],
        Err(error) => {
            let failure = Failure::Node(error).to_string();
            let next = "an older one is brought up to date by the next command that opens it";
            return vec![Check::of("schema", State::Bad, failure, next)];
        }
    };
    let schema = Check::ok("schema", "the version that this panda writes");
    let database = match inspection.check() {
        Ok(None) => Check::ok("database", "whole"),
        Ok(Some(damage)) => {
            let next = "keep a copy, then restore it from a backup, or start over with --home DIR";
            Check::of("database", State::Bad, damage, next)
        }
        Err(error) => {
            let next = "run it again once nothing holds the file";
            Check::of("database", State::Warn, error.to_string(), next)
        }
    };
    vec![schema, database]
}

/// Checks how much of the total quota is used.
fn of_quota(settings: &Settings, home: &Path) -> Option<Check> {
    let quota = settings.resolved.quotas.total?;
    let kept = p2panda::inspect(home).ok()?.kept_bytes().ok()??;
    Some(of_kept(kept, quota))
}

fn of_kept(kept: u64, quota: u64) -> Check {
    let mib = |bytes: u64| bytes / (1_024 * 1_024);
    let says = format!("{} of {} MiB are kept", mib(kept), mib(quota));
    // Nine tenths.
    match kept >= quota - quota / 10 {
        false => Check::ok("quota", says),
        true => Check::of(
            "quota",
            State::Warn,
            says,
            "raise quota.total_mib, or set retention.days; above it the operations of others are refused",
        ),
    }
}

/// A command that opened the home itself: its ports are in use, and other commands cannot ask it.
fn of_holder(holder: &p2panda::Holder, changes: bool) -> Check {
    if changes {
        let says = format!("{holder} starts or ends");
        return Check::of(
            "node",
            State::Warn,
            says,
            "run `panda doctor` again in a moment",
        );
    }
    Check::of(
        "node",
        State::Warn,
        format!("{holder} uses the home and answers no commands"),
        "stop it, and start `panda node run`, which all commands can use together",
    )
}

/// No node answers: what the last one left.
fn of_socket(home: &Path) -> Check {
    match crate::socket::named(home) {
        Named::Socket(path) if path.exists() => Check::of(
            "node",
            State::Warn,
            format!("nobody answers at {}", path.display()),
            "a killed node left it, and the next one takes it over",
        ),
        Named::OfAnother { home: of } => Check::of(
            "node",
            State::Warn,
            format!("none runs here; the home is a copy, and the node that it names runs on {of}"),
            "use only one of the copies, or give this one a key of its own with --restored new-identity",
        ),
        _ => Check::ok("node", "none runs; commands open one of their own"),
    }
}

/// Checks whether the configured addresses can be listened on.
fn of_ports(settings: &Settings) -> Check {
    let sockets = match settings.resolved.listen.sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            let says = format!("network.listen cannot be resolved: {error}");
            return Check::of("ports", State::Bad, says, "name an address");
        }
    };
    let (v4, v6) = sockets;
    let v4 = v4.map(std::net::SocketAddr::V4);
    let all = v4.into_iter().chain(v6.map(std::net::SocketAddr::V6));
    let mut taken = Vec::new();
    for addr in all {
        if let Err(error) = UdpSocket::bind(addr) {
            taken.push(format!("{addr}: {error}"));
        }
    }
    match taken.is_empty() {
        true => Check::ok("ports", "free"),
        false => Check::of(
            "ports",
            State::Bad,
            taken.join(", "),
            "end what listens there, or set network.listen to another port",
        ),
    }
}

async fn of_running(remote: &Remote) -> Result<Vec<Check>, Failure> {
    let status = remote.status().await?;
    let found = remote.call::<api::PeerList>(&api::Empty {}).await?;
    let mut checks = vec![of_node(&status), of_addresses(&status)];
    checks.push(of_multicast(&found.local_networks));
    checks.extend(of_clock(&found.peers));
    checks.extend(found.peers.iter().filter_map(of_bootstrap));
    Ok(checks)
}

fn of_node(status: &api::NodeStatusResult) -> Check {
    let says = format!("runs, {}", status.version);
    match status.health.state.as_str() {
        "ok" => Check::ok("node", says),
        state => {
            let why = status
                .health
                .reason
                .as_deref()
                .unwrap_or("no reason is known");
            let next = "`panda help service` says what it waits for";
            Check::of("node", State::Bad, format!("{state}: {why}"), next)
        }
    }
}

fn of_addresses(status: &api::NodeStatusResult) -> Check {
    match status.addrs.is_empty() {
        false => Check::ok("ports", format!("reachable at {}", status.addrs.join(", "))),
        true => Check::of(
            "ports",
            State::Warn,
            "this machine has no address in a network",
            "connect it, or set network.listen",
        ),
    }
}

fn of_multicast(networks: &[api::LocalNetworkView]) -> Check {
    let failed = networks.iter().filter_map(|network| {
        let failed = network.failed.as_ref()?;
        Some(format!("{}: {failed}", network.interface))
    });
    let failed: Vec<_> = failed.collect();
    let works = networks.len() - failed.len();
    match (works, failed.is_empty()) {
        (0, true) => Check::of(
            "multicast",
            State::Warn,
            "looks for others on no interface",
            "set network.mdns to \"active\" and start without --no-mdns, or name nodes with network.peers",
        ),
        (_, true) => {
            let mut names: Vec<_> = networks.iter().map(|one| one.interface.as_str()).collect();
            names.dedup();
            Check::ok(
                "multicast",
                format!("looks for others on {}", names.join(", ")),
            )
        }
        (_, false) => Check::of(
            "multicast",
            State::Warn,
            failed.join(", "),
            "let UDP port 5353 through, or name nodes with network.peers",
        ),
    }
}

/// Checks whether the clocks of most of the others say something else. Which of the two is right,
/// nobody knows.
fn of_clock(peers: &[api::PeerView]) -> Option<Check> {
    let known: Vec<i64> = peers.iter().filter_map(|peer| peer.clock_ahead).collect();
    let off = known
        .iter()
        .filter(|ahead| ahead.abs() >= CLOCK_OFF_SECONDS);
    let off = off.count();
    if known.is_empty() {
        return None;
    }
    Some(match off * 2 > known.len() {
        false => Check::ok("clock", "as that of most other nodes"),
        true => Check::of(
            "clock",
            State::Bad,
            format!("{off} of {} other nodes have another time", known.len()),
            "set this machine's clock, for instance with `timedatectl set-ntp true`",
        ),
    })
}

/// A node that the configuration or a command named.
fn of_bootstrap(peer: &api::PeerView) -> Option<Check> {
    let contact = peer.contact.as_deref()?;
    let who = name(peer.node);
    Some(match contact {
        "reached" => Check::ok("peer", format!("{who} is reached")),
        "untried" => Check::ok("peer", format!("{who} was not tried yet")),
        contact => {
            let said = what_to_do(contact, &peer.addrs.join(", "));
            let (says, next) = said
                .split_once("; ")
                .unwrap_or((said.as_str(), "look there"));
            Check::of("peer", State::Bad, format!("{who}: {says}"), next)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(clock: Option<i64>, contact: Option<&str>) -> api::PeerView {
        api::PeerView {
            node: p2panda::VerifyingKey::from_bytes_unchecked([7; 32]),
            addrs: vec!["192.0.2.1:9".into()],
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
            clock_ahead: clock,
            refused: Vec::new(),
        }
    }

    fn state(check: Option<Check>) -> Option<State> {
        check.map(|check| check.state)
    }

    #[test]
    fn a_clock_is_off_if_most_others_say_so() {
        let clocks = |ahead: &[i64]| {
            let peers: Vec<_> = ahead.iter().map(|ahead| peer(Some(*ahead), None)).collect();
            state(of_clock(&peers))
        };
        assert_eq!(clocks(&[]), None);
        assert_eq!(clocks(&[0, 59, -61]), Some(State::Ok));
        assert_eq!(clocks(&[60]), Some(State::Bad));
        assert_eq!(clocks(&[60, 0]), Some(State::Ok));
        assert_eq!(clocks(&[-60, -60, 0]), Some(State::Bad));
    }

    #[test]
    fn only_configured_nodes_are_checked() {
        let of = |contact| state(of_bootstrap(&peer(None, contact)));
        assert_eq!(of(None), None);
        assert_eq!(of(Some("reached")), Some(State::Ok));
        assert_eq!(of(Some("untried")), Some(State::Ok));
        for contact in [
            "dead",
            "closed-port",
            "other-network",
            "wrong-id",
            "refused",
        ] {
            let check = of_bootstrap(&peer(None, Some(contact)));
            assert_eq!(state(check.clone()), Some(State::Bad));
            assert!(check.and_then(|check| check.next).is_some(), "{contact}");
        }
    }

    #[test]
    fn a_quota_is_almost_used_up_from_nine_tenths_on() {
        let mib = |mib: u64| mib * 1_024 * 1_024;
        assert_eq!(of_kept(mib(90) - 1, mib(100)).state, State::Ok);
        assert_eq!(of_kept(mib(90), mib(100)).state, State::Warn);
    }

    #[test]
    fn room_on_the_disk_is_low_below_half_a_gibibyte() {
        assert_eq!(of_room(FREE_BYTES_LOW).state, State::Ok);
        assert_eq!(of_room(FREE_BYTES_LOW - 1).state, State::Warn);
    }

    #[test]
    fn an_interface_that_hears_nothing_is_named() {
        let network = |failed: Option<&str>| api::LocalNetworkView {
            interface: "eth0".into(),
            ipv6: false,
            failed: failed.map(str::to_owned),
        };
        assert_eq!(of_multicast(&[]).state, State::Warn);
        assert_eq!(of_multicast(&[network(None)]).state, State::Ok);
        let check = of_multicast(&[network(None), network(Some("no route"))]);
        assert_eq!(
            (check.state, check.says.as_str()),
            (State::Warn, "eth0: no route")
        );
    }
}
