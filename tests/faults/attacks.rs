//! S01 to S08: what is known to kill, hang or bloat a plain tiny_http server, while the pipeline behind the page is busy.
//! (The one without descriptors left is in `tests/http_guard`, where they can be taken away.)

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::held::held;
use crate::row::{Row, times};
use crate::support::world::{Hostile, Topics};
use crate::support::{SOON, wait_for};
use crate::world::{Log, Store};

/// What stays open while the pipeline is looked at.
type Open = Vec<TcpStream>;

/// What it is, and what it does to the page at an address.
type Attack = (&'static str, fn(SocketAddr) -> Open);

const ATTACKS: [Attack; 7] = [
    ("versions that nobody speaks", |page| {
        (0..50).for_each(|_| drop(send(page, b"GET / HTTP/2.0\r\n\r\n")));
        Open::new()
    }),
    ("bodies that never come", |page| {
        let lengths = ["9223372036854775807", "18446744073709551615", "100000000000", "2000"];
        let request = |length: &&str| format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        lengths.iter().filter_map(|length| send(page, request(length).as_bytes())).collect()
    }),
    ("half requests", |page| (0..400).filter_map(|_| send(page, b"GET / HTTP/1.1\r\nHost: loc")).collect()),
    ("a head without end", |page| {
        let Some(mut client) = send(page, b"GET / HTTP/1.1\r\nx: ") else { return Open::new() };
        let much = vec![b'a'; 1 << 20];
        let _ = (0..64).try_for_each(|_| client.write_all(&much));
        vec![client]
    }),
    ("connections that are torn down", |page| {
        for client in (0..300).filter_map(|_| send(page, b"GET / HTTP/1.1\r\n")) {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
        }
        Open::new()
    }),
    ("pages that nobody reads", |page| (0..40).filter_map(|_| send(page, &request(page, "/"))).collect()),
    ("requests without end, and nobody reads", |page| {
        let Some(mut client) = send(page, b"") else { return Open::new() };
        let many = request(page, "/api/v1/metrics").repeat(1_000);
        let _ = (0..200).try_for_each(|_| client.write_all(&many));
        vec![client]
    }),
];

/// Connects and sends what is taken within a moment; none where even that is refused.
fn send(page: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut client = TcpStream::connect_timeout(&page, Duration::from_millis(500)).ok()?;
    client.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
    client.write_all(bytes).ok()?;
    Some(client)
}

fn request(page: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {page}\r\n\r\n").into_bytes()
}

/// The status that somebody gets who means well.
fn status(page: SocketAddr) -> String {
    let mut client = TcpStream::connect(page).expect("it takes connections");
    client.set_read_timeout(Some(SOON)).expect("a limit");
    client.write_all(&request(page, "/")).expect("it takes requests");
    let mut head = [0; 12];
    client.read_exact(&mut head).expect("an answer");
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[test]
fn s01_attacks_on_the_page_of_a_busy_pipeline() {
    let mut row = Row::begin("S01-S08", "attacks on the page while the pipeline is under load");
    let topics = Topics::named("attacked");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    let mut run = store.run_with_pages(&log, "--listen 127.0.0.1:0 --tick-ms 20").start();
    let page = run.wait_for_line("dashboard: http://");
    let page: SocketAddr = page.trim_end_matches('/').parse().expect("an address");
    store.wait_for_all(&mut run, sent);
    assert_eq!(status(page), "200");
    for _ in 0..times(1, 20) {
        for (what, attack) in ATTACKS {
            let before = held(run.id());
            let mut sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count: 200 }, 80);
            let open = attack(page);
            let (asked, counted) = (Instant::now(), store.counted());
            let status = status(page);
            let took = asked.elapsed();
            let is_answered = ["200", "503"].contains(&status.as_str()) && took < Duration::from_secs(1);
            assert!(is_answered, "{what}: {status}, {took:?}");
            wait_for(SOON, "the pipeline to go on", || {
                assert!(run.is_running(), "{what}: {}", run.stderr());
                (store.counted() > counted || sending.is_over()).then_some(())
            });
            let during = held(run.id());
            assert!(during.threads <= before.threads + 20, "{what}: {before:?}, then {during:?}");
            assert!(during.kilobytes <= before.kilobytes + (32 << 10), "{what}: {before:?}, then {during:?}");
            drop(open);
            sent += sending.finish();
            store.wait_for_all(&mut run, sent);
            row.count("attacks", 1);
        }
    }
    assert_eq!(run.end("TERM", SOON).code, Some(0));
    store.assert_exact(&log, "--complete");
}
