//! The stream of epochs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Answer, GoodClient, Site, connect, threads_and_memory};

fn open(site: &Site) -> TcpStream {
    let mut client = connect(site.addr).unwrap();
    client.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    client
}

/// The epoch of the next event.
fn next_epoch(reader: &mut BufReader<TcpStream>) -> u64 {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(id) = line.strip_prefix("id: ") {
            let epoch = id.trim_end().parse().unwrap();
            let mut rest = String::new();
            for _ in 0..3 {
                reader.read_line(&mut rest).unwrap();
            }
            assert_eq!(rest, format!("event: epoch\ndata: {{\"epoch\":{epoch}}}\n\n"));
            return epoch;
        }
    }
}

fn commit(site: &Site, epoch: u64) {
    site.status.update(|status| status.epoch = epoch);
}

#[test]
fn the_first_event_comes_at_once_and_the_next_with_its_epoch() {
    let site = Site::start();
    commit(&site, 41);
    let start = Instant::now();
    let mut reader = BufReader::new(open(&site));
    assert_eq!(next_epoch(&mut reader), 41);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    for epoch in 42..46 {
        std::thread::sleep(Duration::from_millis(150));
        let start = Instant::now();
        commit(&site, epoch);
        assert_eq!(next_epoch(&mut reader), epoch);
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    }
}

#[test]
fn its_head_says_what_it_is() {
    let site = Site::start();
    let mut client = open(&site);
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    for line in [
        "Content-Type: text/event-stream",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "X-Tillflow-Epoch: 7",
    ] {
        assert_eq!(head.lines().filter(|one| *one == line).count(), 1, "{line} in {head}");
    }
    assert!(!head.contains("X-Tillflow-Stream") && !head.contains("Content-Length"), "{head}");
    assert_eq!(body, "retry: 2000\n\nid: 0\nevent: epoch\ndata: {\"epoch\":0}\n\n");
}

#[test]
fn many_epochs_become_at_most_fifty_events_a_second() {
    let site = Site::start();
    let mut reader = BufReader::new(open(&site));
    assert_eq!(next_epoch(&mut reader), 0);
    let start = Instant::now();
    for epoch in 1..=1000 {
        commit(&site, epoch);
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut events = 0;
    let mut last = 0;
    while last < 1000 {
        let epoch = next_epoch(&mut reader);
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        events += 1;
    }
    let most = start.elapsed().as_millis() / 20 + 2;
    assert!((2..=most).contains(&events), "{events} events, {most} allowed");
}

#[test]
fn the_sixty_fifth_is_told_to_poll_and_places_come_free() {
    let site = Site::start();
    let good = GoodClient::start(site.addr);
    std::thread::sleep(Duration::from_millis(200));
    let (threads_before, _) = threads_and_memory();
    let mut streams: Vec<_> = (0..64).map(|_| BufReader::new(open(&site))).collect();
    for stream in &mut streams {
        assert_eq!(next_epoch(stream), 0);
    }
    site.wait_for(Duration::from_secs(1), "all open", |counts| counts.streams_open == 64);
    let refused = Answer::read(&mut open(&site)).unwrap();
    assert_eq!((refused.status, refused.field("Retry-After")), (503, Some("1")));
    commit(&site, 5);
    for stream in &mut streams {
        assert_eq!(next_epoch(stream), 5);
    }
    assert!(threads_and_memory().0 <= threads_before + 2, "a stream has no thread of its own");

    // Half of them say good-bye, half vanish.
    for stream in streams.drain(..32) {
        socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }
    site.wait_for(Duration::from_secs(1), "half gone", |counts| counts.streams_open == 32);
    drop(streams);
    site.wait_for(Duration::from_secs(1), "all gone", |counts| counts.streams_open == 0);
    assert_eq!(next_epoch(&mut BufReader::new(open(&site))), 5);
    good.was_served();
}

#[test]
fn a_stream_that_is_talked_into_is_closed() {
    let site = Site::start();
    let mut client = open(&site);
    site.wait_for(Duration::from_secs(1), "open", |counts| counts.streams_open == 1);
    let _ = client.write_all(&[b'x'; 64 * 1024]);
    site.wait_for(Duration::from_secs(2), "closed", |counts| counts.streams_open == 0);
    assert_eq!(site.get("/").status, 200);
}

#[test]
fn a_stop_ends_the_streams() {
    let mut site = Site::start();
    let mut reader = BufReader::new(open(&site));
    next_epoch(&mut reader);
    let start = Instant::now();
    site.stop();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest == b"\n");
}
