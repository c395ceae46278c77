//! A log in memory, as `demo` and the benches use it: whoever makes records pushes them, one worker reads each
//! partition, and nothing is kept after it was read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tillflow_dataflows::records::Topic;

use super::channel::{ChannelReader, Feed, OwnedRecord, partition};
use super::{Assignment, PartitionInfo, Reader, Source, SourceError};

/// A source that is fed by [`MemoryLog::push`].
pub struct MemoryLog {
    partitions: i32,
    feeds: Mutex<HashMap<(Topic, i32), Feed>>,
    /// Told when a partition gets its reader, for a producer that waits for all of them.
    opened: std::sync::Condvar,
}

impl MemoryLog {
    /// A log with that many partitions in each topic.
    pub fn new(partitions: i32) -> MemoryLog {
        MemoryLog { partitions, feeds: Mutex::default(), opened: std::sync::Condvar::new() }
    }

    /// How many partitions each topic has.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Takes the feeding ends, once every partition has its reader, which it waits for up to `patience`; an empty
    /// map when they do not come.
    pub fn feeds(&self, patience: std::time::Duration) -> HashMap<(Topic, i32), Feed> {
        let all = Topic::ALL.len() * usize::try_from(self.partitions).unwrap_or(0);
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut feeds, _) = self
            .opened
            .wait_timeout_while(feeds, patience, |feeds| feeds.len() < all)
            .unwrap_or_else(PoisonError::into_inner);
        if feeds.len() < all { HashMap::new() } else { std::mem::take(&mut feeds) }
    }

    /// Hands records of one partition to its reader. False when nobody reads any more.
    pub fn push(feeds: &HashMap<(Topic, i32), Feed>, topic: Topic, partition: i32, batch: Vec<OwnedRecord>) -> bool {
        feeds.get(&(topic, partition)).is_some_and(|feed| feed.send(Ok(batch)))
    }
}

impl Source for MemoryLog {
    fn identity(&self) -> String {
        String::from("memory")
    }

    fn discover(&self) -> Result<Vec<PartitionInfo>, SourceError> {
        Ok(Topic::ALL
            .into_iter()
            .flat_map(|topic| (0..self.partitions).map(move |partition| (topic, partition)))
            .map(|(topic, partition)| PartitionInfo { topic, partition, low: 0, high: None })
            .collect())
    }

    /// None: what was read once is not kept.
    fn records_at(&self, places: &[Assignment]) -> Result<Vec<Option<OwnedRecord>>, SourceError> {
        Ok(vec![None; places.len()])
    }

    fn open(&self, assignments: &[Assignment]) -> Result<Box<dyn Reader>, SourceError> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = assignments
            .iter()
            .map(|assignment| {
                let (feed, queue) = partition();
                feeds.insert((assignment.topic, assignment.partition), feed);
                (queue, assignment.start)
            })
            .collect();
        self.opened.notify_all();
        // A producer that ends closes the feeds: only then is everything read.
        Ok(Box::new(ChannelReader::new(queues, false)))
    }
}
