//! `/charts/NAME.svg`: each chart as a file of its own, with its colours written out.

use super::api::{Refusal, Source, view_request};
use super::charts::backend::Paint;
use super::charts::palette::Theme;
use super::figures::Figure;
use super::figures::catalogue::{PRESENT_FIGURES, ViewFigure, present_figure, usual_windows, view_figure};
use super::figures::time::{Subject, by_key, single};
use super::format::Clock;
use super::kinds::Granularity;
use super::message::{Request, Response};
use super::params::BadParameter;
use super::reply::{SVG, of_epoch};
use super::series::{Slice, Windows};
use super::text::label;
use super::views::{LIMIT_MAX, ViewAnswer, ViewRequest, answer};

/// Width of a file, in units of the view box.
const WIDTH: i32 = 900;
/// Its height, where its bars do not ask for more.
const HEIGHT: i32 = 320;
/// The stock rows of a file.
const STOCK_ROWS: usize = 20;
/// The windows that one chart has at most.
const WINDOWS_MAX: usize = 3_000;

/// Answers `/charts/NAME.svg`; absent: there is no such chart.
pub fn respond(
    name: &str,
    request: &Request,
    source: &Source<'_>,
    cache_key: &str,
) -> Option<Result<Response, Refusal>> {
    let name = name.strip_suffix(".svg")?;
    if name != "history" && view_figure(name).is_none() && !PRESENT_FIGURES.contains(&name) {
        return None;
    }
    Some(file(name, request, source, cache_key))
}

fn file(name: &str, request: &Request, source: &Source<'_>, cache_key: &str) -> Result<Response, Refusal> {
    let theme = match request.parameter("theme") {
        None | Some("light") => Theme::Light,
        Some("dark") => Theme::Dark,
        Some(other) => {
            return Err(BadParameter { name: "theme", value: label(other), expected: "light or dark" }.into());
        }
    };
    let clock = Clock { zone: source.zone };
    let (figure, epoch) = if name == "history" {
        history(request, source, clock)?
    } else if let Some(definition) = view_figure(name) {
        view(definition, request, source, clock)?
    } else {
        let hour = request.granularity()? == Some(Granularity::Minute);
        let figure = present_figure(name, source.snapshot, hour, STOCK_ROWS);
        let Some(figure) = figure else { unreachable!("{name} is in the list of present figures") };
        (figure, source.snapshot.epoch())
    };
    let svg = figure.svg("", WIDTH, figure.height(HEIGHT), Paint::Literal(theme));
    Ok(of_epoch(SVG, epoch, cache_key, svg))
}

/// The windows of a request: those given, else the usual ones up to `as_of`.
fn windows(request: &Request, source: &Source<'_>, granularity: Granularity) -> Result<Windows, BadParameter> {
    let usual = Windows::ending_with(source.snapshot.as_of().unwrap_or(0), granularity, usual_windows(granularity));
    let from = request.instant("from", source.zone)?;
    let to = request.instant("to", source.zone)?;
    let last = to.map_or(usual.last, |to| granularity.floor(to.saturating_sub(1)));
    let span = usual.last - usual.first;
    let first = from.map_or_else(
        || if to.is_some() { last.saturating_sub(span) } else { usual.first },
        |from| granularity.floor(from),
    );
    let windows = Windows { first: first.min(last), last, granularity };
    if windows.len() > WINDOWS_MAX {
        let value = from.map_or_else(String::new, |from| from.to_string());
        return Err(BadParameter {
            name: "from",
            value,
            expected: "near enough to `to`: a chart has at most 3000 windows",
        });
    }
    Ok(windows)
}

fn rows(kind: &str, windows: Windows, key: Option<String>, source: &Source<'_>) -> Result<ViewAnswer, Refusal> {
    let wanted = ViewRequest {
        kind: kind.to_owned(),
        granularity: Some(windows.granularity),
        from: Some(windows.first),
        to: Some(windows.end()),
        key,
        state: None,
        limit: LIMIT_MAX,
    };
    Ok(answer(source.feed, source.snapshot, source.pinned, &wanted)?)
}

fn slice(answer: &ViewAnswer) -> Slice<'_> {
    Slice { rows: answer.documents.iter().collect(), oldest: None, complete: !answer.truncated }
}

fn view(
    definition: &ViewFigure,
    request: &Request,
    source: &Source<'_>,
    clock: Clock,
) -> Result<(Figure, u64), Refusal> {
    let granularity = request.granularity()?.unwrap_or(definition.granularity);
    if request.parameter("from").is_none() && request.parameter("to").is_none() {
        let covered = source.snapshot.holding(definition.kind, granularity).is_some();
        if covered {
            let count = usual_windows(granularity);
            return Ok((definition.of_snapshot(source.snapshot, granularity, count, clock), source.snapshot.epoch()));
        }
    }
    let windows = windows(request, source, granularity)?;
    let answer = rows(definition.kind, windows, None, source)?;
    Ok((definition.draw(windows, &slice(&answer), None, answer.as_of, clock), answer.epoch))
}

/// The chart of `/history`: any measure of any windowed view.
fn history(request: &Request, source: &Source<'_>, clock: Clock) -> Result<(Figure, u64), Refusal> {
    let name = request.parameter("type").unwrap_or("sales_total");
    let bad = |name, value: &str, expected| BadParameter { name, value: label(value), expected };
    let kind = (source.feed.kinds().get(name))
        .filter(|kind| !kind.granularities.is_empty())
        .ok_or_else(|| bad("type", name, "a view with windows"))?;
    let measure = match request.parameter("measure") {
        None => &kind.measures[0],
        Some(name) => kind
            .measures
            .iter()
            .find(|measure| measure.name == name)
            .ok_or_else(|| bad("measure", name, "a number of that view"))?,
    };
    let wanted = view_request(kind.name, request, source.zone)?;
    let granularity = wanted.granularity.unwrap_or(kind.granularities[0]);
    let windows = windows(request, source, granularity)?;
    let answer = rows(kind.name, windows, wanted.key, source)?;
    let title = format!("{}: {}", kind.title, measure.title.to_lowercase());
    let subject = Subject {
        name: "history",
        title: &title,
        measure,
        windows,
        as_of: answer.as_of,
        clock,
        nothing: "Nothing in this range",
    };
    let slice = slice(&answer);
    let figure = if kind.key.is_some() { by_key(&subject, &slice, false) } else { single(&subject, &slice, None) };
    Ok((figure, answer.epoch))
}
