//! Notices that a run stands still, says where, and ends it: a hang would otherwise last for ever.
//!
//! Ticks pass whether records come or not, so a graph that completes none for a minute stands still, and so does a
//! committer that takes none of those that wait. Waiting for the store is no hang: that has limits of its own, and the
//! status says so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use signal_hook::low_level;
use tillflow_dataflows::records::Topic;
use tillflow_dataflows::time::Tick;
use timely::dataflow::operators::probe::Handle;

use super::EngineError;
use super::shared::Shared;
use crate::document::Document;
use crate::store::{Commit, Fingerprints, Origin, Progress, Store, StoreError, StoreScan};

/// How long nothing may move.
const STILL: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// A worker that has ended, or a graph that is complete.
const OVER: Tick = Tick::MAX;

/// What moves while a run is well.
#[derive(Debug)]
pub(super) struct Pulse {
    /// By worker of this process: the tick that it is in.
    ticks: Vec<AtomicU64>,
    /// The first tick that the graph has not completed.
    frontier: AtomicU64,
    /// A call to the store is under way.
    in_store: AtomicBool,
}

impl Pulse {
    pub(super) fn new(workers: usize) -> Pulse {
        let ticks = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Pulse { ticks, frontier: AtomicU64::new(0), in_store: AtomicBool::new(false) }
    }

    /// A worker, of all of the cluster, has come to `tick`; or to its end.
    pub(super) fn beat(&self, worker: usize, tick: Option<Tick>, graph: &Handle<Tick>) {
        let frontier = graph.with_frontier(|frontier| frontier.first().copied().unwrap_or(OVER));
        self.ticks[worker % self.ticks.len()].store(tick.unwrap_or(OVER), Ordering::Relaxed);
        self.frontier.fetch_max(frontier, Ordering::Relaxed);
    }

    /// Does what waits for the store.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.in_store.store(true, Ordering::Relaxed);
        let result = call();
        self.in_store.store(false, Ordering::Relaxed);
        result
    }
}

/// A moment, as the watchdog sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    ticks: Vec<Tick>,
    frontier: Tick,
    /// Complete ticks that wait for the committer, and how many it has taken.
    waiting: usize,
    taken: usize,
    /// The store is what is waited for.
    store: bool,
}

/// How long what has been still.
#[derive(Debug, Default)]
struct Watch {
    last: Seen,
    graph: Duration,
    committer: Duration,
}

impl Watch {
    /// Takes a look after `elapsed`; what stands still, if that has lasted for longer than `limit`.
    fn look(&mut self, seen: Seen, elapsed: Duration, limit: Duration) -> Option<String> {
        let moving = |moving: bool, still: Duration| if moving { Duration::ZERO } else { still + elapsed };
        // Before the first tick workers take a checkpoint in, step by step.
        let is_restoring = seen.frontier == 0 && seen.ticks != self.last.ticks;
        let graph = seen.store || seen.frontier == OVER || seen.frontier != self.last.frontier || is_restoring;
        let committer = seen.store || seen.waiting == 0 || seen.taken != self.last.taken;
        (self.graph, self.committer) = (moving(graph, self.graph), moving(committer, self.committer));
        self.last = seen;
        let seconds = limit.as_secs();
        if self.committer > limit {
            let waiting = self.last.waiting;
            return Some(format!("the committer has taken none of {waiting} waiting ticks for {seconds} s"));
        }
        (self.graph > limit).then(|| {
            let Seen { ticks, frontier, .. } = &self.last;
            let behind: Vec<String> = (0..ticks.len())
                .filter(|worker| ticks[*worker] <= *frontier)
                .map(|worker| worker.to_string())
                .collect();
            let who = match behind.is_empty() {
                true => String::from("every worker of this process is beyond it"),
                false => format!("not beyond it: worker {} of this process", behind.join(", ")),
            };
            format!("the graph has not completed tick {frontier} for {seconds} s ({who})")
        })
    }
}

/// The thread; it ends with the run, or the run with it.
pub(super) struct Watchdog {
    stop: Arc<AtomicBool>,
}

impl Watchdog {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Watchdog, EngineError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, shared) = (Arc::clone(&stop), Arc::downgrade(shared));
        std::thread::Builder::new()
            .name("tillflow-watchdog".into())
            .spawn(move || watch(&shared, &stopped))
            .map_err(|error| EngineError::Bug(format!("starting a thread: {error}")))?;
        Ok(Watchdog { stop })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Not joined: it holds nothing, and ends by itself.
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn watch(shared: &Weak<Shared>, stop: &AtomicBool) {
    let mut watch = Watch::default();
    let mut looked = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(LOOK);
        let Some(shared) = shared.upgrade() else { return };
        // A process that was stopped for a while has not stood still meanwhile.
        let elapsed = looked.elapsed().min(2 * LOOK);
        looked = Instant::now();
        let limit = STILL + 3 * shared.options.tick;
        if let Some(words) = watch.look(seen(&shared), elapsed, limit)
            && !stop.load(Ordering::SeqCst)
        {
            eprintln!(
                "error: a bug in tillflow, or a machine that is far too slow: {words}; what is committed stays exact, \
                 start it again"
            );
            low_level::exit(70);
        }
    }
}

fn seen(shared: &Shared) -> Seen {
    let (waiting, taken) = (shared.pending.ticks(), shared.pending.taken());
    Seen {
        ticks: shared.pulse.ticks.iter().map(|tick| tick.load(Ordering::Relaxed)).collect(),
        frontier: shared.pulse.frontier.load(Ordering::Relaxed),
        waiting,
        taken,
        store: shared.pulse.in_store.load(Ordering::Relaxed) || shared.told.full.load(Ordering::Relaxed),
    }
}

/// A store, and whether it is being waited for.
struct Watched {
    store: Box<dyn Store>,
    pulse: Arc<Pulse>,
}

/// The same store, watched.
pub(super) fn watched(store: Box<dyn Store>, pulse: &Arc<Pulse>) -> Box<dyn Store> {
    Box::new(Watched { store, pulse: Arc::clone(pulse) })
}

impl Watched {
    fn during<T>(&mut self, call: impl FnOnce(&mut dyn Store) -> T) -> T {
        self.pulse.during(|| call(self.store.as_mut()))
    }
}

impl Store for Watched {
    fn init(&mut self) -> Result<(), StoreError> {
        self.during(|store| store.init())
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        self.during(|store| store.peek())
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        self.during(|store| store.fingerprints())
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        self.during(|store| store.acquire(instance))
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        self.during(|store| store.write_raw(documents))
    }

    fn commits_are_whole(&self) -> bool {
        self.store.commits_are_whole()
    }

    fn epoch_after(&self, committed: u64) -> u64 {
        self.store.epoch_after(committed)
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError> {
        self.during(|store| store.forget_raw(topic, partition, from))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.during(|store| store.commit(commit))
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        self.during(|store| store.alerts())
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        self.store.scanner()
    }

    fn guarantee(&self) -> String {
        self.store.guarantee()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn well() -> Seen {
        Seen { ticks: vec![7, 8], frontier: 7, waiting: 0, taken: 3, store: false }
    }

    /// What is said when this is seen for so many seconds.
    fn after(seconds: u32, mut seen: impl FnMut(u32) -> Seen) -> Option<String> {
        let mut watch = Watch::default();
        (0..seconds).find_map(|second| watch.look(seen(second), SECOND, STILL))
    }

    #[test]
    fn a_run_that_moves_is_left_alone() {
        let ticking = |second| Seen { frontier: Tick::from(second / 50), ..well() };
        assert_eq!(after(600, ticking), None);
        let committing = |second| Seen { waiting: 4, taken: 3 + second as usize / 50, ..ticking(second) };
        assert_eq!(after(600, committing), None);
        assert_eq!(after(600, |_| Seen { frontier: OVER, ..well() }), None);
        let restoring = |second| Seen { ticks: vec![Tick::from(second / 50), 0], frontier: 0, ..well() };
        assert_eq!(after(600, restoring), None);
    }

    #[test]
    fn workers_that_do_not_begin_are_told() {
        let words = after(64, |_| Seen { ticks: vec![5, 0], frontier: 0, ..well() }).expect("a minute is over");
        assert!(words.ends_with("(not beyond it: worker 1 of this process)"), "{words}");
    }

    #[test]
    fn a_graph_that_stands_still_is_told_with_the_worker_that_does() {
        assert_eq!(after(60, |_| well()), None);
        let words = after(63, |_| well()).expect("a minute is over");
        assert_eq!(words, "the graph has not completed tick 7 for 60 s (not beyond it: worker 0 of this process)");
        let elsewhere = after(63, |_| Seen { ticks: vec![9, 9], ..well() }).expect("a minute is over");
        assert!(elsewhere.ends_with("(every worker of this process is beyond it)"), "{elsewhere}");
    }

    #[test]
    fn a_committer_that_stands_still_is_told() {
        let words = after(63, |second| Seen { waiting: 2, frontier: Tick::from(second), ..well() });
        assert_eq!(words.expect("a minute is over"), "the committer has taken none of 2 waiting ticks for 60 s");
    }

    #[test]
    fn waiting_for_the_store_is_no_hang() {
        assert_eq!(after(600, |_| Seen { waiting: 4, store: true, ..well() }), None);
        // And the time begins anew afterwards.
        assert_eq!(after(100, |second| Seen { waiting: 4, store: second == 50, ..well() }), None);
    }
}
