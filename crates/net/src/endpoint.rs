//! The iroh endpoint: no public relay, no DNS, no port mapping, hashed ALPNs.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{
    BindOpts, ConnectOptions, IdleTimeout, MtuDiscoveryConfig, PortmapperConfig,
    QuicTransportConfig, ServerConfig, VarInt, presets,
};
use iroh::{Endpoint, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey};
use p2panda_core::limits;
use p2panda_protocol::link::Side;
use p2panda_protocol::time::dial_patience;

use crate::alpns::Alpns;
use crate::config::{Config, Relay, Timings};
use crate::congestion::Queueing;
use crate::connections::Connections;
use crate::error::SpawnError;
use crate::lookup::{Answers, BookLookup};

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
        .transport_config(transport(timings, timings.path.round_trip, Side::Acceptor))
        .address_lookup(lookup.clone())
        .hooks(connections)
        .hooks(Answers(lookup))
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

/// Settings for serving a slow caller (`docs/protocol/network.md#1`).
pub(crate) fn slow_server(endpoint: &Endpoint, alpns: &Alpns, timings: &Timings) -> ServerConfig {
    let round_trip = limits::FIRST_ROUND_TRIP_SLOW;
    endpoint
        .create_server_config_builder(alpns.all())
        .set_transport_config(transport(timings, round_trip, Side::Acceptor))
        .build()
}

/// Dial options for sync: all protocols are offered together, and the peer chooses. Anyone who was
/// dialled opens no stream.
pub(crate) fn sync_options(
    alpns: &Alpns,
    timings: &Timings,
    round_trip: Duration,
) -> ConnectOptions {
    let also = alpns.link.iter().chain(&alpns.digest_sync);
    offering(also, alpns, timings, round_trip)
}

/// Dial options of a discovery session, which a link makes unnecessary.
pub(crate) fn discovery_options(
    alpns: &Alpns,
    timings: &Timings,
    round_trip: Duration,
) -> ConnectOptions {
    offering(alpns.link.iter(), alpns, timings, round_trip)
}

fn offering<'a>(
    also: impl Iterator<Item = &'a [u8; 32]>,
    alpns: &Alpns,
    timings: &Timings,
    round_trip: Duration,
) -> ConnectOptions {
    let slow = (round_trip >= limits::FIRST_ROUND_TRIP_SLOW).then_some(&alpns.slow);
    let also = also.copied().chain(slow.copied());
    ConnectOptions::new()
        .with_additional_alpns(also.map(Vec::from).collect())
        .with_transport_config(transport(timings, round_trip, Side::Dialler))
}

/// Dial options for gossip, which a link carries as well.
pub(crate) fn gossip_options(alpns: &Alpns, timings: &Timings) -> ConnectOptions {
    let link = alpns.link.iter().map(|alpn| alpn.to_vec());
    ConnectOptions::new()
        .with_additional_alpns(link.collect())
        .with_transport_config(transport(timings, timings.path.round_trip, Side::Dialler))
}

/// With the least that a peer may open and send before the protocol is known: the hooks of the
/// endpoint allow more once it is (`docs/protocol/network.md#1`). The round trip is that which the
/// path is expected to have.
///
/// The dialler is a little early with its signs of life: so one side sends them, and not both at once
/// whenever the time has come.
fn transport(timings: &Timings, round_trip: Duration, side: Side) -> QuicTransportConfig {
    let path = timings.path.expecting(round_trip);
    let idle = IdleTimeout::try_from(dial_patience(timings.idle_timeout, round_trip)).ok();
    let (bidirectional, path_keep_alive) = match side {
        Side::Dialler => (0, limits::KEEP_ALIVE_DIALLED_INTERVAL),
        Side::Acceptor => (limits::STREAMS_FIRST, limits::KEEP_ALIVE_INTERVAL),
    };
    // From it follows how often iroh repeats a question to an address before it can be answered: each
    // answer fills a packet.
    let first_round_trip = match side {
        Side::Dialler => round_trip,
        Side::Acceptor => round_trip.max(limits::FIRST_ROUND_TRIP_ACCEPTED),
    };
    let larger_packets = path.larger_packets.then(|| {
        let mut sizes = MtuDiscoveryConfig::default();
        sizes.minimum_change(limits::PACKET_SIZE_STEP_MIN);
        sizes
    });
    let queueing = Queueing {
        flight_bytes: path.flight_bytes,
        send_bytes: path.send_bytes as u64,
    };
    let window = VarInt::from_u32(limits::CONNECTION_WINDOW_BYTES as u32);
    QuicTransportConfig::builder()
        // Addresses that a connected peer may have us probe; fewer iroh does not allow
        // (`docs/protocol/network.md#5`).
        .max_remote_nat_traversal_addresses(limits::NAT_ADDRESSES_MAX)
        .max_concurrent_bidi_streams(VarInt::from_u32(bidirectional))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(window)
        .stream_receive_window(VarInt::from_u32(limits::SESSION_WINDOW_BYTES as u32))
        .send_window(path.send_bytes as u64)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(idle)
        .initial_rtt(first_round_trip)
        .mtu_discovery_config(larger_packets)
        .congestion_controller_factory(Arc::new(queueing))
        .keep_alive_interval(timings.keep_alive)
        .default_path_keep_alive_interval(path_keep_alive)
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
