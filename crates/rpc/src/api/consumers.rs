//! Named consumers (`docs/protocol/rpc.md#7`).

use p2panda_core::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Message, PrunedNote};

/// Start position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// The consumer's position.
    Resume,
    /// The oldest message.
    Beginning,
    /// Messages from now on.
    Now,
    /// This offset, inclusive.
    Offset(u64),
    /// Messages that entered the feed at this time or later, in microseconds since 1970.
    Time(u64),
    /// This operation.
    Operation(#[schemars(with = "String")] Hash),
}

/// Settings for opening a consumer. Absent ones keep the stored value, or a new one's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSettings {
    /// Name of the consumer among those of this client.
    pub name: String,
    /// Mode of acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<AckPolicy>,
    /// Mode of distribution among readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Time after which an open message is redelivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_wait_ms: Option<u64>,
    /// Waits before a message is redelivered after `consumer.nak`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<Vec<u64>>,
    /// Number of deliveries after which a message is a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries_max: Option<u32>,
    /// Number of messages that are not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_max: Option<usize>,
    /// Time after which the consumer is deleted if no reader has it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_ms: Option<u64>,
    /// Whether to end another reader that has it open.
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

/// Mode of acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// The client acknowledges each message.
    Explicit,
    /// The client acknowledges a message and all before it in the topic.
    Cumulative,
    /// Delivering a message acknowledges it.
    None,
}

/// Mode of distribution among readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One reader.
    Exclusive,
    /// Several readers; each message goes to one.
    Shared,
    /// Several readers; messages of one author are delivered one at a time.
    Ordered,
}

/// Parameters of `consumer.ack` and `consumer.progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckParams {
    /// Number of the subscription.
    pub subscription: u64,
    /// Delivery numbers, at most 1 000.
    pub deliveries: Vec<u64>,
}

/// Parameters of `consumer.fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchParams {
    /// The subscription, opened with `pull`.
    pub subscription: u64,
    /// Most messages to return, up to 256.
    pub count: usize,
    /// Longest wait for the first message in milliseconds, at most a day.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Result of `consumer.fetch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FetchResult {
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// Messages that were pruned before they were settled.
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
    /// Offset in the feed of the topic.
    pub offset: u64,
    /// Whether everything of the topic that was delivered below it is also settled, except what was
    /// returned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_before: bool,
}

/// Parameters of `consumer.nak-at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NakAtParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Topic or alias.
    pub topic: String,
    /// Offset in the feed of the topic.
    pub offset: u64,
    /// Time until redelivery; absent: by the consumer's backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// Parameters of `consumer.term-at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TermAtParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Topic or alias.
    pub topic: String,
    /// Offset in the feed of the topic.
    pub offset: u64,
    /// Reason, at most 512 bytes.
    #[serde(default)]
    pub reason: String,
}

/// Parameters of `consumer.nak`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NakParams {
    /// Number of the subscription.
    pub subscription: u64,
    /// Number of the delivery.
    pub delivery: u64,
    /// Time until redelivery; absent: by the consumer's backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// Parameters of `consumer.term`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TermParams {
    /// Number of the subscription.
    pub subscription: u64,
    /// Number of the delivery.
    pub delivery: u64,
    /// Reason, at most 512 bytes.
    #[serde(default)]
    pub reason: String,
}

/// Result of settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettledResult {
    /// Number of deliveries that this call settled; on disk.
    pub done: u64,
    /// Number of deliveries that were settled before.
    pub already: u64,
}

/// Parameters with a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerParams {
    /// Name.
    pub consumer: String,
}

/// Parameters of `consumer.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerListParams {
    /// Return consumers after this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Result of `consumer.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerListResult {
    /// Sorted by name.
    pub consumers: Vec<ConsumerView>,
    /// Value for the next page; none at the end.
    pub next: Option<String>,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerView {
    /// Name, as the client uses it.
    pub name: String,
    /// Sequence number at which it is blocked.
    pub positions: Vec<Position>,
    /// Number of readers that have it open.
    pub readers: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it has stopped because its list of dead letters is full.
    pub full_of_dead: bool,
    /// Number of messages that readers hold.
    pub in_flight: usize,
    /// Number of dead letters.
    pub dead: u64,
    /// Milliseconds without use until it is deleted; none: never.
    pub inactive_ms: Option<u64>,
}

/// Position of a consumer in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Alias of the topic.
    pub topic: String,
    /// Everything at or below this offset is settled, except what is open.
    pub position: u64,
    /// Offsets of open messages.
    pub open: u64,
}

/// Result of `consumer.show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerShowResult {
    /// The consumer.
    pub consumer: ConsumerView,
    /// Number of messages that are not settled.
    pub lag_messages: u64,
    /// Their bytes.
    pub lag_bytes: u64,
    /// Age of the oldest of them.
    pub oldest_ms: Option<u64>,
}

/// Parameters of `consumer.seek`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekParams {
    /// Name.
    pub consumer: String,
    /// New position.
    pub start: Start,
    /// Topics or aliases; absent: all topics of the consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
}

/// Parameters of `dead.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadListParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Return letters after this number.
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
    /// Reason that the application gave.
    pub said: Option<String>,
    /// Number of deliveries.
    pub count: u32,
    /// Time at which it became a dead letter, in microseconds since 1970.
    pub at: u64,
}

/// Parameters of `dead.redrive` and `dead.drop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadParams {
    /// Name of the consumer.
    pub consumer: String,
    /// Number of the letter; absent: all letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// Result of `dead.redrive` and `dead.drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadCountResult {
    /// Number of letters.
    pub letters: u64,
}
