//! Methods about the node, its peers and its topics (`docs/protocol/rpc.md#10`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use p2panda::{NamedAddr, Topic};
use p2panda_core::limits::{RPC_FETCH_WAIT, RPC_INVITE_TOPICS_MAX};

use super::access::{Scope, Unknown, Who, since_1970};
use super::invites::Invite;
use super::service::Service;
use super::session::Session;
use super::{consumers, map};
use crate::api::{self, Code, Empty, RpcError};
use crate::delivery::Delivery;

/// Topics of a page, as many as the store gives at once.
const TOPICS_PAGE: usize = 1_000;

type Of<T> = Result<T, RpcError>;

pub(crate) async fn ticket(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::TicketResult> {
    let ticket = session.service.gate.issue(who)?;
    Ok(api::TicketResult { ticket })
}

pub(crate) async fn access_invite(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::AccessInviteParams,
) -> Of<api::AccessInviteResult> {
    let service = session.service.clone();
    if service.gate.access().unknown_keys != Unknown::Invite {
        let error = RpcError::new(Code::Invalid, "this node does not admit keys by invite");
        return Err(error.hint("set access.unknown_keys = \"invite\" and reload the configuration"));
    }
    let mut topics = BTreeSet::new();
    for topic in params.topics.iter().take(RPC_INVITE_TOPICS_MAX + 1) {
        topics.insert(service.topic(&who, topic).await?);
    }
    let made = {
        let (service, topics) = (service.clone(), topics.clone());
        let make = move || {
            let (invites, node) = (&service.gate.invites, service.node.id());
            invites.create(node, &params, topics, since_1970())
        };
        blocking(make).await?
    };
    for topic in topics {
        let kept = service.node.topic(topic).keep(true).await;
        kept.map_err(|error| map::error(&error))?;
        service.aliases.learn(topic);
    }
    let (name, code) = made;
    let invite = code.to_string();
    Ok(api::AccessInviteResult { invite, name })
}

pub(crate) async fn access_invites(
    session: &Arc<Session>,
    _: Arc<Who>,
    _: Empty,
) -> Of<api::AccessInvitesResult> {
    let service = &session.service;
    let alias = |topic: &Topic| service.aliases.learn(*topic);
    let view = |invite: Invite| api::AccessInviteView {
        name: invite.name,
        scopes: invite.scopes,
        topics: invite.topics.iter().map(alias).collect(),
        uses: invite.uses,
        expires: invite.expires,
        keys: invite.keys.into_iter().collect(),
    };
    let all = service.gate.invites.all();
    let invites = all.into_iter().map(view).collect();
    Ok(api::AccessInvitesResult { invites })
}

pub(crate) async fn access_revoke(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::AccessRevokeParams,
) -> Of<Empty> {
    let service = session.service.clone();
    blocking(move || service.gate.invites.revoke(&params.name)).await?;
    Ok(Empty {})
}

/// Runs work that waits for the disk, off the threads of connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Of<T> + Send + 'static) -> Of<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| RpcError::new(Code::Internal, "the request failed unexpectedly"))?
}

pub(crate) async fn node_status(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::NodeStatusResult> {
    let node = &session.service.node;
    let is_told = who.scopes.has(Scope::Admin);
    let renewal_due = is_told && session.service.renewal.is_due();
    let (metrics, peers) = (node.metrics(), node.net().peers());
    Ok(api::NodeStatusResult {
        node: node.id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: session.service.network,
        addrs: node.net().addr().iter().map(ToString::to_string).collect(),
        rpc: session.service.listens.lock().clone(),
        health: map::health(&node.health()),
        up_seconds: session.service.opened.elapsed().as_secs(),
        topics: metrics.topics,
        logs_blocked: metrics.logs_blocked,
        peers: peers.len() as u64,
        peers_connected: peers.iter().filter(|peer| peer.connected).count() as u64,
        sessions: metrics.network.sessions,
        sessions_live: metrics.network.sessions_live,
        renewal_due,
    })
}

pub(crate) async fn node_metrics(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::MetricsResult> {
    if who.topics.is_some() {
        let error = RpcError::new(Code::Forbidden, "the credential is for some topics only");
        return Err(error.hint("metrics are about all topics; use a credential for all of them"));
    }
    let text = super::metrics::text(&session.service).await?;
    Ok(api::MetricsResult { text })
}

pub(crate) async fn node_shutdown(session: &Arc<Session>, _: Arc<Who>, _: Empty) -> Of<Empty> {
    session.service.stop.notify_one();
    Ok(Empty {})
}

pub(crate) async fn peer_list(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::PeerListResult> {
    let net = session.service.node.net();
    let alias = |topic: &Topic| session.service.aliases.of(topic);
    let mut peers = net.peers();
    for peer in &mut peers {
        peer.refused.retain(|refused| who.may_see(&refused.topic));
    }
    let networks = net.local_networks();
    Ok(api::PeerListResult {
        peers: peers.iter().map(|peer| map::peer(peer, alias)).collect(),
        local_networks: networks.iter().map(map::local_network).collect(),
    })
}

pub(crate) async fn peer_add(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::PeerAddParams,
) -> Of<Empty> {
    let net = session.service.node.net();
    match params.addr.parse::<NamedAddr>() {
        Ok(NamedAddr::Socket(addr)) => net.add_peer(params.node, addr),
        Ok(NamedAddr::Host(host)) => net.add_peer_host(params.node, host),
        Err(error) => {
            let error = RpcError::new(Code::InvalidParams, format!("not an address: {error}"));
            return Err(error.hint("write 192.0.2.7:9000, [2001:db8::7]:9000 or node.example:9000"));
        }
    }
    Ok(Empty {})
}

pub(crate) async fn topic_list(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicListParams,
) -> Of<api::TopicListResult> {
    let service = &session.service;
    let after = match &params.after {
        Some(alias) => Some(service.topic(&who, alias).await?),
        None => None,
    };
    let stored = match params.stored {
        true => service.node.stored_topics().await,
        false => Ok(Vec::new()),
    };
    let stored = stored.map_err(|error| map::error(&error))?;
    let mut seen = Vec::new();
    let mut after = after;
    // A page without a topic of the credential is not the end.
    while seen.is_empty() {
        let kept = service.kept_topics(after).await?;
        let page = with_stored(kept, &stored, after);
        after = page.last().copied();
        if after.is_none() {
            break;
        }
        seen = page;
        seen.retain(|topic| who.may_see(topic));
    }
    let topics = seen.into_iter().map(|topic| service.aliases.learn(topic));
    let topics: Vec<String> = topics.collect();
    Ok(api::TopicListResult {
        next: topics.last().cloned(),
        topics,
    })
}

/// A page in the order of the topics.
fn with_stored(kept: Vec<Topic>, stored: &[Topic], after: Option<Topic>) -> Vec<Topic> {
    let stored = stored.iter().copied();
    let behind = stored.filter(|topic| after.is_none_or(|after| *topic > after));
    let all: BTreeSet<_> = kept.into_iter().chain(behind).collect();
    all.into_iter().take(TOPICS_PAGE).collect()
}

pub(crate) async fn topic_reveal(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicRevealParams,
) -> Of<api::TopicRevealResult> {
    if params.topics.len() > TOPICS_PAGE {
        let error = RpcError::new(Code::TooLarge, "more than 1 000 aliases at once");
        return Err(error.hint("ask in several requests"));
    }
    let mut topics = Vec::with_capacity(params.topics.len());
    for alias in &params.topics {
        topics.push(session.service.topic(&who, alias).await?);
    }
    Ok(api::TopicRevealResult { topics })
}

pub(crate) async fn topic_delivered(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicDeliveredParams,
) -> Of<api::TopicDeliveredResult> {
    let service = &session.service;
    let (topic, _) = service.used_topic(&who, &params.topic).await?;
    let publisher = service.node.publisher(topic).await;
    let newest = publisher
        .map_err(|error| map::error(&error))?
        .newest()
        .await;
    let newest = newest.map_err(|error| map::error(&error))?;
    let delivery = Delivery::of(&service.node, topic, params.named).await;
    let delivery = delivery.map_err(|error| map::error(&error))?;
    let wait = Duration::from_millis(params.wait_ms).min(RPC_FETCH_WAIT);
    if !wait.is_zero()
        && let Ok(Err(error)) = tokio::time::timeout(wait, delivery.wait()).await
    {
        return Err(map::error(&error));
    }
    let delivered = delivery.delivered();
    Ok(api::TopicDeliveredResult {
        newest: newest.map(|newest| newest.seq()),
        stored: delivered.stored as u64,
        sent: delivered.sent as u64,
        is_enough: delivered.is_enough && !delivery.is_empty(),
        unsent: unsent(service, topic).await?,
        not_kept: map::not_kept_of(&delivery.refused_by()),
    })
}

async fn unsent(service: &Service, topic: Topic) -> Of<u64> {
    let unsent = service.node.unsent_in(topic).await;
    unsent.map_err(|error| map::error(&error))
}

pub(crate) async fn topic_alias(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::TopicAliasResult> {
    let (_, alias) = session.service.used_topic(&who, &params.topic).await?;
    Ok(api::TopicAliasResult { alias })
}

pub(crate) async fn topic_keep(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicKeepParams,
) -> Of<api::TopicAliasResult> {
    let (topic, alias) = session.service.used_topic(&who, &params.topic).await?;
    let kept = session.service.node.topic(topic).keep(params.keep).await;
    kept.map_err(|error| map::error(&error))?;
    Ok(api::TopicAliasResult { alias })
}

pub(crate) async fn topic_leave(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<Empty> {
    let topic = session.service.topic(&who, &params.topic).await?;
    session.service.node.topic(topic).leave().await;
    Ok(Empty {})
}

pub(crate) async fn topic_status(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::TopicStatusResult> {
    let service = &session.service;
    let topic = service.topic(&who, &params.topic).await?;
    let status = service.node.topic(topic).status().await;
    let status = status.map_err(|error| map::error(&error))?;
    let wanted = service.node.topic(topic).wanted_bodies().await;
    let mut result = api::TopicStatusResult {
        wanted: wanted.map_err(|error| map::error(&error))?,
        not_kept: map::not_kept_of(&service.node.topic(topic).not_kept()),
        ..map::topic_status(service.aliases.of(&topic), &status)
    };
    consumers::keep_own(&who, &mut result);
    Ok(result)
}

pub(crate) async fn topic_peers(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::TopicPeersResult> {
    let topic = session.service.topic(&who, &params.topic).await?;
    let peers = session.service.node.topic(topic).peers().await;
    let peers = peers.map_err(|error| map::error(&error))?;
    let view = |peer: p2panda::TopicPeer| api::TopicPeer {
        node: peer.peer,
        live: peer.session.live,
        unsent: peer.unsent,
        stores_own: peer.stores_own,
    };
    Ok(api::TopicPeersResult {
        peers: peers.into_iter().map(view).collect(),
    })
}

pub(crate) async fn topic_rejected(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::PageParams,
) -> Of<api::TopicRejectedResult> {
    let topic = session.service.topic(&who, &params.topic).await?;
    let rows = session
        .service
        .node
        .topic(topic)
        .rejected(params.after)
        .await;
    let rows = rows.map_err(|error| map::error(&error))?;
    let view = |row: p2panda::RejectedRow| api::Rejected {
        row: row.row,
        id: row.id,
        reason: row.reason.map_or("other", map::reason).to_owned(),
        peer: row.peer,
        at: row.at.as_micros(),
    };
    Ok(api::TopicRejectedResult {
        rejected: rows.into_iter().map(view).collect(),
    })
}

pub(crate) async fn topic_forks(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<api::TopicForksResult> {
    let topic = session.service.topic(&who, &params.topic).await?;
    let rows = session.service.node.topic(topic).forks().await;
    let rows = rows.map_err(|error| map::error(&error))?;
    let view = |row: p2panda::ForkRow| api::ForkView {
        author: row.author,
        first: row.first.into(),
        second: row.second.into(),
    };
    Ok(api::TopicForksResult {
        forks: rows.into_iter().map(view).collect(),
    })
}

pub(crate) async fn trace(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TraceParams,
) -> Of<api::TraceResult> {
    let service = &session.service;
    let trace = service.node.trace(params.id).await;
    let trace = trace.map_err(|error| map::error(&error))?;
    let trace = trace
        .filter(|trace| who.may_see(&trace.topic))
        .ok_or_else(|| {
            RpcError::new(Code::NotFound, "no operation with this id is here")
                .hint("it has not arrived, was pruned, or is too old")
        })?;
    let mut result = map::trace(service.aliases.of(&trace.topic), &trace);
    let all = std::mem::take(&mut result.consumers).into_iter();
    let own = all.filter_map(|(name, settled)| Some((consumers::shown(&who, &name)?, settled)));
    result.consumers = own.collect();
    Ok(result)
}

pub(crate) async fn view_list(
    session: &Arc<Session>,
    who: Arc<Who>,
    _: Empty,
) -> Of<api::ViewListResult> {
    if who.topics.is_some() {
        let error = RpcError::new(Code::Forbidden, "the credential is for some topics only");
        return Err(error.hint("views are about all topics; use a credential for all of them"));
    }
    let views = session.service.node.views().await;
    let views = views.map_err(|error| map::error(&error))?;
    Ok(api::ViewListResult {
        views: views.iter().map(map::view).collect(),
    })
}

pub(crate) async fn view_delete(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::ViewParams,
) -> Of<Empty> {
    let deleted = session.service.node.delete_view(&params.view).await;
    deleted.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

pub(crate) async fn view_accept_loss(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::ViewParams,
) -> Of<Empty> {
    let accepted = session.service.node.accept_view_loss(&params.view).await;
    accepted.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}
