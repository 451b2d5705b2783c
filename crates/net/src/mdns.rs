//! Finding nodes on the local network (`docs/protocol/network.md#5`).

use std::sync::Arc;

use futures_lite::StreamExt;
use iroh::address_lookup::{AddressLookup, EndpointData, EndpointInfo, UserData as TxtData};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use p2panda_core::limits;
use p2panda_protocol::book::{Inserted, Source};
use p2panda_protocol::record::{TransportInfo, UserData};
use tokio::time::sleep;

use crate::peer_id::{node_id, transport_addr};
use crate::shared::Shared;

const SERVICE: &str = "p2pandav1";

/// Listens, and announces this node if `advertise`, until the network is shut down.
pub(crate) async fn run(shared: Arc<Shared>, advertise: bool) {
    shared.survey.ensure().await;
    loop {
        let service = MdnsAddressLookup::builder()
            .service_name(SERVICE)
            .advertise(advertise);
        match service.build(shared.endpoint.id()) {
            Ok(mdns) => {
                if serve(&shared, &mdns).await == Served::Again {
                    continue;
                }
            }
            Err(error) => tracing::info!(%error, "no multicast on this machine for now"),
        }
        tokio::select! {
            () = sleep(limits::MDNS_RETRY_WAIT) => {}
            () = shared.signals.stopped() => return,
        }
    }
}

#[derive(PartialEq)]
enum Served {
    /// The network changed: a new service opens its sockets on what is there now.
    Again,
    /// The service died, or the network is shut down.
    Over,
}

async fn serve(shared: &Shared, mdns: &MdnsAddressLookup) -> Served {
    let mut events = mdns.subscribe().await;
    let mut own = shared.own.subscribe();
    own.mark_changed();
    let mut reset = shared.signals.resets();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(DiscoveryEvent::Discovered { endpoint_info, .. }) => {
                    found(shared, &endpoint_info);
                }
                // The address stays in the book; whether it still works, a dial tells.
                Some(_) => {}
                None => return Served::Over,
            },
            Ok(()) = own.changed() => {
                if let Some(record) = own.borrow_and_update().as_ref() {
                    announce(mdns, record);
                }
            }
            Ok(()) = reset.changed() => return Served::Again,
            () = shared.signals.stopped() => return Served::Over,
        }
    }
}

/// The record goes out as it was signed, in one piece: the addresses and the signature over them
/// always belong together.
fn announce(mdns: &MdnsAddressLookup, record: &TransportInfo) {
    let Some(text) = UserData::of(record) else {
        tracing::warn!("the own addresses do not fit an announcement on the local network");
        return;
    };
    let Ok(text) = TxtData::try_from(text.to_string()) else {
        return;
    };
    let addrs = record.addresses().filter_map(transport_addr);
    mdns.publish(&addrs.collect::<EndpointData>().with_user_data(text));
}

fn found(shared: &Shared, info: &EndpointInfo) {
    let Some(node) = node_id(info.endpoint_id) else {
        return;
    };
    let Some(text) = info.user_data().and_then(|text| text.as_ref().parse().ok()) else {
        tracing::debug!(%node, "an announcement on the local network is not signed");
        return;
    };
    let record = TransportInfo::announced(&node, info.ip_addrs().copied(), &text);
    match shared.take_record(node, record, Source::Announced) {
        Ok(Inserted::New | Inserted::Newer) => shared.signals.walk(),
        Ok(Inserted::Kept) => {}
        Err(error) => {
            tracing::debug!(%node, %error, "an announcement on the local network was refused");
        }
    }
}
