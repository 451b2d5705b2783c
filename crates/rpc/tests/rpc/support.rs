//! A node with its RPC, to be run as a process: by the tests of clients in any language.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use p2panda::{Mdns, NetworkId, Node};
use p2panda_rpc::daemon::{self, Config, Grant, Scopes, UnixPath};

/// Token of a client that reads, publishes and relays.
pub const ALICE: &str = "token-of-alice";
/// Token of a client that only reads.
pub const BOB: &str = "token-of-bob";
/// Token of a client that may do everything.
pub const ROOT: &str = "token-of-root";

/// A node that meets nobody.
pub async fn node(dir: &Path) -> Result<Node, p2panda::Error> {
    p2panda::builder()
        .data_dir(dir)
        .state_dir(None)
        .network_id(NetworkId::from_bytes([7; 32]))
        .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
        .mdns(Mdns::Off)
        .spawn()
        .await
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
        Grant::token("root", ROOT, Scopes::all()),
    ];
    config
}

/// Serves until a client asks for the end, and says on standard output where.
pub async fn serve(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let node = node(dir).await?;
    let running = daemon::start(node.clone(), config(dir)).await?;
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
