//! One client's connection: what it has sent, what it still gets, and until when.

use std::io::{ErrorKind, Read as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::events::{Gone, Stream};
use super::head::{self, HEAD_LIMIT, Head, Progress, Refusal};
use super::host::HostPolicy;
use super::outgoing::{Outgoing, Sending};

/// A head must be complete this long after the connection began, however it drips in.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// A request waits this long for its turn; who still waits then is better told so.
const QUEUE_TIME: Duration = Duration::from_secs(2);
/// After the answer a client may still be sending; closing at once could destroy what it has not read yet.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// What a client may send into an open stream before it is dropped.
const STREAM_INPUT: usize = 8 * 1024;

/// What a connection is busy with.
pub(super) enum Phase {
    /// Sending its head.
    Head,
    /// Waiting for its turn.
    Queued { bodyless: bool },
    /// Waiting for its page.
    Waiting,
    /// Taking its answer.
    Writing(Outgoing),
    /// Answered; what it still sends is thrown away.
    Lingering { drained: usize },
    /// Listening to epochs.
    Streaming { stream: Stream, drained: usize },
}

/// What comes next for a connection.
pub(super) enum Step {
    /// Nothing until its socket, its page, an epoch or a deadline says so.
    Wait,
    /// This request is complete.
    Serve(Head),
    /// This is no request to be served.
    Refuse(Refusal),
    /// It is over, without an answer or after it.
    Close,
}

/// A client.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) loopback: bool,
    /// When its phase began.
    pub(super) since: Instant,
    pub(super) phase: Phase,
    input: Vec<u8>,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, loopback: bool, now: Instant) -> Connection {
        Connection { socket, loopback, since: now, phase: Phase::Head, input: Vec::new() }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    /// Its request is in the queue.
    pub(super) fn queue(&mut self, bodyless: bool, now: Instant) {
        self.input = Vec::new();
        self.enter(Phase::Queued { bodyless }, now);
    }

    /// Its request is with the inner server.
    pub(super) fn wait(&mut self, now: Instant) {
        self.enter(Phase::Waiting, now);
    }

    /// Whether the client has gone away while it was waiting. One that has closed its sending half alone has not.
    pub(super) fn is_reset(&self) -> bool {
        !matches!(self.socket.take_error(), Ok(None))
    }

    /// Whether it waits for its turn or its page.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. } | Phase::Waiting)
    }

    /// Its answer is there.
    pub(super) fn answer(&mut self, bytes: Vec<u8>, now: Instant) {
        self.input = Vec::new();
        self.enter(Phase::Writing(Outgoing::new(bytes, now)), now);
    }

    /// It becomes an event stream.
    pub(super) fn open_stream(&mut self, stream: Stream, now: Instant) {
        self.enter(Phase::Streaming { stream, drained: 0 }, now);
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.phase, Phase::Streaming { .. })
    }

    /// Bytes of its answer that are kept for it.
    pub(super) fn buffered(&self) -> usize {
        match &self.phase {
            Phase::Writing(outgoing) => outgoing.len(),
            _ => 0,
        }
    }

    /// When it must be looked at, even if nothing comes from it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Head => Some(self.since + HEAD_TIME),
            Phase::Queued { .. } => Some(self.since + QUEUE_TIME),
            // The inner server's answer, or its failure, has a limit of its own.
            Phase::Waiting => None,
            Phase::Writing(outgoing) => Some(outgoing.deadline()),
            Phase::Lingering { .. } => Some(self.since + LINGER_TIME),
            Phase::Streaming { stream, .. } => Some(stream.next_deadline()),
        }
    }

    /// Whether it must be looked at now.
    pub(super) fn is_due(&self, epoch: u64, now: Instant) -> bool {
        let news = matches!(&self.phase, Phase::Streaming { stream, .. } if stream.wants(epoch));
        news || self.deadline().is_some_and(|at| now >= at)
    }

    /// Goes on as far as the socket allows.
    pub(super) fn advance(&mut self, hosts: &HostPolicy, epoch: u64, now: Instant) -> Step {
        loop {
            match &mut self.phase {
                Phase::Head => return self.read_head(hosts, now),
                Phase::Queued { bodyless } if now >= self.since + QUEUE_TIME => {
                    return Step::Refuse(Refusal {
                        bodyless: *bodyless,
                        ..Refusal::new(503, "too many requests at once")
                    });
                }
                Phase::Queued { .. } | Phase::Waiting => return Step::Wait,
                Phase::Writing(outgoing) => match outgoing.advance(&mut self.socket, now) {
                    Sending::Going => return Step::Wait,
                    Sending::Failed => return Step::Close,
                    Sending::Done if self.socket.shutdown(Shutdown::Write).is_err() => return Step::Close,
                    Sending::Done => self.enter(Phase::Lingering { drained: 0 }, now),
                },
                Phase::Lingering { drained } => {
                    let over = drain(&mut self.socket, drained, LINGER_BYTES) || now >= self.since + LINGER_TIME;
                    return if over { Step::Close } else { Step::Wait };
                }
                Phase::Streaming { stream, drained } => {
                    let over = drain(&mut self.socket, drained, STREAM_INPUT);
                    return match stream.advance(&mut self.socket, epoch, now) {
                        Ok(()) if !over => Step::Wait,
                        Ok(()) | Err(Gone) => Step::Close,
                    };
                }
            }
        }
    }

    fn read_head(&mut self, hosts: &HostPolicy, now: Instant) -> Step {
        loop {
            let mut buffer = [0; 4096];
            let room = buffer.len().min(HEAD_LIMIT - self.input.len().min(HEAD_LIMIT));
            match self.socket.read(&mut buffer[..room]) {
                Ok(0) => return Step::Close,
                Ok(count) => {
                    let seen = self.input.len();
                    self.input.extend_from_slice(&buffer[..count]);
                    match head::read(&self.input, seen, hosts) {
                        Progress::Partial => {}
                        Progress::Complete(head) => return Step::Serve(head),
                        Progress::Refused(refusal) => return Step::Refuse(refusal),
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return match () {
                        () if now < self.since + HEAD_TIME => Step::Wait,
                        // Browsers open connections ahead of need; an answer to nothing would confuse them.
                        () if self.input.is_empty() => Step::Close,
                        () => Step::Refuse(Refusal::new(408, "the request head took longer than 3 s")),
                    };
                }
                Err(_) => return Step::Close,
            }
        }
    }
}

/// Throws away what comes; true if nothing more can come or `limit` bytes are reached.
fn drain(socket: &mut TcpStream, drained: &mut usize, limit: usize) -> bool {
    let mut buffer = [0; 4096];
    while *drained < limit {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => *drained += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener as StdListener, TcpStream as StdStream};

    use super::*;

    fn pair() -> (Connection, StdStream, HostPolicy) {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let hosts = HostPolicy::new(listener.local_addr().unwrap(), &[]);
        (Connection::new(TcpStream::from_std(socket), peer.ip().is_loopback(), Instant::now()), client, hosts)
    }

    #[test]
    fn a_quiet_connection_is_closed_and_a_half_request_told() {
        let (mut quiet, _client, hosts) = pair();
        let start = quiet.since;
        assert!(matches!(quiet.advance(&hosts, 0, start + HEAD_TIME), Step::Close));
        let (mut half, mut client, hosts) = pair();
        client.write_all(b"GET /").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(matches!(half.advance(&hosts, 0, half.since), Step::Wait));
        assert!(matches!(half.advance(&hosts, 0, half.since + HEAD_TIME), Step::Refuse(Refusal { status: 408, .. })));
    }

    #[test]
    fn who_waits_too_long_for_a_turn_is_told_so() {
        let (mut connection, _client, hosts) = pair();
        let start = Instant::now();
        connection.queue(true, start);
        assert!(matches!(connection.advance(&hosts, 0, start), Step::Wait));
        let step = connection.advance(&hosts, 0, start + QUEUE_TIME);
        assert!(matches!(step, Step::Refuse(Refusal { status: 503, bodyless: true, .. })));
    }

    #[test]
    fn a_reset_is_told_from_a_closed_half() {
        let (connection, client, _) = pair();
        client.shutdown(Shutdown::Write).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(!connection.is_reset());
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        std::thread::sleep(Duration::from_millis(20));
        assert!(connection.is_reset());
    }
}
