//! The pages, charts and API over what the store holds: everything from documents to bytes.
//!
//! ```text
//! Request ─► respond ─► snapshot of one epoch (feed) ─► figures ─► charts, pages, api ─► Response
//!                              ▲
//!                   StoreReader, on a thread of its own
//! ```
//!
//! A response is made from one committed epoch and says which. The pipeline is never asked, never waited for, and
//! never held up. Nothing here knows sockets: the server hands in a [`Request`] that has passed its guard.

mod api;
mod assets;
mod cache;
mod chart_files;
mod charts;
mod csv;
mod feed;
mod figures;
mod format;
mod json;
mod kinds;
pub mod message;
mod pages;
mod params;
mod reply;
mod rows;
mod series;
pub mod server;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod views;

use std::sync::Arc;
use std::time::Duration;

use cache::Cache;
use feed::{Feed, History, now};
use format::Clock;
use kinds::Kinds;
use message::{Request, Response};
use pages::{Context, Notice};
use snapshot::Snapshot;
use tillflow_dataflows::added::AddedView;

use crate::status::{Phase, Status, StatusSnapshot};
use crate::store::StoreReader;

/// What a dashboard is built from.
pub struct DashboardOptions {
    /// Reads the store; owned by one thread of the dashboard.
    pub reader: Box<dyn StoreReader>,
    /// Where the pipeline stands. With `read_only`, the dashboard keeps it by what the store says.
    pub status: Arc<Status>,
    /// The text of `/metrics`, in OpenMetrics.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The longest that an open page goes without asking again.
    pub refresh_interval: Duration,
    /// The zone that pages show times in.
    pub timezone: chrono_tz::Tz,
    /// The program's version, as the foot of each page shows it.
    pub version: String,
    /// Whether no pipeline of this process fills the store: its progress is polled then.
    pub read_only: bool,
    /// The views beside those of the contract.
    pub added: Arc<[AddedView]>,
}

/// What pages need to know of [`DashboardOptions`].
pub(crate) struct Settings {
    refresh_interval: Duration,
    zone: chrono_tz::Tz,
    version: String,
    read_only: bool,
}

/// Answers requests. Shared between threads.
pub struct Dashboard {
    settings: Settings,
    status: Arc<Status>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
    feed: Feed,
    cache: Cache,
}

/// The epoch that a request is answered for.
enum Choice {
    /// That one; whether it was asked for by number; what has to be said about it.
    Epoch(Arc<Snapshot>, bool, Option<Notice>),
    /// It is not there: status and words.
    Missing(u16, String),
}

impl Dashboard {
    /// Starts the thread that reads the store; it ends with the dashboard.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(options: DashboardOptions) -> std::io::Result<Dashboard> {
        let feed =
            Feed::new(options.reader, Arc::clone(&options.status), options.read_only, Kinds::new(&options.added))?;
        Ok(Dashboard {
            settings: Settings {
                refresh_interval: options.refresh_interval,
                zone: options.timezone,
                version: options.version,
                read_only: options.read_only,
            },
            status: options.status,
            metrics: options.metrics,
            feed,
            cache: Cache::default(),
        })
    }

    /// The answer to a request. Waits at most 1 s for a newer epoch (5 s for the first), and 10 s for rows that
    /// only the store has.
    pub fn respond(&self, request: &Request) -> Response {
        match request.path.as_str() {
            "/healthz" => reply::of_now(200, reply::TEXT, "ok\n".to_owned()),
            "/readyz" => self.readiness(),
            "/metrics" => reply::of_now(200, reply::OPEN_METRICS, (self.metrics)()),
            "/events" => {
                // An open page keeps a polled store watched.
                let _ = self.feed.current();
                reply::events()
            }
            path => match assets::respond(path) {
                Some(asset) => asset,
                None => self.respond_of_epoch(request),
            },
        }
    }

    fn readiness(&self) -> Response {
        if self.settings.read_only {
            // Nobody else looks at the store.
            let _ = self.feed.current();
        }
        let status = self.status.snapshot();
        if status.ready() {
            return reply::of_now(200, reply::TEXT, "ready\n".to_owned());
        }
        let mut reasons = String::new();
        let doing = match status.phase {
            Phase::Starting => "starting: nothing read yet",
            Phase::Rebuilding => "rebuilding: reading again what is committed",
            Phase::CatchingUp => "catching up: records wait to be read",
            Phase::Stopping => "stopping",
            Phase::Live => "",
        };
        let problems = [("source", status.source_problem), ("store", status.store_problem)];
        for (place, problem) in problems {
            if let Some(problem) = problem {
                reasons.push_str(&format!("{place}: {}\n", text::clean(&problem.text)));
            }
        }
        if !doing.is_empty() {
            reasons.push_str(doing);
            reasons.push('\n');
        }
        reply::of_now(503, reply::TEXT, reasons)
    }

    fn respond_of_epoch(&self, request: &Request) -> Response {
        let path = request.path.as_str();
        let for_programs = path.starts_with("/api/") || path.starts_with("/charts/");
        let history = self.feed.current();
        let wanted = match request.epoch() {
            Ok(wanted) => wanted,
            Err(bad) if for_programs => return api::Refusal::Bad(bad).response(),
            Err(bad) => {
                let notice = Notice { class: "warning", text: format!("{bad}; showing the newest epoch.") };
                return self.page(request, &history, newest(&history), Some(notice));
            }
        };
        let (snapshot, pinned, notice) = match choose(&history, wanted, for_programs) {
            Choice::Epoch(snapshot, pinned, notice) => (snapshot, pinned, notice),
            Choice::Missing(status, words) => return reply::problem(status, "Epoch is not held", &words),
        };
        if !for_programs {
            return self.page(request, &history, snapshot, notice);
        }
        if let Some(trouble) = history.trouble.as_ref().filter(|_| history.snapshots.is_empty()) {
            return reply::problem(503, "Cannot read the store", &trouble.text);
        }
        // A pinned answer may differ from an unpinned one: the former never comes from a newer epoch.
        let key = format!("{path}?{}", request.normalised_query());
        self.cache.get_or(snapshot.epoch(), &key, || {
            let source = api::Source { snapshot: &snapshot, pinned, feed: &self.feed, zone: self.settings.zone };
            let answer = match (path.strip_prefix("/api/v1/"), path.strip_prefix("/charts/")) {
                (Some(name), _) => api::respond(name, request, &source, &key),
                (_, Some(name)) => chart_files::respond(name, request, &source, &key),
                _ => None,
            };
            match answer {
                Some(Ok(response)) => response,
                Some(Err(refusal)) => refusal.response(),
                None => reply::problem(
                    404,
                    "No such address",
                    "See /api/v1/metrics, /api/v1/views/TYPE, /api/v1/alerts, /api/v1/progress and /charts/NAME.svg.",
                ),
            }
        })
    }

    fn page(&self, request: &Request, history: &History, snapshot: Arc<Snapshot>, notice: Option<Notice>) -> Response {
        let context = Context {
            snapshot,
            status: self.told_status(),
            trouble: history.trouble.clone(),
            clock: Clock { zone: self.settings.zone },
            now: now(),
            settings: &self.settings,
            feed: &self.feed,
            request,
        };
        let path = request.path.as_str();
        if !pages::exists(path) {
            let words = "There is no page at this address. The pages are linked above.";
            let page = pages::error(&context, "Not found", words);
            return reply::of_now(404, reply::HTML, page.html);
        }
        let said = notice.as_ref().map_or("", |notice| notice.text.as_str());
        let key = format!("{path}?{}|{}|{said}", request.normalised_query(), pages::status_text(path, &context));
        self.cache.get_or(context.snapshot.epoch(), &key, || {
            let fragment = request.parameter("fragment") == Some("1");
            match pages::render(path, &context, fragment, notice.into_iter().collect()) {
                Some(page) if page.complete => reply::of_epoch(reply::HTML, page.epoch, &key, page.html),
                Some(page) => {
                    let mut response = reply::of_now(200, reply::HTML, page.html);
                    response.epoch = Some(page.epoch);
                    response
                }
                None => unreachable!("{path} is a page"),
            }
        })
    }

    fn told_status(&self) -> StatusSnapshot {
        let mut status = self.status.snapshot();
        for problem in [&mut status.source_problem, &mut status.store_problem].into_iter().flatten() {
            problem.text = text::clean(&problem.text);
        }
        status
    }
}

fn newest(history: &History) -> Arc<Snapshot> {
    history.snapshots.first().cloned().unwrap_or_default()
}

/// The snapshot that a request wants. A page of an epoch that is gone shows the newest and says so; a program gets
/// that epoch or none.
fn choose(history: &History, wanted: Option<u64>, for_programs: bool) -> Choice {
    let newest = newest(history);
    let Some(wanted) = wanted else { return Choice::Epoch(newest, false, None) };
    if let Some(held) = history.snapshots.iter().find(|snapshot| snapshot.epoch() == wanted) {
        return Choice::Epoch(Arc::clone(held), true, None);
    }
    let words = if wanted > newest.epoch() {
        format!("Epoch {wanted} is not committed; the newest is {}.", newest.epoch())
    } else {
        format!("Epoch {wanted} is no longer held; the newest is {}. Only the last few epochs are.", newest.epoch())
    };
    if for_programs {
        return Choice::Missing(if wanted > newest.epoch() { 404 } else { 410 }, words);
    }
    let text = format!("{words} Showing epoch {}.", newest.epoch());
    Choice::Epoch(newest, false, Some(Notice { class: "warning", text }))
}
