//! One worker's part in a checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tillflow_dataflows::admission::SavedPartition;
use tillflow_dataflows::records::Millis;
use tillflow_dataflows::state::{Chunk, State};
use tillflow_dataflows::time::Tick;
use timely::dataflow::operators::probe::Handle;

use super::schedule::Schedule;
use crate::engine::shown;

/// A worker's share of the state as of a tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Shard {
    pub(super) tick: Tick,
    /// Windows that end at or before this instant may lack in its share.
    pub(in crate::engine) expired: Option<Millis>,
    /// Its partitions, and the next offset of each.
    pub(in crate::engine) partitions: Vec<(SavedPartition, Option<i64>)>,
    /// Its share of the graph's state.
    pub(in crate::engine) chunks: Vec<Chunk>,
}

impl Shard {
    /// The share of a simulated worker.
    #[cfg(feature = "faults")]
    pub(in crate::engine) fn simulated(
        tick: Tick,
        partitions: Vec<(SavedPartition, Option<i64>)>,
        chunks: Vec<Chunk>,
    ) -> Shard {
        Shard { tick, expired: None, partitions, chunks }
    }

    /// As it is written: itself with chunks of no bytes, the lengths of these, and then the bytes of one chunk after
    /// another, which are not copied for it.
    pub(super) fn encode(mut self) -> Vec<Bytes> {
        let bodies: Vec<Bytes> =
            self.all_chunks().map(|chunk| Bytes::from_owner(std::mem::take(&mut chunk.bytes))).collect();
        let lengths: Vec<usize> = bodies.iter().map(Bytes::len).collect();
        let head = postcard::to_allocvec(&(&self, lengths)).expect("numbers, texts and lists can be encoded");
        std::iter::once(Bytes::from(head)).chain(bodies).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Shard, String> {
        let (head, mut bodies): ((Shard, Vec<usize>), &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|error| error.to_string())?;
        let (mut shard, lengths) = head;
        if shard.all_chunks().count() != lengths.len() {
            return Err(String::from("not as many lengths as chunks"));
        }
        for (chunk, length) in shard.all_chunks().zip(lengths) {
            let (body, rest) = bodies.split_at_checked(length).ok_or("it is cut short")?;
            chunk.bytes = body.to_vec().into();
            bodies = rest;
        }
        if bodies.is_empty() { Ok(shard) } else { Err(String::from("there is more than a shard")) }
    }

    fn all_chunks(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.partitions.iter_mut().flat_map(|(saved, _)| &mut saved.memory).chain(&mut self.chunks)
    }
}

/// A shard that is being made.
struct Making {
    shard: Shard,
    /// The next collection to be saved.
    next: usize,
}

/// The state of one worker's graph, and what it has to do for checkpoints.
pub(in crate::engine) struct Saving {
    pub(in crate::engine) state: State,
    schedule: Arc<Schedule>,
    /// Whether checkpoints are made.
    is_on: bool,
    making: Option<Making>,
    /// The tick of the shard that was made last.
    made: Option<Tick>,
    /// Windows that end at or before this instant may lack in the state.
    expired: Option<Millis>,
    /// What has expired in this run.
    let_go: Option<Millis>,
}

impl Saving {
    /// Of a state that may lack windows which end at or before `expired`.
    pub(in crate::engine) fn new(
        state: State,
        expired: Option<Millis>,
        schedule: Arc<Schedule>,
        is_on: bool,
    ) -> Saving {
        Saving { state, schedule, is_on, making: None, made: None, expired, let_go: None }
    }

    /// Lets go, at the open tick, of windows that end at or before `before`, as [`State::expire`] does: now, which is told
    /// by `true`, or, if it has to wait, when it is called again.
    pub(in crate::engine) fn expire(&mut self, before: Millis, settled: Tick) -> bool {
        if self.let_go >= Some(before) {
            return false;
        }
        let Some(entries) = self.state.expire(before, settled) else { return false };
        self.let_go = Some(before);
        self.expired = self.expired.max(self.let_go);
        tracing::debug!(entries, before = shown(self.let_go), "final windows have left memory");
        true
    }

    /// To be called between two ticks of this worker, before the second is opened. `partitions` gives what admission
    /// remembers at this moment.
    pub(in crate::engine) fn between(
        &mut self,
        (closed, next): (Tick, Tick),
        leads: bool,
        partitions: impl FnOnce() -> Vec<(SavedPartition, Option<i64>)>,
    ) {
        if !self.is_on {
            return;
        }
        self.schedule.opening(next);
        if leads {
            self.schedule.ask_if_due(next);
        }
        let wanted = self.schedule.wanted();
        if self.making.as_ref().is_some_and(|making| wanted != Some(making.shard.tick)) {
            // Another worker was too late for it.
            self.drop_what_is_being_made();
        }
        match wanted {
            Some(tick) if self.making.is_some() || self.made == Some(tick) || next <= tick => {}
            Some(tick) if closed > tick => self.schedule.abandon(tick),
            Some(tick) => self.begin(tick, partitions()),
            None => {}
        }
    }

    fn begin(&mut self, tick: Tick, partitions: Vec<(SavedPartition, Option<i64>)>) {
        self.state.hold(tick);
        self.making =
            Some(Making { shard: Shard { tick, expired: self.expired, partitions, chunks: Vec::new() }, next: 0 });
    }

    fn drop_what_is_being_made(&mut self) {
        self.making = None;
        self.state.release();
    }

    /// Does a piece of what there is to do: lets history go, and saves one collection if its tick is complete. Gives the
    /// shard when it is made.
    pub(in crate::engine) fn work(&mut self, probe: &Handle<Tick>) -> Option<Shard> {
        let complete = probe.with_frontier(|frontier| frontier.first().copied());
        if let Some(complete) = complete {
            self.state.compact(complete);
        }
        let Making { shard, next } = self.making.as_mut()?;
        if complete.is_some_and(|complete| complete <= shard.tick) {
            return None;
        }
        if *next < self.state.cuts() {
            self.state.save(*next, &mut |chunk| shard.chunks.push(chunk));
            *next += 1;
        }
        if *next < self.state.cuts() {
            return None;
        }
        let Making { shard, .. } = self.making.take()?;
        self.state.release();
        self.made = Some(shard.tick);
        Some(shard)
    }

    /// Whether this worker's part of the checkpoint of `tick` is made.
    pub(in crate::engine) fn has_made(&self, tick: Tick) -> bool {
        self.made == Some(tick)
    }

    /// Whether checkpoints are made.
    pub(in crate::engine) fn is_on(&self) -> bool {
        self.is_on
    }
}

impl Drop for Saving {
    /// A graph that is held at a tick would never be complete.
    fn drop(&mut self) {
        self.state.release();
    }
}

#[cfg(test)]
mod tests {
    use tillflow_dataflows::records::Topic;

    use super::*;

    fn chunk(cut: &str, bytes: &[u8]) -> Chunk {
        Chunk { cut: cut.into(), records: 3, bytes: bytes.to_vec().into() }
    }

    fn shard() -> Shard {
        let saved = |number: i32| SavedPartition {
            topic: Topic::Sales,
            number,
            has_given: number > 0,
            clock: Some(1_700_000_000_000),
            memory: vec![chunk("texts", &[1; 300]), chunk("rows", &[])],
        };
        Shard {
            tick: 17,
            expired: None,
            partitions: vec![(saved(0), Some(12)), (saved(1), None)],
            chunks: vec![chunk("one", b"a"), chunk("two", &[7; 70_000])],
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = shard().encode().concat();
        assert_eq!(Shard::decode(&bytes), Ok(shard()));
        for length in 0..bytes.len() {
            assert!(Shard::decode(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        assert!(Shard::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}
