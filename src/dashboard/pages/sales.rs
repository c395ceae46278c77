//! `/sales`: what is sold, where, and how it is paid.

use tillflow_dataflows::records::Topic;

use super::markup::{Link, Panel, Tile, Width, figure_panel, table, tiles};
use super::{Context, DETAIL_HEIGHT, OVERVIEW_HEIGHT, Page, added_panels, view_panel};
use crate::dashboard::figures::catalogue::top_products;
use crate::dashboard::figures::time::window_text;
use crate::dashboard::format::{MISSING, count, money, money_exact};
use crate::dashboard::kinds::Granularity;
use crate::dashboard::rows::Record as _;
use crate::dashboard::table::{Cell, Table};
use crate::document::Document;

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let chart = |name, granularity, count, width, height| view_panel(context, name, granularity, count, width, height);
    let mut panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        chart("revenue", Granularity::Hour, 48, Width::TwoThirds, DETAIL_HEIGHT),
        chart("revenue-by-category", Granularity::Hour, 24, Width::Third, DETAIL_HEIGHT),
        chart("category-trend", Granularity::Hour, 24, Width::TwoThirds, DETAIL_HEIGHT),
        chart("revenue-by-store", Granularity::Hour, 24, Width::Third, DETAIL_HEIGHT),
        figure_panel(
            &top_products(&context.snapshot, false),
            Width::Third,
            OVERVIEW_HEIGHT,
            &[Link::new("SVG", "/charts/top-products.svg?granularity=hour")],
        ),
        chart("revenue-by-payment-method", Granularity::Hour, 24, Width::Third, OVERVIEW_HEIGHT),
        chart("average-order-value", Granularity::Hour, 24, Width::Third, OVERVIEW_HEIGHT),
        Panel::new("days", "span-12", "By day", table(&days(context)))
            .hinted("days of UTC, the newest first")
            .linked(vec![Link::new("More in History", "/history?type=sales_total&granularity=day&range=30d")]),
    ];
    panels.extend(added_panels(context, Topic::Sales));
    Page::live("Sales", context, panels)
}

fn sales_cells(row: &Document) -> Vec<Cell> {
    let whole = |name| row.count(name).map_or_else(|| MISSING.to_owned(), |number| count(i128::from(number)));
    let amount = |name| row.money(name).map_or_else(|| MISSING.to_owned(), money_exact);
    vec![
        Cell::new(whole("transactions")),
        Cell::new(whole("units")),
        Cell::new(amount("revenue")),
        Cell::new(amount("average_order_value")),
    ]
}

fn days(context: &Context<'_>) -> Table {
    let mut table = Table::new("Sales by day", &["Day", "#Transactions", "#Units", "#Revenue", "#Average order"]);
    if let Some(holding) = context.snapshot.holding("sales_total", Granularity::Day) {
        let mut rows: Vec<&Document> = holding.between(None, None).collect();
        rows.reverse();
        table.rows = rows
            .into_iter()
            .map(|row| {
                let start = row.time("timestamp").unwrap_or(0);
                let mut cells = vec![Cell::new(window_text(start, Granularity::Day, context.clock))];
                cells.extend(sales_cells(row));
                cells
            })
            .collect();
    }
    if table.rows.is_empty() {
        table.note = "No sales yet.".to_owned();
    }
    table
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let mut shown = Vec::new();
    for (metric, range) in [("sales_last_24h", "last 24 h"), ("sales_all", "in all")] {
        let metric = context.snapshot.metric(metric);
        let amount = |name: &str| metric.and_then(|metric| metric.money(name));
        let whole = |name: &str| metric.and_then(|metric| metric.count(name));
        let missing = || MISSING.to_owned();
        let exact = |value: Option<i128>| value.map_or_else(|| "Needs a sale".to_owned(), money_exact);
        let (revenue, average) = (amount("revenue"), amount("average_order_value"));
        shown.push(Tile::new(&format!("Revenue, {range}"), revenue.map_or_else(missing, money), exact(revenue)));
        shown.push(
            Tile::new(
                &format!("Transactions, {range}"),
                whole("transactions").map_or_else(missing, |number| count(i128::from(number))),
                "Sales in force",
            )
            .noted(
                "flat",
                whole("units").map_or_else(String::new, |units| format!("{} units", count(i128::from(units)))),
            ),
        );
        shown.push(Tile::new(&format!("Average order, {range}"), average.map_or_else(missing, money), exact(average)));
    }
    shown
}
