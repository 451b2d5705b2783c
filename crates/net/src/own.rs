//! The own addresses: signed whenever they change, and again before they grow old.

use std::collections::BTreeSet;
use std::sync::Arc;

use iroh::{EndpointAddr, Watcher};
use p2panda_core::limits;
use p2panda_protocol::reach;
use p2panda_protocol::record::Address;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::event::NetEvent;
use crate::peer_id::address;
use crate::shared::Shared;

/// Keeps the own record in step with the endpoint until the endpoint is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut watcher = shared.endpoint.watch_addr();
    let mut check = interval_at(
        Instant::now() + limits::RECORD_FIRST_CHECK_DELAY,
        limits::RECORD_CHECK_INTERVAL,
    );
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reset = shared.signals.resets();
    loop {
        sign(&shared, watcher.get());
        tokio::select! {
            changed = watcher.updated() => if changed.is_err() {
                return;
            },
            _ = check.tick() => {}
            // The clock may have been set.
            Ok(()) = reset.changed() => {}
            () = shared.signals.stopped() => return,
        }
        shared.survey.look_again().await;
    }
}

/// Publishes the record of these addresses unless it is the published one already. A record that was
/// restored from the last run is not, until here.
pub(crate) fn sign(shared: &Shared, addr: EndpointAddr) {
    let told = addr.addrs.into_iter().filter(|_| shared.announce_addresses);
    let addresses: BTreeSet<Address> = told.filter_map(address).collect();
    let addresses = reach::to_sign(addresses);
    let signed = {
        let mut book = shared.book.lock();
        book.sign_own(&shared.key, addresses, shared.clock.wall())
    };
    let record = match signed {
        Ok(record) => record,
        Err(error) => {
            tracing::warn!(%error, "the own addresses cannot be announced");
            return;
        }
    };
    let published = shared.own.send_if_modified(|own| {
        let changed = own.as_ref() != Some(&record);
        if changed {
            tracing::debug!(addresses = ?record.addresses().collect::<Vec<_>>(), "own addresses");
            *own = Some(record);
        }
        changed
    });
    if published {
        shared.book.store_soon();
        shared.signals.walk();
        shared.signals.tell(NetEvent::AddressChanged);
    }
}
