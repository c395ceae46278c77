//! `/history`: any view over any range that the store holds.

use askama::Template;
use tillflow_dataflows::records::Millis;

use super::markup::{Link, Markup, Panel, Width, figure_panel, table};
use super::{Context, DETAIL_HEIGHT, Notice, Page};
use crate::dashboard::figures::time::{Subject, by_key, single, window_text};
use crate::dashboard::format::{MISSING, rfc3339};
use crate::dashboard::kinds::{Granularity, KINDS, Kind, Measure};
use crate::dashboard::rows::{Record as _, key_text};
use crate::dashboard::series::{Slice, Windows};
use crate::dashboard::table::{Cell, Column, Table};
use crate::dashboard::text::{clean, label};
use crate::dashboard::views::{ViewAnswer, ViewRequest, answer};
use crate::document::Document;

/// The rows that one page reads.
const ROWS_READ: usize = 5_000;
/// The windows that one chart has.
const WINDOWS_MAX: i64 = 3_000;

const HOUR: Millis = 3_600_000;
const RANGES: [(&str, &str, Millis); 5] = [
    ("1h", "1 hour", HOUR),
    ("6h", "6 hours", 6 * HOUR),
    ("24h", "24 hours", 24 * HOUR),
    ("7d", "7 days", 168 * HOUR),
    ("30d", "30 days", 720 * HOUR),
];
/// The range where none is given.
const USUAL_RANGE: usize = 2;

struct Choice {
    value: &'static str,
    text: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "history_form.html")]
struct FormTemplate {
    kinds: Vec<Choice>,
    measures: Vec<Choice>,
    granularities: Vec<Choice>,
    ranges: Vec<Choice>,
    zone: String,
    from: String,
    to: String,
    has_key: bool,
    key_name: String,
    key: String,
}

/// What is asked for, every doubt settled.
struct Wish {
    kind: &'static Kind,
    measure: &'static Measure,
    granularity: Granularity,
    /// The name of the range; `custom` for given ends.
    range: &'static str,
    windows: Windows,
    key: Option<String>,
}

/// The page.
pub fn page(context: &Context<'_>) -> Page {
    let mut notices = Vec::new();
    let wish = wish(context, &mut notices);
    let request = ViewRequest {
        kind: wish.kind.name.to_owned(),
        granularity: Some(wish.granularity),
        from: Some(wish.windows.first),
        to: Some(wish.windows.end()),
        key: wish.key.clone(),
        state: None,
        limit: ROWS_READ,
    };
    let mut panels = vec![Panel::new("form", "span-12", "", form(context, &wish))];
    let mut epoch = context.snapshot.epoch();
    match answer(context.feed, &context.snapshot, false, &request) {
        Ok(answer) => {
            epoch = answer.epoch;
            if answer.truncated {
                notices.push(warning(format!(
                    "This range has more than {ROWS_READ} rows; the newest are shown. Choose longer windows, a shorter range or one key; CSV has up to 10,000.",
                )));
            }
            panels.extend(results(context, &wish, &answer));
        }
        Err(error) => notices.push(Notice { class: "error", text: format!("The store gave no rows: {error}.") }),
    }
    Page { title: "History", epoch, notices, panels, live: false }
}

const fn warning(text: String) -> Notice {
    Notice { class: "warning", text }
}

fn wish(context: &Context<'_>, notices: &mut Vec<Notice>) -> Wish {
    let request = context.request;
    let windowed = || context.feed.kinds().windowed();
    let usual = &KINDS[0];
    let kind = match request.parameter("type") {
        None => usual,
        Some(name) => windowed().find(|kind| kind.name == name).unwrap_or_else(|| {
            notices.push(warning(format!("`type={}` is not a view; showing {}.", label(name), usual.title)));
            usual
        }),
    };
    // A measure of the view chosen before is no mistake: the form keeps it.
    let measure = request
        .parameter("measure")
        .and_then(|name| kind.measures.iter().find(|measure| measure.name == name))
        .unwrap_or(&kind.measures[0]);

    let as_of = context.snapshot.as_of().unwrap_or(context.now);
    let mut instant = |name| {
        request.instant(name, context.clock.zone).unwrap_or_else(|bad| {
            notices.push(warning(format!("{bad}; it is left out.")));
            None
        })
    };
    let given = (instant("from"), instant("to"));
    let custom = request.parameter("range").map_or(given.0.is_some() || given.1.is_some(), |range| range == "custom");
    let named = |name: &str| RANGES.iter().find(|range| range.0 == name);
    let (range, mut from, mut to) = if custom {
        let to = given.1.unwrap_or_else(|| as_of.saturating_add(1));
        ("custom", given.0.unwrap_or_else(|| to.saturating_sub(RANGES[USUAL_RANGE].2)), to)
    } else {
        let range = match request.parameter("range") {
            None => &RANGES[USUAL_RANGE],
            Some(name) => named(name).unwrap_or_else(|| {
                notices.push(warning(format!(
                    "`range={}` is not a range; showing {}.",
                    label(name),
                    RANGES[USUAL_RANGE].1
                )));
                &RANGES[USUAL_RANGE]
            }),
        };
        // The newest window belongs to the range, as in "last hour".
        let end = as_of.saturating_add(1);
        (range.0, end.saturating_sub(range.2), end)
    };
    if from >= to {
        notices.push(warning("`from` is not before `to`; they are exchanged.".to_owned()));
        std::mem::swap(&mut from, &mut to);
        to = to.max(from + 1);
    }
    let granularity = granularity(context, kind, to - from, notices);
    let first = granularity.floor(from + if custom { 0 } else { granularity.millis() - 1 });
    let last = granularity.floor(to - 1).max(first);
    let mut windows = Windows { first, last, granularity };
    if i64::try_from(windows.len()).unwrap_or(i64::MAX) > WINDOWS_MAX {
        windows.first = last - (WINDOWS_MAX - 1) * granularity.millis();
        notices.push(warning(format!(
            "More than {WINDOWS_MAX} windows are too many for a chart; the last ones are shown."
        )));
    }
    let key = kind.key.and(request.parameter("key")).map(str::to_owned);
    Wish { kind, measure, granularity, range, windows, key }
}

/// The windows asked for, or those that give a chart between some and some hundred points.
fn granularity(context: &Context<'_>, kind: &Kind, span: Millis, notices: &mut Vec<Notice>) -> Granularity {
    let automatic = || {
        let wanted = match span {
            span if span <= 6 * HOUR => Granularity::Minute,
            span if span <= 240 * HOUR => Granularity::Hour,
            _ => Granularity::Day,
        };
        let fitting = kind.granularities.iter().find(|granularity| **granularity >= wanted);
        fitting.or(kind.granularities.last()).copied().unwrap_or(Granularity::Day)
    };
    match context.request.parameter("granularity") {
        None | Some("auto") => automatic(),
        Some(name) => match Granularity::from_name(name).filter(|granularity| kind.granularities.contains(granularity))
        {
            Some(granularity) => granularity,
            None => {
                let chosen = automatic();
                notices.push(warning(format!(
                    "`granularity={}` is not kept for {}; showing one row per {}.",
                    label(name),
                    kind.title,
                    chosen.name()
                )));
                chosen
            }
        },
    }
}

fn form(context: &Context<'_>, wish: &Wish) -> Markup {
    let asked = context.request.parameter("granularity").and_then(Granularity::from_name);
    let mut granularities = vec![Choice { value: "auto", text: "automatic", chosen: asked.is_none() }];
    granularities.extend(wish.kind.granularities.iter().map(|granularity| Choice {
        value: granularity.name(),
        text: granularity.name(),
        chosen: asked == Some(*granularity),
    }));
    let mut ranges: Vec<Choice> =
        RANGES.iter().map(|(value, text, _)| Choice { value, text, chosen: wish.range == *value }).collect();
    ranges.push(Choice { value: "custom", text: "from … to …", chosen: wish.range == "custom" });
    Markup::of(&FormTemplate {
        kinds: (context.feed.kinds().windowed())
            .map(|kind| Choice { value: kind.name, text: kind.title, chosen: kind.name == wish.kind.name })
            .collect(),
        measures: wish
            .kind
            .measures
            .iter()
            .map(|measure| Choice {
                value: measure.name,
                text: measure.title,
                chosen: measure.name == wish.measure.name,
            })
            .collect(),
        granularities,
        ranges,
        zone: context.clock.zone_name(wish.windows.last),
        from: context.clock.form(wish.windows.first),
        to: context.clock.form(wish.windows.end()),
        has_key: wish.kind.key.is_some(),
        key_name: key_name(wish.kind),
        key: wish.key.clone().unwrap_or_default(),
    })
}

/// `store_id` as `Store id`.
fn key_name(kind: &Kind) -> String {
    let words = kind.key.unwrap_or("").replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn results(context: &Context<'_>, wish: &Wish, answer: &ViewAnswer) -> Vec<Panel> {
    let slice = Slice { rows: answer.documents.iter().collect(), oldest: None, complete: !answer.truncated };
    let title = format!("{}: {}", wish.kind.title, wish.measure.title.to_lowercase());
    let subject = Subject {
        name: "history",
        title: &title,
        measure: wish.measure,
        windows: wish.windows,
        as_of: answer.as_of,
        clock: context.clock,
        nothing: "Nothing in this range",
    };
    let figure = if wish.kind.key.is_some() { by_key(&subject, &slice, false) } else { single(&subject, &slice, None) };
    let links = links(wish);
    let heading = format!("{} rows", answer.documents.len());
    let mut rows = table_of(context, wish, &answer.documents);
    if rows.rows.is_empty() {
        rows.note = nothing_here(context);
    }
    vec![
        figure_panel(&figure, Width::Full, DETAIL_HEIGHT, &links),
        Panel::new("rows", "span-12", heading, table(&rows))
            .hinted(format!("the newest first; epoch {}", answer.epoch))
            .linked(links),
    ]
}

fn nothing_here(context: &Context<'_>) -> String {
    match context.snapshot.as_of() {
        Some(as_of) => format!("Nothing in this range. The newest data are of {}.", context.clock.full(as_of)),
        None => "No data yet. Sample data: `tillflow generate --rate 50`.".to_owned(),
    }
}

/// The last instant that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
const LAST_INSTANT: Millis = 253_402_300_799_999;

fn links(wish: &Wish) -> Vec<Link> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("granularity", wish.granularity.name())
        .append_pair("from", &rfc3339(wish.windows.first))
        .append_pair("to", &rfc3339(wish.windows.end().min(LAST_INSTANT)));
    if let Some(key) = &wish.key {
        query.append_pair("key", key);
    }
    let query = query.finish();
    let base = format!("/api/v1/views/{}?{query}", wish.kind.name);
    let chart = format!("/charts/history.svg?type={}&measure={}&{query}", wish.kind.name, wish.measure.name);
    vec![Link::new("CSV", format!("{base}&format=csv")), Link::new("JSON", base), Link::new("SVG", chart)]
}

fn table_of(context: &Context<'_>, wish: &Wish, documents: &[Document]) -> Table {
    let mut table = Table::new(wish.kind.title, &["Window"]);
    if wish.kind.key.is_some() {
        table.columns.push(Column { name: key_name(wish.kind), numeric: false });
    }
    table
        .columns
        .extend(wish.kind.measures.iter().map(|measure| Column { name: measure.title.to_owned(), numeric: true }));
    table.columns.push(Column { name: "Final".to_owned(), numeric: false });
    for row in documents.iter().rev() {
        let start = row.time("timestamp").unwrap_or(0);
        let mut cells = vec![Cell::titled(
            if wish.granularity == Granularity::Minute {
                context.clock.date_minute(start)
            } else {
                window_text(start, wish.granularity, context.clock)
            },
            context.clock.full(start),
        )];
        if wish.kind.key.is_some() {
            let key = key_text(row);
            cells.push(Cell::titled(label(&key), clean(&key)));
        }
        for measure in wish.kind.measures {
            let value = row.measure(measure.name, measure.unit);
            cells.push(Cell::new(value.map_or_else(|| MISSING.to_owned(), |value| measure.unit.exact(value))));
        }
        let is_final = matches!(row.get("final"), Some(crate::document::Value::Bool(true)));
        cells.push(Cell::new(if is_final { "yes" } else { "may change" }));
        table.rows.push(cells);
    }
    table.cut()
}
