//! One commit as commands, and one attempt to make it.
//!
//! The commands hold absolute values and are made once: an attempt can be repeated with the same content. In a
//! transaction the compare-and-set of `progress` comes first, so that a fenced instance stops before it writes; with
//! guarded writes it comes last, so that `progress` never tells of more than is there.

use std::time::Duration;

use ::mongodb::bson::raw::{CStr, RawArrayBuf, RawDocumentBuf, cstr};
use ::mongodb::bson::{Document as Reply, rawdoc};
use ::mongodb::options::{ReadConcern, TransactionOptions};
use ::mongodb::{ClientSession, Database};

use super::bson::to_bson;
use super::connect::durable;
use super::fault::{DUPLICATE_KEY, Fault};
use crate::document::{Collection, Document};
use crate::store::state::{Held, PROGRESS, epoch_to_stored, fingerprints_document, origin_document, progress_document};
use crate::store::{Commit, Progress, StoreError};

/// One command carries at most so many writes …
const BATCH_DOCUMENTS: usize = 1_000;
/// … and at most so many bytes of them, unless a single one is greater.
const BATCH_BYTES: usize = 8 << 20;
/// How long the server may take for `commitTransaction` before the outcome counts as unknown.
const COMMIT_TIME: Duration = Duration::from_secs(10);
/// The pause before a commit without an answer is asked for again, doubled from one to the other.
const COMMIT_PAUSE: Duration = Duration::from_millis(20);
const COMMIT_PAUSE_MAX: Duration = Duration::from_millis(320);

/// Whether a write of a commit depends on what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// No: the transaction sees to it.
    Transaction,
    /// Documents of this epoch (as stored) or a later one are left alone.
    EpochBelow(i64),
}

/// A commit, ready to be sent as often as it takes.
#[derive(Debug)]
pub(super) struct Prepared {
    held: Held,
    guard: Guard,
    /// The compare-and-set.
    advance: RawDocumentBuf,
    /// Everything else.
    writes: Vec<RawDocumentBuf>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All of it is there and durable.
    Committed,
    /// `progress` is not where this instance left it; nothing of this attempt counts.
    NotMatched,
    /// Nothing of this attempt counts.
    NotCommitted(Fault),
    /// It may have been committed.
    Unknown(Fault),
}

impl Prepared {
    pub(super) fn new(commit: &Commit, held: Held, transactions: bool) -> Result<Prepared, StoreError> {
        let epoch = epoch_to_stored(commit.epoch)?;
        let guard = if transactions { Guard::Transaction } else { Guard::EpochBelow(epoch) };
        let mut batches = Batches::new(guard);
        if let Some(origin) = &commit.origin {
            // Without transactions a crash can leave it ahead of `progress`: the next instance computes the same. Before all
            // else, because what is late depends on it, and a dead letter that was written once stays.
            batches.replace_of_fence(&origin_document(origin, held.fence), held.fence)?;
        }
        for document in &commit.upserts {
            batches.replace(document)?;
        }
        for (collection, id) in &commit.deletes {
            batches.delete(*collection, id);
        }
        for document in &commit.dead_letters {
            batches.insert_if_absent(document)?;
        }
        if !commit.fingerprints.is_empty() {
            // Likewise ahead of `progress` after a crash; whoever reads them leaves out what is.
            batches.replace(&fingerprints_document(&commit.fingerprints, commit.epoch)?)?;
        }
        let progress = Progress {
            epoch: commit.epoch,
            as_of: commit.as_of,
            offsets: commit.offsets.clone(),
            committed_at: Some(commit.committed_at),
            instance: String::from(&*held.instance),
            fence: held.fence,
        };
        let mut advance = Batches::new(guard);
        let (fence, epoch) = (held.fence, epoch_to_stored(held.epoch)?);
        let mut filter = rawdoc! { "_id": PROGRESS, "fence": fence, "epoch": epoch, "instance": &*held.instance };
        if crate::fault::mutant("no_compare_and_set") {
            filter = rawdoc! { "_id": PROGRESS };
        } else if crate::fault::mutant("no_fence") {
            filter = rawdoc! { "_id": PROGRESS, "epoch": epoch };
        }
        advance.update(Collection::PipelineState, filter, &to_bson(&progress_document(&progress)?)?, false);
        let (writes, mut advance) = (batches.finish(), advance.finish());
        let advance = advance.pop().ok_or_else(|| StoreError::Unavailable("an empty commit".into()))?;
        Ok(Prepared { held, guard, advance, writes })
    }

    /// Makes one attempt; a transaction is one of `session`.
    pub(super) async fn attempt(&self, session: &mut ClientSession, database: &Database) -> Outcome {
        match self.guard {
            Guard::Transaction => self.in_a_transaction(session, database).await,
            Guard::EpochBelow(_) => match self.guarded(database).await {
                Ok(true) => Outcome::Committed,
                Ok(false) => Outcome::NotMatched,
                // A repetition finds out: it begins with `progress`.
                Err(fault) => Outcome::NotCommitted(fault),
            },
        }
    }

    async fn in_a_transaction(&self, session: &mut ClientSession, database: &Database) -> Outcome {
        if let Err(error) = session.start_transaction().with_options(snapshot()).await {
            return Outcome::NotCommitted(error.into());
        }
        crate::fault::point("transaction.begun");
        let stopped = match self.write_all(database, session).await {
            Ok(true) => None,
            Ok(false) => Some(Outcome::NotMatched),
            Err(fault) => Some(Outcome::NotCommitted(fault)),
        };
        if let Some(outcome) = stopped {
            // The transaction would hold its documents until it expires. If it cannot be aborted, the server is gone
            // and does so itself.
            let _ = session.abort_transaction().await;
            return outcome;
        }
        crate::fault::point("transaction.ready");
        let mut pause = COMMIT_PAUSE;
        loop {
            match session.commit_transaction().await.map_err(Fault::from) {
                Ok(()) => {
                    crate::fault::point("transaction.committed");
                    return Outcome::Committed;
                }
                Err(fault) if fault.certainly_not_committed() => return Outcome::NotCommitted(fault),
                // Asking again is harmless and mostly tells. Where the question never arrived, it also ends a
                // transaction that would hold its documents against the next attempt until the server expires it.
                Err(fault) if fault.commit_may_be_asked_again() && pause <= COMMIT_PAUSE_MAX => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(fault) => return Outcome::Unknown(fault),
            }
        }
    }

    async fn write_all(&self, database: &Database, session: &mut ClientSession) -> Result<bool, Fault> {
        let advance = database.run_raw_command(self.advance.clone());
        let reply = match crate::fault::mutant("progress_in_a_write_before") {
            true => advance.await?,
            false => advance.session(&mut *session).await?,
        };
        check(&reply, None)?;
        if matched(&reply) != 1 {
            return Ok(false);
        }
        crate::fault::point("transaction.advanced");
        for command in &self.writes {
            check(&database.run_raw_command(command.clone()).session(&mut *session).await?, None)?;
            crate::fault::point("transaction.written");
        }
        Ok(true)
    }

    async fn guarded(&self, database: &Database) -> Result<bool, Fault> {
        // Not needed for safety, which is in the guards and in the compare-and-set: it stops a fenced instance early.
        let state = database.collection::<RawDocumentBuf>(Collection::PipelineState.name());
        let epoch = epoch_to_stored(self.held.epoch)?;
        let Held { fence, instance, .. } = &self.held;
        let filter = ::mongodb::bson::doc! { "_id": PROGRESS, "fence": fence, "epoch": epoch, "instance": &**instance };
        if state.find_one(filter).await?.is_none() {
            return Ok(false);
        }
        crate::fault::point("guarded.looked");
        for command in &self.writes {
            // A document that is there at this epoch or a later one did not match and could not be inserted.
            check(&database.run_raw_command(command.clone()).await?, Some(DUPLICATE_KEY))?;
            crate::fault::point("guarded.written");
        }
        crate::fault::point("guarded.ready");
        let reply = database.run_raw_command(self.advance.clone()).await?;
        check(&reply, None)?;
        Ok(matched(&reply) == 1)
    }
}

/// How transactions are made.
pub(super) fn snapshot() -> TransactionOptions {
    TransactionOptions::builder()
        .read_concern(ReadConcern::snapshot())
        .write_concern(durable())
        .max_commit_time(COMMIT_TIME)
        .build()
}

fn matched(reply: &Reply) -> i64 {
    reply.get_i32("n").map(i64::from).or_else(|_| reply.get_i64("n")).unwrap_or(0)
}

/// The first error inside a reply that is an answer as a whole, other than `harmless`.
pub(super) fn check(reply: &Reply, harmless: Option<i32>) -> Result<(), Fault> {
    match write_errors(reply).into_iter().find(|(_, code, _)| Some(*code) != harmless) {
        Some((_, code, message)) => Err(Fault::Write { code, message }),
        None => Ok(()),
    }
}

/// Every error inside a reply: which write, the server's code and words. A write concern that was not met has none.
pub(super) fn write_errors(reply: &Reply) -> Vec<(Option<usize>, i32, String)> {
    let error = |error: &Reply| {
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        (index, error.get_i32("code").unwrap_or(0), error.get_str("errmsg").unwrap_or("no reason given").to_owned())
    };
    let writes = reply.get_array("writeErrors").into_iter().flatten().filter_map(|item| item.as_document());
    let concern = reply.get_document("writeConcernError").into_iter();
    writes.chain(concern).map(error).collect()
}

/// Collects writes into commands of bounded size, kept in order per collection and kind.
pub(super) struct Batches {
    guard: Guard,
    commands: Vec<RawDocumentBuf>,
    open: Option<Batch>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Update,
    Delete,
}

struct Batch {
    kind: Kind,
    collection: Collection,
    items: RawArrayBuf,
    count: usize,
    bytes: usize,
}

impl Batches {
    pub(super) fn new(guard: Guard) -> Batches {
        Batches { guard, commands: Vec::new(), open: None }
    }

    /// Replaces the document or inserts it.
    fn replace(&mut self, document: &Document) -> Result<(), StoreError> {
        let mut filter = rawdoc! { "_id": document.id.as_str() };
        self.push_guard(&mut filter);
        self.update(document.collection, filter, &to_bson(document)?, true);
        Ok(())
    }

    /// [`Batches::replace`] unless an instance that came later has written it.
    fn replace_of_fence(&mut self, document: &Document, fence: i64) -> Result<(), StoreError> {
        let mut filter = rawdoc! { "_id": document.id.as_str() };
        if let Guard::EpochBelow(_) = self.guard {
            filter.append(cstr!("fence"), rawdoc! { "$lte": fence });
        }
        self.update(document.collection, filter, &to_bson(document)?, true);
        Ok(())
    }

    fn insert_if_absent(&mut self, document: &Document) -> Result<(), StoreError> {
        // An insert would fail where the document is, and with it the transaction.
        let set = rawdoc! { "$setOnInsert": to_bson(document)? };
        self.update(document.collection, rawdoc! { "_id": document.id.as_str() }, &set, true);
        Ok(())
    }

    fn update(&mut self, collection: Collection, filter: RawDocumentBuf, update: &RawDocumentBuf, upsert: bool) {
        let mut item = RawDocumentBuf::new();
        item.append(cstr!("q"), filter);
        item.append(cstr!("u"), update);
        item.append(cstr!("upsert"), upsert);
        self.push(Kind::Update, collection, item);
    }

    fn delete(&mut self, collection: Collection, id: &str) {
        let mut filter = rawdoc! { "_id": id };
        self.push_guard(&mut filter);
        self.push(Kind::Delete, collection, rawdoc! { "q": filter, "limit": 1 });
    }

    /// Inserts a document that is in BSON already.
    pub(super) fn insert(&mut self, collection: Collection, document: RawDocumentBuf) {
        self.push(Kind::Insert, collection, document);
    }

    fn push_guard(&self, filter: &mut RawDocumentBuf) {
        if let (Guard::EpochBelow(epoch), false) = (self.guard, crate::fault::mutant("no_guard")) {
            filter.append(cstr!("epoch"), rawdoc! { "$lt": epoch });
        }
    }

    fn push(&mut self, kind: Kind, collection: Collection, item: RawDocumentBuf) {
        let bytes = item.as_bytes().len();
        let full = |open: &Batch| {
            (open.kind, open.collection) != (kind, collection)
                || open.count >= crate::fault::limit("batch_documents", BATCH_DOCUMENTS)
                || open.bytes + bytes > BATCH_BYTES
        };
        if self.open.as_ref().is_some_and(full) {
            self.close();
        }
        let open =
            self.open.get_or_insert_with(|| Batch { kind, collection, items: RawArrayBuf::new(), count: 0, bytes: 0 });
        open.items.push(item);
        open.count += 1;
        open.bytes += bytes;
    }

    fn close(&mut self) {
        let Some(Batch { kind, collection, items, .. }) = self.open.take() else { return };
        let (name, list): (&CStr, &CStr) = match kind {
            Kind::Insert => (cstr!("insert"), cstr!("documents")),
            Kind::Update => (cstr!("update"), cstr!("updates")),
            Kind::Delete => (cstr!("delete"), cstr!("deletes")),
        };
        let mut command = RawDocumentBuf::new();
        command.append(name, collection.name());
        command.append(list, items);
        // Inside a transaction the first error ends it, and its write concern is the transaction's.
        let transaction = self.guard == Guard::Transaction && kind != Kind::Insert;
        command.append(cstr!("ordered"), transaction);
        if !transaction {
            command.append(cstr!("writeConcern"), rawdoc! { "w": "majority", "j": true });
        }
        self.commands.push(command);
    }

    pub(super) fn finish(mut self) -> Vec<RawDocumentBuf> {
        self.close();
        self.commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Value;

    fn row(id: usize) -> Document {
        let fields = vec![("epoch".into(), Value::Int(4))];
        Document { collection: Collection::AggregatedData, id: format!("r{id}"), fields }
    }

    #[test]
    fn commands_are_bounded_by_count_and_by_bytes() {
        let mut batches = Batches::new(Guard::Transaction);
        for id in 0..2_500 {
            batches.replace(&row(id)).unwrap();
        }
        assert_eq!(batches.finish().len(), 3);
        let mut batches = Batches::new(Guard::Transaction);
        for id in 0..5 {
            let mut great = row(id);
            great.fields.push(("value".into(), Value::Bytes(vec![0; 5 << 20])));
            batches.replace(&great).unwrap();
        }
        assert_eq!(batches.finish().len(), 5);
    }

    #[test]
    fn only_guarded_writes_ask_for_the_epoch_and_for_durability() {
        for (guard, guarded) in [(Guard::Transaction, false), (Guard::EpochBelow(4), true)] {
            let mut batches = Batches::new(guard);
            batches.replace(&row(1)).unwrap();
            batches.delete(Collection::AggregatedData, "r2");
            for command in batches.finish() {
                let text = format!("{:?}", Reply::try_from(command).unwrap());
                assert_eq!(text.contains("$lt"), guarded, "{text}");
                assert_eq!(text.contains("writeConcern"), guarded, "{text}");
            }
        }
    }

    #[test]
    fn errors_inside_a_reply_are_found() {
        let reply = ::mongodb::bson::doc! {
            "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 11000, "errmsg": "E11000" }],
        };
        assert!(check(&reply, Some(DUPLICATE_KEY)).is_ok());
        assert!(matches!(check(&reply, None), Err(Fault::Write { code: DUPLICATE_KEY, .. })));
        let unmet = ::mongodb::bson::doc! { "ok": 1, "n": 1, "writeConcernError": { "code": 64, "errmsg": "waited" } };
        assert!(check(&unmet, Some(DUPLICATE_KEY)).is_err_and(|fault| fault.transient()));
        assert!(check(&::mongodb::bson::doc! { "ok": 1, "n": 1 }, None).is_ok());
    }
}
