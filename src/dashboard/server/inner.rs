//! The inner server: tiny_http at a UNIX socket, and the threads that hand its requests to the pages.
//!
//! tiny_http ends for good when it cannot accept (no descriptors left, no thread to be had): its accept thread
//! reports an error once or panics, and nobody listens any more. Whoever notices first, a handler thread or one
//! that cannot connect, builds the next one. Each has a number; its predecessor's requests are still answered.

use std::any::Any;
use std::io::{self, Cursor};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::answer::{self, Prepared, PreparedBody};
use super::counters::HttpCounters;
use super::directory::SocketDirectory;
use super::{Handler, target};
use crate::dashboard::message::{Method, Request};

/// Threads that call the handler.
pub(super) const HANDLER_THREADS: usize = 4;

/// One tiny_http server and where it is found.
#[derive(Clone)]
struct Running {
    number: u64,
    server: Arc<tiny_http::Server>,
    /// After the server, which connects to its own socket when it is dropped, to wake its accept thread.
    directory: Arc<SocketDirectory>,
}

impl Running {
    fn start(number: u64, directory: Arc<SocketDirectory>) -> io::Result<Running> {
        let path = directory.socket(number);
        let server = build(|| tiny_http::Server::http_unix(&path))?;
        Ok(Running { number, server, directory })
    }

    fn path(&self) -> PathBuf {
        self.directory.socket(self.number)
    }
}

/// The inner server with its successors.
pub(super) struct Inner {
    running: Mutex<Running>,
    handler: Arc<Handler>,
    counters: Arc<HttpCounters>,
    stopping: AtomicBool,
}

impl Inner {
    /// Starts the first server and its handler threads.
    pub(super) fn start(
        handler: Arc<Handler>,
        counters: Arc<HttpCounters>,
    ) -> io::Result<(Arc<Inner>, Vec<JoinHandle<()>>)> {
        let running = Running::start(1, Arc::new(SocketDirectory::create()?))?;
        Inner::start_with(running, handler, counters)
    }

    fn start_with(
        running: Running,
        handler: Arc<Handler>,
        counters: Arc<HttpCounters>,
    ) -> io::Result<(Arc<Inner>, Vec<JoinHandle<()>>)> {
        let inner =
            Arc::new(Inner { running: Mutex::new(running), handler, counters, stopping: AtomicBool::new(false) });
        let mut threads = Vec::with_capacity(HANDLER_THREADS);
        for index in 0..HANDLER_THREADS {
            let own = Arc::clone(&inner);
            let spawned = thread::Builder::new().name(format!("http-handler-{index}")).spawn(move || own.handle_all());
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    inner.stop();
                    return Err(error);
                }
            }
        }
        Ok((inner, threads))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // Its fields are replaced as a whole, so a panic cannot leave them half changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Running {
        self.lock().clone()
    }

    /// The number of the server that runs now.
    pub(super) fn number(&self) -> u64 {
        self.lock().number
    }

    /// A connection to the server that runs now, and its number. If nobody listens there, the next one is built.
    pub(super) fn connect(&self) -> io::Result<(UnixStream, u64)> {
        let running = self.running();
        match UnixStream::connect(running.path()) {
            Ok(stream) => Ok((stream, running.number)),
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                self.replace(running.number)?;
                let running = self.running();
                Ok((UnixStream::connect(running.path())?, running.number))
            }
            Err(error) => Err(error),
        }
    }

    /// Builds the successor of server `broken`, unless someone has done so.
    pub(super) fn replace(&self, broken: u64) -> io::Result<()> {
        let mut running = self.lock();
        if running.number != broken || self.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let number = broken + 1;
        let next = match Running::start(number, Arc::clone(&running.directory)) {
            Ok(next) => next,
            // The folder may have been cleared away.
            Err(_) => Running::start(number, Arc::new(SocketDirectory::create()?))?,
        };
        let before = std::mem::replace(&mut *running, next);
        drop(running);
        self.counters.count_restart();
        tracing::warn!(number, "the inner HTTP server had stopped; a new one was started");
        wake_handlers(&before.server);
        Ok(())
    }

    /// Lets the handler threads end as soon as what they do is done.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        wake_handlers(&self.running().server);
    }

    /// Whether no answer is to be expected any more.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn handle_all(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            let running = self.running();
            self.handle(&running);
        }
    }

    /// Serves the requests of one server until it is replaced, fails, or everything stops.
    fn handle(&self, running: &Running) {
        loop {
            match running.server.recv() {
                Ok(request) => self.answer_safely(request),
                Err(_) if self.stopping.load(Ordering::Acquire) => return,
                Err(error) => {
                    // Requests it had taken before are still to be answered.
                    while let Ok(Some(request)) = running.server.try_recv() {
                        self.answer_safely(request);
                    }
                    if self.number() == running.number {
                        tracing::warn!(%error, "the inner HTTP server cannot accept");
                        if let Err(error) = self.replace(running.number) {
                            // The next request tries again; until then there is nothing to serve.
                            tracing::warn!(%error, "the inner HTTP server could not be started anew");
                        }
                    }
                    if self.number() != running.number {
                        // Looking for requests may have swallowed the call that was meant for another thread.
                        running.server.unblock();
                    }
                    return;
                }
            }
        }
    }

    fn answer_safely(&self, request: tiny_http::Request) {
        // Dropped unanswered, tiny_http sends a 500 of its own: the client never waits in vain.
        if panic::catch_unwind(AssertUnwindSafe(|| self.answer(request))).is_err() {
            tracing::error!("a panic while an answer was sent");
        }
    }

    fn answer(&self, request: tiny_http::Request) {
        let prepared = match read(&request) {
            Some(page_request) => self.page(&page_request),
            None => plain(400, "malformed request\n"),
        };
        let headers = prepared
            .fields
            .iter()
            .filter_map(|(name, value)| tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok())
            .collect();
        let length = prepared.body.as_ref().len();
        let body = Cursor::new(prepared.body);
        let response =
            tiny_http::Response::new(tiny_http::StatusCode(prepared.status), headers, body, Some(length), None)
                .with_chunked_threshold(usize::MAX);
        if let Err(error) = request.respond(response) {
            tracing::debug!(%error, "nobody waits for the answer any more");
        }
    }

    fn page(&self, request: &Request) -> Prepared {
        let answer = || {
            crate::fault::point("page.asked");
            answer::prepare(request, (self.handler)(request))
        };
        match panic::catch_unwind(AssertUnwindSafe(answer)) {
            Ok(prepared) => prepared,
            Err(cause) => {
                let reason = panic_text(&*cause);
                tracing::error!(path = request.path, reason, "a page panicked; please report it as a bug");
                plain(500, "the page could not be built; the log says more\n")
            }
        }
    }
}

/// tiny_http panics where it cannot start a thread.
fn build<E: std::fmt::Display>(
    start: impl FnOnce() -> Result<tiny_http::Server, E>,
) -> io::Result<Arc<tiny_http::Server>> {
    match panic::catch_unwind(AssertUnwindSafe(start)) {
        Ok(Ok(server)) => Ok(Arc::new(server)),
        Ok(Err(error)) => Err(io::Error::other(error.to_string())),
        Err(cause) => Err(io::Error::other(panic_text(&*cause).to_owned())),
    }
}

fn wake_handlers(server: &tiny_http::Server) {
    for _ in 0..HANDLER_THREADS {
        server.unblock();
    }
}

fn read(request: &tiny_http::Request) -> Option<Request> {
    let method = match request.method() {
        tiny_http::Method::Get => Method::Get,
        tiny_http::Method::Head => Method::Head,
        _ => return None,
    };
    let (path, query) = target::decode(request.url())?;
    let field = |name: &'static str| {
        request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
    };
    Some(Request {
        method,
        path,
        query,
        if_none_match: field("If-None-Match").map(str::to_owned),
        accepts_gzip: field("Accept-Encoding").is_some(),
        last_event_id: field("Last-Event-ID").and_then(|value| value.parse().ok()),
    })
}

fn plain(status: u16, text: &'static str) -> Prepared {
    let fields =
        vec![("Content-Type", "text/plain; charset=utf-8".to_owned()), ("Cache-Control", "no-store".to_owned())];
    Prepared { status, fields, body: PreparedBody::Own(text.into()) }
}

fn panic_text(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<&str>().copied();
    text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    use socket2::SockRef;

    use super::*;
    use crate::dashboard::message::{Body, Caching, Response};

    fn page(request: &Request) -> Response {
        assert_ne!(request.path, "/panic", "asked to panic");
        Response {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            etag: None,
            epoch: None,
            caching: Caching::NoStore,
            download: None,
            body: Body::Bytes(Arc::from(request.path.as_bytes())),
        }
    }

    fn ask(inner: &Inner, path: &str) -> io::Result<String> {
        let (mut stream, _) = inner.connect()?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn join(threads: Vec<JoinHandle<()>>) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while threads.iter().any(|thread| !thread.is_finished()) {
            assert!(Instant::now() < deadline, "a handler thread does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_server_that_cannot_accept_any_more_is_replaced() {
        let directory = Arc::new(SocketDirectory::create().unwrap());
        let listener = UnixListener::bind(directory.socket(1)).unwrap();
        let twin = listener.try_clone().unwrap();
        let server = Arc::new(tiny_http::Server::from_listener(listener, None).unwrap());
        let counters = Arc::new(HttpCounters::default());
        let running = Running { number: 1, server, directory };
        let (inner, threads) = Inner::start_with(running, Arc::new(page), Arc::clone(&counters)).unwrap();
        assert!(ask(&inner, "/before").unwrap().ends_with("/before"));

        // Its accept fails from here on, as it does when there are no descriptors left.
        SockRef::from(&twin).shutdown(Shutdown::Both).unwrap();
        drop(twin);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !ask(&inner, "/after").is_ok_and(|answer| answer.ends_with("/after")) {
            assert!(Instant::now() < deadline, "no successor");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(counters.read().restarts, 1);
        assert_eq!(inner.number(), 2);
        inner.stop();
        join(threads);
    }

    #[test]
    fn a_server_whose_socket_is_gone_is_replaced() {
        let counters = Arc::new(HttpCounters::default());
        let (inner, threads) = Inner::start(Arc::new(page), Arc::clone(&counters)).unwrap();
        for round in 1..=3 {
            std::fs::remove_file(inner.running().path()).unwrap();
            assert!(ask(&inner, "/again").unwrap().ends_with("/again"));
            assert_eq!(counters.read().restarts, round);
        }
        std::fs::remove_dir_all(inner.running().path().parent().unwrap()).unwrap();
        assert!(ask(&inner, "/again").unwrap().ends_with("/again"), "a folder that is gone is made anew");
        inner.stop();
        join(threads);
    }

    #[test]
    fn a_panicking_page_costs_no_thread() {
        let (inner, threads) = Inner::start(Arc::new(page), Arc::default()).unwrap();
        for _ in 0..3 * HANDLER_THREADS {
            let answer = ask(&inner, "/panic").unwrap();
            assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        }
        assert!(ask(&inner, "/fine").unwrap().ends_with("/fine"));
        assert!(threads.iter().all(|thread| !thread.is_finished()));
        inner.stop();
        join(threads);
    }
}
