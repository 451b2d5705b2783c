//! The RPC of a node that runs: where it listens, as the settings or the service manager say.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use p2panda::{NetworkId, Node, Topic};
use p2panda_rpc::daemon::{self, Config, Running, StartError};
use thiserror::Error;

use crate::output::note;
use crate::settings::{Resolved, TokensError};
#[cfg(unix)]
use crate::{settings::SocketSetting, socket};

/// Reason why a node that runs cannot be reached by programs.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error("{0}; choose another address or path in [rpc] of the configuration")]
    Start(#[from] StartError),
    #[error("{0}; set rpc.socket to another path, or to \"off\"")]
    Socket(#[source] io::Error),
    #[error("the sockets of the service manager cannot be used: {0}; check its unit")]
    Activated(#[source] io::Error),
}

/// Reads the files that [`Served::start`] reads: the tokens and the demo page.
pub fn check(settings: &Resolved) -> Result<(), ServeError> {
    settings.access.load()?;
    if let Some((_, dir, _)) = &settings.rpc.demo {
        daemon::Demo::check(dir).map_err(|source| StartError::Demo {
            dir: dir.clone(),
            source,
        })?;
    }
    if let Some((listen, ..)) = &settings.rpc.demo {
        note_demo(settings, listen);
    }
    Ok(())
}

/// Says so if no page of the demo may use the RPC. Behind a proxy its origin is another one, which is not
/// known here.
fn note_demo(settings: &Resolved, listen: &[SocketAddr]) {
    let origins = settings.access.origins();
    let is_proxied = matches!(&settings.rpc.demo, Some((.., Some(_))));
    if is_proxied && !origins.is_empty() {
        return;
    }
    for addr in listen {
        let own = [
            format!("http://{addr}"),
            format!("http://localhost:{}", addr.port()),
        ];
        // Each of the addresses of the machine is an origin of its own.
        let is_any = addr.ip().is_unspecified() && !origins.is_empty();
        if is_any || addr.port() == 0 || own.iter().any(|own| origins.contains(own)) {
            continue;
        }
        note(&format!(
            "the chat at http://{addr}/demo/ cannot connect: add its origin \"http://{addr}\" to access.origins"
        ));
    }
}

/// The RPC of a node. It ends with [`Served::end`].
pub struct Served {
    running: Running,
    node: Node,
    /// Path of the Unix socket, no matter who made it.
    pub socket: Option<PathBuf>,
}

impl Served {
    /// Listens where the settings say, and on what the service manager has opened.
    pub async fn start(
        node: &Node,
        network: NetworkId,
        settings: &Resolved,
    ) -> Result<Served, ServeError> {
        let mut config = Config::new(node.data_dir());
        config.network = network;
        config.access = settings.access.load()?;
        config.public = settings.rpc.public;
        config.relay = settings.is_relay;
        config.keep = kept(settings);
        config.tcp.clone_from(&settings.rpc.listen);
        config.metrics.clone_from(&settings.rpc.metrics);
        config.demo = settings.rpc.demo.clone().map(|(listen, dir, node)| {
            let mut demo = daemon::Demo::new(listen, dir);
            demo.node = node;
            demo
        });
        let activated = activated(&mut config).map_err(ServeError::Activated)?;
        #[cfg(unix)]
        if config.unix_listener.is_none() {
            let path = match &settings.rpc.socket {
                SocketSetting::Off => None,
                SocketSetting::At(path) => Some(path.clone()),
                SocketSetting::Usual => {
                    Some(socket::usual(node.data_dir()).map_err(ServeError::Socket)?)
                }
            };
            config.unix = path.map(|path| daemon::UnixPath {
                path,
                mode: settings.rpc.socket_mode,
            });
        }
        let running = daemon::start(node.clone(), config).await?;
        note_demo(settings, running.demo_addrs());
        let socket = running.unix_path().map(PathBuf::from).or(activated);
        #[cfg(unix)]
        if let Some(path) = &socket {
            socket::name(node.data_dir(), path).map_err(ServeError::Socket)?;
        }
        Ok(Served {
            running,
            node: node.clone(),
            socket,
        })
    }

    /// Addresses of HTTP and WebSockets.
    pub fn addrs(&self) -> &[SocketAddr] {
        self.running.tcp_addrs()
    }

    /// Addresses of the metrics alone.
    pub fn metrics(&self) -> &[SocketAddr] {
        self.running.metrics_addrs()
    }

    /// Addresses of the demo page.
    pub fn demo(&self) -> &[SocketAddr] {
        self.running.demo_addrs()
    }

    /// Other credentials and kept topics from now on.
    pub fn reload(&self, settings: &Resolved) -> Result<(), TokensError> {
        self.running.reload(settings.access.load()?);
        self.running.reload_keep(kept(settings));
        Ok(())
    }

    /// A client asks for the end of the node.
    pub async fn asked_to_stop(&self) {
        self.running.asked_to_stop().await;
    }

    /// Not ready any more; then no streams, then no connections.
    pub async fn end(self) {
        #[cfg(unix)]
        if self.socket.is_some() {
            socket::forget(self.node.data_dir());
        }
        self.running.shutdown().await;
    }
}

/// The topics of the configuration.
fn kept(settings: &Resolved) -> Vec<Topic> {
    settings.keep.iter().map(|named| named.topic).collect()
}

/// Takes the sockets that the service manager has opened; gives the path of the Unix socket among them.
#[cfg(unix)]
fn activated(config: &mut Config) -> io::Result<Option<PathBuf>> {
    let mut sockets = listenfd::ListenFd::from_env();
    let mut path = None;
    for at in 0..sockets.len() {
        // It says that a socket is of another kind, and keeps it.
        if let Ok(Some(unix)) = sockets.take_unix_listener(at) {
            path = unix.local_addr()?.as_pathname().map(PathBuf::from);
            config.unix_listener = Some(unix);
        } else if let Some(tcp) = sockets.take_tcp_listener(at)? {
            config.tcp_listeners.push(tcp);
        }
    }
    Ok(path)
}

#[cfg(not(unix))]
fn activated(_: &mut Config) -> io::Result<Option<PathBuf>> {
    Ok(None)
}
