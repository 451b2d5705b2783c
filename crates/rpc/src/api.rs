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
mod messages;
mod node;
mod notes;
mod openrpc;
mod operations;
mod publish;
mod spaces;
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
pub use topics::*;
pub use views::*;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the RPC; `hello` names it.
pub const RPC_VERSION: u32 = 1;

/// The subprotocol of the WebSocket.
pub const SUBPROTOCOL: &str = "panda.v1";

/// What a caller needs for a method.
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
    /// What a caller needs.
    const NEED: Need;
    /// What it takes.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// What it gives.
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
    /// Names the version, and authenticates where the transport did not.
    Hello "hello" Nothing HelloParams => HelloResult;
    /// A nonce for a client that proves a key.
    Challenge "auth.challenge" Nothing Empty => ChallengeResult;
    /// A ticket for one WebSocket or one stream of events, which cannot send a header.
    Ticket "auth.ticket" Credential Empty => TicketResult;
    /// An invite for keys that are not listed.
    AccessInvite "access.invite" Admin AccessInviteParams => AccessInviteResult;
    /// The invites of the node, and the keys that came by them.
    AccessInvites "access.invites" Admin Empty => AccessInvitesResult;
    /// Ends an invite, and the access of the keys that came by it.
    AccessRevoke "access.revoke" Admin AccessRevokeParams => Empty;
    /// What the node is and how it does.
    NodeStatus "node.status" Read Empty => NodeStatusResult;
    /// The numbers of the node, as text for Prometheus.
    NodeMetrics "node.metrics" Read Empty => MetricsResult;
    /// Ends the node.
    NodeShutdown "node.shutdown" Admin Empty => Empty;
    /// Every node that is known.
    PeerList "peer.list" Read Empty => PeerListResult;
    /// Names the address of a node.
    PeerAdd "peer.add" Admin PeerAddParams => Empty;
    /// The topics that are kept, a page of them.
    TopicList "topic.list" Read TopicListParams => TopicListResult;
    /// The alias of a topic.
    TopicAlias "topic.alias" Read TopicParams => TopicAliasResult;
    /// The topics of aliases.
    TopicReveal "topic.reveal" Admin TopicRevealParams => TopicRevealResult;
    /// Keeps a topic, or keeps it no longer.
    TopicKeep "topic.keep" Admin TopicKeepParams => TopicAliasResult;
    /// Ends the interest of the node in a topic.
    TopicLeave "topic.leave" Admin TopicParams => Empty;
    /// What is stored, waits or was refused.
    TopicStatus "topic.status" Read TopicParams => TopicStatusResult;
    /// Who has what this node published to a topic; waits until somebody has it.
    TopicDelivered "topic.delivered" Read TopicDeliveredParams => TopicDeliveredResult;
    /// The peers that a topic is exchanged with.
    TopicPeers "topic.peers" Read TopicParams => TopicPeersResult;
    /// Refused operations, a page of them.
    TopicRejected "topic.rejected" Read PageParams => TopicRejectedResult;
    /// Evidence of forks.
    TopicForks "topic.forks" Read TopicParams => TopicForksResult;
    /// Where an operation is.
    Trace "trace" Read TraceParams => TraceResult;
    /// Publishes a message as the node.
    Publish "publish" Publish PublishParams => PublishResult;
    /// Publishes all of these messages or none.
    PublishBatch "publish.batch" Publish PublishBatchParams => PublishBatchResult;
    /// A part of a content that is larger than a frame.
    Upload "upload" Publish UploadParams => UploadResult;
    /// Where a log goes on, for who signs elsewhere.
    LogNext "log.next" Relay LogNextParams => LogNextResult;
    /// Stores an operation that was signed elsewhere.
    OperationSubmit "operation.submit" Relay SubmitParams => SubmitResult;
    /// Signed operations as they are stored.
    OperationsSubscribe "operations.subscribe" Read OperationsParams => SubscribeResult;
    /// A page of messages.
    MessagesRead "messages.read" Read ReadParams => ReadResult;
    /// Messages as they come, for a consumer or without one.
    MessagesSubscribe "messages.subscribe" Read SubscribeParams => SubscribeResult;
    /// Gives the server room to send more to a subscription.
    MessagesCredit "messages.credit" Credential CreditParams => Empty;
    /// Ends a subscription of any kind.
    SubscriptionEnd "subscription.end" Credential SubscriptionParams => Empty;
    /// Messages of a subscription that gives them when it is asked.
    ConsumerFetch "consumer.fetch" Read FetchParams => FetchResult;
    /// The message was handled.
    ConsumerAck "consumer.ack" Read AckParams => SettledResult;
    /// The message is to come again.
    ConsumerNak "consumer.nak" Read NakParams => SettledResult;
    /// The message cannot be handled: a dead letter.
    ConsumerTerm "consumer.term" Read TermParams => SettledResult;
    /// The message is still worked on.
    ConsumerProgress "consumer.progress" Read AckParams => SettledResult;
    /// The message at an offset was handled, whichever subscription delivered it.
    ConsumerAckAt "consumer.ack-at" Read AckAtParams => SettledResult;
    /// The consumers of the caller.
    ConsumerList "consumer.list" Read ConsumerListParams => ConsumerListResult;
    /// One consumer, with what it has before it.
    ConsumerShow "consumer.show" Read ConsumerParams => ConsumerShowResult;
    /// Moves a consumer.
    ConsumerSeek "consumer.seek" Read SeekParams => Empty;
    /// It delivers nothing until it is resumed.
    ConsumerPause "consumer.pause" Read ConsumerParams => Empty;
    /// It delivers again.
    ConsumerResume "consumer.resume" Read ConsumerParams => Empty;
    /// Removes a consumer.
    ConsumerDelete "consumer.delete" Read ConsumerParams => Empty;
    /// Dead letters of a consumer, a page of them.
    DeadList "dead.list" Read DeadListParams => DeadListResult;
    /// Makes dead letters wait again.
    DeadRedrive "dead.redrive" Read DeadParams => DeadCountResult;
    /// Removes dead letters for good.
    DeadDrop "dead.drop" Read DeadParams => DeadCountResult;
    /// The views of the node, all versions.
    ViewList "view.list" Read Empty => ViewListResult;
    /// Deletes a view with all versions.
    ViewDelete "view.delete" Admin ViewParams => Empty;
    /// Lets a new version of a view answer that lacks what is gone.
    ViewAcceptLoss "view.accept-loss" Admin ViewParams => Empty;
    /// Makes a space, with the node as its owner.
    SpaceCreate "space.create" SpaceAdmin SpaceCreateParams => SpaceView;
    /// The spaces of the node.
    SpaceList "space.list" SpaceRead Empty => SpaceListResult;
    /// Asks to be let into the space of an invite, or follows one.
    SpaceJoin "space.join" SpaceAdmin SpaceJoinParams => SpaceView;
    /// A ticket by which somebody may come in.
    SpaceInvite "space.invite" SpaceAdmin SpaceInviteParams => SpaceInviteResult;
    /// The invites of a space, and who came by them.
    SpaceInvites "space.invites" SpaceRead TopicParams => SpaceInvitesResult;
    /// Takes an invite back; who came by it stays.
    SpaceRevoke "space.revoke" SpaceAdmin SpaceRevokeParams => Empty;
    /// Who is a member, with which role.
    SpaceMembers "space.members" SpaceRead SpaceMembersParams => SpaceMembersResult;
    /// Makes somebody a member.
    SpaceAdd "space.add" SpaceAdmin SpaceRoleParams => Empty;
    /// Gives a member another role.
    SpaceSetRole "space.role" SpaceAdmin SpaceRoleParams => Empty;
    /// Takes memberships away, with one new secret.
    SpaceRemove "space.remove" SpaceAdmin SpaceRemoveParams => Empty;
    /// Ends the membership of the node.
    SpaceLeave "space.leave" SpaceAdmin TopicParams => Empty;
    /// Calls a space by another name.
    SpaceRename "space.rename" SpaceAdmin SpaceRenameParams => Empty;
    /// Makes a new secret for what is written from now on.
    SpaceRotate "space.rotate" SpaceAdmin TopicParams => Empty;
    /// Hands secrets to who lacks them and can be reached, now.
    SpaceHeal "space.heal" SpaceAdmin TopicParams => Empty;
    /// Why somebody is a member, or is not.
    SpaceWhy "space.why" SpaceRead SpaceMemberParams => SpaceWhyResult;
    /// Members that lack secrets.
    SpaceLacking "space.lacking" SpaceRead TopicParams => SpaceLackingResult;
    /// Publishes for the members, and never in clear.
    SpacePublish "space.publish" Publish PublishParams => PublishResult;
    /// What members write, as it comes.
    SpaceSubscribe "space.subscribe" SpaceRead SubscribeParams => SubscribeResult;
    /// What happens in a space, as it comes.
    SpaceEvents "space.events" SpaceRead TopicParams => SubscribeResult;
    /// The devices of the person whose device the node is.
    DeviceList "device.list" Admin Empty => DeviceListResult;
    /// Offers a link to another device: a code, which works once.
    DeviceLink "device.link" Admin DeviceLinkParams => DeviceLinkResult;
    /// Takes the code that another device shows.
    DeviceAccept "device.accept" Admin DeviceAcceptParams => DeviceAcceptResult;
    /// How far a link is; waits until that changes.
    DeviceWait "device.wait" Admin DeviceWaitParams => DeviceWaitResult;
    /// Both devices show the same digits: the other one becomes a device of the person.
    DeviceConfirm "device.confirm" Admin DeviceConfirmParams => Empty;
    /// Ends a link; the other device is told.
    DeviceRefuse "device.refuse" Admin DeviceRefuseParams => Empty;
    /// Makes a device none of the person's any more. Spaces follow.
    DeviceRevoke "device.revoke" Admin DeviceRevokeParams => Empty;
    /// Ephemeral messages as they come.
    EphemeralSubscribe "ephemeral.subscribe" Read TopicParams => SubscribeResult;
    /// Sends a message to those who are connected.
    EphemeralPublish "ephemeral.publish" Publish EphemeralPublishParams => Empty;
    /// Sends an ephemeral message that was signed elsewhere to those who are connected.
    EphemeralSubmit "ephemeral.submit" Relay EphemeralSubmitParams => Empty;
    /// Events of the node as they come.
    EventsSubscribe "events.subscribe" Read Empty => SubscribeResult;
}

/// Nothing: an empty object.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Empty {}
