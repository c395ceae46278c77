//! Documents into rows and rows into documents.

use rusqlite::{CachedStatement, Connection, Params, Statement, params_from_iter};

use super::Stop;
use super::cell::{from_sql, to_sql};
use super::schema::{Table, quoted};
use crate::document::{Collection, Document, Value};
use crate::store::StoreError;

/// What becomes of a row whose `_id` is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// It is replaced, whole.
    Replace,
    /// It stays as it is.
    Keep,
}

/// Writes rows of one table with statements that are compiled once.
pub(super) struct Writer<'c> {
    table: &'c Table,
    collection: Collection,
    insert: CachedStatement<'c>,
    /// For what `insert` leaves alone, see [`Writer::open`].
    replace: Option<CachedStatement<'c>>,
}

impl<'c> Writer<'c> {
    /// For aggregated_data a row is replaced in two steps. The first updates it in place if its indexed fields stay
    /// what they are, as they do for a window that is counted further: it touches no index, which is most of the
    /// cost of replacing a row. Only a row that it leaves alone is replaced by the second.
    pub(super) fn open(
        connection: &'c Connection,
        collection: Collection,
        table: &'c Table,
        conflict: Conflict,
    ) -> Result<Writer<'c>, Stop> {
        if !table.exists() {
            return Err(Stop::Store(StoreError::Unavailable(format!(
                "the SQLite store has no table {}; run `tillflow init` first",
                collection.name()
            ))));
        }
        let name = quoted(collection.name());
        let columns: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
        let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
        let row = format!("INTO {name} ({}) VALUES ({})", columns.join(","), places.join(","));
        let indexed: Vec<String> = collection.indexes().iter().map(|field| quoted(field)).collect();
        let (insert, replace) = match conflict {
            Conflict::Keep => (format!("INSERT {row} ON CONFLICT (\"_id\") DO NOTHING"), None),
            Conflict::Replace if collection == Collection::AggregatedData => {
                let unindexed = columns[1..].iter().filter(|column| !indexed.contains(column));
                let set: Vec<String> = unindexed.map(|column| format!("{column}=excluded.{column}")).collect();
                let same: Vec<String> = indexed.iter().map(|column| format!("{column} IS excluded.{column}")).collect();
                let in_place = format!(
                    "INSERT {row} ON CONFLICT (\"_id\") DO UPDATE SET {} WHERE {}",
                    set.join(","),
                    same.join(" AND ")
                );
                (in_place, Some(format!("REPLACE {row}")))
            }
            Conflict::Replace => (format!("REPLACE {row}"), None),
        };
        Ok(Writer {
            table,
            collection,
            insert: connection.prepare_cached(&insert)?,
            replace: replace.map(|sql| connection.prepare_cached(&sql)).transpose()?,
        })
    }

    pub(super) fn write(&mut self, document: &Document) -> Result<(), Stop> {
        bind(&mut self.insert, self.collection, self.table, document)?;
        if self.insert.raw_execute()? == 0
            && let Some(replace) = &mut self.replace
        {
            bind(replace, self.collection, self.table, document)?;
            replace.raw_execute()?;
        }
        Ok(())
    }
}

fn bind(statement: &mut Statement<'_>, collection: Collection, table: &Table, document: &Document) -> Result<(), Stop> {
    // What a row does not have is NULL, whatever the row before it had.
    statement.clear_bindings();
    statement.raw_bind_parameter(1, document.id.as_str())?;
    for (field, value) in &document.fields {
        let Some(position) = table.positions.get(&**field) else {
            return Err(Stop::Store(StoreError::Unavailable(format!(
                "table {} has no column \"{field}\"; run `tillflow init` first",
                collection.name()
            ))));
        };
        statement.raw_bind_parameter(position + 1, to_sql(value))?;
    }
    Ok(())
}

/// One writer per collection, opened when it is first needed.
pub(super) struct Writers<'c> {
    connection: &'c Connection,
    tables: &'c [Table],
    conflict: Conflict,
    open: [Option<Writer<'c>>; Collection::ALL.len()],
}

impl<'c> Writers<'c> {
    pub(super) fn new(connection: &'c Connection, tables: &'c [Table], conflict: Conflict) -> Writers<'c> {
        Writers { connection, tables, conflict, open: Default::default() }
    }

    pub(super) fn write(&mut self, document: &Document) -> Result<(), Stop> {
        let place = document.collection as usize;
        match &mut self.open[place] {
            Some(writer) => writer.write(document),
            closed => {
                let table = &self.tables[place];
                let writer = Writer::open(self.connection, document.collection, table, self.conflict)?;
                closed.insert(writer).write(document)
            }
        }
    }
}

/// What becomes of a cell that this version never writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// It is an error.
    Refused,
    /// It becomes text that says what is there.
    Described,
}

/// Runs a statement that selects whole rows.
pub(super) fn documents<P: Params>(
    statement: &mut Statement<'_>,
    parameters: P,
    collection: Collection,
    table: &Table,
) -> Result<Vec<Document>, Stop> {
    let mut found = Vec::new();
    each_document(statement, parameters, (collection, table), Foreign::Refused, &mut |document| found.push(document))?;
    Ok(found)
}

/// Runs a statement that selects whole rows, and gives them one by one.
pub(super) fn each_document<P: Params>(
    statement: &mut Statement<'_>,
    parameters: P,
    (collection, table): (Collection, &Table),
    foreign: Foreign,
    give: &mut dyn FnMut(Document),
) -> Result<(), Stop> {
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        let id: String = match (row.get(0), foreign) {
            (Ok(id), _) => id,
            (Err(_), Foreign::Described) => format!("({:?})", row.get_ref(0)?),
            (Err(error), Foreign::Refused) => return Err(error.into()),
        };
        let mut fields = Vec::with_capacity(16);
        for (place, (name, kind)) in table.columns.iter().enumerate().skip(1) {
            match (from_sql(collection, name, *kind, row.get_ref(place)?), foreign) {
                (Ok(None), _) => {}
                (Ok(Some(value)), _) => fields.push((name.clone(), value)),
                (Err(what), Foreign::Described) => fields.push((name.clone(), Value::Text(format!("({what})")))),
                (Err(what), Foreign::Refused) => {
                    return Err(Stop::Store(StoreError::Unreadable(format!(
                        "\"{name}\" of \"{id}\" in table {} is {what}: it was not written by this version of tillflow",
                        collection.name()
                    ))));
                }
            }
        }
        give(Document { collection, id, fields });
    }
    Ok(())
}

/// The row of that `_id`; absent also where the table is.
pub(super) fn one_document(
    connection: &Connection,
    collection: Collection,
    table: &Table,
    id: &str,
) -> Result<Option<Document>, Stop> {
    if !table.exists() {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(&select(collection, table, "\"_id\" = ?1"))?;
    Ok(documents(&mut statement, params_from_iter([id]), collection, table)?.pop())
}

/// A SELECT of the columns that `table` knows, in its order: one that is added meanwhile shifts nothing.
pub(super) fn select(collection: Collection, table: &Table, rest: &str) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    format!("SELECT {} FROM {} WHERE {rest}", columns.join(","), quoted(collection.name()))
}
