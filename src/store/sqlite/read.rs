//! The reading side: any number of queries as of one commit.

use std::path::{Path, PathBuf};

use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params_from_iter};

use super::rows::{documents, one_document, select};
use super::schema::{Kind, Table, quoted};
use super::{FileIdentity, Stop, connect};
use crate::document::{Collection, Document};
use crate::store::state::{PROGRESS, progress_from};
use crate::store::{Progress, Query, StoreError, StoreReader};

/// Reads a store that some other connection fills.
pub(in crate::store) struct SqliteReader {
    connection: Connection,
    path: PathBuf,
    identity: Option<FileIdentity>,
    /// SQLite's counter of changes to the schema, as of `tables`.
    schema_version: Option<i64>,
    tables: [Table; Collection::ALL.len()],
}

impl SqliteReader {
    pub(in crate::store) fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        let identity = FileIdentity::of(path);
        if identity.is_none() {
            return Err(StoreError::Unavailable(format!(
                "cannot read SQLite store {}: there is no such file; check the name, or start `tillflow run` with it first",
                path.display()
            )));
        }
        let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(SqliteReader { connection, path: path.into(), identity, schema_version: None, tables: Default::default() })
    }

    /// Opens the file anew if it was replaced.
    fn follow_file(&mut self) -> Result<(), StoreError> {
        if FileIdentity::of(&self.path) != self.identity {
            *self = SqliteReader::open(&self.path)?;
        }
        Ok(())
    }

    /// Runs `work` as of one commit.
    pub(super) fn as_of_one_commit<T>(
        &mut self,
        attempted: &str,
        work: impl FnOnce(&Transaction<'_>, &[Table]) -> Result<T, Stop>,
    ) -> Result<T, StoreError> {
        self.follow_file()?;
        let (connection, tables, version) = (&self.connection, &mut self.tables, &mut self.schema_version);
        let run = || {
            // The first SELECT fixes what all the others see.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
            know_tables(&transaction, version, tables)?;
            work(&transaction, tables)
        };
        run().map_err(|stop| stop.into_error(attempted, &self.path))
    }
}

/// The progress, unless nothing is committed: epoch 0 is the fence of an instance that has not committed yet.
pub(super) fn committed(transaction: &Transaction<'_>, tables: &[Table]) -> Result<Option<Progress>, Stop> {
    let state = Collection::PipelineState;
    let progress = one_document(transaction, state, &tables[state as usize], PROGRESS)?;
    Ok(progress.as_ref().map(progress_from).transpose()?.filter(|progress| progress.epoch > 0))
}

impl StoreReader for SqliteReader {
    fn read(&mut self, queries: &[Query]) -> Result<(Option<Progress>, Vec<Vec<Document>>), StoreError> {
        self.as_of_one_commit("read", |transaction, tables| {
            let progress = committed(transaction, tables)?;
            let mut answers = Vec::with_capacity(queries.len());
            for query in queries {
                let collection = query.collection_asked()?;
                let table = &tables[collection as usize];
                answers.push(match Sql::of(query, collection, table) {
                    Some(Sql { text, parameters }) => {
                        let mut statement = transaction.prepare_cached(&text)?;
                        documents(&mut statement, params_from_iter(parameters), collection, table)?
                    }
                    None => Vec::new(),
                });
            }
            Ok((progress, answers))
        })
    }
}

/// Brings what is known of the tables up to what the transaction sees.
pub(super) fn know_tables(
    transaction: &Transaction<'_>,
    schema_version: &mut Option<i64>,
    tables: &mut [Table; Collection::ALL.len()],
) -> Result<(), Stop> {
    let version: i64 = transaction.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?;
    if *schema_version != Some(version) {
        for collection in Collection::ALL {
            tables[collection as usize] = Table::read(transaction, collection)?;
        }
        *schema_version = Some(version);
    }
    Ok(())
}

/// A query as SQL.
struct Sql {
    text: String,
    parameters: Vec<Parameter>,
}

impl Sql {
    /// Absent where nothing can match: no such table, or a condition on a column that no document has.
    fn of(query: &Query, collection: Collection, table: &Table) -> Option<Sql> {
        if !table.exists() {
            return None;
        }
        let mut conditions = vec!["1".to_owned()];
        let mut parameters: Vec<Parameter> = Vec::new();
        let range = query.id_range();
        // A `+` keeps the planner from a secondary index where the primary key is the better one.
        let plus = if range.is_some() { "+" } else { "" };
        let mut compare = |left: &str, operator: &str, right: Parameter| {
            parameters.push(right);
            conditions.push(format!("{left} {operator} ?{}", parameters.len()));
        };
        if let Some(range) = range {
            compare("\"_id\"", ">=", range.from.into());
            compare("\"_id\"", "<", range.below.into());
        }
        let typed = [("type", &query.type_is), ("granularity", &query.granularity)];
        let typed = typed.into_iter().filter_map(|(column, text)| Some((column, text.as_ref()?)));
        let equals = query.equals.iter().map(|(column, text)| (column.as_str(), text));
        for (column, text) in typed.chain(equals) {
            table.kind(column)?;
            compare(&format!("{plus}{}", quoted(column)), "=", text.clone().into());
        }
        for (operator, bound) in [(">=", query.from), ("<", query.to)] {
            if let Some(bound) = bound {
                table.kind("timestamp")?;
                compare(&format!("{plus}\"timestamp\""), operator, bound.into());
            }
        }
        if let Some(epoch) = query.until_epoch {
            table.kind("epoch")?;
            compare("+\"epoch\"", "<=", i64::try_from(epoch).unwrap_or(i64::MAX).into());
        }
        if let Some((field, text)) = &query.key {
            table.kind("key")?;
            parameters.push(field.clone().into());
            parameters.push(text.clone().into());
            let (field, text) = (parameters.len() - 1, parameters.len());
            conditions.push(format!(
                "CASE WHEN json_valid(\"key\") THEN EXISTS (SELECT 1 FROM json_each({}.\"key\") AS part \
                 WHERE part.key = ?{field} AND part.type IN ('text', 'integer') AND CAST(part.value AS TEXT) = ?{text}) END",
                quoted(collection.name())
            ));
        }
        let mut order: Vec<String> = Vec::new();
        for (column, descending) in &query.order {
            // A field that nothing has orders nothing.
            if let Some(kind) = table.kind(column) {
                order.push(format!("{}{}", sort_key(column, kind), if *descending { " DESC" } else { "" }));
            }
        }
        order.push("\"_id\"".into());
        parameters.push(query.limit_or_default().into());
        let rest = format!("{} ORDER BY {} LIMIT ?{}", conditions.join(" AND "), order.join(","), parameters.len());
        Some(Sql { text: select(collection, table, &rest), parameters })
    }
}

/// What sorts a column by its meaning: decimals are text of one scale, so without the point they sort as integers.
fn sort_key(column: &str, kind: Kind) -> String {
    let column = quoted(column);
    let digits = format!("CAST(replace({column},'.','') AS INTEGER)");
    match kind {
        Kind::Decimal | Kind::Measure => format!("CASE typeof({column}) WHEN 'text' THEN {digits} ELSE {column} END"),
        Kind::Unknown => format!(
            "CASE WHEN typeof({column}) = 'text' AND {column} GLOB '*[0-9].[0-9]*' THEN {digits} ELSE {column} END"
        ),
        _ => column,
    }
}
