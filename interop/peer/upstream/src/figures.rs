//! What is read of the machine, and the line that is printed: the fields of `p2panda-bench`.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// Ticks per second of the times in `/proc/PID/stat`.
const TICKS: f64 = 100.0;
/// Ethernet, IPv4 and UDP headers of what the loopback interface counts.
const DATAGRAM_OVERHEAD_BYTES: u64 = 14 + 20 + 8;

/// A clock that all processes of the machine share, in nanoseconds.
pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of this process, user and system, all threads, in seconds.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in brackets; user and system time are the 14th and the 15th.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// A memory figure of this process, in bytes: `VmRSS:` now, `VmHWM:` at most.
pub fn memory_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// UDP payload that was sent on the loopback interface of this network namespace.
pub fn loopback_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"));
    let fields: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // Transmitted bytes and packets follow eight fields of what was received.
    match fields.get(8..10) {
        Some([bytes, packets]) => bytes.saturating_sub(packets * DATAGRAM_OVERHEAD_BYTES),
        _ => 0,
    }
}

/// Bytes of a database and of the files next to it.
pub fn disk_bytes(database: &Path) -> u64 {
    let size = |suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |file| file.len())
    };
    ["", "-wal", "-shm", "-journal"].into_iter().map(size).sum()
}

/// The middle and the tail of some measurements.
pub fn percentiles(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (values.len().saturating_sub(1) as f64 * part).round() as usize;
        values.get(index).copied()
    };
    json!({ "n": values.len(), "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}

/// Wall and processor time since a moment.
#[derive(Clone, Copy)]
pub struct Stopwatch {
    started: Instant,
    cpu_seconds: f64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch {
            started: Instant::now(),
            cpu_seconds: cpu_seconds(),
        }
    }

    /// Wall time so far.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Processor time of this process so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.cpu_seconds
    }
}

/// One result: a line of JSON.
pub struct Row(Map<String, Value>);

impl Row {
    /// A result of a workload over `n` operations of `payload_bytes` each.
    pub fn new(workload: &str, n: usize, payload_bytes: usize, seconds: f64) -> Row {
        let mut row = Row(Map::new());
        row.0.insert("workload".into(), workload.into());
        row.with("n", n)
            .with("payload_bytes", payload_bytes)
            .with("seconds", seconds)
            .with("operations_per_s", n as f64 / seconds)
    }

    /// Processor time since the stopwatch was started, and the memory of this process.
    pub fn of_process(self, watch: &Stopwatch) -> Row {
        self.with("cpu_seconds", watch.cpu_seconds())
            .with("peak_rss_bytes", memory_bytes("VmHWM:"))
    }

    /// One more figure.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Row {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Prints the line.
    pub fn print(self) {
        println!("{}", Value::Object(self.0));
    }
}
