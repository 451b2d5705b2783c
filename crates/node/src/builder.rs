//! Settings of a node.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2panda_core::{HostAddr, NetworkId, SigningKey, VerifyingKey, limits};
use p2panda_engine::{AtRest, Quotas, Retention};
use p2panda_net::{Bootstrap, BootstrapHost, Mdns, Relay};
use p2panda_store::RestoredAction;

use crate::node::Node;
use crate::{Error, node};

/// Settings of a node, by value. [`Builder::spawn`] starts it.
///
/// ```no_run
/// # async fn example() -> Result<(), p2panda::Error> {
/// let node = p2panda::builder()
///     .data_dir("./my-app")
///     .mdns(p2panda::Mdns::Listen)
///     .spawn()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "call spawn() to start the node"]
pub struct Builder {
    pub(crate) place: Place,
    pub(crate) signing_key: Option<SigningKey>,
    pub(crate) key_elsewhere: bool,
    pub(crate) network_id: NetworkId,
    pub(crate) bind_v4: SocketAddrV4,
    pub(crate) bind_v6: Option<SocketAddrV6>,
    pub(crate) bootstrap: Vec<Bootstrap>,
    pub(crate) hosts: Vec<BootstrapHost>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) mdns: Mdns,
    pub(crate) guard_dir: GuardDir,
    pub(crate) causal_wait: Duration,
    pub(crate) causal_wait_max: Duration,
    pub(crate) idempotency_window: Duration,
    pub(crate) plaintext_kept: Duration,
    pub(crate) new_logs: (u32, u32),
    pub(crate) operation_bytes_max: u32,
    pub(crate) quotas: Quotas,
    pub(crate) retention: Retention,
    pub(crate) budget_bytes: usize,
    pub(crate) state_digest: bool,
    pub(crate) sessions_sought: usize,
    pub(crate) gossip_neighbours_max: usize,
    pub(crate) low_bandwidth: bool,
    pub(crate) restored: Option<RestoredAction>,
    pub(crate) at_rest: AtRest,
    pub(crate) at_rest_before: Option<AtRest>,
    pub(crate) seal_messages: bool,
}

/// Location of a node's data.
#[derive(Debug)]
pub(crate) enum Place {
    Unknown,
    Directory(PathBuf),
    Temporary,
}

/// Location of the fork guard's file.
#[derive(Debug)]
pub(crate) enum GuardDir {
    Default,
    None,
    At(PathBuf),
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            place: Place::Unknown,
            signing_key: None,
            key_elsewhere: false,
            network_id: NetworkId::default(),
            bind_v4: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            bind_v6: Some(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)),
            bootstrap: Vec::new(),
            hosts: Vec::new(),
            relays: Vec::new(),
            mdns: Mdns::Active,
            guard_dir: GuardDir::Default,
            causal_wait: limits::DEPENDENCY_WAIT,
            causal_wait_max: limits::DEPENDENCY_WAIT_MAX,
            idempotency_window: limits::IDEMPOTENCY_WINDOW,
            plaintext_kept: limits::SPACE_PLAINTEXT_KEPT,
            new_logs: (limits::NEW_LOGS_MAX, limits::NEW_LOGS_PER_SECOND),
            operation_bytes_max: limits::OPERATION_BYTES_MAX_DEFAULT as u32,
            quotas: Quotas::default(),
            retention: Retention::default(),
            budget_bytes: limits::BUDGET_BYTES_DEFAULT,
            state_digest: true,
            sessions_sought: limits::SESSIONS_SOUGHT,
            gossip_neighbours_max: limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT,
            low_bandwidth: false,
            restored: None,
            at_rest: AtRest::KeyFile,
            at_rest_before: None,
            seal_messages: false,
        }
    }
}

impl Builder {
    /// The directory with key, database and lock. Created if it does not exist.
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.place = Place::Directory(dir.as_ref().to_path_buf());
        self
    }

    /// A fresh temporary directory with a new key, removed at shutdown. The directory of a killed
    /// process is removed when the next temporary node starts.
    pub fn temporary(mut self) -> Self {
        self.place = Place::Temporary;
        self
    }

    /// The node's key. Without it the directory's key is used, or a new one drawn.
    ///
    /// Never use one key in two directories: both would write the same log.
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// Sets the node's key, which the caller keeps. It is not written into the directory, which
    /// has the file `node.epoch` instead of `node.key`. A directory with a `node.key` is refused.
    pub fn signing_key_kept_elsewhere(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self.key_elsewhere = true;
        self
    }

    /// Nodes of different networks never connect. It is a separator, not a secret.
    pub fn network_id(mut self, network_id: NetworkId) -> Self {
        self.network_id = network_id;
        self
    }

    /// The UDP sockets; by default all addresses and a free port each. If it is a specific
    /// address, only that is announced.
    pub fn bind(mut self, v4: SocketAddrV4, v6: Option<SocketAddrV6>) -> Self {
        (self.bind_v4, self.bind_v6) = (v4, v6);
        self
    }

    /// A bootstrap node, at a socket address. May be called several times.
    pub fn bootstrap(mut self, node: VerifyingKey, addr: SocketAddr) -> Self {
        self.bootstrap.push(Bootstrap {
            node,
            addrs: vec![addr],
            relay: None,
        });
        self
    }

    /// A bootstrap node, at a host name. It is resolved at the start, and again whenever its
    /// addresses do not answer. May be called several times.
    pub fn bootstrap_host(mut self, node: VerifyingKey, host: HostAddr) -> Self {
        self.hosts.push(BootstrapHost { node, host });
        self
    }

    /// A bootstrap node, reached through a relay. May be called several times.
    pub fn bootstrap_relay(mut self, node: VerifyingKey, relay_url: &str) -> Self {
        self.bootstrap.push(Bootstrap {
            node,
            addrs: Vec::new(),
            relay: Some(relay_url.to_owned()),
        });
        self
    }

    /// An iroh relay to be reachable through. None by default. May be called several times.
    pub fn relay(mut self, url: &str) -> Self {
        self.relays.push(Relay {
            url: url.to_owned(),
            token: None,
        });
        self
    }

    /// Multicast DNS in the local network; [`Mdns::Active`] by default, which tells everybody
    /// there the node's id and addresses (`docs/protocol/network.md#5`).
    pub fn mdns(mut self, mdns: Mdns) -> Self {
        self.mdns = mdns;
        self
    }

    /// The directory of the fork guard's file, which must not lie in the data directory;
    /// `$XDG_STATE_HOME/p2panda` if not said. `None` switches the first of the three layers off
    /// (`docs/protocol/streams.md#16`).
    pub fn state_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.guard_dir = dir.map_or(GuardDir::None, GuardDir::At);
        self
    }

    /// Sets how long a message waits for those that precede it once no peer is expected to send
    /// them; 5 s by default.
    pub fn causal_wait(mut self, wait: Duration) -> Self {
        self.causal_wait = wait;
        self
    }

    /// Sets how long a message waits at most for those that precede it; 10 min by default
    /// (`docs/protocol/streams.md#6`).
    pub fn causal_wait_max(mut self, wait: Duration) -> Self {
        self.causal_wait_max = wait;
        self
    }

    /// Sets the time for which an idempotency key is remembered
    /// ([`NewMessage::idempotency_key`](crate::NewMessage::idempotency_key)); 1 h by default. The
    /// newest 1 000 000 keys are remembered in any case only.
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.idempotency_window = window;
        self
    }

    /// Sets for how long a message can be read again in spaces with a key for each message
    /// ([`Settings::with_a_key_per_message`](crate::Settings::with_a_key_per_message)); 30 days by
    /// default. After that it is shown as [`Change::Expired`](crate::Change::Expired).
    pub fn plaintext_kept(mut self, time: Duration) -> Self {
        self.plaintext_kept = time;
        self
    }

    /// Limits how many logs that are new here an untrusted peer may bring to a topic at once, and
    /// how many more each second; 10 000 and 500 by default. A peer that brings more is slowed, and
    /// nothing is lost (`docs/protocol/sync.md#10`).
    pub fn new_logs_max(mut self, at_once: u32, per_second: u32) -> Self {
        self.new_logs = (at_once, per_second);
        self
    }

    /// Largest operation, header and body in one frame, in bytes; 16 MiB if not said, 128 MiB at
    /// most.
    pub fn operation_bytes_max(mut self, bytes: u32) -> Self {
        self.operation_bytes_max = bytes.min(limits::OPERATION_BYTES_MAX as u32);
        self
    }

    /// Limits how many bytes of others are kept on the disk (`docs/protocol/streams.md#21`);
    /// unlimited by default. Operations above a quota are refused, and nothing that is kept is
    /// deleted.
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Sets the maximum age of content by other authors (`docs/protocol/streams.md#22`). By
    /// default content is not deleted by age.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Bytes of memory that all peers together may make the node hold
    /// (`docs/protocol/network.md#11`); 64 MiB if not said, and never less than two of the largest
    /// operations. A peer has an eighth of it. [`Network::counters`](crate::Network::counters)
    /// says how much is held.
    pub fn budget_bytes(mut self, bytes: usize) -> Self {
        self.budget_bytes = bytes;
        self
    }

    /// For a node that serves many: a budget of 512 MiB.
    pub fn server(self) -> Self {
        self.budget_bytes(limits::BUDGET_BYTES_SERVER)
    }

    /// Sets whether sessions with nodes that can do so compare a digest before the heights
    /// (`docs/protocol/digest.md`); true by default. Without it the node speaks only what 0.7.1
    /// speaks.
    pub fn state_digest(mut self, compare: bool) -> Self {
        self.state_digest = compare;
        self
    }

    /// Sync sessions that the node looks for on each topic; 5 if not said. It serves anyone who
    /// asks beyond that, as far as its budget goes. With 0 it looks for one with every node that it
    /// knows (`docs/protocol/sync.md#11`).
    pub fn sessions_sought(mut self, sessions: usize) -> Self {
        self.sessions_sought = sessions;
        self
    }

    /// Neighbours that the node serves in each gossip overlay, no matter who asked; 128 if not
    /// said. It looks for 5 by itself. Nodes of release 0.7.1 sync with their neighbours only: a
    /// server of many of them needs as many (`docs/protocol/network.md#6`).
    pub fn gossip_neighbours_max(mut self, neighbours: usize) -> Self {
        self.gossip_neighbours_max = neighbours;
        self
    }

    /// For a node behind a link of a few kbit/s. Only defaults change: a path is taken for one of 3 s
    /// there and back until it is measured, and the waits for a peer with it; packets stay as small
    /// as every path carries them; four of them leave before the first is acknowledged; a session
    /// hands over 16 KiB before the peer has taken them; the node looks for 2 sessions on each topic.
    /// What is set after this counts (`docs/protocol/network.md#1`).
    pub fn low_bandwidth(mut self) -> Self {
        self.low_bandwidth = true;
        self.sessions_sought(limits::SESSIONS_SOUGHT_SLOW)
    }

    /// The way on when the directory turns out to be an older copy of itself, or a copy of it has
    /// published as well. Without it, such a node opens and refuses to publish, in the second case to
    /// the logs to which the copy published. `NewIdentity` is also the way on for a database whose key
    /// file is lost. [`Node::republish`] publishes again what would otherwise reach nobody.
    pub fn restored(mut self, action: RestoredAction) -> Self {
        self.restored = Some(action);
        self
    }

    /// Sets the source of the secret that opens sealed rows in the database. The default is
    /// [`AtRest::KeyFile`], with which anyone who has the whole directory can open them
    /// (`docs/protocol/at-rest.md#2`).
    pub fn at_rest(mut self, source: AtRest) -> Self {
        self.at_rest = source;
        self
    }

    /// Names the previous source, so that this start changes it. Without it, a start with another
    /// source than before fails.
    pub fn at_rest_before(mut self, source: AtRest) -> Self {
        self.at_rest_before = Some(source);
        self
    }

    /// Sets whether the plaintext of messages in spaces is sealed in the database, under the secret
    /// of [`Builder::at_rest`]; false by default. A change also converts stored plaintext, in the
    /// background. Tables of views are not sealed.
    pub fn seal_messages(mut self, seal: bool) -> Self {
        self.seal_messages = seal;
        self
    }

    /// Changes the source from that of [`Builder::at_rest_before`] to that of
    /// [`Builder::at_rest`], in one transaction, without starting a node. Does nothing if it has
    /// changed already, or nothing is sealed.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NoDirectory`].
    pub async fn reseal(self) -> Result<(), Error> {
        crate::at_rest::reseal(self).await
    }

    /// Opens the directory and starts the node on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Open`] when the directory is locked, damaged, newer than this program or cannot be
    /// used; [`Error::Network`] when an address cannot be bound or a relay URL does not parse.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn spawn(self) -> Result<Node, Error> {
        node::start(self).await
    }
}
