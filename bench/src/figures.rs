//! Figures of the machine, and the printed line.

use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// A monotonic clock that all processes of the machine share, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Processor time of this process, user and system, all threads, in seconds.
pub fn cpu_seconds() -> f64 {
    nanoseconds(ClockId::ProcessCPUTime) as f64 / 1e9
}

/// Processor time of this thread: for comparisons that other load on the machine must not tilt.
pub fn thread_time() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::ThreadCPUTime))
}

/// Resident memory now, in bytes.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// Most memory that was ever resident, in bytes.
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// Bytes of all files of a directory.
pub fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
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
    started_ns: u64,
    cpu_seconds: f64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch {
            started_ns: monotonic_ns(),
            cpu_seconds: cpu_seconds(),
        }
    }

    /// Wall time so far.
    pub fn seconds(&self) -> f64 {
        monotonic_ns().saturating_sub(self.started_ns) as f64 / 1e9
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
        let Value::Object(fields) = json!({
            "workload": workload,
            "n": n,
            "payload_bytes": payload_bytes,
            "seconds": seconds,
            "operations_per_s": n as f64 / seconds,
        }) else {
            return Row(Map::new());
        };
        Row(fields)
    }

    /// Processor time since the stopwatch was started, and the memory of this process.
    pub fn of_process(self, watch: &Stopwatch) -> Row {
        self.with("cpu_seconds", watch.cpu_seconds())
            .with("peak_rss_bytes", peak_resident_bytes())
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

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither clock runs below zero.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
