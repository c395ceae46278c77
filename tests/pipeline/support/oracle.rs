//! What the oracle says, and what a store holds as another program reads it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::program::script;
use super::world::{Store, Topics};

/// Every document of a store, by collection and `_id`: counts and times as numbers, decimals as text, bytes in
/// hexadecimal.
pub type Documents = BTreeMap<(String, String), Value>;

/// Fails unless every document is what the oracle makes of the records below the committed offsets. `flags` are
/// those of `compare.py`.
pub fn assert_equal(topics: &Topics, store: &Store, flags: &str) {
    let source = [topics.flags(), vec![String::from("--from"), String::from("kafka")]].concat();
    compare(source, &store.flags(), flags);
}

/// The same for files.
pub fn assert_equal_to_files(folder: &std::path::Path, store: &Store, flags: &str) {
    compare(vec![String::from("--from"), format!("ndjson:{}", folder.display())], &store.flags(), flags);
}

/// Fails unless the store that the flags name holds what the oracle makes of the source that the flags name.
pub fn compare(source: Vec<String>, store: &[String], flags: &str) {
    let mut arguments = source;
    arguments.extend_from_slice(store);
    let added = tillflow_dataflows::views::added();
    let added: Vec<&str> = added.iter().map(|view| view.layout.name.as_str()).collect();
    arguments.push(format!("--added={}", added.join(",")));
    arguments.extend("--final".split(' ').chain(flags.split_whitespace()).map(String::from));
    let said = script("oracle/compare.py", &arguments);
    assert!(said.ends_with("equal\n"), "{said}");
}

/// Every document that a store holds.
pub fn documents(store: &Store) -> Documents {
    documents_of(&store.flags())
}

/// Every document of the store that these flags name.
pub fn documents_of(flags: &[String]) -> Documents {
    let lines = script("pipeline/documents.py", flags);
    let documents = lines.lines().map(|line| {
        let (collection, id, document): (String, String, Value) = serde_json::from_str(line).expect("a document");
        ((collection, id), document)
    });
    documents.collect()
}

/// The integer in a document's field.
pub fn integer(document: &Value, field: &str) -> i64 {
    document[field].as_i64().unwrap_or_else(|| panic!("no integer {field} in {document}"))
}
