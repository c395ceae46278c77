//! Compares a run with the oracle.

use std::collections::{BTreeMap, BTreeSet};

use tillflow_dataflows::added::Finality;
use tillflow_dataflows::admission::Decision;
use tillflow_dataflows::measures::SalesMeasures;
use tillflow_dataflows::oracle::admission::History;
use tillflow_dataflows::oracle::{self, Facts, RowsByKey};
use tillflow_dataflows::outputs::{Metric, Row, RowBody, RowKey, Selection, View};
use tillflow_dataflows::records::{Millis, Topic};
use tillflow_dataflows::state::expirable;
use tillflow_dataflows::time::{Diff, Granularity, LiveRange, Tick, Window};

use super::{Cut, Expiry, Outcome, Pace, Plan, run_cut};

/// What the oracle says of a plan.
pub struct Expected {
    /// The rows from each tick on; tick 0 is always there.
    pub rows: BTreeMap<Tick, RowsByKey>,
    /// By partition, in offset order.
    pub decisions: BTreeMap<usize, Vec<Decision>>,
    pub expiry: Expiry,
}

pub fn expect(plan: &Plan) -> Expected {
    let mut records: BTreeMap<Tick, Vec<_>> = BTreeMap::from([(0, Vec::new())]);
    for timed in &plan.records {
        records.entry(timed.tick).or_default().push(timed);
    }
    let mut histories: BTreeMap<usize, History> = BTreeMap::new();
    let mut decisions: BTreeMap<usize, Vec<Decision>> = BTreeMap::new();
    let mut rows = BTreeMap::new();
    let mut expiry = Expiry::default();
    for (tick, records) in records {
        let bound = expiry.before(tick).map(|(_, bound)| bound);
        for timed in records {
            let (topic, number) = plan.partitions[timed.partition];
            let history = histories.entry(timed.partition).or_insert_with(|| {
                expiry.late_before.extend(bound.map(|bound| (timed.partition, bound)));
                History::new(topic, number, plan.settings, bound)
            });
            decisions.entry(timed.partition).or_default().push(history.add(timed.record.clone()));
        }
        let mut facts = Facts::default();
        histories.values().for_each(|history| history.add_facts(&mut facts));
        let mut expected = oracle::rows(&facts, plan.settings.correction_window, &plan.graph.added);
        expected.retain(|key, _| plan.graph.selection.keeps(key));
        if plan.expires {
            expiry.bounds.extend(new_bound(&facts, &expected, bound, plan).map(|bound| (tick, bound)));
        }
        rows.insert(tick, expected);
    }
    Expected { rows, decisions, expiry }
}

/// Until when windows may leave memory after a tick, if that is later than until now.
fn new_bound(facts: &Facts, rows: &RowsByKey, bound: Option<Millis>, plan: &Plan) -> Option<Millis> {
    let as_of = facts.clocks.values().copied().max().flatten();
    let clocks = facts.clocks.iter().filter(|((topic, _), _)| *topic != Topic::Inventory).map(|(_, clock)| *clock);
    let new = expirable(clocks, as_of, plan.settings.correction_window).filter(|new| Some(*new) > bound)?;
    let is_open = |(key, body): (&RowKey, &RowBody)| ends(key).is_some_and(|end| end <= new) && !body.is_final();
    let open = rows.iter().find(|row| is_open(*row) && !is_of_stock(row.0, plan));
    assert_eq!(open, None, "a window may leave memory that is not final");
    Some(new)
}

/// Whether a row's windows are never final.
fn is_of_stock(key: &RowKey, plan: &Plan) -> bool {
    let RowKey::Rollup(key) = key else { return false };
    matches!(key.view, View::Added(place) if plan.graph.added[usize::from(place)].layout.finality() == Finality::Never)
}

fn ends(key: &RowKey) -> Option<Millis> {
    match key {
        RowKey::Rollup(key) => Some(key.window.end()),
        _ => None,
    }
}

/// Runs a plan and compares it with what is expected: at every tick, and at every tick that an update bears.
pub fn check(plan: &Plan, expected: &Expected, pace: &Pace) {
    let cut = Cut { expiry: expected.expiry.clone(), ..Cut::default() };
    compare_run(run_cut(plan, pace, &cut), plan, expected, pace);
}

/// Runs a plan and saves its state at `tick`; then goes on from there with another number of workers. Both runs have to
/// be what is expected, the second one from its first instant on.
pub fn check_restart(plan: &Plan, expected: &Expected, tick: Tick, before: &Pace, after: &Pace) {
    let outcome = run_cut(plan, before, &Cut { from: None, at: Some(tick), expiry: expected.expiry.clone() });
    let saved = outcome.saved.clone();
    compare_run(outcome, plan, expected, before);

    let records = plan.records.iter().filter(|timed| timed.tick > tick).cloned().collect();
    let rest = Plan { records, ..plan.clone() };
    let mut rows = expected.rows.clone();
    let mut rows_after = rows.split_off(&(tick + 1));
    rows_after.extend(rows.pop_last().map(|(_, rows)| (0, rows)));
    let of_rest = |(partition, decisions): (&usize, &Vec<Decision>)| {
        let count = rest.records.iter().filter(|timed| timed.partition == *partition).count();
        (count > 0).then(|| (*partition, decisions[decisions.len() - count..].to_vec()))
    };
    let decisions = expected.decisions.iter().filter_map(of_rest).collect();
    let mut bounds = expected.expiry.bounds.clone();
    let mut bounds_after = bounds.split_off(&(tick + 1));
    bounds_after.extend(bounds.pop_last().map(|(_, bound)| (0, bound)));
    let expiry = Expiry { bounds: bounds_after, ..expected.expiry.clone() };
    let outcome = run_cut(&rest, after, &Cut { from: Some(saved), at: None, expiry: expiry.clone() });
    compare_run(outcome, &rest, &Expected { rows: rows_after, decisions, expiry }, after);
}

fn compare_run(outcome: Outcome, plan: &Plan, expected: &Expected, pace: &Pace) {
    let Outcome { updates, decisions, .. } = outcome;
    for (partition, expected) in &expected.decisions {
        assert_eq!(&decisions[partition], expected, "the outcomes of partition {:?}", plan.partitions[*partition]);
    }
    assert_eq!(decisions.len(), expected.decisions.len());

    let mut by_tick: BTreeMap<Tick, Vec<(Row, Diff)>> = BTreeMap::new();
    for (row, tick, change) in updates {
        by_tick.entry(tick).or_default().push((row, change));
    }
    let ticks: BTreeSet<Tick> = by_tick.keys().chain(expected.rows.keys()).copied().collect();
    let mut rows: BTreeMap<Row, Diff> = BTreeMap::new();
    // What a store keeps of what leaves memory. Something may have left before the run, or in part.
    let may_have_left = |(key, body): &(&RowKey, &RowBody)| {
        body.is_final()
            && ends(key).is_some_and(|end| expected.expiry.bounds.get(&0).is_some_and(|bound| end <= *bound))
    };
    let first = expected.rows[&0].iter().filter(may_have_left);
    let mut left: RowsByKey = first.map(|(key, body)| (key.clone(), body.clone())).collect();
    for tick in ticks {
        let bound = expected.expiry.before(tick).map(|(_, bound)| bound);
        let updates = by_tick.remove(&tick).unwrap_or_default();
        // What is final and may leave does so in parts, at ticks of each worker's own: what counts is what it was before.
        for ((key, body), _) in &updates {
            let leaves = body.is_final() && ends(key).is_some_and(|end| Some(end) <= bound);
            if leaves && !left.contains_key(key) {
                left.extend(rows.keys().find(|(known, _)| known == key).cloned());
            }
        }
        for (row, change) in updates {
            let count = rows.entry(row.clone()).or_default();
            *count += change;
            if *count == 0 {
                rows.remove(&row);
            }
        }
        let (_, expected) = expected.rows.range(..=tick).next_back().expect("tick 0 is expected");
        let place = format!("tick {tick}, {pace:?}");
        let found = compare(&rows, &left, expected, &place);
        if plan.graph.selection == Selection::all() {
            identities(&found, &place);
        }
    }
}

/// Rows in force, and what is left of those that were, against rows expected.
fn compare(rows: &BTreeMap<Row, Diff>, left: &RowsByKey, expected: &RowsByKey, place: &str) -> RowsByKey {
    let mut faults = Vec::new();
    let mut found = RowsByKey::new();
    for ((key, body), count) in rows.iter().filter(|((key, _), _)| !left.contains_key(key)) {
        if *count != 1 {
            faults.push(format!("{count} times {key:?} {body:?}"));
        }
        if let Some(other) = found.insert(key.clone(), body.clone()) {
            faults.push(format!("two rows of {key:?}: {other:?} and {body:?}"));
        }
    }
    found.extend(left.iter().map(|(key, body)| (key.clone(), body.clone())));
    for (key, body) in &found {
        if !expected.contains_key(key) {
            faults.push(format!("not expected: {key:?} {body:?}"));
        }
    }
    for (key, body) in expected {
        match found.get(key) {
            Some(found) if found == body => {}
            Some(found) => faults.push(format!("{key:?}\n    is       {found:?}\n    expected {body:?}")),
            None => faults.push(format!("missing: {key:?} {body:?}")),
        }
    }
    assert!(faults.is_empty(), "{place}:\n  {}", faults.join("\n  "));
    found
}

/// What must agree whatever the records are.
fn identities(rows: &RowsByKey, place: &str) {
    let mut by_view: BTreeMap<(Window, View), SalesMeasures> = BTreeMap::new();
    let mut coarser: BTreeMap<Window, SalesMeasures> = BTreeMap::new();
    let mut all = SalesMeasures::default();
    for (key, body) in rows {
        if let (RowKey::Rollup(key), RowBody::Sales(sums, _)) = (key, body) {
            add(by_view.entry((key.window, key.view)).or_default(), sums);
            if key.view == View::SalesTotal {
                let up = match key.window.granularity {
                    Granularity::Minute => Granularity::Hour,
                    Granularity::Hour => Granularity::Day,
                    Granularity::Day => {
                        add(&mut all, sums);
                        continue;
                    }
                };
                add(coarser.entry(Window::of(up, key.window.start)).or_default(), sums);
            }
        }
    }
    for ((window, view), sums) in &by_view {
        assert_eq!(Some(sums), by_view.get(&(*window, View::SalesTotal)), "{place}: {view:?} of {window:?}");
    }
    for (window, _) in by_view.keys().filter(|(_, view)| *view == View::SalesTotal) {
        let by_key = [View::SalesByCategory, View::SalesByStore, View::SalesByPaymentMethod, View::SalesByProduct];
        for view in by_key {
            // There are no minutes of products.
            let kept = view != View::SalesByProduct || window.granularity != Granularity::Minute;
            assert_eq!(by_view.contains_key(&(*window, view)), kept, "{place}: {view:?} of {window:?}");
        }
        let parts = window.granularity == Granularity::Minute || coarser.contains_key(window);
        assert!(parts, "{place}: {window:?} without parts");
    }
    for (window, sums) in &coarser {
        assert_eq!(Some(sums), by_view.get(&(*window, View::SalesTotal)), "{place}: the parts of {window:?}");
    }
    for (key, body) in rows {
        if let (RowKey::Rollup(key), RowBody::Customers(sums, _)) = (key, body) {
            let total = by_view.remove(&(key.window, View::SalesTotal)).unwrap_or_default();
            let parts = sums.new_revenue + sums.returning_revenue();
            assert_eq!(parts, total.revenue, "{place}: new and returning revenue of {:?}", key.window);
            assert!(sums.new_customers >= 0 && sums.returning_customers() >= 0, "{place}: {sums:?}");
        }
    }
    let without_customers =
        by_view.keys().find(|(window, view)| (window.granularity, *view) == (Granularity::Day, View::SalesTotal));
    assert_eq!(without_customers, None, "{place}: a day with sales and without customers");
    let metric = |metric| match &rows[&RowKey::Metric(metric)] {
        RowBody::Sales(sums, _) => *sums,
        other => panic!("{metric:?} is {other:?}"),
    };
    assert_eq!(all, metric(Metric::SalesAll), "{place}: the days");
    for range in LiveRange::ALL {
        let mut last = SalesMeasures::default();
        if let Some(RowBody::Instant(as_of)) = rows.get(&RowKey::AsOf) {
            for window in range.windows(*as_of) {
                if let Some(sums) = by_view.get(&(window, View::SalesTotal)) {
                    add(&mut last, sums);
                }
            }
        }
        assert_eq!(last, metric(Metric::SalesLast(range)), "{place}: the windows of {range:?}");
    }
}

fn add(sums: &mut SalesMeasures, more: &SalesMeasures) {
    sums.transactions += more.transactions;
    sums.units += more.units;
    sums.revenue += more.revenue;
}
