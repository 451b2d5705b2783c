//! Measurements of a run, the promises that it breaks, and tables of it.

use std::fmt;
use std::time::Duration;

use p2panda_core::limits;

use crate::behaviour::Behaviour;
use crate::flood::{Plan, Reopened};
use crate::victim::Counters;

const MIB: u64 = 1024 * 1024;

/// Bytes that may come on top of idle memory and budget.
const MEMORY_SPARE_BYTES: u64 = 32 * MIB;
/// Bytes that an attack may leave on the disk, next to valid operations.
const DISK_BYTES: u64 = 64 * MIB;
/// Time that an attack may add to a publish.
const PUBLISH_ADDED: Duration = Duration::from_millis(50);
/// The longest hold by claims on the node's own log that turn out to be void.
const VOID_CLAIM: Duration = Duration::from_secs(3);
/// An honest newcomer's first message.
const NEWCOMER: Duration = Duration::from_secs(5);
/// A message of a live honest pair.
const PAIR: Duration = Duration::from_secs(3);
/// Time that a dependency wait may add to it.
const DEPENDENCY: Duration = Duration::from_secs(33);
/// The share of a core that attackers may cost.
const PROCESSOR: f64 = 0.25;
/// Beginnings of logs in what is read of a session at once: 1 MiB of the smallest operations.
const NEW_LOGS_READ: u64 = 5_000;
/// Operations of a peer that are checked before it is known to bring invalid ones, and at once
/// after that.
const CHECKED_AT_ONCE: u64 = 64 + 32;
/// Messages of strangers that may come before an honest one: a page.
const STRANGERS_FIRST: usize = 1_000;
/// Two silent sessions, one after the other.
const SILENT: Duration = Duration::from_secs(65);
/// A frame without progress, and the time to notice it.
const UNFINISHED: Duration = Duration::from_secs(45);

/// Margin with which times are held to the bars. Bytes, counts and order are held exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Margin {
    /// The bars themselves: for a machine that does nothing else.
    Exact,
    /// Ten times as long: for a machine that runs other tests meanwhile.
    Tenfold,
}

impl Margin {
    fn of(self, time: Duration) -> Duration {
        match self {
            Margin::Exact => time,
            Margin::Tenfold => time * 10,
        }
    }
}

/// Times of many publishes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// Number of values.
    pub count: usize,
    /// Half of them were not slower.
    pub p50: Duration,
    /// 99 of 100 were not slower.
    pub p99: Duration,
    /// The slowest.
    pub longest: Duration,
}

impl Latencies {
    /// Of these.
    pub fn of(mut all: Vec<Duration>) -> Latencies {
        all.sort();
        let at = |percent: usize| {
            let index = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(index).copied().unwrap_or_default()
        };
        Latencies {
            count: all.len(),
            p50: at(50),
            p99: at(99),
            longest: at(100),
        }
    }
}

/// Measurements of a run.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Plan of the run.
    pub plan: Plan,
    /// Resident memory before the attack, in KiB.
    pub idle_kib: u64,
    /// The most resident memory, in KiB.
    pub peak_kib: u64,
    /// Resident memory some time after the attack, in KiB.
    pub after_kib: u64,
    /// Own publishes before the attack.
    pub publish_calm: Latencies,
    /// Own publishes during the attack.
    pub publish_attacked: Latencies,
    /// Small writes to the same disk by another process during the attack.
    pub control: Latencies,
    /// An honest newcomer's time from its start to its first honest message, if there was one.
    pub newcomer: Option<Duration>,
    /// Messages of strangers that it was shown before.
    pub strangers_first: usize,
    /// Messages of the honest pair that were not shown on the other side.
    pub pair_lost: usize,
    /// The slowest message of the honest pair.
    pub pair_slowest: Duration,
    /// Messages of an honest peer that came early and were not shown.
    pub early_lost: usize,
    /// Bytes on disk before and after.
    pub disk_before: u64,
    /// Bytes on disk after the attack.
    pub disk_after: u64,
    /// The share of a core that the node used before the attack.
    pub processor_calm: f64,
    /// The share of a core that it used after the first 10 s of the attack.
    pub processor_attacked: Option<f64>,
    /// The longest that something of an attacker stayed open which should not.
    pub open: Duration,
    /// Bytes that the node sent to addresses of somebody's choice.
    pub reflected_bytes: u64,
    /// Number of those addresses that got any.
    pub reflected_to: usize,
    /// Logs of the topic after the attack.
    pub logs: u64,
    /// Operations refused.
    pub rejected: u64,
    /// Bytes that attackers could send.
    pub effort_bytes: u64,
    /// From the beginning of the attack to the moment at which all this was counted.
    pub counted_after: Duration,
    /// State of a reopened directory, after the process was killed.
    pub reopened: Reopened,
    /// Counters of the node's network.
    pub counters: Counters,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Promise that is checked.
    pub what: &'static str,
    /// Measured and allowed values, in the same unit.
    pub measured: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.measured)
    }
}

impl Measured {
    /// The promises that this run breaks.
    pub fn broken(&self, margin: Margin) -> Vec<Broken> {
        let mut held = Held::default();
        self.memory_and_disk(&mut held);
        self.times(margin, &mut held);
        self.own_rule(margin, &mut held);
        held.broken
    }

    fn memory_and_disk(&self, held: &mut Held) {
        let budget = self.plan.budget_bytes as u64;
        let allowed = self.idle_kib + (budget + MEMORY_SPARE_BYTES) / 1024;
        held.at_most("peak memory, KiB", self.peak_kib, allowed);
        held.at_most("budget", self.counters.budget_bytes, budget);
        let charged = self.counters.budget_peak_bytes;
        held.at_most("charged to the budget", charged, budget);
        let reopened = self.reopened;
        held.at_most("memory at reopen, KiB", reopened.peak_kib, allowed);
        let lost = (reopened.expected - reopened.shown) as u64;
        held.at_most("honest messages lost by kill -9", lost, 0);
        held.at_most("honest messages lost", self.pair_lost as u64, 0);
        if self.plan.behaviour != Behaviour::FreshAuthors {
            let grown = self.disk_after.saturating_sub(self.disk_before);
            held.at_most("disk, bytes", grown, DISK_BYTES);
        }
    }

    fn times(&self, margin: Margin, held: &mut Held) {
        let newcomer = self.newcomer.unwrap_or(Duration::MAX);
        held.within("an honest newcomer", newcomer, margin.of(NEWCOMER));
        let pair = match self.plan.behaviour {
            Behaviour::Drip => DEPENDENCY,
            _ => margin.of(PAIR),
        };
        held.within("the honest pair", self.pair_slowest, pair);
        if self.plan.behaviour == Behaviour::LiarOwnLog {
            let longest = self.publish_attacked.longest;
            held.within("the longest hold", longest, VOID_CLAIM);
        } else {
            let mut allowed = self.publish_calm.p99 + margin.of(PUBLISH_ADDED);
            if margin == Margin::Tenfold {
                // Others use the disk too.
                allowed += self.control.p99;
            }
            held.within("own publishes, p99", self.publish_attacked.p99, allowed);
        }
        if let (Some(share), Margin::Exact) = (self.processor_attacked, margin) {
            let added = (share - self.processor_calm) * 100.0;
            let allowed = (PROCESSOR * 100.0) as u64;
            held.at_most("processor, % of a core", added.max(0.0) as u64, allowed);
        }
    }

    /// Checks what holds for one behaviour only.
    fn own_rule(&self, margin: Margin, held: &mut Held) {
        let identities = self.plan.identities as u64;
        let seconds = self.counted_after.as_secs() + 1;
        match self.plan.behaviour {
            Behaviour::FreshAuthors => {
                let rate = u64::from(limits::NEW_LOGS_PER_SECOND);
                let each = u64::from(limits::NEW_LOGS_MAX) + rate * seconds + NEW_LOGS_READ;
                let rate = u64::from(limits::NEW_LOGS_OF_ALL_PER_SECOND);
                let free = u64::from(limits::NEW_LOGS_FREE);
                let free = free + u64::from(limits::NEW_LOGS_FREE_PER_SECOND) * seconds;
                let all = u64::from(limits::NEW_LOGS_OF_ALL_MAX) + rate * seconds + NEW_LOGS_READ;
                let all = all * self.plan.topics.max(1) as u64 + identities * free;
                held.at_most("new logs", self.logs, all.min(identities * each));
                let before = self.strangers_first as u64;
                held.at_most("strangers first", before, STRANGERS_FIRST as u64);
            }
            Behaviour::ReflectorRecord => {
                let each = limits::KNOCK_BYTES_PER_TELLER_MAX as u64;
                let all = limits::KNOCK_BYTES_PER_MINUTE_MAX as u64;
                let allowed = (each * identities).min(all) * (seconds / 60 + 1);
                held.at_most("reflected bytes", self.reflected_bytes, allowed);
            }
            Behaviour::InvalidFlood => {
                let at_once = limits::INVALID_AT_ONCE_MAX as u64 + CHECKED_AT_ONCE;
                let each = limits::INVALID_PER_SECOND as u64 * identities;
                let rate = each.min(limits::INVALID_SHARED_PER_SECOND as u64);
                let allowed = identities * at_once + rate * seconds;
                held.at_most("invalid operations checked", self.rejected, allowed);
            }
            Behaviour::SilentPair => held.within("a silent pair", self.open, SILENT),
            Behaviour::UnfinishedFrames => {
                held.within("an unfinished frame", self.open, UNFINISHED);
            }
            Behaviour::SlowHandshake => {
                let allowed = margin.of(limits::HANDSHAKE_TIMEOUT) + Duration::from_secs(2);
                held.within("a slow handshake", self.open, allowed);
            }
            Behaviour::SilentLinks => {
                let allowed = margin.of(limits::LINK_HELLO_TIMEOUT) + Duration::from_secs(2);
                held.within("a silent link", self.open, allowed);
            }
            Behaviour::UnfinishedPieces => {
                held.within("an operation in pieces", self.open, UNFINISHED);
            }
            Behaviour::StalledRanges => held.within("a stalled session", self.open, UNFINISHED),
            Behaviour::Farewells => {
                let allowed = margin.of(limits::LINK_END_WAIT) + Duration::from_secs(2);
                held.within("a link after its end", self.open, allowed);
            }
            Behaviour::EarlyFlood => {
                held.at_most("honest early messages lost", self.early_lost as u64, 0);
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Held {
    broken: Vec<Broken>,
}

impl Held {
    fn at_most(&mut self, what: &'static str, measured: u64, allowed: u64) {
        if measured > allowed {
            let measured = format!("{measured}, at most {allowed}");
            self.broken.push(Broken { what, measured });
        }
    }

    fn within(&mut self, what: &'static str, measured: Duration, allowed: Duration) {
        if measured > allowed {
            let measured = match measured {
                Duration::MAX => format!("never, within {allowed:.1?}"),
                measured => format!("{measured:.1?}, within {allowed:.1?}"),
            };
            self.broken.push(Broken { what, measured });
        }
    }
}

/// The columns of [`Measured::row`].
pub const HEAD: &str = "\
| attack | identities | prefix | topics | sent, MB | idle, MiB | peak | after | publish p99, ms \
| attacked | longest | newcomer, s | pair, slowest, s | lost | disk, MB | processor, % | reopen, s \
| shown again |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

impl Measured {
    /// One row of a markdown table.
    pub fn row(&self) -> String {
        let Plan {
            behaviour,
            identities,
            place,
            topics,
            ..
        } = &self.plan;
        let mib = |kib: u64| kib / 1024;
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
        let newcomer = self
            .newcomer
            .map(|time| format!("{:.1}", time.as_secs_f64()));
        let processor = self.processor_attacked.map(|share| {
            let added = (share - self.processor_calm).max(0.0);
            format!("{:.0}", added * 100.0)
        });
        format!(
            "| {} | {identities} | {} | {topics} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} \
             | {} | {:.1} | {} | {:.1} | {} of {} |",
            behaviour.name(),
            place.name(),
            self.effort_bytes / 1_000_000,
            mib(self.idle_kib),
            mib(self.peak_kib),
            mib(self.after_kib),
            ms(self.publish_calm.p99),
            ms(self.publish_attacked.p99),
            ms(self.publish_attacked.longest),
            newcomer.unwrap_or_else(|| "never".to_owned()),
            self.pair_slowest.as_secs_f64(),
            self.pair_lost,
            self.disk_after.saturating_sub(self.disk_before) as f64 / 1e6,
            processor.unwrap_or_else(|| "-".to_owned()),
            self.reopened.took.as_secs_f64(),
            self.reopened.shown,
            self.reopened.expected,
        )
    }
}
