//! Settings as values that can be used.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use p2panda::{HostAddr, Mdns, NamedAddr, NetworkId, Quotas, Retention, Ticket};

use super::Config;
use super::access::AccessSettings;
use super::at_rest::AtRestSetting;
use super::config::{QuotaSection, RetentionSection};
use super::rpc::RpcSettings;
use crate::parse::{NodeAddr, OPERATION_MIB_MAX, TopicArg};

/// Memory that other nodes may use at a node that serves many, in MiB.
pub const SERVER_BUDGET_MIB: u32 = 512;

/// Storage limits of a node that serves many, in MiB: for all authors, a topic, an author.
const SERVER_QUOTAS_MIB: [u64; 3] = [10 * 1_024, 1_024, 256];

const MIB: u64 = 1_024 * 1_024;

/// Most memory that can be given to other nodes, in MiB.
const BUDGET_MIB_MAX: u32 = 65_536;

/// Purpose of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Of one person.
    Personal,
    /// It keeps topics for others.
    AlwaysOn,
    /// The same, and it takes no part in them.
    Relay,
}

/// Addresses on which to receive connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(Vec<NamedAddr>);

/// Settings that can be used.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub home: Option<PathBuf>,
    /// Path of the signing key.
    pub key: Option<PathBuf>,
    pub operation_mib: u32,
    pub at_rest: AtRestSetting,
    pub at_rest_before: Option<AtRestSetting>,
    pub seal_messages: bool,
    /// It publishes nothing and joins no space.
    pub is_relay: bool,
    pub quotas: Quotas,
    pub retention: Retention,
    pub network: Option<NetworkId>,
    pub listen: Listen,
    pub peers: Vec<NodeAddr>,
    pub relays: Vec<String>,
    pub mdns: Mdns,
    pub low_bandwidth: bool,
    /// `None`: what nodes have that serve few.
    pub budget_mib: Option<u32>,
    pub keep: Vec<TopicArg>,
    pub rpc: RpcSettings,
    pub access: AccessSettings,
}

/// A key, and what is wrong with it.
pub(super) type Wrong = (&'static str, String);

impl Resolved {
    pub fn of(config: &Config) -> Result<Resolved, Wrong> {
        let (node, network) = (&config.node, &config.network);
        let role = role(&node.role)?;
        let operation_mib = node.operation_mib;
        if !(1..=OPERATION_MIB_MAX).contains(&operation_mib) {
            let what = format!("node.operation_mib is 1 to {OPERATION_MIB_MAX}");
            return Err(("node.operation_mib", what));
        }
        if network.budget_mib > BUDGET_MIB_MAX {
            let what = format!("network.budget_mib is 0 to {BUDGET_MIB_MAX}");
            return Err(("network.budget_mib", what));
        }
        let keep: Vec<TopicArg> = each("topics.keep", &config.topics.keep, |text| text.parse())?;
        if role != Role::Personal && keep.is_empty() {
            let what = "a node that is always on or a relay needs topics: name them in topics.keep";
            return Err(("node.role", what.to_owned()));
        }
        let id = network.id.as_deref();
        let id = id.map(crate::parse::network_id).transpose();
        Ok(Resolved {
            home: node.home.clone().map(PathBuf::from),
            key: node.key.clone().map(PathBuf::from),
            operation_mib,
            at_rest: AtRestSetting::of("node.at_rest", &node.at_rest)?,
            at_rest_before: match &node.at_rest_before {
                Some(text) => Some(AtRestSetting::of("node.at_rest_before", text)?),
                None => None,
            },
            seal_messages: node.seal_messages,
            is_relay: role == Role::Relay,
            quotas: quotas(&config.quota, role),
            retention: retention(&config.retention)?,
            network: id.map_err(|error| ("network.id", error.to_string()))?,
            listen: Listen::of(&network.listen)?,
            peers: each("network.peers", &network.peers, |text| text.parse())?,
            relays: each("network.relays", &network.relays, relay)?,
            mdns: mdns(&network.mdns)?,
            low_bandwidth: network.low_bandwidth,
            budget_mib: match (network.budget_mib, role) {
                (0, Role::Personal) => None,
                (0, _) => Some(SERVER_BUDGET_MIB),
                (mib, _) => Some(mib),
            },
            keep,
            rpc: RpcSettings::of(&config.rpc)?,
            access: AccessSettings::of(&config.access)?,
        })
    }
}

impl Resolved {
    /// The nodes to start from: those that are named, and those of tickets.
    pub fn all_peers(&self) -> Vec<NodeAddr> {
        let contacts = self.tickets().flat_map(Ticket::contacts);
        let of_tickets = contacts.flat_map(|contact| {
            let node = contact.node;
            contact.addrs.iter().map(move |addr| NodeAddr {
                node,
                addr: addr.clone(),
            })
        });
        self.peers.iter().cloned().chain(of_tickets).collect()
    }

    /// The tickets among the topics.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.keep.iter().filter_map(|named| named.ticket.as_deref())
    }
}

/// Each item of a list, or which one is wrong.
pub(super) fn each<T, E: ToString>(
    key: &'static str,
    items: &[String],
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, Wrong> {
    let read = items.iter().enumerate().map(|(at, item)| {
        let wrong = |error: E| {
            (
                key,
                format!("{key}, item {}: {}", at + 1, error.to_string()),
            )
        };
        read(item).map_err(wrong)
    });
    read.collect()
}

fn role(text: &str) -> Result<Role, Wrong> {
    match text {
        "personal" => Ok(Role::Personal),
        "always-on" => Ok(Role::AlwaysOn),
        "relay" => Ok(Role::Relay),
        _ => Err((
            "node.role",
            "node.role is \"personal\", \"always-on\" or \"relay\"".to_owned(),
        )),
    }
}

/// Returns the storage limits for the data of others. A person's own node has no limits unless
/// they are set.
fn quotas(section: &QuotaSection, role: Role) -> Quotas {
    let of = |set: Option<u64>, server: u64| match (set, role) {
        (None, Role::Personal) | (Some(0), _) => None,
        (None, _) => Some(server.saturating_mul(MIB)),
        (Some(mib), _) => Some(mib.saturating_mul(MIB)),
    };
    let [total, topic, author] = SERVER_QUOTAS_MIB;
    Quotas {
        total: of(section.total_mib, total),
        topic: of(section.topic_mib, topic),
        author: of(section.author_mib, author),
    }
}

/// Maximum age of content by other authors.
fn retention(section: &RetentionSection) -> Result<Retention, Wrong> {
    let key = "retention.topics";
    let topics = each(key, &section.topics, |text| {
        let (topic, days) = text.rsplit_once(' ').ok_or("expected TOPIC DAYS")?;
        let topic: TopicArg = topic.trim().parse().map_err(|_| "no topic")?;
        let days = days.parse().map_err(|_| "expected TOPIC DAYS")?;
        Ok::<_, &str>((topic.topic, age(days)?))
    })?;
    Ok(Retention {
        age: age(section.days)
            .map_err(|what| ("retention.days", format!("retention.days: {what}")))?,
        topics: topics.into_iter().collect(),
        unread: section.unread,
    })
}

fn age(days: f64) -> Result<Option<Duration>, &'static str> {
    match days {
        0.0 => Ok(None),
        days => crate::parse::days(&days.to_string())
            .map(Some)
            .map_err(|_| "days are 0 to 3650"),
    }
}

fn mdns(text: &str) -> Result<Mdns, Wrong> {
    match text {
        "active" => Ok(Mdns::Active),
        "listen" => Ok(Mdns::Listen),
        "off" => Ok(Mdns::Off),
        _ => Err((
            "network.mdns",
            "network.mdns is \"active\", \"listen\" or \"off\"".to_owned(),
        )),
    }
}

fn relay(url: &str) -> Result<String, &'static str> {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(url.to_owned()),
        _ => Err("a relay is an https:// or http:// URL"),
    }
}

impl Listen {
    fn of(items: &[String]) -> Result<Listen, Wrong> {
        let key = "network.listen";
        let addrs: Vec<NamedAddr> = each(key, items, |text| {
            // Port 0, a free one, cannot be dialled and yet be listened on.
            match text.parse::<SocketAddr>() {
                Ok(socket) => Ok(NamedAddr::Socket(socket)),
                Err(_) => text.parse::<HostAddr>().map(NamedAddr::Host),
            }
            .map_err(|_| "expected ADDR:PORT or NAME:PORT")
        })?;
        let count = |is_it: fn(&SocketAddr) -> bool| {
            let sockets = addrs.iter().filter_map(|addr| match addr {
                NamedAddr::Socket(socket) => Some(socket),
                NamedAddr::Host(_) => None,
            });
            sockets.filter(|socket| is_it(socket)).count()
        };
        if count(SocketAddr::is_ipv4) > 1 || count(SocketAddr::is_ipv6) > 1 || addrs.len() > 2 {
            let what = "network.listen has one address of IPv4 and one of IPv6 at most";
            return Err((key, what.to_owned()));
        }
        Ok(Listen(addrs))
    }

    /// Returns `true` if the port is known before the node runs.
    pub fn has_port(&self) -> bool {
        self.0.iter().all(|addr| match addr {
            NamedAddr::Socket(socket) => socket.port() != 0,
            NamedAddr::Host(_) => true,
        }) && !self.0.is_empty()
    }

    /// The sockets; host names are resolved now. Blocks while it resolves.
    pub fn sockets(&self) -> std::io::Result<(Option<SocketAddrV4>, Option<SocketAddrV6>)> {
        let (mut v4, mut v6) = (None, None);
        for addr in &self.0 {
            let found: Vec<SocketAddr> = match addr {
                NamedAddr::Socket(socket) => vec![*socket],
                NamedAddr::Host(host) => (host.name(), host.port()).to_socket_addrs()?.collect(),
            };
            for socket in found {
                match socket {
                    SocketAddr::V4(socket) => v4 = v4.or(Some(socket)),
                    SocketAddr::V6(socket) => v6 = v6.or(Some(socket)),
                }
            }
        }
        Ok((v4, v6))
    }
}
