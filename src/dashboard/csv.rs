//! Documents as CSV (RFC 4180), safe to open in a spreadsheet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::format::rfc3339;
use super::json::Json;
use crate::document::{Document, Value, decimal_text};

/// The rows with a header: `_id`, then every field that any row has, in the order of first appearance. The
/// fields of `key` stand as columns of their own; lists and other documents are JSON text; absent is empty.
pub fn render(documents: &[Document]) -> String {
    let rows: Vec<Vec<(String, String)>> = documents.iter().map(cells).collect();
    let mut columns: Vec<&str> = vec!["_id"];
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut out = String::new();
    push_row(&mut out, columns.iter().copied());
    for row in &rows {
        let cell = |column: &&str| row.iter().find(|(name, _)| name == column).map_or("", |(_, cell)| cell.as_str());
        push_row(&mut out, columns.iter().map(cell));
    }
    out
}

fn cells(document: &Document) -> Vec<(String, String)> {
    let mut cells = vec![("_id".to_owned(), text_cell(&document.id))];
    for (name, value) in &document.fields {
        match value {
            Value::Document(fields) if name == "key" => {
                for (part, value) in fields {
                    let taken = document.get(part).is_some();
                    cells.push((if taken { format!("key.{part}") } else { part.to_string() }, cell(value)));
                }
            }
            _ => cells.push((name.to_string(), cell(value))),
        }
    }
    cells
}

fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => text_cell(text),
        Value::Int(number) => number.to_string(),
        Value::Decimal { digits, scale } => decimal_text(*digits, *scale),
        Value::Time(instant) => rfc3339(*instant),
        Value::Bool(truth) => truth.to_string(),
        Value::Bytes(bytes) => STANDARD.encode(bytes),
        Value::Document(_) | Value::List(_) | Value::Json(_) => {
            text_cell(&serde_json::to_string(&Json(value)).unwrap_or_default())
        }
    }
}

/// A spreadsheet runs what begins like a formula: such text gets a `'` in front.
fn text_cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn push_row<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Collection, Fields};

    fn row(id: &str, fields: Fields) -> Document {
        Document { collection: Collection::AggregatedData, id: id.into(), fields }
    }

    #[test]
    fn keys_are_columns_and_formulas_are_text() {
        let key = |text: &str| Value::Document(vec![("category".into(), Value::Text(text.into()))]);
        let rows = [
            row("a", vec![("key".into(), key("=1+1")), ("revenue".into(), Value::money(-15_000))]),
            row("-b", vec![("key".into(), key("x,\"y\"")), ("n".into(), Value::Int(-2))]),
        ];
        assert_eq!(render(&rows), "_id,category,revenue,n\r\na,'=1+1,-1.5000,\r\n'-b,\"x,\"\"y\"\"\",,-2\r\n");
    }

    #[test]
    fn no_rows_are_a_header() {
        assert_eq!(render(&[]), "_id\r\n");
    }
}
