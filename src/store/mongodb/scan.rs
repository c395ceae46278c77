//! Going over all that the store holds: a stream of one epoch, and documents by their `_id`.

use std::sync::Arc;

use ::mongodb::bson::doc;
use ::mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use ::mongodb::options::{ReadConcern, TransactionOptions};
use ::mongodb::{Client, ClientSession, Database};
use tillflow_dataflows::records::Topic;
use tokio::sync::mpsc::Sender;

use super::bson::from_foreign_bson;
use super::connect::durable;
use super::fault::Fault;
use super::raw_value;
use super::read::{MongoReader, progress_of};
use super::write::find_state;
use crate::document::{Collection, Document, Value};
use crate::store::state::{ORIGIN, origin_from};
use crate::store::{Origin, Progress, Scanned, StoreError, StoreScan};

/// How often a scan is begun before it is given up: a server keeps a snapshot for a minute or a few, and a standalone
/// server keeps none.
const ATTEMPTS: usize = 6;
/// Documents that are handed over at once.
const PIECE: usize = 256;
/// Documents that one answer of the server has at most.
const BATCH: u32 = 5_000;

type Pieces = Sender<Vec<Document>>;

impl StoreScan for MongoReader {
    fn origin(&mut self) -> Result<Option<Origin>, StoreError> {
        self.retry("read the origin of", |connection| {
            let database = connection.database.clone();
            async move { Ok(find_state(&database, ORIGIN).await?.as_ref().map(origin_from).transpose()?) }
        })
    }

    fn scan(
        &mut self,
        collections: &[Collection],
        give: &mut dyn FnMut(Scanned),
    ) -> Result<Option<Progress>, StoreError> {
        self.connect_again()?;
        let attempted = "read all of";
        let mut backoff = self.connection.backoff();
        let mut attempts = 0;
        loop {
            attempts += 1;
            give(Scanned::Begin);
            let collections: Arc<[Collection]> = collections.into();
            let mut later = 0u64;
            let scanned = self.connection.stream(
                attempted,
                |connection, pieces| {
                    let (client, database) = (connection.client.clone(), connection.database.clone());
                    let transactions = connection.transactions;
                    async move {
                        if transactions {
                            in_a_transaction(&client, &database, &collections, &pieces).await
                        } else {
                            unguarded(&database, &collections, &pieces).await
                        }
                    }
                },
                |piece: Vec<Document>| {
                    for document in piece {
                        if let Some(Value::Int(epoch)) = document.get("epoch") {
                            later = later.max(u64::try_from(*epoch).unwrap_or(0));
                        }
                        give(Scanned::Document(document));
                    }
                },
            )?;
            match scanned {
                // A commit that a crash cut off leaves documents of a later epoch on a standalone server; after the
                // last attempt they are what is there, and for the caller to judge.
                Ok(Scan { progress, settled }) => {
                    let whole = settled && later <= progress.as_ref().map_or(0, |progress| progress.epoch);
                    if whole || self.connection.transactions || (settled && attempts >= ATTEMPTS) {
                        backoff.succeeded();
                        return Ok(progress);
                    }
                    if attempts >= ATTEMPTS {
                        return Err(StoreError::Unavailable(format!(
                            "cannot {attempted} {}: it was written during each of {ATTEMPTS} attempts, and a standalone \
                             server has no transactions that would show one epoch: stop `tillflow run` for as long, or \
                             use a replica set (one node is enough)",
                            self.connection.shown
                        )));
                    }
                    backoff.wait("the store was written while it was read; reading it again");
                }
                Err(fault) if attempts >= ATTEMPTS && fault.transient() => {
                    let StoreError::Unavailable(error) = fault.into_error(attempted, &self.connection.shown) else {
                        return Err(StoreError::Unavailable(format!("cannot {attempted} {}", self.connection.shown)));
                    };
                    return Err(StoreError::Unavailable(format!(
                        "{error}; the last of {ATTEMPTS} attempts to read it as of one moment: if it takes longer than \
                         the server keeps a snapshot, raise transactionLifetimeLimitSeconds there"
                    )));
                }
                Err(fault) => self.connection.again(attempted, &mut backoff, fault)?,
            }
        }
    }

    fn by_id(&mut self, collection: Collection, ids: &[String]) -> Result<Vec<Document>, StoreError> {
        let ids: Arc<[String]> = ids.into();
        self.retry("read", |connection| {
            let (database, ids) = (connection.database.clone(), Arc::clone(&ids));
            async move {
                let documents = database.collection::<RawDocumentBuf>(collection.name());
                let mut cursor = documents.find(doc! { "_id": { "$in": ids.to_vec() } }).batch_size(BATCH).await?;
                let mut found = Vec::with_capacity(ids.len());
                while cursor.advance().await? {
                    found.push(from_foreign_bson(collection, cursor.current())?);
                }
                Ok(found)
            }
        })
    }

    fn is_empty(&mut self, collection: Collection) -> Result<bool, StoreError> {
        self.retry("read", |connection| {
            let database = connection.database.clone();
            async move {
                Ok(database.collection::<RawDocumentBuf>(collection.name()).find_one(doc! {}).await?.is_none())
            }
        })
    }

    fn raw_below(&mut self, topic: Topic, partition: i32, offset: i64) -> Result<u64, StoreError> {
        self.connect_again()?;
        // Counting takes as long as it takes; an answer comes at its end only.
        let counted = self.connection.stream(
            "count raw_data of",
            |connection, _: Sender<()>| {
                let raw = connection.database.collection::<RawDocumentBuf>(Collection::RawData.name());
                let of = doc! { "topic": topic.name(), "partition": i64::from(partition), "offset": { "$lt": offset } };
                async move { Ok(raw.count_documents(of).await?) }
            },
            |()| (),
        )?;
        counted.map_err(|fault| fault.into_error("count raw_data of", &self.connection.shown))
    }

    fn json_kept(&self) -> fn(&str) -> String {
        raw_value::kept
    }
}

/// What a scan of everything found, beside the documents.
struct Scan {
    progress: Option<Progress>,
    /// `progress` was the same before and after.
    settled: bool,
}

/// One snapshot for all.
async fn in_a_transaction(
    client: &Client,
    database: &Database,
    collections: &[Collection],
    pieces: &Pieces,
) -> Result<Scan, Fault> {
    let options = TransactionOptions::builder().read_concern(ReadConcern::snapshot()).write_concern(durable()).build();
    let mut session = client.start_session().await?;
    session.start_transaction().with_options(options).await?;
    match all(database, Some(&mut session), collections, pieces).await {
        Ok(progress) => {
            session.commit_transaction().await?;
            Ok(Scan { progress, settled: true })
        }
        Err(fault) => {
            let _ = session.abort_transaction().await;
            Err(fault)
        }
    }
}

async fn unguarded(database: &Database, collections: &[Collection], pieces: &Pieces) -> Result<Scan, Fault> {
    let progress = all(database, None, collections, pieces).await?;
    let settled = progress_of(database, None).await? == progress;
    Ok(Scan { progress, settled })
}

async fn all(
    database: &Database,
    mut session: Option<&mut ClientSession>,
    collections: &[Collection],
    pieces: &Pieces,
) -> Result<Option<Progress>, Fault> {
    let progress = progress_of(database, session.as_deref_mut()).await?;
    for collection in collections {
        let documents = database.collection::<RawDocumentBuf>(collection.name());
        let find = documents.find(doc! {}).batch_size(BATCH);
        let mut piece = Piece { collection: *collection, documents: Vec::with_capacity(PIECE), pieces };
        match session.as_deref_mut() {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                while cursor.advance(session).await? {
                    piece.push(cursor.current()).await?;
                }
            }
            None => {
                let mut cursor = find.await?;
                while cursor.advance().await? {
                    piece.push(cursor.current()).await?;
                }
            }
        }
        piece.hand_over().await;
    }
    Ok(progress)
}

/// Documents on their way to whoever scans.
struct Piece<'a> {
    collection: Collection,
    documents: Vec<Document>,
    pieces: &'a Pieces,
}

impl Piece<'_> {
    async fn push(&mut self, bson: &RawDocument) -> Result<(), Fault> {
        self.documents.push(from_foreign_bson(self.collection, bson)?);
        if self.documents.len() >= PIECE {
            self.hand_over().await;
        }
        Ok(())
    }

    async fn hand_over(&mut self) {
        // Nobody listens any more when the scan has been given up; what it finds is of no interest then.
        let _ = self.pieces.send(std::mem::take(&mut self.documents)).await;
    }
}
