//! HTTP: `POST /rpc`, the WebSocket, health and metrics (`docs/protocol/rpc.md#2`).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, RequestExt, Router};
use futures_util::future::join_all;
use p2panda::Health;
use p2panda_core::limits::{RPC_HTTP_BODY_WAIT, RPC_NOTES_MAX, RPC_REQUEST_BYTES_MAX};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::access::{Who, unauthenticated};
use super::connection::serve;
use super::doors::Door;
use super::service::Service;
use super::session::{Session, Via, failed};
use super::{metrics, page, streams, websocket};
use crate::api::{Code, Need, RequestId, RpcError, SUBPROTOCOL};

/// What is read of a body: one that is somewhat too large is read and answered.
const BODY_READ_BYTES: usize = 2 * RPC_REQUEST_BYTES_MAX;

/// All routes.
pub(crate) fn router(service: Service) -> Router {
    let limit = DefaultBodyLimit::max(BODY_READ_BYTES);
    Router::new()
        .route("/rpc", post(call).get(upgrade))
        .route("/v1/topics/{alias}/messages", get(streams::messages))
        .route("/readyz", get(ready))
        .route("/metrics", get(numbers))
        .merge(page::routes())
        .layer(limit)
        .layer(middleware::from_fn_with_state(service.clone(), guard))
        // Behind no guard: a probe names any host.
        .route("/healthz", get(healthy))
        .with_state(service)
}

/// Health and metrics for anyone who reaches the listener, which the configuration opened for that.
pub(crate) fn measured(service: Service) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready_openly))
        .route("/metrics", get(numbers_openly))
        .with_state(service)
}

/// Looks at `Host` and `Origin` before anything else, and answers pages that may ask.
async fn guard(State(service): State<Service>, request: Request, next: Next) -> Response {
    if let Some(name) = twice(request.headers()) {
        let error = RpcError::new(
            Code::InvalidRequest,
            format!("the header {name} is there twice"),
        );
        return refusal(error.hint("send it once"));
    }
    let (host, origin) = named(&request);
    if let Err(error) = service.gate.check_origin(&host, origin.as_deref()) {
        return refusal(error);
    }
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = match is_preflight {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let exposed =
            HeaderValue::from_static("stream-next-offset, stream-up-to-date, stream-pruned");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if is_preflight {
            let allowed = HeaderValue::from_static("authorization, content-type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            let methods = HeaderValue::from_static("GET, POST");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
    }
    let sniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, sniff);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Returns a header that a request has more than once, if its first value alone would decide.
fn twice(headers: &HeaderMap) -> Option<header::HeaderName> {
    let mut names = [header::HOST, header::ORIGIN, header::AUTHORIZATION].into_iter();
    names.find(|name| headers.get_all(name).iter().count() > 1)
}

/// Returns the host and origin that a request names.
fn named(request: &Request) -> (String, Option<String>) {
    let text = |name| {
        let value: Option<&HeaderValue> = request.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let host = text(header::HOST).or_else(|| request.uri().host());
    let origin = text(header::ORIGIN).map(str::to_owned);
    (host.unwrap_or_default().to_owned(), origin)
}

/// A ticket, for those who cannot send a header.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct TicketQuery {
    pub(crate) ticket: Option<String>,
}

/// Finds out who sends a request: by `Authorization: Bearer TOKEN`, or by a ticket.
pub(crate) fn who(
    service: &Service,
    headers: &HeaderMap,
    ticket: Option<&str>,
) -> Result<Option<Arc<Who>>, RpcError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().ok().and_then(|text| text.split_once(' '));
        // The name of a scheme is read in any case (RFC 9110, 11.1).
        let token = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(unauthenticated)?;
        return service.gate.token(token.trim_start()).map(Some);
    }
    ticket.map(|ticket| service.gate.ticket(ticket)).transpose()
}

/// An error as an answer of HTTP, with the same body as in JSON-RPC.
pub(crate) fn refusal(error: RpcError) -> Response {
    let status = match error.kind() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::ForeignConsumer => StatusCode::FORBIDDEN,
        Code::UnknownTopic | Code::UnknownConsumer | Code::NotFound => StatusCode::NOT_FOUND,
        Code::ConsumerInUse | Code::Conflict | Code::StaleDelivery => StatusCode::CONFLICT,
        Code::Expired => StatusCode::GONE,
        Code::Quota => StatusCode::TOO_MANY_REQUESTS,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Storage | Code::Closed => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let after = error.data.after.map(super::streams::text);
    let body = failed(RequestId::Null, error);
    let mut response = (status, json_type(), body).into_response();
    if let Some(Ok(after)) = after.map(HeaderValue::try_from) {
        response.headers_mut().insert("stream-next-offset", after);
    }
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

fn json_type() -> [(header::HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, "application/json")]
}

/// `POST /rpc`.
async fn call(
    State(service): State<Service>,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    // Before anything of the body is kept.
    let who = match who(&service, &headers, None) {
        Ok(Some(who)) => who,
        Ok(None) => return refusal(unauthenticated()),
        Err(error) => return refusal(error),
    };
    let _known = door.known();
    if !is_json(&headers) {
        let error = RpcError::new(Code::InvalidRequest, "the body is not said to be JSON");
        return refusal(error.hint("send `Content-Type: application/json`"));
    }
    if length(&headers).is_some_and(|length| length > BODY_READ_BYTES as u64) {
        return refusal(too_large());
    }
    let body = match whole(request).await {
        Ok(body) => body,
        Err(error) => return refusal(error),
    };
    let Ok(text) = std::str::from_utf8(&body) else {
        let error = RpcError::new(Code::Parse, "the body is not UTF-8");
        return refusal(error.hint("send JSON in UTF-8"));
    };
    let session = Session::new(service, Via::Post, Some(who), None);
    let begun = match session.handle(text) {
        Ok(begun) => begun,
        Err(error) => return refusal(error),
    };
    let status = match begun.is_refused {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::OK,
    };
    let answers = join_all(begun.answers).await;
    let answers: Vec<String> = answers.into_iter().flatten().collect();
    match (begun.is_array, answers.len()) {
        (_, 0) if begun.is_refused => status.into_response(),
        (_, 0) => StatusCode::NO_CONTENT.into_response(),
        (true, _) => (status, json_type(), format!("[{}]", answers.join(","))).into_response(),
        (false, _) => (status, json_type(), answers.concat()).into_response(),
    }
}

/// Returns `true` if the body is said to be JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The number of bytes that the body is said to have.
fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn too_large() -> RpcError {
    let error = RpcError::new(Code::TooLarge, "the request has more than 1 MiB");
    error.hint("publish several messages in several requests")
}

/// A body that comes in time.
async fn whole(request: Request) -> Result<Bytes, RpcError> {
    let read = axum::body::to_bytes(request.into_limited_body(), usize::MAX);
    match tokio::time::timeout(RPC_HTTP_BODY_WAIT, read).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(RpcError::new(
            Code::InvalidRequest,
            "the request did not come within 30 s",
        )),
    }
}

/// `GET /rpc`: the WebSocket.
async fn upgrade(
    State(service): State<Service>,
    Extension(door): Extension<Door>,
    Query(query): Query<TicketQuery>,
    headers: HeaderMap,
    upgrade: Result<axum_tws::WebSocketUpgrade, axum_tws::WebSocketError>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(error) => {
            let error = RpcError::new(Code::InvalidRequest, format!("no WebSocket: {error}"));
            let error = error.hint("GET /rpc is a WebSocket; POST /rpc takes single requests");
            return not_upgraded(error, &headers);
        }
    };
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
    let protocols = protocols
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !protocols
        .split(',')
        .any(|protocol| protocol.trim() == SUBPROTOCOL)
    {
        let error = RpcError::new(Code::Version, "the subprotocol panda.v1 is missing");
        return refusal(error.hint("open the WebSocket with the subprotocol `panda.v1`"));
    }
    let who = match who(&service, &headers, query.ticket.as_deref()) {
        Ok(who) => who,
        Err(error) => return refusal(error),
    };
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let authority = host.unwrap_or_default().to_owned();
    let (notes, waiting) = mpsc::channel(RPC_NOTES_MAX);
    let session = Session::new(
        service,
        Via::WebSocket { authority, door },
        who.clone(),
        Some(notes),
    );
    if let Some(error) = who.and_then(|who| session.take_place(&who).err()) {
        return refusal(error);
    }
    let mut response = websocket::limited(upgrade).on_upgrade(move |socket| async move {
        serve(session, waiting, websocket::Socket::new(socket)).await;
    });
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    response
}

/// The answer to what opens no WebSocket. Another version is told which one there is (RFC 6455, 4.4).
fn not_upgraded(error: RpcError, headers: &HeaderMap) -> Response {
    let mut response = refusal(error);
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_some_and(|version| version != "13") {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        let is = HeaderValue::from_static("13");
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_VERSION, is);
    }
    response
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether the node can store. Why not is said to those who may know.
async fn ready(State(service): State<Service>, headers: HeaderMap) -> Response {
    readiness(&service, may_measure(&service, &headers).is_ok())
}

async fn ready_openly(State(service): State<Service>) -> Response {
    readiness(&service, true)
}

fn readiness(service: &Service, with_reason: bool) -> Response {
    let code = match service.node.health() {
        _ if service.is_draining() => "draining",
        Health::Ok => return "ready\n".into_response(),
        Health::Waiting { .. } => "storage-waits",
        Health::Stopped { .. } => "stopped",
        _ => "not-ready",
    };
    let shown = if with_reason { code } else { "not-ready" };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{shown}\n")).into_response()
}

fn may_measure(service: &Service, headers: &HeaderMap) -> Result<(), RpcError> {
    if service.gate.access().metrics_open {
        return Ok(());
    }
    let who = who(service, headers, None)?.ok_or_else(unauthenticated)?;
    who.check(Need::Read)?;
    if who.topics.is_some() {
        let error = RpcError::new(Code::Forbidden, "the credential is for some topics only");
        return Err(error.hint("metrics are about all topics; use a credential for all of them"));
    }
    Ok(())
}

/// `GET /metrics`.
async fn numbers(State(service): State<Service>, headers: HeaderMap) -> Response {
    match may_measure(&service, &headers) {
        Ok(()) => numbers_openly(State(service)).await,
        Err(error) => refusal(error),
    }
}

async fn numbers_openly(State(service): State<Service>) -> Response {
    match metrics::text(&service).await {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (kind, text).into_response()
        }
        Err(error) => refusal(error),
    }
}
