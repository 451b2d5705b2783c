//! The server of a node's RPC (`docs/protocol/rpc.md`): [`start`] it, and every client gets at the node.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use p2panda_rpc::daemon::{self, Config, Grant, Scopes};
//! let node = p2panda::open("./my-app").await?;
//! let mut config = Config::new(node.data_dir());
//! config.tcp.push("127.0.0.1:7780".parse()?);
//! config.access.grants.push(Grant::token("alice", "SECRET", Scopes::parse("read")?));
//! let running = daemon::start(node.clone(), config).await?;
//! running.asked_to_stop().await;
//! running.shutdown().await;
//! node.shutdown().await?;
//! # Ok(()) }
//! ```

mod access;
mod alias;
mod arrivals;
mod budget;
mod calls;
mod connection;
mod consumers;
mod delivering;
mod demo;
mod devices;
mod dispatch;
mod doors;
mod elsewhere;
mod filling;
mod http;
mod invites;
pub mod map;
mod metrics;
mod named_reads;
mod page;
mod publishing;
mod quota;
mod reading;
mod recovery;
mod sending;
mod served;
mod service;
mod session;
mod spaces;
mod streams;
mod subscription;
mod teams;
#[cfg(unix)]
mod unix;
mod uploads;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use p2panda::Node;
use p2panda_core::limits::RPC_SHUTDOWN_WAIT;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use access::{Access, Grant, Scope, Scopes, Unknown};
pub use demo::Demo;
pub use doors::Connections;
pub use quota::Quotas;
#[cfg(unix)]
pub use unix::UnixPath;

use access::Gate;
use alias::Aliases;
use doors::Doors;
use invites::Invites;
use service::Service;

/// Settings of the server. Nothing listens that is not named.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// Directory of the key that makes aliases of topics.
    pub dir: PathBuf,
    /// The network that the node is in, to be told.
    pub network: p2panda::NetworkId,
    /// A Unix socket to make.
    #[cfg(unix)]
    pub unix: Option<UnixPath>,
    /// One that is made already, by systemd for instance.
    #[cfg(unix)]
    pub unix_listener: Option<std::os::unix::net::UnixListener>,
    /// Addresses to listen on, of this machine only.
    pub tcp: Vec<SocketAddr>,
    /// Addresses of the metrics and of health alone, without a credential.
    pub metrics: Vec<SocketAddr>,
    /// The chat, on separate ports.
    pub demo: Option<Demo>,
    /// Sockets that are open already.
    pub tcp_listeners: Vec<std::net::TcpListener>,
    /// Addresses that other machines reach are also allowed.
    pub public: bool,
    /// Access rights of the callers.
    pub access: Access,
    /// Quotas of each client.
    pub quotas: Quotas,
    /// Bounds of TCP connections.
    pub connections: Connections,
    /// The node only keeps and forwards: no program publishes as the node, and it joins no space.
    pub relay: bool,
    /// Topics that the configuration keeps, in addition to those that are kept by command.
    pub keep: Vec<p2panda::Topic>,
}

impl Config {
    /// With the directory that keeps `alias.key`.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Config {
            dir: dir.as_ref().to_path_buf(),
            network: p2panda::NetworkId::default(),
            #[cfg(unix)]
            unix: None,
            #[cfg(unix)]
            unix_listener: None,
            tcp: Vec::new(),
            metrics: Vec::new(),
            demo: None,
            tcp_listeners: Vec::new(),
            public: false,
            access: Access::default(),
            quotas: Quotas::default(),
            connections: Connections::default(),
            relay: false,
            keep: Vec::new(),
        }
    }
}

/// Reason why the server does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The file of invites cannot be read.
    #[error("the file invites.json in {} cannot be used: {source}", dir.display())]
    Invites {
        /// The directory.
        dir: PathBuf,
        /// Cause of the error.
        source: io::Error,
    },
    /// An address that others reach, which was not asked for.
    #[error("{0} is reached by other machines; set `public`, and use TLS in front of it")]
    NotLoopback(SocketAddr),
    /// An address cannot be listened on.
    #[error("{addr} cannot be listened on: {source}")]
    Tcp {
        /// The address.
        addr: SocketAddr,
        /// Cause of the error.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("the socket {} cannot be made: {source}", path.display())]
    Unix {
        /// Path of the socket.
        path: PathBuf,
        /// Cause of the error.
        source: io::Error,
    },
    /// The demo page cannot be read.
    #[error("the demo page in {} cannot be used: {source}", dir.display())]
    Demo {
        /// The folder.
        dir: PathBuf,
        /// Cause of the error.
        source: io::Error,
    },
    /// The key of aliases cannot be read or made.
    #[error("the file alias.key in {} cannot be used: {source}", dir.display())]
    Alias {
        /// The directory.
        dir: PathBuf,
        /// Cause of the error.
        source: io::Error,
    },
}

/// A server that runs. It ends with [`Running::shutdown`], or at once when it is dropped.
#[derive(Debug)]
pub struct Running {
    service: Service,
    tasks: JoinSet<()>,
    tcp: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    demo: Vec<SocketAddr>,
    unix: Option<PathBuf>,
}

/// Starts the server of a node. The node stays with its caller.
///
/// # Errors
/// Nothing is left open then.
pub async fn start(node: Node, config: Config) -> Result<Running, StartError> {
    let dir = config.dir.clone();
    let aliases = Aliases::open(&dir).map_err(|source| StartError::Alias { dir, source })?;
    aliases.configure(config.keep);
    let invites = Invites::open(&config.dir);
    let invites = invites.map_err(|source| StartError::Invites {
        dir: config.dir.clone(),
        source,
    })?;
    let gate = Gate::new(node.id(), config.access, config.quotas, invites);
    let doors = Doors::new(config.connections);
    let service = Service::new(node, aliases, gate, doors, config.network, config.relay);
    let mut running = Running {
        service,
        tasks: JoinSet::new(),
        tcp: Vec::new(),
        metrics: Vec::new(),
        demo: Vec::new(),
        unix: None,
    };
    let renewal = recovery::keep_looking(running.service.clone());
    running.tasks.spawn(renewal);
    for addr in config.tcp {
        let listener = bind(addr, config.public).await?;
        running.tcp.extend(listener.local_addr());
        running.listen(listener, http::router(running.service.clone()));
    }
    for addr in config.metrics {
        let listener = bind(addr, config.public).await?;
        running.metrics.extend(listener.local_addr());
        running.listen(listener, http::measured(running.service.clone()));
    }
    for listener in config.tcp_listeners {
        let addr = listener.local_addr();
        let addr = addr.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener));
        let listener = listener.map_err(|source| StartError::Tcp { addr, source })?;
        running.tcp.extend(listener.local_addr());
        running.listen(listener, http::router(running.service.clone()));
    }
    if let Some(demo) = config.demo {
        running.serve_demo(demo, config.public).await?;
    }
    let listens = running.tcp.iter().map(ToString::to_string);
    *running.service.listens.lock() = listens.collect();
    #[cfg(unix)]
    running
        .listen_unix(config.unix, config.unix_listener)
        .await?;
    Ok(running)
}

async fn bind(addr: SocketAddr, public: bool) -> Result<TcpListener, StartError> {
    if !public && !addr.ip().is_loopback() {
        return Err(StartError::NotLoopback(addr));
    }
    let listener = TcpListener::bind(addr).await;
    listener.map_err(|source| StartError::Tcp { addr, source })
}

impl Running {
    fn listen(&mut self, listener: TcpListener, router: axum::Router) {
        self.tasks
            .spawn(served::accept(listener, router, self.service.clone()));
    }

    async fn serve_demo(&mut self, demo: Demo, public: bool) -> Result<(), StartError> {
        let Demo { listen, dir, node } = demo;
        let rpc = self.tcp.first().map(|addr| format!("ws://{addr}/rpc"));
        let node = node.or(rpc).unwrap_or_default();
        let site = demo::Site::read(&dir, &self.service.node.id().to_string(), &node);
        let site = site.map_err(|source| StartError::Demo { dir, source })?;
        for addr in listen {
            let listener = bind(addr, public).await?;
            self.demo.extend(listener.local_addr());
            self.listen(listener, site.clone().router());
        }
        Ok(())
    }

    #[cfg(unix)]
    async fn listen_unix(
        &mut self,
        path: Option<UnixPath>,
        made: Option<std::os::unix::net::UnixListener>,
    ) -> Result<(), StartError> {
        if let Some(unix) = path {
            let listener = unix::bind(&unix).await;
            let path = unix.path;
            let listener = listener.map_err(|source| StartError::Unix {
                path: path.clone(),
                source,
            })?;
            self.unix = Some(path);
            self.tasks
                .spawn(unix::accept(listener, self.service.clone()));
        }
        if let Some(made) = made {
            let made = made
                .set_nonblocking(true)
                .and_then(|()| tokio::net::UnixListener::from_std(made));
            let listener = made.map_err(|source| StartError::Unix {
                path: PathBuf::new(),
                source,
            })?;
            self.tasks
                .spawn(unix::accept(listener, self.service.clone()));
        }
        Ok(())
    }

    /// The addresses that it listens on.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// The addresses of the metrics alone.
    pub fn metrics_addrs(&self) -> &[SocketAddr] {
        &self.metrics
    }

    /// The addresses of the demo page.
    pub fn demo_addrs(&self) -> &[SocketAddr] {
        &self.demo
    }

    /// The socket that it made.
    pub fn unix_path(&self) -> Option<&Path> {
        self.unix.as_deref()
    }

    /// Completes when a client with the scope `admin` asked for the end of the node.
    pub async fn asked_to_stop(&self) {
        self.service.stop.notified().await;
    }

    /// Other credentials from now on. Connections that are open keep what they had.
    pub fn reload(&self, access: Access) {
        self.service.gate.exchange(access);
    }

    /// Other topics that the configuration keeps, from now on.
    pub fn reload_keep(&self, topics: impl IntoIterator<Item = p2panda::Topic>) {
        self.service.aliases.configure(topics);
    }

    /// Makes it not ready, and refuses new subscriptions; open ones continue.
    pub fn drain(&self) {
        self.service.drain();
    }

    /// Ends subscriptions and connections, and takes the socket away. Clients that do not read are cut
    /// after half a second.
    pub async fn shutdown(mut self) {
        self.service.drain();
        self.service.end();
        let service = self.service.clone();
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            // A WebSocket has a task of its own, and gives its place back at its end.
            service.doors.until_empty().await;
        };
        let _ = tokio::time::timeout(RPC_SHUTDOWN_WAIT, all).await;
        self.tasks.shutdown().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.service.end();
        if let Some(path) = &self.unix {
            // Somebody else may have taken it away.
            let _ = std::fs::remove_file(path);
        }
    }
}
