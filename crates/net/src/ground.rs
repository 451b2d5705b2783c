//! The networks of this machine (`docs/protocol/network.md#5`).

use std::collections::BTreeSet;

use iroh::RelayUrl;
use p2panda_protocol::reach::{Ground, Net};
use tokio::sync::{OnceCell, watch};

use crate::book::AddressBook;
use crate::config::Relay;

/// An interface of this machine that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_loopback: bool,
    pub(crate) can_multicast: bool,
    /// The networks that it is on, with its own addresses.
    pub(crate) nets: BTreeSet<Net>,
}

/// Looks at the networks that this machine is on, and has the address book know.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The relays that the user allows.
    relays: BTreeSet<String>,
    book: AddressBook,
    looked: OnceCell<()>,
    /// Interfaces at the last check.
    interfaces: watch::Sender<Vec<Interface>>,
}

impl Survey {
    /// Before anything was checked: no network yet.
    pub(crate) fn new(configured: &[Relay], book: AddressBook) -> Self {
        let survey = Self {
            relays: relays(configured),
            book,
            looked: OnceCell::new(),
            interfaces: watch::Sender::new(Vec::new()),
        };
        survey.take(Vec::new());
        survey
    }

    /// Looks unless that was done before: to be awaited before addresses of others come into the
    /// book.
    ///
    /// To list the interfaces takes longer than the rest of a start, and a node that was told where
    /// its peers are does not need it.
    pub(crate) async fn ensure(&self) {
        self.looked.get_or_init(|| self.look()).await;
    }

    /// Reads the interfaces of the system again.
    pub(crate) async fn look_again(&self) {
        if self.looked.initialized() {
            self.look().await;
        } else {
            self.ensure().await;
        }
    }

    /// The interfaces as they were at the last look; changes with them.
    pub(crate) fn interfaces(&self) -> watch::Receiver<Vec<Interface>> {
        self.interfaces.subscribe()
    }

    /// Looks at the interfaces of the machine.
    async fn look(&self) {
        // It reads files of the system, one after the other.
        let found = tokio::task::spawn_blocking(interfaces).await;
        self.take(found.unwrap_or_default());
    }

    fn take(&self, interfaces: Vec<Interface>) {
        let nets = interfaces.iter().flat_map(|one| one.nets.iter().copied());
        let ground = Ground {
            nets: nets.collect(),
            relays: self.relays.clone(),
        };
        self.book.lock().set_ground(ground);
        self.interfaces.send_if_modified(|known| {
            let changed = *known != interfaces;
            *known = interfaces;
            changed
        });
    }
}

fn interfaces() -> Vec<Interface> {
    let found = netdev::get_interfaces();
    found
        .into_iter()
        .filter(netdev::Interface::is_up)
        .map(interface)
        .collect()
}

fn interface(found: netdev::Interface) -> Interface {
    let v4 = found
        .ipv4
        .iter()
        .map(|net| (net.addr().into(), net.prefix_len()));
    let v6 = found
        .ipv6
        .iter()
        .map(|net| (net.addr().into(), net.prefix_len()));
    let nets = v4
        .chain(v6)
        .map(|(ip, prefix_bits)| Net { ip, prefix_bits });
    Interface {
        nets: nets.collect(),
        index: found.index,
        is_loopback: found.is_loopback(),
        can_multicast: found.is_multicast(),
        name: found.name,
    }
}

/// The relays of the configuration in the form in which records name them.
fn relays(configured: &[Relay]) -> BTreeSet<String> {
    let urls = configured
        .iter()
        .filter_map(|relay| relay.url.parse::<RelayUrl>().ok());
    urls.map(|url| url.to_string()).collect()
}
