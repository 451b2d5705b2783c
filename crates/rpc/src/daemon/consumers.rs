//! Named consumers, settling, dead letters (`docs/protocol/rpc.md#7`).

use std::sync::Arc;
use std::time::Duration;

use p2panda::{Acking, ConsumerError, ConsumerHandle, ConsumerMode, ConsumerRequest, Settled};
use p2panda_core::limits::RPC_SETTLED_MAX;

use super::access::Who;
use super::map;
use super::session::Session;
use super::subscription::Held;
use crate::api::{self, Code, Empty, RpcError, SettledResult};

type Of<T> = Result<T, RpcError>;

/// The name that the node knows a consumer by: it belongs to who authenticated.
pub(crate) fn name(who: &Who, name: &str) -> Of<String> {
    if who.is_local {
        return Ok(name.to_owned());
    }
    if name.contains('/') {
        let error = RpcError::new(
            Code::ForeignConsumer,
            "the consumer belongs to somebody else",
        );
        return Err(error.hint("the names of your own consumers have no `/`"));
    }
    if name.is_empty() {
        let error = ConsumerError::InvalidName.to_string();
        return Err(RpcError::new(Code::Invalid, error).hint("name the consumer"));
    }
    Ok(format!("{}/{name}", who.name))
}

/// The name that its client knows it by; none if it is not one of the client.
pub(crate) fn shown(who: &Who, name: &str) -> Option<String> {
    if who.is_local {
        return Some(name.to_owned());
    }
    let own = name.strip_prefix(&who.name)?.strip_prefix('/')?;
    Some(own.to_owned())
}

/// Removes the consumers of others from the state of a topic (7.6).
pub(crate) fn keep_own(who: &Who, status: &mut api::TopicStatusResult) {
    let names = status.consumers.iter();
    status.consumers = names.filter_map(|name| shown(who, name)).collect();
    status.positions.retain_mut(|place| {
        let own = shown(who, &place.name);
        let is_own = own.is_some();
        place.name = own.unwrap_or_default();
        is_own
    });
}

/// A request to open with these settings.
pub(crate) fn settings(
    mut request: ConsumerRequest,
    settings: &api::ConsumerSettings,
) -> ConsumerRequest {
    let ms = Duration::from_millis;
    if let Some(ack) = settings.ack {
        request = request.acking(match ack {
            api::AckPolicy::Explicit => Acking::Explicit,
            api::AckPolicy::Cumulative => Acking::Cumulative,
            api::AckPolicy::None => Acking::None,
        });
    }
    if let Some(mode) = settings.mode {
        request = request.mode(match mode {
            api::Mode::Exclusive => ConsumerMode::Exclusive,
            api::Mode::Shared => ConsumerMode::Shared,
            api::Mode::Ordered => ConsumerMode::Ordered,
        });
    }
    if let Some(wait) = settings.ack_wait_ms {
        request = request.ack_wait(ms(wait));
    }
    if let Some(delays) = &settings.backoff_ms {
        request = request.backoff(delays.iter().copied().map(ms));
    }
    if let Some(deliveries) = settings.deliveries_max {
        request = request.deliveries_max(deliveries);
    }
    if let Some(messages) = settings.in_flight_max {
        request = request.in_flight_max(messages);
    }
    if let Some(after) = settings.inactive_ms {
        request = request.inactive(ms(after));
    }
    match settings.take_over {
        true => request.take_over(),
        false => request,
    }
}

pub(crate) async fn ack(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::AckParams,
) -> Of<SettledResult> {
    bounded(&params)?;
    let subscription = session.subscription(params.subscription)?;
    // All of them at once: one sync to disk for all.
    let acks = params.deliveries.iter().map(|number| async {
        let settled = match subscription.open.take_acked(*number)? {
            Held::Message(token) => subscription.open.handle()?.ack(token).await,
            Held::Pruned(delivery) => delivery.ack().await,
            Held::Seen(seen) => seen.message.ack().await.map(|()| Settled::Done),
        };
        settled
            .map_err(|error| map::error(&error))
            .map(map::settled)
    });
    let mut sum = SettledResult {
        done: 0,
        already: 0,
    };
    let mut failed = None;
    for settled in futures_util::future::join_all(acks).await {
        match settled {
            Ok(settled) => {
                sum.done += settled.done;
                sum.already += settled.already;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(sum), Err)
}

pub(crate) async fn nak(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::NakParams,
) -> Of<SettledResult> {
    let subscription = session.subscription(params.subscription)?;
    let handle = subscription.open.handle()?;
    let delay = params.delay_ms.map(Duration::from_millis);
    let settled = match subscription.open.take(params.delivery)? {
        Held::Message(token) => handle.nak(token, delay).await,
        Held::Pruned(delivery) => delivery.nak(delay).await,
        // Those have no handle.
        Held::Seen(_) => Ok(Settled::Already),
    };
    settled
        .map_err(|error| map::error(&error))
        .map(map::settled)
}

pub(crate) async fn term(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::TermParams,
) -> Of<SettledResult> {
    let subscription = session.subscription(params.subscription)?;
    let handle = subscription.open.handle()?;
    let settled = match subscription.open.take(params.delivery)? {
        Held::Message(token) => handle.term(token, &params.reason).await,
        Held::Pruned(delivery) => delivery.term(&params.reason).await,
        // Those have no handle.
        Held::Seen(_) => Ok(Settled::Already),
    };
    settled
        .map_err(|error| map::error(&error))
        .map(map::settled)
}

pub(crate) async fn progress(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::AckParams,
) -> Of<SettledResult> {
    bounded(&params)?;
    let subscription = session.subscription(params.subscription)?;
    let handle = subscription.open.handle()?;
    let mut sum = SettledResult {
        done: 0,
        already: 0,
    };
    for number in &params.deliveries {
        let settled = match subscription.open.token(*number) {
            Some(token) => handle.progress(token).map_err(|error| map::error(&error))?,
            None => p2panda::Settled::Already,
        };
        let settled = map::settled(settled);
        sum.done += settled.done;
        sum.already += settled.already;
    }
    Ok(sum)
}

pub(crate) async fn ack_at(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::AckAtParams,
) -> Of<SettledResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let topic = session.service.topic(&who, &params.topic).await?;
    let settled = match params.all_before {
        true => handle.ack_until(topic, params.offset).await,
        false => handle.ack_at(topic, params.offset).await,
    };
    settled
        .map_err(|error| map::error(&error))
        .map(map::settled)
}

pub(crate) async fn nak_at(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::NakAtParams,
) -> Of<SettledResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let topic = session.service.topic(&who, &params.topic).await?;
    let delay = params.delay_ms.map(Duration::from_millis);
    let settled = handle.nak_at(topic, params.offset, delay).await;
    settled
        .map_err(|error| map::error(&error))
        .map(map::settled)
}

pub(crate) async fn term_at(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TermAtParams,
) -> Of<SettledResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let topic = session.service.topic(&who, &params.topic).await?;
    let settled = handle.term_at(topic, params.offset, &params.reason).await;
    settled
        .map_err(|error| map::error(&error))
        .map(map::settled)
}

fn bounded(params: &api::AckParams) -> Of<()> {
    match params.deliveries.len() > RPC_SETTLED_MAX {
        false => Ok(()),
        true => Err(
            RpcError::new(Code::TooLarge, "more than 1 000 deliveries at once")
                .hint("settle them in several requests"),
        ),
    }
}

pub(crate) async fn list(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ConsumerListParams,
) -> Of<api::ConsumerListResult> {
    let service = &session.service;
    let after = match (&params.after, who.is_local) {
        (Some(after), _) if !after.is_empty() => Some(name(&who, after)?),
        (_, true) => None,
        (_, false) => Some(format!("{}/", who.name)),
    };
    let infos = service.node.consumers(after.as_deref()).await;
    let infos = infos.map_err(|error| map::error(&error))?;
    let next = infos.last().and_then(|info| shown(&who, &info.name));
    let own = infos.iter().filter_map(|info| {
        let name = shown(&who, &info.name)?;
        Some(map::consumer(|topic| service.aliases.of(topic), name, info))
    });
    Ok(api::ConsumerListResult {
        consumers: own.collect(),
        next,
    })
}

async fn handle(session: &Session, who: &Who, consumer: &str) -> Of<ConsumerHandle> {
    let name = name(who, consumer)?;
    let handle = session.service.node.consumer(name).handle().await;
    handle.map_err(|error| map::error(&error))
}

pub(crate) async fn show(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ConsumerParams,
) -> Of<api::ConsumerShowResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let lag = handle.lag().await.map_err(|error| map::error(&error))?;
    Ok(api::ConsumerShowResult {
        consumer: map::consumer(
            |topic| session.service.aliases.of(topic),
            params.consumer,
            &handle.info(),
        ),
        lag_messages: lag.messages,
        lag_bytes: lag.bytes,
        oldest_ms: lag.oldest.map(|oldest| map::micros(oldest) / 1_000),
    })
}

pub(crate) async fn seek(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::SeekParams,
) -> Of<Empty> {
    let handle = handle(session, &who, &params.consumer).await?;
    let start = map::start(params.start);
    let moved = match params.topics {
        None => handle.seek(start).await,
        Some(texts) => {
            let mut topics = Vec::with_capacity(texts.len());
            for text in &texts {
                topics.push(session.service.topic(&who, text).await?);
            }
            handle.seek_in(topics, start).await
        }
    };
    moved.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

pub(crate) async fn pause(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ConsumerParams,
) -> Of<Empty> {
    let handle = handle(session, &who, &params.consumer).await?;
    handle.pause().await.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

pub(crate) async fn resume(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ConsumerParams,
) -> Of<Empty> {
    let handle = handle(session, &who, &params.consumer).await?;
    handle.resume().await.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

pub(crate) async fn delete(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ConsumerParams,
) -> Of<Empty> {
    let handle = handle(session, &who, &params.consumer).await?;
    handle.delete().await.map_err(|error| map::error(&error))?;
    Ok(Empty {})
}

pub(crate) async fn dead_list(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::DeadListParams,
) -> Of<api::DeadListResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let letters = handle.dead_letters().list(params.after).await;
    let letters = letters.map_err(|error| map::error(&error))?;
    let view = |letter| map::dead_letter(|topic| session.service.aliases.of(topic), letter);
    Ok(api::DeadListResult {
        letters: letters.iter().map(view).collect(),
    })
}

pub(crate) async fn dead_redrive(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::DeadParams,
) -> Of<api::DeadCountResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let redriven = match params.number {
        Some(number) => handle.dead_letters().redrive(number).await.map(|()| 1),
        None => handle.dead_letters().redrive_all().await,
    };
    let letters = redriven.map_err(|error| map::error(&error))?;
    Ok(api::DeadCountResult { letters })
}

pub(crate) async fn dead_drop(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::DeadParams,
) -> Of<api::DeadCountResult> {
    let handle = handle(session, &who, &params.consumer).await?;
    let dropped = match params.number {
        Some(number) => handle.dead_letters().drop_one(number).await.map(|()| 1),
        None => {
            let dead = handle.info().dead;
            handle.dead_letters().drop_all().await.map(|()| dead)
        }
    };
    let letters = dropped.map_err(|error| map::error(&error))?;
    Ok(api::DeadCountResult { letters })
}
