//! From the name of a method to what carries it out.

use std::sync::Arc;

use super::session::{self, Session, failed};
use super::{calls, consumers, devices, reading, recovery, spaces, teams};
use crate::api::{self, Code, Incoming, Method, Reply, RequestId, RpcError};

macro_rules! table {
    ($session:ident, $incoming:ident; $($method:ident: $call:path,)+) => {
        match $incoming.method.as_str() {
            $(api::$method::NAME => {
                let opened = $session.open::<api::$method>(&$incoming.params);
                let outcome = match opened {
                    // Boxed one by one: the largest of them does not make all of them large.
                    Ok((who, params)) => Box::pin($call($session, who, params)).await,
                    Err(error) => Err(error),
                };
                finish::<api::$method>($session, $incoming.id, outcome)
            })+
            other => unknown($session, $incoming.id, other),
        }
    };
}

/// Carries a request out.
pub(crate) async fn dispatch(session: &Arc<Session>, incoming: Incoming) -> String {
    match incoming.method.as_str() {
        api::Hello::NAME => {
            let params = session::read::<api::Hello>(&incoming.params);
            let outcome = match params {
                Ok(params) => session.hello(params).await,
                Err(error) => Err(error),
            };
            return finish::<api::Hello>(session, incoming.id, outcome);
        }
        api::Challenge::NAME => {
            let params = session::read::<api::Challenge>(&incoming.params);
            let outcome = params.and_then(|_| session.challenge());
            return finish::<api::Challenge>(session, incoming.id, outcome);
        }
        _ => {}
    }
    table! { session, incoming;
        Ticket: calls::ticket,
        AccessInvite: calls::access_invite,
        AccessInvites: calls::access_invites,
        AccessRevoke: calls::access_revoke,
        NodeStatus: calls::node_status,
        NodeMetrics: calls::node_metrics,
        NodeShutdown: calls::node_shutdown,
        PeerList: calls::peer_list,
        PeerAdd: calls::peer_add,
        TopicList: calls::topic_list,
        TopicAlias: calls::topic_alias,
        TopicReveal: calls::topic_reveal,
        TopicDelivered: calls::topic_delivered,
        TopicKeep: calls::topic_keep,
        TopicLeave: calls::topic_leave,
        TopicStatus: calls::topic_status,
        TopicPeers: calls::topic_peers,
        TopicRejected: calls::topic_rejected,
        TopicForks: calls::topic_forks,
        Trace: calls::trace,
        Publish: super::publishing::publish,
        PublishBatch: super::publishing::publish_batch,
        Upload: super::publishing::upload,
        EphemeralPublish: super::publishing::ephemeral,
        LogNext: super::elsewhere::log_next,
        OperationSubmit: super::elsewhere::submit,
        OperationsSubscribe: super::arrivals::subscribe,
        EphemeralSubmit: super::elsewhere::ephemeral,
        MessagesRead: reading::read,
        MessagesSubscribe: reading::subscribe,
        ConsumerFetch: reading::fetch,
        MessagesCredit: reading::credit,
        SubscriptionEnd: reading::end,
        EphemeralSubscribe: reading::ephemeral,
        EventsSubscribe: reading::events,
        ConsumerAck: consumers::ack,
        ConsumerNak: consumers::nak,
        ConsumerTerm: consumers::term,
        ConsumerProgress: consumers::progress,
        ConsumerAckAt: consumers::ack_at,
        ConsumerNakAt: consumers::nak_at,
        ConsumerTermAt: consumers::term_at,
        ConsumerList: consumers::list,
        ConsumerShow: consumers::show,
        ConsumerSeek: consumers::seek,
        ConsumerPause: consumers::pause,
        ConsumerResume: consumers::resume,
        ConsumerDelete: consumers::delete,
        DeadList: consumers::dead_list,
        DeadRedrive: consumers::dead_redrive,
        DeadDrop: consumers::dead_drop,
        ViewList: calls::view_list,
        ViewDelete: calls::view_delete,
        ViewAcceptLoss: calls::view_accept_loss,
        SpaceCreate: spaces::create,
        SpaceList: spaces::list,
        SpaceJoin: spaces::join,
        SpaceInvite: spaces::invite,
        SpaceInvites: spaces::invites,
        SpaceRevoke: spaces::revoke,
        SpaceMembers: spaces::members,
        SpaceAdd: spaces::add,
        SpaceSetRole: spaces::set_role,
        SpaceRemove: spaces::remove,
        SpaceLeave: spaces::leave,
        SpaceRename: spaces::rename,
        SpaceRaiseSuite: spaces::raise_suite,
        SpaceRotate: spaces::rotate,
        SpaceRotateEvery: spaces::rotate_every,
        SpaceHeal: spaces::heal,
        SpaceWhy: spaces::why,
        SpaceLacking: spaces::lacking,
        SpacePublish: super::publishing::publish_sealed,
        SpaceSubscribe: spaces::subscribe,
        SpaceEvents: reading::space_events,
        TeamCreate: teams::create,
        TeamList: teams::list,
        TeamAdd: teams::add,
        TeamRemove: teams::remove,
        DeviceList: devices::list,
        DeviceLink: devices::link,
        DeviceAccept: devices::accept,
        DeviceWait: devices::wait,
        DeviceConfirm: devices::confirm,
        DeviceRefuse: devices::refuse,
        DeviceRevoke: devices::revoke,
        DeviceExport: recovery::export,
        DeviceExportStored: recovery::export_stored,
        DeviceRestore: recovery::restore,
    }
}

fn finish<M: Method>(
    session: &Session,
    id: Option<RequestId>,
    outcome: Result<M::Result, RpcError>,
) -> String {
    if outcome.is_err() {
        session.service.tally.failed();
    }
    Reply::text(id.unwrap_or(RequestId::Null), outcome)
}

/// Without a credential nobody learns which methods there are.
fn unknown(session: &Session, id: Option<RequestId>, name: &str) -> String {
    session.service.tally.failed();
    let error = match session.who() {
        None => super::access::unauthenticated(),
        Some(_) => {
            let shown: String = name.chars().take(64).collect();
            let error = RpcError::new(Code::UnknownMethod, format!("there is no method {shown:?}"));
            error.hint("docs/protocol/rpc.md lists the methods")
        }
    };
    failed(id.unwrap_or(RequestId::Null), error)
}
