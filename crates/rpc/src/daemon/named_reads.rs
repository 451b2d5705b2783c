//! Reads as plain HTTP with a named consumer (`docs/protocol/rpc.md#12`). The consumer is not held between
//! two requests: what was delivered and is not acknowledged comes again with the next one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use p2panda::{
    Acking, Consumer, ConsumerError, ConsumerInfo, ConsumerMode, ConsumerStart, Delivered,
    Delivery, Error, Topic,
};
use p2panda_core::limits::{
    RPC_FRAME_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_PAGE_MESSAGES_MAX, RPC_POLL_WAIT,
    RPC_READ_BYTES_MAX, RPC_SSE_INTERVAL,
};
use tokio::sync::OwnedSemaphorePermit;

use super::access::Who;
use super::doors::Known;
use super::service::Service;
use super::streams::{ReadQuery, answered, ended, is_last, no_live, number, text};
use super::{consumers, map, sending};
use crate::api::{Code, Message, RpcError};

type Of<T> = Result<T, RpcError>;

pub(super) async fn answer(
    service: Service,
    who: Arc<Who>,
    (topic, alias): (Topic, String),
    query: ReadQuery,
    known: Known,
) -> Of<Response> {
    let wait = match query.live.as_deref() {
        None => Some(Duration::ZERO),
        Some("poll" | "long-poll") => Some(RPC_POLL_WAIT),
        Some("sse") => None,
        Some(_) => return Err(no_live()),
    };
    let place = match wait == Some(Duration::ZERO) {
        true => None,
        false => Some(who.client.connect()?),
    };
    let (consumer, next) = open(&service, &who, topic, &query).await?;
    let read = Read {
        opens_spaces: who.opens_spaces(),
        service,
        topic,
        alias,
        consumer,
        next,
        _place: (place, known),
    };
    match wait {
        Some(wait) => {
            let limit = query.limit.unwrap_or(RPC_PAGE_MESSAGES_MAX);
            read.page(limit.clamp(1, RPC_PAGE_MESSAGES_MAX), wait).await
        }
        None => Ok(events(read)),
    }
}

/// Opens the consumer for the time of this request, after what the client says that it has handled is
/// settled. Also where the client is then.
async fn open(
    service: &Service,
    who: &Who,
    topic: Topic,
    query: &ReadQuery,
) -> Of<(Consumer, u64)> {
    let name = consumers::name(who, query.consumer.as_deref().unwrap_or_default())?;
    let after = handled(query.after.as_deref())?;
    let start = start(query.start.as_deref())?;
    let mut request = service.node.consumer(name.clone());
    // Held until the reader is open, so that its state is read once.
    let handle = match service.node.consumer(name).handle().await {
        Ok(handle) => {
            check(&handle.info(), topic)?;
            if let Some(after) = after {
                let acked = handle.ack_until(topic, after).await;
                acked.map_err(|error| unacked(&error))?;
            }
            Some(handle)
        }
        Err(Error::Consumer(ConsumerError::Unknown)) if after.is_none() => {
            request = request.topics([topic]).start_if_new(start);
            None
        }
        Err(error) => return Err(map::error(&error)),
    };
    if query.take_over == Some(true) {
        request = request.take_over();
    }
    let opened = request.open().await;
    let consumer = opened.map_err(|error| map::error(&error))?;
    drop(handle);
    let places = consumer.handle().position().into_iter();
    let position = places.map(|place| place.position).next();
    Ok((consumer, after.or(position).unwrap_or_default()))
}

/// Returns what `after` acknowledges.
fn handled(after: Option<&str>) -> Of<Option<u64>> {
    match after {
        None | Some("-1") => Ok(None),
        Some("now") => {
            let message = "with a consumer, `after` acknowledges, and `now` is no offset";
            let error = RpcError::new(Code::InvalidParams, message);
            Err(error.hint("a new consumer begins at the end with start=now"))
        }
        Some(text) => number(text).map(Some),
    }
}

fn start(start: Option<&str>) -> Of<ConsumerStart> {
    match start {
        None | Some("beginning") => Ok(ConsumerStart::Beginning),
        Some("now") => Ok(ConsumerStart::Now),
        Some(_) => {
            let message = "`start` is `beginning` or `now`";
            let error = RpcError::new(Code::InvalidParams, message);
            Err(error.hint("it is where a new consumer begins; consumer.seek moves one"))
        }
    }
}

fn unacked(error: &Error) -> RpcError {
    let error = map::error(error);
    match error.kind() {
        Code::StaleDelivery => error.hint("the consumer was moved; read again without `after`"),
        _ => error,
    }
}

/// Checks whether a consumer can be read this way.
fn check(info: &ConsumerInfo, topic: Topic) -> Of<()> {
    let topics: Vec<Topic> = info.positions.iter().map(|place| place.topic).collect();
    let is_acked = matches!(info.acking, Acking::Explicit | Acking::Cumulative);
    let message = match () {
        () if topics != [topic] => "this consumer reads other topics as well, or another one",
        () if info.mode != ConsumerMode::Exclusive => "this consumer has several readers",
        () if !is_acked => "this consumer is acknowledged by reading it",
        () => return Ok(()),
    };
    let error = RpcError::new(Code::Conflict, message);
    Err(error.hint("read it with messages.subscribe, or choose another name"))
}

/// A consumer, for the time of one request.
struct Read {
    service: Service,
    topic: Topic,
    alias: String,
    consumer: Consumer,
    /// Number that the client may say next as `after`.
    next: u64,
    /// `true` if the client may be shown what the node opens in spaces.
    opens_spaces: bool,
    _place: (Option<OwnedSemaphorePermit>, Known),
}

/// Deliveries of a consumer.
struct Page {
    messages: Vec<Message>,
    /// Messages that were pruned before they were settled.
    pruned: u64,
    up_to_date: bool,
}

impl Read {
    /// Returns what is there, after waiting for the first message.
    async fn page(mut self, limit: usize, wait: Duration) -> Of<Response> {
        let first = {
            let ended = self.service.ended();
            let closes = self.service.closes(self.opens_spaces, vec![self.topic]);
            tokio::select! {
                refused = closes => return Err(refused),
                first = self.consumer.fetch(1).wait(wait) => first,
                () = ended => Ok(Vec::new()),
            }
        };
        let mut batch = first.map_err(|error| map::error(&error))?;
        if !batch.is_empty() && limit > 1 {
            let rest = self.consumer.fetch(limit - 1);
            let rest = rest.max_bytes(RPC_FRAME_BYTES_MAX).wait(Duration::ZERO);
            // What stopped it is told by the next request.
            batch.extend(rest.await.unwrap_or_default());
        }
        let page = self.shown(batch).await?;
        let mut headers = HeaderMap::new();
        if page.pruned > 0 {
            headers.insert("stream-pruned", HeaderValue::from(page.pruned));
        }
        answered(&page.messages, self.next, page.up_to_date, headers)
    }

    /// Deliveries as the client sees them. What was pruned is settled by telling it.
    async fn shown(&mut self, batch: Vec<Delivery>) -> Of<Page> {
        // The topic may have become one of a space.
        let may = self.service.may_open(self.opens_spaces, self.topic);
        may.await?;
        let (mut messages, mut pruned) = (Vec::new(), 0);
        for delivery in batch {
            match delivery.what() {
                Delivered::Pruned(what) => {
                    pruned += what.unsettled;
                    let told = delivery.ack().await;
                    told.map_err(|error| map::error(&error))?;
                }
                Delivered::Message(message) | Delivered::Changed(_, message) => {
                    let mut view = map::message(&self.alias, message, false);
                    view.count = Some(delivery.count());
                    self.next = self.next.max(view.offset);
                    messages.push(view);
                }
                _ => {}
            }
        }
        Ok(Page {
            messages,
            pruned,
            up_to_date: is_last(&self.service, self.topic, self.next).await?,
        })
    }
}

/// Deliveries as events.
struct Events {
    read: Read,
    /// To be told next: where the client is, and what was pruned.
    control: Option<(bool, u64)>,
    is_first: bool,
    is_over: bool,
}

/// Messages as events `data`, each followed by an event `control`; `ended` is the last one.
fn events(read: Read) -> Response {
    let events = Events {
        read,
        control: None,
        is_first: true,
        is_over: false,
    };
    let events = stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    let alive = KeepAlive::new().interval(RPC_SSE_INTERVAL);
    Sse::new(events).keep_alive(alive).into_response()
}

impl Events {
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = self.some().await;
        self.is_over = event.is_err();
        Some(event.unwrap_or_else(|error| ended(&error)))
    }

    async fn some(&mut self) -> Of<Event> {
        let read = &mut self.read;
        if std::mem::take(&mut self.is_first) {
            let up_to_date = is_last(&read.service, read.topic, read.next).await?;
            self.control = Some((up_to_date, 0));
        }
        loop {
            if let Some((up_to_date, pruned)) = self.control.take() {
                return Ok(control(read.next, up_to_date, pruned));
            }
            let shutdown = read.service.ended();
            let closes = read.service.closes(read.opens_spaces, vec![read.topic]);
            let batch = read.consumer.fetch(RPC_FRAME_MESSAGES_MAX);
            let batch = tokio::select! {
                refused = closes => return Err(refused),
                batch = batch.max_bytes(RPC_READ_BYTES_MAX).into_future() => batch,
                () = shutdown => return Err(sending::closed()),
            };
            let page = read
                .shown(batch.map_err(|error| map::error(&error))?)
                .await?;
            self.control = Some((page.up_to_date, page.pruned));
            if !page.messages.is_empty() {
                let data = serde_json::to_string(&page.messages).unwrap_or_default();
                return Ok(Event::default().event("data").data(data));
            }
        }
    }
}

fn control(next: u64, up_to_date: bool, pruned: u64) -> Event {
    let next = text(next);
    let mut data = serde_json::json!({ "streamNextOffset": next, "upToDate": up_to_date });
    if let (Some(fields), true) = (data.as_object_mut(), pruned > 0) {
        fields.insert("pruned".into(), pruned.into());
    }
    Event::default()
        .event("control")
        .id(next)
        .data(data.to_string())
}
