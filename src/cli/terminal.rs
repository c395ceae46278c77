//! What a person sees on the terminal: log lines, and one line that tells how far things are.
//!
//! Standard output is for data; all talk is on standard error. Where that is no terminal there are no bars and no
//! colours, and one line a minute.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanFloatCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::Global;
use crate::status::{Phase, Status, StatusSnapshot};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Where all bars are, so that log lines do not tear them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Standard error, with bars moved aside.
#[derive(Clone, Copy)]
struct Aside;

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Aside {
    type Writer = Aside;
    fn make_writer(&self) -> Aside {
        Aside
    }
}

/// Starts logging to standard error. `RUST_LOG` wins over `-v` and `-q`.
pub(super) fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "info,librdkafka=warn",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let logging =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(Aside).with_ansi(colours).with_target(false);
    // A second initialisation (in tests) leaves the first in place.
    let _ = match global.log_format {
        LogFormat::Text => logging.try_init(),
        LogFormat::Json => logging.json().try_init(),
    };
}

/// A bar for a known amount of work, or a counter where the end is not known.
pub(super) fn bar(total: Option<u64>, what: &str) -> ProgressBar {
    let bar = BARS.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
    let template = if total.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} records, {rate}/s, {eta} left"
    } else {
        "{spinner} {msg} {human_pos} records, {rate}/s"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // Fractions of a record are no news.
            let _ = write!(out, "{}", HumanFloatCount(state.per_sec().round()));
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_message(what.to_owned());
    bar
}

/// Shows a pipeline's status until dropped.
pub(super) struct StatusLine {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StatusLine {
    /// Begins to show `status`; as a bar when the work is finite.
    pub(super) fn start(status: Arc<Status>, finite: bool) -> StatusLine {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let terminal = io::stderr().is_terminal();
        let show = move || {
            let line = terminal.then(|| bar(None, "starting"));
            let mut total = None;
            let mut logged = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(250));
                let now = status.snapshot();
                match &line {
                    Some(line) => {
                        if finite && total.is_none() && !now.partitions.is_empty() {
                            total = Some(now.records + u64::try_from(now.lag()).unwrap_or(0));
                        }
                        show_line(line, &now, total);
                    }
                    None if logged.elapsed() >= Duration::from_secs(60) => {
                        logged = Instant::now();
                        tracing::info!("{}", words(&now));
                    }
                    None => {}
                }
            }
            if let Some(line) = line {
                line.finish_and_clear();
            }
        };
        let thread = std::thread::Builder::new().name("tillflow-status".into()).spawn(show).ok();
        StatusLine { stop, thread }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A status line that panicked has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

fn show_line(line: &ProgressBar, now: &StatusSnapshot, total: Option<u64>) {
    let template = match total {
        Some(total) => {
            line.set_length(total.max(now.records));
            "{wide_bar} {human_pos}/{human_len} {msg}"
        }
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        line.set_style(style);
    }
    line.set_position(now.records);
    line.set_message(words(now));
    line.tick();
}

/// The status in one line.
fn words(now: &StatusSnapshot) -> String {
    let phase = match now.phase {
        Phase::Starting => "starting",
        Phase::Rebuilding => "rebuilding state from committed records",
        Phase::CatchingUp => "catching up",
        Phase::Live => "live",
        Phase::Stopping => "stopping",
    };
    let mut words = format!(
        "{phase}: {} records/s, {} behind, epoch {}",
        HumanCount(now.records_per_second as u64),
        HumanCount(u64::try_from(now.lag()).unwrap_or(0)),
        HumanCount(now.epoch),
    );
    if let Some(at) = now.committed_at {
        let ago = (chrono::Utc::now().timestamp_millis() - at).max(0);
        words.push_str(&format!(", committed {}.{} s ago", ago / 1000, ago % 1000 / 100));
    }
    for problem in [&now.source_problem, &now.store_problem].into_iter().flatten() {
        words.push_str(&format!("; {}", problem.text));
    }
    words
}
