//! The node that runs on one screen: whether it can be reached, who is there, what is behind and why.

use p2panda_rpc::api;
use serde::Serialize;

use super::contact::name;
use crate::face::Face;
use crate::failure::Failure;
use crate::output::{self, Written};
use crate::remote::Remote;

/// Peers that have a line.
const PEERS: usize = 10;

/// Topics that have a line of what is behind.
const TOPICS: usize = 10;

/// Prints it, line by line.
pub async fn print(remote: &Remote, topics: &[String]) -> Result<Written, Failure> {
    let status = remote.status().await?;
    let peers = remote.call::<api::PeerList>(&api::Empty {}).await?.peers;
    let mut lines = of_node(&status);
    lines.extend(of_peers(&peers));
    let mut behind = Vec::new();
    for topic in topics {
        let params = api::TopicParams {
            topic: topic.clone(),
        };
        let stored = remote.call::<api::TopicStatus>(&params).await?;
        let why = self::behind(remote, &stored).await?;
        if !why.is_empty() {
            behind.push(format!("  {topic}: {}", why.join(", ")));
        }
    }
    lines.push(match behind.len() {
        0 => "nothing is behind".to_owned(),
        count => format!(
            "behind: {count} of {}",
            counted(topics.len(), "topic", "topics")
        ),
    });
    lines.extend(behind.into_iter().take(TOPICS));
    let kept = Face::Running(remote.clone()).kept().await?;
    lines.extend(of_unkept(
        topics.iter().filter(|topic| !kept.contains(*topic)).count(),
    ));
    for line in lines {
        if output::line(&line).map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Written::Closed);
        }
    }
    Ok(Written::Yes)
}

/// Describes what is behind in a topic, and why.
pub async fn behind(
    remote: &Remote,
    stored: &api::TopicStatusResult,
) -> Result<Vec<String>, Failure> {
    let params = api::TopicParams {
        topic: stored.topic.clone(),
    };
    let with = remote.call::<api::TopicPeers>(&params).await?.peers;
    Ok(of_topic(stored, &with))
}

/// The node that runs, as the first line of `panda status --json`.
#[derive(Serialize)]
pub struct NodeLine {
    node: String,
    version: String,
    up_seconds: u64,
    /// `ok`, `storage-waits` or `stopped`.
    health: String,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    addresses: Vec<String>,
    /// A recovery file is due.
    renewal_due: bool,
    peers: Vec<PeerLine>,
}

/// A node that it knows.
#[derive(Serialize)]
struct PeerLine {
    id: String,
    connected: bool,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u64>,
    relayed: bool,
    topics_shared: u64,
}

impl NodeLine {
    pub async fn of(remote: &Remote) -> Result<NodeLine, Failure> {
        let status = remote.status().await?;
        let found = remote.call::<api::PeerList>(&api::Empty {}).await?;
        let peers = found.peers.into_iter().map(|peer| PeerLine {
            id: peer.node.to_string(),
            connected: peer.connected,
            state: peer.state,
            why: peer.why,
            rtt_us: peer.rtt_us,
            relayed: peer.relayed,
            topics_shared: peer.topics_shared,
        });
        Ok(NodeLine {
            node: status.node.to_string(),
            version: status.version,
            up_seconds: status.up_seconds,
            health: status.health.state,
            reason: status.health.reason,
            addresses: status.addrs,
            renewal_due: status.renewal_due,
            peers: peers.collect(),
        })
    }
}

fn of_unkept(count: usize) -> Option<String> {
    let topics = counted(count, "topic is", "topics are");
    let until = "stored, and served until the node ends if a command used it";
    (count > 0).then(|| format!("{topics} not kept: {until}; `panda topic keep` keeps them"))
}

fn of_node(status: &api::NodeStatusResult) -> Vec<String> {
    let up = status.up_seconds;
    let up = match up {
        0..120 => format!("{up} s"),
        120..7_200 => format!("{} min", up / 60),
        7_200..172_800 => format!("{} h", up / 3_600),
        _ => format!("{} days", up / 86_400),
    };
    let mut lines = vec![format!("node {}, {}, up {up}", status.node, status.version)];
    if status.health.state != "ok" {
        let why = status
            .health
            .reason
            .as_deref()
            .unwrap_or("no reason is known");
        lines.push(format!("{}: {}", status.health.state, output::visible(why)));
    }
    match status.addrs.is_empty() {
        true => lines.push("not reachable: this machine has no address in a network".to_owned()),
        false => lines.push(format!("reachable at {}", status.addrs.join(", "))),
    }
    if status.renewal_due {
        lines.push(output::RENEWAL.to_owned());
    }
    lines
}

fn of_peers(peers: &[api::PeerView]) -> Vec<String> {
    let connected = peers.iter().filter(|peer| peer.connected).count();
    let mut lines = vec![match peers.is_empty() {
        true => "no other node is known; name one with --bootstrap ID@ADDR".to_owned(),
        false => format!("{connected} connected of {} known", peers.len()),
    }];
    // Those that are there first.
    let mut shown: Vec<_> = peers.iter().collect();
    shown.sort_by_key(|peer| !peer.connected);
    for peer in shown.into_iter().take(PEERS) {
        let mut line = format!("  {} {}", name(peer.node), peer.state);
        if let Some(why) = &peer.why {
            line.push_str(&format!(" ({})", why.replace('-', " ")));
        }
        if let Some(rtt) = peer.rtt_us {
            line.push_str(&format!(", {:.1} ms", rtt as f64 / 1e3));
        }
        let through = if peer.relayed {
            ", through a relay"
        } else {
            ""
        };
        line.push_str(through);
        if peer.topics_shared > 0 {
            let shared = usize::try_from(peer.topics_shared).unwrap_or(usize::MAX);
            line.push_str(&format!(", shares {}", counted(shared, "topic", "topics")));
        }
        lines.push(line);
    }
    if peers.len() > PEERS {
        lines.push(format!("  and {} more: `panda peers`", peers.len() - PEERS));
    }
    lines
}

/// Describes what is behind in a topic, and why.
fn of_topic(stored: &api::TopicStatusResult, peers: &[api::TopicPeer]) -> Vec<String> {
    let mut why = Vec::new();
    let catching_up = peers.iter().filter(|peer| !peer.live).count();
    if catching_up > 0 {
        why.push(format!(
            "catches up with {}",
            counted(catching_up, "peer", "peers")
        ));
    }
    let not_kept = stored.not_kept.len() as u64;
    for (count, one, many) in [
        (
            stored.waiting,
            "waits for messages that precede it",
            "wait for messages that precede them",
        ),
        (
            stored.sealed,
            "is sealed: a member that is online gives the secret, unless this node may not read it",
            "are sealed: members that are online give the secrets, unless this node may not read them",
        ),
        (stored.wanted, "lacks its content", "lack their content"),
        (
            stored.blocked,
            "log cannot continue here",
            "logs cannot continue here",
        ),
        (
            not_kept,
            "log is not kept by a peer, whose quota is used up",
            "logs are not kept by a peer, whose quota is used up",
        ),
    ] {
        match count {
            0 => {}
            1 => why.push(format!("1 {one}")),
            _ => why.push(format!("{count} {many}")),
        }
    }
    let unread = stored.positions.iter().filter(|one| one.oldest.is_some());
    for consumer in unread {
        // That of the topic itself has the log id in its name.
        let name = match consumer.name.starts_with("topic ") {
            true => "`panda sub`".to_owned(),
            false => output::visible(&consumer.name),
        };
        // A filter may not admit all of them.
        why.push(format!("{name} has up to {} to read", consumer.unsettled));
    }
    why
}

fn counted(count: usize, one: &str, many: &str) -> String {
    let what = if count == 1 { one } else { many };
    format!("{count} {what}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stored(more: serde_json::Value) -> api::TopicStatusResult {
        let mut view = serde_json::json!({
            "topic": "a", "logs": 1, "operations": 33, "bytes": 9, "first": 1, "last": 9, "waiting": 0,
            "rejected": {}, "forks": 0, "blocked": 0, "own_log_closed": false, "consumers": [],
            "positions": [], "blocked_logs": [], "wanted": 0,
        });
        let fields = view.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn messages_that_wait_for_a_secret_are_behind() {
        assert!(of_topic(&stored(serde_json::json!({})), &[]).is_empty());
        let why = of_topic(&stored(serde_json::json!({ "sealed": 2 })), &[]);
        assert_eq!(
            why,
            [
                "2 are sealed: members that are online give the secrets, unless this node may not read them"
            ]
        );
    }

    #[test]
    fn what_a_consumer_has_to_read_is_no_difference_of_offsets() {
        let position = serde_json::json!({
            "name": "mine", "position": 1, "unsettled": 2, "oldest": 4_294_967_300u64, "since": null,
        });
        let fields = serde_json::json!({ "last": 8_589_938_694u64, "positions": [position] });
        let why = of_topic(&stored(fields), &[]);
        assert_eq!(why, ["mine has up to 2 to read"]);
    }

    #[test]
    fn the_status_reminds_of_a_recovery_file_that_is_due() {
        let status = |due: bool| api::NodeStatusResult {
            node: p2panda::SigningKey::from_bytes(&[1; 32]).verifying_key(),
            version: "0.1.0".to_owned(),
            network: p2panda::NetworkId::from_bytes([2; 32]),
            addrs: Vec::new(),
            rpc: Vec::new(),
            health: api::HealthView {
                state: "ok".to_owned(),
                reason: None,
            },
            up_seconds: 1,
            topics: 0,
            logs_blocked: 0,
            peers: 0,
            peers_connected: 0,
            sessions: 0,
            sessions_live: 0,
            renewal_due: due,
        };
        let reminds = |due| of_node(&status(due)).iter().any(|it| it == output::RENEWAL);
        assert!(reminds(true) && !reminds(false));
        // A credential without `admin` is not told, and nothing is written for it.
        let text = serde_json::to_string(&status(false)).unwrap();
        assert!(!text.contains("renewal_due"));
    }
}
