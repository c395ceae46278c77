//! `/quality`: what became of the records, and the ones that could not be used.

use askama::Template;

use super::markup::{Markup, Panel, Tile, Width, figure_panel, tiles};
use super::{Context, Notice, OVERVIEW_HEIGHT, Page};
use crate::dashboard::figures::catalogue::{outcomes, reasons};
use crate::dashboard::format::{MISSING, count, share};
use crate::dashboard::rows::Record as _;
use crate::dashboard::text::{bytes_preview, clean, label};
use crate::document::{Collection, Document, Value};
use crate::store::Query;

/// The dead letters that are shown. Each one may hold more than a mebibyte, so they are few.
const LETTERS_MAX: usize = 25;
/// How much of a key or value is shown.
const PREVIEW_BYTES: usize = 600;

struct Letter {
    reason: String,
    place: String,
    when: String,
    detail: String,
    key: String,
    value: String,
}

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct LettersTemplate {
    letters: Vec<Letter>,
    note: String,
}

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let mut notices = Vec::new();
    let letters = match newest_letters(context) {
        Ok(letters) => letters,
        Err(text) => {
            notices.push(Notice { class: "error", text });
            Vec::new()
        }
    };
    let note = if letters.len() == LETTERS_MAX { format!("The newest {LETTERS_MAX}.") } else { String::new() };
    let list = if notices.is_empty() { Markup::of(&LettersTemplate { letters, note }) } else { Markup::default() };
    let panels = vec![
        Panel::new("tiles", "span-12 bare", "", tiles(&kpis(context))),
        figure_panel(&outcomes(&context.snapshot), Width::Half, OVERVIEW_HEIGHT, &[]),
        figure_panel(&reasons(&context.snapshot), Width::Half, OVERVIEW_HEIGHT, &[]),
        Panel::new("letters", "span-12", "Dead letters", list)
            .hinted("the newest first; the store keeps every one with its bytes"),
    ];
    let mut page = Page::live("Quality", context, panels);
    page.notices = notices;
    page
}

fn kpis(context: &Context<'_>) -> Vec<Tile> {
    let outcomes = context.snapshot.metric("data_quality").and_then(|metric| metric.document("outcomes"));
    let number = |name: &str| outcomes.and_then(|outcomes| outcomes.count(name)).map(i128::from);
    let total = outcomes
        .map(|outcomes| outcomes.iter().filter_map(|(name, _)| outcomes.count(name)).map(i128::from).sum::<i128>());
    let shown = |number: Option<i128>| number.map_or_else(|| MISSING.to_owned(), count);
    let part = |name: &str| match (number(name), total) {
        (Some(part), Some(total)) if total > 0 => share(part, total),
        _ => String::new(),
    };
    let mut tiles = vec![Tile::new("Records", shown(total), "Every record has exactly one outcome")];
    for (name, title, meaning) in [
        ("accepted", "Accepted", "Counted in every view"),
        (
            "correction",
            "Corrections",
            "A known transaction with other content: the old row taken back, the new one counted",
        ),
        ("duplicate", "Duplicates", "A known transaction with the same content: no effect"),
        ("cancelled", "Cancelled", "A tombstone: old rows taken back"),
        ("late", "Late", "Older than the correction window: a dead letter"),
        ("quarantined", "Quarantined", "Dated in the future: a dead letter"),
        ("rejected", "Rejected", "Cannot be read: a dead letter"),
    ] {
        let bad = matches!(name, "late" | "quarantined" | "rejected") && number(name).unwrap_or(0) > 0;
        tiles.push(Tile::new(title, shown(number(name)), meaning).noted(if bad { "warn" } else { "flat" }, part(name)));
    }
    tiles
}

/// The newest dead letters of the snapshot's epoch. They are only ever added, so the store, which may be further on,
/// is asked for those that had come by then.
fn newest_letters(context: &Context<'_>) -> Result<Vec<Letter>, String> {
    if context.snapshot.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query {
        collection: Some(Collection::DeadLetters),
        until_epoch: Some(context.snapshot.epoch()),
        order: vec![("kafka_timestamp".to_owned(), true)],
        limit: Some(LETTERS_MAX),
        ..Query::default()
    };
    let (_, mut answers) =
        context.feed.ask(vec![query]).map_err(|failure| format!("The dead letters cannot be read: {failure}."))?;
    Ok(answers.pop().unwrap_or_default().iter().map(|row| letter(context, row)).collect())
}

fn letter(context: &Context<'_>, row: &Document) -> Letter {
    let number = |name: &str| row.count(name).map_or_else(|| "?".to_owned(), |number| number.to_string());
    let bytes = |name: &str| match row.get(name) {
        Some(Value::Bytes(bytes)) => bytes_preview(bytes, PREVIEW_BYTES),
        Some(Value::Text(text)) => bytes_preview(text.as_bytes(), PREVIEW_BYTES),
        _ => "(none)".to_owned(),
    };
    Letter {
        reason: label(row.text("reason").unwrap_or("?")),
        place: format!("{}[{}] @ {}", label(row.text("topic").unwrap_or("?")), number("partition"), number("offset")),
        when: row.time("kafka_timestamp").map_or_else(|| MISSING.to_owned(), |at| context.clock.full(at)),
        detail: clean(row.text("detail").unwrap_or("")),
        key: bytes("key"),
        value: bytes("value"),
    }
}
