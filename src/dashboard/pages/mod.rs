//! The pages. Each one turns a [`Context`] (one snapshot, one moment of status) into a [`Page`]; this module puts
//! the frame around it.

mod activity;
mod alerts;
mod history;
mod inventory;
mod markup;
mod overview;
mod pipeline;
mod quality;
mod sales;
mod status;

use std::sync::Arc;

use askama::Template;
use tillflow_dataflows::records::{Millis, Topic};

use super::Settings;
use super::assets::{AssetPaths, fingerprint};
use super::feed::Feed;
use super::figures::catalogue::usual_windows;
use super::figures::time::{Subject, by_key, single};
use super::format::{Clock, count};
use super::kinds::Kind;
use super::message::Request;
use super::series::{Slice, Windows};
use super::snapshot::Snapshot;
use crate::status::{Problem, StatusSnapshot};
use markup::{Link, Markup, Panel, Width, figure_panel};
use status::StatusLine;

/// Height of charts on the overview.
const OVERVIEW_HEIGHT: i32 = 240;
/// Height of charts on pages about one thing.
const DETAIL_HEIGHT: i32 = 320;

/// Everything that a page is made from.
pub struct Context<'a> {
    /// The epoch it shows.
    pub snapshot: Arc<Snapshot>,
    /// Where the pipeline stands.
    pub status: StatusSnapshot,
    /// Why there is no newer epoch, if reading the store goes wrong.
    pub trouble: Option<Problem>,
    /// How times are written.
    pub clock: Clock,
    /// This machine's clock, for ages of commits alone.
    pub now: Millis,
    /// How the pages were set up.
    pub settings: &'a Settings,
    /// For what a snapshot does not hold.
    pub feed: &'a Feed,
    /// What the client asked.
    pub request: &'a Request,
}

/// A remark above the panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `error`, `warning` or `info`.
    pub class: &'static str,
    /// What it says, and what to do.
    pub text: String,
}

impl Notice {
    fn hash(&self) -> String {
        format!("{:016x}", fingerprint(self.text.as_bytes()))
    }
}

/// A page without its frame.
pub struct Page {
    /// Its title.
    pub title: &'static str,
    /// The epoch of its numbers: the snapshot's, or that of what was read for it.
    pub epoch: u64,
    /// What must be said first.
    pub notices: Vec<Notice>,
    /// What it shows.
    pub panels: Vec<Panel>,
    /// Whether it follows the epochs by itself.
    pub live: bool,
}

impl Page {
    fn live(title: &'static str, context: &Context<'_>, panels: Vec<Panel>) -> Page {
        Page { title, epoch: context.snapshot.epoch(), notices: Vec::new(), panels, live: true }
    }
}

/// A page's bytes.
pub struct Rendered {
    /// HTML.
    pub html: String,
    /// The epoch of its numbers.
    pub epoch: u64,
    /// Whether everything that belongs on it could be read; else it is good for this moment only.
    pub complete: bool,
}

struct NavItem {
    href: &'static str,
    text: &'static str,
}

const NAV: [NavItem; 8] = [
    NavItem { href: "/", text: "Overview" },
    NavItem { href: "/sales", text: "Sales" },
    NavItem { href: "/activity", text: "Activity" },
    NavItem { href: "/inventory", text: "Inventory" },
    NavItem { href: "/alerts", text: "Alerts" },
    NavItem { href: "/quality", text: "Quality" },
    NavItem { href: "/history", text: "History" },
    NavItem { href: "/pipeline", text: "Pipeline" },
];

#[derive(Template)]
#[template(path = "main.html")]
struct MainTemplate<'a> {
    path: &'a str,
    title: &'a str,
    epoch: u64,
    open_alerts: &'a str,
    status: &'a StatusLine,
    status_hash: String,
    notices: &'a [Notice],
    panels: &'a [Panel],
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    path: &'a str,
    title: &'a str,
    epoch: u64,
    open_alerts: &'a str,
    assets: AssetPaths,
    nav: &'a [NavItem],
    live: bool,
    refresh_seconds: u64,
    zone: String,
    version: &'a str,
    main: Markup,
}

/// Whether there is a page at that path.
pub fn exists(path: &str) -> bool {
    NAV.iter().any(|item| item.href == path)
}

/// What the status line says now: with the epoch, all that a page at rest depends on.
pub fn status_text(path: &str, context: &Context<'_>) -> String {
    let line = status::line(context, context.snapshot.epoch());
    let trouble = context.trouble.as_ref().map(|trouble| &trouble.text);
    let shown = format!("{} {} {:?} {:?} {}", line.word, line.about, line.facts, trouble, line.demo);
    // This page shows all of the status, the others its line alone.
    if path == "/pipeline" { format!("{shown} {:?}", context.status) } else { shown }
}

/// Renders the page at `path`: whole, or its main part alone. `notices` come before the page's own.
pub fn render(path: &str, context: &Context<'_>, fragment: bool, notices: Vec<Notice>) -> Option<Rendered> {
    let page = match path {
        "/" => overview::page(context),
        "/sales" => sales::page(context),
        "/activity" => activity::page(context),
        "/inventory" => inventory::page(context),
        "/alerts" => alerts::page(context),
        "/quality" => quality::page(context),
        "/history" => history::page(context),
        "/pipeline" => pipeline::page(context),
        _ => return None,
    };
    Some(framed(path, context, page, fragment, notices))
}

/// A page that says what went wrong and what to do.
pub fn error(context: &Context<'_>, title: &'static str, text: &str) -> Rendered {
    let notice = Notice { class: "warning", text: text.to_owned() };
    let page = Page { title, epoch: context.snapshot.epoch(), notices: vec![notice], panels: Vec::new(), live: false };
    framed("", context, page, false, Vec::new())
}

fn framed(path: &str, context: &Context<'_>, page: Page, fragment: bool, mut notices: Vec<Notice>) -> Rendered {
    if let Some(trouble) = &context.trouble {
        let kept = if context.snapshot.is_empty() {
            "There are no earlier numbers to show.".to_owned()
        } else {
            format!("The numbers below are those of epoch {}.", context.snapshot.epoch())
        };
        let since = context.clock.time(trouble.since);
        notices.insert(
            0,
            Notice { class: "error", text: format!("Cannot read the store since {since}. {kept} {}", trouble.text) },
        );
    }
    let complete = page.notices.iter().all(|notice| notice.class != "error");
    notices.extend(page.notices);
    let open_alerts = open_alerts(&context.snapshot);
    let status = status::line(context, page.epoch);
    let status_hash = format!("{:016x}", fingerprint(format!("{status:?}").as_bytes()));
    let main = Markup::of(&MainTemplate {
        path,
        title: page.title,
        epoch: page.epoch,
        open_alerts: &open_alerts,
        status: &status,
        status_hash,
        notices: &notices,
        panels: &page.panels,
    });
    let html = if fragment {
        main.as_str().to_owned()
    } else {
        let whole = Markup::of(&PageTemplate {
            path,
            title: page.title,
            epoch: page.epoch,
            open_alerts: &open_alerts,
            assets: AssetPaths::new(),
            nav: &NAV,
            live: page.live,
            refresh_seconds: context.settings.refresh_interval.as_secs().max(1),
            zone: context.clock.zone_name(context.snapshot.as_of().unwrap_or(context.now)),
            version: &context.settings.version,
            main,
        });
        whole.as_str().to_owned()
    };
    Rendered { html, epoch: page.epoch, complete }
}

/// How many alerts are open, `+` where there are more than a snapshot holds.
fn open_alerts(snapshot: &Snapshot) -> String {
    let open = i128::try_from(snapshot.open_alerts.documents.len()).unwrap_or(0);
    format!("{}{}", count(open), if snapshot.open_alerts.complete { "" } else { "+" })
}

/// Links to the rows behind a figure over the windows of a view.
fn view_links(kind: &str, granularity: &str, chart: &str) -> Vec<Link> {
    vec![
        Link::new("CSV", format!("/api/v1/views/{kind}?granularity={granularity}&format=csv")),
        Link::new("JSON", format!("/api/v1/views/{kind}?granularity={granularity}")),
        Link::new("SVG", format!("/charts/{chart}.svg?granularity={granularity}")),
    ]
}

/// The charts of the added views that belong on the page of a topic.
fn added_panels(context: &Context<'_>, page: Topic) -> Vec<Panel> {
    let of_page = context.feed.kinds().added().filter(|added| added.page == page);
    of_page.map(|added| added_panel(context, added.kind)).collect()
}

fn added_panel(context: &Context<'_>, kind: &'static Kind) -> Panel {
    let (granularity, measure) = (kind.charted(), &kind.measures[0]);
    let as_of = context.snapshot.as_of();
    let windows = Windows::ending_with(as_of.unwrap_or(0), granularity, usual_windows(granularity));
    let slice = Slice::of(&context.snapshot, kind.name, windows);
    let subject = Subject {
        name: &format!("view-{}", kind.name),
        title: &format!("{}: {}", kind.title, measure.title.to_lowercase()),
        measure,
        windows: windows.since(slice.oldest),
        as_of,
        clock: context.clock,
        nothing: "Nothing in this range",
    };
    let figure = if kind.key.is_some() { by_key(&subject, &slice, false) } else { single(&subject, &slice, None) };
    let (name, granularity) = (kind.name, granularity.name());
    let query = format!("type={name}&granularity={granularity}");
    let mut links = view_links(name, granularity, "history");
    links.truncate(2);
    links.push(Link::new("SVG", format!("/charts/history.svg?{query}&measure={}", measure.name)));
    links.push(Link::new("More in History", format!("/history?{query}")));
    figure_panel(&figure, Width::Full, DETAIL_HEIGHT, &links)
}

/// A figure of the catalogue over a view's windows, in a panel with its links.
fn view_panel(
    context: &Context<'_>,
    name: &str,
    granularity: super::kinds::Granularity,
    count: i64,
    width: Width,
    height: i32,
) -> Panel {
    let Some(definition) = super::figures::catalogue::view_figure(name) else {
        unreachable!("a page asks for the figure {name}, which the catalogue does not have")
    };
    let figure = definition.of_snapshot(&context.snapshot, granularity, count, context.clock);
    figure_panel(&figure, width, height, &view_links(definition.kind, granularity.name(), name))
}
