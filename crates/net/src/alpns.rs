//! The protocol ids of a network.

use p2panda_core::limits;
use p2panda_protocol::sync::Protocol;

use crate::config::Config;

const LINK: &[u8] = b"p2panda/link/v1";
const SLOW: &[u8] = b"p2panda/slow/v1";

/// The protocol ids, mixed with the network id (`docs/protocol/network.md#2`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alpns {
    /// Unless it was switched off.
    pub(crate) link: Option<[u8; 32]>,
    pub(crate) gossip: [u8; 32],
    pub(crate) discovery: [u8; 32],
    pub(crate) sync: [u8; 32],
    /// Unless it was switched off.
    pub(crate) digest_sync: Option<[u8; 32]>,
    /// No protocol: who offers it asks for the patience of a slow path.
    pub(crate) slow: [u8; 32],
}

impl Alpns {
    pub(crate) fn new(config: &Config) -> Self {
        let network = &config.network_id;
        let digest_sync = config
            .state_digest
            .then(|| network.alpn(Protocol::DigestSync.id()));
        // Its sessions begin with a digest, and its gossip messages have a fixed limit.
        let gossip_fits =
            config.gossip_message_bytes_max <= limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT;
        let links = config.links && config.state_digest && gossip_fits;
        Self {
            link: links.then(|| network.alpn(LINK)),
            gossip: network.alpn(b"/iroh-gossip/1"),
            discovery: network.alpn(b"p2panda/confidential_discovery/v1"),
            sync: network.alpn(Protocol::LogSync.id()),
            digest_sync,
            slow: network.alpn(SLOW),
        }
    }

    /// Of those that a dialler offers, the one that comes first here is chosen.
    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        let fixed = [self.gossip, self.discovery, self.sync];
        let first = self.link.into_iter().chain(self.digest_sync);
        let all = first.chain(fixed);
        all.map(|alpn| alpn.to_vec()).collect()
    }

    /// Returns `true` if a connection is a link.
    pub(crate) fn is_link(&self, alpn: &[u8]) -> bool {
        self.link.is_some_and(|link| alpn == link)
    }

    /// Returns the sync protocol of a connection, if it is for sync.
    pub(crate) fn sync_protocol(&self, alpn: &[u8]) -> Option<Protocol> {
        if alpn == self.sync {
            return Some(Protocol::LogSync);
        }
        let digest_sync = self.digest_sync.as_ref()?;
        (alpn == digest_sync).then_some(Protocol::DigestSync)
    }
}
