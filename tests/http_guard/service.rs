//! What a well-behaved client gets.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tillflow::dashboard::server::{Server, ServerError, ServerOptions};

use crate::support::{Answer, BIG_LENGTH, PAGE_LENGTH, Site, connect, page, threads_and_memory};

#[test]
fn every_answer_is_guarded_by_the_same_fields() {
    let site = Site::start();
    let foreign = Answer::to(site.addr, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    let garbage = Answer::to(site.addr, "\u{16}\u{3}\u{1}").unwrap();
    let post = Answer::to(site.addr, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab").unwrap();
    assert_eq!(post.field("Allow"), Some("GET, HEAD"));
    let not_modified = site.get_with("/", "If-None-Match: \"7\"\r\n");
    let answers = [
        (site.get("/"), 200),
        (site.get("/missing"), 404),
        (site.get("/panic"), 500),
        (foreign, 421),
        (garbage, 400),
        (post, 405),
        (not_modified, 304),
    ];
    for (answer, status) in &answers {
        assert_eq!(answer.status, *status);
        assert_eq!(answer.field("Server"), Some("tillflow"));
        assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.field("Referrer-Policy"), Some("no-referrer"));
        assert_eq!(answer.field("Cross-Origin-Resource-Policy"), Some("same-origin"));
        assert!(answer.field("Content-Security-Policy").unwrap().starts_with("default-src 'none'; script-src 'self';"));
        assert_eq!(answer.field("Connection"), Some("close"));
        assert!(answer.field("Date").unwrap().ends_with(" GMT"));
    }
    let counts = site.counts();
    assert_eq!(counts.answered, [1, 1, 4, 1]);
}

#[test]
fn a_page_carries_its_epoch_and_its_validator() {
    let site = Site::start();
    let answer = site.get("/");
    assert_eq!(answer.body.len(), PAGE_LENGTH);
    assert_eq!(answer.field("Content-Length"), Some("20480"));
    assert_eq!(answer.field("ETag"), Some("\"7\""));
    assert_eq!(answer.field("X-Tillflow-Epoch"), Some("7"));
    assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.get("/asset").field("Cache-Control"), Some("public, max-age=31536000, immutable"));
    let export = site.get("/export.csv");
    assert_eq!(export.field("Cache-Control"), Some("no-store"));
    assert_eq!(export.field("Content-Disposition"), Some("attachment; filename=\"sales__2024___X__y.csv\""));
    assert_eq!(site.get("/big").body.len(), BIG_LENGTH);

    for sent in ["\"7\"", "W/\"7\"", "\"1\", \"7\"", "*"] {
        let answer = site.get_with("/", &format!("If-None-Match: {sent}\r\n"));
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{sent}");
        assert_eq!(answer.field("ETag"), Some("\"7\""));
        assert_eq!(answer.field("Content-Length"), None);
    }
    assert_eq!(site.get_with("/", "If-None-Match: \"8\"\r\n").status, 200);
}

#[test]
fn head_has_the_head_alone() {
    let site = Site::start();
    let head = |path: &str| Answer::to(site.addr, format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap();
    let answer = head("/");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.field("Content-Length"), Some("20480"));
    let stream = head("/events");
    assert_eq!((stream.status, stream.body.len()), (200, 0));
    assert_eq!(stream.field("Content-Type"), Some("text/event-stream"));
    let missing = Answer::to(site.addr, "HEAD / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!((missing.status, missing.body.len()), (400, 0));
    assert_eq!(site.get("/").status, 200, "the inner connection is still in step");
}

#[test]
fn the_pages_see_what_was_asked() {
    let site = Site::start();
    let answer = site.get("/caf%C3%A9/x?key=a%26b&key=c+d");
    assert_eq!(answer.status, 404);
    let expected = r#"/café/x [("key", "a&b"), ("key", "c d")]"#;
    assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
}

#[test]
fn only_known_names_are_answered() {
    let site = Site::start_with(|options| options.allowed_hosts = vec!["shop.example".to_owned()]);
    let port = site.addr.port();
    let status = |request: String| Answer::to(site.addr, request).unwrap().status;
    let with_host = |host: &str| status(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), "Shop.Example".to_owned()]
    {
        assert_eq!(with_host(&host), 200, "{host}");
    }
    for host in ["evil.example", "10.0.0.7", "localhost.evil.example"] {
        assert_eq!(with_host(host), 421, "{host}");
    }
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n".to_owned()), 400);
    assert_eq!(status("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()), 400);
    assert_eq!(status("GET / HTTP/1.0\r\n\r\n".to_owned()), 200);
}

#[test]
fn a_panicking_page_is_a_500_and_nothing_else() {
    let site = Site::start();
    for _ in 0..20 {
        assert_eq!(site.get("/panic").status, 500);
    }
    assert_eq!(site.get("/").status, 200);
    assert_eq!(site.counts().restarts, 0);
}

#[test]
fn a_page_that_is_too_large_is_an_error() {
    let site = Site::start();
    assert_eq!(site.get("/huge").status, 500);
    assert_eq!(site.get("/").status, 200);
}

#[test]
fn a_page_that_takes_too_long_is_given_up() {
    let site = Site::start_with(|options| options.page_limit = Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(site.get("/slow").status, 503);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(site.get("/").status, 200);
}

#[test]
fn an_ordinary_http_client_is_content() {
    let site = Site::start();
    let url = format!("http://{}/", site.addr);
    for _ in 0..20 {
        let mut response = ureq::get(&url).call().unwrap();
        assert_eq!(response.body_mut().read_to_vec().unwrap().len(), PAGE_LENGTH);
    }
}

#[test]
fn a_client_that_closes_its_half_is_still_answered() {
    let site = Site::start();
    let mut client = connect(site.addr).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(Answer::read(&mut client).unwrap().status, 200);
}

#[test]
fn half_of_the_pages_come_within_two_milliseconds() {
    let site = Site::start();
    // Other programs may hold the processors for a while; one quiet round is enough.
    let medians: Vec<Duration> = (0..10)
        .map(|_| {
            let mut times: Vec<Duration> = (0..100)
                .map(|_| {
                    let start = Instant::now();
                    assert_eq!(site.get("/").body.len(), PAGE_LENGTH);
                    start.elapsed()
                })
                .collect();
            times.sort();
            times[times.len() / 2]
        })
        .collect();
    let best = medians.iter().min().unwrap();
    assert!(*best < Duration::from_millis(2), "{medians:?}");
    println!("median of a 20 KiB page: {best:?}");
}

#[test]
fn many_requests_leave_nothing_behind() {
    let site = Site::start();
    let ask = |count: usize| (0..count).for_each(|_| assert_eq!(site.get("/").status, 200));
    ask(500);
    let (threads_before, memory_before) = threads_and_memory();
    ask(5000);
    let (threads, memory) = threads_and_memory();
    assert!(threads <= threads_before + 2, "{threads_before} threads became {threads}");
    assert!(memory < memory_before + 4096, "{memory_before} KiB became {memory} KiB");
}

#[test]
fn stops_within_two_seconds_whatever_clients_do() {
    let mut site = Site::start();
    let (threads_before, _) = threads_and_memory();
    let clients: Vec<_> = ["GET /events", "GET /slow", "GET /big", "G", ""]
        .iter()
        .cycle()
        .take(50)
        .map(|start| {
            let mut client = connect(site.addr).unwrap();
            let rest = if start.len() > 1 { " HTTP/1.1\r\nHost: localhost\r\n\r\n" } else { "" };
            client.write_all(format!("{start}{rest}").as_bytes()).unwrap();
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    site.stop();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(connect(site.addr).is_err(), "nobody listens any more");
    drop(clients);

    // What tiny_http keeps ready ends after five idle seconds.
    let deadline = Instant::now() + Duration::from_secs(10);
    while threads_and_memory().0 + 14 > threads_before {
        assert!(Instant::now() < deadline, "{threads_before} threads became {}", threads_and_memory().0);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_answer_on_its_way_arrives_at_a_stop() {
    let mut site = Site::start();
    let mut client = connect(site.addr).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(900));
    site.stop();
    assert_eq!(Answer::read(&mut client).unwrap().status, 200);
}

#[test]
fn an_address_in_use_is_named_with_what_to_do() {
    let site = Site::start();
    let failed = Server::start(ServerOptions::new(site.addr), Arc::new(page), Arc::default());
    let Err(error) = failed else { panic!("two servers on one address") };
    assert!(matches!(error, ServerError::AddressInUse(addr) if addr == site.addr));
    let text = error.to_string();
    assert!(text.contains(&site.addr.to_string()) && text.contains("--listen") && !text.contains('\n'), "{text}");
    let foreign = Server::start(ServerOptions::new("192.0.2.1:0".parse().unwrap()), Arc::new(page), Arc::default());
    assert!(matches!(foreign, Err(ServerError::Bind { .. })));
    assert_eq!(site.get("/").status, 200);
}
