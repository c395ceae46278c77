//! The writing side: the fence, raw_data, and commits.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tillflow_dataflows::records::Topic;

use super::cell::to_sql;
use super::rows::{Conflict, Writers, documents, one_document, select};
use super::schema::{self, Table, quoted};
use super::{FileIdentity, SqliteReader, Stop, connect, failure, is_busy};
use crate::document::{Collection, Document};
use crate::store::retry::Backoff;
use crate::store::state::{
    FINGERPRINTS, Held, ORIGIN, PROGRESS, epoch_to_stored, fingerprints_document, fingerprints_from, offsets_to_value,
    origin_document, origin_from, progress_document, progress_from, raw_ids,
};
use crate::store::{Commit, Fingerprints, Offsets, Origin, Progress, Store, StoreError, StoreOptions, StoreScan};

/// raw_data rows that one commit lets expire at most, so that a long pause does not make it a long one.
const EXPIRE_AT_ONCE: i64 = 20_000;

/// The store that an instance writes to.
pub(in crate::store) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    identity: Option<FileIdentity>,
    options: StoreOptions,
    /// In [`Collection::ALL`]'s order; read again whenever a document has a field without a column.
    tables: [Table; Collection::ALL.len()],
    held: Option<Held>,
}

impl SqliteStore {
    pub(in crate::store) fn open(path: &Path, options: StoreOptions) -> Result<SqliteStore, StoreError> {
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        for collection in Collection::ALL {
            let table =
                Table::read(&connection, collection).map_err(|error| failure("read the tables of", path, &error))?;
            if table.exists() && !table.is_ours() {
                return Err(StoreError::Unreadable(format!(
                    "SQLite store {} has a table {} that tillflow did not make, and is left as it is: name another file",
                    path.display(),
                    collection.name()
                )));
            }
        }
        connection
            .pragma_update(None, "journal_mode", if options.journal { "wal" } else { "off" })
            .and_then(|()| connection.pragma_update(None, "synchronous", if options.journal { "full" } else { "off" }))
            // 32 MiB of log before it is folded into the file: several commits of 10,000 rows fit, so most commits
            // cost one sync of the log alone.
            .and_then(|()| connection.pragma_update(None, "wal_autocheckpoint", 8192))
            .and_then(|()| connection.pragma_update(None, "journal_size_limit", 64 << 20))
            .map_err(|error| failure("open", path, &error))?;
        let identity = FileIdentity::of(path);
        let tables = Default::default();
        let mut store = SqliteStore { connection, path: path.into(), identity, options, tables, held: None };
        store.read_tables()?;
        Ok(store)
    }

    fn read_tables(&mut self) -> Result<(), StoreError> {
        for collection in Collection::ALL {
            self.tables[collection as usize] = Table::read(&self.connection, collection)
                .map_err(|error| failure("read the tables of", &self.path, &error))?;
        }
        Ok(())
    }

    /// Runs `work` in one write transaction, again while another process holds the lock.
    fn transact<T>(
        &self,
        attempted: &str,
        work: impl Fn(&Transaction<'_>, &[Table]) -> Result<T, Stop>,
    ) -> Result<T, StoreError> {
        if FileIdentity::of(&self.path) != self.identity {
            return Err(StoreError::Fenced(format!(
                "SQLite store {} was removed or replaced while in use; start again with the file that counts",
                self.path.display()
            )));
        }
        let mut backoff = Backoff::new(self.options.timeout, self.options.report.clone());
        loop {
            match self.attempt(&work) {
                Ok(result) => {
                    backoff.succeeded();
                    return Ok(result);
                }
                Err(Stop::Sqlite(error)) if is_busy(&error) => {
                    let failed = failure(attempted, &self.path, &error);
                    if !backoff.wait(&failed.to_string()) {
                        return Err(failed);
                    }
                }
                Err(stop) => return Err(stop.into_error(attempted, &self.path)),
            }
        }
    }

    fn attempt<T>(&self, work: &impl Fn(&Transaction<'_>, &[Table]) -> Result<T, Stop>) -> Result<T, Stop> {
        // IMMEDIATE takes the write lock first: a deferred one could be refused it after half of the work.
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let result = work(&transaction, &self.tables)?;
        transaction.commit()?;
        crate::fault::point("sqlite.committed");
        Ok(result)
    }

    /// Whether a transaction is on the disk when it is committed, or with the next one that is.
    fn set_durable(&self, durable: bool, attempted: &str) -> Result<(), StoreError> {
        if !self.options.journal {
            return Ok(());
        }
        self.connection
            .pragma_update(None, "synchronous", if durable { "full" } else { "normal" })
            .map_err(|error| failure(attempted, &self.path, &error))
    }

    /// Adds the columns that documents of a user's own views need. What else there is has those that `init` made.
    fn ensure_columns(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        for document in documents {
            let collection = document.collection;
            for (field, _) in &document.fields {
                if !self.tables[collection as usize].positions.contains_key(&**field) {
                    // Looked up inside: another process may have added it since.
                    self.transact(&format!("add column \"{field}\" to"), |transaction, _| {
                        let table = Table::read(transaction, collection)?;
                        if table.exists() && !table.positions.contains_key(&**field) {
                            schema::add_column(transaction, collection, field)?;
                        }
                        Ok(())
                    })?;
                    self.read_tables()?;
                }
            }
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn init(&mut self) -> Result<(), StoreError> {
        self.transact("create the tables of", |transaction, _| Ok(schema::create(transaction)?))?;
        crate::fault::point("sqlite.tables");
        self.read_tables()
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        self.transact("read the progress of", |transaction, tables| {
            let collection = Collection::PipelineState;
            let table = &tables[collection as usize];
            let progress = one_document(transaction, collection, table, PROGRESS)?;
            let origin = one_document(transaction, collection, table, ORIGIN)?;
            Ok((progress.as_ref().map(progress_from).transpose()?, origin.as_ref().map(origin_from).transpose()?))
        })
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        self.transact("read the fingerprints of", |transaction, tables| {
            let collection = Collection::PipelineState;
            let found = one_document(transaction, collection, &tables[collection as usize], FINGERPRINTS)?;
            Ok(found.as_ref().map(fingerprints_from).transpose()?.unwrap_or_default())
        })
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        let (progress, origin) = self.transact("take the fence of", |transaction, tables| {
            let collection = Collection::PipelineState;
            let table = &tables[collection as usize];
            let mut progress = match one_document(transaction, collection, table, PROGRESS)? {
                Some(found) => progress_from(&found)?,
                None => {
                    let (offsets, instance) = (Offsets::new(), String::new());
                    Progress { epoch: 0, as_of: None, offsets, committed_at: None, instance, fence: 0 }
                }
            };
            progress.fence += 1;
            progress.instance = instance.to_owned();
            Writers::new(transaction, tables, Conflict::Replace).write(&progress_document(&progress)?)?;
            crate::fault::point("sqlite.fence");
            let origin = one_document(transaction, collection, table, ORIGIN)?;
            Ok((progress, origin.as_ref().map(origin_from).transpose()?))
        })?;
        self.held = Some(Held { fence: progress.fence, epoch: progress.epoch, instance: instance.into() });
        Ok((progress, origin))
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        // Not synced by itself: it counts with the commit that follows, whose sync is of the same log, up to its end.
        self.set_durable(false, "write raw_data to")?;
        let written = self.transact("write raw_data to", |transaction, tables| {
            let mut writers = Writers::new(transaction, tables, Conflict::Keep);
            documents.iter().try_for_each(|document| writers.write(document))?;
            crate::fault::point("sqlite.raw");
            Ok(())
        });
        written.and(self.set_durable(true, "write raw_data to"))
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError> {
        let held = self.held()?;
        let (first, end) = raw_ids(topic, partition);
        self.transact("forget raw_data in", |transaction, tables| {
            let state = Collection::PipelineState;
            let found = one_document(transaction, state, &tables[state as usize], PROGRESS)?;
            held.judge(held.epoch, found.as_ref().map(progress_from).transpose()?.as_ref())?;
            let sql = "DELETE FROM raw_data WHERE \"_id\" >= ?1 AND \"_id\" < ?2 AND \"offset\" >= ?3";
            transaction.prepare_cached(sql)?.execute((&first, &end, from))?;
            Ok(())
        })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let held = self.held()?;
        let mut state: Vec<Document> = commit.origin.iter().map(|origin| origin_document(origin, held.fence)).collect();
        if !commit.fingerprints.is_empty() {
            state.push(fingerprints_document(&commit.fingerprints, commit.epoch)?);
        }
        self.ensure_columns(&commit.upserts)?;
        // In the order of the primary key, neighbours fall into one page.
        let mut upserts: Vec<&Document> = commit.upserts.iter().chain(&state).collect();
        upserts.sort_unstable_by(|a, b| (a.collection, &a.id).cmp(&(b.collection, &b.id)));

        if crate::fault::mutant("views_in_a_write_before") {
            self.transact("commit to", |transaction, tables| {
                let mut writers = Writers::new(transaction, tables, Conflict::Replace);
                upserts.iter().try_for_each(|document| writers.write(document))
            })?;
        }
        self.transact("commit to", |transaction, tables| {
            crate::fault::point("sqlite.begun");
            if !advance(transaction, &held, commit)? {
                let state = Collection::PipelineState;
                let found = one_document(transaction, state, &tables[state as usize], PROGRESS)?;
                return Ok(held.judge(commit.epoch, found.as_ref().map(progress_from).transpose()?.as_ref())?);
            }
            if crate::fault::mutant("progress_in_a_write_before") {
                transaction.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
            }
            crate::fault::point("sqlite.advanced");
            let mut writers = Writers::new(transaction, tables, Conflict::Replace);
            upserts.iter().try_for_each(|document| writers.write(document))?;
            crate::fault::point("sqlite.upserted");
            let mut writers = Writers::new(transaction, tables, Conflict::Keep);
            commit.dead_letters.iter().try_for_each(|document| writers.write(document))?;
            for (collection, id) in &commit.deletes {
                let sql = format!("DELETE FROM {} WHERE \"_id\" = ?1", quoted(collection.name()));
                transaction.prepare_cached(&sql)?.execute([id])?;
            }
            crate::fault::point("sqlite.ready");
            self.expire(transaction, commit.committed_at)
        })?;
        self.held = Some(Held { epoch: commit.epoch.max(held.epoch), ..held });
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        let collection = Collection::RealTimeMetrics;
        let table = &self.tables[collection as usize];
        let read = || {
            let sql = select(collection, table, "\"_id\" >= 'alert|' AND \"_id\" < 'alert}' ORDER BY \"_id\"");
            documents(&mut self.connection.prepare(&sql)?, [], collection, table)
        };
        read().map_err(|stop| stop.into_error("read the alerts of", &self.path))
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        Ok(Some(Box::new(SqliteReader::open(&self.path)?)))
    }

    fn guarantee(&self) -> String {
        "SQLite: each commit is one transaction, on disk before the next begins (write-ahead log, synced)".into()
    }
}

impl SqliteStore {
    fn held(&self) -> Result<Held, StoreError> {
        let without = || StoreError::Fenced("this instance has not taken the store's fence".into());
        self.held.clone().ok_or_else(without)
    }

    /// Deletes raw_data that is older than its time to live.
    fn expire(&self, transaction: &Transaction<'_>, now: i64) -> Result<(), Stop> {
        if let Some(ttl) = self.options.raw_ttl {
            let before = now.saturating_sub(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
            let sql = "DELETE FROM raw_data WHERE rowid IN \
                       (SELECT rowid FROM raw_data WHERE \"timestamp\" < ?1 LIMIT ?2)";
            transaction.prepare_cached(sql)?.execute([before, EXPIRE_AT_ONCE])?;
        }
        Ok(())
    }
}

/// The compare-and-set: moves `progress` on if it is where this instance left it.
fn advance(transaction: &Transaction<'_>, held: &Held, commit: &Commit) -> Result<bool, Stop> {
    if commit.epoch <= held.epoch {
        return Ok(false);
    }
    let sql = "UPDATE pipeline_state SET \"epoch\" = ?1, \"as_of\" = ?2, \"offsets\" = ?3, \"committed_at\" = ?4 \
               WHERE \"_id\" = 'progress' AND \"fence\" = ?5 AND \"epoch\" = ?6 \
               AND \"instance\" = ?7";
    let unguarded = crate::fault::mutant("no_compare_and_set").then(|| sql.replace("AND \"fence\"", "OR \"fence\""));
    let unfenced = crate::fault::mutant("no_fence")
        .then(|| sql.replace("\"fence\" = ?5", "?5 = ?5").replace("\"instance\" = ?7", "?7 = ?7"));
    let unguarded = unguarded.or(unfenced);
    let sql = unguarded.as_deref().unwrap_or(sql);
    let offsets = offsets_to_value(&commit.offsets);
    let matched = transaction.prepare_cached(sql)?.execute((
        epoch_to_stored(commit.epoch)?,
        commit.as_of,
        to_sql(&offsets),
        commit.committed_at,
        held.fence,
        epoch_to_stored(held.epoch)?,
        &*held.instance,
    ))?;
    Ok(matched == 1)
}
