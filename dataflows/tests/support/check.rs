//! Compares a run with the oracle.

use std::collections::{BTreeMap, BTreeSet};

use tillflow_dataflows::admission::Decision;
use tillflow_dataflows::measures::SalesMeasures;
use tillflow_dataflows::oracle::admission::History;
use tillflow_dataflows::oracle::{self, Facts, RowsByKey};
use tillflow_dataflows::outputs::{Metric, Row, RowBody, RowKey, Selection, View};
use tillflow_dataflows::time::{Diff, Granularity, LiveRange, Tick, Window};

use super::{Cut, Outcome, Pace, Plan, run, run_cut};

/// What the oracle says of a plan.
pub struct Expected {
    /// The rows from each tick on; tick 0 is always there.
    pub rows: BTreeMap<Tick, RowsByKey>,
    /// By partition, in offset order.
    pub decisions: BTreeMap<usize, Vec<Decision>>,
}

pub fn expect(plan: &Plan) -> Expected {
    let mut records: BTreeMap<Tick, Vec<_>> = BTreeMap::from([(0, Vec::new())]);
    for timed in &plan.records {
        records.entry(timed.tick).or_default().push(timed);
    }
    let mut histories: BTreeMap<usize, History> = BTreeMap::new();
    let mut decisions: BTreeMap<usize, Vec<Decision>> = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for (tick, records) in records {
        for timed in records {
            let (topic, number) = plan.partitions[timed.partition];
            let history =
                histories.entry(timed.partition).or_insert_with(|| History::new(topic, number, plan.settings));
            decisions.entry(timed.partition).or_default().push(history.add(timed.record.clone()));
        }
        let mut facts = Facts::default();
        histories.values().for_each(|history| history.add_facts(&mut facts));
        let mut expected = oracle::rows(&facts, plan.settings.correction_window, &plan.graph.added);
        expected.retain(|key, _| plan.graph.selection.keeps(key));
        rows.insert(tick, expected);
    }
    Expected { rows, decisions }
}

/// Runs a plan and compares it with what is expected: at every tick, and at every tick that an update bears.
pub fn check(plan: &Plan, expected: &Expected, pace: &Pace) {
    compare_run(run(plan, pace), plan, expected, pace);
}

/// Runs a plan and saves its state at `tick`; then goes on from there with another number of workers. Both runs have to
/// be what is expected, the second one from its first instant on.
pub fn check_restart(plan: &Plan, expected: &Expected, tick: Tick, before: &Pace, after: &Pace) {
    let outcome = run_cut(plan, before, &Cut { from: None, at: Some(tick) });
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
    let outcome = run_cut(&rest, after, &Cut { from: Some(saved), at: None });
    compare_run(outcome, &rest, &Expected { rows: rows_after, decisions }, after);
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
    for tick in ticks {
        for (row, change) in by_tick.remove(&tick).unwrap_or_default() {
            let count = rows.entry(row.clone()).or_default();
            *count += change;
            if *count == 0 {
                rows.remove(&row);
            }
        }
        let (_, expected) = expected.rows.range(..=tick).next_back().expect("tick 0 is expected");
        let place = format!("tick {tick}, {pace:?}");
        let found = compare(&rows, expected, &place);
        if plan.graph.selection == Selection::all() {
            identities(&found, &place);
        }
    }
}

/// Rows in force against rows expected.
fn compare(rows: &BTreeMap<Row, Diff>, expected: &RowsByKey, place: &str) -> RowsByKey {
    let mut faults = Vec::new();
    let mut found = RowsByKey::new();
    for ((key, body), count) in rows {
        if *count != 1 {
            faults.push(format!("{count} times {key:?} {body:?}"));
        }
        if let Some(other) = found.insert(key.clone(), body.clone()) {
            faults.push(format!("two rows of {key:?}: {other:?} and {body:?}"));
        }
    }
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
