//! The freshness line: where the pipeline stands, in words. It never scrolls away.

use super::Context;
use crate::dashboard::format::{count, duration};
use crate::dashboard::rows::Record as _;
use crate::status::{PartitionStatus, Phase};

/// Data that are behind by less than this are live, whatever still waits.
const LIVE_WITHIN: i64 = 5_000;
/// With records waiting and nothing committed for this long, something is stuck.
const STALLED_AFTER: i64 = 60_000;
/// Where the pipeline runs elsewhere, it is taken to stand still after this long without a commit.
const SILENT_AFTER: i64 = 60_000;

/// The line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// Its class: `live`, `busy`, `delayed`, `stalled` or `waiting`.
    pub class: &'static str,
    /// A sign beside the word: colour is never the only one.
    pub symbol: &'static str,
    /// The state.
    pub word: &'static str,
    /// What about it.
    pub about: String,
    /// Numbers.
    pub facts: Vec<String>,
    /// Whether the data are made up.
    pub demo: bool,
}

/// The line for this moment, over numbers of `epoch`.
pub fn line(context: &Context<'_>, epoch: u64) -> StatusLine {
    let (class, symbol, word, about) = state(context);
    StatusLine { class, symbol, word, about, facts: facts(context, epoch), demo: context.status.demo }
}

fn state(context: &Context<'_>) -> (&'static str, &'static str, &'static str, String) {
    let status = &context.status;
    let clock = context.clock;
    let stalled = |about| ("stalled", "■", "STALLED", about);
    if let Some(problem) = status.source_problem.as_ref().or(status.store_problem.as_ref()) {
        return stalled(format!("since {}: {}", clock.time(problem.since), problem.text));
    }
    let data = context
        .snapshot
        .as_of()
        .map_or_else(|| "no data yet".to_owned(), |as_of| format!("data through {}", clock.full(as_of)));
    if context.settings.read_only {
        let committed = context.snapshot.progress.as_ref().and_then(|progress| progress.committed_at);
        return match committed {
            None => ("waiting", "○", "WAITING", "nothing is committed in this store yet".to_owned()),
            Some(committed) => {
                // In whole minutes, so that the line does not change at every look.
                let silent = context.now.saturating_sub(committed) / 60_000 * 60_000;
                if silent >= SILENT_AFTER {
                    stalled(format!("{data}; no new commit for {}", duration(silent)))
                } else {
                    ("live", "●", "LIVE", data)
                }
            }
        };
    }
    match status.phase {
        Phase::Starting => ("waiting", "○", "STARTING", "connecting to the source and the store".to_owned()),
        Phase::Rebuilding => (
            "busy",
            "◐",
            "REBUILDING",
            format!("reading again what is committed{}", progress(&status.partitions, status.records_per_second)),
        ),
        Phase::CatchingUp => ("busy", "◐", "CATCHING UP", catching_up(context, &data)),
        Phase::Stopping => ("waiting", "‖", "STOPPING", format!("committing what was read; {data}")),
        Phase::Live => {
            let silent = status.committed_at.map_or(0, |committed| context.now.saturating_sub(committed));
            let holder = status
                .partitions
                .iter()
                .max_by_key(|partition| partition.lag())
                .filter(|partition| partition.lag() > Some(0));
            match holder {
                Some(_) if silent >= STALLED_AFTER => stalled(format!(
                    "{data}; records wait, but nothing was committed for {}",
                    duration(silent / 10_000 * 10_000)
                )),
                Some(holder) if silent >= LIVE_WITHIN => {
                    let lag = holder.lag().unwrap_or(0);
                    let about = format!(
                        "{}[{}] is {} records behind; {data}",
                        holder.topic.name(),
                        holder.partition,
                        count(i128::from(lag))
                    );
                    ("delayed", "▲", "DELAYED", about)
                }
                _ => ("live", "●", "LIVE", data),
            }
        }
    }
}

/// ` (38 %, about 2 min left)`, as far as the ends are known.
fn progress(partitions: &[PartitionStatus], rate: f64) -> String {
    let (mut read, mut there) = (0i128, 0i128);
    for partition in partitions {
        if let Some(end) = partition.end {
            read += i128::from(partition.position.min(end));
            there += i128::from(end);
        }
    }
    if there == 0 {
        return String::new();
    }
    let left = there - read;
    let mut text = format!(" ({} %", read * 100 / there);
    if rate.is_finite() && rate >= 1.0 && left > 0 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a rough length of time; the cast saturates"
        )]
        let millis = (left as f64 / rate * 1_000.0) as i64;
        text.push_str(&format!(", about {} left", duration(millis.max(1_000) / 1_000 * 1_000)));
    }
    text.push(')');
    text
}

fn catching_up(context: &Context<'_>, data: &str) -> String {
    let status = &context.status;
    let progress = progress(&status.partitions, status.records_per_second);
    format!("{}; {data}", progress.trim_start_matches(" (").trim_end_matches(')')).trim_start_matches("; ").to_owned()
}

fn facts(context: &Context<'_>, epoch: u64) -> Vec<String> {
    let status = &context.status;
    let mut facts = Vec::new();
    if !context.settings.read_only {
        if let (Some(committed), Some(newest)) = (status.committed_at, status.newest_record)
            && status.phase == Phase::Live
            && committed >= newest
        {
            facts.push(format!("committed {} after the newest record", duration(committed - newest)));
        }
        let lag = status.lag();
        if lag > 0 {
            facts.push(format!("{} records to read", count(i128::from(lag))));
        }
        if status.records_per_second.is_finite() && status.records_per_second >= 0.5 {
            #[expect(clippy::cast_possible_truncation, reason = "a rate of records is far below 2^63")]
            facts.push(format!("{} rec/s", count(status.records_per_second.round() as i128)));
        }
    }
    if !context.snapshot.is_empty() {
        facts.push(format!("epoch {epoch}"));
    }
    let letters: i64 = context
        .snapshot
        .metric("data_quality")
        .and_then(|metric| metric.document("reasons"))
        .map_or(0, |reasons| reasons.iter().filter_map(|(name, _)| reasons.count(name)).sum());
    if context.snapshot.metric("data_quality").is_some() {
        facts.push(format!("{} dead letter{}", count(i128::from(letters)), if letters == 1 { "" } else { "s" }));
    }
    facts
}
