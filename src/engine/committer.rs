//! The committer: complete ticks become epochs, an epoch becomes one commit.
//!
//! It runs on a thread of its own and is the only one that writes to the store. Ticks that wait while a commit is
//! being made are merged into the next one. While state is being rebuilt it only listens.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, select_biased};
use differential_dataflow::consolidation::consolidate;
use tillflow_dataflows::outputs::{AlertKind, Row, RowBody, RowKey, Subject};
use tillflow_dataflows::records::Millis;
use tillflow_dataflows::time::{Diff, Tick};

use super::alerts::{AlertBook, alert_id};
use super::checkpoint::Shard;
use super::correction::{Correction, RowsInForce, Stored};
use super::documents::{Stamp, document, document_id};
use super::drain::TickBatch;
use super::expiry::Expiring;
use super::ingest::{Consumed, DeadLetter, Note, record_id};
use super::plan::Plan;
use super::rebuild::{self, Rebuild};
use super::shared::Shared;
use super::{EngineError, Summary, now};
use crate::document::{Collection, Document, Fields, Value};
use crate::status::{Phase, StatusSnapshot};
use crate::store::{Commit, Fingerprint, Fingerprints, Offsets, Origin, Progress, Store};

/// Raw documents that are written at once; of this process's own, those of a batch more.
const RAW_DOCUMENTS: usize = 4096;

/// Bytes of raw documents after which no further batch of this process's own is written with them.
const RAW_BYTES: usize = 8 << 20;

/// How often the status is looked at when nothing happens.
const LOOK: Duration = Duration::from_millis(200);

/// How far behind, in time at the recent rate, still counts as live.
const LIVE_WITHIN_SECONDS: f64 = 1.0;

/// What a committer begins with.
pub(super) struct Beginning {
    pub(super) progress: Progress,
    pub(super) plan: Plan,
    pub(super) alerts: AlertBook,
    pub(super) expiring: Expiring,
    /// What writes checkpoints, if one does.
    pub(super) shards: Option<Sender<Shard>>,
    /// Gives what the store holds, if something is read again and this store can tell.
    pub(super) stored: Option<ReadStored>,
}

/// Gives what the store holds.
pub(super) type ReadStored = Box<dyn FnOnce() -> Result<Stored, EngineError> + Send>;

/// The committer's state between commits.
pub(super) struct Committer {
    store: Box<dyn Store>,
    shared: std::sync::Arc<Shared>,
    epoch: u64,
    as_of: Option<Millis>,
    offsets: Offsets,
    origin: Origin,
    /// Whether the store does not have this origin yet.
    origin_is_news: bool,
    /// Whether the origin is to be written even if no record comes.
    must_commit: bool,
    fingerprints: Fingerprints,
    alerts: AlertBook,
    /// What has been read again; absent when nothing needs to be, or when that is over.
    rebuild: Option<Rebuild>,
    stored: Option<ReadStored>,
    expiring: Expiring,
    shards: Option<Sender<Shard>>,
    newest: Option<Millis>,
    summary: Summary,
    rate: Rate,
}

/// The rate of committed records over the last few seconds.
#[derive(Debug)]
struct Rate {
    since: Instant,
    records: u64,
    per_second: f64,
}

impl Rate {
    fn add(&mut self, records: u64) {
        self.records += records;
        let seconds = self.since.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            let current = self.records as f64 / seconds;
            // Half old, half new: quiet enough to read, quick enough to believe.
            self.per_second = if self.per_second == 0.0 { current } else { (self.per_second + current) / 2.0 };
            (self.since, self.records) = (Instant::now(), 0);
        }
    }
}

/// Several ticks, taken together.
#[derive(Default)]
struct Merged {
    /// The last of them.
    tick: Tick,
    rows: Vec<(Row, Diff)>,
    consumed: Vec<Consumed>,
    dead_letters: Vec<DeadLetter>,
    /// Raw documents of other processes.
    raw: Vec<Document>,
    /// Their parts of a checkpoint.
    shards: Vec<Shard>,
}

impl Merged {
    fn add(&mut self, batch: TickBatch, expiring: &mut Expiring) {
        self.tick = self.tick.max(batch.tick);
        self.rows.extend(batch.rows);
        for note in batch.notes {
            expiring.listen(&note);
            match note {
                Note::Consumed(consumed) => self.consumed.push(*consumed),
                Note::DeadLetter(letter) => self.dead_letters.push(*letter),
                Note::Raw(document) => self.raw.push(*document),
                Note::Shard(shard) => self.shards.push(*shard),
                Note::Agreed { .. } => {}
            }
        }
    }
}

impl Committer {
    pub(super) fn new(
        store: Box<dyn Store>,
        Beginning { progress, plan, alerts, expiring, shards, stored }: Beginning,
        shared: std::sync::Arc<Shared>,
    ) -> Committer {
        Committer {
            store,
            shared,
            epoch: progress.epoch,
            as_of: progress.as_of,
            offsets: plan.committed,
            origin: plan.origin,
            origin_is_news: plan.origin_is_news,
            must_commit: !plan.accepted.is_empty(),
            fingerprints: plan.fingerprints,
            alerts,
            rebuild: plan.rebuild.then(|| Rebuild::new(&plan.partitions)),
            stored,
            expiring,
            shards,
            newest: None,
            summary: Summary { epoch: progress.epoch, ..Summary::default() },
            rate: Rate { since: Instant::now(), records: 0, per_second: 0.0 },
        }
    }

    /// Commits until the workers have ended and everything they sent is committed. A failure makes them end, too.
    pub(super) fn run(
        mut self,
        batches: &Receiver<TickBatch>,
        raw: &Receiver<Vec<Document>>,
    ) -> Result<Summary, EngineError> {
        let result = self.run_until_ended(batches, raw);
        if result.is_err() {
            self.shared.failed.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        result.map(|()| self.summary)
    }

    fn run_until_ended(
        &mut self,
        batches: &Receiver<TickBatch>,
        raw: &Receiver<Vec<Document>>,
    ) -> Result<(), EngineError> {
        // A tick that was taken from the queue and belongs to the next commit.
        let mut kept: Option<TickBatch> = None;
        let waiting = if crate::fault::mutant("raw_after_commit") { crossbeam_channel::never() } else { raw.clone() };
        loop {
            let first = match kept.take() {
                Some(batch) => Ok(batch),
                None => next(batches, &waiting, &mut |documents| {
                    Ok(self.store.write_raw(&joined(documents, &waiting, &mut waiting.len()))?)
                })?,
            };
            let first = match first {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => {
                    self.rate.add(0);
                    self.tell(None);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.is_rebuilding(&first) {
                self.shared.pending.remove(first.changes);
                self.listen(first);
                continue;
            }
            let (mut ticks, mut rows) = (1, first.changes);
            let mut merged = Merged::default();
            merged.add(first, &mut self.expiring);
            let most = self.shared.budget.merged_rows();
            while rows < crate::fault::limit("merge_rows", most / 2) {
                let Ok(batch) = batches.try_recv() else { break };
                if rows + batch.changes > most {
                    kept = Some(batch);
                    break;
                }
                ticks += 1;
                rows += batch.changes;
                merged.add(batch, &mut self.expiring);
            }
            // Everything of these ticks was sent before they closed. What comes meanwhile is of later ones, and may never end.
            let mut left = waiting.len();
            while left > 0
                && let Ok(documents) = waiting.try_recv()
            {
                left -= 1;
                self.store.write_raw(&joined(documents, &waiting, &mut left))?;
                crate::fault::point("commit.raw");
            }
            for documents in std::mem::take(&mut merged.raw).chunks(RAW_DOCUMENTS) {
                self.store.write_raw(documents)?;
            }
            self.pass_on(std::mem::take(&mut merged.shards));
            let tick = merged.tick;
            let committed = self.commit(merged)?;
            self.let_windows_go(tick)?;
            for _ in 1..ticks {
                self.shared.pending.remove(0);
            }
            self.shared.pending.remove(rows);
            self.tell(committed.then_some(()));
            crate::fault::point("commit.told");
        }
        crate::fault::point("stop.committed");
        while let Ok(documents) = raw.try_recv() {
            self.store.write_raw(&joined(documents, raw, &mut raw.len()))?;
        }
        // Nothing new came after the rebuild. One that was broken off says nothing.
        if self.shared.gate.opened().is_some() && !self.shared.has_failed() {
            // What was accepted, and what the store lacks, is in it when the run says that all is well.
            self.commit(Merged::default())?;
        }
        crate::fault::point("stop.ended");
        Ok(())
    }

    /// The committer's part in letting final windows go, when everything up to `tick` is committed.
    fn let_windows_go(&mut self, tick: Tick) -> Result<(), EngineError> {
        if let Some(before) = self.expiring.decide(self.as_of) {
            self.origin.expiring_before = Some(before);
            (self.origin_is_news, self.must_commit) = (true, true);
            self.commit(Merged::default())?;
        }
        // After a decision there may be a next offer at once; nothing else may come for long.
        while let Some(bounds) = self.expiring.consider(self.as_of, tick) {
            self.shared.expiry.set(bounds);
        }
        Ok(())
    }

    fn is_rebuilding(&self, batch: &TickBatch) -> bool {
        self.rebuild.is_some() && self.shared.gate.opened().is_none_or(|last| batch.tick <= last)
    }

    /// Hands parts of checkpoints to what writes them.
    fn pass_on(&self, parts: impl IntoIterator<Item = Shard>) {
        if let Some(shards) = &self.shards {
            // A writer that has ended has said why.
            parts.into_iter().for_each(|part| drop(shards.send(part)));
        }
    }

    /// Takes note of a tick whose effects are in the store already.
    fn listen(&mut self, mut batch: TickBatch) {
        let parts = batch.notes.extract_if(.., |note| matches!(note, Note::Shard(_)));
        self.pass_on(parts.filter_map(|note| if let Note::Shard(shard) = note { Some(*shard) } else { None }));
        for note in &batch.notes {
            self.expiring.listen(note);
            if let Note::Consumed(consumed) = note {
                self.newest = self.newest.max(consumed.newest);
            }
        }
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.listen(batch);
        }
        crate::fault::point("rebuild.listened");
    }

    /// Ends the rebuild: what was read again has to be what the store was filled with. Returns the rows in force.
    fn end_rebuild(&mut self) -> Result<Option<RowsInForce>, EngineError> {
        let Some(rebuild) = self.rebuild.take() else { return Ok(None) };
        let rows = rebuild.finish(&self.offsets, self.as_of)?;
        crate::fault::point("rebuild.ended");
        tracing::info!(epoch = self.epoch, rows = rows.len(), "state rebuilt; going on from the committed offsets");
        Ok(Some(rows))
    }

    /// What the store holds otherwise than it should, once `rows` are in force; none if this store cannot tell.
    fn correction(&mut self, rows: RowsInForce, stamp: Stamp) -> Result<Option<Correction>, EngineError> {
        let Some(read) = self.stored.take() else { return Ok(None) };
        if crate::fault::mutant("no_correction") {
            return Ok(None);
        }
        let committed = Stamp { epoch: self.epoch, as_of: self.as_of };
        self.shared
            .pulse
            .during(read)?
            .correction(rows, (committed, stamp), self.expiring.begun(), &self.shared.options.views)
            .map(Some)
            .map_err(|error| EngineError::Bug(format!("starting a thread: {error}")))
    }

    /// Opens and resolves alerts whose conditions came or went while nobody was looking, and says of the others again what is
    /// so where their documents say otherwise, or may say more.
    fn settle(&mut self, rows: &RowsInForce, stamp: Stamp) -> Vec<Document> {
        let conditions: BTreeMap<String, (AlertKind, &Subject, &RowBody)> = rows
            .iter()
            .filter_map(|(key, body)| match key {
                RowKey::Alert(kind, subject) => Some((alert_id(*kind, subject), (*kind, subject, body))),
                _ => None,
            })
            .collect();
        let mut open: BTreeSet<String> = self.alerts.open().map(String::from).collect();
        let gone = open.iter().filter(|id| !conditions.contains_key(*id));
        let mut documents: Vec<Document> = gone.filter_map(|id| self.alerts.resolve(id, stamp)).collect();
        for id in self.alerts.ahead() {
            open.remove(&id);
        }
        // A commit that was cut off, or another hand, may have written them.
        open.retain(|id| {
            conditions.get(id).is_none_or(|(kind, subject, body)| !self.alerts.misstates(*kind, subject, body))
        });
        let come = conditions.into_iter().filter(|(id, _)| !open.contains(id));
        documents.extend(
            come.filter_map(|(_, (kind, subject, body))| self.alerts.apply(kind, subject, Some(body.clone()), stamp)),
        );
        documents
    }

    /// Makes an epoch of what there is; false if there is nothing.
    fn commit(&mut self, mut merged: Merged) -> Result<bool, EngineError> {
        crate::fault::point("commit.begun");
        let rebuilt = self.end_rebuild()?;
        consolidate(&mut merged.rows);
        let epoch = self.store.epoch_after(self.epoch);
        let mut as_of = self.as_of;
        for ((key, body), difference) in &merged.rows {
            if let (RowKey::AsOf, RowBody::Instant(instant), 1..) = (key, body, difference) {
                as_of = Some(*instant);
            }
        }
        let stamp = Stamp { epoch, as_of };
        let mut upserts = BTreeMap::new();
        let mut deletes = Vec::new();
        let mut corrected = false;
        if let Some(mut rows) = rebuilt {
            for document in self.settle(&rows, stamp) {
                upserts.insert((document.collection, document.id.clone()), document);
            }
            let changed = merged.rows.len();
            rebuild::change(&mut rows, merged.rows.clone());
            if let Some(Correction { upserts: wanted, deletes: unwanted }) = self.correction(rows, stamp)? {
                corrected = true;
                if wanted.len() + unwanted.len() > changed {
                    tracing::info!(
                        documents = wanted.len(),
                        deletions = unwanted.len(),
                        "the store differs from its records; corrected with the first commit"
                    );
                }
                upserts
                    .extend(wanted.into_iter().map(|document| ((document.collection, document.id.clone()), document)));
                deletes = unwanted;
            }
        }
        for change in changes(merged.rows)? {
            let row = change.body.as_ref().or(change.gone.as_ref());
            if row.is_some_and(|body| self.expiring.leaves(&change.key, body)) {
                continue;
            }
            match (&change.key, change.body) {
                (RowKey::Alert(kind, subject), condition) => {
                    if let Some(document) = self.alerts.apply(*kind, subject, condition, stamp) {
                        upserts.insert((document.collection, document.id.clone()), document);
                    }
                }
                // The correction has it.
                _ if corrected => {}
                (_, Some(body)) => {
                    if let Some(document) = document(&(change.key, body), stamp, &self.shared.options.views) {
                        upserts.insert((document.collection, document.id.clone()), document);
                    }
                }
                (key, None) => deletes.extend(document_id(key, &self.shared.options.views)),
            }
        }
        let is_news = !merged.consumed.is_empty() || !merged.dead_letters.is_empty() || as_of != self.as_of;
        if !is_news && !self.must_commit && upserts.is_empty() && deletes.is_empty() {
            return Ok(false);
        }
        for consumed in &merged.consumed {
            let place = (consumed.topic, consumed.partition);
            let next = self.offsets.entry(place).or_insert(consumed.next);
            *next = consumed.next.max(*next);
            if let Some(crc) = consumed.crc {
                self.fingerprints.insert(place, Fingerprint { offset: consumed.next - 1, crc });
            }
            if let Entry::Vacant(begun) = self.origin.offsets.entry(place) {
                begun.insert(consumed.start);
                self.origin_is_news = true;
            }
            if let Some(late_before) = consumed.late_before {
                self.origin.late_before.insert(place, late_before);
                self.origin_is_news = true;
            }
            self.newest = self.newest.max(consumed.newest);
        }
        let committed_at = now();
        // A document that changes is two row changes.
        let letters = merged.dead_letters.iter().map(DeadLetter::weight).sum::<usize>() / 2;
        let commit = Commit {
            epoch,
            as_of,
            offsets: self.offsets.clone(),
            committed_at,
            upserts: upserts.into_values().collect(),
            deletes,
            dead_letters: merged.dead_letters.into_iter().map(|letter| dead_letter(letter, epoch)).collect(),
            origin: self.origin_is_news.then(|| self.origin.clone()),
            fingerprints: self.fingerprints.clone(),
        };
        let begun = Instant::now();
        crate::fault::point("commit.ready");
        self.store.commit(&commit)?;
        let documents = commit.upserts.len() + commit.deletes.len() + letters;
        self.shared.budget.learn_of_commit(documents, begun.elapsed());
        crate::fault::point("commit.stored");
        (self.origin_is_news, self.must_commit) = (false, false);
        self.epoch = epoch;
        self.as_of = as_of;
        let records: u64 = merged.consumed.iter().flat_map(|consumed| consumed.outcomes).sum();
        self.summary.epoch = epoch;
        self.summary.commits += 1;
        self.summary.records += records;
        self.rate.add(records);
        self.shared.metrics.committed(epoch, begun.elapsed(), self.newest);
        for consumed in &merged.consumed {
            self.shared.metrics.consumed(consumed.topic, &consumed.outcomes, &consumed.reasons);
            self.shared.metrics.end_to_end(now() - consumed.begun, &consumed.ages);
        }
        crate::fault::point("commit.counted");
        self.shared.source.committed(&self.offsets);
        self.shared.written.reach(&self.offsets);
        Ok(true)
    }

    /// Tells the status how far things are.
    fn tell(&self, committed: Option<()>) {
        let gate = self.shared.gate.opened().is_some();
        self.shared.status.update(|status| {
            if committed.is_some() {
                status.epoch = self.epoch;
                status.as_of = self.as_of;
                status.committed_at = Some(now());
                status.newest_record = self.newest;
                status.store_problem = None;
            }
            status.records = self.summary.records;
            status.records_per_second = self.rate.per_second;
            status.pending_epochs = self.shared.pending.ticks();
            status.phase = match status.phase {
                _ if self.shared.is_stopping() => Phase::Stopping,
                _ if !gate => Phase::Rebuilding,
                _ if is_live(status) => Phase::Live,
                _ => Phase::CatchingUp,
            };
        });
    }
}

fn is_live(status: &StatusSnapshot) -> bool {
    let behind = status.lag() as f64;
    // The demo's log holds what is made so far; it has caught up once it makes records of now.
    let making_up_the_past = status.demo && status.newest_record.is_none_or(|newest| now() - newest > 10_000);
    !making_up_the_past
        && status.epoch > 0
        && status.pending_epochs <= 2
        && !status.partitions.is_empty()
        && behind <= status.records_per_second * LIVE_WITHIN_SECONDS + 100.0
}

/// With up to `left` of those that wait, which are then fewer, as far as that is to be written at once: there are many small
/// batches where ticks are small.
fn joined(mut documents: Vec<Document>, waiting: &Receiver<Vec<Document>>, left: &mut usize) -> Vec<Document> {
    let bytes = |documents: &[Document]| documents.iter().map(Document::text_bytes).sum::<usize>();
    let mut together = bytes(&documents);
    let most = crate::fault::limit("raw_documents", RAW_DOCUMENTS);
    while *left > 0 && documents.len() < most && together < RAW_BYTES {
        let Ok(more) = waiting.try_recv() else { break };
        *left -= 1;
        together += bytes(&more);
        documents.extend(more);
    }
    documents
}

/// Waits for the next tick, writing raw documents as they come, for at most [`LOOK`].
fn next(
    batches: &Receiver<TickBatch>,
    raw: &Receiver<Vec<Document>>,
    write_raw: &mut dyn FnMut(Vec<Document>) -> Result<(), EngineError>,
) -> Result<Result<TickBatch, RecvTimeoutError>, EngineError> {
    let timeout = after(LOOK);
    let mut raw = raw.clone();
    loop {
        // In this order, so that what happens depends on what is there alone.
        select_biased! {
            recv(batches) -> batch => return Ok(batch.map_err(|_| RecvTimeoutError::Disconnected)),
            recv(raw) -> documents => match documents {
                Ok(documents) => write_raw(documents)?,
                // Its senders are gone: only ticks are left to wait for.
                Err(_) => raw = crossbeam_channel::never(),
            },
            recv(timeout) -> _ => return Ok(Err(RecvTimeoutError::Timeout)),
        }
    }
}

/// What an epoch does to one key: its new body, or none.
struct Change {
    key: RowKey,
    body: Option<RowBody>,
    /// The old one, where there is no new one.
    gone: Option<RowBody>,
}

/// Nets consolidated row changes to at most one change per key.
fn changes(rows: Vec<(Row, Diff)>) -> Result<Vec<Change>, EngineError> {
    let mut changes: Vec<Change> = Vec::with_capacity(rows.len());
    for ((key, body), difference) in rows {
        let (body, gone) = match difference {
            1 => (Some(body), None),
            -1 => (None, Some(body)),
            other => return Err(EngineError::Bug(format!("the row {key:?} changed by {other}: {body:?}"))),
        };
        match changes.last_mut() {
            Some(last) if last.key == key => match (&last.body, body) {
                (None, Some(body)) => (last.body, last.gone) = (Some(body), None),
                (Some(_), None) => {}
                (old, new) => {
                    return Err(EngineError::Bug(format!(
                        "the row {key:?} changed twice in one epoch: {old:?}, {new:?}"
                    )));
                }
            },
            _ => changes.push(Change { key, body, gone }),
        }
    }
    Ok(changes)
}

fn dead_letter(letter: DeadLetter, epoch: u64) -> Document {
    let DeadLetter { topic, partition, offset, key, value, kafka_timestamp, reason, detail } = letter;
    let mut fields: Fields = vec![
        ("topic".into(), Value::Text(topic.name().to_owned())),
        ("partition".into(), Value::Int(i64::from(partition))),
        ("offset".into(), Value::Int(offset)),
    ];
    fields.extend(key.map(|key| ("key".into(), Value::Bytes(key))));
    fields.extend(value.map(|value| ("value".into(), Value::Bytes(value))));
    fields.extend(kafka_timestamp.map(|timestamp| ("kafka_timestamp".into(), Value::Time(timestamp))));
    fields.push(("reason".into(), Value::Text(reason.name().to_owned())));
    fields.push(("detail".into(), Value::Text(detail)));
    fields.push(("epoch".into(), Value::Int(i64::try_from(epoch).unwrap_or(i64::MAX))));
    Document { collection: Collection::DeadLetters, id: record_id(topic, partition, offset), fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_documents_of_later_ticks_are_left_for_later() {
        let (sender, waiting) = crossbeam_channel::unbounded();
        let document =
            |number: usize| Document { collection: Collection::RawData, id: number.to_string(), fields: vec![] };
        (1..5).for_each(|number| sender.send(vec![document(number)]).expect("room"));
        let mut left = 2;
        let ids: Vec<String> = joined(vec![document(0)], &waiting, &mut left).into_iter().map(|it| it.id).collect();
        assert_eq!((ids, left, waiting.len()), (vec!["0".into(), "1".into(), "2".into()], 0, 2));
    }
}
