//! A TCP proxy in front of a service: it stalls, delays, cuts, says nothing any more, or loses a reply to something that
//! the service has done.
//!
//! Kafka's clients go to the addresses that brokers name, not to the one they were given. So in what the broker says,
//! its own address is replaced by the proxy's: host and port have the same length in both.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a pump waits for bytes before it looks at what it is told to do.
const LOOK: Duration = Duration::from_millis(10);

/// What the proxy does at the moment.
#[derive(Default)]
struct Orders {
    /// Bytes wait in both directions.
    stalled: AtomicBool,
    /// Nobody is let in, and whoever is in is thrown out.
    cut: AtomicBool,
    /// Bytes of the service vanish while the connection stays open, as when the other side is gone without a word.
    half_open: AtomicBool,
    /// Milliseconds that each piece waits.
    delay: AtomicU64,
    /// Replies yet to be lost to requests that hold [`Orders::pattern`].
    to_lose: AtomicU32,
    lost: AtomicU32,
    pattern: Mutex<Vec<u8>>,
    ended: AtomicBool,
}

/// The proxy; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    orders: Arc<Orders>,
}

/// What the proxy has to know of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It tells its clients where to go.
    Kafka,
    Other,
}

impl Proxy {
    /// A proxy in front of `service` (`host:port`).
    pub fn new(kind: Service, service: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let orders = Arc::new(Orders::default());
        let (told, service) = (Arc::clone(&orders), service.to_owned());
        listener.set_nonblocking(true).expect("a listener that can be asked");
        std::thread::spawn(move || {
            while !told.ended.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((client, _)) => {
                        if told.cut.load(Ordering::SeqCst) {
                            continue;
                        }
                        // A service that is away refuses, and so does its proxy.
                        let Ok(server) = TcpStream::connect(&service) else { continue };
                        let Ok(service) = server.peer_addr() else { continue };
                        let names = (kind == Service::Kafka).then(|| [named(service), named(address)]);
                        join(client, server, names, &told);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
                    Err(_) => return,
                }
            }
        });
        Proxy { address, orders }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn stall(&self, stalled: bool) {
        self.orders.stalled.store(stalled, Ordering::SeqCst);
    }

    /// Cuts every connection, and takes none until told otherwise.
    pub fn cut(&self, cut: bool) {
        self.orders.cut.store(cut, Ordering::SeqCst);
    }

    pub fn half_open(&self, half_open: bool) {
        self.orders.half_open.store(half_open, Ordering::SeqCst);
    }

    pub fn delay(&self, delay: Duration) {
        self.orders.delay.store(u64::try_from(delay.as_millis()).expect("a short delay"), Ordering::SeqCst);
    }

    /// Loses the replies to the next `times` requests that hold `pattern`, and the connections with them. The service
    /// has done by then what it was asked.
    pub fn lose_replies(&self, pattern: &[u8], times: u32) {
        *self.orders.pattern.lock().unwrap_or_else(PoisonError::into_inner) = pattern.to_vec();
        self.orders.to_lose.store(times, Ordering::SeqCst);
    }

    /// How many replies were lost so far.
    pub fn lost(&self) -> u32 {
        self.orders.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.ended.store(true, Ordering::SeqCst);
    }
}

/// An address as Kafka's protocol has it: the host's text, then the port in four bytes.
fn named(address: SocketAddr) -> Vec<u8> {
    let mut name = address.ip().to_string().into_bytes();
    name.extend(u32::from(address.port()).to_be_bytes());
    name
}

fn join(client: TcpStream, server: TcpStream, names: Option<[Vec<u8>; 2]>, orders: &Arc<Orders>) {
    // Set when the reply to come on this connection is to be lost.
    let losing = Arc::new(AtomicBool::new(false));
    for stream in [&client, &server] {
        stream.set_nonblocking(false).expect("a stream that waits");
        stream.set_read_timeout(Some(LOOK)).expect("a stream that can be asked");
        let _ = stream.set_nodelay(true);
    }
    let ends = [(&client, &server), (&server, &client)]
        .map(|(from, to)| (from.try_clone().expect("a second handle"), to.try_clone().expect("a second handle")));
    for (index, (from, to)) in ends.into_iter().enumerate() {
        let pump = Pump {
            from,
            to,
            from_service: index == 1,
            names: names.clone().filter(|_| index == 1),
            losing: Arc::clone(&losing),
            orders: Arc::clone(orders),
        };
        std::thread::spawn(move || pump.run());
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    from_service: bool,
    /// What to look for in whole Kafka messages, and what to put there.
    names: Option<[Vec<u8>; 2]>,
    losing: Arc<AtomicBool>,
    orders: Arc<Orders>,
}

impl Pump {
    fn run(mut self) {
        self.carry();
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
    }

    fn carry(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        let mut message = Vec::new();
        loop {
            let orders = &self.orders;
            if orders.ended.load(Ordering::SeqCst) || orders.cut.load(Ordering::SeqCst) {
                return;
            }
            if orders.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK);
                continue;
            }
            let read = match self.from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => return,
            };
            let delay = orders.delay.load(Ordering::SeqCst);
            if delay > 0 {
                std::thread::sleep(Duration::from_millis(delay));
            }
            // What came in while it was stalled goes on its way later.
            while orders.stalled.load(Ordering::SeqCst) && !orders.ended.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK);
            }
            // What was said after the cut passes it no more, even if this pump was waiting for it.
            if orders.cut.load(Ordering::SeqCst) {
                return;
            }
            let bytes = &buffer[..read];
            if self.from_service {
                if self.losing.load(Ordering::SeqCst) {
                    orders.lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if orders.half_open.load(Ordering::SeqCst) {
                    continue;
                }
            } else {
                self.look_for_the_pattern(bytes);
            }
            let sent = match &self.names {
                None => self.to.write_all(bytes),
                Some(names) => {
                    message.extend_from_slice(bytes);
                    let whole = renamed(&mut message, names);
                    self.to.write_all(&whole)
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn look_for_the_pattern(&self, bytes: &[u8]) {
        if self.orders.to_lose.load(Ordering::SeqCst) == 0 {
            return;
        }
        let pattern = self.orders.pattern.lock().unwrap_or_else(PoisonError::into_inner);
        let found = bytes.windows(pattern.len()).any(|part| part == pattern.as_slice());
        if found
            && self.orders.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            self.losing.store(true, Ordering::SeqCst);
        }
    }
}

/// Takes the whole messages (a length in four bytes, then so many) from the front, with the broker's name replaced.
fn renamed(message: &mut Vec<u8>, [from, to]: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut end = 0;
    while let Some(length) = message.get(end..end + 4) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        if message.len() < end + 4 + length {
            break;
        }
        end += 4 + length;
    }
    let mut whole: Vec<u8> = message.drain(..end).collect();
    if from.len() == to.len() {
        let places: Vec<usize> =
            whole.windows(from.len()).enumerate().filter(|(_, part)| part == from).map(|(at, _)| at).collect();
        for at in places {
            whole[at..at + to.len()].copy_from_slice(to);
        }
    }
    whole
}
