//! The part of a path that large operations use (`docs/protocol/link.md#11`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_core::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A measurement of the rate takes this long, and a round trip at least.
const ROUND_MIN: Duration = Duration::from_millis(5);
/// Part of the best rate that remains after each measurement below it.
const RATE_KEPT: f64 = 0.98;

/// Bytes in flight on a path. Clones are the same path.
#[derive(Clone, Debug)]
pub(crate) struct Flow(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    send_bytes: u64,
    in_flight: u64,
    /// Bytes that were handed to QUIC, and have not left.
    given: u64,
    window: u64,
    shortest: Duration,
    /// Bytes in a second, the best of late.
    rate: f64,
    /// Time since which these bytes were acknowledged.
    round: Option<(Instant, u64)>,
}

/// Measurements from acknowledgements.
#[derive(Debug)]
pub(crate) struct Acked {
    pub(crate) now: Instant,
    pub(crate) bytes: u64,
    pub(crate) in_flight: u64,
    /// Nothing waits to be sent.
    pub(crate) all_sent: bool,
    pub(crate) window: u64,
    /// The shortest round trip.
    pub(crate) shortest: Duration,
}

impl Flow {
    pub(crate) fn new(send_bytes: u64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                send_bytes,
                in_flight: 0,
                given: 0,
                window: 0,
                shortest: Duration::ZERO,
                rate: 0.0,
                round: None,
            }),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn sent(&self, bytes: u64) {
        let mut state = self.0.state.lock();
        state.in_flight += bytes;
        state.given = state.given.saturating_sub(bytes);
    }

    pub(crate) fn acked(&self, acked: &Acked) {
        self.0.state.lock().acked(acked);
        self.0.changed.notify_waiters();
    }

    /// Returns `true` if there is room for that many bytes more, which are taken then. In company,
    /// that is while others have something to write, less is in flight than the path could queue.
    pub(crate) fn take(&self, bytes: usize, company: bool) -> bool {
        let mut state = self.0.state.lock();
        // One piece always fits on a path on which nothing is under way.
        let limit = state.limit(company).max(limits::LINK_PIECE_BYTES as u64);
        let fits = state.in_flight + state.given < limit;
        if fits {
            state.given += bytes as u64;
        }
        fits
    }

    /// Something was acknowledged since this was called.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.0.changed.notified()
    }
}

impl State {
    fn acked(&mut self, acked: &Acked) {
        (self.in_flight, self.window) = (acked.in_flight, acked.window);
        self.shortest = acked.shortest;
        if acked.all_sent {
            self.given = 0;
        }
        let (since, bytes) = self.round.unwrap_or((acked.now, 0));
        let bytes = bytes + acked.bytes;
        let took = acked.now.saturating_duration_since(since);
        self.round = match acked.in_flight {
            // Until more is sent nothing can be acknowledged, which says nothing of the path.
            0 => None,
            _ if took < ROUND_MIN.max(self.shortest) => Some((since, bytes)),
            _ => {
                let rate = bytes as f64 / took.as_secs_f64();
                self.rate = rate.max(self.rate * RATE_KEPT);
                Some((acked.now, 0))
            }
        };
    }

    /// Bytes that may be in progress.
    fn limit(&self, company: bool) -> u64 {
        let window = self.window.min(self.send_bytes);
        if !company {
            return window;
        }
        let queue = limits::LINK_QUEUE_TIME.max(self.shortest / 8);
        let carries = self.rate * (self.shortest + queue).as_secs_f64();
        (carries as u64).clamp(window / limits::LINK_WINDOW_PART, window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(10);

    /// A path of 10 MB/s with 10 ms, on which that many bytes were kept in flight for a second.
    fn measured(in_flight: u64, window: u64) -> Flow {
        let flow = Flow::new(512 * 1024);
        let start = Instant::now();
        for round in 0..100 {
            flow.acked(&Acked {
                now: start + RTT * round,
                bytes: 100_000,
                in_flight,
                all_sent: false,
                window,
                shortest: RTT,
            });
        }
        flow
    }

    fn room(flow: &Flow, company: bool) -> usize {
        (0..).take_while(|_| flow.take(1_000, company)).count() * 1_000
    }

    #[test]
    fn alone_fills_the_window_and_company_shares_the_path() {
        assert_eq!(room(&measured(100_000, 400_000), false), 300_000);
        assert_eq!(room(&measured(100_000, 4_000_000), false), 425_000);
        let company = room(&measured(100_000, 400_000), true);
        assert!((19_000..=21_000).contains(&company), "{company}");
        assert_eq!(room(&measured(140_000, 400_000), true), 0);
    }

    #[test]
    fn a_quarter_of_the_window_is_always_used() {
        let flow = measured(1, 4_000_000);
        let start = Instant::now() + Duration::from_secs(10);
        for round in 0..500 {
            flow.acked(&Acked {
                now: start + RTT * round,
                bytes: 10,
                in_flight: 1,
                all_sent: false,
                window: 400_000,
                shortest: RTT,
            });
        }
        assert_eq!(room(&flow, true), 100_000);
    }

    #[test]
    fn an_empty_path_has_room_for_a_piece() {
        let flow = measured(390_000, 400_000);
        assert_eq!(room(&flow, false), 10_000);
        flow.sent(10_000);
        assert!(!flow.take(1, false));
        let idle = Flow::new(1);
        assert!(idle.take(limits::LINK_PIECE_BYTES, true));
        assert!(!idle.take(1, true));
        // It never left, and nothing waits: its stream was reset.
        idle.acked(&Acked {
            now: Instant::now(),
            bytes: 0,
            in_flight: 0,
            all_sent: true,
            window: 0,
            shortest: RTT,
        });
        assert!(idle.take(1, true));
    }
}
