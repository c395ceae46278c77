//! The views of a `--view-file`: what do these records come to, grouped by these fields?
//!
//! ```sql
//! SELECT window, group_by..., measures... FROM topic WHERE filter GROUP BY window, group_by...
//! ```
//!
//! Granularities, key and units: as the file says. State: one entry per row, in an arrangement of the added views; for
//! each least, greatest and distinct number [`Values`], one entry per row and different value. Bound:
//! documents, and their different values, until they are final and a day old; those over `inventory` never are.

use std::collections::BTreeMap;

use differential_dataflow::difference::Multiply;
use differential_dataflow::{AsCollection, Data, Hashable, VecCollection};
use hashbrown::HashMap;
use smallvec::smallvec;
use timely::dataflow::operators::generic::operator::empty;

use crate::added::{Number, Records, composite_key};
use crate::fields::{Datum, Field, Fields};
use crate::group_by::{Aggregate, Condition, GroupBy, Test};
use crate::measures::AddedMeasures;
use crate::operators::{Follower, combine, follow};
use crate::outputs::{RollupKey, View};
use crate::records::{Millis, Text, Topic};
use crate::state::State;
use crate::time::{Diff, Tick, Window};
use crate::views::{Contributions, rollup};

/// What each record adds to the rows of a group-by.
pub fn group_by<'scope>(
    records: &Records<'scope>,
    view: View,
    definition: &GroupBy,
    state: &mut State,
) -> Contributions<'scope, AddedMeasures> {
    match definition.topic {
        Topic::Sales => grouped(records.sales.clone(), view, definition, Some(state)),
        Topic::UserActivity => grouped(records.activities.clone(), view, definition, Some(state)),
        // Made anew of the current rows, which are few.
        Topic::Inventory => grouped(records.stock.clone(), view, definition, None),
    }
}

fn grouped<'scope, R: Data + Fields>(
    records: VecCollection<'scope, Tick, R, Diff>,
    view: View,
    definition: &GroupBy,
    state: Option<&mut State>,
) -> Contributions<'scope, AddedMeasures> {
    let GroupBy { name, measures, .. } = definition;
    let numbers = measures.iter().fold(0, |next, measure| measure.of.place(next).1);
    let counted = definition.clone();
    let sums = combine(records.clone(), &format!("Combine: {name}"), move |record: R, difference, give| {
        let rows = rows_of(&counted, view, &record);
        if rows.is_empty() {
            return;
        }
        let mut sums = AddedMeasures { rows: 1, sums: smallvec![0; numbers] };
        for (measure, number) in counted.places() {
            if let (Aggregate::Sum(field), Number::Sum(place)) = (measure.of, number)
                && let Some(Datum::Number(value)) = record.field(field)
            {
                sums.sums[place] = i128::from(value);
            }
        }
        let sums = sums.multiply(&difference);
        rows.into_iter().for_each(|row| give(row, sums.clone()));
    });
    let kept: Vec<Kept> = definition.places().filter_map(|(measure, number)| Kept::of(measure.of, number)).collect();
    if kept.is_empty() {
        return sums;
    }
    let (valued, measured) = (definition.clone(), kept.clone());
    let values = combine(records, &format!("Combine: values of {name}"), move |record: R, difference, give| {
        for row in rows_of(&valued, view, &record) {
            for (place, kept) in (0..).zip(&measured) {
                if let Some(value) = record.field(kept.field) {
                    give((row.clone(), place, value), difference);
                }
            }
        }
    });
    let never = empty(values.scope()).as_collection();
    sums.concat(follow(values, never, &format!("Values: {name}"), Values::new(kept, numbers), state))
}

/// The rows that a record counts in.
fn rows_of<R: Fields>(definition: &GroupBy, view: View, record: &R) -> Vec<RollupKey> {
    if !definition.filter.iter().all(|condition| holds(condition, record)) {
        return Vec::new();
    }
    let Some(key) = key_of(&definition.group_by, record) else { return Vec::new() };
    let at = record.event_time();
    let windows = definition.granularities.iter().map(|granularity| Window::of(*granularity, at));
    windows.map(|window| rollup(view, window, key.clone())).collect()
}

fn key_of<R: Fields>(fields: &[Field], record: &R) -> Option<Text> {
    let values = fields.iter().map(|field| match record.field(*field)? {
        Datum::Text(text) => Some(text),
        Datum::Number(number) => Some(Text::from(number.to_string())),
    });
    let values: Vec<Text> = values.collect::<Option<_>>()?;
    Some(composite_key(values.iter().map(Text::as_str)))
}

fn holds<R: Fields>(Condition { field, test }: &Condition, record: &R) -> bool {
    let Some(value) = record.field(*field) else { return *test == Test::Present(false) };
    let number = |holds: &dyn Fn(i64) -> bool| matches!(value, Datum::Number(number) if holds(number));
    match test {
        Test::In(values) => values.contains(&value),
        Test::NotIn(values) => !values.contains(&value),
        Test::AtLeast(bound) => number(&|number| number >= *bound),
        Test::Above(bound) => number(&|number| number > *bound),
        Test::AtMost(bound) => number(&|number| number <= *bound),
        Test::Below(bound) => number(&|number| number < *bound),
        Test::Present(present) => *present,
    }
}

/// A measure whose values are kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    field: Field,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Distinct { sum: usize },
    Least { sum: usize, present: usize },
    Greatest { sum: usize, present: usize },
}

impl Kept {
    fn of(aggregate: Aggregate, number: Number) -> Option<Kept> {
        Some(match (aggregate, number) {
            (Aggregate::Distinct(field), Number::Sum(sum)) => Kept { field, what: What::Distinct { sum } },
            (Aggregate::Min(field), Number::SumIf { sum, present }) => {
                Kept { field, what: What::Least { sum, present } }
            }
            (Aggregate::Max(field), Number::SumIf { sum, present }) => {
                Kept { field, what: What::Greatest { sum, present } }
            }
            _ => return None,
        })
    }
}

/// How often which value is there, least value first.
type Counts = BTreeMap<Datum, Diff>;

/// The different values of the groups, for what is no sum of them.
pub struct Values {
    kept: Vec<Kept>,
    /// How many sums a row has.
    numbers: usize,
    /// By row and place in `kept`.
    values: HashMap<(RollupKey, u8), Counts>,
    /// How many values are held.
    held: usize,
}

impl Values {
    fn new(kept: Vec<Kept>, numbers: usize) -> Values {
        Values { kept, numbers, values: HashMap::new(), held: 0 }
    }

    /// What the values of a row are to its sums.
    fn sums(&self, place: u8, values: Option<&Counts>) -> Vec<(usize, i128)> {
        let number = |value: Option<(&Datum, &Diff)>| match value {
            Some((Datum::Number(number), _)) => i128::from(*number),
            _ => 0,
        };
        let Some(values) = values else { return Vec::new() };
        match self.kept[usize::from(place)].what {
            What::Distinct { sum } => vec![(sum, values.len() as i128)],
            What::Least { sum, present } => vec![(sum, number(values.first_key_value())), (present, 1)],
            What::Greatest { sum, present } => vec![(sum, number(values.last_key_value())), (present, 1)],
        }
    }
}

impl Follower for Values {
    type Change = (RollupKey, u8, Datum);
    /// Nothing that moves is looked at.
    type Instant = ();
    type Answer = RollupKey;
    type Measure = AddedMeasures;

    fn route((row, ..): &Self::Change) -> u64 {
        row.hashed()
    }

    fn step(
        &mut self,
        changes: &mut dyn Iterator<Item = (Self::Change, Diff)>,
        _never: Option<&()>,
        give: &mut dyn FnMut(RollupKey, AddedMeasures),
    ) {
        let mut touched: BTreeMap<(RollupKey, u8), Vec<(usize, i128)>> = BTreeMap::new();
        for ((row, place, value), difference) in changes {
            let of = (row, place);
            if !touched.contains_key(&of) {
                let was = self.sums(place, self.values.get(&of));
                touched.insert(of.clone(), was);
            }
            *self.values.entry(of).or_default().entry(value).or_insert_with(|| {
                self.held += 1;
                0
            }) += difference;
        }
        for (of, was) in touched {
            // What comes and goes within a tick does so in any order, so it is looked at only now.
            if let Some(counts) = self.values.get_mut(&of) {
                let before = counts.len();
                counts.retain(|value, count| {
                    assert!(*count >= 0, "{value:?} of {of:?} was taken back more often than given");
                    *count > 0
                });
                self.held -= before - counts.len();
                if counts.is_empty() {
                    self.values.remove(&of);
                }
            }
            let mut change = AddedMeasures { rows: 0, sums: smallvec![0; self.numbers] };
            was.into_iter().for_each(|(place, sum)| change.sums[place] -= sum);
            let is = self.sums(of.1, self.values.get(&of));
            is.into_iter().for_each(|(place, sum)| change.sums[place] += sum);
            give(of.0, change);
        }
    }

    fn held(&self) -> usize {
        self.held
    }

    /// The row, the place, and how often which value is there.
    type Piece = (RollupKey, u8, Vec<(Datum, Diff)>);

    fn route_piece((row, ..): &Self::Piece) -> u64 {
        row.hashed()
    }

    fn save(&self, give: &mut dyn FnMut(Self::Piece)) {
        for ((row, place), counts) in &self.values {
            give((row.clone(), *place, counts.iter().map(|(value, count)| (value.clone(), *count)).collect()));
        }
    }

    fn load(&mut self, (row, place, counts): Self::Piece) {
        self.held += counts.len();
        self.values.insert((row, place), counts.into_iter().collect());
    }

    fn expire(&mut self, before: Millis) -> usize {
        let was = self.held;
        let held = &mut self.held;
        self.values.retain(|(row, _), counts| {
            let stays = row.window.end() > before;
            *held -= if stays { 0 } else { counts.len() };
            stays
        });
        was - self.held
    }
}
