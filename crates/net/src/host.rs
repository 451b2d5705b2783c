//! Nodes that are named by a host name (`docs/protocol/network.md#5`).

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use p2panda_core::{HostAddr, VerifyingKey};
use tokio::sync::oneshot;

/// A node to start with, at a host name: no matter what the name resolves to counts as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapHost {
    /// Its node id.
    pub node: VerifyingKey,
    /// Its name.
    pub host: HostAddr,
}

type Lookup = dyn Fn(&HostAddr) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Finds the addresses of a name: the resolver of the system, unless a test has one of its own.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

impl Resolver {
    /// A resolver that may block.
    pub fn new(
        lookup: impl Fn(&HostAddr) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver(Arc::new(lookup))
    }

    /// The addresses of a name; none is an error.
    ///
    /// The system's resolver blocks, for minutes if it likes to. It does so on a thread of its own:
    /// the runtime would wait for one of its threads when the program ends.
    pub(crate) async fn lookup(&self, host: &HostAddr) -> io::Result<Vec<SocketAddr>> {
        let (found, is_found) = oneshot::channel();
        let (lookup, host) = (self.0.clone(), host.clone());
        std::thread::Builder::new()
            .name("p2panda-name".to_owned())
            .spawn(move || {
                // Nobody waits any more when the network was shut down.
                let _ = found.send(lookup(&host));
            })?;
        let found = is_found.await.map_err(io::Error::other)??;
        if found.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(found)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver::new(|host| Ok((host.name(), host.port()).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
