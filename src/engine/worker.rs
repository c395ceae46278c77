//! One worker: reads its partitions for a tick, closes it, lets the graph catch up, and so on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use tillflow_dataflows::assembly::{self, assemble};
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::state::State;
use tillflow_dataflows::time::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use super::budget;
use super::checkpoint::{Saving, Shard};
use super::drain::{TickBatch, drain};
use super::expiry::Bounds;
use super::ingest::{Ingest, Note};
use super::plan::{self, Planned};
use super::shared::Shared;
use super::{EngineError, now, operator_times, state_sizes};
use crate::document::Document;
use crate::source::{Assignment, PartitionInfo, Reader};
use crate::status::{PartitionStatus, Problem};

/// Records read between two looks at the graph, at most.
const SLICE: usize = 4096;

/// Bytes of keys and values between two looks at the graph: with more the next slice has fewer records, with a quarter of it
/// more, beginning with few.
const SLICE_BYTES: usize = 8 << 20;

/// Bytes of keys and values after which a tick is closed early.
const TICK_BYTES: usize = 64 << 20;

/// Bytes of a checkpoint after which the graph gets to work.
const RESTORE_STEP: usize = 4 << 20;

/// How long a tick lasts at most when nothing is read any more.
const LAST_TICK: Duration = Duration::from_millis(100);

/// The longest a worker sleeps when there is nothing to do within a tick.
const NAP: Duration = Duration::from_millis(10);

/// Where a worker puts its notes.
type NotesInput = InputHandle<Tick, CapacityContainerBuilder<Vec<(Tick, Note)>>>;

/// Runs one worker to its end.
pub(super) fn run(worker: &mut Worker, shared: &Arc<Shared>) {
    let (batches, raw) = {
        let channels = shared.channels.lock().unwrap_or_else(PoisonError::into_inner);
        (channels.batches.clone(), channels.raw.clone())
    };
    let Some(batches) = batches else { return };
    state_sizes::watch(worker, shared.operators(), &shared.metrics);
    if let Some(times) = &shared.operator_times {
        operator_times::watch(worker, shared.operators(), &shared.metrics, times);
    }
    let mut feed = Feed::new(assembly::parts(&shared.assembly));
    let mut notes_input: NotesInput = InputHandle::new();
    let mut state = State::new();
    let told = batches.clone();
    let probe = worker.dataflow_named("tillflow", |scope| {
        let rows = assemble(feed.inputs(scope), &shared.assembly, &mut state);
        let notes = scope.input_from(&mut notes_input);
        drain(rows, notes, batches, shared)
    });
    if let Err(error) = restore(worker, shared, &mut state, &probe) {
        shared.fail(error);
        drop((feed, notes_input, state));
        end(worker, shared, &probe);
        return;
    }

    let mine = |index: &usize| index % worker.peers() == worker.index();
    let partitions: Vec<Planned> = (0..shared.partitions.len()).filter(mine).map(|it| shared.partitions[it]).collect();
    let assignments: Vec<Assignment> = partitions.iter().map(|planned| planned.assignment).collect();
    let reader = match shared.source.open(&assignments) {
        Ok(reader) => reader,
        Err(error) => {
            shared.fail(error.into());
            end(worker, shared, &probe);
            return;
        }
    };
    let (ingest, expired) = {
        let mut restored = shared.restored.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is offered before every worker has begun.
        let late_before = shared.expiry.bounds().offered;
        let mut ingest = Ingest::new(&shared.options, worker.index(), late_before);
        let begun = ingest.begin_all(&partitions, &mut restored.partitions, &mut feed);
        // Of those that are not read each worker keeps what it takes up when they are there again.
        let is_read = |place| shared.partitions.iter().any(|planned| planned.assignment.place() == place);
        let is_mine = |place| !is_read(place) && plan::taker(place, worker.peers()) == worker.index();
        let begun = begun.and_then(|()| ingest.keep(&mut restored.partitions, is_mine, &mut feed));
        let ingest = begun.map(|()| ingest);
        (ingest, restored.expired)
    };
    let ingest = match ingest {
        Ok(ingest) => ingest,
        Err(error) => {
            shared.fail(error);
            drop((feed, notes_input, state));
            end(worker, shared, &probe);
            return;
        }
    };
    let reading = Reading {
        shared: Arc::clone(shared),
        reader,
        ingest,
        partitions,
        added: 0,
        feed,
        notes_input,
        raw,
        raw_waiting: None,
        probe: probe.clone(),
        index: worker.index(),
        saving: Saving::new(state, expired, Arc::clone(&shared.schedule), shared.checkpoints),
        shards: shared.shards(),
        shard: None,
        gate_told: worker.index() != 0,
        over: false,
        batches: told,
        slice: 64,
        first: 0,
        served: Instant::now(),
    };
    match reading.run(worker) {
        Ok(()) => {}
        Err(error) => shared.fail(error),
    }
    end(worker, shared, &probe);
}

/// Gives the graph the state of a checkpoint; each worker takes what it gets hold of.
fn restore(worker: &mut Worker, shared: &Shared, state: &mut State, probe: &Handle<Tick>) -> Result<(), EngineError> {
    let mut since = 0;
    // No tick, but it shows that something moves.
    let mut restored = 1;
    // The lock is not to be held while a chunk is taken in: the other workers take theirs.
    let next = || shared.restored.lock().unwrap_or_else(PoisonError::into_inner).chunks.pop();
    while let Some(chunk) = next() {
        if crate::fault::mutant("restore_drops_rollups") && chunk.cut == "Sales rollups" {
            continue;
        }
        state.restore(&chunk).map_err(|error| EngineError::unreadable_checkpoint(&error))?;
        since += chunk.bytes.len();
        // What is restored is not to wait in queues.
        if since > RESTORE_STEP {
            since = 0;
            worker.step();
            shared.pulse.beat(worker.index(), Some(restored), probe);
            restored += 1;
        }
    }
    Ok(())
}

/// Lets the graph finish, or drops it when the run has failed.
fn end(worker: &mut Worker, shared: &Shared, probe: &Handle<Tick>) {
    while worker.has_dataflows() {
        shared.pulse.beat(worker.index(), None, probe);
        if shared.has_failed() {
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
            return;
        }
        worker.step_or_park(Some(NAP));
    }
}

/// A worker with its share of the source.
struct Reading {
    shared: Arc<Shared>,
    reader: Box<dyn Reader>,
    ingest: Ingest,
    partitions: Vec<Planned>,
    /// How many partitions that came later have been looked at.
    added: usize,
    feed: Feed,
    notes_input: NotesInput,
    raw: Option<Sender<Vec<Document>>>,
    /// Raw documents that the full queue did not take.
    raw_waiting: Option<Vec<Document>>,
    probe: Handle<Tick>,
    /// The state of this worker's graph.
    saving: Saving,
    /// What writes checkpoints, if it is in this process.
    shards: Option<Sender<Shard>>,
    /// If it is not, a part of a checkpoint that waits for the end of a tick.
    shard: Option<Box<Shard>>,
    /// Whether the committer knows that everything committed has been read again, or hears it from another worker.
    gate_told: bool,
    /// Whether this worker reads nothing any more.
    over: bool,
    batches: Sender<TickBatch>,
    /// This worker's number.
    index: usize,
    /// How many records the next slice has.
    slice: usize,
    /// The partition to begin the next round with.
    first: usize,
    served: Instant,
}

impl Reading {
    /// Reads until asked to stop, until caught up if so asked, or until the run fails; then closes the inputs.
    fn run(mut self, worker: &mut Worker) -> Result<(), EngineError> {
        let (mut tick, mut ends) = self.shared.next_tick(0, false);
        self.open(tick);
        let mut rebuilding = self.shared.gate.opened().is_none();
        loop {
            // What is read again is not committed again.
            let records = if rebuilding { budget::MOST_RECORDS } else { self.shared.budget.records() };
            let records = crate::fault::limit("tick_records", records);
            let (mut budget, mut bytes) = (records, 0);
            let mut notes = Vec::new();
            // Decided by this tick alone: a gate that opens meanwhile opens for later ticks.
            let waiting = !rebuilding && self.shared.gate.opened().is_none_or(|last| tick <= last);
            if !rebuilding && !waiting {
                self.take_up_added(worker, &mut notes)?;
                self.let_windows_go(&mut notes);
            }
            while budget > 0 && bytes < TICK_BYTES && !self.shared.is_stopping() {
                let is_ahead = self.is_ahead(tick);
                if is_ahead && budget == records {
                    // Not on to the next one: who is ahead of another process and went on as fast as that one would stay
                    // ahead, and never read again.
                    ends = Instant::now() + self.shared.options.tick;
                    // The graph moves meanwhile, or the run stands still.
                    self.shared.pulse.beat(self.index, Some(tick), &self.probe);
                }
                let throttled = self.over || waiting || is_ahead || !self.send_raw() || self.is_held_up();
                let read = match throttled {
                    true => 0,
                    false => {
                        let (records, size) = self.read_slice(budget, rebuilding, &mut notes)?;
                        budget = budget.saturating_sub(records);
                        bytes += size;
                        records
                    }
                };
                self.save();
                self.tell_of_the_gate();
                let left = ends.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if read > 0 {
                    worker.step();
                } else if self.is_done(tick, rebuilding, waiting) || self.shared.ticks.have_gone_on(tick) {
                    break;
                } else {
                    worker.step_or_park(Some(left.min(NAP)));
                }
            }
            // The committer writes raw documents before the commit that makes them count: they must be on their way
            // before the tick closes.
            self.flush_raw(worker);
            self.serve(worker)?;
            crate::fault::point("worker.tick");
            self.ingest.close_tick(&mut self.feed, &mut notes);
            notes.extend(self.shard.take().map(Note::Shard));
            for note in notes {
                self.notes_input.send((tick, note));
            }
            if rebuilding && self.has_reached_committed() {
                rebuilding = false;
                crate::fault::point("gate.reached");
                self.shared.gate.arrive(tick);
                crate::fault::point("gate.passed");
            }
            if self.shared.has_failed() {
                return Ok(());
            }
            let done = !rebuilding
                && self.shared.options.until_caught_up
                && self.shared.gate.opened().is_some()
                && self.has_read_everything();
            if (done || self.over || self.shared.stop.load(Ordering::SeqCst)) && self.may_end() {
                return Ok(());
            }
            if self.over {
                self.wait_for_the_last_checkpoint(worker, tick);
            }
            let least = self.shared.gate.opened().map_or(tick, |last| tick.max(last)) + 1;
            // Of a tick that was closed a tick ago the other processes should be through.
            let ahead = worker.peers() > self.shared.options.workers && self.probe.less_than(&tick);
            let next = self.shared.next_tick(least, ahead);
            self.saving.between((tick, next.0), worker.index() == 0, || self.ingest.saved());
            (tick, ends) = next;
            self.open(tick);
            worker.step();
        }
    }

    fn open(&mut self, tick: Tick) {
        self.shared.pulse.beat(self.index, Some(tick), &self.probe);
        self.saving.state.advance_to(tick);
        self.feed.advance_to(tick);
        self.ingest.recycle();
        self.notes_input.advance_to(tick);
    }

    /// Tells the committer, once, that the graph is past everything that had to be read again: what the store lacks is
    /// due even if nothing new comes.
    fn tell_of_the_gate(&mut self) {
        if !self.gate_told
            && let Some(last) = self.shared.gate.opened()
            && !self.probe.less_equal(&last)
        {
            self.gate_told = true;
            self.shared.pending.add(0);
            // A committer that has ended has said why.
            let _ = self.batches.send(TickBatch { tick: last + 1, ..TickBatch::default() });
        }
    }

    /// Whether this worker, which reads nothing any more, may end: once the last checkpoint is made, which saves the next
    /// start from reading anything again. That is not worth a stop that takes too long. Until then its ticks go on: others
    /// may be reading.
    fn may_end(&mut self) -> bool {
        let Shared { schedule, options, .. } = self.shared.as_ref();
        if !self.saving.is_on() {
            return true;
        }
        let leads = self.shards.is_some();
        let ends_with_one = match schedule.is_decided_to_end_with_one() {
            None if leads || options.until_caught_up => schedule.ends_with_one(options.until_caught_up),
            // Process 0 will say.
            None => true,
            Some(decided) => decided,
        };
        if !ends_with_one {
            return true;
        }
        if !self.over {
            self.over = true;
            schedule.end(1);
        }
        if leads && self.shared.stop.load(Ordering::SeqCst) {
            schedule.hurry();
        }
        schedule.is_over()
    }

    /// Lets a tick last, in which nothing is read. The processes of a cluster have to hear of each other meanwhile, or those
    /// that nothing holds up would always be beyond the tick that is to be saved. Once that is known, nothing keeps them from
    /// getting there.
    fn wait_for_the_last_checkpoint(&mut self, worker: &mut Worker, closed: Tick) {
        if self.shared.schedule.last().is_some_and(|last| closed <= last) {
            return;
        }
        let is_alone = worker.peers() == self.shared.options.workers;
        let ends = Instant::now() + self.shared.options.tick.min(if is_alone { NAP } else { LAST_TICK });
        while let Some(left) = ends.checked_duration_since(Instant::now())
            && !self.shared.schedule.is_over()
            && !self.shared.has_failed()
        {
            worker.step_or_park(Some(left.min(NAP)));
            self.save();
        }
    }

    /// Does this worker's part in checkpoints.
    fn save(&mut self) {
        let Some(shard) = self.saving.work(&self.probe) else { return };
        match &self.shards {
            // A writer that has ended has said why.
            Some(shards) => drop(shards.send(shard)),
            None => self.shard = Some(Box::new(shard)),
        }
    }

    /// Takes up those of the partitions that came since the start that are this worker's. All of it is in the notes of
    /// a tick, so that the store knows where a partition was begun before it counts anything of it.
    fn take_up_added(&mut self, worker: &Worker, notes: &mut Vec<Note>) -> Result<(), EngineError> {
        for info in self.shared.source.added(self.added) {
            self.added += 1;
            if plan::taker((info.topic, info.partition), worker.peers()) != worker.index() {
                continue;
            }
            let PartitionInfo { topic, partition, low: start, .. } = info;
            let assignment = Assignment { topic, partition, start };
            self.reader.add(assignment)?;
            // It was not there when the run began, so nobody who waits for what was there waits for it.
            let planned = Planned { assignment, committed: start, end: Some(start), late_before: None };
            self.ingest.add(planned);
            self.partitions.push(planned);
            notes.push(self.ingest.begin(assignment));
            tracing::info!(topic = topic.name(), partition, offset = start, "a new partition is read from now on");
        }
        Ok(())
    }

    /// Does this worker's part in letting final windows go: agrees to what is offered, and executes what is decided.
    fn let_windows_go(&mut self, notes: &mut Vec<Note>) {
        let Bounds { offered, decided } = self.shared.expiry.bounds();
        if let Some(before) = offered
            && self.ingest.agree(before, |index| self.reader.position(index).at_end)
        {
            notes.push(Note::Agreed { worker: self.index, before });
        }
        if let Some((before, settled)) = decided
            && self.saving.expire(before, settled)
        {
            self.shared.metrics.expired(before);
        }
    }

    /// Whether too much waits for the store, here or in process 0. A full queue of raw documents is seen by what cannot
    /// be sent.
    fn is_held_up(&self) -> bool {
        self.shared.too_much_waits() || self.shared.told.full.load(Ordering::Relaxed)
    }

    /// Whether the graph is so far behind that reading more would only fill memory.
    fn is_ahead(&self, tick: Tick) -> bool {
        self.probe.less_than(&tick.saturating_sub(self.shared.told.most_ahead(self.shared.options.tick)))
    }

    /// Reads a slice from each partition in turn, beginning with another one each time.
    /// Returns how many records and how many bytes.
    fn read_slice(
        &mut self,
        budget: usize,
        rebuilding: bool,
        notes: &mut Vec<Note>,
    ) -> Result<(usize, usize), EngineError> {
        let partitions = self.partitions.len();
        let Some(share) = budget.min(self.slice).checked_div(partitions) else { return Ok((0, 0)) };
        let mut raw = Vec::new();
        let (mut total, mut bytes) = (0, 0);
        for turn in 0..partitions {
            let index = (self.first + turn) % partitions;
            let until = if rebuilding { self.partitions[index].committed } else { i64::MAX };
            let (ingest, feed) = (&mut self.ingest, &mut self.feed);
            total += self.reader.poll(index, share.max(1), until, &mut |record| {
                bytes += [record.key, record.value].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
                let skipped = record.offset % 10 == 9
                    && (crate::fault::mutant("a_record_is_dropped")
                        || (rebuilding && crate::fault::mutant("rebuild_drops_a_record")));
                if skipped {
                    return;
                }
                ingest.take(index, record, feed, &mut raw, notes);
            })?;
        }
        self.first = (self.first + 1) % partitions.max(1);
        if bytes > SLICE_BYTES {
            self.slice = (self.slice / 4).max(partitions);
        } else if bytes < SLICE_BYTES / 4 {
            self.slice = (self.slice * 2).min(SLICE);
        }
        if self.raw.is_none() {
            // The committer is in another process: they travel with their tick.
            notes.extend(raw.into_iter().map(|document| Note::Raw(Box::new(document))));
        } else if !raw.is_empty() {
            // `read_slice` is called only while nothing waits.
            self.raw_waiting = Some(raw);
            self.send_raw();
        }
        Ok((total, bytes))
    }

    /// Hands raw documents over; false while the queue is full.
    fn send_raw(&mut self) -> bool {
        let (Some(raw), Some(documents)) = (&self.raw, self.raw_waiting.take()) else { return true };
        match raw.try_send(documents) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => true,
            Err(TrySendError::Full(documents)) => {
                self.raw_waiting = Some(documents);
                false
            }
        }
    }

    /// Hands the raw documents of the tick over, waiting for room.
    fn flush_raw(&mut self, worker: &mut Worker) {
        while !self.send_raw() && !self.shared.has_failed() {
            worker.step_or_park(Some(NAP));
        }
    }

    fn has_reached_committed(&self) -> bool {
        self.partitions.iter().enumerate().all(|(index, planned)| {
            let position = self.reader.position(index);
            position.next >= planned.committed || position.at_end
        })
    }

    fn has_read_everything(&self) -> bool {
        self.partitions.iter().enumerate().all(|(index, planned)| {
            let position = self.reader.position(index);
            position.at_end || planned.end.is_some_and(|end| position.next >= end)
        })
    }

    /// Whether nothing is gained by a tick that lasts as long as it may.
    fn is_done(&self, tick: Tick, rebuilding: bool, waiting: bool) -> bool {
        if self.over {
            let schedule = &self.shared.schedule;
            let is_through = match schedule.last() {
                // Straight to the tick that is saved last. The next one takes this worker's part of the checkpoint along.
                Some(last) => tick <= last || self.saving.has_made(last),
                // What the workers of other processes do is known in process 0 alone.
                None => schedule.have_all_ended(),
            };
            return is_through || schedule.is_over();
        }
        match rebuilding {
            true => self.has_reached_committed(),
            false => !waiting && self.shared.options.until_caught_up && self.has_read_everything(),
        }
    }

    /// Serves the reader's own events, and tells how far it is.
    fn serve(&mut self, worker: &Worker) -> Result<(), EngineError> {
        let problem = self.reader.serve()?.or_else(|| self.shared.told.problem());
        if self.served.elapsed() < Duration::from_millis(200) && problem.is_none() {
            return Ok(());
        }
        self.served = Instant::now();
        state_sizes::flush(worker);
        let positions: Vec<PartitionStatus> = self
            .partitions
            .iter()
            .enumerate()
            .map(|(index, Planned { assignment, .. })| {
                let position = self.reader.position(index);
                PartitionStatus {
                    topic: assignment.topic,
                    partition: assignment.partition,
                    position: position.next,
                    end: position.end,
                }
            })
            .collect();
        self.shared.metrics.set_lag(&positions);
        self.shared.status.update(|status| {
            for position in positions {
                match status
                    .partitions
                    .binary_search_by_key(&(position.topic, position.partition), |known| (known.topic, known.partition))
                {
                    Ok(known) => status.partitions[known] = position,
                    Err(place) => status.partitions.insert(place, position),
                }
            }
            match (&mut status.source_problem, problem) {
                (Some(known), Some(text)) => known.text = text,
                (slot, problem) => *slot = problem.map(|text| Problem { since: now(), text }),
            }
        });
        Ok(())
    }
}
