//! iroh-gossip by itself, to compare with: a process that broadcasts numbers and says which it
//! received; and iroh without even that.

use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use futures_lite::StreamExt;
use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{PortmapperConfig, presets};
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode, SecretKey};
use iroh_gossip::api::{Event, GossipReceiver};
use iroh_gossip::net::{GOSSIP_ALPN, Gossip};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::counters::Taken;
use crate::error::Error;
use crate::network::Space;
use crate::node::{PORT, key, topic};

/// Bytes of a message. Its first eight are its number.
pub const MESSAGE_BYTES: usize = 8_192;

/// Of a connection on which nothing is said.
const BARE_ALPN: &[u8] = b"bare";

/// Anything that iroh fails with.
type Any = Box<dyn StdError + Send + Sync>;

/// Identity of this process.
#[derive(Clone, Copy, Debug, Args)]
pub struct Identity {
    /// The number of its key.
    number: u32,
    /// Where the process with number 0 is, unless it is this one.
    first: Option<Ipv4Addr>,
    /// Only a connection, and nothing on it.
    #[arg(long)]
    bare: bool,
}

/// Such a process, from outside. It ends when this is dropped.
pub struct Gossiper {
    pid: u32,
    numbers: ChildStdin,
    seen: watch::Receiver<Vec<(u64, Instant)>>,
    _child: Child,
}

impl Gossiper {
    /// Starts one in a namespace and waits until it has a neighbour, unless it is the first.
    pub async fn start(
        space: &Space,
        number: usize,
        first: Option<Ipv4Addr>,
    ) -> Result<Gossiper, Error> {
        Self::spawn(space, number, first, &[]).await
    }

    /// Starts one that only has a connection with the first one.
    pub async fn bare(
        space: &Space,
        number: usize,
        first: Option<Ipv4Addr>,
    ) -> Result<Gossiper, Error> {
        Self::spawn(space, number, first, &["--bare"]).await
    }

    async fn spawn(
        space: &Space,
        number: usize,
        first: Option<Ipv4Addr>,
        options: &[&str],
    ) -> Result<Gossiper, Error> {
        let mut command = space.command(std::env::current_exe()?);
        command
            .arg("gossiper")
            .args(options)
            .arg(number.to_string());
        command.args(first.map(|first| first.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or(Error::Ended)?;
        let (sender, seen) = watch::channel(Vec::new());
        tokio::spawn(read(stdout, sender));
        let mut gossiper = Gossiper {
            pid: child.id().ok_or(Error::Ended)?,
            numbers: child.stdin.take().ok_or(Error::Ended)?,
            seen,
            _child: child,
        };
        let joined = gossiper.received(0, Duration::from_secs(30)).await;
        joined.map(|_| gossiper).ok_or(Error::Late("a neighbour"))
    }

    /// Broadcasts the message with a number above 0.
    pub async fn broadcast(&mut self, number: u64) -> Result<(), Error> {
        let line = format!("{number}\n");
        Ok(self.numbers.write_all(line.as_bytes()).await?)
    }

    /// When the message with a number was received.
    pub async fn received(&mut self, number: u64, within: Duration) -> Option<Instant> {
        let find = |seen: &Vec<(u64, Instant)>| {
            let this = seen.iter().find(|(one, _)| *one == number)?;
            Some(this.1)
        };
        let waited = self.seen.wait_for(|seen| find(seen).is_some());
        let seen = timeout(within, waited).await.ok()?.ok()?;
        find(&seen)
    }

    /// Returns what it has taken so far.
    pub fn taken(&self) -> Result<Taken, Error> {
        Taken::of(self.pid)
    }
}

async fn read(stdout: ChildStdout, seen: watch::Sender<Vec<(u64, Instant)>>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(number) = line.parse() {
            seen.send_modify(|seen| seen.push((number, Instant::now())));
        }
    }
}

/// The process: broadcasts the numbers that standard input names, prints those that it receives,
/// and 0 once it has a neighbour or needs none.
pub async fn serve(identity: Identity) -> Result<(), Error> {
    run(identity).await.map_err(Error::Gossip)
}

/// The key of a process.
fn secret(number: u32) -> SecretKey {
    SecretKey::from_bytes(&key(number).to_bytes())
}

async fn run(identity: Identity) -> Result<(), Any> {
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .secret_key(secret(identity.number))
        .alpns(vec![BARE_ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT))?
        .bind()
        .await?;
    if identity.bare {
        return hold(&endpoint, identity.first).await;
    }
    let known = MemoryLookup::new();
    let mut bootstrap: Vec<PublicKey> = Vec::new();
    if let Some(first) = identity.first {
        let id = secret(0).public();
        let addr = SocketAddr::from((first, PORT));
        known.add_endpoint_info(EndpointAddr::new(id).with_ip_addr(addr));
        bootstrap.push(id);
    }
    endpoint.address_lookup()?.add(known);
    let gossip = Gossip::builder()
        .max_message_size(2 * MESSAGE_BYTES)
        .spawn(endpoint.clone());
    let router = iroh::protocol::Router::builder(endpoint)
        .accept(GOSSIP_ALPN, gossip.clone())
        .spawn();
    let id = (*topic(0).as_bytes()).into();
    let (sender, mut receiver) = gossip.subscribe(id, bootstrap).await?.split();
    if identity.first.is_some() {
        receiver.joined().await?;
    }
    println!("0");
    tokio::spawn(print(receiver));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let mut message = vec![0x61; MESSAGE_BYTES];
        if let Some(first) = message.first_chunk_mut() {
            *first = line.parse::<u64>()?.to_le_bytes();
        }
        sender.broadcast(message.into()).await?;
    }
    router.shutdown().await?;
    Ok(())
}

/// Holds one connection until standard input ends.
async fn hold(endpoint: &Endpoint, first: Option<Ipv4Addr>) -> Result<(), Any> {
    let dialled = match first {
        Some(first) => {
            let addr = EndpointAddr::new(secret(0).public());
            let addr = addr.with_ip_addr(SocketAddr::from((first, PORT)));
            Some(endpoint.connect(addr, BARE_ALPN).await?)
        }
        None => None,
    };
    println!("0");
    let accepted = match dialled {
        Some(_) => None,
        None => Some(endpoint.accept().await.ok_or("no connection came")?.await?),
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await?.is_some() {}
    drop((dialled, accepted));
    Ok(())
}

async fn print(mut receiver: GossipReceiver) {
    while let Some(Ok(event)) = receiver.next().await {
        if let Event::Received(message) = event
            && let Some(number) = message.content.first_chunk()
        {
            println!("{}", u64::from_le_bytes(*number));
        }
    }
}
