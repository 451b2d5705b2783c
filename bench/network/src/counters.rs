//! Counters of a process and of the interfaces of its namespace.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use crate::error::Error;

/// Ticks of processor time per second in /proc, on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// Bytes of Ethernet, IPv4 and UDP before the payload of a datagram.
const HEADERS_BYTES: u64 = 14 + 20 + 8;

/// Resources that a node has taken so far.
#[derive(Clone, Debug)]
pub struct Taken {
    at: Instant,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
    /// The most that ever was.
    pub resident_peak_bytes: u64,
    /// Processor time of all threads.
    pub processor: Duration,
    /// Number of times that each of its threads went to sleep and was woken.
    wakes: BTreeMap<OsString, u64>,
    /// Sent over all interfaces but loopback.
    pub sent: Traffic,
    /// Received over them.
    pub received: Traffic,
}

/// UDP datagrams and their payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Payload, without the headers of UDP and what is below.
    pub bytes: u64,
    /// Datagrams.
    pub packets: u64,
}

/// Resources that were taken between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Length of that time.
    pub seconds: f64,
    /// Processor time.
    pub processor: Duration,
    /// Times that a thread was woken.
    pub wakes: u64,
    /// Payload that was sent.
    pub sent_bytes: u64,
    /// Datagrams that were sent.
    pub sent_packets: u64,
    /// Payload that was received.
    pub received_bytes: u64,
}

impl Taken {
    /// Reads everything of a process.
    pub fn of(pid: u32) -> Result<Taken, Error> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name| field(&status, name).ok_or(Error::Proc);
        let (sent, received) = traffic(&fs::read_to_string(format!("/proc/{pid}/net/dev"))?)?;
        Ok(Taken {
            at: Instant::now(),
            resident_bytes: kib("VmRSS:")? * 1024,
            resident_peak_bytes: kib("VmHWM:")? * 1024,
            processor: processor(pid)?,
            wakes: wakes(pid)?,
            sent,
            received,
        })
    }

    /// Returns what was taken since an earlier moment.
    pub fn since(&self, before: &Taken) -> Spent {
        let bytes = |after: Traffic, before: Traffic| after.bytes.saturating_sub(before.bytes);
        Spent {
            seconds: self.at.duration_since(before.at).as_secs_f64(),
            processor: self.processor.saturating_sub(before.processor),
            wakes: self.wakes_since(before),
            sent_bytes: bytes(self.sent, before.sent),
            sent_packets: self.sent.packets.saturating_sub(before.sent.packets),
            received_bytes: bytes(self.received, before.received),
        }
    }

    /// Of a thread that has ended since then nothing is known, and nothing counts.
    fn wakes_since(&self, before: &Taken) -> u64 {
        let threads = self.wakes.iter();
        let since = threads.map(|(thread, wakes)| {
            let before = before.wakes.get(thread).copied().unwrap_or(0);
            wakes.saturating_sub(before)
        });
        since.sum()
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn processor(pid: u32) -> Result<Duration, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or(Error::Proc)?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (user, system) = ticks().zip(ticks()).ok_or(Error::Proc)?;
    let millis = (user + system) * 1_000 / TICKS_PER_SECOND;
    Ok(Duration::from_millis(millis))
}

/// Of the threads that are there, by their numbers.
fn wakes(pid: u32) -> Result<BTreeMap<OsString, u64>, Error> {
    let mut wakes = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        // Gone meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        let count = field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        wakes.insert(thread.file_name(), count);
    }
    Ok(wakes)
}

/// Sent and received. A packet of ARP is as long as the headers of a datagram: it adds no payload.
fn traffic(devices: &str) -> Result<(Traffic, Traffic), Error> {
    let (mut sent, mut received) = (Traffic::default(), Traffic::default());
    for line in devices.lines().skip(2) {
        let (name, figures) = line.split_once(':').ok_or(Error::Proc)?;
        let figures: Vec<u64> = figures
            .split_whitespace()
            .filter_map(|figure| figure.parse().ok())
            .collect();
        let [
            received_bytes,
            received_packets,
            _,
            _,
            _,
            _,
            _,
            _,
            sent_bytes,
            sent_packets,
            ..,
        ] = figures[..]
        else {
            return Err(Error::Proc);
        };
        if name.trim() != "lo" {
            sent.add(sent_bytes, sent_packets);
            received.add(received_bytes, received_packets);
        }
    }
    Ok((sent, received))
}

impl Traffic {
    fn add(&mut self, frame_bytes: u64, packets: u64) {
        self.bytes += frame_bytes.saturating_sub(packets * HEADERS_BYTES);
        self.packets += packets;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DEVICES: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    9000      90    0    0    0     0          0         0     9000      90    0    0    0     0       0          0
 link1:    1420      10    0    0    0     0          0         0      642       1    0    0    0     0       0          0
 link2:     142       1    0    0    0     0          0         0       42       1    0    0    0     0       0          0
";

    #[test]
    fn traffic_is_the_payload_of_all_interfaces_but_loopback() {
        let (sent, received) = traffic(DEVICES).unwrap();
        assert_eq!((sent.bytes, sent.packets), (600, 2));
        assert_eq!((received.bytes, received.packets), (1_100, 11));
    }

    #[test]
    fn a_process_can_be_read() {
        let taken = Taken::of(std::process::id()).unwrap();
        assert!(taken.resident_bytes > 0 && taken.resident_peak_bytes >= taken.resident_bytes);
    }

    #[test]
    fn a_malformed_interface_list_is_an_error() {
        assert!(traffic("a\nb\nc: 1 2").is_err());
    }
}
