//! The guard: every client's socket, in one thread that never waits for any of them.
//!
//! Bounds, and what is done at each: connections (the longest lingering, then the longest silent, then the
//! slowest reader makes room for a new one), requests waiting for their turn (503 at once, or after two seconds in
//! the queue), bytes of answers that are not taken yet (the slowest readers are cut off), event streams (503). So a client that is slow, silent or greedy costs its own
//! place alone, and only for as long as nobody else wants it.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{SockRef, TcpKeepalive};

use super::answer;
use super::connection::{Connection, Phase, Step};
use super::counters::HttpCounters;
use super::events::{STREAM_LIMIT, Stream};
use super::exchange::{Done, Job, Reply};
use super::head::{Head, Refusal};
use super::host::HostPolicy;
use crate::dashboard::message::Method;
use crate::status::Status;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// Connections that may be open at once, the event streams not counted.
const CONNECTION_LIMIT: usize = 256;
/// Requests that may wait for their turn.
const QUEUE_LIMIT: usize = 128;
/// The guard takes at most one in so many of the descriptors the process may have: the pipeline needs them too.
const DESCRIPTOR_SHARE: u64 = 4;
/// Bytes of answers kept for clients that have not taken them yet. One answer alone may exceed it.
const BUFFER_LIMIT: usize = 24 * 1024 * 1024;
/// After a failed accept (no descriptors left) the next one is tried this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections accepted in one go before the others get their turn.
const ACCEPT_BATCH: usize = 64;
/// A vanished machine is noticed after this time.
const PEER_TIMEOUT: Duration = Duration::from_secs(20);
/// At the end, answers on their way get this long.
const FAREWELL: Duration = Duration::from_secs(1);
const IDLE_WAIT: Duration = Duration::from_millis(500);
const RECOVERY_PAUSE: Duration = Duration::from_millis(50);

/// What the guard shares with the other threads.
pub(super) struct Shared {
    pub(super) hosts: HostPolicy,
    pub(super) counters: Arc<HttpCounters>,
    pub(super) status: Arc<Status>,
    /// The epoch the streams are to tell, set at most fifty times a second.
    pub(super) epoch: AtomicU64,
    pub(super) stopping: Arc<AtomicBool>,
}

/// The guard's loop and all it owns.
pub(super) struct Guard {
    shared: Arc<Shared>,
    poll: Poll,
    listener: Option<TcpListener>,
    accept_at: Option<Instant>,
    connections: HashMap<usize, Connection>,
    next_connection: usize,
    connection_limit: usize,
    queue: VecDeque<Job>,
    /// Whether the queue was searched for clients that are gone, in this round.
    queue_searched: bool,
    jobs: Sender<Job>,
    in_flight: usize,
    done: Receiver<Done>,
    farewell_until: Option<Instant>,
}

impl Guard {
    /// Takes over a listener; `jobs` and `done` lead to the inner server and back. No more than `jobs` can hold are
    /// there at once; the others wait here, where they cost nothing once their client is gone.
    pub(super) fn new(
        listener: StdListener,
        shared: Arc<Shared>,
        jobs: Sender<Job>,
        done: Receiver<Done>,
    ) -> io::Result<(Guard, Arc<Waker>)> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let descriptors = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024) / DESCRIPTOR_SHARE;
        let connection_limit = usize::try_from(descriptors).unwrap_or(usize::MAX).clamp(8, CONNECTION_LIMIT);
        let guard = Guard {
            shared,
            poll,
            listener: Some(listener),
            accept_at: None,
            connections: HashMap::new(),
            next_connection: FIRST_CONNECTION,
            connection_limit,
            queue: VecDeque::new(),
            queue_searched: false,
            jobs,
            in_flight: 0,
            done,
            farewell_until: None,
        };
        Ok((guard, waker))
    }

    /// Runs until told to stop. A panic is a bug, but one that costs the open connections alone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let turn = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.turn(&mut events)));
            match turn {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the guard of the dashboard cannot wait for its sockets");
                    std::thread::sleep(RECOVERY_PAUSE);
                }
                Err(_) => {
                    tracing::error!("the guard of the dashboard panicked; its connections are closed");
                    self.connections.clear();
                    self.accept_at = Some(Instant::now());
                    self.shared.counters.count_restart();
                    std::thread::sleep(RECOVERY_PAUSE);
                }
            }
        }
    }

    /// One round: waits for something to do and does it. False at the end.
    fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        match self.poll.poll(events, Some(self.time_to_next_deadline())) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        self.queue_searched = false;
        if events.iter().any(|event| event.token() == LISTENER) || self.accept_at.is_some_and(|at| now >= at) {
            self.accept(now);
        }
        while let Ok(done) = self.done.try_recv() {
            self.deliver(done, now);
        }
        for event in events.iter().filter(|event| event.token().0 >= FIRST_CONNECTION) {
            let id = event.token().0;
            // While it waits for its page, nothing else would tell that the client is gone.
            if event.is_error() || event.is_write_closed() {
                self.with(id, |shared, connection| match connection.is_waiting() {
                    true => Step::Close,
                    false => connection.advance(&shared.hosts, shared.epoch.load(Ordering::Acquire), now),
                });
            } else {
                self.advance(id, now);
            }
        }
        self.dispatch(now);
        self.look_after_deadlines(now);
        let streams = self.connections.values().filter(|connection| connection.is_stream()).count();
        self.shared.counters.set_open(self.connections.len(), streams);
        Ok(!self.shared.stopping.load(Ordering::Acquire) || self.say_farewell(now))
    }

    fn time_to_next_deadline(&self) -> Duration {
        let deadlines = self.connections.values().filter_map(Connection::deadline);
        let next = deadlines.chain(self.accept_at).chain(self.farewell_until).min();
        next.map_or(IDLE_WAIT, |at| at.saturating_duration_since(Instant::now()).min(IDLE_WAIT))
    }

    /// Stops accepting, closes what waits for nothing, and lets answers on their way arrive for a while.
    fn say_farewell(&mut self, now: Instant) -> bool {
        let until = *self.farewell_until.get_or_insert(now + FAREWELL);
        self.listener = None;
        self.accept_at = None;
        self.connections.retain(|_, connection| matches!(connection.phase, Phase::Waiting | Phase::Writing(_)));
        !self.connections.is_empty() && now < until
    }

    fn accept(&mut self, now: Instant) {
        self.accept_at = None;
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((socket, peer)) => self.admit(socket, peer, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    tracing::debug!(%error, "the dashboard cannot accept a connection; it tries again");
                    self.make_room();
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        self.accept_at = Some(now);
    }

    fn admit(&mut self, mut socket: TcpStream, peer: SocketAddr, now: Instant) {
        let others = self.connections.values().filter(|connection| !connection.is_stream()).count();
        if others >= self.connection_limit && !self.make_room() {
            // Every place is taken by a request that waits for its turn or its page.
            let _ = socket.write(&answer::refusal(Refusal::new(503, "too many requests at once")));
            self.shared.counters.count_answer(503);
            return;
        }
        // What cannot be set on a socket that is already dead again shows at the first read.
        let _ = socket.set_nodelay(true);
        let options = SockRef::from(&socket);
        let _ = options.set_tcp_keepalive(&TcpKeepalive::new().with_time(PEER_TIMEOUT));
        #[cfg(target_os = "linux")]
        let _ = options.set_tcp_user_timeout(Some(PEER_TIMEOUT));
        let id = self.next_connection;
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(id), both) {
            tracing::debug!(%error, "the dashboard cannot watch a connection");
            self.shared.counters.count_refused();
            return;
        }
        self.next_connection += 1;
        let loopback = peer.ip().to_canonical().is_loopback();
        self.connections.insert(id, Connection::new(socket, loopback, now));
        self.advance(id, now);
    }

    /// Closes the connection that is missed least. False if all wait for their turn or their page.
    fn make_room(&mut self) -> bool {
        let rank = |connection: &Connection| match connection.phase {
            Phase::Lingering { .. } => Some((0, connection.since)),
            Phase::Head => Some((1, connection.since)),
            Phase::Writing(_) => Some((2, connection.since)),
            Phase::Queued { .. } | Phase::Waiting | Phase::Streaming { .. } => None,
        };
        let ranked = self.connections.iter().filter_map(|(id, connection)| Some((rank(connection)?, *id)));
        let Some(((rank, _), id)) = ranked.min() else { return false };
        self.connections.remove(&id);
        if rank > 0 {
            self.shared.counters.count_refused();
        }
        true
    }

    fn advance(&mut self, id: usize, now: Instant) {
        self.with(id, |shared, connection| {
            connection.advance(&shared.hosts, shared.epoch.load(Ordering::Acquire), now)
        });
    }

    /// Lets `act` go on with a connection, if it is still there, and does what follows.
    fn with(&mut self, id: usize, act: impl FnOnce(&Shared, &mut Connection) -> Step) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        let now = Instant::now();
        let step = match act(&self.shared, &mut connection) {
            Step::Serve(head) => self.enqueue(id, head, &mut connection, now),
            step => step,
        };
        let step = match step {
            Step::Refuse(refusal) => {
                self.shared.counters.count_answer(refusal.status);
                connection.answer(answer::refusal(refusal), now);
                connection.advance(&self.shared.hosts, 0, now)
            }
            step => step,
        };
        match step {
            Step::Close => {
                if !matches!(connection.phase, Phase::Lingering { .. } | Phase::Streaming { .. }) {
                    self.shared.counters.count_refused();
                }
            }
            _ => {
                self.connections.insert(id, connection);
            }
        }
    }

    fn enqueue(&mut self, id: usize, mut head: Head, connection: &mut Connection, now: Instant) -> Step {
        if self.queue.len() >= QUEUE_LIMIT && !self.queue_searched {
            self.queue_searched = true;
            self.forget_the_gone();
        }
        let bodyless = head.method == Method::Head;
        if self.queue.len() >= QUEUE_LIMIT {
            return Step::Refuse(Refusal { bodyless, ..Refusal::new(503, "too many requests at once") });
        }
        // Compression saves nothing where no wire is.
        head.accepts_gzip &= !connection.loopback;
        self.queue.push_back(Job { connection: id, head });
        connection.queue(bodyless, now);
        Step::Wait
    }

    /// Takes requests out of the queue whose clients do not wait any more.
    fn forget_the_gone(&mut self) {
        let Guard { queue, connections, shared, .. } = self;
        queue.retain(|job| match connections.get(&job.connection) {
            Some(connection) if connection.is_reset() => {
                connections.remove(&job.connection);
                shared.counters.count_refused();
                false
            }
            Some(connection) => connection.is_waiting(),
            None => false,
        });
    }

    /// Hands requests to the exchange threads, as long as one of them is free.
    fn dispatch(&mut self, now: Instant) {
        let free = self.jobs.capacity().unwrap_or(1);
        while self.in_flight < free {
            let Some(job) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(&job.connection) else { continue };
            if !connection.is_waiting() {
                continue;
            }
            match self.jobs.try_send(job) {
                Ok(()) => {
                    self.in_flight += 1;
                    connection.wait(now);
                }
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    self.queue.push_front(job);
                    return;
                }
            }
        }
    }

    fn deliver(&mut self, Done { connection: id, reply }: Done, now: Instant) {
        self.in_flight -= 1;
        let Some(mut connection) = self.connections.remove(&id) else { return };
        let open = self.connections.values().filter(|connection| connection.is_stream()).count();
        match reply {
            Reply::Answer { status, bytes } => {
                self.shared.counters.count_answer(status);
                self.make_buffer_room(bytes.len());
                connection.answer(bytes, now);
            }
            Reply::Stream { .. } if open >= STREAM_LIMIT.min(self.connection_limit) => {
                self.shared.counters.count_answer(503);
                let text = "too many event streams; ask for the page again from time to time instead";
                connection.answer(answer::refusal(Refusal::new(503, text)), now);
            }
            Reply::Stream { head } => {
                self.shared.counters.count_answer(200);
                let epoch = self.shared.status.wait_for_epoch_after(u64::MAX, Duration::ZERO);
                connection.open_stream(Stream::open(head, epoch, now), now);
            }
        }
        self.connections.insert(id, connection);
        self.advance(id, now);
    }

    /// Cuts off the slowest readers until `more` bytes fit.
    fn make_buffer_room(&mut self, more: usize) {
        let mut kept: usize = self.connections.values().map(Connection::buffered).sum();
        while kept > 0 && kept + more > BUFFER_LIMIT {
            let writing = self.connections.iter().filter(|(_, connection)| connection.buffered() > 0);
            let Some(slowest) = writing.min_by_key(|(_, connection)| connection.since).map(|(id, _)| *id) else {
                return;
            };
            if let Some(connection) = self.connections.remove(&slowest) {
                kept -= connection.buffered();
                self.shared.counters.count_refused();
            }
        }
    }

    /// Goes on with whoever's time has come, and with the streams if there is a new epoch for them.
    fn look_after_deadlines(&mut self, now: Instant) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let due = self.connections.iter().filter(|(_, connection)| connection.is_due(epoch, now));
        let ids: Vec<usize> = due.map(|(id, _)| *id).collect();
        for id in ids {
            self.advance(id, now);
        }
    }
}
