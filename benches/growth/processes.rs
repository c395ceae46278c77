//! W1 by several processes of one worker each, which have the same log in memory.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use tillflow::cluster::hosts::Host;
use tillflow::cluster::{Cluster, ClusterSettings};
use tillflow::engine::Run;

use crate::support::log::{Log, log};
use crate::support::memory::Place;
use crate::support::sales::{EVEN_PARTITIONS, START, Sales};
use crate::support::{free_addresses, options, w1};

/// The argument of a process that is one of several.
pub const ONE_OF_SEVERAL: &str = "--one-of-several";

/// What a run of several has to do.
#[derive(Clone, Copy)]
pub struct Task {
    pub records: usize,
    pub sqlite: bool,
    /// The revenue to be found, in ten-thousandths.
    pub revenue: i128,
}

/// Records a second of so many processes, from when they are connected to when everything is committed.
pub fn rate(processes: usize, Task { records, sqlite, revenue }: Task) -> f64 {
    let hosts: Vec<String> = free_addresses(processes).iter().map(ToString::to_string).collect();
    let hosts = hosts.join(",");
    let start = |process: usize| {
        let mut command = Command::new(std::env::current_exe().expect("this program's file"));
        command.args([ONE_OF_SEVERAL, &process.to_string(), &hosts, &records.to_string(), &sqlite.to_string()]);
        command.arg(revenue.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("a process")
    };
    let running: Vec<_> = (0..processes).map(start).collect();
    let mut outputs = running.into_iter().map(|child| {
        let output = child.wait_with_output().expect("a child that has ended");
        assert!(output.status.success(), "{}", output.status);
        String::from_utf8(output.stdout).expect("text")
    });
    let seconds: f64 = outputs.next().expect("the first process").trim().parse().expect("its seconds");
    assert!(outputs.all(|output| output.is_empty()), "only process 0 has a store");
    records as f64 / seconds
}

/// This process, if it is one of several: `PROCESS HOSTS RECORDS SQLITE REVENUE`. Process 0 says how many seconds it took.
pub fn one_of_several(arguments: &[String]) {
    let [process, hosts, records, sqlite, revenue] = arguments else { panic!("{arguments:?}: five of them") };
    let process = process.parse().expect("a number");
    let hosts = hosts.split(',').map(|host| Host::parse(host).expect("an address")).collect();
    let sales = Sales::new(START).in_partitions(EVEN_PARTITIONS).take(records.parse().expect("a number"));
    let run = Run::new(options(1, w1(), None), Arc::new(Log { partitions: log(sales) }));
    let settings = ClusterSettings { process, hosts, secret: None };
    let cluster = Cluster::form(&settings, &Vec::new()).expect("the others");
    if process != 0 {
        run.follow(cluster).expect("the pipeline runs");
        return;
    }
    let begun = Instant::now();
    let place = Place::new();
    run.lead(place.store(sqlite == "true"), cluster).expect("the pipeline runs");
    let took = begun.elapsed();
    assert_eq!(place.eye.revenue().to_string(), *revenue, "the revenue is another one");
    println!("{}", took.as_secs_f64());
}
