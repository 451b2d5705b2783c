//! The settings of a consumer (`docs/protocol/consumers.md#1`).

/// The part of a consumer's configuration that decides about deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The mode of acknowledgement.
    pub acknowledgement: Acknowledgement,
    /// The mode of distribution.
    pub mode: Mode,
    /// The time after which an unsettled entry is redelivered; `None`: never by time.
    pub ack_wait_us: Option<u64>,
    /// The delays of entries that were returned without a delay.
    pub backoff: Backoff,
    /// Deliveries after which an entry is a dead letter; `None`: never.
    pub deliveries_max: Option<u32>,
    /// Entries that may be unsettled.
    pub in_flight_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            acknowledgement: Acknowledgement::Explicit,
            mode: Mode::Exclusive,
            ack_wait_us: Some(30_000_000),
            backoff: Backoff::default(),
            deliveries_max: None,
            in_flight_max: 1_000,
        }
    }
}

/// The mode of acknowledgement (`docs/protocol/consumers.md#4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The application settles each entry. Asking for the next one may do that, too.
    Explicit,
    /// The application settles an entry with everything of its topic that was delivered before.
    Cumulative,
    /// Delivering an entry settles it.
    None,
}

/// The mode of distribution (`docs/protocol/consumers.md#7`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// There is one reader.
    Exclusive,
    /// Each entry goes to one of several readers.
    Shared,
    /// As `Shared`, but entries of a key are delivered one at a time.
    Ordered,
}

/// Delays by the number of deliveries; the last one for all later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff(Vec<u64>);

impl Backoff {
    /// These delays in microseconds; none means no delay.
    pub fn new(delays_us: Vec<u64>) -> Self {
        Self(delays_us)
    }

    /// The delay after the delivery of this number, from 1.
    pub fn after(&self, count: u32) -> u64 {
        let place = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        let delay = self.0.get(place).or(self.0.last());
        delay.copied().unwrap_or(0)
    }
}

impl Default for Backoff {
    /// One second, doubled up to five minutes.
    fn default() -> Self {
        let doubled = (0..9).map(|power| (1_000_000 << power).min(300_000_000));
        Self(doubled.collect())
    }
}
