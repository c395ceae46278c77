//! Connects a process with all others: it listens for those above it and goes to those below it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender};
use socket2::{SockRef, TcpKeepalive};

use super::handshake::{self, Failure, Purpose};
use super::hosts::Host;
use super::{Agreement, ClusterError, ClusterSettings};

/// How long a start waits for the other processes.
pub const START_WITHIN: Duration = Duration::from_secs(60);

/// How long one attempt to reach an address may take.
const REACH_WITHIN: Duration = Duration::from_secs(2);

/// Between two attempts, and between two looks for who comes.
const PAUSE: Duration = Duration::from_millis(50);

/// Handshakes that go on at once; with more, whoever comes is sent away, and may come again.
const GUESTS: usize = 64;

/// After so long without an answer of the other machine a connection counts as broken.
const UNANSWERED: Duration = Duration::from_secs(10);

/// The connections of a process, by process; none for itself.
pub struct Connections {
    /// For timely.
    pub data: Vec<Option<TcpStream>>,
    /// For [`super::links::Links`].
    pub control: Vec<Option<TcpStream>>,
}

/// A connection that is ready, or why there will be none.
type Arrival = Result<(usize, Purpose, TcpStream), String>;

/// What the threads of a start share.
struct Start {
    settings: ClusterSettings,
    agreement: Agreement,
    arrivals: Sender<Arrival>,
    over: AtomicBool,
    guests: AtomicUsize,
    /// By process: why the last attempt came to nothing.
    problems: Mutex<BTreeMap<usize, String>>,
}

/// Connects with every other process. See [`super::Cluster::form`] for the errors.
pub fn connect(
    settings: &ClusterSettings,
    agreement: &Agreement,
    within: Duration,
) -> Result<Connections, ClusterError> {
    let deadline = Instant::now() + within;
    let (me, processes) = (settings.process, settings.hosts.len());
    // The highest process has nobody to wait for.
    let listener = match me + 1 < processes {
        true => Some(listen(&settings.hosts[me], me)?),
        false => None,
    };
    let (arrivals, arriving) = crossbeam_channel::unbounded();
    let start = Arc::new(Start {
        settings: settings.clone(),
        agreement: agreement.clone(),
        arrivals,
        over: AtomicBool::new(false),
        guests: AtomicUsize::new(0),
        problems: Mutex::default(),
    });
    let listening = listener.map(|listener| spawn(&start, move |start| start.receive(&listener))).transpose()?;
    for (to, purpose) in (0..me).flat_map(|to| [(to, Purpose::Data), (to, Purpose::Control)]) {
        spawn(&start, move |start| start.go(to, purpose))?;
    }

    let mut data: Vec<Option<TcpStream>> = (0..processes).map(|_| None).collect();
    let mut control: Vec<Option<TcpStream>> = (0..processes).map(|_| None).collect();
    let missing = |data: &[Option<TcpStream>], control: &[Option<TcpStream>]| -> Vec<usize> {
        (0..processes).filter(|it| *it != me && (data[*it].is_none() || control[*it].is_none())).collect()
    };
    let result = loop {
        let absent = missing(&data, &control);
        if absent.is_empty() {
            break Ok(());
        }
        match arriving.recv_deadline(deadline) {
            // One that comes again has given up its first connection.
            Ok(Ok((process, Purpose::Data, stream))) => data[process] = Some(stream),
            Ok(Ok((process, Purpose::Control, stream))) => control[process] = Some(stream),
            Ok(Err(different)) => break Err(ClusterError::Settings(different)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                break Err(ClusterError::Unavailable(start.absence(&absent, within)));
            }
        }
    };
    start.over.store(true, Ordering::SeqCst);
    // Nobody listens any more when this returns.
    if let Some(listening) = listening {
        let _ = listening.join();
    }
    result?;
    for stream in data.iter().chain(&control).flatten() {
        prepare(stream)
            .map_err(|error| ClusterError::Unavailable(format!("preparing the cluster's sockets: {error}")))?;
    }
    Ok(Connections { data, control })
}

fn spawn(
    start: &Arc<Start>,
    run: impl FnOnce(&Arc<Start>) + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, ClusterError> {
    let start = Arc::clone(start);
    std::thread::Builder::new()
        .name(String::from("tillflow-cluster-start"))
        .spawn(move || run(&start))
        .map_err(|error| ClusterError::Unavailable(format!("starting a thread: {error}")))
}

fn addresses(host: &Host) -> io::Result<Vec<SocketAddr>> {
    Ok((host.name.as_str(), host.port).to_socket_addrs()?.collect())
}

fn listen(host: &Host, me: usize) -> Result<TcpListener, ClusterError> {
    let failed = |error: io::Error| {
        ClusterError::Unavailable(format!(
            "listening on {host} as process {me} of the cluster: {error}; does another process use it, or is the line \
             of the hosts file another machine's?"
        ))
    };
    // A test may put a proxy where the others look for this process.
    let port = crate::fault::limit("cluster_port", host.port.into());
    let here = Host { port: u16::try_from(port).unwrap_or(host.port), ..host.clone() };
    let listener = TcpListener::bind(addresses(&here).map_err(failed)?.as_slice()).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// What makes the operating system notice that the other machine is gone.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(2));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    Ok(())
}

impl Start {
    /// Lets others in, each in a thread of its own: one that is silent holds up nobody.
    fn receive(self: &Arc<Start>, listener: &TcpListener) {
        while !self.over.load(Ordering::SeqCst) {
            let Ok((stream, from)) = listener.accept() else {
                std::thread::sleep(PAUSE);
                continue;
            };
            if self.guests.fetch_add(1, Ordering::SeqCst) >= GUESTS {
                self.guests.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let greet = move |start: &Arc<Start>| {
                start.greet(stream, from);
                start.guests.fetch_sub(1, Ordering::SeqCst);
            };
            if spawn(self, greet).is_err() {
                self.guests.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    fn greet(&self, mut stream: TcpStream, from: SocketAddr) {
        let accepted = stream
            .set_nonblocking(false)
            .map_err(Failure::from)
            .and_then(|()| handshake::accept(&mut stream, &self.settings, &self.agreement));
        match accepted {
            Ok((process, purpose)) => self.arrive(Ok((process, purpose, stream))),
            Err(Failure::Different(why)) => self.arrive(Err(why)),
            Err(Failure::Again(why)) => {
                tracing::warn!("a connection from {from} was refused: {why}; still waiting for the cluster");
            }
        }
    }

    fn arrive(&self, arrival: Arrival) {
        // Nobody receives any more: the start is over.
        let _ = self.arrivals.send(arrival);
    }

    /// Goes to a process until it lets this one in.
    fn go(&self, to: usize, purpose: Purpose) {
        while !self.over.load(Ordering::SeqCst) {
            match self.try_to_go(to, purpose) {
                Ok(stream) => return self.arrive(Ok((to, purpose, stream))),
                Err(Failure::Different(why)) => return self.arrive(Err(why)),
                Err(Failure::Again(why)) => {
                    self.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(to, why);
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_to_go(&self, to: usize, purpose: Purpose) -> Result<TcpStream, Failure> {
        // Asked each time: the name of a machine that is just starting may be news.
        let addresses = addresses(&self.settings.hosts[to])?;
        let mut failure = Failure::Again(String::from("its name has no address"));
        for address in addresses {
            match TcpStream::connect_timeout(&address, REACH_WITHIN) {
                // Where nobody listens, a port can come to be connected with itself, and then nobody can listen.
                Ok(stream) if stream.local_addr()? == address => {}
                Ok(mut stream) => {
                    handshake::connect(&mut stream, &self.settings, &self.agreement, to, purpose)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    failure = Failure::Again(String::from("nobody listens there"));
                }
                Err(error) => failure = Failure::Again(error.to_string()),
            }
        }
        Err(failure)
    }

    /// Who did not come.
    fn absence(&self, absent: &[usize], within: Duration) -> String {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |process: &usize| {
            let host = &self.settings.hosts[*process];
            let problem = problems.get(process).map(|problem| format!(", {problem}")).unwrap_or_default();
            format!("process {process} ({host}{problem})")
        };
        format!(
            "waiting for the cluster: after {} s there is no connection with {}. Start every process with the same \
             --hosts, --processes and secret",
            within.as_secs(),
            absent.iter().map(one).collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::Secret;
    use super::*;

    const SECRET: &str = "a secret of more than sixteen bytes";

    fn free_hosts(processes: usize) -> Vec<Host> {
        let listeners: Vec<TcpListener> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        listeners.iter().map(|it| Host { name: "127.0.0.1".into(), port: port(it) }).collect()
    }

    fn settings(hosts: &[Host], process: usize, secret: &str) -> ClusterSettings {
        ClusterSettings { process, hosts: hosts.to_vec(), secret: Some(Secret::new(secret).expect("a secret")) }
    }

    fn agreement(tick: &str) -> Agreement {
        vec![("--tick-ms".into(), tick.into())]
    }

    /// Starts processes as threads, each with its secret and its tick.
    fn start(hosts: &[Host], each: &[(&str, &str)], within: u64) -> Vec<Result<Connections, ClusterError>> {
        let begin = |(process, (secret, tick)): (usize, &(&str, &str))| {
            let (settings, agreement) = (settings(hosts, process, secret), agreement(tick));
            std::thread::spawn(move || connect(&settings, &agreement, Duration::from_secs(within)))
        };
        let begun: Vec<_> = each.iter().enumerate().map(begin).collect();
        begun.into_iter().map(|thread| thread.join().expect("a start")).collect()
    }

    /// Every connection leads to the process it is said to lead to.
    fn assert_connected(processes: &mut [Connections]) {
        for from in 0..processes.len() {
            for to in (0..processes.len()).filter(|to| *to != from) {
                for (purpose, mark) in [(0, 1), (1, 101)] {
                    let pick = |it: &mut Connections, index: usize| {
                        let streams = if purpose == 0 { &it.data } else { &it.control };
                        streams[index].as_ref().expect("a connection").try_clone().expect("a clone")
                    };
                    let said = [mark + from as u8, to as u8];
                    pick(&mut processes[from], to).write_all(&said).expect("sent");
                    let mut heard = [0; 2];
                    pick(&mut processes[to], from).read_exact(&mut heard).expect("received");
                    assert_eq!(heard, said);
                }
            }
        }
    }

    #[test]
    fn three_processes_find_each_other_among_strangers() {
        let hosts = free_hosts(3);
        let strangers: Vec<_> = [
            Vec::new(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            (1u64 << 62).to_be_bytes().to_vec(),
            [&3u64.to_be_bytes()[..], b"abc"].concat(),
            vec![0xff; 100_000],
        ]
        .into_iter()
        .map(|words| {
            let address = hosts[0].to_string();
            std::thread::spawn(move || {
                let deadline = Instant::now() + Duration::from_secs(5);
                let mut stream = loop {
                    match TcpStream::connect(&address) {
                        Ok(stream) => break stream,
                        Err(error) => assert!(Instant::now() < deadline, "{error}"),
                    }
                };
                // It may be sent away before it has said everything.
                let _ = stream.write_all(&words);
                stream
            })
        })
        .collect();
        let first = std::thread::spawn({
            let (settings, agreement) = (settings(&hosts, 0, SECRET), agreement("100"));
            move || connect(&settings, &agreement, Duration::from_secs(20))
        });
        let strangers: Vec<TcpStream> = strangers.into_iter().map(|it| it.join().expect("a stranger")).collect();
        let begun = Instant::now();
        let rest: Vec<_> = [1, 2]
            .map(|process| {
                let (settings, agreement) = (settings(&hosts, process, SECRET), agreement("100"));
                std::thread::spawn(move || connect(&settings, &agreement, Duration::from_secs(20)))
            })
            .into_iter()
            .collect();
        let mut all = vec![first.join().expect("a start").expect("a cluster")];
        all.extend(rest.into_iter().map(|it| it.join().expect("a start").expect("a cluster")));
        assert!(begun.elapsed() < Duration::from_secs(5), "strangers held it up for {:?}", begun.elapsed());
        assert_connected(&mut all);
        for host in &hosts {
            assert!(TcpStream::connect(host.to_string()).is_err(), "somebody still listens on {host}");
        }
        drop(strangers);
    }

    #[test]
    fn who_does_not_know_the_secret_does_not_come_in() {
        let hosts = free_hosts(2);
        let ends = start(&hosts, &[(SECRET, "100"), ("another secret, as long as that", "100")], 2);
        for (end, absent) in ends.iter().zip(["process 1", "process 0"]) {
            let Err(ClusterError::Unavailable(text)) = end else { panic!("not refused") };
            assert!(text.contains(absent), "{text}");
        }
        assert!(ends[1].as_ref().err().expect("an error").to_string().contains("same secret?"));
    }

    #[test]
    fn other_settings_are_refused_on_both_sides_before_the_time_is_up() {
        let hosts = free_hosts(2);
        let begun = Instant::now();
        for end in start(&hosts, &[(SECRET, "100"), (SECRET, "50")], 30) {
            let Err(ClusterError::Settings(text)) = end else { panic!("not refused") };
            assert!(text.contains("--tick-ms: process 0 has 100, process 1 50"), "{text}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn one_that_never_comes_is_named() {
        let hosts = free_hosts(3);
        let ends = start(&hosts, &[(SECRET, "100"), (SECRET, "100")], 1);
        for end in ends {
            let Err(ClusterError::Unavailable(text)) = end else { panic!("nobody was missing") };
            assert!(text.contains("process 2") && !text.contains("process 1 ("), "{text}");
        }
    }

    #[test]
    fn an_address_in_use_is_refused() {
        let hosts = free_hosts(2);
        let _other = TcpListener::bind(hosts[0].to_string()).expect("a free port");
        let end = start(&hosts, &[(SECRET, "100")], 1).remove(0);
        assert!(matches!(end, Err(ClusterError::Unavailable(text)) if text.contains("as process 0")));
    }
}
