//! The last record of each partition, known again by its fingerprint: a topic that was created anew has offsets that
//! say nothing about whether its records are the ones that the store counts.

use std::collections::BTreeSet;

use tillflow_dataflows::records::{Millis, Topic};

use crate::source::channel::OwnedRecord;
use crate::source::{Assignment, PartitionInfo, RawRecord, Source, SourceError};
use crate::store::{Fingerprints, Offsets};

/// Bytes of a record whose room is kept for the next one.
const ROOM: usize = 64 << 10;

/// A copy of the last record of a partition. Copying each record costs less than hashing each, and only the last one
/// of a tick is hashed.
#[derive(Debug, Default)]
pub(super) struct LastRecord {
    timestamp: Option<Millis>,
    key: Option<usize>,
    value: Option<usize>,
    /// The key, then the value.
    bytes: Vec<u8>,
}

impl LastRecord {
    /// Takes the place of the record before.
    pub(super) fn remember(&mut self, record: RawRecord<'_>) {
        self.timestamp = record.timestamp;
        self.key = record.key.map(<[u8]>::len);
        self.value = record.value.map(<[u8]>::len);
        self.bytes.clear();
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.value.unwrap_or_default());
    }

    /// The fingerprint's CRC-32: of the timestamp, of the lengths of key and value where there is one, and of their
    /// bytes.
    pub(super) fn crc(&mut self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let mut number = |number: Option<i64>| {
            hasher.update(&[u8::from(number.is_some())]);
            hasher.update(&number.unwrap_or_default().to_le_bytes());
        };
        let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        number(self.timestamp);
        number(self.key.map(length));
        number(self.value.map(length));
        hasher.update(&self.bytes);
        if self.bytes.capacity() > ROOM {
            self.bytes = Vec::new();
        }
        hasher.finalize()
    }
}

fn crc(record: &OwnedRecord) -> u32 {
    let mut last = LastRecord::default();
    let OwnedRecord { offset, timestamp, key, value } = record;
    last.remember(RawRecord { offset: *offset, timestamp: *timestamp, key: key.as_deref(), value: value.as_deref() });
    last.crc()
}

/// Those that tell of records that are counted: a crash within a commit without transactions can leave others.
pub(super) fn counted(mut fingerprints: Fingerprints, committed: &Offsets) -> Fingerprints {
    fingerprints.retain(|place, fingerprint| committed.get(place).is_some_and(|next| fingerprint.offset < *next));
    fingerprints
}

/// The partitions that have another record where the last counted one was. Where there is none, because it has expired
/// or was compacted away, nothing is known, and nothing is said.
pub(super) fn find_other_records(
    source: &dyn Source,
    partitions: &[PartitionInfo],
    fingerprints: &Fingerprints,
) -> Result<BTreeSet<(Topic, i32)>, SourceError> {
    let mut places = Vec::new();
    let mut expected = Vec::new();
    for PartitionInfo { topic, partition, low, high } in partitions {
        if let Some(fingerprint) = fingerprints.get(&(*topic, *partition))
            && *low <= fingerprint.offset
            && high.is_none_or(|high| fingerprint.offset < high)
        {
            places.push(Assignment { topic: *topic, partition: *partition, start: fingerprint.offset });
            expected.push(fingerprint.crc);
        }
    }
    if places.is_empty() || crate::fault::mutant("no_fingerprint") {
        return Ok(BTreeSet::new());
    }
    let found = source.records_at(&places)?;
    let others = places.iter().zip(expected).zip(found);
    Ok(others
        .filter(|((_, expected), found)| found.as_ref().is_some_and(|found| crc(found) != *expected))
        .map(|((place, _), _)| (place.topic, place.partition))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{PartitionInfo, Reader};
    use crate::store::Fingerprint;

    fn record(timestamp: Option<Millis>, key: Option<&str>, value: Option<&str>) -> OwnedRecord {
        let bytes = |text: &str| text.as_bytes().to_vec();
        OwnedRecord { offset: 7, timestamp, key: key.map(bytes), value: value.map(bytes) }
    }

    #[test]
    fn each_part_of_a_record_tells() {
        let records = [
            record(Some(1), Some("ab"), Some("c")),
            record(Some(2), Some("ab"), Some("c")),
            record(None, Some("ab"), Some("c")),
            record(Some(1), Some("a"), Some("bc")),
            record(Some(1), Some("abc"), Some("")),
            record(Some(1), Some("abc"), None),
            record(Some(1), None, Some("abc")),
            record(Some(1), Some(""), Some("abc")),
            record(Some(0), None, None),
            record(None, None, None),
        ];
        let crcs: BTreeSet<u32> = records.iter().map(crc).collect();
        assert_eq!(crcs.len(), records.len());
        // As it was at first: stores of other versions have it.
        assert_eq!(crc(&records[0]), CRC_OF_THE_FIRST);
        assert_eq!(crc(&records[0]), crc(&OwnedRecord { offset: 8, ..records[0].clone() }));
    }

    /// By another implementation: Python's `zlib.crc32`.
    const CRC_OF_THE_FIRST: u32 = 0x9a39_faf4;

    /// A source that holds one record.
    struct One(Option<OwnedRecord>);

    impl Source for One {
        fn identity(&self) -> String {
            String::from("one")
        }

        fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
            Ok(vec![PartitionInfo { topic: Topic::Sales, partition: 0, low: 5, high: Some(9) }])
        }

        fn open(&self, _: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
            Err(SourceError::Settings(String::from("it is not to be opened")))
        }

        fn records_at(&self, places: &[Assignment]) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
            Ok(places.iter().map(|_| self.0.clone()).collect())
        }
    }

    #[test]
    fn only_another_record_in_its_place_is_another_record() {
        let known = record(Some(1), None, Some("x"));
        let place = (Topic::Sales, 0);
        let others = |found: Option<OwnedRecord>, offset: i64| {
            let source = One(found);
            let fingerprints = Fingerprints::from([(place, Fingerprint { offset, crc: crc(&known) })]);
            find_other_records(&source, &source.discover().unwrap(), &fingerprints).unwrap()
        };
        assert!(others(Some(known.clone()), 7).is_empty());
        assert!(others(None, 7).is_empty());
        assert_eq!(others(Some(record(Some(1), None, Some("y"))), 7), BTreeSet::from([place]));
        // Below the first one, and beyond the last.
        assert!(others(Some(record(Some(1), None, Some("y"))), 4).is_empty());
        assert!(others(Some(record(Some(1), None, Some("y"))), 9).is_empty());
        assert!(find_other_records(&One(None), &[], &Fingerprints::new()).unwrap().is_empty());
    }

    #[test]
    fn a_fingerprint_that_is_ahead_tells_nothing() {
        let place = (Topic::Sales, 0);
        let fingerprints = |offset| Fingerprints::from([(place, Fingerprint { offset, crc: 1 })]);
        assert_eq!(counted(fingerprints(6), &Offsets::from([(place, 7)])), fingerprints(6));
        assert!(counted(fingerprints(7), &Offsets::from([(place, 7)])).is_empty());
        assert!(counted(fingerprints(7), &Offsets::new()).is_empty());
    }
}
