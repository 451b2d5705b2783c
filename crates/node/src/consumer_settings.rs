//! How a named consumer is set up (`docs/protocol/consumers.md#1`).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::cbor::{self, CborError, Reader, Writer};
use p2panda_core::limits::{
    CONSUMER_AUTHORS_MAX, CONSUMER_BACKOFF_MAX, CONSUMER_DELAY_MAX, CONSUMER_DELIVERIES_MAX,
    CONSUMER_IN_FLIGHT_DEFAULT, CONSUMER_IN_FLIGHT_MAX, CONSUMER_INACTIVE_MAX,
    CONSUMER_INACTIVE_MIN, CONSUMER_WAIT_DEFAULT, CONSUMER_WAIT_MIN,
};
use p2panda_core::{Hash, Header, Timestamp, VerifyingKey};
use p2panda_engine::consumer::{Acknowledgement, Backoff, Config, Mode};
use p2panda_store::{Content, FeedEntry};

use crate::consumer_error::ConsumerError;

/// Who settles a message (`docs/protocol/consumers.md#4`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acking {
    /// The application, each message by itself.
    #[default]
    Explicit,
    /// Asking for the next one.
    OnNext,
    /// The application, with everything of its topic that was delivered before.
    Cumulative,
    /// The delivery: a message is not delivered again.
    None,
}

/// Who gets a message (`docs/protocol/consumers.md#7`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerMode {
    /// One reader.
    #[default]
    Exclusive,
    /// One of several readers.
    Shared,
    /// One of several readers, and messages of one author, or of one key, one after the other.
    Ordered,
}

/// Where a consumer begins to read (`docs/protocol/consumers.md#5`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumerStart {
    /// Where it stands; a new one at the beginning.
    #[default]
    Resume,
    /// The oldest stored message.
    Beginning,
    /// What comes from now on.
    Now,
    /// This feed offset, inclusive.
    Offset(u64),
    /// What this node delivered into the feed at this time of its clock, or later. Some earlier ones may
    /// come before.
    Time(Timestamp),
    /// This operation.
    Operation(Hash),
    /// Everything that these heights do not cover: by author, the highest sequence number that is not
    /// wanted.
    StateVector(Vec<(VerifyingKey, u32)>),
}

/// Which messages a consumer or a view gets (`docs/protocol/consumers.md#8`). What a filter does not say
/// admits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerFilter {
    authors: Option<BTreeSet<VerifyingKey>>,
    bodies: bool,
    opened: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl ConsumerFilter {
    /// Only what these have written.
    pub fn authors(mut self, authors: impl IntoIterator<Item = VerifyingKey>) -> Self {
        self.authors = Some(authors.into_iter().collect());
        self
    }

    /// Only content that its author published as it is, and other kinds that are asked for.
    pub fn bodies(mut self) -> Self {
        self.bodies = true;
        self
    }

    /// Only content that was sealed, and other kinds that are asked for.
    pub fn opened(mut self) -> Self {
        self.opened = true;
        self
    }

    /// Only what its author says was written at this time or later.
    pub fn from(mut self, time: Timestamp) -> Self {
        self.from = Some(time);
        self
    }

    /// Only what its author says was written before this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// A change passes as its operation does, whatever kinds are asked for.
    pub(crate) fn admits(&self, entry: &FeedEntry) -> bool {
        let kinds = self.bodies || self.opened;
        let is_kind = match entry.content {
            Content::Body(_) => !kinds || self.bodies,
            Content::Opened(_) => !kinds || self.opened,
            _ => true,
        };
        is_kind && self.admits_header(&entry.header)
    }

    fn admits_header(&self, header: &Header) -> bool {
        if let Some(authors) = &self.authors
            && !authors.contains(&header.author())
        {
            return false;
        }
        if self.from.is_none() && self.until.is_none() {
            return true;
        }
        let time = header.node_extensions().map(|found| found.timestamp);
        let time = time.unwrap_or(Timestamp::from_micros(0));
        self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    /// Whether it is possible.
    pub(crate) fn check(&self) -> Result<(), ConsumerError> {
        let authors = self.authors.as_ref().map(BTreeSet::len);
        let is_empty = authors == Some(0)
            || matches!((self.from, self.until), (Some(from), Some(until)) if from >= until);
        if is_empty {
            return Err(ConsumerError::InvalidFilter);
        }
        match authors.is_some_and(|authors| authors > CONSUMER_AUTHORS_MAX) {
            true => Err(ConsumerError::Limit("authors of a filter")),
            false => Ok(()),
        }
    }

    /// The same bytes for the same filter; none for one that admits everything.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    fn write(&self, writer: &mut Writer) {
        let kinds = u64::from(self.bodies) | u64::from(self.opened) << 1;
        writer.array(4).uint(kinds);
        writer.uint(self.from.map_or(0, Timestamp::as_micros));
        writer.uint(self.until.map_or(0, Timestamp::as_micros));
        match &self.authors {
            None => drop(writer.null()),
            Some(authors) => {
                writer.array(authors.len());
                for author in authors {
                    writer.bytes(author.as_bytes());
                }
            }
        }
    }
}

/// All of it.
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
            None => self.filter.check(),
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

    /// `None`: they are damaged.
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
    let filter = match decode_filter(&mut reader)? {
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

fn decode_filter(reader: &mut Reader<'_>) -> Result<Option<ConsumerFilter>, CborError> {
    reader.array()?;
    let kinds = reader.uint()?;
    let time = |us: u64| (us > 0).then(|| Timestamp::from_micros(us));
    let (from, until) = (time(reader.uint()?), time(reader.uint()?));
    let authors = match reader.peek()? {
        cbor::Kind::Array => {
            let mut authors = BTreeSet::new();
            for _ in 0..reader.array()? {
                let key = reader.bytes()?.try_into().ok();
                let Some(author) = key.and_then(|key| VerifyingKey::from_bytes(key).ok()) else {
                    return Ok(None);
                };
                authors.insert(author);
            }
            Some(authors)
        }
        _ => {
            reader.null()?;
            None
        }
    };
    Ok(Some(ConsumerFilter {
        authors,
        bodies: kinds & 1 > 0,
        opened: kinds & 2 > 0,
        from,
        until,
    }))
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
                .from(Timestamp::from_micros(3)),
        };
        for settings in [settings, Settings::default()] {
            settings.check().unwrap();
            assert_eq!(Settings::decode(&settings.encode()), Some(settings));
        }
    }
}
