//! What is known to kill, hang or bloat a plain tiny_http server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;

use crate::support::{Answer, Site, connect, under_attack};

#[test]
fn versions_it_does_not_speak() {
    let site = Site::start();
    under_attack(&site, || {
        for _ in 0..50 {
            let answer = Answer::to(site.addr, "GET / HTTP/2.0\r\n\r\n").unwrap();
            assert_eq!(answer.status, 400);
        }
    });
    site.wait_for(Duration::from_secs(2), "all closed", |counts| counts.connections_open == 0);
}

#[test]
fn lengths_of_bodies_that_never_come() {
    let site = Site::start();
    under_attack(&site, || {
        for length in ["9223372036854775807", "18446744073709551615", "100000000000", "2000", "1", "-1", "x", ""] {
            let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(Answer::to(site.addr, request).unwrap().status, 400, "{length}");
        }
        let chunked = "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n";
        assert_eq!(Answer::to(site.addr, chunked).unwrap().status, 400);
    });
}

#[test]
fn four_hundred_half_requests() {
    let site = Site::start();
    under_attack(&site, || {
        let half = |_| {
            let mut client = connect(site.addr).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
            client
        };
        let clients: Vec<TcpStream> = (0..400).map(half).collect();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(site.counts().connections_open <= 300, "{:?}", site.counts());
        let deadline = Duration::from_secs(4);
        site.wait_for(deadline, "half requests end", |counts| counts.connections_open <= 2);
        drop(clients);
    });
}

#[test]
fn a_head_that_drips_is_cut_off_in_total_time() {
    let site = Site::start();
    under_attack(&site, || {
        let start = Instant::now();
        let mut client = connect(site.addr).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut answer = Vec::new();
        for byte in b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat_n(&b'a', 200)) {
            let mut buffer = [0; 2048];
            if client.write_all(&[*byte]).is_err() {
                break;
            }
            match client.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(_) => {}
            }
        }
        let took = start.elapsed();
        assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(5), "{took:?}");
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    });
}

#[test]
fn one_header_line_without_end() {
    let site = Site::start();
    under_attack(&site, || {
        let mut client = connect(site.addr).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
        let chunk = vec![b'a'; 64 * 1024];
        let sent = (0..1024).take_while(|_| client.write_all(&chunk).is_ok()).count();
        assert!(sent < 1024, "64 MiB of one header line were taken");
        let mut small = connect(site.addr).unwrap();
        small.write_all(format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(8192)).as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut small).unwrap().status, 431);
    });
}

#[test]
fn three_hundred_resets() {
    let site = Site::start();
    under_attack(&site, || {
        for round in 0..300 {
            let mut client = connect(site.addr).unwrap();
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            let target = if round % 2 == 0 { "/big" } else { "/events" };
            client.write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        }
    });
    site.wait_for(Duration::from_secs(3), "all closed", |counts| counts.connections_open == 0);
    assert_eq!(site.counts().streams_open, 0);
}

#[test]
fn clients_that_read_nothing() {
    let site = Site::start();
    under_attack(&site, || {
        let greedy = |_| {
            let mut client = connect(site.addr).unwrap();
            SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
            client.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            client
        };
        let clients: Vec<TcpStream> = (0..40)
            .map(|index| {
                // Slow enough that each has its page before the queue is full.
                std::thread::sleep(Duration::from_millis(10));
                greedy(index)
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        site.wait_for(Duration::from_secs(8), "slow readers end", |counts| counts.connections_open <= 2);
        drop(clients);
    });
}

#[test]
fn pipelined_requests_without_reading() {
    let site = Site::start();
    under_attack(&site, || {
        let mut client = connect(site.addr).unwrap();
        client.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
        let hundred = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        let sent = (0..20_000).take_while(|_| client.write_all(hundred.as_bytes()).is_ok()).count();
        assert!(sent < 20_000, "two million requests were taken");
    });
    let answered: u64 = site.counts().answered.iter().sum();
    let mut client = connect(site.addr).unwrap();
    client.write_all("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3).as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut client).unwrap().status, 200);
    assert_eq!(site.counts().answered.iter().sum::<u64>(), answered + 1, "one request, one answer, then the end");
}

fn ask_for_slow_pages(site: &Site, count: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut client = connect(site.addr).unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        client
    };
    (0..count).map(ask).collect()
}

#[test]
fn slow_pages_in_the_way() {
    let site = Site::start();
    let mut clients = ask_for_slow_pages(&site, 60);
    let start = Instant::now();
    let answer = site.get("/");
    assert_eq!((answer.status, answer.field("Retry-After")), (503, Some("1")));
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    // Four at a time take 1.5 s, and nobody waits for a turn longer than 2 s.
    let statuses: Vec<u16> = clients.iter_mut().map(|client| Answer::read(client).unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 8);
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 52);
    assert_eq!(site.get("/").status, 200);
}

#[test]
fn more_requests_than_the_queue_holds() {
    let site = Site::start();
    let clients = ask_for_slow_pages(&site, 200);
    let start = Instant::now();
    assert_eq!(site.get("/").status, 503);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    site.wait_for(Duration::from_secs(1), "the others are told at once", |counts| counts.answered[3] == 69);
    // Those who go away make room.
    for client in &clients {
        SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(clients);
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(site.get("/").status, 200);
}

#[test]
fn any_bytes_are_answered_or_closed_at_once() {
    let site = Site::start();
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"HEAD / HTTP/1.0\r\n".to_vec()),
        Just(b"Host: localhost\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(vec![b'a'; 3000]),
        prop::collection::vec(any::<u8>(), 0..60),
        "[ -~]{0,60}".prop_map(String::into_bytes),
    ];
    let input = prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat());
    under_attack(&site, || {
        let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&input, |input| {
            let mut client = connect(site.addr).unwrap();
            let start = Instant::now();
            // The server may have closed before everything was sent.
            let _ = client.write_all(&input);
            let _ = client.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            prop_assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
            prop_assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "));
            Ok(())
        });
        outcome.unwrap();
    });
    assert_eq!(site.get("/").status, 200);
}
