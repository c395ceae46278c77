//! The reading side: any number of queries as of one commit.

use std::sync::Arc;
use std::time::Duration;

use ::mongodb::bson::raw::RawDocumentBuf;
use ::mongodb::bson::{Bson, DateTime, Document as Filter, doc};
use ::mongodb::options::{Hint, ReadConcern, TransactionOptions};
use ::mongodb::{Client, ClientSession, Database};

use super::bson::from_bson;
use super::connect::{Connection, durable};
use super::fault::Fault;
use crate::document::{Collection, Document, Value};
use crate::store::state::{PROGRESS, progress_from};
use crate::store::{Progress, Query, StoreAddress, StoreError, StoreOptions, StoreReader};

/// Without transactions: how often a read is repeated because a commit came in between, and the pause before that.
const UNSETTLED_READS: usize = 100;
const UNSETTLED_PAUSE: Duration = Duration::from_millis(20);

/// Answers, and the progress that they belong to.
type Answers = (Option<Progress>, Vec<Vec<Document>>);

/// Reads a store that some other connection fills.
pub(in crate::store) struct MongoReader {
    address: StoreAddress,
    options: StoreOptions,
    pub(super) connection: Connection,
}

impl MongoReader {
    pub(in crate::store) fn open(address: &StoreAddress, options: StoreOptions) -> Result<MongoReader, StoreError> {
        let connection = Connection::open(address, &options)?;
        Ok(MongoReader { address: address.clone(), options, connection })
    }

    /// Tries until it succeeds or the time is over.
    pub(super) fn retry<T: Send + 'static, W: Future<Output = Result<T, Fault>> + Send + 'static>(
        &mut self,
        attempted: &str,
        work: impl Fn(&Connection) -> W,
    ) -> Result<T, StoreError> {
        self.connect_again()?;
        let mut backoff = self.connection.backoff();
        self.connection.retry(attempted, &mut backoff, work)
    }

    /// Makes a new connection where the old one is of no use.
    pub(super) fn connect_again(&mut self) -> Result<(), StoreError> {
        if self.connection.is_abandoned() {
            self.connection = Connection::open(&self.address, &self.options)?;
        }
        Ok(())
    }
}

impl StoreReader for MongoReader {
    fn read(&mut self, queries: &[Query]) -> Result<Answers, StoreError> {
        let finds = queries.iter().map(Find::of).collect::<Result<Vec<_>, _>>()?;
        let finds = Arc::new(finds);
        self.retry("read", |connection| {
            let (finds, transactions) = (Arc::clone(&finds), connection.transactions);
            let (client, database) = (connection.client.clone(), connection.database.clone());
            async move {
                if transactions {
                    in_a_transaction(&client, &database, &finds).await
                } else {
                    settled(&database, &finds).await
                }
            }
        })
    }
}

/// One snapshot for all. It is one that a majority of the servers has only because the transaction commits with
/// that concern.
async fn in_a_transaction(client: &Client, database: &Database, finds: &[Option<Find>]) -> Result<Answers, Fault> {
    let options = TransactionOptions::builder().read_concern(ReadConcern::snapshot()).write_concern(durable()).build();
    let mut session = client.start_session().await?;
    session.start_transaction().with_options(options).await?;
    match all(database, Some(&mut session), finds).await {
        Ok(answers) => {
            session.commit_transaction().await?;
            Ok(answers)
        }
        Err(fault) => {
            let _ = session.abort_transaction().await;
            Err(fault)
        }
    }
}

/// Without transactions: reads until `progress` is the same before and after and no document is of a later epoch. A
/// commit that a crash cut off stays unsettled until the next instance; then what is there is the answer.
async fn settled(database: &Database, finds: &[Option<Find>]) -> Result<Answers, Fault> {
    for _ in 0..UNSETTLED_READS {
        let (progress, answers) = all(database, None, finds).await?;
        let epoch = progress.as_ref().map_or(0, |progress| progress.epoch);
        let later = |document: &Document| matches!(document.get("epoch"), Some(Value::Int(of)) if u64::try_from(*of).is_ok_and(|of| of > epoch));
        let whole = !answers.iter().flatten().any(later);
        if whole && progress_of(database, None).await? == progress {
            return Ok((progress, answers));
        }
        tokio::time::sleep(UNSETTLED_PAUSE).await;
    }
    all(database, None, finds).await
}

async fn all(
    database: &Database,
    mut session: Option<&mut ClientSession>,
    finds: &[Option<Find>],
) -> Result<Answers, Fault> {
    let progress = progress_of(database, session.as_deref_mut()).await?;
    let mut answers = Vec::with_capacity(finds.len());
    for find in finds {
        answers.push(match find {
            Some(find) => find.run(database, session.as_deref_mut()).await?,
            None => Vec::new(),
        });
    }
    Ok((progress, answers))
}

pub(super) async fn progress_of(
    database: &Database,
    session: Option<&mut ClientSession>,
) -> Result<Option<Progress>, Fault> {
    let collection = Collection::PipelineState;
    let state = database.collection::<RawDocumentBuf>(collection.name());
    let find = state.find_one(doc! { "_id": PROGRESS });
    let found = match session {
        Some(session) => find.session(session).await?,
        None => find.await?,
    };
    let progress = found.map(|bson| Ok::<_, Fault>(progress_from(&from_bson(collection, &bson)?)?)).transpose()?;
    // Epoch 0 is the fence of an instance that has not committed yet.
    Ok(progress.filter(|progress| progress.epoch > 0))
}

/// A query as MongoDB asks it.
struct Find {
    collection: Collection,
    filter: Filter,
    sort: Filter,
    limit: i64,
    by_id: bool,
}

impl Find {
    /// Absent where nothing can match.
    fn of(query: &Query) -> Result<Option<Find>, StoreError> {
        let collection = query.collection_asked()?;
        let limit = query.limit_or_default();
        let mut filter = Filter::new();
        let range = query.id_range();
        let by_id = range.is_some();
        if let Some(range) = range {
            filter.insert("_id", doc! { "$gte": range.from, "$lt": range.below });
        }
        let mut conditions: Vec<(String, Bson)> = Vec::new();
        conditions.extend(query.type_is.as_ref().map(|text| ("type".into(), text.into())));
        conditions.extend(query.granularity.as_ref().map(|text| ("granularity".into(), text.into())));
        for (field, text) in &query.equals {
            conditions.push((field.clone(), text.into()));
        }
        for (operator, bound) in [("$gte", query.from), ("$lt", query.to)] {
            if let Some(bound) = bound {
                conditions.push(("timestamp".into(), doc! { operator: DateTime::from_millis(bound) }.into()));
            }
        }
        if let Some(epoch) = query.until_epoch {
            let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
            conditions.push(("epoch".into(), doc! { "$lte": epoch }.into()));
        }
        if !conditions.iter().all(|(field, _)| is_plain(field)) || limit == 0 {
            return Ok(None);
        }
        if let Some((field, text)) = &query.key {
            if !is_plain(field) {
                return Ok(None);
            }
            // A key may be a whole number too.
            let number = text.parse::<i64>().ok().filter(|number| number.to_string() == *text);
            let wanted = number.map_or_else(|| Bson::from(text), |number| doc! { "$in": [text, number] }.into());
            conditions.push((format!("key.{field}"), wanted));
        }
        // All of them, even where two name one field.
        let conditions: Vec<Bson> = conditions.into_iter().map(|(field, is)| doc! { field: is }.into()).collect();
        if !conditions.is_empty() {
            filter.insert("$and", conditions);
        }
        let mut sort = Filter::new();
        for (field, descending) in &query.order {
            if is_plain(field) {
                sort.insert(field, if *descending { -1 } else { 1 });
            }
        }
        sort.insert("_id", 1);
        Ok(Some(Find { collection, filter, sort, limit, by_id }))
    }

    async fn run(&self, database: &Database, session: Option<&mut ClientSession>) -> Result<Vec<Document>, Fault> {
        let collection = database.collection::<RawDocumentBuf>(self.collection.name());
        let mut find = collection
            .find(self.filter.clone())
            .sort(self.sort.clone())
            .limit(self.limit)
            .allow_disk_use(true)
            // In as few answers as their size allows, where the driver would ask for 101 first.
            .batch_size(u32::try_from(self.limit).unwrap_or(u32::MAX).clamp(1, 100_000));
        if self.by_id {
            find = find.hint(Hint::Name("_id_".into()));
        }
        let mut found = Vec::new();
        match session {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                while cursor.advance(session).await? {
                    found.push(from_bson(self.collection, cursor.current())?);
                }
            }
            None => {
                let mut cursor = find.await?;
                while cursor.advance().await? {
                    found.push(from_bson(self.collection, cursor.current())?);
                }
            }
        }
        Ok(found)
    }
}

/// Whether a name is a field's and no path or operator: tillflow writes no others.
fn is_plain(field: &str) -> bool {
    !field.is_empty() && !field.starts_with('$') && !field.contains(['.', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_a_value_and_never_an_operator() {
        let query = Query {
            collection: Some(Collection::AggregatedData),
            equals: vec![("state".into(), "{\"$gt\": \"\"}".into())],
            key: Some(("category".into(), "$where".into())),
            ..Query::default()
        };
        let find = Find::of(&query).unwrap().unwrap();
        assert_eq!(find.limit, 10_000);
        assert_eq!(find.filter, doc! { "$and": [{ "state": "{\"$gt\": \"\"}" }, { "key.category": "$where" }] });
        for field in ["$where", "a.b", "a\0", ""] {
            let pair = (field.to_owned(), String::new());
            let equals = Query { equals: vec![pair.clone()], ..query.clone() };
            assert!(Find::of(&equals).unwrap().is_none());
            assert!(Find::of(&Query { key: Some(pair), ..query.clone() }).unwrap().is_none());
            let sorted = Query { order: vec![(field.into(), true)], ..query.clone() };
            assert_eq!(Find::of(&sorted).unwrap().unwrap().sort, doc! { "_id": 1 });
        }
    }
}
