//! Settings of a named consumer (`docs/protocol/consumers.md#1`).

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::cbor::{self, CborError, Reader, Writer};
use p2panda_core::limits::{
    CONSUMER_BACKOFF_MAX, CONSUMER_DELAY_MAX, CONSUMER_DELIVERIES_MAX, CONSUMER_IN_FLIGHT_DEFAULT,
    CONSUMER_IN_FLIGHT_MAX, CONSUMER_INACTIVE_MAX, CONSUMER_INACTIVE_MIN, CONSUMER_WAIT_DEFAULT,
    CONSUMER_WAIT_MIN,
};
use p2panda_core::{Hash, Timestamp, VerifyingKey};
use p2panda_engine::consumer::{Acknowledgement, Backoff, Config, Mode};
use p2panda_store::FilterFault;

pub use p2panda_store::Filter as ConsumerFilter;

use crate::consumer_error::ConsumerError;

/// Acknowledgement of messages (`docs/protocol/consumers.md#4`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acking {
    /// The application acknowledges each message.
    #[default]
    Explicit,
    /// Asking for the next message acknowledges the one before.
    OnNext,
    /// The application acknowledges a message and everything of its topic that was delivered before.
    Cumulative,
    /// Delivering a message acknowledges it: it is never redelivered.
    None,
}

/// Distribution of messages to readers (`docs/protocol/consumers.md#7`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerMode {
    /// There is one reader.
    #[default]
    Exclusive,
    /// Each message goes to one of several readers.
    Shared,
    /// As `Shared`, but messages of one author, or of one key, are delivered one at a time.
    Ordered,
}

/// Position at which a consumer begins to read (`docs/protocol/consumers.md#5`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerStart {
    /// The consumer's position; a new consumer starts at the beginning.
    #[default]
    Resume,
    /// The oldest stored message.
    Beginning,
    /// Messages from now on.
    Now,
    /// This feed offset, inclusive.
    Offset(u64),
    /// Messages that entered the feed at this time of this node's clock, or later. Some earlier ones may
    /// come first.
    Time(Timestamp),
    /// This operation.
    Operation(Hash),
    /// Everything that these heights do not cover: by author, the highest sequence number to skip.
    StateVector(Vec<(VerifyingKey, u32)>),
}

/// All settings, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub acking: Acking,
    pub mode: ConsumerMode,
    pub ack_wait: Duration,
    pub backoff: Vec<Duration>,
    pub deliveries_max: Option<u32>,
    pub in_flight_max: usize,
    pub inactive: Option<Duration>,
    pub filter: ConsumerFilter,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acking: Acking::default(),
            mode: ConsumerMode::default(),
            ack_wait: CONSUMER_WAIT_DEFAULT,
            backoff: Vec::new(),
            deliveries_max: None,
            in_flight_max: CONSUMER_IN_FLIGHT_DEFAULT,
            inactive: None,
            filter: ConsumerFilter::default(),
        }
    }
}

const VERSION: u64 = 1;

impl Settings {
    pub(crate) fn check(&self) -> Result<(), ConsumerError> {
        let is_delay = |delay: &Duration| *delay <= CONSUMER_DELAY_MAX;
        let wait = CONSUMER_WAIT_MIN..=CONSUMER_DELAY_MAX;
        let deliveries = self.deliveries_max;
        let inactive = CONSUMER_INACTIVE_MIN..=CONSUMER_INACTIVE_MAX;
        let invalid = if !wait.contains(&self.ack_wait) {
            Some("ack wait")
        } else if self.backoff.len() > CONSUMER_BACKOFF_MAX || !self.backoff.iter().all(is_delay) {
            Some("backoff")
        } else if deliveries.is_some_and(|max| max == 0 || max > CONSUMER_DELIVERIES_MAX) {
            Some("deliveries at most")
        } else if self.in_flight_max == 0 || self.in_flight_max > CONSUMER_IN_FLIGHT_MAX {
            Some("in flight at most")
        } else if self
            .inactive
            .is_some_and(|after| !inactive.contains(&after))
        {
            Some("inactive threshold")
        } else if self.acking == Acking::Cumulative && self.mode != ConsumerMode::Exclusive {
            Some("acknowledgement")
        } else {
            None
        };
        match invalid {
            Some(setting) => Err(ConsumerError::Invalid(setting)),
            None => check_filter(&self.filter),
        }
    }

    pub(crate) fn config(&self) -> Config {
        let is_acked = matches!(self.acking, Acking::Explicit | Acking::Cumulative);
        Config {
            acknowledgement: match self.acking {
                Acking::Explicit | Acking::OnNext => Acknowledgement::Explicit,
                Acking::Cumulative => Acknowledgement::Cumulative,
                Acking::None => Acknowledgement::None,
            },
            mode: match self.mode {
                ConsumerMode::Exclusive => Mode::Exclusive,
                ConsumerMode::Shared => Mode::Shared,
                ConsumerMode::Ordered => Mode::Ordered,
            },
            ack_wait_us: is_acked.then(|| micros(self.ack_wait)),
            backoff: match self.backoff.is_empty() {
                true => Backoff::default(),
                false => Backoff::new(self.backoff.iter().copied().map(micros).collect()),
            },
            deliveries_max: self.deliveries_max,
            in_flight_max: self.in_flight_max,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.array(9).uint(VERSION);
        writer.uint(self.acking as u64).uint(self.mode as u64);
        writer.uint(micros(self.ack_wait));
        writer.array(self.backoff.len());
        for delay in &self.backoff {
            writer.uint(micros(*delay));
        }
        writer.uint(self.deliveries_max.unwrap_or(0).into());
        writer.uint(self.in_flight_max as u64);
        writer.uint(self.inactive.map_or(0, micros));
        self.filter.write(&mut writer);
        writer.into_bytes().into()
    }

    /// `None` if they are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Settings> {
        decode(bytes).ok().flatten()
    }
}

fn decode(bytes: &[u8]) -> Result<Option<Settings>, CborError> {
    let mut reader = Reader::checked(bytes, cbor::VALUE)?;
    if reader.array()? != 9 || reader.uint()? != VERSION {
        return Ok(None);
    }
    let acking = match reader.uint()? {
        0 => Acking::Explicit,
        1 => Acking::OnNext,
        2 => Acking::Cumulative,
        _ => Acking::None,
    };
    let mode = match reader.uint()? {
        0 => ConsumerMode::Exclusive,
        1 => ConsumerMode::Shared,
        _ => ConsumerMode::Ordered,
    };
    let ack_wait = Duration::from_micros(reader.uint()?);
    let mut backoff = Vec::new();
    for _ in 0..reader.array()? {
        backoff.push(Duration::from_micros(reader.uint()?));
    }
    let deliveries_max = u32::try_from(reader.uint()?).ok().filter(|max| *max > 0);
    let in_flight_max = usize::try_from(reader.uint()?).unwrap_or(CONSUMER_IN_FLIGHT_MAX);
    let inactive = match reader.uint()? {
        0 => None,
        us => Some(Duration::from_micros(us)),
    };
    let filter = match ConsumerFilter::read(&mut reader)? {
        Some(filter) => filter,
        None => return Ok(None),
    };
    Ok(Some(Settings {
        acking,
        mode,
        ack_wait,
        backoff,
        deliveries_max,
        in_flight_max,
        inactive,
        filter,
    }))
}

/// Checks whether a filter is valid.
pub(crate) fn check_filter(filter: &ConsumerFilter) -> Result<(), ConsumerError> {
    filter.check().map_err(|fault| match fault {
        FilterFault::AdmitsNothing => ConsumerError::InvalidFilter,
        FilterFault::Authors => ConsumerError::Limit("authors of a filter"),
        FilterFault::Logs => ConsumerError::Limit("logs of a filter"),
    })
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let author = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let settings = Settings {
            acking: Acking::OnNext,
            mode: ConsumerMode::Ordered,
            ack_wait: Duration::from_millis(700),
            backoff: vec![Duration::from_secs(1), Duration::from_secs(9)],
            deliveries_max: Some(5),
            in_flight_max: 7,
            inactive: Some(Duration::from_secs(60)),
            filter: ConsumerFilter::default()
                .authors([author])
                .bodies()
                .from(Timestamp::from_micros(3))
                .first_logs(),
        };
        for settings in [settings, Settings::default()] {
            settings.check().unwrap();
            assert_eq!(Settings::decode(&settings.encode()), Some(settings));
        }
    }
}
