//! Notifications of the server (`docs/protocol/rpc.md#5`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, ErrorData, Message, PrunedNote, StoredView};

/// A notification of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// Messages of a subscription.
    Messages(MessagesNote),
    /// Operations of a subscription.
    Operations(OperationsNote),
    /// An ephemeral message.
    Ephemeral(EphemeralNote),
    /// An event of the node.
    Event(EventNote),
    /// A subscription has ended.
    Ended(EndedNote),
}

/// Messages of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagesNote {
    /// Number of the subscription.
    pub subscription: u64,
    /// Credit that the messages take; return it with `messages.credit`.
    pub bytes: u32,
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// Messages that were pruned before they were settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedNote>,
}

/// Operations of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationsNote {
    /// Number of the subscription.
    pub subscription: u64,
    /// Credit that the operations take; return it with `messages.credit`.
    pub bytes: u32,
    /// In order of arrival, each log in its own order.
    pub operations: Vec<StoredView>,
}

/// An ephemeral message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EphemeralNote {
    /// Number of the subscription.
    pub subscription: u64,
    /// Alias of the topic.
    pub topic: String,
    /// Key that signed it.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Time of sending by the author's clock.
    pub timestamp: String,
    /// A text message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Any other content: one CBOR item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cbor: Option<Bin>,
    /// Whole signed message, if it was signed elsewhere (`ephemeral.submit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Bin>,
}

/// An event of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventNote {
    /// Number of the subscription.
    pub subscription: u64,
    /// Name of the event; the page lists them.
    pub event: String,
    /// Alias of the topic concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The node concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A subscription has ended; no notification follows for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedNote {
    /// Number of the subscription.
    pub subscription: u64,
    /// Reason, for people.
    pub message: String,
    /// Reason, for programs.
    pub data: ErrorData,
}
