//! Named consumers (`docs/protocol/rpc.md#7`).

use p2panda_core::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Message, PrunedNote};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// Where the consumer stands.
    Resume,
    /// The oldest message.
    Beginning,
    /// What comes from now on.
    Now,
    /// This offset, inclusive.
    Offset(u64),
    /// What was delivered into the feed at this time or later, in microseconds since 1970.
    Time(u64),
    /// This operation.
    Operation(#[schemars(with = "String")] Hash),
}

/// A consumer as it is opened. What is left out stays as it is stored, or is the default of a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSettings {
    /// Its name, of this client.
    pub name: String,
    /// Who acknowledges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<AckPolicy>,
    /// Who gets a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// After which an open message comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_wait_ms: Option<u64>,
    /// After which a message comes again that was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<Vec<u64>>,
    /// Deliveries after which it is a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries_max: Option<u32>,
    /// Messages that are not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<usize>,
    /// After which it is deleted if nobody has it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_ms: Option<u64>,
    /// If another reader has it open, that one ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub take_over: bool,
}

impl ConsumerSettings {
    /// One with this name.
    pub fn named(name: impl Into<String>) -> Self {
        ConsumerSettings {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// Who acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// The client, each message.
    Explicit,
    /// The client, with everything of the topic before it.
    Cumulative,
    /// The delivery.
    None,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One reader.
    Exclusive,
    /// One of several readers.
    Shared,
    /// One of several readers, messages of one author one after the other.
    Ordered,
}

/// Parameters of `consumer.ack` and `consumer.progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckParams {
    /// The subscription.
    pub subscription: u64,
    /// Deliveries, at most 1 000.
    pub deliveries: Vec<u64>,
}

/// Parameters of `consumer.fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchParams {
    /// The subscription, one with `pull`.
    pub subscription: u64,
    /// At most so many messages, up to 256.
    pub count: usize,
    /// How long to wait for the first, in milliseconds, at most a day.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Result of `consumer.fetch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FetchResult {
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// What was pruned before it was settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedNote>,
}

/// Parameters of `consumer.ack-at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckAtParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Topic or alias.
    pub topic: String,
    /// The offset.
    pub offset: u64,
}

/// Parameters of `consumer.nak`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NakParams {
    /// The subscription.
    pub subscription: u64,
    /// The delivery.
    pub delivery: u64,
    /// After which it comes again; left out: that of the backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// Parameters of `consumer.term`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TermParams {
    /// The subscription.
    pub subscription: u64,
    /// The delivery.
    pub delivery: u64,
    /// Why, at most 512 bytes.
    #[serde(default)]
    pub reason: String,
}

/// Result of settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettledResult {
    /// Those that count now, and are on disk.
    pub done: u64,
    /// Those that were settled before.
    pub already: u64,
}

/// Parameters with a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerParams {
    /// Its name.
    pub consumer: String,
}

/// Parameters of `consumer.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerListParams {
    /// Those behind this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Result of `consumer.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerListResult {
    /// In the order of their names.
    pub consumers: Vec<ConsumerView>,
    /// What to ask for next; none at the end.
    pub next: Option<String>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerView {
    /// Its name, as the client says it.
    pub name: String,
    /// Where it stands.
    pub positions: Vec<Position>,
    /// Readers that have it open.
    pub readers: usize,
    /// It was paused.
    pub paused: bool,
    /// It delivers nothing, since it has as many dead letters as are kept.
    pub full_of_dead: bool,
    /// Messages that readers hold.
    pub in_flight: usize,
    /// Dead letters.
    pub dead: u64,
    /// Milliseconds without use after which it is deleted; none: never.
    pub inactive_ms: Option<u64>,
}

/// Where a consumer stands in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Alias of the topic.
    pub topic: String,
    /// Everything at or below is settled, except what is open.
    pub position: u64,
    /// What is open.
    pub open: u64,
}

/// Result of `consumer.show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerShowResult {
    /// The consumer.
    pub consumer: ConsumerView,
    /// Messages that are not settled.
    pub lag_messages: u64,
    /// Bytes of them.
    pub lag_bytes: u64,
    /// Age of the oldest one.
    pub oldest_ms: Option<u64>,
}

/// Parameters of `consumer.seek`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekParams {
    /// Its name.
    pub consumer: String,
    /// Where to.
    pub start: Start,
    /// Topics or aliases; left out: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
}

/// Parameters of `dead.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadListParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Those behind this number.
    #[serde(default)]
    pub after: u64,
}

/// Result of `dead.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadListResult {
    /// Oldest first, at most 1 000.
    pub letters: Vec<DeadLetter>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Its number.
    pub number: u64,
    /// Alias of the topic.
    pub topic: String,
    /// Offset in the feed.
    pub offset: u64,
    /// Id of the operation, if it was stored then.
    #[schemars(with = "Option<String>")]
    pub id: Option<Hash>,
    /// `max-deliveries`, `terminated` or `pruned`.
    pub reason: String,
    /// What the application said.
    pub said: Option<String>,
    /// How often it was delivered.
    pub count: u32,
    /// When it became one, in microseconds since 1970.
    pub at: u64,
}

/// Parameters of `dead.redrive` and `dead.drop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Number of the letter; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// Result of `dead.redrive` and `dead.drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadCountResult {
    /// How many.
    pub letters: u64,
}
