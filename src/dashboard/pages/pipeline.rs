//! `/pipeline`: how far the records are read, and what holds them up.

use super::markup::{Panel, Tile, table, tiles};
use super::{Context, Page};
use crate::dashboard::format::{MISSING, count, duration};
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::clean;
use crate::status::Phase;

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let mut panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        Panel::new("partitions", "span-8", "Partitions", table(&partitions(context)))
            .hinted("committed: the records below these offsets are in every number"),
    ];
    panels.push(Panel::new("problems", "span-4", "What holds it up", table(&problems(context))));
    panels.push(Panel::new("commit", "span-12", "Last commit", table(&commit(context))));
    Page::live("Pipeline", context, panels)
}

fn phase(context: &Context<'_>) -> (&'static str, &'static str) {
    if context.settings.read_only {
        return ("Pages alone", "a pipeline elsewhere fills this store");
    }
    match context.status.phase {
        Phase::Starting => ("Starting", "connecting; nothing read yet"),
        Phase::Rebuilding => ("Rebuilding", "reading again what is committed"),
        Phase::CatchingUp => ("Catching up", "committing, with records waiting"),
        Phase::Live => ("Live", "committing what comes as it comes"),
        Phase::Stopping => ("Stopping", "committing what was read"),
    }
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let status = &context.status;
    let snapshot = &context.snapshot;
    let (name, about) = phase(context);
    let mut tiles = vec![Tile::new("Phase", name, about).noted("flat", about)];
    let as_of = snapshot.as_of().map_or_else(|| MISSING.to_owned(), |as_of| context.clock.minute(as_of));
    let full = snapshot.as_of().map_or_else(String::new, |as_of| context.clock.full(as_of));
    tiles.push(
        Tile::new("Epoch", count(i128::from(snapshot.epoch())), "One commit is one epoch").noted(
            "flat",
            snapshot
                .progress
                .as_ref()
                .and_then(|progress| progress.committed_at)
                .map_or_else(|| "nothing committed".to_owned(), |at| format!("committed {}", context.clock.time(at))),
        ),
    );
    tiles.push(Tile::new("Data through", as_of, "The newest event time that is counted").noted("flat", full));
    if !context.settings.read_only {
        #[expect(clippy::cast_possible_truncation, reason = "a rate of records is far below 2^63")]
        let rate = if status.records_per_second.is_finite() { status.records_per_second.round() as i128 } else { 0 };
        tiles.push(
            Tile::new("Records per second", count(rate), "Committed, of late")
                .noted("flat", format!("{} since the start", count(i128::from(status.records)))),
        );
        tiles.push(Tile::new("To read", count(i128::from(status.lag())), "Records known to be there and not read yet"));
        let waiting = status.pending_epochs;
        tiles.push(
            Tile::new(
                "Epochs to write",
                count(i128::try_from(waiting).unwrap_or(0)),
                "Computed, and waiting for the store",
            )
            .noted(
                if waiting > 3 { "warn" } else { "flat" },
                if waiting > 3 { "the store is slower than the data" } else { "" },
            ),
        );
    }
    tiles
}

fn partitions(context: &Context<'_>) -> Table {
    let committed = context.snapshot.progress.as_ref().map(|progress| &progress.offsets);
    let offset = |number: Option<i64>| number.map_or_else(|| MISSING.to_owned(), count_exactly);
    if context.settings.read_only {
        let mut table = Table::new("Partitions", &["Topic", "#Partition", "#Committed up to"]);
        for ((topic, partition), next) in committed.into_iter().flatten() {
            table.rows.push(vec![
                Cell::new(topic.name()),
                Cell::new(partition.to_string()),
                Cell::new(count_exactly(*next)),
            ]);
        }
        return noted(table);
    }
    let mut table =
        Table::new("Partitions", &["Topic", "#Partition", "#Committed up to", "#Read up to", "#End", "#To read"]);
    for partition in &context.status.partitions {
        let next = committed.and_then(|offsets| offsets.get(&(partition.topic, partition.partition))).copied();
        table.rows.push(vec![
            Cell::new(partition.topic.name()),
            Cell::new(partition.partition.to_string()),
            Cell::new(offset(next)),
            Cell::new(count_exactly(partition.position)),
            Cell::new(offset(partition.end)),
            Cell::new(offset(partition.lag())),
        ]);
    }
    noted(table)
}

fn noted(mut table: Table) -> Table {
    if table.rows.is_empty() {
        table.note = "No partitions yet.".to_owned();
    }
    table.cut()
}

/// An offset is a name as much as a number: never shortened.
fn count_exactly(number: i64) -> String {
    crate::dashboard::format::Unit::Count.exact(i128::from(number))
}

fn problems(context: &Context<'_>) -> Table {
    let mut table = Table::new("Problems", &["Where", "What", "Since"]);
    let status = &context.status;
    let store = status.store_problem.as_ref().filter(|_| !context.settings.read_only);
    for (place, problem) in
        [("Source", status.source_problem.as_ref()), ("Store", store), ("Pages", context.trouble.as_ref())]
    {
        if let Some(problem) = problem {
            table.rows.push(vec![
                Cell::classed(place, "chip critical"),
                Cell::new(clean(&problem.text)),
                Cell::new(context.clock.time(problem.since)),
            ]);
        }
    }
    if table.rows.is_empty() {
        table.note = "Nothing.".to_owned();
    }
    table
}

fn commit(context: &Context<'_>) -> Table {
    let mut table = Table::new("Last commit", &["What", "Value"]);
    let Some(progress) = context.snapshot.progress.as_ref() else {
        table.note = "Nothing is committed yet.".to_owned();
        return table;
    };
    let instant = |at: Option<i64>| at.map_or_else(|| MISSING.to_owned(), |at| context.clock.full(at));
    let mut row = |name: &str, value: String| table.rows.push(vec![Cell::new(name), Cell::new(value)]);
    row("Epoch", count_exactly(i64::try_from(progress.epoch).unwrap_or(i64::MAX)));
    row("Data through", instant(progress.as_of));
    row("Committed at", instant(progress.committed_at));
    if let (Some(committed), Some(newest)) = (context.status.committed_at, context.status.newest_record)
        && committed >= newest
    {
        row("Age of its newest record when committed", duration(committed - newest));
    }
    row("Instance", clean(&progress.instance));
    row("Fence", progress.fence.to_string());
    table
}
