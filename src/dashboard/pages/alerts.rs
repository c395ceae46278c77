//! `/alerts`: what somebody should do something about.

use super::markup::{Link, Markup, Panel, Tile, table, tiles};
use super::{Context, Page};
use crate::dashboard::format::{MISSING, count, duration};
use crate::dashboard::rows::Record as _;
use crate::dashboard::table::{Cell, Table};
use crate::dashboard::text::{clean, label};
use crate::document::Document;

/// The rows on the overview.
const OVERVIEW_ROWS: usize = 7;

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let snapshot = &context.snapshot;
    let data = |state: &str| {
        vec![
            Link::new("CSV", format!("/api/v1/alerts?state={state}&format=csv")),
            Link::new("JSON", format!("/api/v1/alerts?state={state}")),
        ]
    };
    let panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        Panel::new("open", "span-12", "Open", table(&open(context)))
            .hinted("by severity, the youngest first")
            .linked(data("open")),
        Panel::new("resolved", "span-12", "Resolved", table(&resolved(context)))
            .hinted("the latest first")
            .linked(data("resolved")),
    ];
    let mut page = Page::live("Alerts", context, panels);
    if !snapshot.open_alerts.complete {
        let text = format!(
            "More alerts are open than the {} shown; CSV and JSON have all.",
            snapshot.open_alerts.documents.len()
        );
        page.notices.push(super::Notice { class: "info", text });
    }
    page
}

/// A sign, a word and a class for a severity.
fn severity(alert: &Document) -> Cell {
    match alert.text("severity") {
        Some("critical") => Cell::classed("■ critical", "chip critical"),
        Some("warning") => Cell::classed("▲ warning", "chip warning"),
        Some(other) => Cell::classed(format!("● {}", label(other)), "chip info"),
        None => Cell::new(MISSING),
    }
}

/// What an alert is about: its subject fields.
fn subject(alert: &Document) -> String {
    let parts: Vec<&str> =
        ["product_id", "warehouse_id", "category"].into_iter().filter_map(|field| alert.text(field)).collect();
    if parts.is_empty() { MISSING.to_owned() } else { parts.join(" · ") }
}

/// `out_of_stock` as words.
fn words(alert: &Document) -> String {
    label(&alert.text("kind").unwrap_or("?").replace('_', " "))
}

/// How long it has been open, by the data's own clock.
fn age(context: &Context<'_>, alert: &Document) -> Cell {
    match (alert.time("opened_at"), context.snapshot.as_of()) {
        (Some(opened), Some(as_of)) => Cell::titled(
            duration(as_of.saturating_sub(opened) / 1_000 * 1_000),
            format!("since {}", context.clock.full(opened)),
        ),
        _ => Cell::new(MISSING),
    }
}

/// The worst of the open alerts, for the overview.
pub fn overview_table(context: &Context<'_>) -> Markup {
    let mut shown = Table::new("Open alerts, the worst first", &["Severity", "What", "#Open for"]);
    let open = &context.snapshot.open_alerts.documents;
    for alert in open.iter().take(OVERVIEW_ROWS) {
        let subject = subject(alert);
        shown.rows.push(vec![
            severity(alert),
            Cell::titled(
                format!("{}: {}", words(alert), label(&subject)),
                clean(alert.text("message").unwrap_or(&subject)),
            ),
            age(context, alert),
        ]);
    }
    shown.note = match open.len() {
        0 if context.snapshot.is_empty() => "No data yet.".to_owned(),
        0 => "None open: no stock is out or low.".to_owned(),
        more if more > OVERVIEW_ROWS => {
            format!("and {} more", count(i128::try_from(more - OVERVIEW_ROWS).unwrap_or(0)))
        }
        _ => String::new(),
    };
    table(&shown)
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let snapshot = &context.snapshot;
    let tile = |severity: &str, name: &str, tone| {
        let number = snapshot.open(severity);
        let tone = if number > 0 { tone } else { "calm" };
        let note = if number > 0 { "open" } else { "none open" };
        Tile::new(name, count(i128::try_from(number).unwrap_or(0)), "Open alerts of this severity").noted(tone, note)
    };
    let resolved = snapshot.resolved_alerts.documents.len();
    vec![
        tile("critical", "Critical", "alert"),
        tile("warning", "Warning", "warn"),
        tile("info", "Info", "flat"),
        Tile::new(
            "Resolved",
            format!("{resolved}{}", if snapshot.resolved_alerts.complete { "" } else { "+" }),
            "Alerts that were open once",
        ),
    ]
}

fn common_cells(alert: &Document) -> Vec<Cell> {
    let subject = subject(alert);
    let message = alert.text("message").unwrap_or("");
    vec![
        severity(alert),
        Cell::new(words(alert)),
        Cell::titled(label(&subject), clean(&subject)),
        Cell::new(clean(message)),
    ]
}

fn times_opened(alert: &Document) -> Cell {
    Cell::new(alert.count("times_opened").map_or_else(|| MISSING.to_owned(), |times| count(i128::from(times))))
}

fn open(context: &Context<'_>) -> Table {
    let mut table =
        Table::new("Open alerts", &["Severity", "Kind", "Subject", "Message", "#Open for", "#Times opened"]);
    for alert in &context.snapshot.open_alerts.documents {
        let mut row = common_cells(alert);
        row.extend([age(context, alert), times_opened(alert)]);
        table.rows.push(row);
    }
    if table.rows.is_empty() {
        table.note = "No alert is open.".to_owned();
    }
    table.cut()
}

fn resolved(context: &Context<'_>) -> Table {
    let mut table = Table::new(
        "Resolved alerts",
        &["Severity", "Kind", "Subject", "Message", "Opened", "Resolved", "#Times opened"],
    );
    for alert in &context.snapshot.resolved_alerts.documents {
        let mut row = common_cells(alert);
        for field in ["opened_at", "resolved_at"] {
            row.push(Cell::new(alert.time(field).map_or_else(|| MISSING.to_owned(), |at| context.clock.full(at))));
        }
        row.push(times_opened(alert));
        table.rows.push(row);
    }
    if table.rows.is_empty() {
        table.note = "No alert was resolved yet.".to_owned();
    }
    table.cut()
}
