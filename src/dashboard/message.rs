//! A request and a response as the pages see them, free of sockets and of tiny_http.

use std::sync::Arc;

/// The two methods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Wants head and body.
    Get,
    /// Wants the head alone.
    Head,
}

/// A request that has passed the guard: its target is printable ASCII, its size bounded, its host allowed.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET or HEAD.
    pub method: Method,
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// The query's pairs, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// `If-None-Match`, as sent.
    pub if_none_match: Option<String>,
    /// Whether the client takes gzip.
    pub accepts_gzip: bool,
    /// `Last-Event-ID` of a reconnecting event stream.
    pub last_event_id: Option<u64>,
}

/// How long an answer may be kept by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Ask again with the ETag each time.
    Revalidate,
    /// For ever: the path holds a fingerprint of the content.
    Immutable,
    /// Not at all.
    NoStore,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Media type with its charset.
    pub content_type: &'static str,
    /// Strong validator, with quotes; the guard answers 304 by it.
    pub etag: Option<String>,
    /// The epoch every number in the body belongs to (`X-Tillflow-Epoch`).
    pub epoch: Option<u64>,
    /// How long it may be kept.
    pub caching: Caching,
    /// Suggested file name of a download.
    pub download: Option<String>,
    /// What is sent.
    pub body: Body,
}

/// A response's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes that are there.
    Bytes(Arc<[u8]>),
    /// The stream of epochs (`text/event-stream`), kept open by the server.
    Events,
}
