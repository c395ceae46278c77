//! From the guard to the inner server and back: a fresh request, a reply that is read whole and bounded.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use memchr::memmem;
use mio::Waker;

use super::answer;
use super::head::{Head, Refusal};
use super::inner::Inner;
use crate::dashboard::message::Method;

/// Bytes a reply may have; a page that is larger is an error of ours.
const REPLY_LIMIT: usize = 32 * 1024 * 1024;
const REPLY_HEAD_LIMIT: usize = 16 * 1024;
const REPLY_FIELD_LIMIT: usize = 32;
/// How often a wait looks whether everything stops.
const WAIT_SLICE: Duration = Duration::from_millis(250);
const WRITE_LIMIT: Duration = Duration::from_secs(1);
const TRIES: usize = 3;

/// The fields of the inner server's reply that go on to the client.
const RELAYED_FIELDS: [&str; 8] = [
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "ETag",
    "Vary",
    "X-Tillflow-Epoch",
];

/// One request on its way to the inner server.
pub(super) struct Job {
    pub(super) connection: usize,
    pub(super) head: Head,
}

/// What became of a job.
pub(super) struct Done {
    pub(super) connection: usize,
    pub(super) reply: Reply,
}

/// What the client gets.
pub(super) enum Reply {
    /// These bytes, then the end.
    Answer { status: u16, bytes: Vec<u8> },
    /// This head, then the stream of epochs.
    Stream { head: Vec<u8> },
}

enum Failure {
    /// The connection ended before anything came: worth another try, for a request changes nothing.
    Untouched,
    Refused(Refusal),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        tracing::debug!(%error, "the exchange with the inner HTTP server failed");
        Failure::Refused(Refusal::new(503, "the page cannot be built just now"))
    }
}

const MALFORMED: Failure = Failure::Refused(Refusal::new(500, "the page is not in order"));

/// One thread's side: it keeps its connection from request to request, so that serving takes no new descriptors.
pub(super) struct Exchange {
    pub(super) inner: Arc<Inner>,
    pub(super) limit: Duration,
    pub(super) connection: Option<(UnixStream, u64)>,
}

impl Exchange {
    /// Serves jobs until no more can come.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, done: &Sender<Done>, waker: &Waker) {
        // Early, while descriptors are there; if it fails, the first request tries again.
        self.connection = self.connect().ok();
        for Job { connection, head } in jobs {
            let reply = panic::catch_unwind(AssertUnwindSafe(|| self.ask(&head))).unwrap_or_else(|_| {
                self.connection = None;
                refused(Refusal::new(500, "the page could not be built; the log says more"), &head)
            });
            if done.send(Done { connection, reply }).is_err() {
                return;
            }
            if let Err(error) = waker.wake() {
                tracing::warn!(%error, "the guard of the dashboard cannot be woken");
            }
        }
    }

    fn connect(&self) -> io::Result<(UnixStream, u64)> {
        let (stream, number) = self.inner.connect()?;
        stream.set_read_timeout(Some(WAIT_SLICE))?;
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok((stream, number))
    }

    fn ask(&mut self, head: &Head) -> Reply {
        let deadline = Instant::now() + self.limit;
        for _ in 0..TRIES {
            let kept = self.connection.take().filter(|(_, number)| *number == self.inner.number());
            let result = match kept.map_or_else(|| self.connect(), Ok) {
                Ok((mut stream, number)) => self.ask_at(&mut stream, head, deadline).inspect(|_| {
                    self.connection = Some((stream, number));
                }),
                Err(error) => Err(error.into()),
            };
            match result {
                Ok(reply) => return reply,
                Err(Failure::Untouched) => {}
                Err(Failure::Refused(refusal)) => return refused(refusal, head),
            }
        }
        refused(Refusal::new(503, "the page cannot be built just now"), head)
    }

    /// One request and its reply. After an error the connection is of no more use.
    fn ask_at(&self, stream: &mut UnixStream, head: &Head, deadline: Instant) -> Result<Reply, Failure> {
        if stream.write_all(request_text(head).as_bytes()).is_err() {
            return Err(Failure::Untouched);
        }
        let mut raw = Vec::with_capacity(4096);
        let mut seen = 0;
        let end = loop {
            let mut buffer = [0; 4096];
            match self.read(stream, &mut buffer, deadline) {
                Ok(0) if raw.is_empty() => return Err(Failure::Untouched),
                Ok(0) => return Err(MALFORMED),
                Ok(count) => raw.extend_from_slice(&buffer[..count]),
                Err(Failure::Untouched) if !raw.is_empty() => return Err(MALFORMED),
                Err(failure) => return Err(failure),
            }
            if let Some(at) = memmem::find(&raw[seen..], b"\r\n\r\n") {
                break seen + at + 4;
            }
            seen = raw.len().saturating_sub(3);
            if raw.len() > REPLY_HEAD_LIMIT {
                return Err(MALFORMED);
            }
        };

        let mut storage = [httparse::EMPTY_HEADER; REPLY_FIELD_LIMIT];
        let mut parsed = httparse::Response::new(&mut storage);
        if !matches!(parsed.parse(&raw[..end]), Ok(httparse::Status::Complete(_))) {
            return Err(MALFORMED);
        }
        let status = parsed.code.unwrap_or(500);
        let value = |name: &str| {
            let field = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok().map(|value| (field.name, value))
        };
        let Some(length) = value("Content-Length").and_then(|(_, length)| length.parse::<usize>().ok()) else {
            return Err(MALFORMED);
        };
        let received = &raw[end..];
        if value(answer::STREAM_MARK).is_some() {
            if length != 0 || !received.is_empty() {
                return Err(MALFORMED);
            }
            let stream_head = answer::stream_head(value("X-Tillflow-Epoch"));
            return Ok(match head.method {
                Method::Get => Reply::Stream { head: stream_head },
                Method::Head => Reply::Answer { status: 200, bytes: stream_head },
            });
        }

        let expected = if head.method == Method::Head || status == 304 { 0 } else { length };
        if received.len() > expected {
            return Err(MALFORMED);
        }
        if expected > REPLY_LIMIT {
            return Err(Failure::Refused(Refusal::new(500, "the page is larger than 32 MiB; ask for less of it")));
        }
        let mut bytes = Vec::with_capacity(1024 + expected);
        // A 304 speaks of no body, so it gives no length either.
        let relayed = RELAYED_FIELDS.iter().filter(|name| status != 304 || **name != "Content-Length");
        answer::write_head(&mut bytes, status, relayed.filter_map(|name| value(name).map(|(_, text)| (*name, text))));
        bytes.extend_from_slice(received);
        let mut filled = bytes.len();
        bytes.resize(filled - received.len() + expected, 0);
        while filled < bytes.len() {
            match self.read(stream, &mut bytes[filled..], deadline) {
                Ok(0) | Err(Failure::Untouched) => return Err(MALFORMED),
                Ok(count) => filled += count,
                Err(failure) => return Err(failure),
            }
        }
        Ok(Reply::Answer { status, bytes })
    }

    fn read(&self, stream: &mut UnixStream, buffer: &mut [u8], deadline: Instant) -> Result<usize, Failure> {
        loop {
            match stream.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.inner.is_stopping() {
                        return Err(Failure::Refused(Refusal::new(503, "the program is stopping")));
                    }
                    if Instant::now() >= deadline {
                        return Err(Failure::Refused(Refusal::new(503, "the page takes too long to build")));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the inner HTTP server closed a connection");
                    return Err(Failure::Untouched);
                }
            }
        }
    }
}

fn refused(refusal: Refusal, head: &Head) -> Reply {
    let refusal = Refusal { bodyless: head.method == Method::Head, ..refusal };
    Reply::Answer { status: refusal.status, bytes: answer::refusal(refusal) }
}

/// The request as the inner server gets it: made of checked parts alone, nothing of the client's bytes beside them.
fn request_text(head: &Head) -> String {
    let method = match head.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
    };
    let mut text = format!("{method} {} HTTP/1.1\r\nHost: tillflow\r\n", head.target);
    if let Some(validators) = &head.if_none_match {
        text.push_str(&format!("If-None-Match: {validators}\r\n"));
    }
    if head.accepts_gzip {
        text.push_str("Accept-Encoding: gzip\r\n");
    }
    if let Some(id) = head.last_event_id {
        text.push_str(&format!("Last-Event-ID: {id}\r\n"));
    }
    text.push_str("\r\n");
    text
}
