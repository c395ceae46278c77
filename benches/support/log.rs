//! A log in memory.

use std::sync::Arc;

use tillflow::source::channel::OwnedRecord;
use tillflow::source::{Assignment, PartitionInfo, Position, RawRecord, Reader, Source, SourceError};
use tillflow_dataflows::records::Topic;

use super::sales::Sent;

/// The records of each partition of `sales`.
pub type Partitions = Vec<Vec<OwnedRecord>>;

/// A log that is there as a whole.
pub struct Log {
    pub partitions: Arc<Partitions>,
}

struct LogReader {
    partitions: Arc<Partitions>,
    read: Vec<(usize, usize)>,
}

impl Source for Log {
    fn identity(&self) -> String {
        String::from("bench")
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        let sales = |partition: usize| PartitionInfo {
            topic: Topic::Sales,
            partition: partition as i32,
            low: 0,
            high: Some(self.partitions[partition].len() as i64),
        };
        Ok((0..self.partitions.len()).map(sales).collect())
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let read = assignments.iter().map(|it| (it.partition as usize, it.start as usize)).collect();
        Ok(Box::new(LogReader { partitions: Arc::clone(&self.partitions), read }))
    }
}

impl Reader for LogReader {
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError> {
        let (partition, next) = &mut self.read[index];
        let until = usize::try_from(until).unwrap_or(usize::MAX).clamp(*next, self.partitions[*partition].len());
        let records = &self.partitions[*partition][*next..until];
        let records = &records[..limit.min(records.len())];
        for record in records {
            give(RawRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
            });
        }
        *next += records.len();
        Ok(records.len())
    }

    fn position(&self, index: usize) -> Position {
        let (partition, next) = self.read[index];
        let end = self.partitions[partition].len();
        Position { next: next as i64, at_end: next == end, end: Some(end as i64) }
    }
}

/// So many sales.
pub fn log(sales: impl Iterator<Item = Sent>) -> Arc<Partitions> {
    let mut partitions = Partitions::new();
    for Sent { partition, timestamp, key, value, .. } in sales {
        partitions.resize_with(partitions.len().max(partition + 1), Vec::new);
        let partition = &mut partitions[partition];
        partition.push(OwnedRecord {
            offset: partition.len() as i64,
            timestamp: Some(timestamp),
            key: Some(key.into_bytes()),
            value: Some(value.into_bytes()),
        });
    }
    // Copied, the records of a partition lie one after the other, as in the buffers of a client, and not each beside one of
    // another partition.
    Arc::new(partitions.clone())
}
