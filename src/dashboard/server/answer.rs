//! Heads of answers: what every answer carries, and how a page's response becomes header fields.

use std::io::Write as _;

use chrono::Utc;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::head::Refusal;
use crate::dashboard::message::{Body, Caching, Request, Response};

/// Every answer carries these, errors included.
const FIXED_FIELDS: &str = "Server: tillflow\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'\r\n\
    Connection: close\r\n";

/// Marks, between the inner server and the guard alone, a response that opens the event stream.
pub(super) const STREAM_MARK: &str = "X-Tillflow-Stream";

/// Bodies up to this size are not worth compressing.
const GZIP_FROM: usize = 1024;
const FILE_NAME_LIMIT: usize = 100;

/// Header fields as name and value.
pub(super) type Fields = Vec<(&'static str, String)>;

/// Writes status line and header block, with the fields every answer has.
pub(super) fn write_head<'f>(out: &mut Vec<u8>, status: u16, fields: impl IntoIterator<Item = (&'f str, &'f str)>) {
    let reason = tiny_http::StatusCode(status).default_reason_phrase();
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n{FIXED_FIELDS}").as_bytes());
    for (name, value) in fields {
        // Whatever a value is made of, it cannot end its line.
        if is_safe(value) {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The guard's own answer to what it does not serve.
pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    let body = format!("{}\n", refusal.text);
    let length = body.len().to_string();
    let mut fields = vec![
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", length.as_str()),
        ("Cache-Control", "no-store"),
    ];
    match refusal.status {
        405 => fields.push(("Allow", "GET, HEAD")),
        503 => fields.push(("Retry-After", "1")),
        _ => {}
    }
    let mut out = Vec::with_capacity(768);
    write_head(&mut out, refusal.status, fields);
    if !refusal.bodyless {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

/// The head of an event stream; its end is the end of the connection.
pub(super) fn stream_head<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    let own = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];
    write_head(&mut out, 200, own.into_iter().chain(fields));
    out
}

/// A response made ready for the inner server.
pub(super) struct Prepared {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: PreparedBody,
}

/// Bytes that are shared with the pages or made for this answer.
pub(super) enum PreparedBody {
    Shared(std::sync::Arc<[u8]>),
    Own(Vec<u8>),
}

impl AsRef<[u8]> for PreparedBody {
    fn as_ref(&self) -> &[u8] {
        match self {
            PreparedBody::Shared(bytes) => bytes,
            PreparedBody::Own(bytes) => bytes,
        }
    }
}

/// Turns a page's response into status, fields and body: 304 by its validator, compressed if that is wanted.
pub(super) fn prepare(request: &Request, response: Response) -> Prepared {
    let mut fields = Fields::new();
    if let Some(epoch) = response.epoch {
        fields.push(("X-Tillflow-Epoch", epoch.to_string()));
    }
    let bytes = match response.body {
        Body::Bytes(bytes) => bytes,
        Body::Events => {
            fields.push((STREAM_MARK, "events".to_owned()));
            return Prepared { status: response.status, fields, body: PreparedBody::Own(Vec::new()) };
        }
    };
    let status = if (200..=599).contains(&response.status) { response.status } else { 500 };
    let caching = match response.caching {
        Caching::Revalidate => "no-cache",
        Caching::Immutable => "public, max-age=31536000, immutable",
        Caching::NoStore => "no-store",
    };
    fields.push(("Cache-Control", caching.to_owned()));
    let compressible = bytes.len() > GZIP_FROM && is_text(response.content_type);
    if compressible {
        fields.push(("Vary", "Accept-Encoding".to_owned()));
    }
    let compress = compressible && request.accepts_gzip;
    let etag = response.etag.filter(|etag| is_etag(etag));
    if let Some(etag) = &etag {
        fields.push(("ETag", if compress { gzip_etag(etag) } else { etag.clone() }));
    }
    if status == 200 && request.if_none_match.as_deref().is_some_and(|sent| matches(sent, etag.as_deref())) {
        return Prepared { status: 304, fields, body: PreparedBody::Own(Vec::new()) };
    }
    fields.push(("Content-Type", response.content_type.to_owned()));
    if let Some(name) = &response.download {
        fields.push(("Content-Disposition", format!("attachment; filename=\"{}\"", file_name(name))));
    }
    let compressed = if compress { gzip(&bytes) } else { None };
    let body = match compressed {
        Some(compressed) => {
            fields.push(("Content-Encoding", "gzip".to_owned()));
            PreparedBody::Own(compressed)
        }
        None => PreparedBody::Shared(bytes),
    };
    Prepared { status, fields, body }
}

fn is_safe(value: &str) -> bool {
    value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.starts_with("text/")
        || ["json", "xml", "javascript", "openmetrics-text"].iter().any(|kind| media_type.ends_with(kind))
}

fn is_etag(etag: &str) -> bool {
    etag.len() >= 2
        && etag.starts_with('"')
        && etag.ends_with('"')
        && etag[1..etag.len() - 1].bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

fn gzip_etag(etag: &str) -> String {
    format!("{}-gz\"", etag.strip_suffix('"').unwrap_or(etag))
}

/// Weak comparison with each validator of the list; a compressed and a plain copy stand for the same content.
fn matches(sent: &str, etag: Option<&str>) -> bool {
    if sent.trim() == "*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let compressed = gzip_etag(etag);
    let mut rest = sent.trim_start();
    // A validator may hold a comma, so the list is read quote by quote.
    while let Some(start) = rest.find('"') {
        let Some(length) = rest[start + 1..].find('"') else { return false };
        let one = &rest[start..=start + 1 + length];
        if one == etag || one == compressed {
            return true;
        }
        rest = &rest[start + length + 2..];
    }
    false
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(5));
    encoder.write_all(bytes).and_then(|()| encoder.finish()).ok()
}

/// A name that is a plain file name on every system.
fn file_name(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let cleaned: String = name.chars().map(plain).take(FILE_NAME_LIMIT).collect();
    let cleaned = cleaned.trim_start_matches('.');
    if cleaned.is_empty() { "download".to_owned() } else { cleaned.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use super::*;
    use crate::dashboard::message::Method;

    fn request(if_none_match: Option<&str>, accepts_gzip: bool) -> Request {
        Request {
            method: Method::Get,
            path: "/".to_owned(),
            query: Vec::new(),
            if_none_match: if_none_match.map(str::to_owned),
            accepts_gzip,
            last_event_id: None,
        }
    }

    fn response(length: usize) -> Response {
        Response {
            status: 200,
            content_type: "text/html; charset=utf-8",
            etag: Some("\"7-a,b\"".to_owned()),
            epoch: Some(7),
            caching: Caching::Revalidate,
            download: None,
            body: Body::Bytes(Arc::from(vec![b'x'; length])),
        }
    }

    fn field<'p>(prepared: &'p Prepared, name: &str) -> Option<&'p str> {
        prepared.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn validators_are_compared_weakly_and_in_lists() {
        for sent in ["\"7-a,b\"", "W/\"7-a,b\"", "\"x\", W/\"7-a,b\"", "\"7-a,b-gz\"", " * "] {
            let prepared = prepare(&request(Some(sent), false), response(5000));
            assert_eq!(prepared.status, 304, "{sent}");
            assert!(prepared.body.as_ref().is_empty());
            assert_eq!(field(&prepared, "ETag"), Some("\"7-a,b\""));
            assert_eq!(field(&prepared, "X-Tillflow-Epoch"), Some("7"));
        }
        for sent in ["\"8\"", "7-a,b", "\"7-a\", \"b\"", "\"", ""] {
            assert_eq!(prepare(&request(Some(sent), false), response(10)).status, 200, "{sent}");
        }
    }

    #[test]
    fn an_error_is_never_turned_into_not_modified() {
        let failed = Response { status: 503, ..response(10) };
        assert_eq!(prepare(&request(Some("*"), false), failed).status, 503);
    }

    #[test]
    fn text_is_compressed_when_wanted_and_large() {
        let prepared = prepare(&request(None, true), response(5000));
        assert_eq!(field(&prepared, "Content-Encoding"), Some("gzip"));
        assert_eq!(field(&prepared, "Vary"), Some("Accept-Encoding"));
        assert_eq!(field(&prepared, "ETag"), Some("\"7-a,b-gz\""));
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(prepared.body.as_ref()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, vec![b'x'; 5000]);

        for (accepts, length, kind) in
            [(false, 5000, "text/html"), (true, 1024, "text/html"), (true, 5000, "image/png")]
        {
            let prepared = prepare(&request(None, accepts), Response { content_type: kind, ..response(length) });
            assert_eq!(field(&prepared, "Content-Encoding"), None);
            assert_eq!(prepared.body.as_ref().len(), length);
        }
    }

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
        let mut out = Vec::new();
        write_head(&mut out, 200, [("ETag", "\"a\"\r\nSet-Cookie: x"), ("Vary", "Accept-Encoding")]);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("Set-Cookie"));
        assert!(text.ends_with("Vary: Accept-Encoding\r\n\r\n"));
        let broken = Response { etag: Some("\"a\r\nb\"".to_owned()), ..response(10) };
        assert_eq!(field(&prepare(&request(None, false), broken), "ETag"), None);
    }

    #[test]
    fn downloads_get_a_plain_name() {
        for (name, expected) in [
            ("sales 2024.csv", "sales_2024.csv"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("a\"\r\nb.csv", "a___b.csv"),
            ("...", "download"),
            ("größe.csv", "gr__e.csv"),
        ] {
            assert_eq!(file_name(name), expected);
        }
        assert_eq!(file_name(&"a".repeat(500)).len(), FILE_NAME_LIMIT);
    }

    #[test]
    fn a_status_out_of_range_is_an_error() {
        for status in [0, 100, 199, 600, u16::MAX] {
            assert_eq!(prepare(&request(None, false), Response { status, ..response(10) }).status, 500);
        }
    }
}
