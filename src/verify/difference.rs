//! What differs, counted, and the first of it kept.

use std::collections::BTreeMap;

use crate::document::{Collection, Fields, Value, decimal_text};

/// How a stored document differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceKind {
    /// It should be there and is not.
    Missing,
    /// It is there and should not be.
    Unexpected,
    /// It says something else.
    Differs,
}

impl DifferenceKind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Unexpected => "unexpected",
            DifferenceKind::Differs => "differs",
        }
    }
}

/// A field that differs, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// Its name.
    pub field: String,
    /// What the store has; absent if nothing.
    pub stored: Option<String>,
    /// What it should be; absent if nothing.
    pub expected: Option<String>,
}

/// A document that differs. Its texts may come from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where it is.
    pub collection: Collection,
    /// Its `_id`.
    pub id: String,
    /// How.
    pub kind: DifferenceKind,
    /// Of one that differs: in which fields.
    pub fields: Vec<FieldDifference>,
    /// What else there is to say.
    pub note: Option<&'static str>,
}

/// A difference as it is found; its fields may have to be looked up later.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// What the document should say, where only its digest is known to differ.
    pub(super) expected: Option<Fields>,
    pub(super) fields: Vec<FieldDifference>,
    pub(super) note: Option<&'static str>,
}

type Key = (Collection, String, DifferenceKind);

/// All differences: how many there are, and the first of them by collection and `_id`.
pub(super) struct Differences {
    limit: usize,
    pub(super) total: u64,
    first: BTreeMap<Key, Evidence>,
}

impl Differences {
    pub(super) fn new(limit: usize) -> Differences {
        Differences { limit, total: 0, first: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, collection: Collection, id: String, kind: DifferenceKind, evidence: Evidence) {
        let key = (collection, id, kind);
        if let Some(known) = self.first.get_mut(&key) {
            known.expected = known.expected.take().or(evidence.expected);
            known.fields.extend(evidence.fields);
            known.note = known.note.or(evidence.note);
            return;
        }
        self.total += 1;
        self.first.insert(key, evidence);
        if self.first.len() > self.limit {
            self.first.pop_last();
        }
    }

    /// A field that is not what it can be; `expected` says in words what it could.
    pub(super) fn implausible(
        &mut self,
        (collection, id): (Collection, &str),
        field: &str,
        stored: Option<&Value>,
        expected: String,
    ) {
        let fields =
            vec![FieldDifference { field: field.to_owned(), stored: stored.map(shown), expected: Some(expected) }];
        self.add(collection, id.to_owned(), DifferenceKind::Differs, Evidence { fields, ..Evidence::default() });
    }

    pub(super) fn into_first(self) -> BTreeMap<Key, Evidence> {
        self.first
    }
}

/// The fields in which two documents differ, but for those that `besides` names.
pub(super) fn fields_that_differ(stored: &Fields, expected: &Fields, besides: &[&str]) -> Vec<FieldDifference> {
    let value =
        |fields: &Fields, name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value).cloned();
    let mut names: Vec<&str> =
        stored.iter().chain(expected).map(|(name, _)| &**name).filter(|name| !besides.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter_map(|name| {
        let (stored, expected) = (value(stored, name), value(expected, name));
        (stored != expected).then(|| {
            let same_words = stored.as_ref().map(shown) == expected.as_ref().map(shown);
            let words = |value: Option<Value>| {
                value
                    .map(|value| if same_words { format!("{} {}", kind(&value), shown(&value)) } else { shown(&value) })
            };
            FieldDifference { field: name.to_owned(), stored: words(stored), expected: words(expected) }
        })
    });
    differing.collect()
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "text",
        Value::Int(_) => "integer",
        Value::Decimal { .. } => "decimal",
        Value::Time(_) => "time",
        Value::Bool(_) => "truth value",
        Value::Bytes(_) => "bytes",
        Value::Document(_) => "document",
        Value::List(_) => "list",
        Value::Json(_) => "JSON",
    }
}

/// A value in words.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Json(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Decimal { digits, scale } => decimal_text(*digits, *scale),
        Value::Time(millis) => super::shown_instant(Some(*millis)),
        Value::Bool(truth) => truth.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Document(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::List(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_all_are_counted() {
        let mut differences = Differences::new(2);
        for id in ["d", "b", "c", "a", "b"] {
            let id = String::from(id);
            differences.add(Collection::RawData, id, DifferenceKind::Missing, Evidence::default());
        }
        assert_eq!(differences.total, 4);
        let kept: Vec<String> = differences.into_first().into_keys().map(|(_, id, _)| id).collect();
        assert_eq!(kept, ["a", "b"]);
    }

    #[test]
    fn values_that_read_the_same_are_told_apart_by_their_kind() {
        let fields = |value| vec![("units".into(), value)];
        let differing = fields_that_differ(&fields(Value::Text("7".into())), &fields(Value::Int(7)), &[]);
        assert_eq!(differing[0].stored.as_deref(), Some("text 7"));
        assert_eq!(differing[0].expected.as_deref(), Some("integer 7"));
        assert_eq!(fields_that_differ(&fields(Value::Int(1)), &Fields::new(), &["units"]), []);
    }
}
