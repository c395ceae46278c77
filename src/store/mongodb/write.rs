//! The writing side: collections and indexes, the fence, raw_data, and commits.

use std::sync::Arc;

use ::mongodb::bson::raw::RawDocumentBuf;
use ::mongodb::bson::{Document as BsonDocument, doc};
use ::mongodb::options::ReturnDocument;
use ::mongodb::{Client, ClientSession, Database};
use tillflow_dataflows::records::Topic;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::bson::{from_bson, to_bson};
use super::commit::{Batches, Guard, Outcome, Prepared, snapshot, write_errors};
use super::connect::Connection;
use super::fault::{DUPLICATE_KEY, Fault, INDEX_CONFLICTS, NAMESPACE_EXISTS};
use super::read::MongoReader;
use crate::document::{Collection, Document, Value};
use crate::store::retry::Backoff;
use crate::store::state::{
    FINGERPRINTS, Held, ORIGIN, PROGRESS, epoch_to_stored, fingerprints_from, origin_from, progress_from, raw_ids,
};
use crate::store::{Commit, Fingerprints, Origin, Progress, Store, StoreAddress, StoreError, StoreOptions, StoreScan};

/// What has documents that a later epoch replaces.
const WITH_EPOCHS: [Collection; 2] = [Collection::AggregatedData, Collection::RealTimeMetrics];

/// The store that an instance writes to.
pub(in crate::store) struct MongoStore {
    connection: Connection,
    address: StoreAddress,
    options: StoreOptions,
    held: Option<Held>,
    /// The session of every commit, from the moment that the fence is held. One attempt uses it at a time.
    session: Option<Arc<Mutex<ClientSession>>>,
    /// Guarded writes: the least epoch of this instance. Any epoch will do otherwise.
    first: u64,
}

impl MongoStore {
    pub(in crate::store) fn open(address: &StoreAddress, options: StoreOptions) -> Result<MongoStore, StoreError> {
        let connection = Connection::open(address, &options)?;
        Ok(MongoStore { connection, address: address.clone(), options, held: None, session: None, first: 0 })
    }

    fn retry<T: Send + 'static, W: Future<Output = Result<T, Fault>> + Send + 'static>(
        &mut self,
        attempted: &str,
        work: impl Fn(Database) -> W,
    ) -> Result<T, StoreError> {
        let mut backoff = self.connection.backoff();
        self.connection.retry(attempted, &mut backoff, |connection| work(connection.database.clone()))
    }

    /// After an attempt that did not match or whose outcome is unknown: whether the commit is there. False means
    /// that `progress` is still where this instance left it.
    fn settle(&mut self, held: &Held, epoch: u64, backoff: &mut Backoff) -> Result<bool, StoreError> {
        let found = self
            .connection
            .retry("read the progress of", backoff, |connection| find_progress(connection.database.clone()))?;
        if epoch > held.epoch && held.judge(held.epoch, found.as_ref()).is_ok() {
            return Ok(false);
        }
        held.judge(epoch, found.as_ref()).map(|()| true)
    }
}

impl Store for MongoStore {
    fn init(&mut self) -> Result<(), StoreError> {
        let ttl = self.options.raw_ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).min(i32::MAX.into()));
        self.retry("create the collections of", move |database| async move {
            for collection in Collection::ALL {
                match database.create_collection(collection.name()).await.map_err(Fault::from) {
                    Err(fault) if fault.code() != Some(NAMESPACE_EXISTS) => return Err(fault),
                    _ => {}
                }
                for field in collection.indexes() {
                    let expires = (collection, *field) == (Collection::RawData, "timestamp");
                    create_index(&database, collection, field, ttl.filter(|_| expires)).await?;
                }
                crate::fault::point("mongodb.collection");
            }
            Ok(())
        })
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        self.retry("read the progress of", move |database| async move {
            let progress = find_state(&database, PROGRESS).await?.as_ref().map(progress_from).transpose()?;
            let origin = find_state(&database, ORIGIN).await?.as_ref().map(origin_from).transpose()?;
            Ok((progress, origin))
        })
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        self.retry("read the fingerprints of", move |database| async move {
            let found = find_state(&database, FINGERPRINTS).await?;
            Ok(found.as_ref().map(fingerprints_from).transpose()?.unwrap_or_default())
        })
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        let taker: Arc<str> = instance.into();
        let guarded = !self.connection.transactions;
        let client = self.connection.client.clone();
        let (progress, origin, session, first) = self.retry("take the fence of", move |database| {
            let (taker, client) = (Arc::clone(&taker), client.clone());
            async move {
                end_transaction_of_the_last(&client, &database).await?;
                crate::fault::point("mongodb.ended");
                let progress = take_fence(&database, &taker).await?;
                crate::fault::point("mongodb.fence");
                let first = if guarded {
                    let first = first_epoch(&database, &progress).await?;
                    take_back(&database, &progress, first).await?;
                    Some(first)
                } else {
                    None
                };
                let origin = find_state(&database, ORIGIN).await?.as_ref().map(origin_from).transpose()?;
                let session = client.start_session().await?;
                remember_session(&database, &session, progress.fence, first).await?;
                crate::fault::point("mongodb.session");
                Ok((progress, origin, session, first))
            }
        })?;
        self.session = Some(Arc::new(Mutex::new(session)));
        self.first = first.unwrap_or_default();
        self.held = Some(Held { fence: progress.fence, epoch: progress.epoch, instance: instance.into() });
        Ok((progress, origin))
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        let mut refused = self.insert_raw(documents)?;
        if refused.is_empty() {
            return Ok(());
        }
        // The server did not take what the document says; it takes any text.
        for (document, _) in &mut refused {
            for (name, value) in &mut document.fields {
                if let (true, Value::Json(text)) = (name == "value", &value) {
                    *value = Value::Text(text.clone());
                }
            }
        }
        let (documents, reasons): (Vec<Document>, Vec<Fault>) = refused.into_iter().unzip();
        match self.insert_raw(&documents)?.is_empty() {
            true => Ok(()),
            false => match reasons.into_iter().next() {
                Some(fault) => Err(fault.into_error("write raw_data to", &self.connection.shown)),
                None => Ok(()),
            },
        }
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError> {
        let (held, session) = self.held()?;
        let transactions = self.connection.transactions;
        let (first, end) = raw_ids(topic, partition);
        self.retry("forget raw_data in", move |database| {
            let (held, session) = (held.clone(), Arc::clone(&session));
            let those = doc! { "_id": { "$gte": &first, "$lt": &end }, "offset": { "$gte": from } };
            async move {
                let mut session = session.lock().await;
                // What another instance has written is in no snapshot without its fence.
                if transactions {
                    session.start_transaction().with_options(snapshot()).await?;
                }
                let forgotten = forget(&database, &mut session, &held, those).await;
                match (transactions, &forgotten) {
                    (true, Ok(())) => session.commit_transaction().await?,
                    // If it cannot be aborted, the server is gone and does so itself.
                    (true, Err(_)) => drop(session.abort_transaction().await),
                    (false, _) => {}
                }
                forgotten
            }
        })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        let (held, session) = self.held()?;
        let attempted = "commit to";
        let mut backoff = self.connection.backoff();
        if commit.epoch <= held.epoch {
            return self.settle(&held, commit.epoch, &mut backoff).map(|_| ());
        }
        let prepared = Arc::new(Prepared::new(commit, held.clone(), self.connection.transactions)?);
        loop {
            let attempt = {
                let (prepared, session) = (Arc::clone(&prepared), Arc::clone(&session));
                let database = self.connection.database.clone();
                async move { prepared.attempt(&mut *session.lock().await, &database).await }
            };
            let fault = match self.connection.run(attempted, &mut backoff, attempt)? {
                Outcome::Committed => break,
                Outcome::NotCommitted(fault) => fault,
                Outcome::NotMatched => {
                    if crate::fault::mutant("unknown_is_repeated_blindly") {
                        return held.judge(commit.epoch, None);
                    }
                    if self.settle(&held, commit.epoch, &mut backoff)? {
                        break;
                    }
                    // An attempt of ours whose outcome was unknown is on its way to a majority of the servers.
                    Fault::Write { code: WRITE_CONFLICT, message: "an earlier attempt is still being decided".into() }
                }
                Outcome::Unknown(_) if crate::fault::mutant("unknown_is_committed") => break,
                Outcome::Unknown(fault) if crate::fault::mutant("unknown_is_repeated_blindly") => fault,
                Outcome::Unknown(fault) => {
                    if self.settle(&held, commit.epoch, &mut backoff)? {
                        break;
                    }
                    fault
                }
            };
            self.connection.again(attempted, &mut backoff, fault)?;
        }
        backoff.succeeded();
        self.held = Some(Held { epoch: commit.epoch, ..held });
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        self.retry("read the alerts of", |database| async move {
            let collection = Collection::RealTimeMetrics;
            let filter = doc! { "_id": { "$gte": "alert|", "$lt": "alert}" }, "type": "alert" };
            let found = database.collection::<RawDocumentBuf>(collection.name());
            let mut cursor = found.find(filter).sort(doc! { "_id": 1 }).await?;
            let mut alerts = Vec::new();
            while cursor.advance().await? {
                alerts.push(from_bson(collection, cursor.current())?);
            }
            Ok(alerts)
        })
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        Ok(Some(Box::new(MongoReader::open(&self.address, self.options.clone())?)))
    }

    fn commits_are_whole(&self) -> bool {
        self.connection.transactions
    }

    fn epoch_after(&self, committed: u64) -> u64 {
        self.first.max(committed + 1)
    }

    fn guarantee(&self) -> String {
        let shown = &self.connection.shown;
        if self.connection.transactions {
            format!("{shown}: each commit is one transaction, acknowledged by a majority and journalled")
        } else {
            format!(
                "{shown} has no transactions (a standalone server): writes are guarded by epoch and repeated after a \
                 crash, but readers may see part of a commit, and a paused older instance may leave an outdated document \
                 until the next start; a replica set of one node is enough for whole commits"
            )
        }
    }
}

/// Raw documents that are made by more than one thread.
const MUCH: usize = 512;
/// How many threads that are then.
const MAKERS: usize = 2;

/// The server's code for two writers at one document.
const WRITE_CONFLICT: i32 = 112;

impl MongoStore {
    /// What this instance holds, and the session of its transactions.
    fn held(&self) -> Result<(Held, Arc<Mutex<ClientSession>>), StoreError> {
        let without = || StoreError::Fenced("this instance has not taken the store's fence".into());
        self.held.clone().zip(self.session.clone()).ok_or_else(without)
    }

    /// Inserts what is not there yet, in several commands at once; returns what the server refused for its content.
    fn insert_raw(&mut self, documents: &[Document]) -> Result<Vec<(Document, Fault)>, StoreError> {
        let commands = in_commands(documents)?;
        let refused = self.retry("write raw_data to", move |database| {
            let commands = commands.clone();
            async move {
                let mut inserting = JoinSet::new();
                for command in commands {
                    inserting.spawn(insert(database.clone(), command));
                }
                // All of them, whatever becomes of one: the driver's futures must not be dropped midway.
                let inserted: Result<Vec<_>, Fault> = inserting.join_all().await.into_iter().collect();
                Ok(inserted?.into_iter().flatten().collect::<Vec<_>>())
            }
        })?;
        let with_document =
            |(id, fault): (String, Fault)| Some((documents.iter().find(|document| document.id == id)?.clone(), fault));
        Ok(refused.into_iter().filter_map(with_document).collect())
    }
}

/// Raw documents as commands that insert them. What is sent takes longer to make than to send, so that several threads make
/// it if it is much.
fn in_commands(documents: &[Document]) -> Result<Vec<Arc<RawDocumentBuf>>, StoreError> {
    let make = |documents: &[Document]| -> Result<Vec<_>, StoreError> {
        let mut batches = Batches::new(Guard::Transaction);
        for document in documents {
            batches.insert(document.collection, to_bson(document)?);
        }
        Ok(batches.finish().into_iter().map(Arc::new).collect())
    };
    if documents.len() < MUCH {
        return make(documents);
    }
    std::thread::scope(|threads| {
        let making: Vec<_> = documents
            .chunks(documents.len().div_ceil(MAKERS))
            .map(|part| {
                std::thread::Builder::new().name("tillflow-bson".into()).spawn_scoped(threads, move || make(part))
            })
            .collect();
        let mut commands = Vec::new();
        for made in making {
            let failed = |what: &str| StoreError::Unavailable(format!("cannot make documents for MongoDB: {what}"));
            let made = made.map_err(|error| failed(&error.to_string()))?;
            commands.extend(made.join().map_err(|_| failed("a thread panicked"))??);
        }
        Ok(commands)
    })
}

/// Inserts raw documents that are not there yet; returns which the server refused for their content, and why.
async fn insert(database: Database, command: Arc<RawDocumentBuf>) -> Result<Vec<(String, Fault)>, Fault> {
    let reply = database.run_raw_command((*command).clone()).await?;
    crate::fault::point("mongodb.raw");
    let mut refused = Vec::new();
    for (index, code, message) in write_errors(&reply) {
        let fault = Fault::Write { code, message };
        match index {
            _ if code == DUPLICATE_KEY => {}
            Some(index) if !fault.transient() => {
                let id = command.get_array("documents").ok().and_then(|documents| documents.get_document(index).ok());
                let id = id.and_then(|document| document.get_str("_id").ok());
                refused.push((id.unwrap_or_default().to_owned(), fault));
            }
            _ => return Err(fault),
        }
    }
    Ok(refused)
}

async fn create_index(
    database: &Database,
    collection: Collection,
    field: &str,
    expire_after: Option<i64>,
) -> Result<(), Fault> {
    let name = format!("{field}_1");
    let mut index = doc! { "key": { field: 1 }, "name": &name };
    if let Some(seconds) = expire_after {
        index.insert("expireAfterSeconds", seconds);
    }
    let create = doc! { "createIndexes": collection.name(), "indexes": [index] };
    match database.run_command(create.clone()).await.map_err(Fault::from) {
        Ok(_) => Ok(()),
        // An index that lets documents go stays as it is when nothing is said of it.
        Err(fault) if expire_after.is_none() && fault.code().is_some_and(|code| INDEX_CONFLICTS.contains(&code)) => {
            Ok(())
        }
        // The time to live changed, or came.
        Err(fault) if fault.code().is_some_and(|code| INDEX_CONFLICTS.contains(&code)) => {
            database.run_command(doc! { "dropIndexes": collection.name(), "index": name }).await?;
            database.run_command(create).await?;
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

pub(super) async fn find_state(database: &Database, id: &str) -> Result<Option<Document>, Fault> {
    let collection = Collection::PipelineState;
    let found = database.collection::<RawDocumentBuf>(collection.name()).find_one(doc! { "_id": id }).await?;
    found.map(|bson| from_bson(collection, &bson)).transpose()
}

/// Deletes raw documents, if `progress` is this instance's.
async fn forget(
    database: &Database,
    session: &mut ClientSession,
    held: &Held,
    those: BsonDocument,
) -> Result<(), Fault> {
    let collection = Collection::PipelineState;
    let state = database.collection::<RawDocumentBuf>(collection.name());
    let found = state.find_one(doc! { "_id": PROGRESS }).session(&mut *session).await?;
    let found = found.map(|bson| from_bson(collection, &bson)).transpose()?;
    held.judge(held.epoch, found.as_ref().map(progress_from).transpose()?.as_ref())?;
    let raw = database.collection::<BsonDocument>(Collection::RawData.name());
    raw.delete_many(those).session(&mut *session).await?;
    Ok(())
}

async fn find_progress(database: Database) -> Result<Option<Progress>, Fault> {
    Ok(find_state(&database, PROGRESS).await?.as_ref().map(progress_from).transpose()?)
}

/// The `_id` of the document that names the session of the instance that holds the fence.
const SESSION: &str = "session";

/// An instance that was killed within a commit leaves a transaction that holds `progress` until the server lets it
/// expire, by default after a minute. Nothing of it may be committed any more, so it is ended now.
async fn end_transaction_of_the_last(client: &Client, database: &Database) -> Result<(), Fault> {
    let state = database.collection::<BsonDocument>(Collection::PipelineState.name());
    let Some(found) = state.find_one(doc! { "_id": SESSION }).await? else { return Ok(()) };
    let Ok(lsid) = found.get_document("lsid") else { return Ok(()) };
    // Without the right to do so, or where the session is unknown, the transaction is waited for instead.
    if let Err(error) = client.database("admin").run_command(doc! { "killSessions": [lsid] }).await {
        tracing::debug!(%error, "the last instance's session could not be ended");
    }
    Ok(())
}

/// An epoch in which no earlier instance writes, whenever it goes on, and above that of every document there is. One that
/// commits writes in the epoch after the committed one, one that has never committed in its first, which it has left word of
/// before; a restored backup, or another hand, may have left documents of any epoch. To be asked when the fence is held:
/// whoever leaves word later finds itself fenced before it writes. Fenced if a newer one has left word already: the epoch
/// after its first would be one that it writes in.
async fn first_epoch(database: &Database, progress: &Progress) -> Result<u64, Fault> {
    // Before the word that others have left: whose document is found here has left its own by then.
    let mut greatest = progress.epoch;
    for collection in WITH_EPOCHS {
        let of_later = doc! { "epoch": { "$gt": epoch_to_stored(greatest)? } };
        let documents = database.collection::<BsonDocument>(collection.name());
        let found = documents.find_one(of_later).sort(doc! { "epoch": -1 }).projection(doc! { "epoch": 1 }).await?;
        let epoch = found.and_then(|document| u64::try_from(document.get_i64("epoch").ok()?).ok());
        greatest = greatest.max(epoch.unwrap_or_default());
    }
    let state = database.collection::<BsonDocument>(Collection::PipelineState.name());
    let Some(left) = state.find_one(doc! { "_id": SESSION }).await? else {
        // Nobody was here, or somebody has deleted what the last one left.
        return Ok(greatest + if progress.fence > 1 { 2 } else { 1 });
    };
    let (ours, newest) = (progress.fence, left.get_i64("fence").unwrap_or_default());
    if newest > ours {
        let reason =
            format!("another instance took the store over (fence {newest}, ours was {ours}); this one must stop");
        return Err(StoreError::Fenced(reason).into());
    }
    let first = left.get_i64("first").ok().and_then(|first| u64::try_from(first).ok());
    Ok(first.unwrap_or_default().max(greatest + 1) + 1)
}

/// Leaves word of the session, and of the first epoch where that matters, to whoever takes the fence next.
async fn remember_session(
    database: &Database,
    session: &ClientSession,
    fence: i64,
    first: Option<u64>,
) -> Result<(), Fault> {
    let state = database.collection::<BsonDocument>(Collection::PipelineState.name());
    let outdated = doc! { "_id": SESSION, "fence": { "$lt": fence } };
    let mut left = doc! { "lsid": session.id(), "fence": fence };
    if let Some(first) = first {
        left.insert("first", epoch_to_stored(first)?);
    }
    let named = doc! { "$set": left };
    match state.update_one(outdated, named).upsert(true).await.map_err(Fault::from) {
        // Somebody has taken the fence already.
        Err(fault) if fault.code() == Some(DUPLICATE_KEY) => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn take_fence(database: &Database, instance: &str) -> Result<Progress, Fault> {
    let state = database.collection::<RawDocumentBuf>(Collection::PipelineState.name());
    loop {
        // Read first: what cannot be understood must not be changed.
        let Some(found) = find_progress(database.clone()).await? else {
            let none = doc! { "_id": PROGRESS, "epoch": 0_i64, "offsets": {}, "instance": instance, "fence": 0_i64 };
            let inserted = database.collection::<BsonDocument>(Collection::PipelineState.name()).insert_one(none).await;
            match inserted.map_err(Fault::from) {
                Err(fault) if fault.code() != Some(DUPLICATE_KEY) => return Err(fault),
                _ => continue,
            }
        };
        // Above every fence there was, should `progress` be an older one that somebody has put back.
        let left = database.collection::<BsonDocument>(Collection::PipelineState.name());
        let left = left.find_one(doc! { "_id": SESSION }).await?;
        let newest = left.and_then(|left| left.get_i64("fence").ok()).unwrap_or_default().max(found.fence);
        let raise = doc! { "$set": { "fence": newest + 1, "instance": instance } };
        let raised = state
            .find_one_and_update(doc! { "_id": PROGRESS, "fence": found.fence }, raise)
            .return_document(ReturnDocument::After)
            .await?;
        if let Some(bson) = raised {
            return Ok(progress_from(&from_bson(Collection::PipelineState, &bson)?)?);
        }
    }
}

/// Without transactions, a commit that a crash cut off leaves documents of an epoch that never was. They count as
/// last changed in the committed one, or their guard would turn away a later epoch that is less than theirs. Where nothing
/// was ever committed, nothing is read again either, and nothing would correct them: they go, and what says where the
/// partitions begin goes with them.
///
/// This may happen late, when a newer instance has taken the fence and commits: whatever that one writes is of no earlier epoch
/// than this one's `first`, and stays.
async fn take_back(database: &Database, progress: &Progress, first: u64) -> Result<(), Fault> {
    let (epoch, first) = (epoch_to_stored(progress.epoch)?, epoch_to_stored(first)?);
    let never_were = doc! { "epoch": { "$gt": epoch, "$lt": first } };
    for collection in WITH_EPOCHS {
        let collection = database.collection::<BsonDocument>(collection.name());
        if progress.epoch == 0 {
            collection.delete_many(never_were.clone()).await?;
        } else {
            collection.update_many(never_were.clone(), doc! { "$set": { "epoch": epoch } }).await?;
        }
    }
    if progress.epoch == 0 {
        database.collection::<BsonDocument>(Collection::DeadLetters.name()).delete_many(never_were).await?;
        let older = doc! { "_id": ORIGIN, "fence": { "$lt": progress.fence } };
        database.collection::<BsonDocument>(Collection::PipelineState.name()).delete_one(older).await?;
    }
    // One of an older version has no fence.
    database
        .collection::<BsonDocument>(Collection::PipelineState.name())
        .update_one(doc! { "_id": ORIGIN, "fence": { "$exists": false } }, doc! { "$set": { "fence": 0_i64 } })
        .await?;
    Ok(())
}
