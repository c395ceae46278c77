//! Going over all that the store holds: a stream of one epoch, and rows by their `_id`.

use tillflow_dataflows::records::Topic;

use super::read::{SqliteReader, committed};
use super::rows::{Foreign, each_document, one_document, select};
use super::schema::quoted;
use crate::document::{Collection, Document};
use crate::store::state::{ORIGIN, origin_from};
use crate::store::{Origin, Progress, Scanned, StoreError, StoreScan};

impl StoreScan for SqliteReader {
    fn origin(&mut self) -> Result<Option<Origin>, StoreError> {
        self.as_of_one_commit("read the origin of", |transaction, tables| {
            let state = Collection::PipelineState;
            let origin = one_document(transaction, state, &tables[state as usize], ORIGIN)?;
            Ok(origin.as_ref().map(origin_from).transpose()?)
        })
    }

    fn scan(
        &mut self,
        collections: &[Collection],
        give: &mut dyn FnMut(Scanned),
    ) -> Result<Option<Progress>, StoreError> {
        self.as_of_one_commit("read all of", |transaction, tables| {
            give(Scanned::Begin);
            let progress = committed(transaction, tables)?;
            for collection in collections {
                let table = &tables[*collection as usize];
                if table.exists() {
                    // In the file's own order: any other would sort or jump.
                    let mut statement = transaction.prepare(&select(*collection, table, "1"))?;
                    let mut give = |document| give(Scanned::Document(document));
                    each_document(&mut statement, [], (*collection, table), Foreign::Described, &mut give)?;
                }
            }
            Ok(progress)
        })
    }

    fn by_id(&mut self, collection: Collection, ids: &[String]) -> Result<Vec<Document>, StoreError> {
        self.as_of_one_commit("read", |transaction, tables| {
            let table = &tables[collection as usize];
            let mut found = Vec::with_capacity(ids.len());
            if table.exists() {
                let mut statement = transaction.prepare_cached(&select(collection, table, "\"_id\" = ?1"))?;
                for id in ids {
                    let mut give = |document| found.push(document);
                    each_document(&mut statement, [id], (collection, table), Foreign::Described, &mut give)?;
                }
            }
            Ok(found)
        })
    }

    fn is_empty(&mut self, collection: Collection) -> Result<bool, StoreError> {
        self.as_of_one_commit("read", |transaction, tables| {
            if !tables[collection as usize].exists() {
                return Ok(true);
            }
            let mut statement = transaction.prepare(&format!("SELECT 1 FROM {} LIMIT 1", quoted(collection.name())))?;
            Ok(!statement.exists([])?)
        })
    }

    fn raw_below(&mut self, topic: Topic, partition: i32, offset: i64) -> Result<u64, StoreError> {
        self.as_of_one_commit("count raw_data of", |transaction, tables| {
            if !tables[Collection::RawData as usize].exists() {
                return Ok(0);
            }
            let sql = "SELECT count(*) FROM raw_data WHERE \"topic\" = ?1 AND \"partition\" = ?2 AND \"offset\" < ?3";
            let count: i64 =
                transaction.prepare(sql)?.query_row((topic.name(), partition, offset), |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }

    fn json_kept(&self) -> fn(&str) -> String {
        str::to_owned
    }
}
