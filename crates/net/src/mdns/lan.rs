//! The interfaces on which this node looks for others, and their state.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::Mutex;

use super::socket::Place;
use crate::event::LocalNetwork;

/// The packet for every interface; `None` while there is nothing to announce.
pub(super) type Announced = Option<Arc<[u8]>>;

/// Every interface and family on which this node looks.
#[derive(Debug, Default)]
pub(crate) struct Lan(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    announces: bool,
    networks: BTreeMap<(u32, bool), LocalNetwork>,
}

impl Lan {
    pub(crate) fn all(&self) -> Vec<LocalNetwork> {
        self.0.lock().networks.values().cloned().collect()
    }

    pub(super) fn entered(&self, key: (u32, bool), place: &Place) {
        let mut inner = self.0.lock();
        let network = LocalNetwork {
            interface: place.name.clone(),
            ipv6: place.is_v6(),
            announced: inner.announces,
            failed: None,
            nodes: 0,
        };
        inner.networks.insert(key, network);
    }

    pub(super) fn left(&self, key: (u32, bool)) {
        self.0.lock().networks.remove(&key);
    }

    pub(super) fn announces(&self, announces: bool) {
        let mut inner = self.0.lock();
        inner.announces = announces;
        for network in inner.networks.values_mut() {
            network.announced = announces;
        }
    }

    /// Sets the state of an interface.
    pub(super) fn is(&self, key: (u32, bool), failed: Option<ErrorKind>, nodes: usize) {
        if let Some(network) = self.0.lock().networks.get_mut(&key) {
            (network.failed, network.nodes) = (failed, nodes);
        }
    }
}
