//! What a group-by of a `--view-file` is: data, no code.
//!
//! ```sql
//! SELECT window, group_by..., measures... FROM topic WHERE filter GROUP BY window, group_by...
//! ```
//!
//! Of a record that lacks a field, no condition on that field holds (but that it is absent); one that lacks a field
//! of `group_by` is in no group; and one that lacks a measured field is not measured there. A group without records
//! has no row.

use crate::added::{AddedView, Content, KeyField, Layout, MeasureField, Number};
use crate::fields::{Datum, Field, FieldKind};
use crate::records::Topic;
use crate::time::Granularity;

/// A group-by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBy {
    /// The `type` of its documents.
    pub name: String,
    /// What it is called on pages.
    pub title: String,
    /// Whose records: sales in force, accepted activities, or current stock levels.
    pub topic: Topic,
    /// What must hold of a record.
    pub filter: Vec<Condition>,
    /// Whose values make a group together: texts and whole numbers.
    pub group_by: Vec<Field>,
    /// In which windows of event time (for `inventory`: of last_updated).
    pub granularities: Vec<Granularity>,
    /// What is measured.
    pub measures: Vec<Measure>,
}

/// Something that must hold of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field that is looked at.
    pub field: Field,
    /// What has to be true of its value.
    pub test: Test,
}

/// What must hold of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is one of these.
    In(Vec<Datum>),
    /// It is none of these.
    NotIn(Vec<Datum>),
    /// A number, and not less.
    AtLeast(i64),
    /// A number, and greater.
    Above(i64),
    /// A number, and not greater.
    AtMost(i64),
    /// A number, and less.
    Below(i64),
    /// It is there, or it is not.
    Present(bool),
}

/// A measure under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The document's field.
    pub name: String,
    /// How it is made of the group's records.
    pub of: Aggregate,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many records.
    Count,
    /// The sum of a number; 0 of none.
    Sum(Field),
    /// The least number or time; absent of none.
    Min(Field),
    /// The greatest number or time; absent of none.
    Max(Field),
    /// How many different values; 0 of none.
    Distinct(Field),
}

impl Aggregate {
    /// Where its numbers begin, if the first free one is `next`, and the next free one.
    pub(crate) const fn place(self, next: usize) -> (Number, usize) {
        match self {
            Aggregate::Count => (Number::Rows, next),
            Aggregate::Sum(_) | Aggregate::Distinct(_) => (Number::Sum(next), next + 1),
            Aggregate::Min(_) | Aggregate::Max(_) => (Number::SumIf { sum: next, present: next + 1 }, next + 2),
        }
    }

    /// What its values are.
    pub const fn kind(self) -> FieldKind {
        match self {
            Aggregate::Count | Aggregate::Distinct(_) => FieldKind::Integer,
            Aggregate::Sum(field) | Aggregate::Min(field) | Aggregate::Max(field) => field.kind(),
        }
    }
}

impl GroupBy {
    /// Each aggregate with the place of its number.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&Measure, Number)> {
        self.measures.iter().scan(0, |next, measure| {
            let (number, after) = measure.of.place(*next);
            *next = after;
            Some((measure, number))
        })
    }

    /// The view that it is, its layout made of its fields and measures.
    pub fn into_view(self) -> AddedView {
        let measures = self.places().map(|(measure, number)| MeasureField {
            name: measure.name.clone(),
            title: titled(&measure.name),
            kind: measure.of.kind(),
            number,
            additive: matches!(measure.of, Aggregate::Count | Aggregate::Sum(_)),
        });
        let layout = Layout {
            name: self.name.clone(),
            title: self.title.clone(),
            key: self.group_by.iter().copied().map(KeyField::of).collect(),
            granularities: self.granularities.clone(),
            topics: vec![self.topic],
            measures: measures.collect(),
        };
        AddedView { layout, content: Content::GroupBy(self) }
    }
}

/// `average_price` as `Average price`.
pub fn titled(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
