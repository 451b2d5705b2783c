//! On which networks this machine is (`docs/protocol/network.md#5`).

use std::collections::BTreeSet;

use iroh::RelayUrl;
use netwatch::interfaces::{IpNet, State};
use p2panda_protocol::reach::{Ground, Net};
use tokio::sync::OnceCell;

use crate::book::AddressBook;
use crate::config::Relay;

/// Looks at the networks that this machine is on, and has the address book know.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The relays that the user allows.
    relays: BTreeSet<String>,
    book: AddressBook,
    looked: OnceCell<()>,
}

impl Survey {
    /// Before anything was looked at: no network yet.
    pub(crate) fn new(configured: &[Relay], book: AddressBook) -> Self {
        let survey = Self {
            relays: relays(configured),
            book,
            looked: OnceCell::new(),
        };
        survey.take(BTreeSet::new());
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

    /// Looks again.
    pub(crate) async fn look_again(&self) {
        if self.looked.initialized() {
            self.look().await;
        } else {
            self.ensure().await;
        }
    }

    /// Looks at the interfaces of the machine.
    async fn look(&self) {
        let state = State::new().await;
        let up = state.interfaces.values().filter(|one| one.is_up());
        self.take(up.flat_map(|one| one.addrs()).map(net).collect());
    }

    fn take(&self, nets: BTreeSet<Net>) {
        let relays = self.relays.clone();
        self.book.lock().set_ground(Ground { nets, relays });
    }
}

/// The relays of the configuration in the form in which records name them.
fn relays(configured: &[Relay]) -> BTreeSet<String> {
    let urls = configured
        .iter()
        .filter_map(|relay| relay.url.parse::<RelayUrl>().ok());
    urls.map(|url| url.to_string()).collect()
}

fn net(net: IpNet) -> Net {
    let prefix_bits = match &net {
        IpNet::V4(net) => net.prefix_len(),
        IpNet::V6 { net, .. } => net.prefix_len(),
    };
    Net {
        ip: net.addr(),
        prefix_bits,
    }
}
