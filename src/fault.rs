//! Faults on purpose, for `tests/faults`: a process that ends, stops or panics at a named point, or that does without
//! one of its guards. Without the feature `faults` every function here is empty, and the variables mean nothing.
//!
//! | variable | is |
//! |---|---|
//! | `TILLFLOW_CRASH_AT=POINT:HIT` | the process ends there as if killed, with exit code 137 |
//! | `TILLFLOW_STOP_AT=POINT:HIT` | the process stops there (SIGSTOP) until it is sent SIGCONT |
//! | `TILLFLOW_PANIC_AT=POINT:HIT` | the thread panics there |
//! | `TILLFLOW_MUTANT=NAME` | one guard is missing: a test that does not notice is worth nothing |
//! | `TILLFLOW_LIMITS=NAME=NUMBER,…` | smaller batches, so that a short history makes many commits |
//! | `TILLFLOW_CLOCK=jumps` or `frozen` | the engine's clock goes back and forth by an hour, or stands still |

#[cfg(feature = "faults")]
mod on {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use signal_hook::consts::signal::SIGSTOP;
    use signal_hook::low_level;

    /// What a process goes through that has a point; a point of another part is never met there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Part {
        /// Every run.
        Engine,
        /// A run that continues a store.
        Rebuild,
        /// The thread that writes checkpoints, in a run that goes on for some of them.
        Checkpoint,
        /// The thread that watches the topics of a run from Kafka.
        Watch,
        /// A run with pages that somebody looks at.
        Pages,
        /// A run into SQLite.
        Sqlite,
        /// A run into MongoDB.
        Mongodb,
        /// A run into MongoDB whose commits are transactions.
        Transactions,
        /// A run into MongoDB whose commits are guarded writes.
        Guarded,
    }

    /// Every point: its part, its name, and whether a run passes it again and again.
    pub const POINTS: [(Part, &str, bool); 45] = [
        (Part::Engine, "start.planned", false),
        (Part::Engine, "start.fenced", false),
        (Part::Engine, "start.loaded", false),
        (Part::Engine, "worker.tick", true),
        (Part::Engine, "commit.raw", true),
        (Part::Engine, "commit.begun", true),
        (Part::Engine, "commit.ready", true),
        (Part::Engine, "commit.stored", true),
        (Part::Engine, "commit.counted", true),
        (Part::Engine, "commit.told", true),
        (Part::Engine, "stop.committed", false),
        (Part::Engine, "stop.ended", false),
        (Part::Rebuild, "rebuild.listened", true),
        (Part::Rebuild, "gate.reached", false),
        (Part::Rebuild, "gate.passed", false),
        (Part::Rebuild, "rebuild.ended", false),
        (Part::Checkpoint, "checkpoint.shard", true),
        (Part::Checkpoint, "checkpoint.reached", true),
        (Part::Checkpoint, "checkpoint.claimed", false),
        (Part::Checkpoint, "checkpoint.whole", true),
        (Part::Checkpoint, "checkpoint.removing", true),
        (Part::Checkpoint, "checkpoint.pruned", true),
        (Part::Watch, "source.watched", true),
        (Part::Pages, "page.asked", true),
        (Part::Sqlite, "sqlite.tables", false),
        (Part::Sqlite, "sqlite.fence", false),
        (Part::Sqlite, "sqlite.raw", true),
        (Part::Sqlite, "sqlite.begun", true),
        (Part::Sqlite, "sqlite.advanced", true),
        (Part::Sqlite, "sqlite.upserted", true),
        (Part::Sqlite, "sqlite.ready", true),
        (Part::Sqlite, "sqlite.committed", true),
        (Part::Mongodb, "mongodb.collection", true),
        (Part::Mongodb, "mongodb.ended", false),
        (Part::Mongodb, "mongodb.fence", false),
        (Part::Mongodb, "mongodb.session", false),
        (Part::Mongodb, "mongodb.raw", true),
        (Part::Transactions, "transaction.begun", true),
        (Part::Transactions, "transaction.advanced", true),
        (Part::Transactions, "transaction.written", true),
        (Part::Transactions, "transaction.ready", true),
        (Part::Transactions, "transaction.committed", true),
        (Part::Guarded, "guarded.looked", true),
        (Part::Guarded, "guarded.written", true),
        (Part::Guarded, "guarded.ready", true),
    ];

    /// What happens where, as the environment says; read once.
    #[derive(Default)]
    struct Orders {
        crash: Option<(String, u32)>,
        stop: Option<(String, u32)>,
        panic: Option<(String, u32)>,
        mutant: String,
        limits: HashMap<String, usize>,
        clock: String,
    }

    static ORDERS: LazyLock<Orders> = LazyLock::new(|| Orders {
        crash: place("TILLFLOW_CRASH_AT"),
        stop: place("TILLFLOW_STOP_AT"),
        panic: place("TILLFLOW_PANIC_AT"),
        mutant: std::env::var("TILLFLOW_MUTANT").unwrap_or_default(),
        limits: std::env::var("TILLFLOW_LIMITS")
            .unwrap_or_default()
            .split(',')
            .filter_map(|limit| limit.split_once('='))
            .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
            .collect(),
        clock: std::env::var("TILLFLOW_CLOCK").unwrap_or_default(),
    });

    static HITS: LazyLock<Mutex<HashMap<&'static str, u32>>> = LazyLock::new(Mutex::default);

    fn place(variable: &str) -> Option<(String, u32)> {
        let text = std::env::var(variable).ok()?;
        let (name, hit) = text.split_once(':').unwrap_or((&text, "1"));
        assert!(POINTS.iter().any(|(_, known, _)| *known == name), "{variable}={text} names no point");
        Some((name.to_owned(), hit.parse().unwrap_or_else(|_| panic!("{variable}={text} has no number"))))
    }

    /// A place in the program where something may be ordered to happen.
    pub fn point(name: &'static str) {
        let orders = &*ORDERS;
        if orders.crash.is_none() && orders.stop.is_none() && orders.panic.is_none() {
            return;
        }
        let hit = {
            let mut hits = HITS.lock().unwrap_or_else(PoisonError::into_inner);
            let hit = hits.entry(name).or_default();
            *hit += 1;
            *hit
        };
        let here = |place: &Option<(String, u32)>| place.as_ref().is_some_and(|it| it.0 == name && it.1 == hit);
        if here(&orders.crash) {
            // Nothing is unwound, flushed or said goodbye to.
            low_level::exit(137);
        }
        if here(&orders.stop) {
            eprintln!("stopped at {name}");
            let _ = low_level::raise(SIGSTOP);
        }
        assert!(!here(&orders.panic), "panic ordered at {name}");
    }

    thread_local! {
        static LIMITS: RefCell<HashMap<&'static str, usize>> = RefCell::default();
        static MUTANT: Cell<&'static str> = const { Cell::new("") };
        static CLOCK: Cell<Option<i64>> = const { Cell::new(None) };
    }

    /// Whether this process, or the calling thread, is the mutant of that name.
    pub fn mutant(name: &str) -> bool {
        ORDERS.mutant == name || MUTANT.get() == name
    }

    /// Makes the calling thread a mutant; none if the name is empty.
    pub fn set_mutant(name: &'static str) {
        MUTANT.set(name);
    }

    /// A limit, smaller when the environment or [`set_limit`] says so.
    pub fn limit(name: &str, otherwise: usize) -> usize {
        let here = LIMITS.with_borrow(|limits| limits.get(name).copied());
        here.or_else(|| ORDERS.limits.get(name).copied()).unwrap_or(otherwise)
    }

    /// Sets a limit for the calling thread.
    pub fn set_limit(name: &'static str, limit: usize) {
        LIMITS.with_borrow_mut(|limits| limits.insert(name, limit));
    }

    /// Lets the calling thread's clock begin at this instant, and go on by a millisecond whenever somebody looks at it.
    pub fn set_clock(now: i64) {
        CLOCK.set(Some(now));
    }

    /// The time by this machine's clock, or by a worse one.
    pub fn clock(now: i64) -> i64 {
        if let Some(simulated) = CLOCK.get() {
            CLOCK.set(Some(simulated + 1));
            return simulated;
        }
        const HOUR: i64 = 3_600_000;
        static FIRST: LazyLock<i64> = LazyLock::new(|| chrono::Utc::now().timestamp_millis());
        match ORDERS.clock.as_str() {
            // Each for half a second.
            "jumps" => now + [0, HOUR, -HOUR][(now / 500).rem_euclid(3) as usize],
            "frozen" => *FIRST,
            _ => now,
        }
    }
}

#[cfg(feature = "faults")]
pub use self::on::{POINTS, Part, clock, limit, mutant, point, set_clock, set_limit, set_mutant};

#[cfg(not(feature = "faults"))]
mod off {
    /// Nothing.
    #[inline(always)]
    pub const fn point(_name: &'static str) {}

    /// No.
    #[inline(always)]
    pub const fn mutant(_name: &str) -> bool {
        false
    }

    /// The clock itself.
    #[inline(always)]
    pub const fn clock(now: i64) -> i64 {
        now
    }

    /// The limit itself.
    #[inline(always)]
    pub const fn limit(_name: &str, otherwise: usize) -> usize {
        otherwise
    }
}

#[cfg(not(feature = "faults"))]
pub use self::off::{clock, limit, mutant, point};
