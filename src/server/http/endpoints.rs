//! The paths, each declared once with its method and whether it needs the token. What a path answers stands beside its noun.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Site, access, health, sessions};
use crate::telemetry::exposition;

/// The most bytes of a request's body: nothing here needs one.
const BODY_BYTES_MAX: usize = 1024;

/// How long the body may take.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// An answer.
pub(super) type Page = Response<Full<Bytes>>;

type Answering = Pin<Box<dyn Future<Output = Page> + Send>>;

/// A path.
struct Endpoint {
    path: &'static str,
    method: Method,
    /// Whether only those may ask who know the token.
    needs_token: bool,
    answer: fn(Arc<Site>) -> Answering,
}

const fn open(path: &'static str, answer: fn(Arc<Site>) -> Answering) -> Endpoint {
    Endpoint { path, method: Method::GET, needs_token: false, answer }
}

const ENDPOINTS: &[Endpoint] = &[
    open("/metrics", |site| Box::pin(async move { metrics(&site) })),
    open("/healthz", |site| Box::pin(async move { health::alive(&site) })),
    open("/readyz", |site| Box::pin(async move { health::ready(&site) })),
    Endpoint {
        path: "/api/session-stats",
        method: Method::GET,
        needs_token: true,
        answer: |site| Box::pin(async move { sessions::statistics(&site).await }),
    },
    Endpoint {
        path: "/api/session-cleanup",
        method: Method::POST,
        needs_token: true,
        answer: |site| Box::pin(async move { sessions::clean_up(&site).await }),
    },
];

/// The answer to one request: 404, 405, 413, 401 or 403, or what its path says.
pub(super) async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Page {
    match admitted(&site, request).await {
        Ok(endpoint) => (endpoint.answer)(site).await,
        Err(refusal) => *refusal,
    }
}

async fn admitted(site: &Site, request: Request<Incoming>) -> Result<&'static Endpoint, Box<Page>> {
    let (head, body) = request.into_parts();
    let endpoint =
        ENDPOINTS.iter().find(|endpoint| endpoint.path == head.uri.path()).ok_or_else(|| Box::new(unknown()))?;
    let is_allowed = head.method == endpoint.method || (head.method == Method::HEAD && endpoint.method == Method::GET);
    if !is_allowed {
        return Err(wrong_method(endpoint).into());
    }
    if endpoint.needs_token {
        access::check(site, &head.headers)?;
    }
    take_in(body).await?;
    Ok(endpoint)
}

/// Reads what nobody looks at: a connection that goes on needs it out of the way.
async fn take_in(body: Incoming) -> Result<(), Box<Page>> {
    let too_large =
        || Box::new(failed(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1024 bytes; none is needed"));
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_LIMIT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(failed(StatusCode::REQUEST_TIMEOUT, "the body did not come in time").into()),
    }
}

fn metrics(site: &Site) -> Page {
    site.app.refresh_metrics();
    site.app.metrics.ready.set(u64::from(health::why_not_ready(site).is_none()));
    let mut page = Response::new(Full::from(exposition::text(&site.app.metrics)));
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    page
}

fn unknown() -> Page {
    let paths: Vec<String> =
        ENDPOINTS.iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
    json_page(StatusCode::NOT_FOUND, &json!({ "error": "there is no such path", "paths": paths }))
}

fn wrong_method(endpoint: &Endpoint) -> Page {
    let allowed = if endpoint.method == Method::GET { "GET, HEAD" } else { endpoint.method.as_str() };
    let mut page = failed(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {allowed}"));
    page.headers_mut().extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
    page
}

/// An error in words.
pub(super) fn failed(status: StatusCode, sentence: &str) -> Page {
    json_page(status, &json!({ "error": sentence }))
}

/// A page of JSON, which nobody between may keep.
pub(super) fn json_page(status: StatusCode, value: &Value) -> Page {
    let mut page = Response::new(Full::from(format!("{value}\n")));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}
