//! The request head: read strictly, so that nothing behind the guard ever sees a request it could misread.

use httparse::Status;

use super::host::HostPolicy;
use super::target;
use crate::dashboard::message::Method;

/// Bytes a head may have.
pub(super) const HEAD_LIMIT: usize = 8 * 1024;
const FIELD_LIMIT: usize = 50;
const TARGET_LIMIT: usize = 2 * 1024;

/// What of a request goes on to the inner server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) if_none_match: Option<String>,
    pub(super) accepts_gzip: bool,
    pub(super) last_event_id: Option<u64>,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: &'static str,
    /// The request was HEAD: the answer has no body.
    pub(super) bodyless: bool,
}

impl Refusal {
    pub(super) const fn new(status: u16, text: &'static str) -> Refusal {
        Refusal { status, text, bodyless: false }
    }

    const fn bad(text: &'static str) -> Refusal {
        Refusal::new(400, text)
    }
}

/// How far a head has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    Partial,
    /// All there.
    Complete(Head),
    /// Not to be served; no need to wait for more.
    Refused(Refusal),
}

/// Looks at `input`, of which the first `seen` bytes were looked at before. Costs no more than a scan of the new
/// bytes until the end of the head is there, so that a client that drips cannot make it expensive.
pub(super) fn read(input: &[u8], seen: usize, hosts: &HostPolicy) -> Progress {
    // Anything but a method's letters is another protocol, most often TLS: no use in waiting for its end.
    if input.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Progress::Refused(Refusal::bad("not an HTTP request"));
    }
    let mut end = None;
    for at in memchr::memchr_iter(b'\n', &input[seen..]).map(|at| at + seen) {
        if at == 0 || input[at - 1] != b'\r' {
            return Progress::Refused(Refusal::bad("a line must end with CR LF"));
        }
        if input[..at].ends_with(b"\r\n\r") {
            end = Some(at + 1);
            break;
        }
    }
    match end {
        Some(end) if end <= HEAD_LIMIT => {
            parse(&input[..end], hosts).map_or_else(Progress::Refused, Progress::Complete)
        }
        None if input.len() < HEAD_LIMIT => Progress::Partial,
        _ => Progress::Refused(Refusal::new(431, "the request head is larger than 8 KiB")),
    }
}

fn parse(head: &[u8], hosts: &HostPolicy) -> Result<Head, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::bad("malformed request head")),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::new(431, "more than 50 header fields")),
        Err(httparse::Error::Version) => return Err(Refusal::bad("only HTTP/1.0 and HTTP/1.1 are spoken here")),
        Err(_) => return Err(Refusal::bad("malformed request head")),
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => return Err(Refusal::new(405, "only GET and HEAD are served")),
    };
    let target = request.path.unwrap_or_default();
    checked(&request, target, method, hosts).map_err(|refusal| Refusal { bodyless: method == Method::Head, ..refusal })
}

fn checked(
    request: &httparse::Request<'_, '_>,
    target: &str,
    method: Method,
    hosts: &HostPolicy,
) -> Result<Head, Refusal> {
    if target.len() > TARGET_LIMIT {
        return Err(Refusal::new(414, "the request target is longer than 2 KiB"));
    }
    if target::decode(target).is_none() {
        return Err(Refusal::bad("the request target is not a path"));
    }
    let mut host: Option<&str> = None;
    let mut if_none_match: Option<String> = None;
    let mut accepts_gzip = false;
    let mut last_event_id = None;
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let value = std::str::from_utf8(field.value).ok().filter(|text| text.bytes().all(is_value_byte)).map(str::trim);
        if is("Transfer-Encoding") || is("Expect") || is("Upgrade") || (is("Content-Length") && value != Some("0")) {
            return Err(Refusal::bad("a request must have no body, Expect or Upgrade"));
        } else if is("Host") {
            let value = value.ok_or(Refusal::bad("malformed Host"))?;
            if host.replace(value).is_some() {
                return Err(Refusal::bad("more than one Host"));
            }
        } else if is("If-None-Match") {
            let Some(value) = value else { continue };
            if_none_match = Some(match if_none_match {
                Some(before) => format!("{before}, {value}"),
                None => value.to_owned(),
            });
        } else if is("Accept-Encoding") {
            accepts_gzip |= value.is_some_and(takes_gzip);
        } else if is("Last-Event-ID") {
            last_event_id = value.and_then(|value| value.parse().ok());
        }
    }
    match host {
        Some(host) => match hosts.allows(host) {
            Some(true) => {}
            Some(false) => return Err(Refusal::new(421, "this server is not known under that name")),
            None => return Err(Refusal::bad("malformed Host")),
        },
        // HTTP/1.0 knows no Host, and no browser speaks it.
        None if request.version == Some(0) => {}
        None => return Err(Refusal::bad("Host is missing")),
    }
    Ok(Head { method, target: target.to_owned(), if_none_match, accepts_gzip, last_event_id })
}

fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()
}

fn takes_gzip(value: &str) -> bool {
    value.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        });
        !refused && coding.eq_ignore_ascii_case("gzip")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts() -> HostPolicy {
        HostPolicy::new("127.0.0.1:8501".parse().unwrap(), &[])
    }

    fn read_all(text: impl AsRef<[u8]>) -> Progress {
        read(text.as_ref(), 0, &hosts())
    }

    fn status(text: impl AsRef<[u8]>) -> u16 {
        match read_all(text) {
            Progress::Refused(refusal) => refusal.status,
            Progress::Complete(_) => 200,
            Progress::Partial => 0,
        }
    }

    #[test]
    fn a_plain_request_is_taken() {
        let text = "GET /sales?x=1 HTTP/1.1\r\nHost: localhost:8501\r\nUpgrade-Insecure-Requests: 1\r\n\
            Accept-Encoding: br, gzip\r\nIf-None-Match: \"a\"\r\nif-none-match: W/\"b\"\r\nLast-Event-ID: 7\r\n\r\nrest";
        let Progress::Complete(head) = read_all(text) else { panic!("refused") };
        let expected = Head {
            method: Method::Get,
            target: "/sales?x=1".to_owned(),
            if_none_match: Some("\"a\", W/\"b\"".to_owned()),
            accepts_gzip: true,
            last_event_id: Some(7),
        };
        assert_eq!(head, expected);
    }

    #[test]
    fn each_fault_has_its_status() {
        let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n");
        let many = |count: usize| with(&vec!["a: b"; count].join("\r\n"));
        let cases = [
            (with("Content-Length: 0"), 200),
            (with("Content-Length: 9223372036854775807"), 400),
            (with("Content-Length: 2000"), 400),
            (with("Content-Length: 00"), 400),
            (with("Transfer-Encoding: chunked"), 400),
            (with("Expect: 100-continue"), 400),
            (with("Upgrade: h2c"), 400),
            (with("Host: localhost"), 400),
            (with("no colon"), 400),
            (with(" folded: x"), 400),
            (with("space : x"), 400),
            (many(49), 200),
            (many(50), 431),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), 200),
            ("GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
            ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.2\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("GET /\r\n\r\n".to_owned(), 400),
            ("GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 405),
            ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405),
            ("\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\nHost: localhost\n\n".to_owned(), 400),
            (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(3000)), 414),
            (format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(HEAD_LIMIT)), 431),
            (format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n", "a".repeat(HEAD_LIMIT)), 431),
            ("\u{16}\u{3}\u{1}".to_owned(), 400),
        ];
        for (text, expected) in cases {
            assert_eq!(status(&text), expected, "{}", text.chars().take(80).collect::<String>());
        }
    }

    #[test]
    fn an_unreadable_value_of_no_interest_is_let_through() {
        assert_eq!(status(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: caf\xe9\r\n\r\n"), 200);
        assert_eq!(status(b"GET / HTTP/1.1\r\nHost: localh\xf6st\r\n\r\n"), 400);
    }

    #[test]
    fn gzip_is_wanted_or_not() {
        for (value, wanted) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("gzip; q=0.0", false), ("br", false)]
        {
            assert_eq!(takes_gzip(value), wanted, "{value}");
        }
    }

    fn head_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"HEAD /a?b=%41 HTTP/1.0\r\n".to_vec()),
            Just(b"Host: localhost\r\n".to_vec()),
            Just(b"Content-Length: ".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
            "[ -~]{0,60}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_bytes_are_decided_the_same_however_they_arrive(input in head_like(), cuts in prop::collection::vec(1usize..64, 0..40)) {
            let hosts = hosts();
            let whole = read(&input, 0, &hosts);
            let mut seen = 0;
            let mut last = Progress::Partial;
            let mut cuts = cuts.into_iter();
            while seen < input.len() {
                let next = (seen + cuts.next().unwrap_or(1)).min(input.len());
                last = read(&input[..next], seen, &hosts);
                seen = next;
                if last != Progress::Partial {
                    break;
                }
            }
            prop_assert_eq!(&last, &whole);
            if let Progress::Complete(head) = whole {
                prop_assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(target::decode(&head.target).is_some());
            }
        }
    }
}
