//! `panda node`

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use p2panda::{NamedAddr, Node, Topic};
use serde::Serialize;

use crate::args::{NodeArgs, RunArgs};
use crate::command::id::known_addresses;
use crate::failure::{Failure, Outcome};
use crate::interrupt::{Hangup, Interrupt};
use crate::open::until_stopped;
use crate::output::{self, Written, note};
use crate::remote::Remote;
use crate::serve::Served;
use crate::service::{self, Say};
use crate::settings::{Resolved, Settings};

/// Stays online until a signal.
pub async fn run(args: &NodeArgs, run: &RunArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let hangup = Hangup::new()?;
    let settings = Settings::load(args)?;
    note_readable(&settings);
    if args.at.is_some() {
        return Err(Failure::NodeOfItsOwn);
    }
    if let Some(remote) = Remote::of_home(args).await? {
        let at = remote.at().to_owned();
        return Err(Failure::RunsAlready { at });
    }
    let network = crate::open::network(args, &settings.resolved)?.unwrap_or_default();
    let node = crate::open::node(args, false).await?;
    if let Err(failure) = check_relay(&node, &settings.resolved).await {
        interrupt.finish(node.shutdown()).await?;
        return Err(failure);
    }
    let served = match Served::start(&node, network, &settings.resolved).await {
        Ok(served) => served,
        Err(error) => {
            interrupt.finish(node.shutdown()).await?;
            return Err(error.into());
        }
    };
    let mut running = Running {
        args,
        node: node.clone(),
        settings,
        hangup,
        served,
    };
    let ended = until_stopped(&node, running.run(run.json, &mut interrupt)).await;
    service::say(Say::Stopping).await;
    let end = async {
        running.served.end().await;
        node.shutdown().await
    };
    interrupt.finish(end).await?;
    ended.map(|()| Outcome::Done)
}

/// A relay cannot read what it keeps: a home that has keys of a space is none
/// (`docs/protocol/rpc.md#4`).
async fn check_relay(node: &Node, settings: &Resolved) -> Result<(), Failure> {
    if !settings.is_relay {
        return Ok(());
    }
    match node.spaces().states().await?.len() {
        0 => Ok(()),
        spaces => Err(Failure::RelayWithKeys { spaces }),
    }
}

/// Topics are secrets.
fn note_readable(settings: &Settings) {
    #[cfg(unix)]
    if let (Some(file), false) = (&settings.file, settings.config.topics.keep.is_empty()) {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(file).map_or(0, |file| file.permissions().mode());
        if mode & 0o044 != 0 {
            let file = file.display();
            note(&format!(
                "other users may read the topics in {file}; chmod 600 {file} ends that"
            ));
        }
    }
}

/// A node in the foreground.
struct Running<'a> {
    args: &'a NodeArgs,
    node: Node,
    settings: Settings,
    hangup: Hangup,
    served: Served,
}

/// Output of `panda node run --json` when the node is ready.
#[derive(Serialize)]
struct ReadyLine {
    id: String,
    home: PathBuf,
    role: String,
    /// As `--bootstrap` takes them.
    addresses: Vec<String>,
    /// Topics that are stored and served.
    topics: usize,
    /// Path of the socket for commands and programs of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    /// URLs of the RPC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rpc: Vec<String>,
    /// URLs of the metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<String>,
    /// URLs of the chat.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    demo: Vec<String>,
}

impl Running<'_> {
    async fn run(&mut self, json: bool, interrupt: &mut Interrupt) -> Result<(), Failure> {
        join(&self.node, &topics_of(&self.settings.resolved)).await?;
        tokio::select! {
            // Nobody reads on: the node runs all the same.
            ready = self.ready(json) => {
                let _ = ready?;
            }
            () = interrupt.wait() => return Ok(()),
        }
        service::say(Say::Ready).await;
        let node = self.node.clone();
        let mut watch = std::pin::pin!(service::watch(&node));
        loop {
            tokio::select! {
                () = interrupt.wait() => return Ok(()),
                () = self.served.asked_to_stop() => return Ok(()),
                () = self.hangup.wait() => {}
                () = &mut watch => {}
            }
            service::say(Say::Reloading).await;
            self.reload().await?;
            service::say(Say::Ready).await;
        }
    }

    async fn ready(&self, json: bool) -> Result<Written, Failure> {
        let mut kept: BTreeSet<Topic> = topics_of(&self.settings.resolved);
        let mut after = None;
        loop {
            let page = self.node.kept_topics(after).await?;
            after = page.last().copied();
            if after.is_none() {
                break;
            }
            kept.extend(page);
        }
        let line = ReadyLine {
            id: self.node.id().to_string(),
            home: self.node.data_dir().to_owned(),
            role: self.settings.config.node.role.clone(),
            addresses: known_addresses(&self.node).await,
            topics: kept.len(),
            socket: self.served.socket.clone(),
            rpc: urls(self.served.addrs(), "rpc"),
            metrics: urls(self.served.metrics(), "metrics"),
            demo: urls(self.served.demo(), "demo/"),
        };
        let written = match json {
            true => output::json(&line),
            false => output::line(&line.plain()),
        };
        written.map_err(Failure::Stdout)
    }

    /// Reads the configuration again. What is wrong with it leaves everything as it was.
    async fn reload(&mut self) -> Result<(), Failure> {
        let new = match Settings::load(self.args) {
            Ok(new) => new,
            Err(error) => {
                note(&format!("{error}; the configuration stays as it was"));
                return Ok(());
            }
        };
        if let Err(error) = self.served.reload(&new.resolved) {
            note(&format!("{error}; the configuration stays as it was"));
            return Ok(());
        }
        let (old, wanted) = (topics_of(&self.settings.resolved), topics_of(&new.resolved));
        let added: BTreeSet<Topic> = wanted.difference(&old).copied().collect();
        join(&self.node, &added).await?;
        let mut left = 0;
        for topic in old.difference(&wanted) {
            // One that is kept by command is none of the configuration's.
            if !is_kept(&self.node, *topic).await? {
                self.node.topic(*topic).leave().await;
                left += 1;
            }
        }
        let network = self.node.net();
        for peer in new.resolved.all_peers() {
            match peer.addr {
                NamedAddr::Socket(addr) => network.add_peer(peer.node, addr),
                NamedAddr::Host(host) => network.add_peer_host(peer.node, host),
            }
        }
        let differing = differing(&self.settings, &new);
        if differing.iter().any(|key| key.starts_with("quota.")) {
            self.node.set_quotas(new.resolved.quotas).await?;
        }
        note(&format!(
            "configuration read: {} topics more, {left} fewer",
            added.len()
        ));
        for key in differing.iter().filter(|key| !is_taken(key)) {
            note(&format!("{key} changes with the next start"));
        }
        self.settings = new;
        Ok(())
    }
}

fn urls(addrs: &[SocketAddr], path: &str) -> Vec<String> {
    let url = |addr: &SocketAddr| format!("http://{addr}/{path}");
    addrs.iter().map(url).collect()
}

/// The topics of the configuration.
fn topics_of(settings: &Resolved) -> BTreeSet<Topic> {
    settings.keep.iter().map(|named| named.topic).collect()
}

/// Is interested in topics from now on, without reading them.
async fn join(node: &Node, topics: &BTreeSet<Topic>) -> Result<(), Failure> {
    for topic in topics {
        node.publisher(*topic).await?;
    }
    Ok(())
}

async fn is_kept(node: &Node, topic: Topic) -> Result<bool, Failure> {
    let mut after = None;
    loop {
        let page = node.kept_topics(after).await?;
        after = page.last().copied();
        if page.contains(&topic) {
            return Ok(true);
        }
        if after.is_none_or(|last| last > topic) {
            return Ok(false);
        }
    }
}

/// The settings that are others now.
fn differing(old: &Settings, new: &Settings) -> Vec<String> {
    let (old, new) = (old.values(), new.values());
    let keys: BTreeSet<&String> = old.iter().chain(&new).map(|(key, _)| key).collect();
    let of = |values: &[(String, toml::Value)], name: &str| {
        let found = values.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let differing = keys
        .into_iter()
        .filter(|key| of(&old, key) != of(&new, key));
    differing.cloned().collect()
}

/// Returns `true` if a running node takes over a setting that has changed.
fn is_taken(key: &str) -> bool {
    matches!(key, "network.peers" | "topics.keep")
        || key.starts_with("access.")
        || key.starts_with("quota.")
}

impl ReadyLine {
    fn plain(&self) -> String {
        let mut plain = format!("node {}\nhome {}", self.id, self.home.display());
        for address in &self.addresses {
            plain.push_str(&format!("\nreachable at {address}"));
        }
        if let Some(socket) = &self.socket {
            plain.push_str(&format!("\nanswers commands at {}", socket.display()));
        }
        for url in &self.rpc {
            plain.push_str(&format!("\nanswers programs at {url}"));
        }
        for url in &self.metrics {
            plain.push_str(&format!("\nmetrics at {url}"));
        }
        for url in &self.demo {
            plain.push_str(&format!("\nchat at {url}"));
        }
        let topics = match self.topics {
            1 => "1 topic".to_owned(),
            count => format!("{count} topics"),
        };
        plain + &format!("\nready; stores and serves {topics}")
    }
}
