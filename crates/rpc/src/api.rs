//! The RPC of a node (`docs/protocol/rpc.md`): methods with their parameters and results, notifications,
//! errors and envelopes. Knows neither a node nor a transport; server and clients share it.

mod access;
mod bin;
mod consumers;
mod devices;
mod envelope;
mod error;
mod hello;
mod hex;
mod json;
mod messages;
mod node;
mod notes;
mod openrpc;
mod operations;
mod publish;
mod spaces;
pub(crate) mod strict;
mod teams;
mod topics;
mod views;

pub use access::*;
pub use bin::Bin;
pub use consumers::*;
pub use devices::*;
pub use envelope::{Incoming, NoteOut, Reply, Request, RequestId, frame};
pub use error::{Code, ErrorData, Expected, RpcError};
pub use hello::*;
pub use messages::*;
pub use node::*;
pub use notes::*;
pub use openrpc::document;
pub use operations::*;
pub use publish::*;
pub use spaces::*;
pub use teams::*;
pub use topics::*;
pub use views::*;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the RPC; `hello` names it.
pub const RPC_VERSION: u32 = 1;

/// The subprotocol of the WebSocket.
pub const SUBPROTOCOL: &str = "panda.v1";

/// Rights that a caller needs for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No credential: the methods that bring one.
    Nothing,
    /// Some credential.
    Credential,
    /// Scope `read`.
    Read,
    /// Scope `publish-as-node`.
    Publish,
    /// Scopes `publish-as-node` and `space:read`.
    SpacePublish,
    /// Scope `relay`.
    Relay,
    /// Scope `space:read`.
    SpaceRead,
    /// Scope `space:admin`.
    SpaceAdmin,
    /// Scope `admin`.
    Admin,
}

/// One method: its name, what it takes and what it gives.
pub trait Method {
    /// Name on the wire.
    const NAME: &'static str;
    /// Rights that a caller needs.
    const NEED: Need;
    /// Parameters of the method.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// Result of the method.
    type Result: Serialize + DeserializeOwned + JsonSchema + Send;
}

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $name:ident $wire:literal $need:ident $params:ty => $result:ty;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl Method for $name {
                const NAME: &'static str = $wire;
                const NEED: Need = Need::$need;
                type Params = $params;
                type Result = $result;
            }
        )+

        /// All methods, in the order of the page.
        pub(crate) fn methods(generator: &mut schemars::SchemaGenerator) -> Vec<openrpc::Described> {
            vec![$(openrpc::Described::of::<$name>(generator, concat!($($doc),+)),)+]
        }

        /// The names of all methods.
        pub const METHODS: &[&str] = &[$($wire,)+];
    };
}

methods! {
    /// Exchanges versions; authenticates if the transport did not.
    Hello "hello" Nothing HelloParams => HelloResult;
    /// Returns a nonce for proving a key.
    Challenge "auth.challenge" Nothing Empty => ChallengeResult;
    /// Returns a ticket for one WebSocket or event stream, neither of which can send a header.
    Ticket "auth.ticket" Credential Empty => TicketResult;
    /// Creates an invite for unlisted keys.
    AccessInvite "access.invite" Admin AccessInviteParams => AccessInviteResult;
    /// Lists invites and the keys that they admitted.
    AccessInvites "access.invites" Admin Empty => AccessInvitesResult;
    /// Ends an invite and the access of the keys that it admitted.
    AccessRevoke "access.revoke" Admin AccessRevokeParams => Empty;
    /// Returns the node's identity and state.
    NodeStatus "node.status" Read Empty => NodeStatusResult;
    /// Returns the node's metrics as text for Prometheus.
    NodeMetrics "node.metrics" Read Empty => MetricsResult;
    /// Shuts the node down.
    NodeShutdown "node.shutdown" Admin Empty => Empty;
    /// Lists all known nodes.
    PeerList "peer.list" Read Empty => PeerListResult;
    /// Adds the address of a node.
    PeerAdd "peer.add" Admin PeerAddParams => Empty;
    /// Lists a page of kept topics.
    TopicList "topic.list" Read TopicListParams => TopicListResult;
    /// Returns the alias of a topic.
    TopicAlias "topic.alias" Read TopicParams => TopicAliasResult;
    /// Returns the topics of aliases.
    TopicReveal "topic.reveal" Admin TopicRevealParams => TopicRevealResult;
    /// Starts or stops keeping a topic.
    TopicKeep "topic.keep" Admin TopicKeepParams => TopicAliasResult;
    /// Leaves a topic.
    TopicLeave "topic.leave" Admin TopicParams => Empty;
    /// Counts what is stored, waits or was refused.
    TopicStatus "topic.status" Read TopicParams => TopicStatusResult;
    /// Waits until a peer has what this node published to a topic; says which peers do.
    TopicDelivered "topic.delivered" Read TopicDeliveredParams => TopicDeliveredResult;
    /// Lists peers with a session on a topic.
    TopicPeers "topic.peers" Read TopicParams => TopicPeersResult;
    /// Lists a page of refused operations.
    TopicRejected "topic.rejected" Read PageParams => TopicRejectedResult;
    /// Returns evidence of forks.
    TopicForks "topic.forks" Read TopicParams => TopicForksResult;
    /// Traces an operation.
    Trace "trace" Read TraceParams => TraceResult;
    /// Publishes a message as the node.
    Publish "publish" Publish PublishParams => PublishResult;
    /// Publishes all of these messages or none.
    PublishBatch "publish.batch" Publish PublishBatchParams => PublishBatchResult;
    /// Uploads a part of a content that is larger than a frame.
    Upload "upload" Publish UploadParams => UploadResult;
    /// Returns the next position of a log, for clients that sign themselves.
    LogNext "log.next" Relay LogNextParams => LogNextResult;
    /// Stores an operation that was signed elsewhere.
    OperationSubmit "operation.submit" Relay SubmitParams => SubmitResult;
    /// Subscribes to stored signed operations.
    OperationsSubscribe "operations.subscribe" Read OperationsParams => SubscribeResult;
    /// Reads a page of messages.
    MessagesRead "messages.read" Read ReadParams => ReadResult;
    /// Subscribes to messages, with or without a consumer.
    MessagesSubscribe "messages.subscribe" Read SubscribeParams => SubscribeResult;
    /// Grants a subscription credit for more messages.
    MessagesCredit "messages.credit" Credential CreditParams => Empty;
    /// Ends a subscription of any kind.
    SubscriptionEnd "subscription.end" Credential SubscriptionParams => Empty;
    /// Fetches messages of a subscription opened with `pull`.
    ConsumerFetch "consumer.fetch" Read FetchParams => FetchResult;
    /// Acknowledges a message.
    ConsumerAck "consumer.ack" Read AckParams => SettledResult;
    /// Asks for redelivery of a message.
    ConsumerNak "consumer.nak" Read NakParams => SettledResult;
    /// Makes a message a dead letter.
    ConsumerTerm "consumer.term" Read TermParams => SettledResult;
    /// Postpones redelivery: the message is still being handled.
    ConsumerProgress "consumer.progress" Read AckParams => SettledResult;
    /// Acknowledges the message at an offset, delivered by any subscription.
    ConsumerAckAt "consumer.ack-at" Read AckAtParams => SettledResult;
    /// Asks for redelivery of the message at an offset, delivered by any reader.
    ConsumerNakAt "consumer.nak-at" Read NakAtParams => SettledResult;
    /// Makes the message at an offset a dead letter, delivered by any reader.
    ConsumerTermAt "consumer.term-at" Read TermAtParams => SettledResult;
    /// Lists the consumers of the caller.
    ConsumerList "consumer.list" Read ConsumerListParams => ConsumerListResult;
    /// Shows a consumer and its lag.
    ConsumerShow "consumer.show" Read ConsumerParams => ConsumerShowResult;
    /// Moves a consumer.
    ConsumerSeek "consumer.seek" Read SeekParams => Empty;
    /// Pauses a consumer.
    ConsumerPause "consumer.pause" Read ConsumerParams => Empty;
    /// Resumes a consumer.
    ConsumerResume "consumer.resume" Read ConsumerParams => Empty;
    /// Deletes a consumer.
    ConsumerDelete "consumer.delete" Read ConsumerParams => Empty;
    /// Lists a page of a consumer's dead letters.
    DeadList "dead.list" Read DeadListParams => DeadListResult;
    /// Puts dead letters back for redelivery.
    DeadRedrive "dead.redrive" Read DeadParams => DeadCountResult;
    /// Deletes dead letters.
    DeadDrop "dead.drop" Read DeadParams => DeadCountResult;
    /// Lists all versions of all views.
    ViewList "view.list" Read Empty => ViewListResult;
    /// Deletes all versions of a view.
    ViewDelete "view.delete" Admin ViewParams => Empty;
    /// Lets a new version of a view answer without the lost messages.
    ViewAcceptLoss "view.accept-loss" Admin ViewParams => Empty;
    /// Creates a space with the node as its owner.
    SpaceCreate "space.create" SpaceAdmin SpaceCreateParams => SpaceView;
    /// Lists the spaces of the node.
    SpaceList "space.list" SpaceRead Empty => SpaceListResult;
    /// Asks to join the space of an invite, or follows a space.
    SpaceJoin "space.join" SpaceAdmin SpaceJoinParams => SpaceView;
    /// Makes an invite and returns its ticket.
    SpaceInvite "space.invite" SpaceAdmin SpaceInviteParams => SpaceInviteResult;
    /// Lists the invites of a space, and who joined by them.
    SpaceInvites "space.invites" SpaceRead TopicParams => SpaceInvitesResult;
    /// Revokes an invite. Members who joined by it stay.
    SpaceRevoke "space.revoke" SpaceAdmin SpaceRevokeParams => Empty;
    /// Lists members and their roles.
    SpaceMembers "space.members" SpaceRead SpaceMembersParams => SpaceMembersResult;
    /// Adds a member.
    SpaceAdd "space.add" SpaceAdmin SpaceRoleParams => Empty;
    /// Changes the role of a member.
    SpaceSetRole "space.role" SpaceAdmin SpaceRoleParams => Empty;
    /// Removes members, with one new secret.
    SpaceRemove "space.remove" SpaceAdmin SpaceRemoveParams => Empty;
    /// Ends the membership of the node.
    SpaceLeave "space.leave" SpaceAdmin TopicParams => Empty;
    /// Renames a space.
    SpaceRename "space.rename" SpaceAdmin SpaceRenameParams => Empty;
    /// Raises the least suite of the channels that secrets go through.
    SpaceRaiseSuite "space.raise-suite" SpaceAdmin SpaceRaiseSuiteParams => Empty;
    /// Makes a new secret for later messages.
    SpaceRotate "space.rotate" SpaceAdmin TopicParams => Empty;
    /// Asks the owners to replace secrets by age, or to end that.
    SpaceRotateEvery "space.rotate-every" SpaceAdmin SpaceRotateEveryParams => Empty;
    /// Hands secrets to members who lack them and can be reached.
    SpaceHeal "space.heal" SpaceAdmin TopicParams => Empty;
    /// Explains why a key is a member or not.
    SpaceWhy "space.why" SpaceRead SpaceMemberParams => SpaceWhyResult;
    /// Lists members that lack secrets.
    SpaceLacking "space.lacking" SpaceRead TopicParams => SpaceLackingResult;
    /// Publishes a sealed message; fails rather than publish in the clear.
    SpacePublish "space.publish" SpacePublish PublishParams => PublishResult;
    /// Subscribes to messages of members.
    SpaceSubscribe "space.subscribe" SpaceRead SubscribeParams => SubscribeResult;
    /// Subscribes to events of a space.
    SpaceEvents "space.events" SpaceRead TopicParams => SubscribeResult;
    /// Creates a team that the node's person manages.
    TeamCreate "team.create" SpaceAdmin TeamCreateParams => TeamView;
    /// Lists the teams that the node knows.
    TeamList "team.list" SpaceRead Empty => TeamListResult;
    /// Adds a member to a team, or changes its role there; all spaces of the team follow.
    TeamAdd "team.add" SpaceAdmin TeamAddParams => Empty;
    /// Removes a member from a team; all spaces of the team follow.
    TeamRemove "team.remove" SpaceAdmin TeamRemoveParams => Empty;
    /// Lists the devices of the node's person.
    DeviceList "device.list" Admin Empty => DeviceListResult;
    /// Offers a link to another device by a code that works once.
    DeviceLink "device.link" Admin DeviceLinkParams => DeviceLinkResult;
    /// Accepts the code that another device shows.
    DeviceAccept "device.accept" Admin DeviceAcceptParams => DeviceAcceptResult;
    /// Returns the state of a link; waits until it changes.
    DeviceWait "device.wait" Admin DeviceWaitParams => DeviceWaitResult;
    /// Confirms the digits that both devices show; the other one becomes a device of the person.
    DeviceConfirm "device.confirm" Admin DeviceConfirmParams => Empty;
    /// Ends a link and notifies the other device.
    DeviceRefuse "device.refuse" Admin DeviceRefuseParams => Empty;
    /// Revokes a device of the person, in spaces too.
    DeviceRevoke "device.revoke" Admin DeviceRevokeParams => Empty;
    /// Returns a recovery file of the person, sealed under a passphrase; the client stores it.
    DeviceExport "device.export" Admin DeviceExportParams => DeviceExportResult;
    /// Says that the recovery file is stored; returns the file to replace it with, if there is one.
    DeviceExportStored "device.export_stored" Admin DeviceExportStoredParams
        => DeviceExportStoredResult;
    /// Makes the node a device of a person by a recovery file.
    DeviceRestore "device.restore" Admin DeviceRestoreParams => DeviceRestoreResult;
    /// Subscribes to ephemeral messages.
    EphemeralSubscribe "ephemeral.subscribe" Read TopicParams => SubscribeResult;
    /// Sends an ephemeral message to connected nodes.
    EphemeralPublish "ephemeral.publish" Publish EphemeralPublishParams => Empty;
    /// Sends an ephemeral message that was signed elsewhere to connected nodes.
    EphemeralSubmit "ephemeral.submit" Relay EphemeralSubmitParams => Empty;
    /// Subscribes to events of the node.
    EventsSubscribe "events.subscribe" Read Empty => SubscribeResult;
}

/// Nothing: an empty object.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Empty {}
