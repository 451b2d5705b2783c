//! Finding nodes on the local network (`docs/protocol/network.md#5`): one socket and one task for
//! each interface and family of addresses, which come and go with the interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use iroh::Watcher;
use netwatch::netmon::Monitor;
use p2panda_core::limits::MDNS_INTERFACES_MAX;
use p2panda_protocol::mdns::{Announcement, Unannounceable};
use p2panda_protocol::record::TransportInfo;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ground::Interface;
use crate::shared::Shared;

pub(crate) mod lan;
mod segment;
mod socket;

use lan::Announced;
use socket::Place;

/// Listens, and announces this node if `advertise`, until the network is shut down.
pub(crate) async fn run(shared: Arc<Shared>, advertise: bool) {
    shared.survey.ensure().await;
    let mut segments = Segments::new(shared.clone());
    let mut interfaces = shared.survey.interfaces();
    let mut own = shared.own.subscribe();
    own.mark_changed();
    tokio::join!(watch_machine(&shared), async {
        loop {
            segments.follow(&interfaces.borrow_and_update());
            tokio::select! {
                Ok(()) = interfaces.changed() => {}
                Ok(()) = own.changed(), if advertise => segments.announce(&mut own),
                () = shared.signals.stopped() => return,
            }
        }
    });
}

/// Has the survey look again whenever the system reports a change.
async fn watch_machine(shared: &Shared) {
    let monitor = match Monitor::new().await {
        Ok(monitor) => monitor,
        Err(error) => {
            tracing::warn!(%error, "changes of the interfaces are noticed late");
            return;
        }
    };
    let mut state = monitor.interface_state();
    loop {
        tokio::select! {
            changed = state.updated() => if changed.is_err() {
                return;
            },
            () = shared.signals.stopped() => return,
        }
        shared.survey.look_again().await;
    }
}

/// The running tasks, by their interface and family. They end with it.
struct Segments {
    shared: Arc<Shared>,
    announced: watch::Sender<Announced>,
    running: BTreeMap<(u32, bool), (Place, JoinHandle<()>)>,
    left_out: usize,
}

impl Segments {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            announced: watch::Sender::new(None),
            running: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Ends what has no place any more, and starts what has a new one.
    fn follow(&mut self, interfaces: &[Interface]) {
        let (places, left_out) = places(interfaces);
        if left_out != self.left_out && left_out > 0 {
            tracing::warn!(left_out, "more interfaces than others are looked for on");
        }
        self.left_out = left_out;
        let keep = |key: &_, (place, _): &_| places.get(key) == Some(place);
        self.running.retain(|key, running| {
            let keep = keep(key, running);
            if !keep {
                running.1.abort();
                self.shared.lan.left(*key);
            }
            keep
        });
        for (key, place) in places {
            self.running.entry(key).or_insert_with(|| {
                self.shared.lan.entered(key, &place);
                let announced = self.announced.subscribe();
                let running = segment::run(self.shared.clone(), place.clone(), announced);
                (place, tokio::spawn(running))
            });
        }
    }

    fn announce(&self, own: &mut watch::Receiver<Option<TransportInfo>>) {
        let record = own.borrow_and_update();
        let Some(record) = record.as_ref() else {
            return;
        };
        let local = &self.shared.local;
        let packet = Announcement::of(local, record).and_then(|own| own.to_packet());
        match &packet {
            Ok(_) => {}
            Err(Unannounceable::NoAddress) => tracing::debug!("no own address to announce"),
            Err(error) => {
                tracing::warn!(%error, "the own addresses are not announced on the local network");
            }
        }
        self.shared.lan.announces(packet.is_ok());
        self.announced.send_replace(packet.ok().map(Arc::from));
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

/// Returns where to look for nodes: every interface that is up, can multicast and has an address;
/// loopback only without others. Also returns the number of interfaces above the limit.
fn places(interfaces: &[Interface]) -> (BTreeMap<(u32, bool), Place>, usize) {
    let outside = |one: &&Interface| one.can_multicast && !one.is_loopback;
    let mut chosen: Vec<_> = interfaces.iter().filter(outside).collect();
    if chosen.iter().all(|one| one.nets.is_empty()) {
        chosen = interfaces.iter().filter(|one| one.is_loopback).collect();
    }
    chosen.retain(|one| !one.nets.is_empty());
    chosen.sort_by_key(|one| one.index);
    let left_out = chosen.len().saturating_sub(MDNS_INTERFACES_MAX);
    let places = chosen.into_iter().take(MDNS_INTERFACES_MAX);
    let places = places.flat_map(|one| [Place::v4(one), Place::v6(one)]);
    let places = places.flatten().map(|place| (place.key(), place));
    (places.collect(), left_out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p2panda_protocol::reach::Net;

    use super::*;

    fn interface(index: u32, can_multicast: bool, nets: &[(&str, u8)]) -> Interface {
        let net = |(ip, prefix_bits): &(&str, u8)| Net {
            ip: ip.parse().unwrap(),
            prefix_bits: *prefix_bits,
        };
        Interface {
            index,
            name: format!("if{index}"),
            is_loopback: index == 1,
            can_multicast,
            nets: nets.iter().map(net).collect(),
        }
    }

    fn keys(interfaces: &[Interface]) -> Vec<(u32, bool)> {
        places(interfaces).0.into_keys().collect()
    }

    #[test]
    fn loopback_is_looked_on_only_when_it_is_alone() {
        let loopback = interface(1, false, &[("127.0.0.1", 8), ("::1", 128)]);
        assert_eq!(keys(&[]), []);
        assert_eq!(keys(std::slice::from_ref(&loopback)), [(1, false)]);
        let others = [
            loopback,
            interface(2, true, &[("192.168.1.2", 24), ("fe80::2", 64)]),
            interface(3, false, &[("10.8.0.2", 24)]),
            interface(4, true, &[("fe80::4", 64)]),
            interface(5, true, &[]),
        ];
        assert_eq!(keys(&others), [(2, false), (2, true), (4, true)]);
        assert_eq!(keys(&others[..1]), [(1, false)]);
        assert_eq!(keys(&[others[0].clone(), others[4].clone()]), [(1, false)]);
    }

    #[test]
    fn the_number_of_interfaces_is_bounded() {
        let last = MDNS_INTERFACES_MAX as u32 + 2;
        let all = (2..=last + 1).map(|index| interface(index, true, &[("10.0.0.2", 24)]));
        let all: Vec<_> = all.collect();
        let (places, left_out) = places(&all);
        assert_eq!((places.len(), left_out), (MDNS_INTERFACES_MAX, 2));
    }
}
