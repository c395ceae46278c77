//! Responses, put together in one place so that each kind has the same head everywhere.

use std::sync::Arc;

use serde::Serialize;

use super::assets::fingerprint;
use super::message::{Body, Caching, Response};

/// Media type of pages.
pub const HTML: &str = "text/html; charset=utf-8";
/// Media type of the API.
pub const JSON: &str = "application/json; charset=utf-8";
/// Media type of tables.
pub const CSV: &str = "text/csv; charset=utf-8";
/// Media type of charts.
pub const SVG: &str = "image/svg+xml; charset=utf-8";
/// Media type of the API's errors (RFC 9457).
pub const PROBLEM: &str = "application/problem+json; charset=utf-8";
/// Media type of `/metrics`.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Media type of plain answers.
pub const TEXT: &str = "text/plain; charset=utf-8";

fn bytes(body: impl Into<Vec<u8>>) -> Body {
    Body::Bytes(Arc::from(body.into()))
}

/// An answer that belongs to an epoch; `key` is what else it depends on.
pub fn of_epoch(content_type: &'static str, epoch: u64, key: &str, body: String) -> Response {
    Response {
        status: 200,
        content_type,
        etag: Some(format!("\"{epoch}-{:016x}\"", fingerprint(key.as_bytes()))),
        epoch: Some(epoch),
        caching: Caching::Revalidate,
        download: None,
        body: bytes(body),
    }
}

/// An answer of this moment.
pub fn of_now(status: u16, content_type: &'static str, body: String) -> Response {
    Response {
        status,
        content_type,
        etag: None,
        epoch: None,
        caching: Caching::NoStore,
        download: None,
        body: bytes(body),
    }
}

/// The stream of epochs.
pub const fn events() -> Response {
    Response {
        status: 200,
        content_type: "text/event-stream; charset=utf-8",
        etag: None,
        epoch: None,
        caching: Caching::NoStore,
        download: None,
        body: Body::Events,
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

/// An error of the API: `detail` says what to do.
pub fn problem(status: u16, title: &str, detail: &str) -> Response {
    let problem = Problem { r#type: "about:blank", title, status, detail };
    of_now(status, PROBLEM, serde_json::to_string(&problem).unwrap_or_default())
}
