//! A link's rate, delay and loss, without sockets and without a clock.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// Time for which a guarded host's own packet lets answers in, as a common home router does for
/// UDP.
const ANSWERS_MAX: Duration = Duration::from_secs(120);

/// One direction of a link. The default passes everything at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Bits of IP packets per second, 0 for as many as come.
    pub rate_bits: u64,
    /// Time on the way, in milliseconds.
    pub delay_ms: u64,
    /// Part of the packets that are lost on the way, 0 to 1. They take their time at the rate.
    pub loss: f64,
    /// Bytes that wait for the rate, 0 for one second of it or ten full packets; what comes
    /// on top is dropped.
    pub queue_bytes: u64,
}

/// Order to a router, one line of JSON each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Shapes packets from one host to another from now on.
    Shape {
        /// Sender.
        from: Ipv4Addr,
        /// Receiver.
        to: Ipv4Addr,
        /// Shape of the link.
        shape: Shape,
    },
    /// Lets packets to a host only through as answers to its own.
    Guard {
        /// The host.
        host: Ipv4Addr,
    },
}

/// An IPv4 packet.
type Packet = Vec<u8>;

/// All links of a router.
pub struct Shaper {
    ways: HashMap<(Ipv4Addr, Ipv4Addr), Way>,
    /// Of each guarded host: whom it wrote to last, and when.
    guarded: HashMap<Ipv4Addr, HashMap<Flow, Instant>>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    taken: u64,
    rng: StdRng,
}

/// Own port, the other's address and port.
type Flow = (u16, Ipv4Addr, u16);

/// One direction between two hosts.
struct Way {
    shape: Shape,
    /// When everything taken so far has left.
    free: Option<Instant>,
}

/// A packet that arrives at a time; those of one time in the order in which they came.
struct UnderWay {
    due: Instant,
    number: u64,
    packet: Packet,
}

impl Shaper {
    /// Without a rule: everything passes. Equal seeds lose the same packets of the same traffic.
    pub fn new(seed: u64) -> Shaper {
        Shaper {
            ways: HashMap::new(),
            guarded: HashMap::new(),
            under_way: BinaryHeap::new(),
            taken: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Follows an order.
    pub fn order(&mut self, order: Order) {
        match order {
            Order::Shape { from, to, shape } => {
                let way = Way { shape, free: None };
                self.ways.insert((from, to), way);
            }
            Order::Guard { host } => {
                self.guarded.entry(host).or_default();
            }
        }
    }

    /// Takes a packet that came.
    pub fn take(&mut self, packet: Packet, now: Instant) {
        let Some(head) = Head::of(&packet) else {
            return;
        };
        if !self.lets_in(&head, now) {
            return;
        }
        let way = self.ways.get_mut(&(head.from, head.to));
        let due = match way {
            None => Some(now),
            Some(way) => way.due(packet.len() as u64, now, &mut self.rng),
        };
        if let Some(due) = due {
            self.taken += 1;
            let number = self.taken;
            self.under_way.push(Reverse(UnderWay {
                due,
                number,
                packet,
            }));
        }
    }

    /// When the next packet arrives.
    pub fn next_due(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// The next packet that has arrived, with its receiver.
    pub fn arrived(&mut self, now: Instant) -> Option<(Ipv4Addr, Packet)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(next) = self.under_way.pop()?;
        let to = Head::of(&next.packet)?.to;
        Some((to, next.packet))
    }

    /// Returns `true` if the receiver's guard lets the packet through; remembers what a guarded
    /// host sends.
    fn lets_in(&mut self, head: &Head, now: Instant) -> bool {
        if let Some(flows) = self.guarded.get_mut(&head.from) {
            flows.insert((head.from_port, head.to, head.to_port), now);
        }
        let Some(flows) = self.guarded.get(&head.to) else {
            return true;
        };
        let asked = flows.get(&(head.to_port, head.from, head.from_port));
        asked.is_some_and(|asked| now.duration_since(*asked) < ANSWERS_MAX)
    }
}

impl Way {
    /// When a packet arrives, unless it is lost.
    fn due(&mut self, bytes: u64, now: Instant, rng: &mut StdRng) -> Option<Instant> {
        let shape = self.shape;
        let begins = self.free.map_or(now, |free| free.max(now));
        if begins.duration_since(now) > shape.wait_max() {
            return None;
        }
        let left = begins + shape.air_time(bytes);
        self.free = Some(left);
        let lost = shape.loss > 0.0 && rng.random_bool(shape.loss.min(1.0));
        (!lost).then(|| left + Duration::from_millis(shape.delay_ms))
    }
}

impl Shape {
    fn air_time(self, bytes: u64) -> Duration {
        let micros = (bytes * 8 * 1_000_000).checked_div(self.rate_bits);
        Duration::from_micros(micros.unwrap_or(0))
    }

    /// The longest wait for the rate.
    fn wait_max(self) -> Duration {
        match self.queue_bytes {
            0 => Duration::from_secs(1).max(self.air_time(10 * 1_500)),
            bytes => self.air_time(bytes),
        }
    }
}

/// Fields that are read of a packet. Ports are those of UDP, 0 for anything else.
struct Head {
    from: Ipv4Addr,
    to: Ipv4Addr,
    from_port: u16,
    to_port: u16,
}

impl Head {
    fn of(packet: &[u8]) -> Option<Head> {
        let address = |at: usize| {
            let bytes = packet.get(at..)?.first_chunk::<4>()?;
            Some(Ipv4Addr::from(*bytes))
        };
        let first = *packet.first()?;
        let length = usize::from(first & 0x0f) * 4;
        let port = |at: usize| {
            let bytes = packet.get(length + at..)?.first_chunk::<2>()?;
            (packet.get(9) == Some(&17)).then(|| u16::from_be_bytes(*bytes))
        };
        (first >> 4 == 4).then_some(Head {
            from: address(12)?,
            to: address(16)?,
            from_port: port(0).unwrap_or(0),
            to_port: port(2).unwrap_or(0),
        })
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &UnderWay) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &UnderWay) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &UnderWay) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for UnderWay {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

    /// A UDP packet of that many bytes, from port 1 to port 2, or back from B.
    fn packet(from: Ipv4Addr, to: Ipv4Addr, bytes: usize) -> Packet {
        let mut packet = vec![0; bytes];
        packet[0] = 0x45;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&to.octets());
        let ports = if from == A {
            [0, 1, 0, 2]
        } else {
            [0, 2, 0, 1]
        };
        packet[20..24].copy_from_slice(&ports);
        packet
    }

    fn shaped(shape: Shape) -> Shaper {
        let mut shaper = Shaper::new(1);
        shaper.order(Order::Shape {
            from: A,
            to: B,
            shape,
        });
        shaper
    }

    /// When each of the packets arrives, in milliseconds from the start.
    fn arrivals(shaper: &mut Shaper, start: Instant) -> Vec<u128> {
        let mut arrivals = Vec::new();
        while let Some(due) = shaper.next_due() {
            shaper.arrived(due).unwrap();
            arrivals.push(due.duration_since(start).as_millis());
        }
        arrivals
    }

    #[test]
    fn packets_leave_at_the_rate_and_arrive_after_the_delay() {
        let mut shaper = shaped(Shape {
            rate_bits: 8_000,
            delay_ms: 500,
            ..Shape::default()
        });
        let start = Instant::now();
        for _ in 0..3 {
            shaper.take(packet(A, B, 100), start);
        }
        assert_eq!(arrivals(&mut shaper, start), [600, 700, 800]);
    }

    #[test]
    fn the_other_direction_and_other_hosts_are_not_shaped() {
        let mut shaper = shaped(Shape {
            rate_bits: 8,
            ..Shape::default()
        });
        let start = Instant::now();
        shaper.take(packet(B, A, 100), start);
        assert_eq!(arrivals(&mut shaper, start), [0]);
    }

    #[test]
    fn a_full_queue_drops_packets() {
        let mut shaper = shaped(Shape {
            rate_bits: 8_000,
            queue_bytes: 250,
            ..Shape::default()
        });
        let start = Instant::now();
        for _ in 0..10 {
            shaper.take(packet(A, B, 100), start);
        }
        assert_eq!(arrivals(&mut shaper, start), [100, 200, 300]);
    }

    #[test]
    fn the_configured_share_is_lost_reproducibly() {
        let shape = Shape {
            loss: 0.2,
            ..Shape::default()
        };
        let run = || {
            let mut shaper = shaped(shape);
            let start = Instant::now();
            for number in 0..1_000 {
                shaper.take(packet(A, B, 100), start + Duration::from_millis(number));
            }
            arrivals(&mut shaper, start)
        };
        let arrived = run();
        assert!((750..850).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(arrived, run());
    }

    #[test]
    fn a_guarded_host_gets_answers_and_nothing_else() {
        let mut shaper = Shaper::new(1);
        shaper.order(Order::Guard { host: A });
        let start = Instant::now();
        shaper.take(packet(B, A, 100), start);
        assert_eq!(shaper.next_due(), None);

        shaper.take(packet(A, B, 100), start);
        shaper.take(packet(B, A, 100), start);
        assert_eq!(arrivals(&mut shaper, start), [0, 0]);

        shaper.take(packet(B, A, 100), start + ANSWERS_MAX);
        assert_eq!(shaper.next_due(), None);
    }

    #[test]
    fn malformed_packets_are_dropped() {
        let mut shaper = Shaper::new(1);
        for bytes in [vec![], vec![0x45; 10], vec![0x60; 100]] {
            shaper.take(bytes, Instant::now());
        }
        assert_eq!(shaper.next_due(), None);
    }
}
