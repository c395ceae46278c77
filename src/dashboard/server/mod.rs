//! The HTTP server of the dashboard: the only place that knows sockets and tiny_http.
//!
//! A client talks to the *guard*, which reads its request strictly and bounded in time and size. What passes goes
//! as a fresh request to tiny_http behind a UNIX socket nobody else can reach, from there to the pages, and the
//! whole reply comes back to the guard, which gives it to the client as fast as that one takes it.
//!
//! ```text
//! client ─► guard (1 thread) ─► exchanges (4) ─► tiny_http ─► handlers (4) ─► pages
//!             ▲ ├ a queue of 128  │
//!             │ └ event streams   │
//!             └───────────────────┘ bounded replies
//! ```

mod answer;
mod connection;
mod counters;
mod directory;
mod events;
mod exchange;
mod guard;
mod head;
mod host;
mod inner;
mod outgoing;
mod target;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::Waker;
use socket2::{Domain, Protocol, Socket, Type};

pub use self::counters::{HttpCounters, HttpCounts};

use self::exchange::Exchange;
use self::guard::{Guard, Shared};
use self::host::HostPolicy;
use self::inner::Inner;
use super::message::{Request, Response};
use crate::status::Status;

/// What makes a response of a request. It is called by several threads at once; a panic in it becomes a 500.
pub type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// Requests that are with the inner server at once.
const EXCHANGE_THREADS: usize = 4;
/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// Streams are told of new epochs at most this often. Much less than a tick: of two rhythms of the same length, one stays
/// behind the other by as much as it was at first.
const EPOCH_SPACING: Duration = Duration::from_millis(20);
const EPOCH_WAIT: Duration = Duration::from_millis(250);
/// How long a stop waits for its threads; one that is held up in a page is left behind.
const STOP_LIMIT: Duration = Duration::from_millis(1900);

/// How the server is to be.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names (`name` or `name:port`) it answers to besides loopback and the bound address.
    pub allowed_hosts: Vec<String>,
    /// How long a page may take before its client gets a 503.
    pub page_limit: Duration,
    /// Where the server counts; keep a clone for `/metrics`.
    pub counters: Arc<HttpCounters>,
}

impl ServerOptions {
    /// The usual options for an address: no further names, 30 seconds for a page.
    pub fn new(listen: SocketAddr) -> ServerOptions {
        ServerOptions {
            listen,
            allowed_hosts: Vec::new(),
            page_limit: Duration::from_secs(30),
            counters: Arc::default(),
        }
    }
}

/// Why the server does not start, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error(
        "cannot serve the dashboard on {0}: the address is in use; stop the other program or name another address with --listen"
    )]
    AddressInUse(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot serve the dashboard on {listen}: {source}; name another address with --listen")]
    Bind {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The inner server or a thread could not be started.
    #[error(
        "cannot start the dashboard's server: {0}; it needs a temporary folder to write to (TMPDIR) and a few free threads and descriptors"
    )]
    Start(#[source] io::Error),
}

/// A running server. Dropping it stops it as [`Server::stop`] does.
pub struct Server {
    local_addr: SocketAddr,
    stopping: Arc<AtomicBool>,
    waker: Arc<Waker>,
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens and serves. `epochs` is what the event streams follow.
    ///
    /// # Errors
    /// If the address cannot be had or the inner server cannot be started; see [`ServerError`].
    pub fn start(options: ServerOptions, handler: Arc<Handler>, epochs: Arc<Status>) -> Result<Server, ServerError> {
        if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        let listener = listen(options.listen).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => ServerError::AddressInUse(options.listen),
            _ => ServerError::Bind { listen: options.listen, source },
        })?;
        let local_addr = listener.local_addr().map_err(ServerError::Start)?;
        if !local_addr.ip().is_loopback() {
            tracing::warn!(
                address = %local_addr,
                "the dashboard has no authentication and listens beyond this machine: put a reverse proxy with access control in front of it"
            );
        }
        let server = Server::start_on(listener, local_addr, options, handler, epochs).map_err(ServerError::Start)?;
        tracing::debug!(address = %server.local_addr, "the dashboard is served");
        Ok(server)
    }

    fn start_on(
        listener: TcpListener,
        local_addr: SocketAddr,
        options: ServerOptions,
        handler: Arc<Handler>,
        epochs: Arc<Status>,
    ) -> io::Result<Server> {
        let stopping = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            hosts: HostPolicy::new(local_addr, &options.allowed_hosts),
            counters: Arc::clone(&options.counters),
            epoch: AtomicU64::new(0),
            status: Arc::clone(&epochs),
            stopping: Arc::clone(&stopping),
        });
        // The guard has as many requests here as there are threads for them, so neither is ever full.
        let (jobs, queued) = crossbeam_channel::bounded(EXCHANGE_THREADS);
        let (done, finished) = crossbeam_channel::bounded(EXCHANGE_THREADS);
        let (guard, waker) = Guard::new(listener, Arc::clone(&shared), jobs, finished)?;
        let (inner, threads) = Inner::start(handler, options.counters)?;
        // From here on, dropping the server stops what has been started.
        let mut server = Server { local_addr, stopping: Arc::clone(&stopping), waker, inner, threads };
        for index in 0..EXCHANGE_THREADS {
            let exchange = Exchange { inner: Arc::clone(&server.inner), limit: options.page_limit, connection: None };
            let (queued, done, waker) = (queued.clone(), done.clone(), Arc::clone(&server.waker));
            server.spawn(format!("http-exchange-{index}"), move || exchange.run(&queued, &done, &waker))?;
        }
        let waker = Arc::clone(&server.waker);
        server.spawn("http-epochs".to_owned(), move || follow_epochs(&shared, &waker))?;
        server.spawn("http-guard".to_owned(), move || guard.run())?;
        Ok(server)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops within two seconds: answers on their way get one second, everything else is closed at once.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::debug!(%error, "the guard of the dashboard stops a little later");
        }
        let deadline = Instant::now() + STOP_LIMIT;
        let mut handlers_told = false;
        while !self.threads.is_empty() && Instant::now() < deadline {
            self.threads.retain(|thread| !thread.is_finished());
            // The handlers go last: answers on their way still need them.
            let guard_is_gone = !self.threads.iter().any(|thread| thread.thread().name() == Some("http-guard"));
            if guard_is_gone && !handlers_told {
                self.inner.stop();
                handlers_told = true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        if !handlers_told {
            self.inner.stop();
        }
        if !self.threads.is_empty() {
            tracing::warn!(threads = self.threads.len(), "the dashboard stopped while pages were still being built");
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Otherwise a restart would have to wait for connections of the run before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Wakes the guard for new epochs, at most fifty times a second.
fn follow_epochs(shared: &Shared, waker: &Waker) {
    let mut told = 0;
    while !shared.stopping.load(Ordering::Acquire) {
        let epoch = shared.status.wait_for_epoch_after(told, EPOCH_WAIT);
        if epoch == told {
            continue;
        }
        told = epoch;
        shared.epoch.store(epoch, Ordering::Release);
        if let Err(error) = waker.wake() {
            tracing::warn!(%error, "event streams learn of an epoch later");
        }
        thread::sleep(EPOCH_SPACING);
    }
}
