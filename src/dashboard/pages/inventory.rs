//! `/inventory`: stock against reorder levels.

use tillflow_dataflows::records::Topic;

use super::markup::{Link, Panel, Tile, Width, figure_panel, table, tiles};
use super::{Context, DETAIL_HEIGHT, Page, added_panels};
use crate::dashboard::figures::bars::stock_state;
use crate::dashboard::figures::catalogue::stock_levels;
use crate::dashboard::format::{MISSING, count, share};
use crate::dashboard::rows::Record as _;
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::{clean, label};

/// The stock rows of the chart.
const CHART_ROWS: usize = 20;

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let mut panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        figure_panel(
            &stock_levels(&context.snapshot, CHART_ROWS),
            Width::Full,
            DETAIL_HEIGHT,
            &[Link::new("SVG", "/charts/stock-levels.svg")],
        ),
        Panel::new("stock", "span-12", "Stock", table(&rows(context)))
            .hinted("by product and warehouse, the worst first")
            .linked(vec![Link::new("CSV", "/api/v1/views/stock?format=csv"), Link::new("JSON", "/api/v1/views/stock")]),
    ];
    panels.extend(added_panels(context, Topic::Inventory));
    Page::live("Inventory", context, panels)
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let summary = context.snapshot.metric("inventory_summary");
    let number = |name: &str| summary.and_then(|summary| summary.count(name)).map(i128::from);
    let shown = |name: &str| number(name).map_or_else(|| MISSING.to_owned(), count);
    let part = |name: &str| match (number(name), number("rows")) {
        (Some(part), Some(rows)) if rows > 0 => format!("{} of rows", share(part, rows)),
        _ => String::new(),
    };
    let tone = |name: &str, class: &'static str| if number(name).unwrap_or(0) > 0 { class } else { "calm" };
    vec![
        Tile::new("Products", shown("products"), "Products with a stock row"),
        Tile::new("Stock rows", shown("rows"), "Pairs of product and warehouse"),
        Tile::new("Units on hand", shown("units"), "Over all warehouses"),
        Tile::new("Out of stock", shown("out_of_stock"), "Rows with nothing on hand")
            .noted(tone("out_of_stock", "alert"), part("out_of_stock"))
            .leading("/alerts"),
        Tile::new("Low stock", shown("low_stock"), "Rows at or below their reorder level, but not out")
            .noted(tone("low_stock", "warn"), part("low_stock"))
            .leading("/alerts"),
    ]
}

fn rows(context: &Context<'_>) -> Table {
    let columns = [
        "State",
        "Product",
        "Warehouse",
        "Category",
        "#Stock",
        "#Reorder level",
        "#Stock / level",
        "Reported",
        "Updated",
    ];
    let mut table = Table::new("Stock by product and warehouse", &columns);
    let stock = &context.snapshot.stock;
    for row in &stock.documents {
        let text = |name: &str| {
            let value = row.text(name).unwrap_or("");
            if value.is_empty() { Cell::new(MISSING) } else { Cell::titled(label(value), clean(value)) }
        };
        let (state, _, class) = stock_state(row);
        let units = i128::from(row.count("current_stock").unwrap_or(0));
        let level = i128::from(row.count("reorder_level").unwrap_or(0));
        let updated = row.time("last_updated").map_or_else(|| MISSING.to_owned(), |at| context.clock.full(at));
        table.rows.push(vec![
            Cell::classed(state, class),
            text("product_id"),
            text("warehouse_id"),
            text("category"),
            Cell::new(count(units)),
            Cell::new(count(level)),
            Cell::new(if level > 0 { share(units, level) } else { MISSING.to_owned() }),
            text("status"),
            Cell::new(updated),
        ]);
    }
    let mut table = table.cut();
    if table.rows.is_empty() {
        table.note = "No stock reported yet.".to_owned();
    } else if !stock.complete {
        table.note = format!("The {} rows with the least stock shown; CSV and JSON have all.", table.rows.len());
    }
    table
}
