//! Running out of descriptors, in a process of its own: this test binary started again with a low limit.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::dashboard::server::{Server, ServerOptions};

use crate::support::{Alone, Answer, alone, connect, page, threads_and_memory};

const ROLE: &str = "TILLFLOW_TEST_DESCRIPTORS";
const LIMIT: u64 = 64;

struct Site {
    folder: tempfile::TempDir,
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    addr: SocketAddr,
    _alone: Alone,
}

impl Site {
    fn start() -> Site {
        let alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "descriptors::serve_with_few_descriptors", "--nocapture", "--test-threads=1"])
            .env(ROLE, "serve")
            .env("TMPDIR", folder.path())
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let addr = wait_for(&mut lines, "listening ").parse().unwrap();
        Site { folder, child, lines, addr, _alone: alone }
    }

    /// Tells the child what to do and waits until it is done.
    fn tell(&mut self, what: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
        wait_for(&mut self.lines, "done ")
    }

    fn status(&self) -> std::io::Result<u16> {
        self.status_of("/")
    }

    fn status_of(&self, path: &str) -> std::io::Result<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Answer::to(self.addr, request).map(|answer| answer.status)
    }

    /// Connects to the inner server, as nobody but its owner can.
    fn disturb_the_inner_server(&self) {
        let folder = std::fs::read_dir(self.folder.path()).unwrap().next().unwrap().unwrap().path();
        for socket in std::fs::read_dir(folder).unwrap() {
            drop(UnixStream::connect(socket.unwrap().path()));
        }
    }

    fn is_served_again(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.status().is_ok_and(|status| status == 200) {
            assert!(Instant::now() < deadline, "not served any more");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(lines: &mut impl std::io::BufRead, start: &str) -> String {
    for _ in 0..50 {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended");
        if let Some((_, rest)) = line.split_once(start) {
            return rest.trim().to_owned();
        }
    }
    panic!("the child never said {start}");
}

/// The child's part; as a test by itself it has nothing to do.
#[test]
fn serve_with_few_descriptors() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    rlimit::setrlimit(rlimit::Resource::NOFILE, LIMIT, LIMIT).unwrap();
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
    options.page_limit = Duration::from_millis(300);
    let counters = Arc::clone(&options.counters);
    let server = Server::start(options, Arc::new(page), Arc::default()).unwrap();
    println!("\nlistening {}", server.local_addr());
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "exhaust" => {
                while let Ok(file) = File::open("/dev/null") {
                    held.push(file);
                }
                println!("done {}", held.len());
            }
            "release" => {
                held.clear();
                println!("done 0");
            }
            "threads" => println!("done {}", threads_and_memory().0),
            _ => println!("done {}", counters.read().restarts),
        }
    }
}

#[test]
fn more_connections_than_descriptors() {
    let mut site = Site::start();
    for _ in 0..3 {
        let clients: Vec<TcpStream> = (0..80).filter_map(|_| connect(site.addr).ok()).collect();
        assert!(clients.len() > LIMIT as usize);
        assert_eq!(site.status().unwrap(), 200, "silent connections make room");
        drop(clients);
        site.is_served_again(Duration::from_secs(1));
    }
    let threads: u64 = site.tell("threads").parse().unwrap();
    println!("{threads} threads, the two of the test included");
    assert!(threads <= 21, "{threads} threads, the two of the test included");
    assert!(site.tell("exhaust").parse::<usize>().unwrap() > 8, "the guard leaves descriptors to others");
}

#[test]
fn no_descriptor_left_for_a_while() {
    let mut site = Site::start();
    assert_eq!(site.status().unwrap(), 200);
    for _ in 0..3 {
        site.tell("exhaust");
        let mut early: Vec<TcpStream> = (0..5)
            .map(|_| {
                let mut client = connect(site.addr).unwrap();
                client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                client
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        site.tell("release");
        // They are accepted as soon as that is possible. On a busy machine a request may come so long after its
        // connection that this one was silent, and made room for another.
        let answered: Vec<u16> =
            early.iter_mut().filter_map(|client| Answer::read(client).ok()).map(|answer| answer.status).collect();
        assert!(answered.len() >= 3 && answered.iter().all(|status| *status == 200), "{answered:?}");
        site.is_served_again(Duration::from_secs(1));
    }
    assert_eq!(site.tell("restarts"), "0", "the connections to the inner server were kept");
}

#[test]
fn an_inner_server_that_dies_of_it_is_replaced() {
    let mut site = Site::start();
    for round in 1..=3 {
        let restarts = |site: &mut Site| site.tell("restarts").parse::<u64>().unwrap();
        let before = restarts(&mut site);
        // On a busy machine it may not have looked at its socket before there are descriptors again.
        for attempt in 1..=10 {
            assert_eq!(site.status().unwrap(), 200);
            site.tell("exhaust");
            site.disturb_the_inner_server();
            std::thread::sleep(Duration::from_millis(100) * attempt);
            site.tell("release");
            assert_eq!(site.status().unwrap(), 200, "the connections that are kept still serve");
            // A page given up costs its connection; new ones need a server that listens.
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| assert_eq!(site.status_of("/slow").unwrap(), 503));
                }
            });
            site.is_served_again(Duration::from_secs(3));
            if restarts(&mut site) > before {
                break;
            }
        }
        // A successor that was started while there were none may have died of it as well.
        assert!(restarts(&mut site) > before, "round {round}: it never died");
    }
}
