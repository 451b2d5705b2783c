//! Acknowledged packets of a path, as its congestion controller is told.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Packets of one path that want to be acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Packets that were sent.
    sent: u64,
    /// The number of the last of them.
    last: u64,
    /// `true` if the data of the last lost packets is not sent again yet.
    lost: bool,
    /// Everything that was written before this many packets were sent is acknowledged.
    acked: u64,
    /// Of packets that were acknowledged.
    bytes: u64,
    mark: Option<Mark>,
}

/// Amounts of a path that were sent and acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Packets that were sent.
    pub(crate) sent: u64,
    /// Everything that was written before this many packets were sent is acknowledged.
    acked: u64,
    /// Of packets that were acknowledged.
    pub(crate) bytes: u64,
}

/// A moment at which nothing was left to be sent.
#[derive(Clone, Copy, Debug)]
struct Mark {
    sent: u64,
    last: u64,
    /// Bytes in flight.
    in_flight_bytes: u64,
}

impl Flight {
    pub(crate) fn sent(&self, number: u64) {
        let mut inner = self.inner.lock();
        inner.sent += 1;
        inner.last = number;
        inner.lost = false;
    }

    pub(crate) fn lost(&self) {
        let mut inner = self.inner.lock();
        inner.lost = true;
        inner.mark = None;
    }

    pub(crate) fn acked(&self, bytes: u64, number: u64) {
        let mut inner = self.inner.lock();
        inner.bytes += bytes;
        let Some(mark) = inner.mark.as_mut().filter(|mark| number <= mark.last) else {
            return;
        };
        mark.in_flight_bytes = mark.in_flight_bytes.saturating_sub(bytes);
        if mark.in_flight_bytes == 0 {
            let acked = mark.sent;
            self.reached(&mut inner, acked);
        }
    }

    /// A packet with acknowledgements was read. `is_dry`: nothing was left to be sent after the last
    /// packet.
    pub(crate) fn looked(&self, in_flight_bytes: u64, is_dry: bool) {
        let mut inner = self.inner.lock();
        if !is_dry || inner.lost || inner.acked == inner.sent {
            return;
        }
        if in_flight_bytes == 0 {
            let acked = inner.sent;
            self.reached(&mut inner, acked);
        } else if inner.mark.is_none() {
            inner.mark = Some(Mark {
                sent: inner.sent,
                last: inner.last,
                in_flight_bytes,
            });
        }
    }

    fn reached(&self, inner: &mut Inner, acked: u64) {
        inner.mark = None;
        inner.acked = acked;
        self.changed.notify_waiters();
    }

    /// Changes when more is acknowledged.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn seen(&self) -> Seen {
        let inner = self.inner.lock();
        Seen {
            sent: inner.sent,
            acked: inner.acked,
            bytes: inner.bytes,
        }
    }
}

impl Seen {
    /// Returns whether something was sent after `before`, and whether everything is acknowledged
    /// that was written before and shortly after.
    pub(crate) fn since(self, before: u64) -> (bool, bool) {
        let any = self.sent > before;
        let all = match any {
            true => self.acked > before,
            false => self.acked >= before,
        };
        (any, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1_200;

    fn is_acked(flight: &Flight, before: u64) -> bool {
        flight.seen().since(before).1
    }

    #[test]
    fn the_last_of_a_flight_acknowledges_all_of_it() {
        let flight = Flight::default();
        flight.sent(0);
        flight.sent(1);
        flight.looked(2 * PACKET, false);
        flight.acked(PACKET, 1);
        assert!(!is_acked(&flight, 0), "more was left to send");
        flight.looked(PACKET, true);
        // More traffic continues meanwhile.
        flight.sent(2);
        flight.acked(PACKET, 2);
        assert!(!is_acked(&flight, 0));
        flight.acked(PACKET, 0);
        assert!(is_acked(&flight, 0) && is_acked(&flight, 1));
        assert!(
            !is_acked(&flight, 2),
            "what was written after the second packet"
        );
    }

    #[test]
    fn nothing_in_flight_counts_only_when_nothing_is_left() {
        let flight = Flight::default();
        flight.sent(0);
        flight.looked(0, false);
        assert!(!is_acked(&flight, 0));
        flight.lost();
        flight.looked(0, true);
        assert!(!is_acked(&flight, 0), "it was lost");
        flight.sent(1);
        flight.looked(PACKET, true);
        flight.lost();
        flight.acked(PACKET, 1);
        assert!(!is_acked(&flight, 0), "another one was lost");
        flight.sent(2);
        flight.looked(0, true);
        assert!(is_acked(&flight, 0));
    }
}
