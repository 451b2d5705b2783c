//! A congestion controller that takes a long queue for congestion.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, Controller, ControllerFactory, ControllerMetrics, RttEstimator};
use noq_proto::congestion::CubicConfig;
use p2panda_core::limits;

use crate::flight::Flight;
use crate::flow::{Acked, Flow};

/// CUBIC, which in addition slows down where what it sends waits for a second in the queue of the
/// path: before that queue overflows, and loses what has to be sent again
/// (`docs/protocol/network.md#1`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queueing {
    /// Bytes that leave before anything is acknowledged.
    pub(crate) flight_bytes: u64,
    /// Bytes that may be written and not acknowledged.
    pub(crate) send_bytes: u64,
}

impl ControllerFactory for Queueing {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let mut cubic = CubicConfig::default();
        cubic.initial_window(self.flight_bytes);
        Box::new(Controlled {
            cubic: Arc::new(cubic).build(now, mtu),
            is_first: true,
            flight: Arc::default(),
            flow: Flow::new(self.send_bytes),
            acked_bytes: 0,
            shortest: Duration::ZERO,
        })
    }
}

/// Returns what a controller has been told of its packets.
pub(crate) fn flight_of(controller: Box<dyn Controller>) -> Option<Arc<Flight>> {
    let controlled = controller.into_any().downcast::<Controlled>().ok()?;
    Some(controlled.flight)
}

#[derive(Debug)]
struct Controlled {
    cubic: Box<dyn Controller>,
    /// Nothing speaks against a full first flight yet.
    is_first: bool,
    /// Shared with all clones.
    flight: Arc<Flight>,
    /// For those that send large operations.
    flow: Flow,
    /// Since the flow was told.
    acked_bytes: u64,
    shortest: Duration,
}

/// The flow of the path that a connection uses; `None` if it has none at the moment.
pub(crate) fn flow(connection: &Connection) -> Option<Flow> {
    let paths = connection.paths();
    let selected = paths.iter().find(|path| path.is_selected())?;
    let state = connection.congestion_state(selected.id())?;
    let controlled = state.into_any().downcast::<Controlled>().ok()?;
    Some(controlled.flow)
}

/// Returns `true` if such a round trip shows a long queue on the path.
fn is_queued(round_trip: Duration, shortest: Duration) -> bool {
    round_trip.saturating_sub(shortest) >= limits::QUEUE_TIME_MAX
}

impl Controlled {
    /// As if a router had marked the packet: CUBIC sends less, once in a round trip.
    fn queued(&mut self, now: Instant, sent: Instant, number: u64) {
        self.is_first = false;
        self.cubic
            .on_congestion_event(now, sent, false, true, 0, number);
    }
}

impl Controller for Controlled {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest: u64) {
        self.flow.sent(bytes);
        self.cubic.on_sent(now, bytes, largest);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, number: u64) {
        self.flight.sent(number);
        self.cubic.on_packet_sent(now, bytes, number);
    }

    fn on_cwnd_limited(&mut self) {
        self.cubic.on_cwnd_limited();
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        number: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.flight.acked(bytes, number);
        self.acked_bytes += bytes;
        self.shortest = rtt.min();
        let round_trip = now.saturating_duration_since(sent);
        if is_queued(round_trip, rtt.min()) {
            self.queued(now, sent, number);
        } else {
            self.cubic
                .on_ack(now, sent, bytes, number, app_limited, rtt);
        }
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest: Option<u64>,
    ) {
        self.flight.looked(in_flight, app_limited);
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
        self.flow.acked(&Acked {
            now,
            bytes: std::mem::take(&mut self.acked_bytes),
            in_flight,
            all_sent: app_limited,
            window: self.cubic.window(),
            shortest: self.shortest,
        });
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent: bool,
        is_ecn: bool,
        lost_bytes: u64,
        largest_lost: u64,
    ) {
        self.is_first = false;
        self.cubic
            .on_congestion_event(now, sent, is_persistent, is_ecn, lost_bytes, largest_lost);
    }

    fn on_packet_lost(&mut self, bytes: u16, number: u64, now: Instant) {
        self.flight.lost();
        self.cubic.on_packet_lost(bytes, number, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.cubic.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.cubic.on_mtu_update(mtu);
    }

    fn on_ack_frequency_update(&mut self, threshold: u64, max_delay: Duration) {
        self.cubic.on_ack_frequency_update(threshold, max_delay);
    }

    fn window(&self) -> u64 {
        self.cubic.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        if self.is_first && self.window() <= self.initial_window() {
            // What is a few packets altogether need not be spread over a round trip.
            metrics.pacing_rate = Some(limits::FIRST_FLIGHT_RATE);
        }
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Controlled {
            cubic: self.cubic.clone_box(),
            is_first: self.is_first,
            flight: self.flight.clone(),
            flow: self.flow.clone(),
            acked_bytes: self.acked_bytes,
            shortest: self.shortest,
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET_BYTES: u16 = 1_200;

    fn controller(now: Instant) -> Controlled {
        let cubic: Arc<CubicConfig> = Arc::default();
        Controlled {
            cubic: cubic.build(now, PACKET_BYTES),
            is_first: true,
            flight: Arc::default(),
            flow: Flow::new(u64::MAX),
            acked_bytes: 0,
            shortest: Duration::ZERO,
        }
    }

    #[test]
    fn a_second_in_the_queue_is_long_on_any_path() {
        let ms = Duration::from_millis;
        assert!(!is_queued(ms(60), ms(40)));
        assert!(!is_queued(ms(4_900), ms(4_000)));
        assert!(is_queued(ms(1_040), ms(40)));
        assert!(is_queued(ms(5_000), ms(4_000)));
    }

    #[test]
    fn a_long_queue_slows_a_sender_once_per_round_trip() {
        let start = Instant::now();
        let mut controller = controller(start);
        let first = controller.window();
        let now = start + Duration::from_secs(2);
        controller.queued(now, start, 1);
        let window = controller.window();
        assert!(window < first);
        // Those of the same round trip.
        controller.queued(now, start, 2);
        assert_eq!(controller.window(), window);
        for round in 1..100 {
            let sent = now + Duration::from_secs(2 * round);
            controller.queued(sent + Duration::from_secs(2), sent, 3);
        }
        assert_eq!(controller.window(), 2 * u64::from(PACKET_BYTES));
    }

    #[test]
    fn the_first_flight_leaves_at_once_unless_after_a_loss() {
        let start = Instant::now();
        let mut controller = controller(start);
        let rate = |controller: &Controlled| controller.metrics().pacing_rate;
        assert_eq!(rate(&controller), Some(limits::FIRST_FLIGHT_RATE));
        let now = start + Duration::from_millis(50);
        controller.on_congestion_event(now, start, false, false, 1_200, 1);
        assert_eq!(rate(&controller), None);
    }
}
