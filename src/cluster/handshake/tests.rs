use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::super::Secret;
use super::super::hosts::default_hosts;
use super::*;

fn settings(process: usize) -> ClusterSettings {
    let secret = Some(Secret::new("sixteen bytes and more").expect("a secret"));
    ClusterSettings { process, hosts: default_hosts(3).expect("hosts"), secret }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let connected = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (connected, listener.accept().expect("a connection").0)
}

type Met = (Result<(), Failure>, Result<(usize, Purpose), Failure>);

/// Both sides of one handshake: `from` goes to `to`, where `at` listens.
fn meet(from: &ClusterSettings, to: usize, at: &ClusterSettings) -> Met {
    let (mut connected, mut accepted) = pair();
    let at = at.clone();
    let accepting = thread::spawn(move || accept(&mut accepted, &at, &Vec::new()));
    let connected = connect(&mut connected, from, &Vec::new(), to, Purpose::Control);
    (connected, accepting.join().expect("a handshake"))
}

#[test]
fn both_know_each_other_afterwards() {
    let (connected, accepted) = meet(&settings(2), 1, &settings(1));
    connected.expect("let in");
    assert_eq!(accepted.expect("a guest"), (2, Purpose::Control));
    // On one machine a secret is not needed.
    let without = |process| ClusterSettings { secret: None, ..settings(process) };
    assert!(meet(&without(1), 0, &without(0)).1.is_ok());
}

#[test]
fn whoever_is_not_waited_for_is_told_so_and_ends_nothing() {
    let elsewhere = ClusterSettings { hosts: default_hosts(2).expect("hosts"), ..settings(1) };
    let cases = [
        (settings(77), 0, settings(0), "process 77 connected to process 0 of 3"),
        (settings(0), 1, settings(1), "process 0 connected to process 1"),
        (settings(1), 1, settings(1), "given to two processes"),
        (settings(2), 1, settings(0), "process 1 was looked for where process 0 listens"),
        (elsewhere, 0, settings(0), "other --hosts"),
    ];
    for (from, to, at, words) in cases {
        let (connected, accepted) = meet(&from, to, &at);
        assert!(matches!(&connected, Err(Failure::Different(why)) if why.contains(words)), "{connected:?}");
        assert!(matches!(&accepted, Err(Failure::Again(why)) if why.contains(words)), "{accepted:?}");
    }
}

#[test]
fn a_wrong_secret_proves_nothing() {
    for secret in [None, Some(Secret::new("sixteen bytes and less").expect("a secret"))] {
        let stranger = ClusterSettings { secret, ..settings(1) };
        for (from, at) in
            [(&stranger, &settings(0)), (&settings(1), &ClusterSettings { process: 0, ..stranger.clone() })]
        {
            let (connected, accepted) = meet(from, 0, at);
            assert!(matches!(connected, Err(Failure::Again(_))), "{connected:?}");
            assert!(matches!(&accepted, Err(Failure::Again(why)) if why.contains("does not know the secret")));
        }
    }
}

/// Carries bytes from one stream to the other until the end, and returns them.
fn carry(mut from: TcpStream, mut to: TcpStream) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let (mut carried, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            carried.extend(&bytes[..read]);
            let _ = to.write_all(&bytes[..read]);
        }
        carried
    })
}

#[test]
fn a_recorded_handshake_is_worth_nothing() {
    let (mut connected, near) = pair();
    let (far, mut accepted) = pair();
    let upwards = carry(near.try_clone().expect("a clone"), far.try_clone().expect("a clone"));
    let downwards = carry(far, near);
    let accepting = thread::spawn(move || accept(&mut accepted, &settings(0), &Vec::new()));
    connect(&mut connected, &settings(1), &Vec::new(), 0, Purpose::Data).expect("let in");
    accepting.join().expect("a handshake").expect("a guest");
    drop(connected);
    let said = upwards.join().expect("what the connector said");
    let heard = downwards.join().expect("what the acceptor said");

    // To another acceptor, and to another connector.
    let (mut stranger, mut accepted) = pair();
    stranger.write_all(&said).expect("sent");
    let refused = accept(&mut accepted, &settings(0), &Vec::new());
    assert!(matches!(&refused, Err(Failure::Again(why)) if why.contains("secret")), "{refused:?}");
    let (mut connected, mut stranger) = pair();
    stranger.write_all(&heard).expect("sent");
    let refused = connect(&mut connected, &settings(1), &Vec::new(), 0, Purpose::Data);
    assert!(matches!(&refused, Err(Failure::Again(why)) if why.contains("secret")), "{refused:?}");
}

#[test]
fn the_acceptors_own_words_do_not_prove_anything_to_it() {
    let (mut mirror, mut accepted) = pair();
    let accepting = thread::spawn(move || accept(&mut accepted, &settings(0), &Vec::new()));
    let mut greeting = [0; 42];
    mirror.read_exact(&mut greeting).expect("a greeting");
    // What a connector would be told by another acceptor.
    let (mut connected, mut listening) = pair();
    let connecting = thread::spawn(move || connect(&mut connected, &settings(1), &Vec::new(), 2, Purpose::Data));
    listening.write_all(&greeting).expect("sent");
    let mut words = vec![0; 8];
    listening.read_exact(&mut words).expect("a length");
    let length = u64::from_be_bytes(words[..8].try_into().expect("eight bytes"));
    words.resize(8 + usize::try_from(length).expect("a length"), 0);
    listening.read_exact(&mut words[8..]).expect("an introduction");
    // Passed on, it is valid, but it is not meant for this process.
    mirror.write_all(&words).expect("sent");
    let refused = accepting.join().expect("a handshake");
    assert!(matches!(&refused, Err(Failure::Again(why)) if why.contains("was looked for")), "{refused:?}");
    drop(listening);
    assert!(connecting.join().expect("a handshake").is_err());
}

#[test]
fn garbage_and_absurd_lengths_are_refused_at_once() {
    let begun = Instant::now();
    let frames = [
        (1u64 << 62).to_be_bytes().to_vec(),
        u64::MAX.to_be_bytes().to_vec(),
        (STRANGERS_MOST as u64 + 1).to_be_bytes().to_vec(),
        0u64.to_be_bytes().to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [&40u64.to_be_bytes()[..], &[0xff; 40]].concat(),
    ];
    for frame in &frames {
        let (mut stranger, mut accepted) = pair();
        stranger.write_all(frame).expect("sent");
        assert!(matches!(accept(&mut accepted, &settings(0), &Vec::new()), Err(Failure::Again(_))), "{frame:?}");
        let (mut connected, mut stranger) = pair();
        stranger.write_all(&[&[0; 42], &frame[..]].concat()).expect("sent");
        let refused = connect(&mut connected, &settings(1), &Vec::new(), 0, Purpose::Data);
        assert!(matches!(&refused, Err(Failure::Again(why)) if why.contains("no tillflow")), "{refused:?}");
    }
    assert!(begun.elapsed() < HANDSHAKE_WITHIN / 2, "{:?}", begun.elapsed());
}

#[test]
fn silence_and_dripping_end_in_time() {
    let (mut stranger, mut accepted) = pair();
    let begun = Instant::now();
    let dripping = thread::spawn(move || {
        stranger.write_all(&(STRANGERS_MOST as u64).to_be_bytes()).expect("sent");
        // Until the other side has had enough.
        while stranger.write_all(&[0]).is_ok() && begun.elapsed() < 3 * HANDSHAKE_WITHIN {
            thread::sleep(HANDSHAKE_WITHIN / 40);
        }
    });
    assert!(matches!(accept(&mut accepted, &settings(0), &Vec::new()), Err(Failure::Again(_))));
    let took = begun.elapsed();
    assert!(took < HANDSHAKE_WITHIN + HANDSHAKE_WITHIN / 5, "{took:?}");
    drop(accepted);
    dripping.join().expect("a stranger");
}

#[test]
fn settings_that_differ_are_named() {
    let settings = |pairs: &[(&str, &str)]| -> Agreement {
        pairs.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect()
    };
    let ours = settings(&[("--workers", "2"), ("--tick-ms", "100"), ("--views", "all")]);
    assert!(differences(0, &ours, 1, &ours.clone()).is_empty());
    let theirs = settings(&[("--workers", "2"), ("--tick-ms", "50"), ("--new", "x")]);
    assert_eq!(
        differences(0, &ours, 1, &theirs),
        [
            "--tick-ms: process 0 has 100, process 1 50",
            "--views: process 0 has all, process 1 none",
            "--new: process 0 has none, process 1 x"
        ]
    );
}
