//! Records that another thread of this process reads or makes, handed over in batches through bounded queues.
//!
//! A queue holds at most [`QUEUE_BATCHES`] batches; a full one makes the feeding thread wait.

use std::collections::VecDeque;
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use tillflow_dataflows::records::Millis;

use super::{Position, RawRecord, Reader, SourceError};

/// How many batches a partition's queue holds.
pub const QUEUE_BATCHES: usize = 8;

/// A record on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// As in [`RawRecord`].
    pub offset: i64,
    /// As in [`RawRecord`].
    pub timestamp: Option<Millis>,
    /// As in [`RawRecord`].
    pub key: Option<Vec<u8>>,
    /// As in [`RawRecord`].
    pub value: Option<Vec<u8>>,
}

impl OwnedRecord {
    fn borrow(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }
}

/// The records of one partition, some of them at a time; or why there will be no more.
pub type Batch = Result<Vec<OwnedRecord>, SourceError>;

/// The feeding end of one partition.
#[derive(Debug)]
pub struct Feed {
    sender: Sender<Batch>,
    reader: Thread,
}

impl Feed {
    /// Hands a batch over, waiting while the queue is full. False when nobody reads any more.
    pub fn send(&self, batch: Batch) -> bool {
        let sent = self.sender.send(batch).is_ok();
        self.reader.unpark();
        sent
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The end of the partition is news, too.
        self.reader.unpark();
    }
}

/// A queue for a partition that the calling thread is going to read.
pub fn partition() -> (Feed, Receiver<Batch>) {
    let (sender, receiver) = bounded(QUEUE_BATCHES);
    (Feed { sender, reader: std::thread::current() }, receiver)
}

struct Partition {
    queue: Receiver<Batch>,
    /// What was received and not given yet.
    waiting: VecDeque<OwnedRecord>,
    next: i64,
    /// The feeding end is gone: there are no more records.
    ended: bool,
    /// The queue was found empty last time.
    drained: bool,
}

/// Reads from queues.
pub struct ChannelReader {
    partitions: Vec<Partition>,
    /// Whether an empty queue means that everything present has been read (a growing log), or only a feed that has
    /// ended does (a file).
    empty_is_end: bool,
}

impl ChannelReader {
    /// A reader over queues and the offsets at which they begin.
    pub fn new(queues: Vec<(Receiver<Batch>, i64)>, empty_is_end: bool) -> ChannelReader {
        let partitions = queues
            .into_iter()
            .map(|(queue, next)| Partition { queue, waiting: VecDeque::new(), next, ended: false, drained: false })
            .collect();
        ChannelReader { partitions, empty_is_end }
    }
}

impl Reader for ChannelReader {
    fn poll(
        &mut self,
        index: usize,
        limit: usize,
        until: i64,
        give: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, SourceError> {
        let partition = &mut self.partitions[index];
        let mut given = 0;
        while given < limit {
            let Some(record) = partition.waiting.front() else {
                match partition.queue.try_recv() {
                    Ok(Ok(batch)) => {
                        partition.drained = false;
                        partition.waiting.extend(batch);
                        continue;
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(TryRecvError::Empty) => partition.drained = true,
                    Err(TryRecvError::Disconnected) => partition.ended = true,
                }
                break;
            };
            if record.offset >= until {
                partition.next = partition.next.max(until);
                break;
            }
            give(record.borrow());
            partition.next = record.offset + 1;
            partition.waiting.pop_front();
            given += 1;
        }
        Ok(given)
    }

    fn position(&self, index: usize) -> Position {
        let partition = &self.partitions[index];
        let empty = partition.waiting.is_empty();
        let at_end = empty && (partition.ended || (self.empty_is_end && partition.drained));
        Position { next: partition.next, at_end, end: at_end.then_some(partition.next) }
    }
}
