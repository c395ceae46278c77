//! `tillflow verify`.

use std::io::{IsTerminal as _, Write as _};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use tillflow_dataflows::records::{Outcome, Reason};

use super::CliError;
use super::options::{AdmissionArgs, KafkaArgs, OnOff, SourceAddress, StoreArgs};
use super::signals::end_at_once;
use super::terminal::bar;
use crate::store::StoreOptions;
use crate::verify::{AdmissionWindows, Difference, FieldDifference, Verification, VerifyOptions, Watcher, verify};

/// How long a store that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most characters of one value that a line shows.
const VALUE_MAX: usize = 200;

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Records {
    RawData,
    Source(SourceAddress),
}

impl FromStr for Records {
    type Err = String;

    fn from_str(text: &str) -> Result<Records, String> {
        match text {
            "raw-data" => Ok(Records::RawData),
            text => text
                .parse()
                .map(Records::Source)
                .map_err(|_| String::from("it is `raw-data`, `kafka`, or `ndjson:` and a folder")),
        }
    }
}

/// Computes every document anew from the records, in a plain batch program, and compares it with the store.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 equal, 1 different.\n\nExamples:\n  \
    tillflow verify\n  \
    tillflow verify --from kafka -b broker:9093 -X security.protocol=SSL\n  \
    tillflow verify --from ndjson:data --store sqlite:shop.sqlite --limit 500")]
pub(super) struct VerifyArgs {
    /// `raw-data` (what the store itself keeps), `kafka`, or `ndjson:DIR`
    #[arg(long, value_name = "RECORDS", default_value = "raw-data")]
    from: Records,
    /// With ndjson: lines name their partition, offset, timestamp and key
    #[arg(long)]
    envelope: bool,
    /// With kafka and ndjson: compare raw_data too, if there is any; off where rows of it have expired
    #[arg(long, value_enum, default_value = "on")]
    raw_data: OnOff,
    /// List so many differences at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    admission: AdmissionArgs,
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Different,
}

/// Shows how far it is.
struct Shown {
    bar: Option<ProgressBar>,
}

impl Watcher for Shown {
    fn begin(&mut self, records: u64) {
        // -q hides everything but errors.
        if std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::WARN) {
            self.bar = Some(bar(Some(records), "verifying"));
        }
    }

    fn read(&mut self, records: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(records);
        }
    }

    fn warn(&mut self, words: &str) {
        tracing::warn!("{}", shown(words));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<Verdict, CliError> {
    if args.envelope && !matches!(args.from, Records::Source(SourceAddress::Ndjson(_))) {
        return Err(CliError::Settings(String::from("--envelope goes with --from ndjson:DIR only")));
    }
    end_at_once("stopped by a signal; the verification is not complete")?;
    let address = args.store.address()?;
    let source = match &args.from {
        Records::RawData => None,
        Records::Source(from) => Some(from.open(&args.kafka, args.envelope, args.admission.timezone)?),
    };
    let settings = args.admission.settings();
    let options = VerifyOptions {
        source: source.as_deref(),
        windows: AdmissionWindows { correction_window: settings.correction_window, max_future: settings.max_future },
        timezone: args.admission.timezone,
        raw_data: args.raw_data == OnOff::On,
        limit: args.limit,
    };
    let mut store = address.open_scan(StoreOptions { timeout: PATIENCE, ..StoreOptions::default() })?;
    let mut watcher = Shown { bar: None };
    let verified = verify(store.as_mut(), &options, &mut watcher)?;
    drop(watcher);
    let Some(verification) = verified else {
        print(match args.json {
            true => "{\"epoch\":null,\"total\":0,\"differences\":[]}\n",
            false => "nothing is committed yet, so there is nothing to verify\n",
        })?;
        return Ok(Verdict::Equal);
    };
    print(&match args.json {
        true => json(&verification),
        false => lines(&verification),
    })?;
    Ok(if verification.total == 0 { Verdict::Equal } else { Verdict::Different })
}

fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read it has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| CliError::System(format!("writing to standard output: {error}"))),
    }
}

/// A line for each difference, and one that sums up.
fn lines(verification: &Verification) -> String {
    let mut text = String::new();
    for difference in &verification.differences {
        text.push_str(&line(difference));
        text.push('\n');
    }
    let listed = verification.differences.len() as u64;
    if verification.total > listed {
        text.push_str(&format!("... and {} more\n", verification.total - listed));
    }
    text.push_str(&summary(verification));
    text.push('\n');
    text
}

fn line(difference: &Difference) -> String {
    let Difference { collection, id, kind, fields, note } = difference;
    let mut line = format!("{} {} {}", kind.name(), collection.name(), shown(id));
    let words = |value: &Option<String>| value.as_deref().map_or_else(|| String::from("nothing"), shown);
    for (place, FieldDifference { field, stored, expected }) in fields.iter().enumerate() {
        line.push_str(if place == 0 { ": " } else { "; " });
        line.push_str(&format!("{} stored {}, expected {}", shown(field), words(stored), words(expected)));
    }
    if let Some(note) = note {
        line.push_str(&format!(" ({note})"));
    }
    line
}

fn summary(verification: &Verification) -> String {
    let Verification { progress, quality, compared, gaps, total, .. } = verification;
    let records: u64 = quality.outcomes.iter().sum();
    let outcomes: Vec<String> = Outcome::ALL
        .iter()
        .zip(quality.outcomes)
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| format!("{count} {}", outcome.name()))
        .collect();
    let outcomes = if outcomes.is_empty() { String::new() } else { format!(" ({})", outcomes.join(", ")) };
    let compared: Vec<String> =
        compared.iter().map(|(collection, count)| format!("{count} of {}", collection.name())).collect();
    let gaps = match gaps {
        0 => String::new(),
        gaps => format!("; {gaps} offsets without a record"),
    };
    let differences = match total {
        0 => String::from("equal"),
        1 => String::from("1 difference"),
        total => format!("{total} differences"),
    };
    format!(
        "epoch {}: {records} records{outcomes}{gaps}; documents compared: {}; {differences}",
        progress.epoch,
        compared.join(", ")
    )
}

/// The same for programs.
fn json(verification: &Verification) -> String {
    let counts = |names: &mut dyn Iterator<Item = (&'static str, u64)>| -> serde_json::Value {
        names.map(|(name, count)| (name.to_owned(), count.into())).collect::<serde_json::Map<_, _>>().into()
    };
    let differences: Vec<serde_json::Value> = verification
        .differences
        .iter()
        .map(|Difference { collection, id, kind, fields, note }| {
            let fields: Vec<serde_json::Value> = fields
                .iter()
                .map(|FieldDifference { field, stored, expected }| {
                    serde_json::json!({ "field": field, "stored": stored, "expected": expected })
                })
                .collect();
            serde_json::json!({
                "kind": kind.name(), "collection": collection.name(), "_id": id, "fields": fields, "note": note
            })
        })
        .collect();
    let quality = &verification.quality;
    let value = serde_json::json!({
        "epoch": verification.progress.epoch,
        "total": verification.total,
        "differences": differences,
        "outcomes": counts(&mut Outcome::ALL.iter().map(|it| it.name()).zip(quality.outcomes)),
        "reasons": counts(&mut Reason::ALL.iter().map(|it| it.name()).zip(quality.reasons)),
        "gaps": verification.gaps,
        "compared": counts(&mut verification.compared.iter().map(|(collection, count)| (collection.name(), *count))),
    });
    format!("{value}\n")
}

/// Text that may come from the stream, on one line of bounded length and without anything that a terminal obeys.
fn shown(text: &str) -> String {
    let mut line = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == VALUE_MAX {
            line.push('…');
            break;
        }
        // What `Debug` would escape, but for quotes and the backslashes that `_id`s are written with.
        match character {
            '"' | '\'' | '\\' => line.push(character),
            other => line.extend(other.escape_debug()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::records::Topic;

    use super::*;
    use crate::document::Collection;
    use crate::store::{Offsets, Progress};
    use crate::verify::{DifferenceKind, Quality};

    #[test]
    fn foreign_text_is_one_harmless_line() {
        assert_eq!(shown("a\\|b \"c\" é"), "a\\|b \"c\" é");
        assert_eq!(shown("\u{1b}[31m\n\u{202e}\u{0}"), "\\u{1b}[31m\\n\\u{202e}\\0");
        assert_eq!(shown(&"x".repeat(VALUE_MAX + 1)).chars().count(), VALUE_MAX + 1);
    }

    #[test]
    fn every_difference_is_a_line_and_the_last_line_sums_up() {
        let field = FieldDifference { field: "units".into(), stored: Some("1\n".into()), expected: None };
        let difference = Difference {
            collection: Collection::AggregatedData,
            id: "sales_total|day|2024-01-15T00:00:00Z".into(),
            kind: DifferenceKind::Differs,
            fields: vec![field],
            note: None,
        };
        let progress = Progress {
            epoch: 7,
            as_of: None,
            offsets: Offsets::from([((Topic::Sales, 0), 1)]),
            committed_at: None,
            instance: String::new(),
            fence: 1,
        };
        let mut quality = Quality::default();
        quality.outcomes[Outcome::Late as usize] = 3;
        let verification = Verification {
            progress,
            quality,
            compared: vec![(Collection::AggregatedData, 9)],
            gaps: 0,
            differences: vec![difference],
            total: 2,
        };
        assert_eq!(
            lines(&verification),
            "differs aggregated_data sales_total|day|2024-01-15T00:00:00Z: units stored 1\\n, expected nothing\n\
             ... and 1 more\n\
             epoch 7: 3 records (3 late); documents compared: 9 of aggregated_data; 2 differences\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&verification)).expect("JSON");
        assert_eq!(value["differences"][0]["fields"][0]["stored"], "1\n");
    }
}
