//! Reads as plain HTTP (`docs/protocol/rpc.md#12`).

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use p2panda::{Following, Topic};
use p2panda_core::limits::{
    RPC_DELIVERY_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_PAGE_MESSAGES_MAX, RPC_POLL_WAIT,
    RPC_READ_BYTES_MAX, RPC_SSE_INTERVAL,
};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::access::{Who, unauthenticated};
use super::alias::is_alias;
use super::budget::{Budget, Room};
use super::doors::{Door, Known};
use super::http::{refusal, who};
use super::service::Service;
use super::{map, named_reads, reading, sending};
use crate::api::{Code, Message, Need, RpcError};

const PLAIN_START: &str = "without a consumer, `after` says where to begin";

/// Query of a read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {
    pub(super) after: Option<String>,
    pub(super) live: Option<String>,
    pub(super) limit: Option<usize>,
    ticket: Option<String>,
    pub(super) consumer: Option<String>,
    pub(super) start: Option<String>,
    pub(super) take_over: Option<bool>,
}

/// `GET /v1/topics/{alias}/messages`.
pub(crate) async fn messages(
    State(service): State<Service>,
    Extension(door): Extension<Door>,
    Path(alias): Path<String>,
    RawQuery(raw): RawQuery,
    query: Result<Query<ReadQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => {
            let error = RpcError::new(Code::InvalidParams, error.body_text());
            return refusal(
                error.hint("it takes after, live, limit, consumer, start, take_over and ticket"),
            );
        }
    };
    if !is_utf8(raw.as_deref().unwrap_or_default()) {
        let error = RpcError::new(Code::InvalidParams, "the query is not UTF-8");
        return refusal(error.hint("percent-encode the bytes of UTF-8"));
    }
    match answer(service, &door, alias, query, &headers).await {
        Ok(response) => response,
        Err(error) => refusal(error),
    }
}

/// Returns `true` if a query is UTF-8 once it is decoded.
fn is_utf8(query: &str) -> bool {
    let (mut decoded, mut rest) = (Vec::with_capacity(query.len()), query.as_bytes());
    let digit = |byte: u8| (byte as char).to_digit(16);
    while let [first, behind @ ..] = rest {
        let encoded = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let byte = encoded.map(|(high, low)| (16 * high + low) as u8);
        decoded.push(byte.unwrap_or(*first));
        rest = behind
            .get(2 * usize::from(byte.is_some())..)
            .unwrap_or_default();
    }
    std::str::from_utf8(&decoded).is_ok()
}

async fn answer(
    service: Service,
    door: &Door,
    alias: String,
    query: ReadQuery,
    headers: &HeaderMap,
) -> Result<Response, RpcError> {
    let who = who(&service, headers, query.ticket.as_deref())?;
    let who = who.ok_or_else(unauthenticated)?;
    let known = door.known();
    who.check(Need::Read)?;
    who.client.take(0)?;
    if !is_alias(&alias) {
        let error = RpcError::new(Code::UnknownTopic, "a URL names a topic by its alias");
        return Err(error.hint("topic.list and topic.alias have the aliases"));
    }
    let (topic, _) = service.opened_topic(&who, &alias).await?;
    if query.consumer.is_some() {
        return named_reads::answer(service, who, (topic, alias), query, known).await;
    }
    if query.start.is_some() || query.take_over.is_some() {
        let message = "`start` and `take_over` need `consumer`";
        return Err(RpcError::new(Code::InvalidParams, message).hint(PLAIN_START));
    }
    // Who connects again names the last event that came.
    let is_sse = query.live.as_deref() == Some("sse");
    let again = headers.get("last-event-id").filter(|_| is_sse);
    let again = again.and_then(|id| id.to_str().ok());
    let after = offset(&service, topic, again.or(query.after.as_deref())).await?;
    let limit = query.limit.unwrap_or(RPC_PAGE_MESSAGES_MAX);
    match query.live.as_deref() {
        None => page(&service, &who, (topic, &alias), (after, limit)).await,
        Some("poll" | "long-poll") => {
            let _place = who.client.connect()?;
            let handle = service.node.topic(topic);
            let grown = handle.grown(after);
            tokio::select! {
                refused = service.closes(who.opens_spaces(), vec![topic]) => return Err(refused),
                grown = timeout(RPC_POLL_WAIT, grown) => if let Ok(Err(error)) = grown {
                    return Err(map::error(&error));
                },
                () = service.ended() => {}
            }
            page(&service, &who, (topic, &alias), (after, limit)).await
        }
        Some("sse") => {
            let place = who.client.connect()?;
            let opens_spaces = who.opens_spaces();
            let following = service.node.topic(topic).follow().await;
            let following = following.map_err(|error| map::error(&error))?;
            let aged = reading::aged_until(&service, topic).await?;
            let connection = Arc::new(Semaphore::new(RPC_DELIVERY_BYTES_MAX));
            let budget = service.budget(&who, connection);
            Ok(events(Place {
                service,
                topic,
                following,
                alias,
                after,
                control: true,
                aged,
                is_over: false,
                opens_spaces,
                budget,
                room: None,
                needed: 0,
                _place: (place, known),
            }))
        }
        Some(_) => Err(no_live()),
    }
}

pub(super) fn no_live() -> RpcError {
    RpcError::new(Code::InvalidParams, "`live` is `sse` or `poll`")
        .hint("leave it out for what is there now")
}

/// An offset as clients have it: a text that sorts like the feed.
pub(super) fn text(offset: u64) -> String {
    format!("{offset:020}")
}

async fn offset(service: &Service, topic: Topic, text: Option<&str>) -> Result<u64, RpcError> {
    match text {
        None | Some("-1") => Ok(0),
        Some("now") => {
            let status = service.node.topic(topic).status().await;
            let status = status.map_err(|error| map::error(&error))?;
            let last = status.feed.map_or(0, |(_, last)| last);
            Ok(last.max(reading::aged_until(service, topic).await?))
        }
        Some(text) => {
            let after = number(text)?;
            reading::is_there(service, topic, after).await?;
            Ok(after)
        }
    }
}

/// The offset that a text is.
pub(super) fn number(text: &str) -> Result<u64, RpcError> {
    let is_one = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_one.then(|| text.parse().ok()).flatten();
    number.ok_or_else(no_offset)
}

fn no_offset() -> RpcError {
    RpcError::new(Code::InvalidParams, "`after` is no offset of this node")
        .hint("send -1, now, or what Stream-Next-Offset said")
}

/// Returns what is there, as one array.
async fn page(
    service: &Service,
    who: &Who,
    (topic, alias): (Topic, &str),
    (after, limit): (u64, usize),
) -> Result<Response, RpcError> {
    let page = reading::page(service, who, (topic, alias), (after, limit), false).await?;
    let mut next = page.last().map_or(after, |message| message.offset);
    let up_to_date = is_last(service, topic, next).await?;
    if up_to_date {
        next = next.max(reading::aged_until(service, topic).await?);
    }
    answered(&page, next, up_to_date, HeaderMap::new())
}

/// Returns `true` if nothing lies behind an offset.
pub(super) async fn is_last(
    service: &Service,
    topic: Topic,
    offset: u64,
) -> Result<bool, RpcError> {
    let behind = service.node.topic(topic).messages(offset, 1, 1).await;
    Ok(behind.map_err(|error| map::error(&error))?.is_empty())
}

/// Messages, with the offset at which to continue in headers.
pub(super) fn answered(
    page: &[Message],
    next: u64,
    up_to_date: bool,
    mut headers: HeaderMap,
) -> Result<Response, RpcError> {
    if let Ok(next) = text(next).parse() {
        headers.insert("stream-next-offset", next);
    }
    if up_to_date {
        let yes = header::HeaderValue::from_static("true");
        headers.insert("stream-up-to-date", yes);
    }
    if page.is_empty() {
        return Ok((StatusCode::NO_CONTENT, headers).into_response());
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body = serde_json::to_string(page).unwrap_or_default();
    Ok((headers, kind, body).into_response())
}

/// Position of a stream of events.
struct Place {
    service: Service,
    topic: Topic,
    following: Following,
    alias: String,
    after: u64,
    /// To be told: where the next read begins.
    control: bool,
    /// Up to where content was deleted because of its age when this was last asked.
    aged: u64,
    is_over: bool,
    /// `true` if the client may be shown what the node opens in spaces.
    opens_spaces: bool,
    budget: Budget,
    /// What the last event takes of it, until the next one is asked for.
    room: Option<Room>,
    /// Bytes of the next event, as far as that is known.
    needed: usize,
    _place: (OwnedSemaphorePermit, Known),
}

/// Messages as events `data`, each followed by an event `control` with the next offset; `ended` is the
/// last one.
fn events(place: Place) -> Response {
    let events = stream::unfold(place, |mut place| async move {
        let event = place.next().await?;
        Some((Ok::<_, Infallible>(event), place))
    });
    let alive = KeepAlive::new().interval(RPC_SSE_INTERVAL);
    Sse::new(events).keep_alive(alive).into_response()
}

/// The last event of a stream: why it ends.
pub(super) fn ended(error: &RpcError) -> Event {
    let said = serde_json::json!({ "message": error.message, "data": error.data });
    Event::default().event("ended").data(said.to_string())
}

impl Place {
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = self.some().await;
        self.is_over = event.is_err();
        Some(event.unwrap_or_else(|error| ended(&error)))
    }

    async fn some(&mut self) -> Result<Event, RpcError> {
        let service = self.service.clone();
        loop {
            self.room = None;
            let needed = std::mem::take(&mut self.needed).max(RPC_READ_BYTES_MAX);
            let mut room = self.budget.take(needed).await;
            let reading = service.reads.acquire().await;
            let handle = self.service.node.topic(self.topic);
            let page = handle.messages(self.after, RPC_FRAME_MESSAGES_MAX, RPC_READ_BYTES_MAX);
            let page = page.await.map_err(|error| map::error(&error))?;
            // The topic may have become one of a space.
            let may = self.service.may_open(self.opens_spaces, self.topic);
            may.await?;
            self.check_age().await?;
            if page.is_empty() {
                self.after = self.after.max(self.aged);
            }
            if std::mem::take(&mut self.control) {
                let next = text(self.after);
                let is_up_to_date = page.is_empty();
                let data =
                    format!("{{\"streamNextOffset\":\"{next}\",\"upToDate\":{is_up_to_date}}}");
                return Ok(Event::default().event("control").id(next).data(data));
            }
            if let Some(last) = page.last().map(p2panda::Message::offset) {
                let view = |message| map::message(&self.alias, message, false);
                let views: Vec<Message> = page.iter().map(view).collect();
                drop(page);
                let data = serde_json::to_string(&views).unwrap_or_default();
                if !room.covers(data.len()) {
                    // It is read again once there is budget for it.
                    self.needed = data.len();
                    continue;
                }
                self.after = last;
                self.control = true;
                self.room = Some(room);
                return Ok(Event::default().event("data").data(data));
            }
            drop((reading, room));
            let closes = self.service.closes(self.opens_spaces, vec![self.topic]);
            let grown = tokio::select! {
                refused = closes => return Err(refused),
                grown = self.following.grown(self.after) => grown,
                () = self.service.ended() => return Err(sending::closed()),
            };
            grown.map_err(|error| map::error(&error))?;
        }
    }

    /// Checks that nothing was deleted because of its age since the last time that this reader has not
    /// read. What was deleted before is not part of the topic that it reads.
    async fn check_age(&mut self) -> Result<(), RpcError> {
        let until = reading::aged_until(&self.service, self.topic).await?;
        if until > self.aged {
            self.aged = until;
            reading::check_behind(self.after, until)?;
        }
        Ok(())
    }
}
