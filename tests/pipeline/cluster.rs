//! Several processes that work as one: the same documents, and no process that outlives another.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tillflow_dataflows::records::Topic;

use crate::support::cluster::{assert_lost, free_hosts, process, wait_all};
use crate::support::oracle::assert_equal;
use crate::support::program::{Ended, Running, write};
use crate::support::world::{Hostile, Store, Topics, counted};
use crate::support::{SOON, wait_for};

/// How long the others may take to end when one is killed, with room for a machine that is busy with other tests.
const LOST: Duration = Duration::from_secs(5);

/// The same when one is there and silent.
const SILENT: Duration = Duration::from_secs(30);

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// Starts so many processes.
fn start(store: &Store, topics: &Topics, processes: usize, flags: &str) -> Vec<Running> {
    let hosts = free_hosts(processes);
    (0..processes).map(|index| process(store.run(topics, flags), &hosts, index)).collect()
}

/// Lets so many processes read everything there is, and returns what process 0 said.
pub fn catch_up(store: &Store, topics: &Topics, processes: usize, flags: &str) -> Ended {
    let flags = format!("{flags} --until-caught-up");
    let mut all = wait_all(start(store, topics, processes, &flags), 2 * SOON);
    for ended in &all {
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    all.swap_remove(0)
}

/// Waits until a cluster has committed more than `before` records.
fn wait_for_commits(store: &Store, running: &mut [Running], before: i64) {
    wait_for(SOON, "more commits", || {
        for run in running.iter_mut() {
            assert!(run.is_running(), "a process ended by itself: {}", run.stderr());
        }
        store.progress().filter(|progress| counted(progress) > before)
    });
}

/// Two shapes of cluster, the second of which goes on from what the first has committed.
fn equal(store: &Store, name: &str, count: u32) {
    let topics = Topics::named(name);
    let history = Hostile { seed: 41, count };
    let first = topics.send(history, 0.0, 0.5);
    catch_up(store, &topics, 2, "--workers 1");
    assert_eq!(counted(&store.progress().expect("progress")), first);
    assert_equal(&topics, store, "--complete");
    let rest = topics.send(history, 0.5, 1.0);
    catch_up(store, &topics, 2, "--workers 2");
    assert_eq!(counted(&store.progress().expect("progress")), first + rest);
    assert_equal(&topics, store, "--complete");
    // And back: what a cluster has left is continued by one process.
    store.catch_up(&topics, "--workers 1");
    assert_equal(&topics, store, "--complete");
}

#[test]
fn two_processes_equal_the_oracle_in_sqlite() {
    equal(&Store::sqlite(), "cluster-s", 5_000);
}

#[test]
fn two_processes_equal_the_oracle_in_mongodb() {
    equal(&Store::mongodb("cluster"), "cluster-m", 2_500);
}

#[test]
fn three_processes_equal_the_oracle() {
    let store = Store::sqlite();
    // Workers without a partition among them.
    let topics = Topics::init("cluster-3", 1);
    topics.generate(42, 3_000);
    catch_up(&store, &topics, 3, "--workers 2");
    assert_equal(&topics, &store, "--complete");
}

/// A process that is ahead of the other has to read on all the same: it once stood still for minutes.
#[test]
fn a_process_with_a_backlog_does_not_wait_for_one_without() {
    let store = Store::sqlite();
    let topics = Topics::init("cluster-uneven", 2);
    let sale = |number: u32| {
        let (minute, second) = (number / 60 % 60, number % 60);
        format!(
            r#"{{"transaction_id":"t{number}","user_id":"u{}","product_id":"p{}","quantity":1,"unit_price":1.5,"total_amount":1.5,"payment_method":"cash","timestamp":"2024-01-15T10:{minute:02}:{second:02}Z","store_id":"s","category":"c"}}"#,
            number % 1_000,
            number % 100,
        )
    };
    for part in 0..4 {
        topics.produce(Topic::Sales, 0, (part * 90_000..(part + 1) * 90_000).map(sale));
    }
    topics.produce(Topic::Sales, 1, (400_000..400_100).map(sale));
    catch_up(&store, &topics, 2, "--workers 1 --raw-data off --views sales_total");
    assert_eq!(counted(&store.progress().expect("progress")), 360_100);
}

/// Kills one process after the other under load, and starts them all again.
fn killed(store: &Store, name: &str, history: Hostile, rate: u32) {
    let topics = Topics::named(name);
    let first = topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
    let mut sending = topics.start_sending(history, rate);
    let (mut seen, mut killed) = (0, 0);
    for victim in [0, 1, 1, 0] {
        let mut running = start(store, &topics, 2, "--workers 1");
        wait_for_commits(store, &mut running, seen);
        let under_load = !sending.is_over();
        let ended = running.remove(victim).end("KILL", STOP);
        assert_eq!(ended.code, None, "{ended:?}");
        let other = running.remove(0).wait(LOST);
        assert_lost(&other, &format!("process {victim} of the cluster was lost"));
        seen = counted(&store.progress().expect("progress"));
        assert_equal(&topics, store, "");
        if !under_load {
            break;
        }
        killed += 1;
    }
    assert!(killed >= 2, "the machine is too slow for this test: all was sent before two kills");
    let rest = sending.finish();
    catch_up(store, &topics, 2, "--workers 1");
    assert_eq!(counted(&store.progress().expect("progress")), first + rest);
    assert_equal(&topics, store, "--complete");
}

#[test]
fn a_killed_process_ends_the_other_with_sqlite() {
    killed(&Store::sqlite(), "cluster-kill-s", Hostile { seed: 43, count: 6_000 }, 150);
}

#[test]
fn a_killed_process_ends_the_other_with_mongodb() {
    killed(&Store::mongodb("cluster-kill"), "cluster-kill-m", Hostile { seed: 44, count: 2_400 }, 60);
}

#[test]
fn a_process_that_is_silent_ends_the_other() {
    let store = Store::sqlite();
    let topics = Topics::init("cluster-stop", 3);
    topics.generate(45, 2_000);
    for victim in [1, 0] {
        let mut running = start(&store, &topics, 2, "--workers 1");
        let shown = |run: &Running| run.stderr().contains("all 2 processes are there");
        wait_for(SOON, "a cluster", || running.iter().all(shown).then_some(()));
        wait_for_commits(&store, &mut running, if victim == 1 { 1_999 } else { 0 });
        running[victim].signal("STOP");
        let stopped = running.remove(victim);
        let other = running.remove(0).wait(SILENT);
        assert_lost(&other, &format!("process {victim} of the cluster was lost"));
        // It finds the others gone when it is woken.
        let woken = stopped.end("CONT", LOST);
        assert_eq!(woken.code, Some(3), "{woken:?}");
    }
    catch_up(&store, &topics, 2, "--workers 1");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn a_signal_to_one_process_stops_all() {
    let topics = Topics::named("cluster-term");
    topics.send(Hostile { seed: 1, count: 60 }, 0.0, 1.0);
    let store = Store::sqlite();
    let mut sending = topics.start_sending(Hostile { seed: 46, count: 9_000 }, 200);
    let mut seen = 0;
    for (asked, signal, held_up) in [(1, "TERM", false), (0, "INT", false), (1, "TERM", true)] {
        let hosts = free_hosts(2);
        let mut running: Vec<Running> =
            (0..2).map(|index| process(store.run(&topics, "--workers 1"), &hosts, index)).collect();
        wait_for_commits(&store, &mut running, seen);
        for host in hosts.lines().skip(1) {
            assert!(TcpStream::connect(host).is_err(), "a process that runs still listens on {host}");
        }
        assert!(!sending.is_over(), "the machine is too slow for this test");
        let sent = Instant::now();
        if held_up {
            // The other one gets far ahead of it.
            running[0].signal("STOP");
            running[asked].signal(signal);
            std::thread::sleep(Duration::from_millis(500));
            running[0].signal("CONT");
        } else {
            running[asked].signal(signal);
        }
        if asked == 1 {
            // What a supervisor does to all of them, a moment later; it is their first signal all the same.
            wait_for(STOP, "the word", || running[0].stderr().contains("was asked to stop").then_some(()));
            running[0].signal(signal);
        }
        for ended in wait_all(running, STOP) {
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        assert!(sent.elapsed() < STOP);
        seen = counted(&store.progress().expect("progress"));
        assert_equal(&topics, &store, "");
    }
    sending.finish();
    catch_up(&store, &topics, 2, "--workers 1");
    assert_equal(&topics, &store, "--complete");
}

#[test]
fn a_failure_of_one_process_ends_all() {
    let store = Store::sqlite();
    let topics = Topics::init("cluster-fence", 3);
    topics.generate(47, 500);
    let mut running = start(&store, &topics, 2, "--workers 1");
    wait_for_commits(&store, &mut running, 499);
    // Another instance takes the store; the next commit finds out.
    let fence = store.progress().expect("progress").fence;
    let mut newer = store.run(&topics, "--workers 1").start();
    wait_for(SOON, "the newer instance", || {
        assert!(newer.is_running(), "{}", newer.stderr());
        store.progress().filter(|progress| progress.fence > fence)
    });
    let _generating = topics.generate_command(48).flags(["--rate", "100", "--count", "500"]).start();
    let second = running.remove(1).wait(SOON);
    let first = running.remove(0).wait(LOST);
    assert_eq!(first.code, Some(5), "{first:?}");
    assert_lost(&second, "process 0 of the cluster ended: fenced: ");
    assert_eq!(newer.end("TERM", STOP).code, Some(0));
}

#[test]
fn other_settings_are_refused_before_anything_runs() {
    let store = Store::sqlite();
    let topics = Topics::init("cluster-settings", 3);
    topics.generate(49, 100);
    let hosts = free_hosts(2);
    let running = ["--tick-ms 100 --workers 1", "--tick-ms 50 --workers 1"];
    let running = (0..2).map(|index| process(store.run(&topics, running[index]), &hosts, index)).collect();
    for ended in wait_all(running, SOON) {
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.last_line().contains("--tick-ms: process 0 has 100, process 1 50"), "{ended:?}");
    }
    assert!(store.progress().is_none(), "something was written");

    let cases = [
        ("--processes 2", "", "needs --process"),
        ("--processes 2 --process 2", "", "numbered 0 to 1"),
        ("--processes 2 --process 0 --hosts hosts", "127.0.0.1:1\n", "it names 1 processes"),
        ("--processes 2 --process 0 --hosts hosts", "shop.example.org:1\n127.0.0.1:2\n", "without a secret"),
    ];
    for (flags, hosts, words) in cases {
        let run = store.run(&topics, flags).start_with(|folder| write(&folder.join("hosts"), hosts.as_bytes()));
        let ended = run.wait(SOON);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.last_line().contains(words), "{ended:?}");
    }
}
