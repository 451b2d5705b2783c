//! A node with its RPC, to be run as a process: by the tests of clients in any language.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use p2panda::{Builder, Mdns, NetworkId, Quotas, Topic, VerifyingKey};
use p2panda_rpc::daemon::{self, Config, Grant, Scopes, UnixPath, Unknown};

/// Token of a client that reads, publishes and relays.
pub const ALICE: &str = "token-of-alice";
/// Token of a client that only reads.
pub const BOB: &str = "token-of-bob";
/// Token of a client that works in spaces.
pub const SAM: &str = "token-of-sam";
/// Token of a client that may do everything.
pub const ROOT: &str = "token-of-root";

/// A node that meets nobody, before it is spawned.
pub fn builder(dir: &Path) -> Builder {
    p2panda::builder()
        .data_dir(dir)
        .state_dir(None)
        .network_id(NetworkId::from_bytes([7; 32]))
        .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
        .mdns(Mdns::Off)
}

/// A socket in the directory, a free port, and three tokens.
pub fn config(dir: &Path) -> Config {
    let scopes = |text| Scopes::parse(text).expect("these are scopes");
    let mut config = Config::new(dir);
    config.unix = Some(UnixPath {
        path: dir.join("rpc"),
        mode: 0o600,
    });
    config.tcp.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.access.grants = vec![
        Grant::token("alice", ALICE, scopes("read,publish-as-node,relay")),
        Grant::token("bob", BOB, scopes("read")),
        Grant::token(
            "sam",
            SAM,
            scopes("read,publish-as-node,space:read,space:admin"),
        ),
        Grant::token("root", ROOT, Scopes::all()),
    ];
    config
}

/// Settings of the server for a test, next to its tokens.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Topics that are kept, in which keys that nobody names may read and relay.
    pub open: Vec<Topic>,
    /// Such keys bring topics, until the node keeps this many.
    pub rooms: Option<usize>,
    /// Such keys need an invite.
    pub invites: bool,
    /// Origins of pages.
    pub origins: Vec<String>,
    /// The port; 0 for a free one.
    pub port: u16,
    /// Address of the node for other nodes, and of others for it.
    pub peers: Vec<(VerifyingKey, SocketAddr)>,
    /// The most bytes that the node keeps of each other author.
    pub author_bytes: Option<u64>,
}

/// Serves until a client asks for the end, and says on standard output where.
pub async fn serve(dir: &Path, wishes: Wishes) -> Result<(), Box<dyn std::error::Error>> {
    let quotas = Quotas {
        author: wishes.author_bytes,
        ..Quotas::default()
    };
    let node = builder(dir).quotas(quotas).spawn().await?;
    let mut config = config(dir);
    config.tcp = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, wishes.port))];
    config.access.origins = wishes.origins;
    for topic in &wishes.open {
        node.topic(*topic).keep(true).await?;
    }
    if !wishes.open.is_empty() {
        config.access.unknown_keys = Unknown::Open {
            topics: wishes.open.into_iter().collect(),
        };
    }
    if let Some(topics_max) = wishes.rooms {
        config.access.unknown_keys = Unknown::Rooms { topics_max };
    }
    if wishes.invites {
        config.access.unknown_keys = Unknown::Invite;
    }
    for (peer, addr) in wishes.peers {
        node.net().add_peer(peer, addr);
    }
    let running = daemon::start(node.clone(), config).await?;
    let addr = running.tcp_addrs().first().copied();
    let addr = addr.map(|addr| addr.to_string()).unwrap_or_default();
    let unix = dir.join("rpc");
    let mut out = std::io::stdout();
    writeln!(out, "\nlistening {addr} {}", unix.display())?;
    out.flush()?;
    running.asked_to_stop().await;
    running.shutdown().await;
    node.shutdown().await?;
    Ok(())
}
