//! Keeps the addresses of host names up to date (`docs/protocol/network.md#5`).

use std::sync::Arc;

use p2panda_core::limits;
use tokio::time::{Instant, sleep_until};

use crate::event::Contact;
use crate::host::BootstrapHost;
use crate::shared::Shared;

/// Looks a name up, and again when its addresses do not answer, until the network is shut down.
pub(crate) async fn run(shared: Arc<Shared>, named: BootstrapHost) {
    let mut contacts = shared.contacts.changes();
    let mut reset = shared.signals.resets();
    let first = shared.timings.name_retry_first;
    let mut wait = first;
    loop {
        let looked = Instant::now();
        let found = tokio::select! {
            found = look_up(&shared, &named) => found,
            () = shared.signals.stopped() => return,
        };
        loop {
            let fails = !found || is_failing(&shared, &named);
            if !fails {
                wait = first;
            }
            tokio::select! {
                () = sleep_until(looked + wait), if fails => {
                    wait = (wait * 2).min(limits::NAME_RETRY_MAX);
                    break;
                }
                Ok(()) = contacts.changed() => {}
                Ok(()) = reset.changed() => {
                    wait = first;
                    break;
                }
                () = shared.signals.stopped() => return,
            }
        }
    }
}

/// Returns whether the name has an address.
async fn look_up(shared: &Shared, named: &BootstrapHost) -> bool {
    let BootstrapHost { node, host } = named;
    match shared.resolver.lookup(host).await {
        Ok(sockets) => {
            if shared.book.resolved(*node, host, sockets) {
                shared.signals.walk();
            }
            true
        }
        Err(error) => {
            tracing::info!(%node, %host, %error, "the name of a bootstrap node has no address");
            if shared.book.known(node).is_empty() {
                shared.contacts.note(*node, Contact::Unresolved);
            }
            false
        }
    }
}

/// Returns `true` if the last attempt to reach the node failed.
fn is_failing(shared: &Shared, named: &BootstrapHost) -> bool {
    let status = shared.contacts.get(&named.node);
    status.is_some_and(|status| !status.contact.is_met() && status.contact != Contact::Untried)
}
