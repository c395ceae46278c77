//! The command: how much, how fast, where to, and its refusals.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tillflow_dataflows::records::Topic;

use super::*;

fn args(flags: &str) -> GenerateArgs {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }
    let words = std::iter::once("generate").chain(flags.split_whitespace());
    <Command as clap::Parser>::try_parse_from(words).expect("valid flags").args
}

#[test]
fn a_run_writes_what_the_generator_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = format!(
        "--rate 0 --count 4000 --seed 5 --start 2026-01-01 --corrupt 0.05 --to ndjson:{} --envelope",
        folder.path().join("new").display()
    );
    let mut told = 0;
    let summary = run(&args(&flags), &KafkaOptions::default(), &AtomicBool::new(false), |records| told = records)
        .expect("written");
    assert_eq!((summary.records, told, summary.left_out), (4_000, 4_000, 0));
    assert_eq!(summary.by_topic.values().sum::<u64>(), 4_000);
    let lines: usize = Topic::ALL
        .into_iter()
        .map(|topic| std::fs::read(folder.path().join("new").join(format!("{}.ndjson", topic.name()))).expect("a file"))
        .map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
        .sum();
    assert_eq!(lines, 4_000);
    let options = GeneratorOptions {
        shares: Shares { corrupt: 0.05, ..Shares::default() },
        ..GeneratorOptions::new(5, START, Pace::Daily { per_second: 200.0 })
    };
    let mut kinds = BTreeMap::new();
    for record in Generator::new(options).expect("valid options").take(4_000) {
        *kinds.entry(record.kind).or_default() += 1;
    }
    assert_eq!(summary.by_kind, kinds);
    assert!(summary.to_string().starts_with("4000 records in "), "{summary}");
}

#[test]
fn a_run_without_a_start_ends_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = format!("--rate 0 --count 2000 --corrupt 0.1 --to ndjson:{}", folder.path().display());
    let summary = run(&args(&flags), &KafkaOptions::default(), &AtomicBool::new(false), |_| {}).expect("written");
    let (_, end) = summary.span.expect("records");
    let behind = chrono::Utc::now().timestamp_millis() - end;
    assert!((0..120_000).contains(&behind), "{behind} ms before now");
    assert!(summary.left_out > 0 && summary.records + summary.left_out == 2_000, "{summary}");
}

#[test]
fn a_rate_is_kept_and_a_stop_obeyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = |name: &str| format!("--rate 200 --to ndjson:{} --envelope", folder.path().join(name).display());
    let begun = Instant::now();
    run(&args(&format!("{} --count 101", flags("a"))), &KafkaOptions::default(), &AtomicBool::new(false), |_| {})
        .expect("written");
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let summary = run(&args(&flags("b")), &KafkaOptions::default(), &stop, |records| {
        if records >= 20 {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .expect("stopped");
    assert!((20..200).contains(&summary.records) && begun.elapsed() < Duration::from_secs(5), "{summary}");
}

#[test]
fn an_envelope_for_kafka_is_refused() {
    let refused = run(&args("--envelope"), &KafkaOptions::default(), &AtomicBool::new(false), |_| {});
    assert_eq!(refused.expect_err("nonsense").exit_code(), 2);
}

#[test]
fn a_refused_property_does_not_show_its_value() {
    let options = KafkaOptions {
        bootstrap_servers: "127.0.0.1:1".into(),
        topic_prefix: String::new(),
        properties: vec![("security.protocol".into(), "hunter2".into())],
    };
    let error = KafkaSink::connect(&options).err().expect("refused");
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("security.protocol") && !error.to_string().contains("hunter2"), "{error}");
}
