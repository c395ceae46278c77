//! A server with pages to test with, raw clients, and what the system says about this process.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tillflow::dashboard::message::{Body, Caching, Request, Response};
use tillflow::dashboard::server::{HttpCounters, HttpCounts, Server, ServerOptions};
use tillflow::status::Status;

pub const PAGE_LENGTH: usize = 20 * 1024;
pub const BIG_LENGTH: usize = 2 * 1024 * 1024;

/// The tests look at threads and memory of the whole process, so they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub type Alone = MutexGuard<'static, ()>;

/// Waits until no other test has a server.
pub fn alone() -> Alone {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Site {
    pub addr: SocketAddr,
    pub status: Arc<Status>,
    pub counters: Arc<HttpCounters>,
    server: Option<Server>,
    _alone: Alone,
}

impl Site {
    pub fn start() -> Site {
        Site::start_with(|_| ())
    }

    pub fn start_with(change: impl FnOnce(&mut ServerOptions)) -> Site {
        let alone = alone();
        let status = Arc::new(Status::default());
        let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        change(&mut options);
        let counters = Arc::clone(&options.counters);
        let server = Server::start(options, Arc::new(page), Arc::clone(&status)).unwrap();
        Site { addr: server.local_addr(), status, counters, server: Some(server), _alone: alone }
    }

    pub fn counts(&self) -> HttpCounts {
        self.counters.read()
    }

    pub fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    pub fn get_with(&self, path: &str, fields: &str) -> Answer {
        Answer::to(self.addr, format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.addr)).unwrap()
    }

    /// Waits until the counts are as wanted.
    pub fn wait_for(&self, limit: Duration, what: &str, wanted: impl Fn(HttpCounts) -> bool) {
        let deadline = Instant::now() + limit;
        while !wanted(self.counts()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.counts());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The pages of the test site.
pub fn page(request: &Request) -> Response {
    let mut response = Response {
        status: 200,
        content_type: "text/html; charset=utf-8",
        etag: Some("\"7\"".to_owned()),
        epoch: Some(7),
        caching: Caching::Revalidate,
        download: None,
        body: Body::Bytes(Arc::from(vec![b'x'; PAGE_LENGTH])),
    };
    match request.path.as_str() {
        "/" => {}
        "/big" => response.body = Body::Bytes(Arc::from(vec![b'y'; BIG_LENGTH])),
        "/huge" => response.body = Body::Bytes(Arc::from(vec![b'z'; 33 * 1024 * 1024])),
        "/panic" => panic!("asked to panic"),
        "/slow" => thread::sleep(Duration::from_millis(1500)),
        "/events" => response.body = Body::Events,
        "/export.csv" => {
            response.content_type = "text/csv; charset=utf-8";
            response.download = Some("sales \"2024\"\r\nX: y.csv".to_owned());
            response.caching = Caching::NoStore;
        }
        "/asset" => response.caching = Caching::Immutable,
        _ => {
            response.status = 404;
            response.etag = None;
            let told = format!("{} {:?}", request.path, request.query);
            response.body = Body::Bytes(Arc::from(told.into_bytes()));
        }
    }
    response
}

/// What a server answered until it closed the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends `request` and reads to the end.
    pub fn to(addr: SocketAddr, request: impl AsRef<[u8]>) -> io::Result<Answer> {
        let mut client = connect(addr)?;
        client.write_all(request.as_ref())?;
        Answer::read(&mut client)
    }

    pub fn read(client: &mut TcpStream) -> io::Result<Answer> {
        let mut raw = Vec::new();
        client.read_to_end(&mut raw)?;
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8(raw[..end + 2].to_vec()).map_err(|_| ErrorKind::InvalidData)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        Ok(Answer { status, head, body: raw.split_off(end + 4) })
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| {
            let (field, value) = line.split_once(": ")?;
            field.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = found.next();
        assert!(found.next().is_none(), "{name} twice in {}", self.head);
        value
    }
}

pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.set_write_timeout(Some(Duration::from_secs(10)))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// A client that asks for a page again and again, and keeps the longest time an answer took.
pub struct GoodClient {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl GoodClient {
    pub fn start(addr: SocketAddr) -> GoodClient {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut served, mut slowest) = (0, Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                let start = Instant::now();
                let answer = Answer::to(addr, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("an answer");
                assert_eq!((answer.status, answer.body.len()), (200, PAGE_LENGTH));
                slowest = slowest.max(start.elapsed());
                served += 1;
                thread::sleep(Duration::from_millis(10));
            }
            (served, slowest)
        });
        GoodClient { stop, thread }
    }

    /// Ends it and demands that it was served each time, within a second.
    pub fn was_served(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (served, slowest) = self.thread.join().expect("the good client was not served");
        assert!(served > 0, "the good client had no time");
        println!("a good client was served {served} times, each within {slowest:?}");
        assert!(slowest < Duration::from_secs(1), "the good client waited {slowest:?}");
    }
}

/// Threads and resident kilobytes of this process.
pub fn threads_and_memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("Threads:"), number("VmRSS:"))
}

/// Runs an attack while a good client is served, and demands bounds on threads and memory.
pub fn under_attack(site: &Site, attack: impl FnOnce()) {
    let good = GoodClient::start(site.addr);
    thread::sleep(Duration::from_millis(100));
    let (threads_before, memory_before) = threads_and_memory();
    attack();
    let (threads, memory) = threads_and_memory();
    good.was_served();
    // The test harness may start its next thread in between.
    assert!(threads <= threads_before + 2, "{threads_before} threads became {threads}");
    let grown = memory.saturating_sub(memory_before);
    println!("memory grew by {grown} KiB");
    assert!(grown <= 32 * 1024, "memory grew by {grown} KiB");
    assert_eq!(site.counts().restarts, 0);
}
