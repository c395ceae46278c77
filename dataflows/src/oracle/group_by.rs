//! Group-bys: all the records of each group, and what they come to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, inventory, times};
use crate::added::{AddedView, Content, composite_key};
use crate::fields::{Datum, Field, Fields};
use crate::group_by::{Aggregate, GroupBy, Test};
use crate::measures::AddedMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Millis, Topic};

fn number(value: &Datum) -> i64 {
    match value {
        Datum::Number(number) => *number,
        Datum::Text(text) => panic!("{text:?} is measured as a number"),
    }
}

fn counts(definition: &GroupBy, record: &dyn Fields) -> bool {
    let mut all = true;
    for condition in &definition.filter {
        let value = record.field(condition.field);
        all &= match (&condition.test, value) {
            (Test::Present(wanted), value) => *wanted == value.is_some(),
            (_, None) => false,
            (Test::In(values), Some(value)) => values.contains(&value),
            (Test::NotIn(values), Some(value)) => !values.contains(&value),
            (Test::AtLeast(bound), Some(value)) => *bound <= number(&value),
            (Test::Above(bound), Some(value)) => *bound < number(&value),
            (Test::AtMost(bound), Some(value)) => *bound >= number(&value),
            (Test::Below(bound), Some(value)) => *bound > number(&value),
        };
    }
    all
}

/// The rows of those added views that are group-bys.
pub(super) fn rows(
    facts: &Facts,
    correction_window: Millis,
    added: &[AddedView],
    give: &mut impl FnMut(RowKey, RowBody),
) {
    for (place, view) in (0..).zip(added) {
        let Content::GroupBy(definition) = &view.content else { continue };
        let current = inventory::current(facts);
        let records: Vec<&dyn Fields> = match definition.topic {
            Topic::Sales => facts.sales.iter().map(|sale| sale as &dyn Fields).collect(),
            Topic::UserActivity => facts.activities.iter().map(|activity| activity as &dyn Fields).collect(),
            Topic::Inventory => current.values().map(|row| &row.level as &dyn Fields).collect(),
        };
        let mut groups: BTreeMap<RollupKey, Vec<&dyn Fields>> = BTreeMap::new();
        for record in records.into_iter().filter(|record| counts(definition, *record)) {
            let mut parts = Vec::new();
            for field in &definition.group_by {
                parts.extend(record.field(*field).map(|value| match value {
                    Datum::Text(text) => text.to_string(),
                    Datum::Number(number) => number.to_string(),
                }));
            }
            if parts.len() < definition.group_by.len() {
                continue;
            }
            for granularity in &definition.granularities {
                let window = times::window(*granularity, record.event_time());
                let key = composite_key(parts.iter().map(String::as_str));
                groups.entry(RollupKey { window, view: View::Added(place), key }).or_default().push(record);
            }
        }
        for (key, records) in groups {
            let measures = measured(definition, &records);
            let is_final = definition.topic != Topic::Inventory
                && times::is_final(facts, definition.topic, key.window, correction_window);
            give(RowKey::Rollup(key), RowBody::Added(measures, is_final));
        }
    }
}

fn measured(definition: &GroupBy, records: &[&dyn Fields]) -> AddedMeasures {
    let mut measures = AddedMeasures { rows: records.len() as i64, ..AddedMeasures::default() };
    for measure in &definition.measures {
        let values = |field: Field| records.iter().filter_map(move |record| record.field(field));
        let numbers = |field: Field| values(field).map(|value| i128::from(number(&value)));
        let mut extreme = |value: Option<i128>| {
            measures.sums.push(value.unwrap_or(0));
            measures.sums.push(i128::from(value.is_some()));
        };
        match measure.of {
            Aggregate::Count => {}
            Aggregate::Min(field) => extreme(numbers(field).min()),
            Aggregate::Max(field) => extreme(numbers(field).max()),
            Aggregate::Sum(field) => measures.sums.push(numbers(field).sum()),
            Aggregate::Distinct(field) => {
                let different: BTreeSet<Datum> = values(field).collect();
                measures.sums.push(different.len() as i128);
            }
        }
    }
    measures
}
