//! F06: a process of a cluster is there and says nothing, or nothing comes through between two of them.

use std::time::{Duration, Instant};

use crate::proxy::{Proxy, Service};
use crate::row::{Row, times};
use crate::support::cluster::{assert_lost, free_hosts, process, wait_all};
use crate::support::program::Running;
use crate::support::world::{Hostile, Topics};
use crate::world::{Log, Shape, Store};

/// How soon the others have to be gone.
const SILENT: Duration = Duration::from_secs(30);

/// How soon a process that was stopped has to be gone once it can act.
const WOKEN: Duration = Duration::from_secs(5);

#[test]
fn f06_process_of_a_cluster_stopped() {
    let mut row = Row::begin("F06", "one process of two stopped (SIGSTOP) under load, the other ends, then continued");
    let topics = Topics::named("f06");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    for round in 0..times(2, 25) {
        let sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count: 600 }, 100);
        let mut running = store.start(&log, Shape { processes: 2, workers: 1 }, "");
        store.wait_for_more(&mut running, store.counted());
        std::thread::sleep(row.dice.millis(0, 1_000));
        let victim = round as usize % 2;
        running[victim].signal("STOP");
        let begun = Instant::now();
        let stopped = running.remove(victim);
        let other = running.remove(0).wait(SILENT);
        row.at_most("longest life of an incomplete cluster, ms", begun.elapsed().as_millis() as u64);
        assert_lost(&other, &format!("process {victim} of the cluster was lost"));
        // Where it was stopped within a write to the file, it holds the file's lock until it is woken.
        let woken = stopped.end("CONT", WOKEN);
        assert_eq!(woken.code, Some(3), "{woken:?}");
        store.assert_exact(&log, "");
        sent += sending.finish();
        row.count("stops", 1);
    }
    store.catch_up(&log, "--workers 2");
    assert_eq!(store.counted(), sent);
    store.assert_exact(&log, "--complete");
}

#[test]
fn f06_link_of_a_cluster_silent() {
    let mut row = Row::begin("F06", "the link between two processes stalled, half open, cut (TCP proxy)");
    let topics = Topics::named("f06-link");
    let log = Log::of(&topics.prefix);
    let store = Store::sqlite();
    let mut sent = topics.send(Hostile { seed: row.dice.below(1 << 30), count: 100 }, 0.0, 1.0);
    let orders = [Proxy::stall as fn(&Proxy, bool), Proxy::half_open, Proxy::cut];
    for _ in 0..times(1, 10) {
        for order in orders {
            let sending = topics.start_sending(Hostile { seed: row.dice.below(1 << 30), count: 400 }, 100);
            // Process 1 goes to where the hosts file says that process 0 is: there is the proxy.
            let hosts = free_hosts(2);
            let lines: Vec<&str> = hosts.lines().collect();
            let proxy = Proxy::new(Service::Other, lines[1]);
            let port = lines[1].rsplit(':').next().expect("a port");
            let hosts = [lines[0], &proxy.address(), lines[2], ""].join("\n");
            let limits = format!("cluster_port={port}");
            let mut running: Vec<Running> = (0..2)
                .map(|index| {
                    let run = store.run(&log, "--workers 1");
                    let run = if index == 0 { run.env("TILLFLOW_LIMITS", &limits) } else { run };
                    process(run, &hosts, index)
                })
                .collect();
            store.wait_for_more(&mut running, store.counted());
            std::thread::sleep(row.dice.millis(0, 1_000));
            order(&proxy, true);
            let begun = Instant::now();
            for ended in wait_all(running, SILENT) {
                // The second to notice may hear of the first one's end.
                assert_lost(&ended, " of the cluster ");
            }
            row.at_most("longest life of a cluster without its link, ms", begun.elapsed().as_millis() as u64);
            store.assert_exact(&log, "");
            sent += sending.finish();
            row.count("silences", 1);
        }
    }
    store.catch_up(&log, "--workers 2");
    assert_eq!(store.counted(), sent);
    store.assert_exact(&log, "--complete");
}
