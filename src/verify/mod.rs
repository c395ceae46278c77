//! Verification: a plain batch program that computes every document anew from the records, and compares.
//!
//! ```text
//!  store ─► scan of one epoch ─► digests by _id ─┐
//!    │ progress: up to which offsets             ├─► differences
//!  raw_data | Kafka | ndjson ─► admission ─► sums ┘
//! ```
//!
//! It shares with the pipeline the decoder of values, the record types, and the ways in and out; not one line of
//! admission, of a window, a sum or a document's content. What both get wrong in the same way must have been read
//! wrong in the contract.
//!
//! Partitions are read side by side, always the one whose clock is least: so windows are past everywhere at about the
//! same time, are closed, compared and let go. What is kept of records is bounded by the open windows.

mod activity;
mod admission;
mod compare;
mod customers;
mod difference;
mod digest;
mod group_by;
mod input;
mod interest;
mod live;
mod names;
mod numbers;
mod raw;
mod sales;
mod stock;
#[cfg(test)]
mod tests;
mod views;
mod windows;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, SecondsFormat};
use chrono_tz::Tz;
use tillflow_dataflows::group_by::GroupBy;
use tillflow_dataflows::outputs::Selection;
use tillflow_dataflows::records::{Millis, Reason, Topic};

use self::admission::{Change, Partition, Place, Verdict};
use self::compare::{COMPARED, Comparison, besides, comparable_letter};
use self::difference::{Differences, Evidence, fields_that_differ};
use self::input::{Given, Input, RawInput, SourceInput, Span, place_fields, record_id, spans};
use self::names::Names;
use self::raw::{RawCheck, check_row, value_form};
use self::views::{Settled, Views};
use self::windows::text;
use crate::codec::Decoder;
use crate::configuration::Configuration;
use crate::document::{Collection, Document, Fields, Value};
use crate::source::channel::OwnedRecord;
use crate::source::{Source, SourceError};
use crate::store::{Acceptance, Accepted, Origin, Progress, Scanned, StoreError, StoreScan};
use crate::views::file;

pub use self::admission::AdmissionWindows;
pub use self::difference::{Difference, DifferenceKind, FieldDifference};
pub use self::live::Quality;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A setting is wrong (exit code 2).
    #[error("{0}")]
    Settings(String),
    /// Records that the store counts are no longer there (exit code 4).
    #[error("{0}")]
    Lost(String),
}

/// What is to be verified, and how.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// Where the records are; absent: the store's raw_data.
    pub source: Option<&'a dyn Source>,
    /// What decides outcomes.
    pub windows: AdmissionWindows,
    /// What zone-less times are read in.
    pub timezone: Tz,
    /// Whether rows of raw_data are compared when the records come from elsewhere.
    pub raw_data: bool,
    /// How many differences are listed at most.
    pub limit: usize,
}

/// Hears how far it is.
pub trait Watcher {
    /// So many records are going to be read, about.
    fn begin(&mut self, records: u64);
    /// So many more were read.
    fn read(&mut self, records: u64);
    /// Something that is no difference but that one should know.
    fn warn(&mut self, words: &str);
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The instant that was verified.
    pub progress: Progress,
    /// Records that were read, by outcome and reason.
    pub quality: Quality,
    /// Documents of the store, by collection.
    pub compared: Vec<(Collection, u64)>,
    /// Offsets below the committed ones that had no record, rightly so.
    pub gaps: u64,
    /// The first differences, sorted by collection and `_id`.
    pub differences: Vec<Difference>,
    /// How many there are in all.
    pub total: u64,
}

/// Records between two looks for windows that are past, and between two words to the watcher.
const PAUSE: u64 = 4_096;

/// Verifies a store; absent: nothing is committed yet.
pub fn verify(
    store: &mut dyn StoreScan,
    options: &VerifyOptions<'_>,
    watcher: &mut dyn Watcher,
) -> Result<Option<Verification>, VerifyError> {
    // The origin only ever grows with the progress, so it is read after the progress that it has to fit.
    let mut comparison = Comparison::new(options.limit);
    let mut counted = None;
    let json_kept = store.json_kept();
    let from_raw = options.source.is_none();
    let progress = store.scan(&COMPARED, &mut |scanned| match scanned {
        Scanned::Begin => {
            comparison.begin(options.limit);
            counted = None;
        }
        Scanned::Document(mut document) => {
            if document.id == "metric|data_quality" {
                counted = raw::counted(&document.fields);
            }
            if document.collection == Collection::DeadLetters {
                document.fields = letter_form(document.fields, from_raw, json_kept);
            }
            comparison.stored(document);
        }
    })?;
    let Some(progress) = progress else { return Ok(None) };
    let origin = store.origin()?;
    let Some(origin) = origin else {
        return Err(VerifyError::Store(StoreError::Unreadable(String::from(
            "the store has progress but no record of where it began, so it cannot be said which records it counts",
        ))));
    };
    let maintained = check_origin(&origin, options, watcher)?;
    comparison.judge_epochs(&progress);

    let spans = spans(&origin.offsets, &progress.offsets);
    let mut raw_check = None;
    let keeps_raw = !store.is_empty(Collection::RawData)?;
    let mut input: Box<dyn Input> = match options.source {
        Some(source) => {
            if options.raw_data && keeps_raw {
                raw_check = Some(RawCheck::new(json_kept));
            }
            Box::new(SourceInput::open(source, &spans)?)
        }
        None if keeps_raw || spans.is_empty() => Box::new(RawInput::new(&spans)),
        None => {
            return Err(VerifyError::Settings(String::from(
                "the store keeps no raw_data (--raw-data off, or all of it has expired): read the records where they \
                 came from, with --from kafka or --from ndjson:DIR",
            )));
        }
    };
    let records = spans.iter().map(|span| (span.until - span.start).unsigned_abs()).sum();
    watcher.begin(records);

    let mut recomputation = Recomputation::new(&spans, &origin, options, &maintained, json_kept);
    recomputation.run(input.as_mut(), store, &mut comparison, &mut raw_check, watcher)?;
    recomputation.close(&progress, &mut comparison);
    comparison.judge_the_rest(&maintained.passed_over);

    let gaps = input.gaps();
    let read = recomputation.quality.outcomes.iter().sum::<u64>();
    let mut rightly = gaps.offsets;
    if counted.is_some_and(|counted| counted > read) {
        // Topics have offsets without records. These had some.
        rightly = 0;
        for id in gaps.first {
            let evidence = Evidence { note: Some("its record was counted"), ..Evidence::default() };
            comparison.differences.add(Collection::RawData, id, DifferenceKind::Missing, evidence);
        }
    }
    let rows = match &mut raw_check {
        Some(check) => {
            check.look_up(store, &mut comparison)?;
            Some(check.found)
        }
        None => from_raw.then_some(read),
    };
    if let Some(rows) = rows {
        count_raw(store, &spans, &origin.accepted, rows, &mut comparison)?;
    }

    let mut compared: Vec<(Collection, u64)> = comparison.compared().collect();
    compared.extend(rows.map(|rows| (Collection::RawData, rows)));
    let total = comparison.differences.total;
    let form = |fields| letter_form(fields, from_raw, json_kept);
    let differences = resolve(store, comparison.differences, &progress, &form)?;
    let quality = recomputation.quality;
    Ok(Some(Verification { progress, quality, compared, gaps: rightly, differences, total }))
}

/// Rows of raw_data that are not the one of their offset would be met by no look-up; a count meets them. Rows of records
/// that were given up before they were counted are what an interrupted run left, and count as little as they.
fn count_raw(
    store: &mut dyn StoreScan,
    spans: &[Span],
    accepted: &[Accepted],
    found: u64,
    comparison: &mut Comparison,
) -> Result<(), VerifyError> {
    let mut rows = 0;
    for span in spans {
        rows += store.raw_below(span.topic, span.partition, span.until)?;
        for Accepted { what, .. } in accepted {
            if let Acceptance::Loss { topic, partition, from, to } = *what
                && (topic, partition) == (span.topic, span.partition)
                && to < span.until
            {
                let given_up = store.raw_below(topic, partition, to + 1)?;
                rows -= given_up.saturating_sub(store.raw_below(topic, partition, from)?).min(rows);
            }
        }
    }
    if rows > found {
        let evidence = Evidence {
            fields: vec![FieldDifference {
                field: String::from("rows below the committed offsets"),
                stored: Some(rows.to_string()),
                expected: Some(format!("{found}, one for each record under its own _id")),
            }],
            ..Evidence::default()
        };
        let id = String::from("(all)");
        comparison.differences.add(Collection::RawData, id, DifferenceKind::Differs, evidence);
    }
    Ok(())
}

/// A dead letter's fields as they are compared. raw_data may have another spelling of a document than the letter.
fn letter_form(fields: Fields, from_raw: bool, json_kept: fn(&str) -> String) -> Fields {
    let named = fields.iter().find_map(|(name, value)| match value {
        Value::Text(text) if name == "reason" => Reason::ALL.into_iter().find(|reason| reason.name() == text),
        _ => None,
    });
    comparable_letter(fields, &|value| match value {
        Value::Bytes(bytes) if from_raw => value_form(named, bytes, json_kept),
        value => value,
    })
}

/// What the store was filled with. Refuses settings other than its own.
fn check_origin(
    origin: &Origin,
    options: &VerifyOptions<'_>,
    watcher: &mut dyn Watcher,
) -> Result<Maintained, VerifyError> {
    let refused = |what: String| {
        VerifyError::Settings(format!("the store was filled with other settings, so other numbers are right: {what}"))
    };
    if let Some(accepted) = origin.accepted.iter().find(|accepted| accepted.cannot_be_read_again()) {
        let (topic, partition) = accepted.what.place();
        return Err(VerifyError::Lost(format!(
            "the store's numbers hold records of {} partition {partition} that others have the offsets of now, as was \
             accepted with {}: neither raw_data nor the source can say what they were",
            topic.name(),
            accepted.what
        )));
    }
    let store = Configuration::parse(&origin.configuration)
        .map_err(|unknown| refused(format!("this version does not understand them: {unknown}")))?;
    let ours = Configuration {
        correction_window: options.windows.correction_window,
        max_future: options.windows.max_future,
        timezone: options.timezone.name().to_owned(),
        // Which views there are is for the store to say: it keeps all that they are made of.
        ..store.clone()
    };
    let differences = ours.differences(&store);
    if !differences.is_empty() {
        return Err(refused(format!("{}; say the same as `run`", differences.join("; "))));
    }
    if let Some(read) = options.source
        && store.source != read.identity()
    {
        let (theirs, ours) = (&store.source, read.identity());
        watcher.warn(&format!("the store was filled from {theirs}, the records are read from {ours}"));
    }
    if !store.added.is_empty() {
        let names = store.added.join(", ");
        watcher.warn(&format!("{names}: views that this program has beside tillflow's own are not verified"));
    }
    let selection = match &store.views {
        None => Selection::all(),
        Some(names) => Selection::of(names.iter().map(String::as_str))
            .map_err(|name| refused(format!("this version does not know its view {name}")))?,
    };
    let file = store.view_file.as_deref().map(|text| file::parse(text, [])).transpose();
    let file = file.map_err(|error| refused(format!("its --view-file cannot be read: {error}")))?;
    Ok(Maintained { selection, file: file.unwrap_or_default(), passed_over: store.added })
}

/// Which documents a store has.
struct Maintained {
    selection: Selection,
    file: Vec<GroupBy>,
    /// The types of documents that nothing is known of.
    passed_over: Vec<String>,
}

/// One partition on its way.
struct Lane {
    span: Span,
    admission: Partition,
    is_over: bool,
}

/// The batch program.
struct Recomputation {
    lanes: Vec<Lane>,
    decoder: Decoder,
    windows: AdmissionWindows,
    names: Names,
    views: Views,
    quality: Quality,
    from_raw: bool,
    json_kept: fn(&str) -> String,
}

impl Recomputation {
    fn new(
        spans: &[Span],
        origin: &Origin,
        options: &VerifyOptions<'_>,
        maintained: &Maintained,
        json_kept: fn(&str) -> String,
    ) -> Recomputation {
        let lane = |span: &Span| {
            let mut admission = Partition::new(span.topic, span.partition, options.windows);
            let late_before = origin.late_before.get(&(span.topic, span.partition));
            late_before.into_iter().for_each(|late_before| admission.begin_at(*late_before));
            Lane { span: *span, admission, is_over: false }
        };
        Recomputation {
            lanes: spans.iter().map(lane).collect(),
            decoder: Decoder::new(options.timezone),
            windows: options.windows,
            names: Names::default(),
            views: Views::new(&maintained.selection, &maintained.file),
            quality: Quality::default(),
            from_raw: options.source.is_none(),
            json_kept,
        }
    }

    fn run(
        &mut self,
        input: &mut dyn Input,
        store: &mut dyn StoreScan,
        comparison: &mut Comparison,
        raw_check: &mut Option<RawCheck>,
        watcher: &mut dyn Watcher,
    ) -> Result<(), VerifyError> {
        let mut read = 0;
        // Always the partition with the least clock; those without one come first.
        let mut next: BinaryHeap<Reverse<(Option<Millis>, usize)>> =
            (0..self.lanes.len()).map(|lane| Reverse((None, lane))).collect();
        while let Some(Reverse((_, lane))) = next.pop() {
            let bound = next.peek().map(|Reverse((clock, _))| *clock);
            loop {
                let Some(given) = input.next(store, lane)? else {
                    self.lanes[lane].is_over = true;
                    break;
                };
                let verdict = self.take(lane, &given.record, comparison);
                let span = &self.lanes[lane].span;
                if let Given { record, stored: Some(stored) } = &given {
                    check_row(span, record, &verdict, stored, comparison);
                } else if let Some(check) = raw_check {
                    check.add(span, &given.record, &verdict, store, comparison)?;
                }
                read += 1;
                if read == PAUSE {
                    watcher.read(std::mem::take(&mut read));
                    let settled = self.settled();
                    self.views
                        .close_windows(settled, false, &self.names, &mut |document| comparison.expected(document));
                }
                let clock = self.lanes[lane].admission.clock();
                if bound.is_some_and(|bound| clock > bound) {
                    next.push(Reverse((clock, lane)));
                    break;
                }
            }
        }
        watcher.read(read);
        Ok(())
    }

    /// Takes a record into the sums.
    fn take(&mut self, lane: usize, record: &OwnedRecord, comparison: &mut Comparison) -> Verdict {
        let Lane { span, admission, .. } = &mut self.lanes[lane];
        let place = Place { partition: span.partition, offset: record.offset };
        let read = record.value.as_deref().map(|value| self.decoder.decode(span.topic, value));
        let views = &mut self.views;
        let mut apply = |change: Change<'_>, names: &mut Names| views.apply(change, names);
        let key = record.key.as_deref();
        let verdict = admission.offer(place, record.timestamp, key, read, &mut self.names, &mut apply);
        if let Some(clock) = admission.clock() {
            self.views.live.advance(clock);
        }
        self.quality.outcomes[verdict.outcome as usize] += 1;
        if let Some(reason) = verdict.reason {
            self.quality.reasons[reason as usize] += 1;
            let span = *span;
            comparison.expected(self.dead_letter(&span, record, reason));
        }
        verdict
    }

    fn dead_letter(&self, span: &Span, record: &OwnedRecord, reason: Reason) -> Document {
        let mut fields = place_fields(span.topic, span.partition, record.offset);
        fields.push(text("reason", reason.name()));
        fields.extend(record.key.clone().map(|key| ("key".into(), Value::Bytes(key))));
        fields.extend(record.value.clone().map(|value| ("value".into(), Value::Bytes(value))));
        fields.extend(record.timestamp.map(|at| ("kafka_timestamp".into(), Value::Time(at))));
        let id = record_id(span.topic, span.partition, record.offset);
        let fields = letter_form(fields, self.from_raw, self.json_kept);
        Document { collection: Collection::DeadLetters, id, fields }
    }

    /// Before which instants no record can change anything any more. A partition that has given a record but has no
    /// clock yet holds everything of its topic open; one that may still give its first does so here, and at the end
    /// does not count.
    fn settled(&self) -> Settled {
        let of = |topic: Topic| {
            let lanes = self.lanes.iter().filter(|lane| lane.span.topic == topic);
            let counting = lanes.filter(|lane| !lane.is_over || lane.admission.has_given());
            let least = counting.map(|lane| lane.admission.clock()).min();
            match least {
                None => Millis::MAX,
                Some(None) => Millis::MIN,
                Some(Some(clock)) => clock - self.windows.correction_window,
            }
        };
        Settled { sales: of(Topic::Sales), activity: of(Topic::UserActivity) }
    }

    /// Gives everything that is left, and judges the progress itself.
    fn close(&mut self, progress: &Progress, comparison: &mut Comparison) {
        let settled = self.settled();
        self.views.close_windows(settled, true, &self.names, &mut |document| comparison.expected(document));
        let partitions = self.lanes.iter().map(|lane| (lane.span.topic, lane.span.partition, &lane.admission));
        let give = &mut |document| comparison.expected(document);
        self.views.close_live(partitions, &self.quality, &self.names, give);
        let as_of = self.views.live.as_of;
        if progress.as_of != as_of {
            let field = FieldDifference {
                field: String::from("as_of"),
                stored: progress.as_of.map(|at| shown_instant(Some(at))),
                expected: as_of.map(|at| shown_instant(Some(at))),
            };
            comparison.wrong(Collection::PipelineState, String::from("progress"), vec![field]);
        }
    }
}

/// An instant to the millisecond, in words.
fn shown_instant(at: Option<Millis>) -> String {
    let instant = at.and_then(DateTime::from_timestamp_millis);
    match (at, instant) {
        (_, Some(instant)) => instant.to_rfc3339_opts(SecondsFormat::Millis, true),
        (Some(at), None) => format!("{at} ms"),
        (None, None) => String::from("none"),
    }
}

/// Looks up, as they are now, the documents of which only the digests are known to differ.
fn resolve(
    store: &mut dyn StoreScan,
    differences: Differences,
    progress: &Progress,
    letter: &dyn Fn(Fields) -> Fields,
) -> Result<Vec<Difference>, VerifyError> {
    let mut resolved = Vec::new();
    for ((collection, id, kind), evidence) in differences.into_first() {
        let Evidence { expected, mut fields, mut note } = evidence;
        if let Some(expected) = expected {
            let found = store.by_id(collection, std::slice::from_ref(&id))?.pop();
            let epoch = found.as_ref().and_then(|document| match document.get("epoch") {
                Some(Value::Int(epoch)) => u64::try_from(*epoch).ok(),
                _ => None,
            });
            match found {
                None => note = Some("it is gone since"),
                Some(_) if epoch.is_some_and(|epoch| epoch > progress.epoch) => note = Some("it has changed since"),
                Some(document) => {
                    let is_letter = collection == Collection::DeadLetters;
                    let form = |fields| if is_letter { letter(fields) } else { fields };
                    let (stored, expected) = (form(document.fields), form(expected));
                    fields.extend(fields_that_differ(&stored, &expected, besides(collection)));
                }
            }
        }
        resolved.push(Difference { collection, id, kind, fields, note });
    }
    Ok(resolved)
}
