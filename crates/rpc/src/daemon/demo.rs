//! The chat at `/demo`, on separate ports (`docs/protocol/rpc.md#13`): files of a folder, and nothing else.
//! No script of it has the origin of the status page.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use p2panda_core::limits::{DEMO_BYTES_MAX, DEMO_FILES_MAX};

/// Tag in `index.html` about the node that gave it, so that the page can warn.
const SERVED_BY: &str = r#"<meta name="served-by" content="" />"#;

/// The chat as the daemon serves it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Demo {
    /// Addresses to listen on, none of those of the RPC.
    pub listen: Vec<std::net::SocketAddr>,
    /// The folder of the built page: `examples/chat/dist`.
    pub dir: PathBuf,
    /// Address at which its pages find the RPC, `wss://HOST/rpc`; otherwise its first address.
    pub node: Option<String>,
}

impl Demo {
    /// At these addresses, from this folder.
    pub fn new(listen: Vec<std::net::SocketAddr>, dir: impl Into<PathBuf>) -> Demo {
        Demo {
            listen,
            dir: dir.into(),
            node: None,
        }
    }

    /// Checks whether the folder can be served: not too large, and with an `index.html`.
    ///
    /// # Errors
    /// The reason why it cannot.
    pub fn check(dir: &Path) -> io::Result<()> {
        Site::read(dir, "", "ws://localhost/rpc").map(drop)
    }
}

/// Files that are served: read once.
#[derive(Clone)]
pub(super) struct Site(Arc<Files>);

struct Files {
    files: BTreeMap<String, (&'static str, Bytes)>,
    policy: HeaderValue,
    /// The address with the node in it.
    entry: String,
}

impl Site {
    /// Reads the folder for pages of this node, which find its RPC at this address.
    pub fn read(dir: &Path, id: &str, node: &str) -> io::Result<Site> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let uri: Uri = node.parse().map_err(|_| wrong("no address of a node"))?;
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let is_socket = |scheme: &&str| matches!(*scheme, "ws" | "wss");
        let (Some(scheme), Some(authority)) = (scheme.filter(is_socket), authority) else {
            return Err(wrong("the address of a node begins with ws:// or wss://"));
        };
        let policy = format!(
            "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' \
             {scheme}://{authority}; img-src 'self' blob:; object-src 'none'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::from_str(&policy).map_err(|_| wrong("no address of a node"))?;
        let mut files = read(dir)?;
        let Some((_, index)) = files.get_mut("index.html") else {
            return Err(wrong("there is no index.html"));
        };
        let text = String::from_utf8_lossy(index);
        let said = SERVED_BY.replace("\"\"", &format!("\"{id}\""));
        *index = Bytes::from(text.replace(SERVED_BY, &said));
        let entry = format!("/demo/?node={}", escaped(node));
        Ok(Site(Arc::new(Files {
            files,
            policy,
            entry,
        })))
    }

    pub fn router(self) -> Router {
        Router::new()
            .route("/", get(enter))
            .route("/demo", get(enter))
            .route("/demo/", get(index))
            .route("/demo/{file}", get(file))
            .with_state(self)
    }

    fn file(&self, name: &str) -> Response {
        const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
        let Some((kind, bytes)) = self.0.files.get(name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let fixed = |text| HeaderValue::from_static(text);
        let headers = [
            (header::CONTENT_TYPE, fixed(kind)),
            (header::CONTENT_SECURITY_POLICY, self.0.policy.clone()),
            (header::REFERRER_POLICY, fixed("no-referrer")),
            (header::CACHE_CONTROL, fixed("no-cache")),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (OPENER, fixed("same-origin")),
        ];
        (headers, bytes.clone()).into_response()
    }
}

async fn enter(State(site): State<Site>) -> Redirect {
    Redirect::temporary(&site.0.entry)
}

/// A page has to know where the node is. What is behind `#` stays in the browser.
async fn index(State(site): State<Site>, RawQuery(query): RawQuery) -> Response {
    let named = |query: &String| query.split('&').any(|part| part.starts_with("node="));
    match query.filter(named) {
        Some(_) => site.file("index.html"),
        None => enter(State(site)).await.into_response(),
    }
}

async fn file(
    State(site): State<Site>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Response {
    site.file(&name)
}

/// The files of a folder that a page is made of.
fn read(dir: &Path) -> io::Result<BTreeMap<String, (&'static str, Bytes)>> {
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let kind = match ending {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css",
            "svg" => "image/svg+xml",
            "wasm" => "application/wasm",
            _ => continue,
        };
        bytes += entry.metadata()?.len();
        if bytes > DEMO_BYTES_MAX || files.len() >= DEMO_FILES_MAX {
            let what = format!("more than {DEMO_FILES_MAX} files or {DEMO_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        files.insert(name, (kind, Bytes::from(std::fs::read(entry.path())?)));
    }
    Ok(files)
}

/// As the value of a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
