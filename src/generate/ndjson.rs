//! Records as lines of three files, plain or in envelopes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use tillflow_dataflows::records::{Reason, Topic};

use super::GenerateError;
use super::generator::{GeneratedRecord, Kind};
use crate::partitioner::murmur2_partition;

/// The partitions of each topic, as whoever reads plain lines assumes them.
const PARTITIONS: usize = 3;

const BUFFER_BYTES: usize = 1 << 18;

/// Writes `user_activity.ndjson`, `sales.ndjson` and `inventory.ndjson`, all three of them new.
///
/// A plain line is a record's value. What a plain line cannot say is left out: a tombstone, for want of a value, and
/// a record dated in the future, because the reader takes the event time for the Kafka timestamp and would believe it.
/// An envelope says everything.
pub struct NdjsonSink {
    files: Vec<TopicFile>,
    envelope: bool,
}

struct TopicFile {
    path: PathBuf,
    out: BufWriter<File>,
    next_offsets: [u64; PARTITIONS],
}

impl NdjsonSink {
    /// Creates the folder if need be, and the three files.
    pub fn create(folder: &Path, envelope: bool) -> Result<NdjsonSink, GenerateError> {
        fs::create_dir_all(folder).map_err(|source| GenerateError::Write { path: folder.to_path_buf(), source })?;
        let paths = Topic::ALL.map(|topic| folder.join(format!("{}.ndjson", topic.name())));
        // All are looked for before the first is made: a refusal leaves nothing behind.
        if let Some(path) = paths.iter().find(|path| path.exists()) {
            return Err(GenerateError::Exists(path.clone()));
        }
        let files = paths.into_iter().map(|path| match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                Ok(TopicFile { path, out: BufWriter::with_capacity(BUFFER_BYTES, file), next_offsets: [0; PARTITIONS] })
            }
            Err(source) => Err(GenerateError::Write { path, source }),
        });
        Ok(NdjsonSink { files: files.collect::<Result<_, _>>()?, envelope })
    }

    /// Writes one record; false if a plain line cannot hold it.
    pub fn write(&mut self, record: &GeneratedRecord) -> Result<bool, GenerateError> {
        let file = &mut self.files[record.topic as usize];
        let written = if self.envelope {
            let partition = partition_of(record);
            let offset = file.next_offsets[partition];
            file.next_offsets[partition] += 1;
            write_envelope(&mut file.out, record, partition, offset).map(|()| true)
        } else {
            write_plain(&mut file.out, record)
        };
        written.map_err(|source| GenerateError::Write { path: file.path.clone(), source })
    }

    /// Makes everything written so far visible to readers.
    pub fn flush(&mut self) -> Result<(), GenerateError> {
        for file in &mut self.files {
            file.out.flush().map_err(|source| GenerateError::Write { path: file.path.clone(), source })?;
        }
        Ok(())
    }
}

fn partition_of(record: &GeneratedRecord) -> usize {
    record.key.as_ref().map_or(0, |key| murmur2_partition(key, PARTITIONS as i32)) as usize
}

fn write_plain(out: &mut impl Write, record: &GeneratedRecord) -> io::Result<bool> {
    let Some(value) = record.value.as_ref().filter(|value| fits_a_line(value)) else { return Ok(false) };
    if record.kind == Kind::Corrupt(Reason::FutureTimestamp) {
        return Ok(false);
    }
    out.write_all(value)?;
    out.write_all(b"\n")?;
    Ok(true)
}

fn fits_a_line(value: &[u8]) -> bool {
    !value.is_empty() && memchr::memchr2(b'\n', b'\r', value).is_none()
}

fn write_envelope(out: &mut impl Write, record: &GeneratedRecord, partition: usize, offset: u64) -> io::Result<()> {
    write!(out, r#"{{"partition":{partition},"offset":{offset},"timestamp_ms":{}"#, record.timestamp)?;
    match &record.key {
        None => out.write_all(br#","key":null"#)?,
        Some(key) => match str::from_utf8(key) {
            Ok(text) => {
                out.write_all(br#","key":"#)?;
                serde_json::to_writer(&mut *out, text)?;
            }
            Err(_) => write!(out, r#","key_base64":"{}""#, STANDARD.encode(key))?,
        },
    }
    match &record.value {
        None => out.write_all(br#","value":null"#)?,
        // A value that is the text `null` would read as a tombstone.
        Some(value) if is_slice(value, record.kind) && value != b"null" => {
            out.write_all(br#","value":"#)?;
            out.write_all(value)?;
        }
        Some(value) => write!(out, r#","value_base64":"{}""#, STANDARD.encode(value))?,
    }
    out.write_all(b"}\n")
}

/// Whether a value can stand in an envelope as it is: one JSON text on one line, and nothing around it.
fn is_slice(value: &[u8], kind: Kind) -> bool {
    // What the generator writes on purpose needs no second look; at half a million records a second it would cost.
    if !matches!(kind, Kind::Corrupt(_)) {
        return true;
    }
    fits_a_line(value)
        && !value.first().is_some_and(u8::is_ascii_whitespace)
        && !value.last().is_some_and(u8::is_ascii_whitespace)
        && str::from_utf8(value).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generator, GeneratorOptions, Pace, Shares};
    use serde::Deserialize;
    use serde_json::value::RawValue;

    #[derive(Deserialize)]
    struct Envelope<'a> {
        partition: i32,
        offset: u64,
        timestamp_ms: i64,
        key: Option<&'a str>,
        #[serde(borrow, default)]
        value: Option<&'a RawValue>,
        value_base64: Option<&'a str>,
    }

    fn records(count: usize) -> Vec<GeneratedRecord> {
        let shares = Shares { duplicates: 0.1, corrections: 0.1, cancellations: 0.1, late: 0.1, corrupt: 0.3 };
        let pace = Pace::Daily { per_second: 200.0 };
        let options = GeneratorOptions { shares, ..GeneratorOptions::new(5, 1_767_225_600_000, pace) };
        Generator::new(options).expect("valid options").take(count).collect()
    }

    fn lines(folder: &Path, topic: Topic) -> Vec<Vec<u8>> {
        let bytes = fs::read(folder.join(format!("{}.ndjson", topic.name()))).expect("the file");
        let (last, lines) = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
            .split_last()
            .map(|(last, lines)| (last.clone(), lines.to_vec()))
            .expect("a split has a part");
        assert!(last.is_empty(), "the last line has an end");
        lines
    }

    #[test]
    fn an_envelope_brings_every_record_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = records(5_000);
        let mut sink = NdjsonSink::create(folder.path(), true).expect("new files");
        for record in &records {
            assert!(sink.write(record).expect("written"));
        }
        sink.flush().expect("flushed");
        let mut bytes_values = 0;
        for topic in Topic::ALL {
            let expected: Vec<_> = records.iter().filter(|record| record.topic == topic).collect();
            let lines = lines(folder.path(), topic);
            assert_eq!(lines.len(), expected.len());
            let mut next = [0; PARTITIONS];
            for (line, record) in lines.iter().zip(expected) {
                let envelope: Envelope = serde_json::from_slice(line).expect("an envelope");
                let value = match (envelope.value, envelope.value_base64) {
                    (Some(raw), None) => Some(raw.get().as_bytes().to_vec()),
                    (None, Some(text)) => {
                        bytes_values += 1;
                        Some(STANDARD.decode(text).expect("base64"))
                    }
                    (None, None) => None,
                    (Some(_), Some(_)) => panic!("two values"),
                };
                assert_eq!(value, record.value);
                assert_eq!(envelope.key.map(|key| key.as_bytes().to_vec()), record.key);
                assert_eq!(envelope.timestamp_ms, record.timestamp);
                assert_eq!(envelope.partition as usize, partition_of(record));
                assert_eq!(envelope.offset, next[partition_of(record)]);
                next[partition_of(record)] += 1;
            }
        }
        assert!(bytes_values > 50, "{bytes_values} values were no JSON");
    }

    #[test]
    fn plain_lines_are_the_values_that_a_line_can_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = records(5_000);
        let mut sink = NdjsonSink::create(folder.path(), false).expect("new files");
        let written: Vec<bool> = records.iter().map(|record| sink.write(record).expect("written")).collect();
        sink.flush().expect("flushed");
        for (record, written) in records.iter().zip(&written) {
            let sayable = record.value.is_some() && record.kind != Kind::Corrupt(Reason::FutureTimestamp);
            assert_eq!(*written, sayable, "{record:?}");
        }
        for topic in Topic::ALL {
            let expected: Vec<_> = records
                .iter()
                .zip(&written)
                .filter(|(record, written)| record.topic == topic && **written)
                .filter_map(|(record, _)| record.value.clone())
                .collect();
            assert_eq!(lines(folder.path(), topic), expected);
        }
    }

    #[test]
    fn files_that_are_there_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let sales = folder.path().join("sales.ndjson");
        fs::write(&sales, "mine\n").expect("written");
        assert!(matches!(NdjsonSink::create(folder.path(), false), Err(GenerateError::Exists(path)) if path == sales));
        assert_eq!(fs::read_to_string(&sales).expect("there"), "mine\n");
        assert!(!folder.path().join("user_activity.ndjson").exists());
    }
}
