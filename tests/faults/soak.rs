//! F35 and the soak: all faults at random for a time, while what the process holds has to stay flat.

use std::time::{Duration, Instant};

use mongodb::bson::doc;

use crate::held::{Held, held};
use crate::proxy::{Proxy, Service};
use crate::row::{Row, is_long};
use crate::sink::{FailPoint, named, server_of};
use crate::steady::Steady;
use crate::support::world::Topics;
use crate::support::{SOON, kafka, mongodb, unique};
use crate::world::{Log, Shape, Store, Watermark};

/// How long: `TILLFLOW_SOAK_MINUTES`, else 20 minutes in the long form and 1 in the short one.
fn length() -> Duration {
    let minutes = std::env::var("TILLFLOW_SOAK_MINUTES").ok().map(|text| text.parse().expect("a number of minutes"));
    Duration::from_secs(60 * minutes.unwrap_or(if is_long() { 20 } else { 1 }))
}

fn mean<T>(samples: &[T], of: impl Fn(&T) -> u64) -> u64 {
    samples.iter().map(of).sum::<u64>() / (samples.len() as u64).max(1)
}

/// A pipeline between two proxies, and what troubles it.
struct Troubled {
    application: String,
    sink: Proxy,
    source: Proxy,
    store: Store,
    topics: Topics,
    log: Log,
}

impl Troubled {
    fn begin(name: &str) -> Troubled {
        let application = unique(name);
        let sink = Proxy::new(Service::Other, &server_of(&mongodb()));
        let source = Proxy::new(Service::Kafka, &kafka());
        let through = mongodb().replace(&server_of(&mongodb()), &sink.address());
        let store = Store::mongodb_at(name, &mongodb(), &named(&through, &application));
        let topics = Topics::init(name, 3);
        let log = Log::through(&topics.prefix, &source.address());
        Troubled { application, sink, source, store, topics, log }
    }

    /// One fault of a service or of the way to it, until it is over.
    fn one(&self, row: &mut Row) {
        let Troubled { application, sink, source, .. } = self;
        match row.dice.below(8) {
            0 => {
                sink.cut(true);
                std::thread::sleep(row.dice.millis(50, 1_500));
                sink.cut(false);
            }
            1 => {
                source.cut(true);
                std::thread::sleep(row.dice.millis(50, 1_500));
                source.cut(false);
            }
            2 => {
                sink.stall(true);
                std::thread::sleep(row.dice.millis(50, 2_500));
                sink.stall(false);
            }
            3 => {
                source.stall(true);
                std::thread::sleep(row.dice.millis(50, 2_500));
                source.stall(false);
            }
            4 => sink.lose_replies(b"commitTransaction", 1 + row.dice.below(3) as u32),
            5 => {
                let labels = ["TransientTransactionError"];
                let data = doc! { "failCommands": ["update"], "errorCode": 112, "errorLabels": labels };
                let _fail_point = FailPoint::set(application, 2, data);
                std::thread::sleep(Duration::from_millis(500));
            }
            6 => {
                source.delay(row.dice.millis(5, 80));
                sink.delay(row.dice.millis(1, 20));
                std::thread::sleep(row.dice.millis(200, 2_000));
                source.delay(Duration::ZERO);
                sink.delay(Duration::ZERO);
            }
            _ => std::thread::sleep(row.dice.millis(500, 2_000)),
        }
        row.count("faults", 1);
    }
}

/// All at once, and kills: the process, or all of a cluster, in the middle of whatever else is wrong.
#[test]
fn f35_everything_at_random_and_kills() {
    let mut row = Row::begin("F35", "stalls, cuts, lost answers, conflicts, slowness and kill -9 at random under load");
    let troubled = Troubled::begin("chaos");
    let Troubled { store, log, topics, .. } = &troubled;
    topics.generate(row.dice.below(1 << 30), 300);
    let generating = topics.generate_command(row.dice.below(1 << 30)).flags(["--rate", "40"]).start();
    let mut watermark = Watermark::default();
    let begun = Instant::now();
    while begun.elapsed() < length() {
        let processes = if row.dice.below(3) == 0 { 2 } else { 1 };
        let shape = Shape { processes, workers: 1 + row.dice.below(2) as usize };
        let before = store.counted();
        let mut running = store.start(log, shape, "--tick-ms 50");
        store.wait_for_more(&mut running, before);
        for _ in 0..row.dice.below(3) {
            troubled.one(&mut row);
        }
        std::thread::scope(|scope| {
            let (running, delay) = (&running, row.dice.millis(0, 1_500));
            // In the middle of the next one.
            scope.spawn(move || {
                std::thread::sleep(delay);
                assert!(running.iter().all(|run| !run.stderr().contains("error: ")), "{:?}", running[0].stderr());
                running.iter().for_each(|run| run.signal("KILL"));
            });
            troubled.one(&mut row);
        });
        for killed in running {
            // The last of a cluster may notice that the others are gone.
            let ended = killed.wait(SOON);
            assert!(ended.code.is_none() || processes > 1 && ended.code == Some(3), "{ended:?}");
        }
        row.count("kills", 1);
        watermark.look(store);
        store.assert_exact(log, "");
    }
    assert_eq!(generating.end("TERM", SOON).code, Some(0));
    store.catch_up(log, "--workers 2");
    store.assert_exact(log, "--complete");
}

#[test]
fn soak_f35_everything_at_random() {
    let mut row =
        Row::begin("F35", "soak: stalls, cuts, lost answers, conflicts, slowness at random, the same keys always");
    let troubled = Troubled::begin("soak");
    let Troubled { store, log, topics, .. } = &troubled;
    let sending = Steady::start(&topics.prefix);
    let mut run = store.run(log, "--workers 2 --tick-ms 100 --raw-data off").start();
    store.wait_for_more(&mut run, 0);

    let (begun, mut samples, mut watermark) = (Instant::now(), Vec::new(), Watermark::default());
    while begun.elapsed() < length() {
        troubled.one(&mut row);
        assert!(run.is_running(), "{}", run.stderr());
        let before = store.counted();
        store.wait_for_more(&mut run, before);
        watermark.look(store);
        samples.push(held(run.id()));
    }
    sending.finish();
    let ended = run.end("TERM", SOON);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    store.assert_exact(log, "--raw-data off");
    store.catch_up(log, "--workers 2 --raw-data off");
    store.assert_exact(log, "--complete --raw-data off");

    let quarter = samples.len() / 4;
    let (second, fourth) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    // An allocator settles within minutes.
    let slack = if length() >= Duration::from_secs(600) { 30 } else { 10 };
    for (what, of, slack) in [
        ("kilobytes", (|held| held.kilobytes) as fn(&Held) -> u64, slack),
        ("threads", |held| held.threads, 10),
        ("descriptors", |held| held.descriptors, 10),
    ] {
        let (before, after) = (mean(second, of), mean(fourth, of));
        row.at_most(&format!("{what}, second quarter"), before);
        row.at_most(&format!("{what}, fourth quarter"), after);
        let most = before + before / slack + 3;
        assert!(after <= most, "{what}: {before} in the second quarter, {after} in the fourth");
    }
}
