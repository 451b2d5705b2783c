//! Time of the wall and of this thread's processor.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a piece of work took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Of this thread's processor. Other load on the machine hardly changes it.
    pub cpu: Duration,
    /// On the wall.
    pub wall: Duration,
}

/// Does the work and says what it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Cost, T) {
    let (cpu, wall) = (read(ClockId::ThreadCPUTime), read(ClockId::Monotonic));
    let result = work();
    let cost = Cost {
        cpu: read(ClockId::ThreadCPUTime).saturating_sub(cpu),
        wall: read(ClockId::Monotonic).saturating_sub(wall),
    };
    (cost, result)
}

/// The middle one, by processor time.
pub fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_unstable();
    let zero = Cost {
        cpu: Duration::ZERO,
        wall: Duration::ZERO,
    };
    costs.get(costs.len() / 2).copied().unwrap_or(zero)
}

/// Seconds since 1970: the published crates read the system's clock themselves.
pub fn now() -> u64 {
    read(ClockId::Realtime).as_secs()
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
