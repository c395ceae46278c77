//! A deterministic simulation of commits and recovery, for `tests/faults`: one thread, one seed, no service.
//!
//! Real are the plan, the gate, the rebuild, the correction, the alert book, the committer, and what writes and reads
//! checkpoints; simulated are the store, the source, the clock, and the graph, which here is a small pure function. A life
//! is one instance from its start to its end. Within any call to the store it may die, before the call has its effect or
//! after; another instance may live meanwhile, from its start to its end, and so may one within that; the store may go back
//! to what it was some commits ago, and checkpoints may be lost or damaged. After every commit the documents are what the
//! function makes of the records below the committed offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use tillflow_dataflows::admission::{AdmissionSettings, SavedPartition};
use tillflow_dataflows::outputs::{AlertKind, RollupKey, Row, RowBody, RowKey, StockKey, Subject, View};
use tillflow_dataflows::records::{Millis, Outcome, Reason, StockLevel, Topic};
use tillflow_dataflows::state::{ChunkWriter, read_chunk};
use tillflow_dataflows::time::{Diff, Granularity, Tick, Window};

use super::alerts::alert_id;
use super::checkpoint::{Folder, Owner, Restored, Shard, Writer};
use super::committer::{Beginning, Committer, ReadStored};
use super::correction::Stored;
use super::documents::{Stamp, document};
use super::drain::TickBatch;
use super::expiry::Expiring;
use super::ingest::{Consumed, DeadLetter, Note, record_id};
use super::plan::{Plan, Planned};
use super::shared::{Channels, Gate, Shared};
use super::start::Start;
use super::{EngineError, EngineOptions, Run};
use crate::document::{Collection, Document, FieldName, Value};
use crate::source::{Assignment, PartitionInfo, Reader, Source, SourceError};
use crate::store::{Commit, Fingerprints, Offsets, Origin, Progress, Scanned, Store, StoreError, StoreScan};
use crate::views::ViewSet;

const TOPIC: Topic = Topic::Inventory;
const PARTITIONS: i32 = 3;
const HOUR: Millis = 3_600_000;
/// Instances that live within a call of each other, at most.
const DEEPEST: u32 = 2;

/// A guard that the simulated store does without, to see whether the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// None.
    Nothing,
    /// The compare-and-set of `progress`.
    CompareAndSet,
    /// The instance in it: fence and epoch are counters, and count the same again in a store that went back.
    Instance,
    /// Half of a commit's documents are there when the instance dies within it.
    WholeCommits,
    /// raw_data is acknowledged and forgotten when the instance dies.
    DurableRawData,
    /// A commit that the store has made is made known as one that it has not.
    KnownOutcomes,
    /// A start goes on from a checkpoint that the store has not got as far as.
    CheckpointsBehind,
    /// A start goes on with what a checkpoint holds, but reads the records that follow from the beginning.
    OffsetsOfCheckpoints,
}

/// What happened in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Instances that lived.
    pub lives: u64,
    /// Commits that were made.
    pub commits: u64,
    /// Instances that died within a call.
    pub deaths: u64,
    /// Instances that found that another had the store.
    pub fenced: u64,
    /// Times that the store went back.
    pub rollbacks: u64,
    /// Checkpoints that became whole.
    pub checkpoints: u64,
    /// Starts that went on from one.
    pub restores: u64,
    /// A digest of every call and what came of it: the same seed gives the same.
    pub trace: u64,
}

/// Chance that a seed decides (SplitMix64).
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A record: the stock of one of a partition's keys at an hour, or that the key is gone, or nothing readable.
#[derive(Clone, Copy, Debug)]
struct Record {
    key: u64,
    stock: Option<i64>,
    hour: i64,
    readable: bool,
}

/// What the store holds.
#[derive(Clone, Default)]
struct Held {
    progress: Option<Progress>,
    origin: Option<Origin>,
    documents: BTreeMap<(Collection, String), Document>,
}

struct World {
    log: Vec<Vec<Record>>,
    store: Held,
    /// What the store was after some commits.
    past: Vec<Held>,
    missing: Missing,
    account: Account,
    violation: Option<String>,
    quiet: bool,
    tick: Tick,
    /// Where checkpoints are.
    objects: Arc<InMemory>,
}

type Shelf = Arc<(Dice, Mutex<World>)>;

fn lock(shelf: &Shelf) -> MutexGuard<'_, World> {
    shelf.1.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one seed; the error says what was violated.
pub fn run(seed: u64, missing: Missing) -> Result<Account, String> {
    let shelf: Shelf = Arc::new((
        Dice(AtomicU64::new(seed)),
        Mutex::new(World {
            log: vec![Vec::new(); PARTITIONS as usize],
            store: Held::default(),
            past: Vec::new(),
            missing,
            account: Account::default(),
            violation: None,
            quiet: false,
            tick: 1,
            objects: Arc::default(),
        }),
    ));
    crate::fault::set_clock(1);
    crate::fault::set_mutant(if missing == Missing::CheckpointsBehind { "checkpoints_may_be_ahead" } else { "" });
    for _ in 0..2 + shelf.0.below(5) {
        grow(&shelf);
        // However it ends: what it left is looked at after each commit.
        let _ = live(&shelf, 0);
    }
    // At last an instance that nothing happens to: it has to be able to finish.
    lock(&shelf).quiet = true;
    let ended = live(&shelf, 0);
    let world = lock(&shelf);
    if let Some(violation) = &world.violation {
        return Err(violation.clone());
    }
    ended.map_err(|error| format!("an undisturbed instance ended with: {error}"))?;
    let next = |partition: i32| {
        let progress = world.store.progress.as_ref();
        progress.and_then(|progress| progress.offsets.get(&(TOPIC, partition)).copied()).unwrap_or(0)
    };
    for (partition, records) in (0..).zip(&world.log) {
        if next(partition) != records.len() as i64 {
            return Err(format!("partition {partition} is counted to {} of {}", next(partition), records.len()));
        }
    }
    Ok(world.account)
}

/// Records come in.
fn grow(shelf: &Shelf) {
    let dice = &shelf.0;
    let mut world = lock(shelf);
    for records in &mut world.log {
        for _ in 0..dice.below(9) {
            let hour = records.len() as i64 / 4 + dice.below(3) as i64;
            let stock = (dice.below(5) > 0).then(|| dice.below(5) as i64 - 2);
            records.push(Record { key: dice.below(3), stock, hour, readable: dice.below(8) > 0 });
        }
    }
}

/// What the function makes of records, and the changes from one state to the next.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    stock: BTreeMap<(i32, u64), i64>,
    hours: BTreeMap<i64, i64>,
    as_of: Option<Millis>,
}

impl State {
    fn take(&mut self, partition: i32, record: Record) {
        if !record.readable {
            return;
        }
        let key = (partition, record.key);
        match record.stock {
            Some(stock) => {
                self.stock.insert(key, stock);
                *self.hours.entry(record.hour).or_default() += 1;
                self.as_of = self.as_of.max(Some(record.hour * HOUR));
            }
            None => {
                self.stock.remove(&key);
            }
        }
    }

    fn rows(&self) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        for ((partition, key), stock) in &self.stock {
            let product: tillflow_dataflows::records::Text = format!("p{partition}-{key}").as_str().into();
            let place = StockKey { product_id: product.clone(), warehouse_id: "w".into() };
            let level = Box::new(StockLevel {
                product_id: product,
                warehouse_id: "w".into(),
                current_stock: *stock,
                reorder_level: 0,
                last_updated: 0,
                category: "c".into(),
                status: None,
            });
            if *stock <= 0 {
                let alert = RowKey::Alert(AlertKind::OutOfStock, Subject::Stock(place.clone()));
                rows.insert((alert, RowBody::Stock(level.clone())));
            }
            rows.insert((RowKey::Stock(place), RowBody::Stock(level)));
        }
        for (hour, records) in &self.hours {
            let window = Window { granularity: Granularity::Hour, start: hour * HOUR };
            let key = RollupKey { window, view: View::ActiveUsers, key: "".into() };
            rows.insert((RowKey::Rollup(key), RowBody::Users(*records, false)));
        }
        rows.extend(self.as_of.map(|as_of| (RowKey::AsOf, RowBody::Instant(as_of))));
        rows
    }
}

/// One instance, from its start to its end.
fn live(shelf: &Shelf, depth: u32) -> Result<(), EngineError> {
    lock(shelf).account.lives += 1;
    let store = SimulatedStore { shelf: Arc::clone(shelf), depth, held: None, raw: Vec::new() };
    let ended = attempt(shelf, store);
    let mut world = lock(shelf);
    match &ended {
        Err(EngineError::Store(StoreError::Fenced(_))) => world.account.fenced += 1,
        Err(EngineError::Bug(text) | EngineError::Refused(text)) => {
            world.violation.get_or_insert_with(|| text.clone());
        }
        _ => {}
    }
    let mark = match &ended {
        Ok(()) => 1,
        Err(EngineError::Store(StoreError::Fenced(_))) => 2,
        Err(_) => 3,
    };
    trace(&mut world, mark);
    ended
}

fn trace(world: &mut World, mark: u64) {
    world.account.trace = (world.account.trace ^ mark).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
}

/// What [`super::run`] does, with workers whose share of every tick is decided beforehand.
fn attempt(shelf: &Shelf, store: SimulatedStore) -> Result<(), EngineError> {
    let dice = &shelf.0;
    let mut store: Box<dyn Store> = Box::new(store);
    let workers = 1 + dice.below(3) as usize;
    let options = EngineOptions {
        workers,
        tick: Duration::from_millis(1),
        raw_data: true,
        until_caught_up: true,
        admission: AdmissionSettings { correction_window: 0, max_future: 0 },
        timezone: chrono_tz::UTC,
        instance: format!("instance {}", lock(shelf).account.lives),
        views: ViewSet::default(),
        checkpoints: None,
        accepted: Vec::new(),
    };
    let source = Arc::new(Simulated(Arc::clone(shelf)));
    let objects = lock(shelf).objects.clone();
    let keeps = dice.below(8) > 0;
    let folder = || keeps.then(|| opened(objects)).transpose();
    let start = Start::of(&options, source.as_ref(), store.as_mut(), folder, "simulated")?;
    let Start { progress, plan, alerts, folder, restored, configuration } = start;
    lock(shelf).account.restores += u64::from(!restored.chunks.is_empty());
    let instance = options.instance.clone();
    let run = Run::new(options, source);
    let channels = Channels { batches: None, raw: None, shards: None };
    let shared = Arc::new(Shared::new(&run, plan.partitions.clone(), Gate::new(workers, plan.rebuild), channels));
    shared.written.reach(&plan.committed);
    let expiring = Expiring::new(0, workers, &restored, plan.origin.expiring_before);
    let Ticks { batches, raw, shards } = ticks(shelf, &shared, &plan, workers, &restored)?;
    let writer = folder.map(|folder| Writer {
        folder,
        owner: Owner { lineage: plan.origin.lineage.clone(), source: configuration.source.clone() },
        configuration: configuration.text(),
        instance,
        workers,
        schedule: Arc::clone(&shared.schedule),
        written: Arc::clone(&shared.written),
        metrics: Arc::clone(&shared.metrics),
    });

    crate::fault::set_limit("merge_rows", [1, 4, 16, 1_000][dice.below(4) as usize]);
    let (batches_sent, batches_waiting) = crossbeam_channel::unbounded();
    let (raw_sent, raw_waiting) = crossbeam_channel::unbounded();
    for batch in batches {
        shared.pending.add(batch.changes);
        let _ = batches_sent.send(batch);
    }
    for documents in raw {
        let _ = raw_sent.send(documents);
    }
    drop((batches_sent, raw_sent));
    let stored = store.scanner()?.map(|mut scan| Box::new(move || Ok(Stored::read(scan.as_mut())?)) as ReadStored);
    let beginning = Beginning { progress, plan, alerts, expiring, shards: None, stored };
    let committer = Committer::new(store, beginning, Arc::clone(&shared));
    let ended = committer.run(&batches_waiting, &raw_waiting).map(|_| ());
    // It has become whole before an instance died, or not.
    if let Some(writer) = writer.filter(|_| ended.is_ok() || dice.below(2) == 0) {
        shared.written.end();
        let (sent, waiting) = crossbeam_channel::unbounded();
        shards.into_iter().for_each(|shard| drop(sent.send(shard)));
        drop(sent);
        let by = format!("-{}", writer.instance.replace(' ', "-"));
        writer.run(&waiting);
        let objects = lock(shelf).objects.clone();
        let whole = opened(objects.clone())?.checkpoints().iter().any(|found| found.id().ends_with(&by));
        lock(shelf).account.checkpoints += u64::from(whole);
        if !lock(shelf).quiet && dice.below(8) == 0 {
            damage(&objects, dice)?;
        }
    }
    ended
}

fn opened(objects: Arc<InMemory>) -> Result<Folder, EngineError> {
    Folder::of(objects, "simulated".into()).map_err(|error| EngineError::Bug(error.to_string()))
}

/// Objects are lost, or are not what they were.
fn damage(objects: &InMemory, dice: &Dice) -> Result<(), EngineError> {
    let failed = |error: object_store::Error| EngineError::Bug(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.map_err(|error| EngineError::Bug(error.to_string()))?.block_on(async {
        let folders = objects.list_with_delimiter(Some(&Path::from("checkpoints"))).await.map_err(failed)?;
        let mut found = Vec::new();
        for folder in folders.common_prefixes {
            found.extend(objects.list_with_delimiter(Some(&folder)).await.map_err(failed)?.objects);
        }
        found.sort_by(|one, other| one.location.cmp(&other.location));
        for object in found {
            match dice.below(6) {
                0 => objects.delete(&object.location).await.map_err(failed)?,
                1 => {
                    let bytes = objects.get(&object.location).await.map_err(failed)?.bytes().await.map_err(failed)?;
                    let mut bytes = bytes.to_vec();
                    let place = dice.below(bytes.len() as u64) as usize;
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << dice.below(8));
                    objects.put(&object.location, bytes.into()).await.map_err(failed)?;
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// What the workers of a life send.
struct Ticks {
    batches: Vec<TickBatch>,
    raw: Vec<Vec<Document>>,
    /// Their parts of a checkpoint.
    shards: Vec<Shard>,
}

/// First what is committed already, up to the gate, then the rest.
fn ticks(
    shelf: &Shelf,
    shared: &Shared,
    plan: &Plan,
    workers: usize,
    restored: &Restored,
) -> Result<Ticks, EngineError> {
    let dice = &shelf.0;
    let mut world = lock(shelf);
    let mut state = State::default();
    for chunk in &restored.chunks {
        read_chunk(chunk, &mut |saved| state = saved).map_err(|error| EngineError::unreadable_checkpoint(&error))?;
    }
    let is_restored = !restored.chunks.is_empty();
    // By tick: the records of each partition that a worker reads in it.
    let mut open: BTreeMap<Tick, Vec<(usize, std::ops::Range<i64>)>> = BTreeMap::new();
    let first = world.tick;
    let broken_off = plan.rebuild && !world.quiet && dice.below(10) == 0;
    if plan.rebuild {
        for worker in 0..workers {
            let mut tick = first + dice.below(3);
            for (index, planned) in plan.partitions.iter().enumerate().filter(|(index, _)| index % workers == worker) {
                let start = if world.missing == Missing::OffsetsOfCheckpoints { 0 } else { planned.assignment.start };
                split(dice, &mut open, &mut tick, index, start..planned.committed);
            }
            if !(broken_off && worker == 0) {
                shared.gate.arrive(tick);
            }
        }
    }
    if is_restored {
        // What is restored comes with the first tick.
        open.entry(first).or_default();
    }
    let last = shared.gate.opened();
    let mut greatest = open.keys().next_back().copied().unwrap_or(first);
    if let Some(last) = last {
        for worker in 0..workers {
            for (index, planned) in plan.partitions.iter().enumerate().filter(|(index, _)| index % workers == worker) {
                let mut tick = (last + 1).max(first) + dice.below(3);
                let committed = planned.committed;
                let end = world.log[index].len() as i64;
                // Stopped before it has read everything, or not.
                let end = if world.quiet {
                    end
                } else {
                    end - dice.below(2) as i64 * dice.below((end - committed).max(0) as u64 + 1) as i64
                };
                split(dice, &mut open, &mut tick, index, committed..end.max(committed));
                greatest = greatest.max(tick);
            }
        }
    }
    world.tick = greatest + 1;

    let (mut batches, mut raw, mut shards) = (Vec::new(), Vec::new(), Vec::new());
    let saved = dice.below(open.len() as u64 + 1) as usize;
    let mut next: Vec<i64> = plan.partitions.iter().map(|planned| planned.assignment.start).collect();
    let mut before = BTreeSet::new();
    for (turn, (tick, parts)) in open.into_iter().enumerate() {
        let (mut notes, mut documents) = (Vec::new(), Vec::new());
        for (index, range) in parts {
            let Planned { assignment, committed, .. } = plan.partitions[index];
            for offset in range.clone() {
                let record = world.log[index][offset as usize];
                state.take(assignment.partition, record);
                if !record.readable {
                    notes.push(Note::DeadLetter(Box::new(DeadLetter {
                        topic: TOPIC,
                        partition: assignment.partition,
                        offset,
                        key: None,
                        value: None,
                        kafka_timestamp: None,
                        reason: Reason::ALL[0],
                        detail: String::new(),
                    })));
                }
                if offset >= committed {
                    let id = record_id(TOPIC, assignment.partition, offset);
                    documents.push(Document { collection: Collection::RawData, id, fields: Vec::new() });
                }
            }
            next[index] = range.end;
            let mut outcomes = [0; Outcome::ALL.len()];
            outcomes[0] = (range.end - range.start) as u64;
            notes.push(Note::Consumed(Box::new(Consumed {
                topic: TOPIC,
                partition: assignment.partition,
                worker: 0,
                start: assignment.start,
                next: range.end,
                crc: None,
                clock: None,
                late_before: None,
                outcomes,
                reasons: [0; Reason::ALL.len()],
                newest: None,
                begun: 0,
                ages: Vec::new(),
            })));
        }
        let after = state.rows();
        let changed = |from: &BTreeSet<Row>, to: &BTreeSet<Row>, difference: Diff| -> Vec<(Row, Diff)> {
            from.difference(to).map(|row| (row.clone(), difference)).collect()
        };
        let rows = [changed(&after, &before, 1), changed(&before, &after, -1)].concat();
        if !documents.is_empty() {
            raw.push(documents);
        }
        let letters: usize = notes.iter().map(Note::weight).sum();
        batches.push(TickBatch { tick, changes: rows.len() + letters, rows, notes });
        before = after;
        if turn == saved {
            shards = (0..workers).map(|worker| shard(plan, (worker, workers), tick, &next, &state)).collect();
        }
    }
    Ok(Ticks { batches, raw, shards })
}

/// A worker's part of a checkpoint; the first has the state.
fn shard(plan: &Plan, (worker, workers): (usize, usize), tick: Tick, next: &[i64], state: &State) -> Shard {
    let mut chunks = Vec::new();
    if worker == 0 {
        let mut give = |chunk| chunks.push(chunk);
        let mut writer = ChunkWriter::new("simulated", &mut give);
        writer.write(state);
        writer.finish();
    }
    let mine = plan.partitions.iter().zip(next).skip(worker).step_by(workers);
    let partitions = mine.map(|(planned, next)| {
        let (topic, number) = planned.assignment.place();
        (SavedPartition { topic, number, has_given: true, clock: None, memory: Vec::new() }, Some(*next))
    });
    Shard::simulated(tick, partitions.collect(), chunks)
}

fn split(
    dice: &Dice,
    open: &mut BTreeMap<Tick, Vec<(usize, std::ops::Range<i64>)>>,
    tick: &mut Tick,
    index: usize,
    range: std::ops::Range<i64>,
) {
    let mut at = range.start;
    while at < range.end {
        let end = (at + 1 + dice.below(4) as i64).min(range.end);
        open.entry(*tick).or_default().push((index, at..end));
        at = end;
        *tick += 1 + dice.below(2);
    }
}

/// A source that says how long it is. Nobody reads it: what workers would read is decided beforehand.
struct Simulated(Shelf);

impl Source for Simulated {
    fn identity(&self) -> String {
        "simulated".into()
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let world = lock(&self.0);
        let partitions = (0..).zip(&world.log).map(|(partition, records)| PartitionInfo {
            topic: TOPIC,
            partition,
            low: 0,
            high: Some(records.len() as i64),
        });
        Ok(partitions.collect())
    }

    fn open(&self, _assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        Err(SourceError::Unavailable("simulated".into()))
    }
}

/// One instance's way to the store.
struct SimulatedStore {
    shelf: Shelf,
    depth: u32,
    held: Option<(i64, u64, String)>,
    /// Written by this instance since its last commit.
    raw: Vec<String>,
}

/// What a call comes to.
#[derive(PartialEq)]
enum Fate {
    Goes,
    DiesAfter,
}

fn died() -> StoreError {
    StoreError::Unavailable("the instance has died".into())
}

impl SimulatedStore {
    /// Decides what happens at a call: nothing, a death, another instance's life, the store's return to its past.
    fn call(&self, mark: u64) -> Result<Fate, StoreError> {
        let dice = &self.shelf.0;
        {
            let mut world = lock(&self.shelf);
            trace(&mut world, mark);
            if world.quiet {
                return Ok(Fate::Goes);
            }
        }
        match dice.below(40) {
            0 => {
                lock(&self.shelf).account.deaths += 1;
                Err(died())
            }
            1 => Ok(Fate::DiesAfter),
            2 | 3 if self.depth < DEEPEST => {
                if dice.below(2) == 0 {
                    grow(&self.shelf);
                }
                let _ = live(&self.shelf, self.depth + 1);
                Ok(Fate::Goes)
            }
            4 if dice.below(3) == 0 => {
                let mut world = lock(&self.shelf);
                if !world.past.is_empty() {
                    let back = dice.below(world.past.len() as u64) as usize;
                    world.store = world.past[back].clone();
                    world.past.truncate(back + 1);
                    world.account.rollbacks += 1;
                }
                Ok(Fate::Goes)
            }
            _ => Ok(Fate::Goes),
        }
    }

    fn end<T>(&self, fate: &Fate, result: T) -> Result<T, StoreError> {
        if *fate == Fate::DiesAfter {
            let mut world = lock(&self.shelf);
            world.account.deaths += 1;
            if world.missing == Missing::DurableRawData {
                for id in &self.raw {
                    world.store.documents.remove(&(Collection::RawData, id.clone()));
                }
            }
            return Err(died());
        }
        Ok(result)
    }
}

/// What the store holds, for the first commit of an instance that starts.
struct SimulatedScan(Shelf);

impl SimulatedScan {
    fn documents(&self, wanted: impl Fn(&Document) -> bool) -> Vec<Document> {
        lock(&self.0).store.documents.values().filter(|document| wanted(document)).cloned().collect()
    }
}

impl StoreScan for SimulatedScan {
    fn origin(&mut self) -> Result<Option<Origin>, StoreError> {
        Ok(lock(&self.0).store.origin.clone())
    }

    fn scan(
        &mut self,
        collections: &[Collection],
        give: &mut dyn FnMut(Scanned),
    ) -> Result<Option<Progress>, StoreError> {
        give(Scanned::Begin);
        let found = self.documents(|document| collections.contains(&document.collection));
        found.into_iter().for_each(|document| give(Scanned::Document(document)));
        Ok(lock(&self.0).store.progress.clone())
    }

    fn by_id(&mut self, collection: Collection, ids: &[String]) -> Result<Vec<Document>, StoreError> {
        Ok(self.documents(|document| document.collection == collection && ids.contains(&document.id)))
    }

    fn is_empty(&mut self, collection: Collection) -> Result<bool, StoreError> {
        Ok(self.documents(|document| document.collection == collection).is_empty())
    }

    fn raw_below(&mut self, _topic: Topic, _partition: i32, _offset: i64) -> Result<u64, StoreError> {
        Ok(self.documents(|document| document.collection == Collection::RawData).len() as u64)
    }

    fn json_kept(&self) -> fn(&str) -> String {
        str::to_owned
    }
}

impl Store for SimulatedStore {
    fn init(&mut self) -> Result<(), StoreError> {
        let fate = self.call(11)?;
        self.end(&fate, ())
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        let fate = self.call(12)?;
        let found = {
            let world = lock(&self.shelf);
            (world.store.progress.clone(), world.store.origin.clone())
        };
        self.end(&fate, found)
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        Ok(Fingerprints::new())
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        Ok(Some(Box::new(SimulatedScan(Arc::clone(&self.shelf)))))
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        let fate = self.call(13)?;
        let found = {
            let mut world = lock(&self.shelf);
            let none = || Progress {
                epoch: 0,
                as_of: None,
                offsets: Offsets::new(),
                committed_at: None,
                instance: String::new(),
                fence: 0,
            };
            let mut progress = world.store.progress.clone().unwrap_or_else(none);
            progress.fence += 1;
            progress.instance = instance.to_owned();
            world.store.progress = Some(progress.clone());
            (progress, world.store.origin.clone())
        };
        self.held = Some((found.0.fence, found.0.epoch, instance.to_owned()));
        self.end(&fate, found)
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        let fate = self.call(14)?;
        {
            let mut world = lock(&self.shelf);
            for document in documents {
                let place = (document.collection, document.id.clone());
                world.store.documents.entry(place).or_insert_with(|| document.clone());
            }
        }
        self.raw.extend(documents.iter().map(|document| document.id.clone()));
        self.end(&fate, ())
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError> {
        let fate = self.call(17)?;
        let held = self.held.clone();
        {
            let mut world = lock(&self.shelf);
            let found = world.store.progress.as_ref().map(|found| (found.fence, found.epoch, found.instance.clone()));
            if found != held {
                return Err(StoreError::Fenced(format!("held {held:?}, found {found:?}")));
            }
            let end = world.log.get(partition as usize).map_or(0, Vec::len) as i64;
            for offset in from..end {
                world.store.documents.remove(&(Collection::RawData, record_id(topic, partition, offset)));
            }
        }
        self.end(&fate, ())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let fate = self.call(15)?;
        {
            let mut world = lock(&self.shelf);
            let found = world.store.progress.clone();
            let Some((fence, epoch, instance)) = &self.held else { return Err(died()) };
            let theirs = |found: &Progress| {
                (found.fence, found.epoch) != (*fence, *epoch)
                    || (found.instance != *instance && world.missing != Missing::Instance)
            };
            if world.missing != Missing::CompareAndSet && found.as_ref().is_none_or(theirs) {
                return Err(StoreError::Fenced(format!("held {:?}, found {found:?}", self.held)));
            }
            let half = world.missing == Missing::WholeCommits && fate == Fate::DiesAfter;
            let written = if half { commit.upserts.len() / 2 } else { commit.upserts.len() };
            for document in commit.upserts[..written].iter().chain(&commit.dead_letters) {
                world.store.documents.insert((document.collection, document.id.clone()), document.clone());
            }
            if !half {
                for place in &commit.deletes {
                    world.store.documents.remove(place);
                }
            }
            if let Some(origin) = &commit.origin {
                world.store.origin = Some(origin.clone());
            }
            world.store.progress = Some(Progress {
                epoch: commit.epoch,
                as_of: commit.as_of,
                offsets: commit.offsets.clone(),
                committed_at: Some(commit.committed_at),
                instance: instance.clone(),
                fence: *fence,
            });
            world.account.commits += 1;
            if let Err(violation) = check(&world, found.as_ref()) {
                world.violation.get_or_insert(violation);
            }
            let held = world.store.clone();
            world.past.push(held);
            if world.past.len() > 4 {
                world.past.remove(0);
            }
            if world.missing == Missing::KnownOutcomes && commit.epoch % 5 == 4 {
                return Err(StoreError::Fenced("it was this instance's own commit".into()));
            }
        }
        if let Some((_, epoch, _)) = &mut self.held {
            *epoch = commit.epoch;
        }
        self.raw.clear();
        self.end(&fate, ())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        let fate = self.call(16)?;
        let alerts = {
            let world = lock(&self.shelf);
            let alerts = world.store.documents.values().filter(|document| document.id.starts_with("alert|"));
            alerts.cloned().collect()
        };
        self.end(&fate, alerts)
    }

    fn guarantee(&self) -> String {
        "simulated".into()
    }
}

/// Whether the store is what the function makes of the records below its offsets.
fn check(world: &World, before: Option<&Progress>) -> Result<(), String> {
    let Some(progress) = &world.store.progress else { return Err("no progress after a commit".into()) };
    if let Some(before) = before
        && (progress.epoch <= before.epoch || progress.fence < before.fence)
    {
        return Err(format!("epoch {} after {}", progress.epoch, before.epoch));
    }
    let (mut state, mut raw, mut letters) = (State::default(), BTreeSet::new(), BTreeSet::new());
    for ((_, partition), next) in &progress.offsets {
        let records = &world.log[*partition as usize];
        if let Some(known) = before.and_then(|before| before.offsets.get(&(TOPIC, *partition)))
            && next < known
        {
            return Err(format!("partition {partition} went back from {known} to {next}"));
        }
        for (offset, record) in (0..*next).zip(records) {
            state.take(*partition, *record);
            raw.insert(record_id(TOPIC, *partition, offset));
            if !record.readable {
                letters.insert(record_id(TOPIC, *partition, offset));
            }
        }
    }
    if progress.as_of != state.as_of {
        return Err(format!("as_of is {:?}, the records say {:?}", progress.as_of, state.as_of));
    }
    let stamp = Stamp { epoch: 0, as_of: None };
    let views = ViewSet::default();
    let rows = state.rows();
    let plain = |document: &Document| -> Vec<(FieldName, Value)> {
        let stamps = ["epoch", "as_of", "timestamp"];
        document.fields.iter().filter(|(name, _)| !stamps.contains(&&**name)).cloned().collect()
    };
    let expected: BTreeMap<(Collection, String), Vec<(FieldName, Value)>> = rows
        .iter()
        .filter_map(|row| document(row, stamp, &views))
        .map(|document| ((document.collection, document.id.clone()), plain(&document)))
        .collect();
    let open: BTreeSet<String> = rows
        .iter()
        .filter_map(|(key, _)| match key {
            RowKey::Alert(kind, subject) => Some(alert_id(*kind, subject)),
            _ => None,
        })
        .collect();
    let (mut found, mut found_open, mut found_letters) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for ((collection, id), document) in &world.store.documents {
        match collection {
            Collection::RawData => {
                raw.remove(id);
            }
            Collection::DeadLetters => {
                found_letters.insert(id.clone());
            }
            _ if id.starts_with("alert|") => {
                if document.get("state") == Some(&Value::Text("open".into())) {
                    found_open.insert(id.clone());
                }
            }
            _ => {
                found.insert((*collection, id.clone()), plain(document));
            }
        }
    }
    match () {
        () if found != expected => Err(format!("epoch {}: documents {found:?}, expected {expected:?}", progress.epoch)),
        () if found_open != open => Err(format!("epoch {}: open {found_open:?}, expected {open:?}", progress.epoch)),
        () if found_letters != letters => Err(format!("dead letters {found_letters:?}, expected {letters:?}")),
        () if !raw.is_empty() => Err(format!("epoch {} counts records that raw_data lacks: {raw:?}", progress.epoch)),
        () => Ok(()),
    }
}
