//! The tables: which columns each has, what their values mean, and how a new one is added.
//!
//! Columns are declared without a type, because one column may hold different kinds in different rows and
//! SQLite's type affinity would turn the text `12.5000` into a float or a count into text. Tables keep their rowid:
//! without it the secondary indexes hold the long `_id`s, which costs a tenth of the writing and gains no reading.

use hashbrown::HashMap;
use rusqlite::{Connection, Result};

use crate::document::{Collection, FieldName};

/// How a value that comes out of a column is to be understood, beyond SQLite's storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, count or bytes, as the storage class says.
    Plain,
    /// An integer is an instant in milliseconds.
    Time,
    /// An integer is a truth value.
    Bool,
    /// Text that is a decimal number is one; its scale is the number of its decimals.
    Decimal,
    /// Text is a document or list in JSON.
    Nested,
    /// Text is JSON as it was sent.
    Json,
    /// A measure of a windowed view: a count, or a decimal number as text. The same name may be a count in one view and
    /// an amount in another.
    Measure,
    /// A column of another version's view: text tells by its form whether it is a decimal, nested, or text.
    Unknown,
}

use Kind::{Bool, Decimal, Json, Measure, Nested, Plain, Time};

/// The columns beside `_id` that a new table has.
const fn columns(collection: Collection) -> &'static [(&'static str, Kind)] {
    match collection {
        Collection::RawData => &[
            ("topic", Plain),
            ("partition", Plain),
            ("offset", Plain),
            ("key", Plain),
            ("kafka_timestamp", Time),
            ("timestamp", Time),
            ("outcome", Plain),
            ("reason", Plain),
            ("value", Json),
        ],
        Collection::AggregatedData => &[
            ("type", Plain),
            ("granularity", Plain),
            ("timestamp", Time),
            ("window_end", Time),
            ("key", Nested),
            ("final", Bool),
            ("epoch", Plain),
            ("as_of", Time),
            ("transactions", Measure),
            ("units", Measure),
            ("revenue", Measure),
            ("average_order_value", Measure),
            ("events", Measure),
            ("amount", Measure),
            ("users", Measure),
            ("sessions", Measure),
            ("bounced", Measure),
            ("converted", Measure),
            ("page_views", Measure),
            ("duration_seconds", Measure),
            ("viewed", Measure),
            ("viewed_product", Measure),
            ("purchased", Measure),
            ("views", Measure),
            ("purchases", Measure),
            ("units_sold", Measure),
            ("new_customers", Measure),
            ("returning_customers", Measure),
            ("new_revenue", Measure),
            ("returning_revenue", Measure),
        ],
        Collection::RealTimeMetrics => &[
            ("type", Plain),
            ("name", Plain),
            ("timestamp", Time),
            ("epoch", Plain),
            ("as_of", Time),
            ("transactions", Plain),
            ("units", Plain),
            ("revenue", Decimal),
            ("average_order_value", Decimal),
            ("events", Plain),
            ("users", Plain),
            ("sessions", Plain),
            ("converted", Plain),
            // A list in top_products_*, a count in inventory_summary.
            ("products", Nested),
            ("rows", Plain),
            ("out_of_stock", Plain),
            ("low_stock", Plain),
            ("outcomes", Nested),
            ("reasons", Nested),
            ("purchases", Plain),
            ("sales", Plain),
            ("product_id", Plain),
            ("warehouse_id", Plain),
            ("category", Plain),
            ("current_stock", Plain),
            ("reorder_level", Plain),
            ("status", Plain),
            ("last_updated", Time),
            ("stock", Plain),
            ("units_sold_7d", Plain),
            ("days_of_supply", Decimal),
            ("kind", Plain),
            ("severity", Plain),
            ("message", Plain),
            ("state", Plain),
            ("opened_at", Time),
            ("resolved_at", Time),
            ("times_opened", Plain),
        ],
        Collection::DeadLetters => &[
            ("topic", Plain),
            ("partition", Plain),
            ("offset", Plain),
            ("key", Plain),
            ("value", Plain),
            ("kafka_timestamp", Time),
            ("reason", Plain),
            ("detail", Plain),
            ("epoch", Plain),
        ],
        Collection::PipelineState => &[
            ("epoch", Plain),
            ("as_of", Time),
            ("offsets", Nested),
            ("committed_at", Time),
            ("instance", Plain),
            ("fence", Plain),
            ("configuration", Plain),
            ("lineage", Plain),
            ("accepted", Nested),
            ("late_before_ms", Nested),
            ("expiring_before", Time),
            ("records", Nested),
        ],
    }
}

/// Whether a field inside a list or document of this collection is a decimal number where it is such text.
/// A view's `key` holds values from the stream, which stay the text they are.
pub(super) fn nested_decimal(collection: Collection, column: &str, field: &str) -> bool {
    column != "key" && columns(collection).iter().any(|(name, kind)| *kind == Decimal && *name == field)
}

/// One table as it is in the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Every column in the file's order, `_id` first.
    pub(super) columns: Vec<(FieldName, Kind)>,
    /// Where a column is in `columns`.
    pub(super) positions: HashMap<String, usize>,
}

impl Table {
    /// Reads the table's columns; without any, the table is not there.
    pub(super) fn read(connection: &Connection, collection: Collection) -> Result<Table> {
        let known = columns(collection);
        // Added views are the only source of further columns whose text may be a number.
        let other = match collection {
            Collection::AggregatedData | Collection::RealTimeMetrics => Kind::Unknown,
            _ => Plain,
        };
        let mut table = Table::default();
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
        let mut rows = statement.query([collection.name()])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let found = known.iter().find(|(known, _)| *known == name);
            let kind = match name.as_str() {
                "_id" => Plain,
                // Measures of added views that are times are called so, and nothing else is.
                _ if collection == Collection::AggregatedData && name.ends_with("_at") => Time,
                _ => found.map_or(other, |(_, kind)| *kind),
            };
            table.positions.insert(name.clone(), table.columns.len());
            // Each document that is read names the columns it has.
            table.columns.push((found.map_or(FieldName::Owned(name), |(known, _)| FieldName::Borrowed(known)), kind));
        }
        Ok(table)
    }

    pub(super) fn exists(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Whether a table that is there can be one of tillflow's, of whatever version.
    pub(super) fn is_ours(&self) -> bool {
        self.columns.first().is_some_and(|(name, _)| name == "_id")
    }

    pub(super) fn kind(&self, column: &str) -> Option<Kind> {
        self.positions.get(column).map(|position| self.columns[*position].1)
    }
}

/// Creates what is not there yet: tables, the columns of this version, and the contract's indexes.
pub(super) fn create(connection: &Connection) -> Result<()> {
    for collection in Collection::ALL {
        let table = quoted(collection.name());
        let names: String = columns(collection).iter().map(|(name, _)| format!(", {}", quoted(name))).collect();
        connection
            .execute_batch(&format!("CREATE TABLE IF NOT EXISTS {table} (\"_id\" TEXT NOT NULL PRIMARY KEY{names})"))?;
        let present = Table::read(connection, collection)?;
        for (name, _) in columns(collection) {
            if !present.positions.contains_key(*name) {
                add_column(connection, collection, name)?;
            }
        }
        for field in collection.indexes() {
            connection.execute_batch(&format!(
                "CREATE INDEX IF NOT EXISTS {} ON {table} ({})",
                quoted(&format!("{}_{field}", collection.name())),
                quoted(field)
            ))?;
        }
    }
    Ok(())
}

pub(super) fn add_column(connection: &Connection, collection: Collection, name: &str) -> Result<()> {
    connection.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {}", quoted(collection.name()), quoted(name)))
}

/// An identifier as SQL wants it, whatever its letters.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
