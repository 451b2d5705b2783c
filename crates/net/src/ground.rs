//! On which networks this machine is (`docs/protocol/network.md#5`).

use std::collections::BTreeSet;

use iroh::RelayUrl;
use netwatch::interfaces::{IpNet, State};
use p2panda_protocol::reach::{Ground, Net};

use crate::config::Relay;
use crate::shared::Shared;

/// The relays of the configuration in the form in which records name them.
pub(crate) fn relays(configured: &[Relay]) -> BTreeSet<String> {
    let urls = configured
        .iter()
        .filter_map(|relay| relay.url.parse::<RelayUrl>().ok());
    urls.map(|url| url.to_string()).collect()
}

/// Looks at the interfaces of the machine.
pub(crate) async fn look(relays: &BTreeSet<String>) -> Ground {
    let state = State::new().await;
    let up = state.interfaces.values().filter(|one| one.is_up());
    Ground {
        nets: up.flat_map(|one| one.addrs()).map(net).collect(),
        relays: relays.clone(),
    }
}

/// Before anything was looked at: no network yet.
pub(crate) fn unseen(relays: &BTreeSet<String>) -> Ground {
    Ground {
        nets: BTreeSet::new(),
        relays: relays.clone(),
    }
}

/// Looks unless that was done before: to be awaited before addresses of others come into the book.
///
/// To list the interfaces takes longer than the rest of a start, and a node that was told where its
/// peers are does not need it.
pub(crate) async fn ensure(shared: &Shared) {
    shared.looked.get_or_init(|| take(shared)).await;
}

/// Looks again, and has the book know.
pub(crate) async fn look_again(shared: &Shared) {
    if shared.looked.initialized() {
        take(shared).await;
    } else {
        ensure(shared).await;
    }
}

async fn take(shared: &Shared) {
    let ground = look(&shared.relays).await;
    let mut book = shared.book.lock();
    book.set_ground(ground);
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
