//! What the generator says a record is, decoding and admission find it to be.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use tillflow::codec::Decoder;
use tillflow::generate::{GeneratedRecord, Generator, GeneratorOptions, Kind, NdjsonSink, Pace, Shares};
use tillflow::partitioner::murmur2_partition;
use tillflow::source::ndjson::NdjsonSource;
use tillflow::source::{Assignment, RawRecord, Source as _};
use tillflow_dataflows::admission::{AdmissionSettings, Decision, Partition, Reading};
use tillflow_dataflows::records::{Outcome, Reason, Topic};

const START: i64 = 1_767_225_600_000;
const PARTITIONS: i32 = 3;
const HOUR: i64 = 3_600_000;

/// The contract's default windows.
const SETTINGS: AdmissionSettings = AdmissionSettings { correction_window: 48 * HOUR, max_future: HOUR / 6 };

/// Admission of every partition, with nothing behind it.
#[derive(Default)]
struct Pipeline {
    partitions: BTreeMap<(Topic, i32), Partition>,
}

impl Pipeline {
    fn take(&mut self, topic: Topic, number: i32, record: RawRecord<'_>) -> Decision {
        let partition =
            self.partitions.entry((topic, number)).or_insert_with(|| Partition::new(topic, number, SETTINGS));
        let decoded = record.value.map(|value| Decoder::new(Tz::UTC).decode(topic, value));
        let reading = match &decoded {
            None => Reading::Tombstone(record.key),
            Some(Ok(record)) => record.into(),
            Some(Err(rejection)) => Reading::Unreadable(rejection.reason),
        };
        partition.admit(reading, record.offset, record.timestamp, &mut |_| {})
    }
}

fn partition_of(record: &GeneratedRecord) -> i32 {
    murmur2_partition(record.key.as_deref().unwrap_or_default(), PARTITIONS)
}

fn expected(record: &GeneratedRecord) -> Decision {
    let reason = match record.kind {
        Kind::Corrupt(reason) => Some(reason),
        Kind::Late => Some(Reason::Late),
        _ => None,
    };
    Decision { outcome: record.kind.outcome(), reason }
}

fn records(pace: Pace, shares: Shares, count: usize) -> impl Iterator<Item = GeneratedRecord> {
    let options = GeneratorOptions { shares, ..GeneratorOptions::new(21, START, pace) };
    Generator::new(options).expect("valid options").take(count)
}

#[test]
fn every_record_becomes_what_it_was_made_to_become() {
    for (pace, shares, count) in [
        (Pace::Daily { per_second: 200.0 }, Shares::default(), 200_000),
        (
            Pace::Daily { per_second: 0.5 },
            Shares { duplicates: 0.1, corrections: 0.1, cancellations: 0.05, late: 0.05, corrupt: 0.2 },
            150_000,
        ),
        (Pace::Steady { per_second: 30_000.0 }, Shares { corrupt: 0.3, ..Shares::default() }, 100_000),
    ] {
        let mut pipeline = Pipeline::default();
        let mut offsets: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
        let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
        for record in records(pace, shares, count) {
            let place = (record.topic, partition_of(&record));
            let offset = offsets.entry(place).or_default();
            let GeneratedRecord { key, value, timestamp, .. } = &record;
            let (key, value) = (key.as_deref(), value.as_deref());
            let raw = RawRecord { offset: *offset, timestamp: Some(*timestamp), key, value };
            *offset += 1;
            let decision = pipeline.take(place.0, place.1, raw);
            let shown = || value.map(String::from_utf8_lossy);
            assert_eq!(decision, expected(&record), "{:?} in {:?}: {:?}", record.kind, place, shown());
            *outcomes.entry(decision.outcome).or_default() += 1;
        }
        assert_eq!(outcomes.len(), Outcome::ALL.len(), "{outcomes:?}");
    }
}

/// What a record is in a file and out of it: all but its offset.
type Whole = (Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Everything that the source finds in a folder, by partition, and what becomes of it.
fn read_folder(folder: &Path, envelope: bool) -> BTreeMap<(Topic, i32), Vec<(Whole, Decision)>> {
    let source = NdjsonSource::new(folder, envelope, Tz::UTC);
    let partitions = source.discover().expect("readable");
    let assignments: Vec<Assignment> = partitions
        .iter()
        .map(|found| Assignment { topic: found.topic, partition: found.partition, start: found.low })
        .collect();
    let mut reader = source.open(&assignments).expect("readable");
    let mut pipeline = Pipeline::default();
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    for (index, assignment) in assignments.iter().enumerate() {
        while !reader.position(index).at_end {
            assert!(Instant::now() < deadline, "the source gives nothing more");
            let mut give = |record: RawRecord<'_>| {
                let whole = (record.timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                let decision = pipeline.take(assignment.topic, assignment.partition, record);
                found.entry((assignment.topic, assignment.partition)).or_default().push((whole, decision));
            };
            if reader.poll(index, 1_000, i64::MAX, &mut give).expect("readable") == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    found
}

const TROUBLE: Shares = Shares { duplicates: 0.1, corrections: 0.1, cancellations: 0.05, late: 0.05, corrupt: 0.2 };

#[test]
fn a_file_of_envelopes_is_read_as_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = NdjsonSink::create(folder.path(), true).expect("new files");
    let mut written: BTreeMap<(Topic, i32), Vec<(Whole, Decision)>> = BTreeMap::new();
    for record in records(Pace::Daily { per_second: 50.0 }, TROUBLE, 50_000) {
        assert!(sink.write(&record).expect("written"));
        let decision = expected(&record);
        let place = (record.topic, partition_of(&record));
        written.entry(place).or_default().push(((Some(record.timestamp), record.key, record.value), decision));
    }
    sink.flush().expect("flushed");
    let found = read_folder(folder.path(), true);
    assert_eq!(found.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (place, written) in &written {
        assert_eq!(found[place].len(), written.len(), "{place:?}");
        for (offset, (found, written)) in found[place].iter().zip(written).enumerate() {
            assert_eq!(found, written, "{place:?} at {offset}");
        }
    }
}

#[test]
fn a_file_of_plain_lines_has_the_outcomes_of_what_it_can_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sink = NdjsonSink::create(folder.path(), false).expect("new files");
    let shares = Shares { cancellations: 0.0, ..TROUBLE };
    let mut written: BTreeMap<(Outcome, Option<Reason>), u64> = BTreeMap::new();
    for record in records(Pace::Daily { per_second: 50.0 }, shares, 50_000) {
        if sink.write(&record).expect("written") {
            let Decision { outcome, reason } = expected(&record);
            *written.entry((outcome, reason)).or_default() += 1;
        }
    }
    sink.flush().expect("flushed");
    let mut found: BTreeMap<(Outcome, Option<Reason>), u64> = BTreeMap::new();
    for (_, Decision { outcome, reason }) in read_folder(folder.path(), false).into_values().flatten() {
        *found.entry((outcome, reason)).or_default() += 1;
    }
    assert_eq!(found, written);
}
