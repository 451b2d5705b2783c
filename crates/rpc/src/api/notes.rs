//! Notifications of the server (`docs/protocol/rpc.md#5`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, ErrorData, Message, PrunedNote, StoredView};

/// Something that the server sends by itself.
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
    /// Something happened on the node.
    Event(EventNote),
    /// A subscription has ended.
    Ended(EndedNote),
}

/// Messages of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagesNote {
    /// The subscription.
    pub subscription: u64,
    /// What the messages cost of the credit: to be given back by `messages.credit`.
    pub bytes: u32,
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// What was pruned before it was settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedNote>,
}

/// Operations of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationsNote {
    /// The subscription.
    pub subscription: u64,
    /// What the operations cost of the credit: to be given back by `messages.credit`.
    pub bytes: u32,
    /// In the order of their arrival: each log in its own order.
    pub operations: Vec<StoredView>,
}

/// An ephemeral message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EphemeralNote {
    /// The subscription.
    pub subscription: u64,
    /// Alias of the topic.
    pub topic: String,
    /// Who signed it.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// When its author says it was sent.
    pub timestamp: String,
    /// A text message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Any other content: one CBOR item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cbor: Option<Bin>,
    /// The whole signed message, if it was signed elsewhere (`ephemeral.submit`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Bin>,
}

/// Something that happened on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventNote {
    /// The subscription.
    pub subscription: u64,
    /// What: see the page.
    pub event: String,
    /// Alias of the topic that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A subscription has ended; nothing comes for it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedNote {
    /// The subscription.
    pub subscription: u64,
    /// Why, for people.
    pub message: String,
    /// Why, for programs.
    pub data: ErrorData,
}
