//! Views beside the built-in ones: those of a `--view-file`, and those that a developer adds.
//!
//! The built-in views each have their own type of measures and their own way into documents, which is fast and says
//! much. An added view has neither: its measures are numbers in a row, and its [`Layout`] says what they are. That
//! is all that documents, pages and charts need to know of it, so adding one touches none of them.

use std::collections::BTreeSet;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::fields::{Field, FieldKind};
use crate::group_by::{GroupBy, titled};
use crate::measures::AddedMeasures;
use crate::outputs::View;
use crate::records::{Activity, Sale, StockLevel, Text, Topic};
use crate::state::State;
use crate::time::{Diff, Granularity, Tick};
use crate::views::Contributions;
use crate::views::group_by::group_by;

/// An added view: how its documents look, and what its rows are made of.
#[derive(Clone, Debug)]
pub struct AddedView {
    /// What its documents and pages say.
    pub layout: Layout,
    /// What its rows are made of.
    pub content: Content,
}

/// What the rows of an added view are made of.
#[derive(Clone, Debug)]
pub enum Content {
    /// A group-by.
    GroupBy(GroupBy),
    /// Rust.
    Written(Build),
}

/// Makes the rows of a view out of the records in force. [`View`] is what the rows are to be called.
pub type Build = for<'scope> fn(&Records<'scope>, View) -> Contributions<'scope, AddedMeasures>;

/// The records in force, of the topics that the layouts of added views name; the others are empty.
pub struct Records<'scope> {
    /// Sales.
    pub sales: VecCollection<'scope, Tick, Sale, Diff>,
    /// Activities.
    pub activities: VecCollection<'scope, Tick, Activity, Diff>,
    /// The current stock of each product in each warehouse.
    pub stock: VecCollection<'scope, Tick, StockLevel, Diff>,
}

impl AddedView {
    /// What each record adds to the view's rows. Of the two, `records` come once, while they come in; those of `kept` come
    /// again after a restart, so that whatever a view holds of them is there again.
    pub(crate) fn contributions<'scope>(
        &self,
        records: &Records<'scope>,
        kept: &Records<'scope>,
        view: View,
        state: &mut State,
    ) -> Contributions<'scope, AddedMeasures> {
        match &self.content {
            Content::GroupBy(definition) => group_by(records, view, definition, state),
            Content::Written(build) => build(kept, view),
        }
    }

    /// Whether its rows are a cut of their own, or made anew of what is kept of the records.
    pub(crate) fn is_cut(&self) -> bool {
        match &self.content {
            Content::GroupBy(definition) => definition.topic != Topic::Inventory,
            Content::Written(_) => false,
        }
    }
}

/// How the documents of an added view look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The document's `type`: lower-case letters, digits and `_`, unlike that of any other view.
    pub name: String,
    /// What it is called on pages.
    pub title: String,
    /// The fields of the document's `key`, in the order in which [`composite_key`] was given their values.
    pub key: Vec<KeyField>,
    /// The lengths of its windows.
    pub granularities: Vec<Granularity>,
    /// The topics it is made of. Of others it is given no records; and they decide when a window is final. With
    /// `inventory` none ever is, because stock levels are replaced however old they are.
    pub topics: Vec<Topic>,
    /// The fields that it measures, the main one first.
    pub measures: Vec<MeasureField>,
}

/// A field of a document's `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: FieldKind,
}

impl KeyField {
    /// One with texts.
    pub fn text(name: &str) -> KeyField {
        KeyField { name: name.to_owned(), kind: FieldKind::Text }
    }

    /// That of a record's field.
    pub fn of(field: Field) -> KeyField {
        KeyField { name: field.name().to_owned(), kind: field.kind() }
    }
}

/// A field that a view measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasureField {
    /// Its name.
    pub name: String,
    /// What it is called on pages.
    pub title: String,
    /// What its values are.
    pub kind: FieldKind,
    /// Where they are.
    pub number: Number,
    /// Whether windows and keys can be added up.
    pub additive: bool,
}

impl MeasureField {
    /// How many rows there are.
    pub fn rows(name: &str) -> MeasureField {
        MeasureField::of(name, FieldKind::Integer, Number::Rows)
    }

    /// The sum at a place.
    pub fn sum(name: &str, kind: FieldKind, place: usize) -> MeasureField {
        MeasureField::of(name, kind, Number::Sum(place))
    }

    fn of(name: &str, kind: FieldKind, number: Number) -> MeasureField {
        MeasureField { name: name.to_owned(), title: titled(name), kind, number, additive: true }
    }
}

/// Where [`AddedMeasures`] have a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// The rows themselves.
    Rows,
    /// One of the sums.
    Sum(usize),
    /// One of the sums, while another one is not 0; else the field is absent.
    SumIf {
        /// The number.
        sum: usize,
        /// What is 0 when there is none.
        present: usize,
    },
}

impl Number {
    /// The number, if there is one.
    pub fn of(self, measures: &AddedMeasures) -> Option<i128> {
        let sum = |index: usize| measures.sums.get(index).copied().unwrap_or(0);
        match self {
            Number::Rows => Some(i128::from(measures.rows)),
            Number::Sum(index) => Some(sum(index)),
            Number::SumIf { sum: index, present } => (sum(present) != 0).then(|| sum(index)),
        }
    }
}

/// When the windows of a view are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Finality {
    /// When no sale can change them.
    Sales,
    /// When no activity can.
    Activity,
    /// When neither can.
    Both,
    /// Never.
    Never,
}

impl Finality {
    /// Every one.
    pub const ALL: [Finality; 4] = [Finality::Sales, Finality::Activity, Finality::Both, Finality::Never];
}

impl Layout {
    /// The longest name.
    pub const NAME_MAX: usize = 63;
    /// The fields that every document of a windowed view has, and names that a store cannot have.
    pub const RESERVED: [&str; 11] = [
        "_id",
        "type",
        "granularity",
        "timestamp",
        "window_end",
        "key",
        "final",
        "epoch",
        "as_of",
        // SQLite's own names of a row's number.
        "rowid",
        "oid",
    ];

    /// Whether a view or a measure can be called so: a-z, 0-9 and `_`, beginning with a letter.
    pub fn is_name(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.len() <= Layout::NAME_MAX
    }

    /// Whether what is measured is called as it has to be: a time something`_at`, and nothing else so, because SQLite
    /// keeps a time as a number.
    pub fn is_called_right(name: &str, kind: FieldKind) -> bool {
        (kind == FieldKind::Time) == name.ends_with("_at")
    }

    /// What is wrong with it, if there is something.
    pub fn check(&self) -> Result<(), String> {
        let names = || self.measures.iter().map(|measure| measure.name.as_str());
        let right = |measure: &MeasureField| {
            Layout::is_name(&measure.name)
                && !Layout::RESERVED.contains(&measure.name.as_str())
                && Layout::is_called_right(&measure.name, measure.kind)
                && measure.kind != FieldKind::Text
        };
        let faults = [
            (!Layout::is_name(&self.name), "its name"),
            (self.granularities.is_empty(), "no granularity"),
            (self.topics.is_empty(), "no topic"),
            (self.measures.is_empty(), "no measure"),
            (!self.measures.iter().all(right), "the name or kind of a measure"),
            (names().collect::<BTreeSet<_>>().len() < self.measures.len(), "two measures of one name"),
            (
                self.key.iter().any(|field| matches!(field.kind, FieldKind::Money | FieldKind::Time)),
                "a key with amounts or times",
            ),
        ];
        faults.into_iter().find(|(is_there, _)| *is_there).map_or(Ok(()), |(_, words)| Err(words.to_owned()))
    }

    /// When its windows are final.
    pub fn finality(&self) -> Finality {
        let reads = |topic| self.topics.contains(&topic);
        match (reads(Topic::Sales), reads(Topic::UserActivity), reads(Topic::Inventory)) {
            (true, false, false) => Finality::Sales,
            (false, true, false) => Finality::Activity,
            (true, true, false) => Finality::Both,
            _ => Finality::Never,
        }
    }
}

/// Several values as the key of one row.
pub fn composite_key<'a>(values: impl IntoIterator<Item = &'a str>) -> Text {
    let mut key = Text::default();
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            key.push('|');
        }
        for character in value.chars() {
            if matches!(character, '\\' | '|') {
                key.push('\\');
            }
            key.push(character);
        }
    }
    key
}

/// The values that [`composite_key`] was given; at least one.
pub fn key_values(key: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut characters = key.chars();
    while let Some(character) = characters.next() {
        match (character, values.last_mut()) {
            ('|', _) => values.push(String::new()),
            ('\\', Some(value)) => value.extend(characters.next()),
            (character, Some(value)) => value.push(character),
            (_, None) => unreachable!("there is one from the start"),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_key_come_back() {
        for values in [vec![""], vec!["a"], vec!["", ""], vec!["a|b", "\\", "|", "ä\\|"], vec!["\\\\", "", "b"]] {
            assert_eq!(key_values(&composite_key(values.iter().copied())), values);
        }
    }
}
