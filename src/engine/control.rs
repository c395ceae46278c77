//! What the processes of a cluster tell each other while they run, and what that does.
//!
//! Within a process the workers, the drain and the committer share memory. Between processes the same facts are words
//! on the [`Links`]: process 0, which has the committer and the store, hears how far the others are and tells them what
//! it decides. A thread of each process looks for what is new to tell, every few milliseconds; a run of one process has
//! none of this.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};
use tillflow_dataflows::admission::SavedPartition;
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::time::Tick;

use super::checkpoint::{Asked, Restored};
use super::expiry::Bounds;
use super::plan::Planned;
use super::shared::Shared;
use super::ticks::ticks_in_graph;
use super::{EngineError, now};
use crate::cluster::fate;
use crate::cluster::links::Links;
use crate::status::{PartitionStatus, Phase, StatusSnapshot};

/// How often there is a look for something to tell.
const LOOK: Duration = Duration::from_millis(5);

/// How often positions, and process 0's clock, are told.
const TELL: Duration = Duration::from_millis(200);

/// How many chunks of a partition's memory are one word: 16 MiB of them, a quarter of the longest.
const PIECE: usize = 64;

/// What process 0 has planned for all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Handed {
    pub(super) partitions: Vec<Planned>,
    pub(super) rebuild: bool,
    /// Whether checkpoints are made.
    pub(super) checkpoints: bool,
    /// Windows that end at or before this instant may lack in what is restored.
    pub(super) expired: Option<Millis>,
    /// What was decided to leave memory before.
    pub(super) decided: Option<Millis>,
    /// Process 0's clock.
    pub(super) now: Millis,
}

/// One thing told.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// From process 0, before the plan: what a checkpoint says of a partition that is read here, or a piece of it.
    Saved(SavedPartition),
    /// From process 0, the first thing but for these.
    Plan(Handed),
    /// From process 0, now and then: its clock, by which all name their ticks, and what there is to show.
    State { now: Millis, epoch: u64, records: u64, records_per_second: f64, phase: Phase },
    /// To process 0: all workers here have read again what is committed, the last of them in this tick.
    Arrived(Tick),
    /// From process 0: the gate is open for ticks after this one.
    Opened(Tick),
    /// From process 0: which windows may leave memory.
    Expiry(Bounds),
    /// From process 0: the checkpoint that is being made, if one is.
    Checkpoint(Option<Asked>),
    /// To process 0: a checkpoint of this tick comes to nothing, because the tick was over before it was asked for; and the
    /// greatest tick that has begun here.
    Abandoned { tick: Tick, newest: Tick },
    /// From process 0: whether there is a checkpoint when nothing is read any more.
    EndsWithOne(bool),
    /// To process 0: so many workers here read nothing any more.
    Over(usize),
    /// From process 0: the last checkpoint is written, or could not be.
    LastWritten,
    /// From process 0: whether to stop reading, because too much waits for the store.
    Full(bool),
    /// From process 0: how many records a worker's tick has at most.
    TickRecords(usize),
    /// From the process that was asked to stop.
    Stop,
    /// To process 0: how far partitions are read (topic, number, next offset, end), and what is wrong with the source.
    Positions { partitions: Vec<(Topic, i32, i64, Option<i64>)>, problem: Option<String> },
    /// From a process that cannot go on: why.
    Failed(String),
    /// To process 0: every worker here has ended, and the dataflow is complete.
    Ended,
    /// From process 0: everything is committed.
    Finished,
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("words are made of numbers, texts and lists")
    }
}

/// What a process has been told by others.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Too much waits for the store.
    pub(super) full: AtomicBool,
    /// Process 0's clock less this one's, in milliseconds.
    pub(super) clock: AtomicI64,
    /// Ticks that pass while processes tell each other how far they are.
    under_way: u64,
    /// By process: what is wrong with its source.
    problems: Mutex<BTreeMap<usize, String>>,
}

/// What the way between two processes and back may take without holding up the reading.
const WAY: Duration = Duration::from_millis(300);

impl Told {
    /// Of a process of a cluster, with ticks of this length.
    pub(super) fn in_cluster(tick: Duration) -> Told {
        let under_way = WAY.as_millis() / tick.as_millis().max(1);
        Told { under_way: u64::try_from(under_way).unwrap_or(0), ..Told::default() }
    }

    /// How many ticks of this length a worker may be ahead of the others: what the graph may hold, and in a cluster what passes
    /// until it hears of them.
    pub(super) fn most_ahead(&self, tick: Duration) -> u64 {
        ticks_in_graph(tick).saturating_add(self.under_way)
    }

    /// What is wrong with the source of another process.
    pub(super) fn problem(&self) -> Option<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.iter().next().map(|(process, problem)| format!("process {process}: {problem}"))
    }

    pub(super) fn set_clock(&self, theirs: Millis) {
        self.clock.store(theirs.saturating_sub(now()), Ordering::Relaxed);
    }
}

/// Hands the plan of process 0 to all others, and to each what a checkpoint says of its partitions.
pub(super) fn hand(links: &Links, saved: Vec<Vec<SavedPartition>>, handed: Handed) {
    for (process, saved) in saved.into_iter().enumerate() {
        for mut partition in saved {
            let memory = std::mem::take(&mut partition.memory);
            // One with nothing in its memory has a clock.
            links.tell(process, &Word::Saved(partition.clone()).bytes());
            for piece in memory.chunks(PIECE) {
                links.tell(
                    process,
                    &Word::Saved(SavedPartition { memory: piece.to_vec(), ..partition.clone() }).bytes(),
                );
            }
        }
    }
    links.tell_all(&Word::Plan(handed).bytes());
}

/// Tells all others why this process cannot go on. Their ends, which follow, are then expected.
pub(super) fn fail(links: &Links, error: &EngineError) {
    links.tell_all(&Word::Failed(error.to_string()).bytes());
    links.close();
}

/// Waits for the plan of process 0, and what a checkpoint says of this process's partitions. It may take as long as a store or a source takes to answer; process 0 is alive
/// meanwhile, or this process ends.
pub(super) fn wait_for_plan(links: &Links, stop: &AtomicBool) -> Result<(Handed, Restored), EngineError> {
    let mut restored = Restored::default();
    loop {
        let (process, word) = links.words().recv().map_err(|_| unheard())?;
        match understand(process, &word)? {
            Word::Plan(handed) => return Ok((handed, restored)),
            Word::Saved(mut piece) => match restored.partitions.entry((piece.topic, piece.number)) {
                Entry::Occupied(mut known) => known.get_mut().memory.append(&mut piece.memory),
                Entry::Vacant(place) => drop(place.insert(piece)),
            },
            Word::Failed(why) => fate::told(process, &why),
            Word::Stop => stop.store(true, Ordering::SeqCst),
            other => tracing::debug!(?other, "told before the plan"),
        }
    }
}

fn unheard() -> EngineError {
    EngineError::Bug(String::from("nobody listens to the cluster any more"))
}

fn understand(process: usize, word: &[u8]) -> Result<Word, EngineError> {
    postcard::from_bytes(word)
        .map_err(|error| EngineError::Bug(format!("process {process} said what this one does not understand: {error}")))
}

/// The thread that tells and listens.
pub(super) struct Control {
    ended: Arc<AtomicBool>,
    finished: Receiver<()>,
}

impl Control {
    /// Begins. `process` is this one, of `processes`.
    pub(super) fn start(
        links: &Arc<Links>,
        process: usize,
        processes: usize,
        shared: &Arc<Shared>,
    ) -> Result<Control, EngineError> {
        let failing = Arc::downgrade(shared);
        fate::ask_whether_ending(move || failing.upgrade().is_some_and(|shared| shared.has_failed()));
        let ended = Arc::new(AtomicBool::new(false));
        let (done, finished) = crossbeam_channel::bounded(1);
        let talk = Talk {
            links: Arc::clone(links),
            shared: Arc::clone(shared),
            process,
            processes,
            ended: Arc::clone(&ended),
            done,
            told: Telling::default(),
            others_ended: BTreeSet::new(),
        };
        std::thread::Builder::new()
            .name("tillflow-cluster-control".into())
            .spawn(move || talk.run())
            .map_err(|error| EngineError::Bug(format!("starting a thread: {error}")))?;
        Ok(Control { ended, finished })
    }

    /// Waits until every process has ended and everything is committed. To be called when that is true of this one.
    pub(super) fn finish(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // The thread ends the process if another one is lost meanwhile.
        let _ = self.finished.recv();
    }
}

/// What has been told already.
#[derive(Default)]
struct Telling {
    arrived: bool,
    opened: bool,
    full: bool,
    tick_records: usize,
    expiry: Bounds,
    asked: Option<Asked>,
    abandoned: Option<Tick>,
    ends_with_one: bool,
    last_written: bool,
    over: usize,
    stop: bool,
    ended: bool,
    at: Option<Instant>,
}

struct Talk {
    links: Arc<Links>,
    shared: Arc<Shared>,
    process: usize,
    processes: usize,
    /// Every worker here has ended; on process 0, everything is committed, too.
    ended: Arc<AtomicBool>,
    done: Sender<()>,
    told: Telling,
    others_ended: BTreeSet<usize>,
}

impl Talk {
    fn run(mut self) {
        loop {
            match self.links.words().recv_timeout(LOOK) {
                Ok((process, word)) => {
                    self.hear(process, &word);
                    while let Ok((process, word)) = self.links.words().try_recv() {
                        self.hear(process, &word);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.look() {
                self.links.close();
                // Nobody waits: the process is ending for a reason of its own.
                let _ = self.done.send(());
                return;
            }
        }
    }

    fn hear(&mut self, process: usize, word: &[u8]) {
        let word = match understand(process, word) {
            Ok(word) => word,
            Err(error) => return self.shared.fail(error),
        };
        let shared = &self.shared;
        match word {
            Word::State { now, epoch, records, records_per_second, phase } => {
                shared.told.set_clock(now);
                shared.status.update(|status| {
                    status.epoch = epoch;
                    status.records = records;
                    status.records_per_second = records_per_second;
                    status.phase = phase;
                });
            }
            Word::Arrived(last) => shared.gate.arrive_all(shared.options.workers, last),
            Word::Opened(last) => shared.gate.open(last),
            Word::Expiry(bounds) => shared.expiry.set(bounds),
            Word::Checkpoint(asked) => shared.schedule.is_told(asked),
            Word::Abandoned { tick, newest } => {
                shared.schedule.opening(newest);
                shared.schedule.abandon(tick);
            }
            Word::EndsWithOne(ends) => shared.schedule.decide_to_end_with_one(ends),
            Word::Over(workers) => shared.schedule.end(workers),
            Word::LastWritten => shared.schedule.set_over(),
            Word::Full(full) => shared.told.full.store(full, Ordering::Relaxed),
            Word::TickRecords(records) => shared.budget.set_records(records),
            Word::Stop => {
                tracing::info!("process {process} was asked to stop; so does this one");
                self.told.stop = true;
                shared.stop.store(true, Ordering::SeqCst);
            }
            Word::Positions { partitions, problem } => {
                let mut problems = shared.told.problems.lock().unwrap_or_else(PoisonError::into_inner);
                match problem {
                    Some(problem) => problems.insert(process, problem),
                    None => problems.remove(&process),
                };
                drop(problems);
                let partitions = partitions.into_iter().map(|(topic, partition, position, end)| PartitionStatus {
                    topic,
                    partition,
                    position,
                    end: end.max(shared.source.end(topic, partition)),
                });
                let partitions: Vec<PartitionStatus> = partitions.collect();
                shared.metrics.set_lag(&partitions);
                shared.status.update(|status| merge(status, partitions));
            }
            Word::Failed(why) => fate::told(process, &why),
            Word::Ended => {
                self.others_ended.insert(process);
            }
            Word::Finished => self.others_ended.extend(0..self.processes),
            Word::Plan(_) | Word::Saved(_) => {}
        }
    }

    /// Tells what is new. True when this process may end.
    fn look(&mut self) -> bool {
        let shared = &self.shared;
        if shared.stop.load(Ordering::SeqCst) && !self.told.stop {
            self.told.stop = true;
            self.links.tell_all(&Word::Stop.bytes());
        }
        let is_time = self.told.at.is_none_or(|at| at.elapsed() >= TELL);
        if is_time {
            self.told.at = Some(Instant::now());
        }
        let ended = self.ended.load(Ordering::SeqCst);
        if self.process != 0 {
            if let Some(last) = shared.gate.waits_to_be_opened()
                && !self.told.arrived
            {
                self.told.arrived = true;
                self.links.tell(0, &Word::Arrived(last).bytes());
            }
            let abandoned = shared.schedule.abandoned();
            if let Some(tick) = abandoned.filter(|_| abandoned != self.told.abandoned) {
                self.told.abandoned = abandoned;
                self.links.tell(0, &Word::Abandoned { tick, newest: shared.schedule.newest() }.bytes());
            }
            let over = shared.schedule.ended();
            if over > self.told.over {
                self.links.tell(0, &Word::Over(over - self.told.over).bytes());
                self.told.over = over;
            }
            if is_time && !ended {
                self.links.tell(0, &self.positions().bytes());
            }
            if ended && !self.told.ended {
                self.told.ended = true;
                self.links.tell(0, &Word::Ended.bytes());
            }
            return ended && self.others_ended.contains(&0);
        }
        if let Some(last) = shared.gate.opened()
            && !self.told.opened
        {
            self.told.opened = true;
            self.links.tell_all(&Word::Opened(last).bytes());
        }
        let full = shared.is_full();
        if full != self.told.full {
            self.told.full = full;
            self.links.tell_all(&Word::Full(full).bytes());
        }
        let records = shared.budget.records();
        if records != self.told.tick_records {
            self.told.tick_records = records;
            self.links.tell_all(&Word::TickRecords(records).bytes());
        }
        let asked = shared.schedule.asked();
        if asked != self.told.asked {
            self.told.asked = asked;
            self.links.tell_all(&Word::Checkpoint(asked).bytes());
        }
        if let Some(ends) = shared.schedule.is_decided_to_end_with_one()
            && !self.told.ends_with_one
        {
            self.told.ends_with_one = true;
            self.links.tell_all(&Word::EndsWithOne(ends).bytes());
        }
        if shared.schedule.is_over() && !self.told.last_written {
            self.told.last_written = true;
            self.links.tell_all(&Word::LastWritten.bytes());
        }
        let bounds = shared.expiry.bounds();
        if bounds != self.told.expiry {
            self.told.expiry = bounds;
            self.links.tell_all(&Word::Expiry(bounds).bytes());
        }
        if is_time {
            let StatusSnapshot { epoch, records, records_per_second, phase, .. } = shared.status.snapshot();
            self.links.tell_all(&Word::State { now: now(), epoch, records, records_per_second, phase }.bytes());
        }
        let all = ended && self.others_ended.len() + 1 == self.processes;
        if all {
            self.links.tell_all(&Word::Finished.bytes());
        }
        all
    }

    fn positions(&self) -> Word {
        let status = self.shared.status.snapshot();
        let partitions = status.partitions.iter().map(|it| (it.topic, it.partition, it.position, it.end)).collect();
        Word::Positions { partitions, problem: status.source_problem.map(|problem| problem.text) }
    }
}

/// Puts positions among those that are known.
pub(super) fn merge(status: &mut StatusSnapshot, partitions: Vec<PartitionStatus>) {
    for position in partitions {
        let place = (position.topic, position.partition);
        match status.partitions.binary_search_by_key(&place, |known| (known.topic, known.partition)) {
            Ok(known) => status.partitions[known] = position,
            Err(place) => status.partitions.insert(place, position),
        }
    }
}
