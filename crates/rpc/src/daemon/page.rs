//! The status page at `/ui` (`docs/protocol/rpc.md#13`). It is built by `packages/ui` and uses nothing but
//! the RPC: its files need no credential, and what it shows does.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::service::Service;

/// Only what this server gives may run or be asked, and no other page may frame it.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

pub(super) fn routes() -> Router<Service> {
    const HTML: &str = "text/html; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/ui") }))
        .route(
            "/ui",
            get(|| async { file(HTML, include_str!("../../ui/index.html")) }),
        )
        .route(
            "/ui/app.js",
            get(|| async { file(SCRIPT, include_str!("../../ui/app.js")) }),
        )
        .route(
            "/ui/style.css",
            get(|| async { file("text/css", include_str!("../../ui/style.css")) }),
        )
        .route(
            "/ui/panda.svg",
            get(|| async { file("image/svg+xml", include_str!("../../ui/panda.svg")) }),
        )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (OPENER, "same-origin"),
    ];
    (headers, text).into_response()
}
