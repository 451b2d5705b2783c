//! Places of TCP connections (`docs/protocol/rpc.md#11`). A connection is *known* while a request with a valid
//! credential is processed on it. Any other makes room for newer ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use p2panda_core::limits::{RPC_TCP_ALL_MAX, RPC_TCP_FILES_DIVISOR, RPC_TCP_UNKNOWN_MAX};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Bounds of the TCP connections of all addresses that are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// All of them.
    pub all: usize,
    /// Those without a credential, or without a request that is being processed.
    pub unknown: usize,
}

impl Default for Connections {
    /// The bounds of the page, or less where this process may open few files.
    fn default() -> Self {
        Self::with_files(files())
    }
}

impl Connections {
    /// Leaves at least half of the files for everything else.
    fn with_files(files: Option<u64>) -> Self {
        let files = files.and_then(|files| usize::try_from(files).ok());
        let most = files.unwrap_or(usize::MAX) / RPC_TCP_FILES_DIVISOR;
        let all = RPC_TCP_ALL_MAX.min(most).max(2);
        Connections {
            all,
            unknown: RPC_TCP_UNKNOWN_MAX.min(all / 2),
        }
    }
}

/// The number of files that this process may open; `None` without a limit.
#[cfg(unix)]
fn files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn files() -> Option<u64> {
    None
}

/// All TCP connections that are open.
#[derive(Debug)]
pub(crate) struct Doors {
    bounds: Connections,
    open: Mutex<Open>,
    /// The number of connections whose tasks have not ended, also of those that made room.
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Open {
    /// Grows with every change: the smaller, the longer ago.
    clock: u64,
    by_number: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    network: IpAddr,
    /// Requests with a credential that are being processed.
    known: usize,
    since: u64,
    leave: watch::Sender<bool>,
}

impl Open {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn unknown(&self) -> impl Iterator<Item = (&u64, &Entry)> {
        self.by_number.iter().filter(|(_, entry)| entry.known == 0)
    }

    /// Ends the connection that is unknown for the longest time, of the network that has most of them.
    fn make_room(&mut self) -> bool {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (_, entry) in self.unknown() {
            *counts.entry(entry.network).or_default() += 1;
        }
        let rank = |entry: &Entry| {
            let count = counts.get(&entry.network).copied().unwrap_or_default();
            (count, std::cmp::Reverse(entry.since))
        };
        let oldest = self.unknown().max_by_key(|(_, entry)| rank(entry));
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(entry) = self.by_number.remove(&number) {
            entry.leave.send_replace(true);
        }
        true
    }
}

impl Doors {
    pub(crate) fn new(bounds: Connections) -> Arc<Self> {
        Arc::new(Doors {
            bounds,
            open: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    /// Lets a connection of an address in. `None` if all places are those of known ones.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Door> {
        let mut open = self.open.lock();
        if open.unknown().count() >= self.bounds.unknown {
            open.make_room();
        }
        if open.by_number.len() >= self.bounds.all && !open.make_room() {
            return None;
        }
        let number = open.tick();
        let leave = watch::Sender::new(false);
        let entry = Entry {
            network: network(address),
            known: 0,
            since: number,
            leave: leave.clone(),
        };
        open.by_number.insert(number, entry);
        self.count.send_modify(|count| *count += 1);
        Some(Door(Arc::new(Held {
            doors: Arc::clone(self),
            number,
            leave,
            was_asked: AtomicBool::new(false),
        })))
    }

    /// Completes once no connection is open.
    pub(crate) async fn until_empty(&self) {
        let mut count = self.count.subscribe();
        // The sender is part of this.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

/// The part of an address that one holder has: of IPv6, a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(bits.into())
        }
        address => address,
    }
}

/// The place of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<Held>);

#[derive(Debug)]
struct Held {
    doors: Arc<Doors>,
    number: u64,
    leave: watch::Sender<bool>,
    was_asked: AtomicBool,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.doors.open.lock().by_number.remove(&self.number);
        self.doors.count.send_modify(|count| *count -= 1);
    }
}

impl Door {
    /// Completes when the connection is to end because another one needs the place.
    pub(crate) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut leave = self.0.leave.subscribe();
        async move {
            // An error means that the connection is over.
            let _ = leave.wait_for(|leave| *leave).await;
        }
    }

    /// A request came.
    pub(crate) fn asked(&self) {
        self.0.was_asked.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a request came.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.was_asked.load(Ordering::Relaxed)
    }

    /// Makes the connection known until the answer is dropped.
    pub(crate) fn known(&self) -> Known {
        if let Some(entry) = self.0.doors.open.lock().by_number.get_mut(&self.0.number) {
            entry.known += 1;
        }
        Known(self.clone())
    }
}

/// A client with a credential is served on a connection.
#[derive(Debug)]
pub(crate) struct Known(Door);

impl Drop for Known {
    fn drop(&mut self) {
        let Held { doors, number, .. } = &*self.0.0;
        let mut open = doors.open.lock();
        let since = open.tick();
        if let Some(entry) = open.by_number.get_mut(number) {
            entry.known -= 1;
            entry.since = since;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn leaves(door: &Door) -> bool {
        door.left().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_of_the_busiest_address_makes_room() {
        let doors = Doors::new(Connections { all: 9, unknown: 3 });
        let quiet = doors.admit(address(1)).unwrap();
        let busy: Vec<Door> = (0..4).map(|_| doors.admit(address(2)).unwrap()).collect();
        assert!(!leaves(&quiet));
        let left: Vec<bool> = busy.iter().map(leaves).collect();
        assert_eq!(left, [true, true, false, false]);
    }

    #[test]
    fn a_known_connection_makes_no_room() {
        let doors = Doors::new(Connections { all: 2, unknown: 1 });
        let one = doors.admit(address(1)).unwrap();
        let known = one.known();
        let two = doors.admit(address(1)).unwrap();
        assert!(!leaves(&one) && !leaves(&two));
        let also_known = two.known();
        assert!(doors.admit(address(2)).is_none());
        drop(known);
        let three = doors.admit(address(2)).unwrap();
        assert!(leaves(&one) && !leaves(&two) && !leaves(&three));
        drop((two, also_known));
        assert_eq!(doors.open.lock().by_number.len(), 1);
    }

    #[tokio::test]
    async fn connections_are_counted_until_they_have_ended() {
        let doors = Doors::new(Connections { all: 2, unknown: 1 });
        let one = doors.admit(address(1)).unwrap();
        let two = doors.admit(address(1)).unwrap();
        assert!(leaves(&one));
        drop(two);
        assert!(doors.until_empty().now_or_never().is_none());
        drop(one);
        doors.until_empty().await;
    }

    #[test]
    fn half_of_the_files_are_for_everything_else() {
        let of = Connections::with_files;
        let page = Connections {
            all: RPC_TCP_ALL_MAX,
            unknown: RPC_TCP_UNKNOWN_MAX,
        };
        assert_eq!(of(None), page);
        assert_eq!(of(Some(65_536)), page);
        let few = of(Some(256));
        assert_eq!((few.all, few.unknown), (128, 64));
    }

    #[test]
    fn addresses_of_one_holder_are_one_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
