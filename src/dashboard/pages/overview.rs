//! `/`: what a manager sees first.

use super::alerts::overview_table;
use super::markup::{Link, Panel, Tile, Width, figure_panel, tiles};
use super::{Context, Notice, OVERVIEW_HEIGHT, Page, view_panel};
use crate::dashboard::charts::backend::Paint;
use crate::dashboard::charts::{Frame, spark};
use crate::dashboard::figures::catalogue::{stock_levels, top_products};
use crate::dashboard::format::{MISSING, Unit, change, count, duration, money_exact};
use crate::dashboard::kinds::{Granularity, Measure, kind};
use crate::dashboard::rows::Record as _;
use crate::dashboard::series::{Slice, Windows};
use crate::status::Phase;

/// The stock rows of the chart.
const STOCK_ROWS: usize = 10;

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let snapshot = &context.snapshot;
    let alerts = overview_table(context);
    let panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        view_panel(context, "revenue", Granularity::Minute, 60, Width::TwoThirds, OVERVIEW_HEIGHT),
        Panel::new("open-alerts", "span-4", "Open alerts", alerts).linked(vec![Link::new("All alerts", "/alerts")]),
        figure_panel(
            &top_products(snapshot, true),
            Width::Third,
            OVERVIEW_HEIGHT,
            &[Link::new("SVG", "/charts/top-products.svg?granularity=minute")],
        ),
        view_panel(context, "revenue-by-category", Granularity::Minute, 60, Width::Third, OVERVIEW_HEIGHT),
        view_panel(context, "activity-by-type", Granularity::Minute, 60, Width::Third, OVERVIEW_HEIGHT),
        figure_panel(
            &stock_levels(snapshot, STOCK_ROWS),
            Width::Half,
            OVERVIEW_HEIGHT,
            &[Link::new("All stock", "/inventory"), Link::new("SVG", "/charts/stock-levels.svg")],
        ),
        view_panel(context, "revenue", Granularity::Hour, 24, Width::Half, OVERVIEW_HEIGHT + 28),
    ];
    let mut page = Page::live("Overview", context, panels);
    page.notices = waiting(context).into_iter().collect();
    page
}

/// What to do where nothing has arrived yet.
fn waiting(context: &Context<'_>) -> Option<Notice> {
    if !context.snapshot.is_empty() || context.trouble.is_some() {
        return None;
    }
    let text = match context.status.phase {
        _ if context.settings.read_only => {
            "This store is empty. Start a pipeline that fills it: `tillflow run`, with the same store.".to_owned()
        }
        Phase::Starting => "Starting: the first numbers appear with the first commit.".to_owned(),
        _ => format!(
            "No data yet: waiting for records in user_activity, sales and inventory ({} partitions). \
             Sample data: `tillflow generate --rate 50`.",
            context.status.partitions.len()
        ),
    };
    Some(Notice { class: "info", text })
}

fn measure(kind_name: &str, name: &str) -> Option<&'static Measure> {
    kind(kind_name)?.measures.iter().find(|measure| measure.name == name)
}

/// The last 60 minutes of a measure: as a sparkline, and the sums of its 59 whole minutes now and an hour before
/// (never a whole hour against a part of one), if there is an hour before.
fn past_hour(context: &Context<'_>, kind_name: &str, name: &str) -> (String, Option<(i128, i128)>) {
    let (Some(as_of), Some(measure)) = (context.snapshot.as_of(), measure(kind_name, name)) else {
        return (String::new(), None);
    };
    let windows = Windows::ending_with(as_of, Granularity::Minute, 60);
    let slice = Slice::of(&context.snapshot, kind_name, windows);
    let values = slice.line(windows, measure);
    let frame = Frame {
        id: format!("spark-{}", name.replace('_', "-")),
        title: String::new(),
        description: String::new(),
        width: 160,
        height: 32,
        paint: Paint::Classes,
        stretched: true,
    };
    // The minute in progress would look like a fall.
    let settled = &values[..values.len().saturating_sub(1)];
    let svg = if slice.rows.is_empty() { String::new() } else { spark::render(&frame, settled, measure.unit) };
    let earlier = Slice::of(&context.snapshot, kind_name, windows.before());
    let whole = |values: &[Option<i128>]| {
        values[..values.len().saturating_sub(1)].iter().flatten().fold(0, |sum: i128, value| sum.saturating_add(*value))
    };
    let whole_hour = earlier.complete && earlier.oldest.is_some_and(|oldest| oldest <= windows.before().first);
    let compared = whole_hour.then(|| (whole(&values), whole(&earlier.line(windows.before(), measure))));
    (svg, compared)
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let snapshot = &context.snapshot;
    let hour = snapshot.metric("sales_last_hour");
    let day = snapshot.metric("sales_last_24h");
    let revenue = hour.and_then(|metric| metric.money("revenue"));
    let transactions = hour.and_then(|metric| metric.count("transactions"));
    let average = hour.and_then(|metric| metric.money("average_order_value"));
    let shown = |value: Option<i128>, unit: Unit| value.map_or_else(|| MISSING.to_owned(), |value| unit.short(value));
    let exact = |value: Option<i128>, words: &str| match value {
        Some(value) => format!("{}: {words}", money_exact(value)),
        None => format!("Not known: needs a sale. {words}"),
    };

    let mut tiles = Vec::new();
    let (svg, compared_revenue) = past_hour(context, "sales_total", "revenue");
    let tile = Tile::new(
        "Revenue, last hour",
        shown(revenue, Unit::Money),
        exact(revenue, "sum of total_amount of the 60 minutes that end with the newest record"),
    )
    .sparked(svg)
    .leading("/sales");
    tiles.push(with_change(tile, compared_revenue));

    let (svg, compared_count) = past_hour(context, "sales_total", "transactions");
    let tile = Tile::new(
        "Transactions, last hour",
        shown(transactions.map(i128::from), Unit::Count),
        "Sales in force, corrected and cancelled ones taken back",
    )
    .sparked(svg)
    .leading("/sales");
    tiles.push(with_change(tile, compared_count));

    let (svg, _) = past_hour(context, "sales_total", "average_order_value");
    let tile =
        Tile::new("Average order, last hour", shown(average, Unit::Money), exact(average, "revenue / transactions"))
            .sparked(svg)
            .leading("/sales");
    let averages = match (compared_revenue, compared_count) {
        (Some((now, before)), Some((sales_now, sales_before))) if sales_now > 0 && sales_before > 0 => {
            Some((now / sales_now, before / sales_before))
        }
        _ => None,
    };
    tiles.push(with_change(tile, averages));

    tiles.push(activity_tile(context));

    let day_revenue = day.and_then(|metric| metric.money("revenue"));
    let day_sales = day.and_then(|metric| metric.count("transactions"));
    tiles.push(
        Tile::new(
            "Revenue, last 24 h",
            shown(day_revenue, Unit::Money),
            exact(day_revenue, "sum over the 24 hours that end with the newest record"),
        )
        .noted("flat", day_sales.map_or_else(String::new, |sales| format!("{} transactions", count(i128::from(sales)))))
        .leading("/sales"),
    );
    tiles.push(alert_tile(context));
    tiles
}

fn with_change(tile: Tile, compared: Option<(i128, i128)>) -> Tile {
    match compared {
        Some((now, before)) => {
            let (direction, words) = change(now, before);
            tile.compared(direction, words, "vs the hour before")
        }
        None => tile.noted("flat", "no earlier hour"),
    }
}

fn activity_tile(context: &Context<'_>) -> Tile {
    let snapshot = &context.snapshot;
    let (svg, _) = past_hour(context, "activity_by_type", "events");
    let known = snapshot.metric("activity_last_hour").and_then(|metric| metric.count("users"));
    let this_hour = snapshot.as_of().and_then(|as_of| {
        let windows = Windows::ending_with(as_of, Granularity::Hour, 1);
        let slice = Slice::of(snapshot, "active_users", windows);
        slice.rows.first().and_then(|row| row.count("users"))
    });
    let events = snapshot.as_of().and_then(|as_of| {
        let windows = Windows::ending_with(as_of, Granularity::Minute, 60);
        let slice = Slice::of(snapshot, "activity_by_type", windows);
        (slice.complete && !slice.rows.is_empty())
            .then(|| measure("activity_by_type", "events").map_or(0, |measure| slice.total(measure)))
    });
    let events_note = events.map_or_else(String::new, |events| format!("{} events in the last hour", count(events)));
    match (known, this_hour, events) {
        (Some(users), _, _) => Tile::new(
            "Active users, last hour",
            count(i128::from(users)),
            "Distinct users with any activity in the last hour",
        )
        .noted("flat", events_note),
        (None, Some(users), _) => Tile::new(
            "Active users, this hour",
            count(i128::from(users)),
            "Distinct users with any activity since the hour began",
        )
        .noted("flat", events_note),
        (None, None, Some(events)) => Tile::new("Events, last hour", count(events), "User activity of any type"),
        (None, None, None) => {
            Tile::new("Active users", MISSING, "Needs user activity").noted("flat", "no activity yet")
        }
    }
    .sparked(svg)
    .leading("/activity")
}

fn alert_tile(context: &Context<'_>) -> Tile {
    let snapshot = &context.snapshot;
    let (critical, warning, info) = (snapshot.open("critical"), snapshot.open("warning"), snapshot.open("info"));
    let parts: Vec<String> = [(critical, "critical"), (warning, "warning"), (info, "info")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, severity)| format!("{number} {severity}"))
        .collect();
    let tone = if critical > 0 {
        "alert"
    } else if warning > 0 {
        "warn"
    } else {
        "calm"
    };
    let note = if parts.is_empty() { "none open".to_owned() } else { parts.join(", ") };
    let oldest = snapshot.open_alerts.documents.iter().filter_map(|alert| alert.time("opened_at")).min();
    let after = match (oldest, snapshot.as_of()) {
        (Some(oldest), Some(as_of)) => format!("oldest {}", duration(as_of.saturating_sub(oldest) / 1_000 * 1_000)),
        _ => String::new(),
    };
    let mut tile =
        Tile::new("Open alerts", super::open_alerts(snapshot), "Stock that is out or low, and what else needs a look")
            .noted(tone, note)
            .leading("/alerts");
    tile.after = after;
    tile
}
