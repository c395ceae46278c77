//! A look at single records, with a reader that is made for it alone.

use std::time::{Duration, Instant};

use super::channel::OwnedRecord;
use super::{Assignment, Reader, SourceError};

/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(10);

/// How long it sleeps while nothing has come, at most.
const NAP: Duration = Duration::from_millis(5);

/// The record at the start of each of the reader's assignments, where there is one.
pub(super) fn records_at(
    reader: &mut dyn Reader,
    places: &[Assignment],
) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
    let begun = Instant::now();
    let mut found: Vec<Option<OwnedRecord>> = vec![None; places.len()];
    let mut left: Vec<usize> = (0..places.len()).collect();
    loop {
        let mut waiting = Vec::new();
        for index in left {
            let mut first = None;
            reader.poll(index, 1, i64::MAX, &mut |record| {
                first = Some(OwnedRecord {
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
            })?;
            match first {
                // After a gap comes the next one.
                Some(record) => found[index] = Some(record).filter(|record| record.offset == places[index].start),
                None if reader.position(index).at_end => {}
                None => waiting.push(index),
            }
        }
        let Some(Assignment { topic, partition, start }) = waiting.first().map(|index| places[*index]) else {
            return Ok(found);
        };
        let problem = reader.serve()?;
        if begun.elapsed() >= WITHIN {
            return Err(SourceError::Unavailable(format!(
                "reading {} partition {partition} at offset {start}, the last record that the store counts: nothing came \
                 for {} s{}",
                topic.name(),
                WITHIN.as_secs(),
                problem.map(|problem| format!("; {problem}")).unwrap_or_default()
            )));
        }
        left = waiting;
        std::thread::park_timeout(NAP);
    }
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::records::Topic;

    use super::*;
    use crate::source::channel::{ChannelReader, partition};

    #[test]
    fn what_is_at_the_place_is_given_and_nothing_after_it() {
        let record = |offset| OwnedRecord { offset, timestamp: None, key: None, value: Some(vec![7]) };
        let place = |partition| Assignment { topic: Topic::Sales, partition, start: 4 };
        let mut queues = Vec::new();
        for offsets in [vec![4, 5], vec![5, 6], vec![]] {
            let (feed, queue) = partition();
            if !offsets.is_empty() {
                assert!(feed.send(Ok(offsets.into_iter().map(record).collect())));
            }
            queues.push((queue, 4));
        }
        let mut reader = ChannelReader::new(queues, false);
        let found = records_at(&mut reader, &[place(0), place(1), place(2)]).unwrap();
        assert_eq!(found, [Some(record(4)), None, None]);
    }
}
