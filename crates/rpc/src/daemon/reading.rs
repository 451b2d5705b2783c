//! Reading messages, ephemeral messages and events (`docs/protocol/rpc.md#5`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2panda::{Consumer, Topic};
use p2panda_core::EphemeralMessage;
use p2panda_core::limits::{
    RPC_CREDIT_BYTES_MAX, RPC_FETCH_WAIT, RPC_FRAME_BYTES_MAX, RPC_FRAME_MESSAGES_MAX,
    RPC_PAGE_MESSAGES_MAX,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::access::Who;
use super::sending::{May, Sender, Views, closed, tell_end};
use super::service::{Service, of_members};
use super::session::Session;
use super::subscription::{Credit, Open, Pulled, Subscription};
use super::{consumers, map};
use crate::api::{
    self, AckPolicy, Code, Empty, EphemeralNote, Note, NoteOut, RpcError, Start, SubscribeParams,
    SubscribeResult,
};

type Of<T> = Result<T, RpcError>;

pub(crate) async fn read(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::ReadParams,
) -> Of<api::ReadResult> {
    let service = &session.service;
    let (topic, alias) = service.opened_topic(&who, &params.topic).await?;
    let limit = params.limit.unwrap_or(RPC_PAGE_MESSAGES_MAX);
    is_there(service, topic, params.after).await?;
    let page = (params.after, limit);
    let page = self::page(service, &who, (topic, &alias), page, params.header).await?;
    let mut next = page.last().map_or(params.after, |message| message.offset);
    let behind = service.node.topic(topic).messages(next, 1, 1).await;
    let up_to_date = behind.map_err(|error| map::error(&error))?.is_empty();
    if up_to_date {
        next = next.max(aged_until(service, topic).await?);
    }
    Ok(api::ReadResult {
        messages: page,
        next,
        up_to_date,
    })
}

/// Checks that nothing after an offset was deleted by age. A read from the beginning starts where
/// the topic begins now.
pub(crate) async fn is_there(service: &Service, topic: Topic, after: u64) -> Of<()> {
    check_behind(after, aged_until(service, topic).await?)
}

/// The highest offset of a topic that was deleted by age.
pub(crate) async fn aged_until(service: &Service, topic: Topic) -> Of<u64> {
    let until = service.node.topic(topic).aged_until().await;
    until.map_err(|error| map::error(&error))
}

/// Checks the same with what was deleted known.
pub(crate) fn check_behind(after: u64, until: u64) -> Of<()> {
    if after == 0 || after >= until {
        return Ok(());
    }
    let what = "what was behind this offset is older than the node keeps it, and deleted";
    let mut error = RpcError::new(Code::Expired, what)
        .hint("continue after the offset `after`, or begin again at the beginning");
    error.data.after = Some(until);
    Err(error)
}

/// A page behind an offset, for who may be shown it once it is read.
pub(crate) async fn page(
    service: &Service,
    who: &Who,
    (topic, alias): (Topic, &str),
    (after, limit): (u64, usize),
    header: bool,
) -> Of<Vec<api::Message>> {
    let limit = limit.clamp(1, RPC_PAGE_MESSAGES_MAX);
    let handle = service.node.topic(topic);
    let page = handle.messages(after, limit, usize::MAX).await;
    let page = page.map_err(|error| map::error(&error))?;
    // The topic may have become one of a space.
    service.may_open(who.opens_spaces(), topic).await?;
    let view = |message| map::message(alias, message, header);
    Ok(page.iter().map(view).collect())
}

pub(crate) async fn subscribe(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: SubscribeParams,
) -> Of<SubscribeResult> {
    let notes = session.notes()?;
    let mut topics = Vec::with_capacity(params.topics.len());
    for text in &params.topics {
        topics.push(session.service.opened_topic(&who, text).await?.0);
    }
    let credit = params
        .credit
        .map_or(RPC_CREDIT_BYTES_MAX, |bytes| bytes as usize);
    let credit = Arc::new(Credit::new(credit));
    let sender = Sender {
        service: session.service.clone(),
        notes,
        credit: Arc::clone(&credit),
        budget: session.budget(&who),
        header: params.header,
        opens_spaces: who.opens_spaces(),
    };
    match &params.consumer {
        Some(settings) => {
            let consumer = open_consumer(session, &who, settings, &topics, params.start).await?;
            // Also those that it was made with before.
            for place in consumer.handle().position() {
                let service = &session.service;
                service.may_open(who.opens_spaces(), place.topic).await?;
            }
            let topics = topics_of(&consumer);
            let aliases = topics.iter();
            let aliases = aliases.map(|topic| session.service.aliases.learn(*topic));
            let aliases = aliases.collect();
            let is_cumulative = settings.ack == Some(AckPolicy::Cumulative);
            let keeps = settings.ack != Some(AckPolicy::None);
            let mut open = Open::of(consumer.handle().clone(), is_cumulative);
            if params.pull {
                open.pulled = Some(Pulled {
                    consumer: tokio::sync::Mutex::new(Some(consumer)),
                    header: params.header,
                    keeps,
                    opens_spaces: who.opens_spaces(),
                });
                let open = Arc::new(open);
                let number = session.subscribe(&who, |number| {
                    let task = sender.lend(number, topics, Arc::clone(&open));
                    Arc::new(Subscription::new(credit, open, tokio::spawn(task)))
                })?;
                return Ok(SubscribeResult {
                    subscription: number,
                    topics: aliases,
                });
            }
            let open = Arc::new(open);
            let number = session.subscribe(&who, |number| {
                let may = sender.may(number, topics);
                let task = may.run(sender.deliver(number, consumer, Arc::clone(&open), keeps));
                Arc::new(Subscription::new(credit, open, tokio::spawn(task)))
            })?;
            Ok(SubscribeResult {
                subscription: number,
                topics: aliases,
            })
        }
        None => {
            let [topic] = topics[..] else {
                let error =
                    RpcError::new(Code::InvalidParams, "without a consumer it takes one topic");
                return Err(error.hint("name a consumer to read several topics in one order"));
            };
            if params.own_position {
                return own_position(session, &who, topic, params.start, sender).await;
            }
            let following = session.service.node.topic(topic).follow().await;
            let following = following.map_err(|error| map::error(&error))?;
            let after = begin(session, topic, params.start).await?;
            let number = session.subscribe(&who, |number| {
                let may = sender.may(number, vec![topic]);
                let task = may.run(sender.stream(number, following, topic, after));
                Arc::new(Subscription::new(
                    credit,
                    Arc::default(),
                    tokio::spawn(task),
                ))
            })?;
            Ok(SubscribeResult {
                subscription: number,
                topics: vec![session.service.aliases.of(&topic)],
            })
        }
    }
}

/// With the position of the node itself, which anyone who opens the Unix socket shares with `panda
/// sub`.
async fn own_position(
    session: &Arc<Session>,
    who: &Who,
    topic: Topic,
    start: Option<Start>,
    sender: Sender,
) -> Of<SubscribeResult> {
    if !who.is_local {
        let error = RpcError::new(Code::Forbidden, "the position is the node's own");
        return Err(error.hint("name a consumer, which remembers its own"));
    }
    let start = match start.unwrap_or(Start::Resume) {
        Start::Resume => p2panda::StartAt::Resume,
        Start::Beginning => p2panda::StartAt::Beginning,
        Start::Now => p2panda::StartAt::Now,
        Start::Offset(offset) => p2panda::StartAt::Offset(offset),
        _ => {
            return Err(
                RpcError::new(Code::InvalidParams, "that start needs a consumer")
                    .hint("with own_position: resume, beginning, now or offset"),
            );
        }
    };
    let stream = session.service.node.stream(topic).start(start);
    let opened = stream.ack(p2panda::Ack::Explicit).await;
    let (_, messages) = opened.map_err(|error| map::error(&error))?;
    let open = Arc::new(Open::default());
    let number = session.subscribe(who, |number| {
        let credit = Arc::clone(&sender.credit);
        let task = sender.follow(number, messages, Arc::clone(&open));
        Arc::new(Subscription::new(credit, open, tokio::spawn(task)))
    })?;
    Ok(SubscribeResult {
        subscription: number,
        topics: vec![session.service.aliases.of(&topic)],
    })
}

pub(crate) async fn fetch(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::FetchParams,
) -> Of<api::FetchResult> {
    let subscription = session.subscription(params.subscription)?;
    let pulled = subscription.open.pulled()?;
    let mut lent = pulled.consumer.lock().await;
    let consumer = lent.as_mut().ok_or_else(of_members)?;
    let wait = Duration::from_millis(params.wait_ms).min(RPC_FETCH_WAIT);
    let closes = session
        .service
        .closes(pulled.opens_spaces, topics_of(consumer));
    let first = tokio::select! {
        biased;
        refused = closes => return Err(refused),
        first = consumer.fetch(1).wait(wait).into_future() => first,
    };
    let mut batch = first.map_err(|error| map::error(&error))?;
    let more = params.count.min(RPC_FRAME_MESSAGES_MAX).saturating_sub(1);
    if !batch.is_empty() && more > 0 {
        // What is there by now. An error is told by the next call.
        let rest = consumer.fetch(more).max_bytes(RPC_FRAME_BYTES_MAX);
        batch.extend(rest.wait(Duration::ZERO).await.unwrap_or_default());
    }
    for delivery in &batch {
        let service = &session.service;
        service
            .may_open(pulled.opens_spaces, delivery.topic())
            .await?;
    }
    let alias = |topic: &Topic| session.service.aliases.of(topic);
    let views = Views {
        header: pulled.header,
        keeps: pulled.keeps,
    };
    let (messages, pruned) = views.of(batch, &subscription.open, alias);
    Ok(api::FetchResult { messages, pruned })
}

/// The topics of a consumer.
fn topics_of(consumer: &Consumer) -> Vec<Topic> {
    let places = consumer.handle().position().into_iter();
    places.map(|place| place.topic).collect()
}

async fn open_consumer(
    session: &Session,
    who: &Who,
    settings: &api::ConsumerSettings,
    topics: &[Topic],
    start: Option<Start>,
) -> Of<Consumer> {
    let name = consumers::name(who, &settings.name)?;
    let mut request = session.service.node.consumer(name);
    if !topics.is_empty() {
        request = request.topics(topics.iter().copied());
    }
    if let Some(start) = start {
        request = request.start(map::start(start));
    }
    let opened = consumers::settings(request, settings).open().await;
    opened.map_err(|error| map::error(&error))
}

/// The offset behind which a subscription without a consumer begins.
async fn begin(session: &Session, topic: Topic, start: Option<Start>) -> Of<u64> {
    match start.unwrap_or(Start::Beginning) {
        Start::Beginning => Ok(0),
        Start::Offset(offset) => {
            let after = offset.saturating_sub(1);
            is_there(&session.service, topic, after).await?;
            Ok(after)
        }
        Start::Now => {
            let status = session.service.node.topic(topic).status().await;
            let status = status.map_err(|error| map::error(&error))?;
            Ok(status.feed.map_or(0, |(_, last)| last))
        }
        _ => Err(
            RpcError::new(Code::InvalidParams, "that start needs a consumer")
                .hint("without a consumer: beginning, now or offset"),
        ),
    }
}

pub(crate) async fn credit(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::CreditParams,
) -> Of<Empty> {
    session
        .subscription(params.subscription)?
        .credit
        .give(params.bytes);
    Ok(Empty {})
}

pub(crate) async fn end(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::SubscriptionParams,
) -> Of<Empty> {
    session.unsubscribe(params.subscription)?;
    Ok(Empty {})
}

pub(crate) async fn ephemeral(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<SubscribeResult> {
    let notes = session.notes()?;
    let (topic, alias) = session.service.opened_topic(&who, &params.topic).await?;
    let opened = session.service.node.ephemeral(topic).await;
    let (_, mut messages) = opened.map_err(|error| map::error(&error))?;
    let topics = vec![alias.clone()];
    let mut nearby = session.service.nearby.subscribe();
    let (service, opens_spaces) = (session.service.clone(), who.opens_spaces());
    let number = session.subscribe(&who, |subscription| {
        let may = May {
            closes: service.closes(opens_spaces, vec![topic]),
            notes: notes.clone(),
            subscription,
        };
        let task = may.run(async move {
            loop {
                let note = tokio::select! {
                    message = messages.next() => match message {
                        Some(message) => ephemeral_note(subscription, &alias, &message),
                        None => break,
                    },
                    signed = of_topic(&mut nearby, topic) => {
                        let opened = EphemeralMessage::open(signed.clone());
                        let Ok(opened) = opened else { continue };
                        signed_note(subscription, &alias, signed, &opened)
                    }
                };
                // The topic may have become one of a space.
                if let Err(error) = service.may_open(opens_spaces, topic).await {
                    return tell_end(&notes, subscription, error).await;
                }
                if notes.send(NoteOut::text(&note).into()).await.is_err() {
                    return;
                }
            }
            tell_end(&notes, subscription, closed()).await;
        });
        Arc::new(Subscription::new(
            Arc::new(Credit::new(1)),
            Arc::default(),
            tokio::spawn(task),
        ))
    })?;
    Ok(SubscribeResult {
        subscription: number,
        topics,
    })
}

/// The next message of the topic that a client of this node signed. Who falls behind misses the oldest.
async fn of_topic(nearby: &mut broadcast::Receiver<(Topic, Bytes)>, topic: Topic) -> Bytes {
    loop {
        match nearby.recv().await {
            Ok((of, message)) if of == topic => return message,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            // The end of the service ends the messages of the node, too.
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}

/// A message of a node. If its content is a message that was signed elsewhere, it is that one.
fn ephemeral_note(subscription: u64, alias: &str, message: &p2panda::EphemeralMessage) -> Note {
    if let Ok(signed) = message.bytes() {
        let signed = Bytes::copy_from_slice(signed);
        if let Ok(opened) = EphemeralMessage::open(signed.clone()) {
            return signed_note(subscription, alias, signed, &opened);
        }
    }
    let text = message.text().ok().map(str::to_owned);
    Note::Ephemeral(EphemeralNote {
        subscription,
        topic: alias.to_owned(),
        author: message.author(),
        timestamp: message.timestamp().to_string(),
        cbor: text.is_none().then(|| message.raw().to_vec().into()),
        text,
        message: None,
    })
}

fn signed_note(subscription: u64, alias: &str, signed: Bytes, opened: &EphemeralMessage) -> Note {
    Note::Ephemeral(EphemeralNote {
        subscription,
        topic: alias.to_owned(),
        author: opened.author,
        timestamp: opened.timestamp.to_string(),
        text: None,
        cbor: Some(opened.body.clone().into()),
        message: Some(signed.into()),
    })
}

pub(crate) async fn events(session: &Arc<Session>, who: Arc<Who>, _: Empty) -> Of<SubscribeResult> {
    if who.topics.is_some() {
        let error = RpcError::new(Code::Forbidden, "the credential is for some topics only");
        return Err(error.hint("events are about all topics; use a credential for all of them"));
    }
    let hears = who.hears();
    follow_events(session, &who, Vec::new(), move |event| hears.takes(event))
}

/// Sends the events of one space.
pub(crate) async fn space_events(
    session: &Arc<Session>,
    who: Arc<Who>,
    params: api::TopicParams,
) -> Of<SubscribeResult> {
    let (of, alias) = session.service.used_topic(&who, &params.topic).await?;
    follow_events(
        session,
        &who,
        vec![alias],
        move |event| matches!(event, p2panda::Event::Space { topic, .. } if *topic == of),
    )
}

/// Events of the node that `wanted` takes.
fn follow_events(
    session: &Arc<Session>,
    who: &Who,
    topics: Vec<String>,
    wanted: impl Fn(&p2panda::Event) -> bool + Send + 'static,
) -> Of<SubscribeResult> {
    let notes = session.notes()?;
    let service = session.service.clone();
    let mut events = service.node.events();
    let number = session.subscribe(who, |subscription| {
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let lagged = matches!(event, p2panda::Event::Lagged(_));
                if !lagged && !wanted(&event) {
                    continue;
                }
                let note = Note::Event(api::EventNote {
                    subscription,
                    ..map::event(|topic| service.aliases.of(topic), &event)
                });
                if notes.send(NoteOut::text(&note).into()).await.is_err() {
                    return;
                }
            }
            tell_end(&notes, subscription, closed()).await;
        });
        Arc::new(Subscription::new(
            Arc::new(Credit::new(1)),
            Arc::default(),
            task,
        ))
    })?;
    Ok(SubscribeResult {
        subscription: number,
        topics,
    })
}
