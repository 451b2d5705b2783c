//! The iroh endpoint: no public relay, no DNS, no port mapping, hashed ALPNs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{
    BindOpts, ConnectOptions, Connection, IdleTimeout, PortmapperConfig, QuicTransportConfig,
    VarInt, presets,
};
use iroh::{
    Endpoint, EndpointAddr, PublicKey, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey,
    TransportAddr,
};
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::record::Address;
use p2panda_protocol::sync::Protocol;

use crate::config::{Config, Relay, Timings};
use crate::connections::Connections;
use crate::lookup::{BookLookup, Gate};
use crate::net::SpawnError;

/// The protocol ids, mixed with the network id (`docs/protocol/network.md#2`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alpns {
    pub(crate) gossip: [u8; 32],
    pub(crate) discovery: [u8; 32],
    pub(crate) sync: [u8; 32],
    /// Unless it was switched off.
    pub(crate) digest_sync: Option<[u8; 32]>,
}

impl Alpns {
    pub(crate) fn new(config: &Config) -> Self {
        let network = &config.network_id;
        let digest_sync = config
            .state_digest
            .then(|| network.alpn(Protocol::DigestSync.id()));
        Self {
            gossip: network.alpn(b"/iroh-gossip/1"),
            discovery: network.alpn(b"p2panda/confidential_discovery/v1"),
            sync: network.alpn(Protocol::LogSync.id()),
            digest_sync,
        }
    }

    /// Of those that a dialler offers, the one that comes first here is chosen.
    fn all(&self) -> Vec<Vec<u8>> {
        let fixed = [self.gossip, self.discovery, self.sync];
        let all = self.digest_sync.into_iter().chain(fixed);
        all.map(|alpn| alpn.to_vec()).collect()
    }

    /// Which sync protocol a connection is for, if it is for sync.
    pub(crate) fn sync_protocol(&self, alpn: &[u8]) -> Option<Protocol> {
        if alpn == self.sync {
            return Some(Protocol::LogSync);
        }
        let digest_sync = self.digest_sync.as_ref()?;
        (alpn == digest_sync).then_some(Protocol::DigestSync)
    }
}

/// Binds the sockets and starts the endpoint.
pub(crate) async fn bind(
    config: &Config,
    alpns: &Alpns,
    lookup: BookLookup,
    connections: Connections,
) -> Result<Endpoint, SpawnError> {
    let timings = &config.timings;
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&config.signing_key.to_bytes()))
        .alpns(alpns.all())
        .relay_mode(relay_mode(&config.relays)?)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport(timings.idle_timeout, timings, 1))
        .address_lookup(lookup.clone())
        .hooks(connections)
        .hooks(Gate::new(lookup, alpns.gossip))
        .clear_ip_transports()
        .bind_addr(config.bind_v4)
        .map_err(|_| SpawnError::Bind)?;
    if let Some(v6) = config.bind_v6 {
        let required = !v6.ip().is_unspecified();
        let opts = BindOpts::default().set_is_required(required);
        builder = builder
            .bind_addr_with_opts(v6, opts)
            .map_err(|_| SpawnError::Bind)?;
    }
    builder.bind().await.map_err(|error| {
        tracing::debug!(%error, "the endpoint did not start");
        SpawnError::Bind
    })
}

/// Dial options for sync: both protocols are offered together, and the peer chooses. Whoever was
/// dialled opens no stream.
pub(crate) fn sync_options(alpns: &Alpns, timings: &Timings) -> ConnectOptions {
    let also = alpns.digest_sync.iter().map(|alpn| alpn.to_vec());
    ConnectOptions::new()
        .with_additional_alpns(also.collect())
        .with_transport_config(transport(timings.idle_timeout, timings, 0))
}

/// Dial options of a discovery session: it gives up on a silent peer sooner.
pub(crate) fn discovery_options(timings: &Timings) -> ConnectOptions {
    let transport = transport(timings.discovery_idle_timeout, timings, 0);
    ConnectOptions::new().with_transport_config(transport)
}

/// The node id behind an endpoint id; the two are the same key.
pub(crate) fn node_id(id: PublicKey) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(*id.as_bytes()).ok()
}

/// The endpoint id of a node.
pub(crate) fn endpoint_id(node: &VerifyingKey) -> Option<PublicKey> {
    PublicKey::from_bytes(node.as_bytes()).ok()
}

/// What iroh dials: the id and these addresses.
pub(crate) fn endpoint_addr<'a>(
    node: &VerifyingKey,
    addresses: impl IntoIterator<Item = &'a Address>,
) -> Option<EndpointAddr> {
    let mut addr = EndpointAddr::new(endpoint_id(node)?);
    for address in addresses {
        addr = match address {
            Address::Ip(socket) => addr.with_ip_addr(*socket),
            Address::Relay(url) => match url.parse::<RelayUrl>() {
                Ok(relay) => addr.with_relay_url(relay),
                Err(_) => addr,
            },
            Address::Custom(_) => addr,
        };
    }
    Some(addr)
}

/// The address that the other side of a connection has, unless it goes through a relay.
pub(crate) fn remote(connection: &Connection) -> Option<SocketAddr> {
    let paths = connection.paths();
    let direct = |path: &iroh::endpoint::Path<'_>| match path.remote_addr() {
        TransportAddr::Ip(ip) => Some(SocketAddr::new(ip.ip().to_canonical(), ip.port())),
        _ => None,
    };
    let selected = paths.iter().find(|path| path.is_selected());
    match selected {
        Some(path) => direct(&path),
        None => paths.iter().find_map(|path| direct(&path)),
    }
}

/// Closes a connection with one of our codes.
pub(crate) fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code.code()), code.reason().as_bytes());
}

/// With the least that a peer may open and send before the protocol is known: the hooks of the
/// endpoint allow more once it is (`docs/protocol/network.md#1`).
fn transport(idle: Duration, timings: &Timings, bidirectional: u32) -> QuicTransportConfig {
    let idle = IdleTimeout::try_from(idle).ok();
    let window = VarInt::from_u32(limits::CONNECTION_WINDOW_BYTES as u32);
    QuicTransportConfig::builder()
        // Addresses that a connected peer may have us probe; fewer iroh does not allow
        // (`docs/protocol/network.md#5`).
        .max_remote_nat_traversal_addresses(limits::NAT_ADDRESSES_MAX)
        .max_concurrent_bidi_streams(VarInt::from_u32(bidirectional))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(window)
        .stream_receive_window(VarInt::from_u32(limits::SESSION_WINDOW_BYTES as u32))
        .send_window(limits::SEND_WINDOW_BYTES as u64)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle)
        .keep_alive_interval(timings.keep_alive)
        .build()
}

fn relay_mode(relays: &[Relay]) -> Result<RelayMode, SpawnError> {
    if relays.is_empty() {
        return Ok(RelayMode::Disabled);
    }
    let map = RelayMap::empty();
    for relay in relays {
        let url: RelayUrl = relay.url.parse().map_err(|_| SpawnError::RelayUrl)?;
        let mut config = RelayConfig::from(url.clone());
        if let Some(token) = &relay.token {
            config = config.with_auth_token(token.clone());
        }
        map.insert(url, Arc::new(config));
    }
    Ok(RelayMode::Custom(map))
}
