//! Files of newline-delimited JSON: `user_activity.ndjson`, `sales.ndjson` and `inventory.ndjson` in one folder.
//!
//! Plain: a line is a record's value; its Kafka timestamp is its event time; its partition, of three, is where
//! Kafka's own clients would put its key field. Lines end with LF or CR LF; one of no bytes is no record. A line that cannot be read goes to partition 0 without a timestamp.
//! With an envelope: the line names partition, offset, timestamp, key and value. An offset that is absent is the
//! line's turn in its partition. A file that is absent is a topic without records.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::value::RawValue;
use tillflow_dataflows::records::Topic;

use super::channel::{ChannelReader, Feed, OwnedRecord, partition};
use super::{Assignment, PartitionInfo, Reader, Source, SourceError};
use crate::codec::{Decoder, Record};
use crate::partitioner::murmur2_partition;

/// How many partitions a plain file stands for.
const PLAIN_PARTITIONS: i32 = 3;

/// How many records are handed over at once.
const BATCH: usize = 512;

/// The longest line that is read, newline included: a record of Kafka's usual limit, with room for its envelope and
/// base64. A longer one ends the run, because skipping it would shift every offset after it.
const LONGEST_LINE: usize = 64 << 20;

/// The source of a folder.
pub struct NdjsonSource {
    folder: PathBuf,
    envelope: bool,
    decoder: Decoder,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    partition: i32,
    offset: Option<i64>,
    timestamp_ms: Option<i64>,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
}

impl NdjsonSource {
    /// A source over a folder. `timezone` is what zone-less times are read in.
    pub fn new(folder: &Path, envelope: bool, timezone: Tz) -> NdjsonSource {
        NdjsonSource { folder: folder.to_path_buf(), envelope, decoder: Decoder::new(timezone) }
    }

    fn path(&self, topic: Topic) -> PathBuf {
        self.folder.join(format!("{}.ndjson", topic.name()))
    }

    /// Runs over a topic's records: partition, whether the line gives the offset, and the record.
    fn scan(
        &self,
        topic: Topic,
        mut give: impl FnMut(i32, OwnedRecord) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let path = self.path(topic);
        let failed = |error: std::io::Error| SourceError::Unavailable(format!("reading {}: {error}", path.display()));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let mut line = Vec::new();
        let mut number = 0u64;
        let mut turns: HashMap<i32, i64> = HashMap::new();
        loop {
            line.clear();
            let read =
                std::io::Read::take(&mut lines, LONGEST_LINE as u64).read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            let fault = |problem: String| {
                Err(SourceError::Unavailable(format!("reading {} line {number}: {problem}", path.display())))
            };
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if read == LONGEST_LINE {
                return fault(format!("longer than {LONGEST_LINE} bytes"));
            }
            let (partition, offset, mut record) = if self.envelope {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                match open_envelope(&line) {
                    Ok(opened) => opened,
                    Err(problem) => return fault(problem),
                }
            } else {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                if line.is_empty() {
                    continue;
                }
                let (partition, record) = self.plain(topic, &line);
                (partition, None, record)
            };
            let turn = turns.entry(partition).or_insert(0);
            record.offset = offset.unwrap_or(*turn);
            if record.offset < *turn {
                return fault(format!("offset {} of partition {partition} is not after the one before", record.offset));
            }
            *turn = record.offset + 1;
            if !give(partition, record)? {
                return Ok(());
            }
        }
    }

    fn plain(&self, topic: Topic, line: &[u8]) -> (i32, OwnedRecord) {
        let (key, timestamp) = match self.decoder.decode(topic, line) {
            Ok(Record::Sale(sale)) => (Some(sale.transaction_id), Some(sale.timestamp)),
            Ok(Record::Activity(activity)) => (Some(activity.user_id), Some(activity.timestamp)),
            Ok(Record::StockLevel(level)) => (Some(level.product_id), Some(level.last_updated)),
            Err(_) => (None, None),
        };
        let partition = key.as_ref().map_or(0, |key| murmur2_partition(key.as_bytes(), PLAIN_PARTITIONS));
        let key = key.map(|key| key.as_bytes().to_vec());
        (partition, OwnedRecord { offset: 0, timestamp, key, value: Some(line.to_vec()) })
    }
}

fn open_envelope(line: &[u8]) -> Result<(i32, Option<i64>, OwnedRecord), String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| format!("not an envelope: {error}"))?;
    let bytes = |field: &str, text: &str| {
        BASE64_STANDARD.decode(text).map_err(|error| format!("{field} is not base64: {error}"))
    };
    let key = match (envelope.key, envelope.key_base64) {
        (Some(_), Some(_)) => return Err(String::from("both key and key_base64")),
        (Some(key), None) => Some(key.into_bytes()),
        (None, Some(key)) => Some(bytes("key_base64", &key)?),
        (None, None) => None,
    };
    let value = match (envelope.value, envelope.value_base64) {
        (Some(_), Some(_)) => return Err(String::from("both value and value_base64")),
        (Some(value), None) => Some(value.get().as_bytes().to_vec()),
        (None, Some(value)) => Some(bytes("value_base64", &value)?),
        (None, None) => None,
    };
    if envelope.partition < 0 || envelope.offset.is_some_and(|offset| !(0..i64::MAX).contains(&offset)) {
        return Err(String::from("partition and offset are from 0 to 2^63 - 2"));
    }
    let timestamp = envelope.timestamp_ms.filter(|millis| *millis >= 0);
    Ok((envelope.partition, envelope.offset, OwnedRecord { offset: 0, timestamp, key, value }))
}

impl Source for NdjsonSource {
    fn identity(&self) -> String {
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        format!("ndjson {}{}", folder.display(), if self.envelope { " (envelope)" } else { "" })
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        if !self.folder.is_dir() {
            return Err(SourceError::Unavailable(format!(
                "reading {}: no such folder; it should hold sales.ndjson, user_activity.ndjson, inventory.ndjson",
                self.folder.display()
            )));
        }
        let mut partitions = Vec::new();
        for topic in Topic::ALL {
            let mut ends: std::collections::BTreeMap<i32, i64> =
                (0..PLAIN_PARTITIONS).map(|number| (number, 0)).collect();
            self.scan(topic, |partition, record| {
                ends.insert(partition, record.offset + 1);
                Ok(true)
            })?;
            partitions.extend(ends.into_iter().map(|(partition, high)| PartitionInfo {
                topic,
                partition,
                low: 0,
                high: Some(high),
            }));
        }
        Ok(partitions)
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let mut queues = Vec::new();
        for assignment in assignments.iter().copied() {
            let (feed, queue) = partition();
            queues.push((queue, assignment.start));
            let source = NdjsonSource { folder: self.folder.clone(), envelope: self.envelope, decoder: self.decoder };
            // A thread for each partition: one that fed several would stand still for all when one is full.
            std::thread::Builder::new()
                .name(format!("tillflow-read-{}", assignment.topic.name()))
                .spawn(move || source.feed(assignment, &feed))
                .map_err(|error| SourceError::Unavailable(format!("starting a thread: {error}")))?;
        }
        Ok(Box::new(ChannelReader::new(queues, false)))
    }

    /// One pass over each file, where readers would make one for each partition.
    fn records_at(&self, places: &[Assignment]) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
        let mut found = vec![None; places.len()];
        for topic in Topic::ALL {
            let of_topic = places.iter().enumerate().filter(|(_, place)| place.topic == topic);
            let mut wanted: HashMap<(i32, i64), usize> =
                of_topic.map(|(index, place)| ((place.partition, place.start), index)).collect();
            if wanted.is_empty() {
                continue;
            }
            self.scan(topic, |partition, record| {
                if let Some(index) = wanted.remove(&(partition, record.offset)) {
                    found[index] = Some(record);
                }
                Ok(!wanted.is_empty())
            })?;
        }
        Ok(found)
    }
}

impl NdjsonSource {
    /// Hands a partition's records to its reader, until the file or the reader ends.
    fn feed(&self, assignment: Assignment, feed: &Feed) {
        let mut batch = Vec::with_capacity(BATCH);
        let result = self.scan(assignment.topic, |partition, record| {
            if partition != assignment.partition || record.offset < assignment.start {
                return Ok(true);
            }
            batch.push(record);
            Ok(batch.len() < BATCH || feed.send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))))
        });
        if !batch.is_empty() {
            feed.send(Ok(batch));
        }
        if let Err(error) = result {
            feed.send(Err(error));
        }
    }
}
