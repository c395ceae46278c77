//! Cuts that are arrangements: their contents are read off the trace.

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::Abelian;
use differential_dataflow::input::InputSession;
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::{KeySpine, ValSpine};
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::progress::Antichain;

use super::Cut;
use super::chunk::{Chunk, ChunkError, ChunkWriter, read_chunk};
use crate::records::Millis;
use crate::time::Tick;

/// What enters a cut beside what is made of records.
pub(super) type Session<D, R> = InputSession<Tick, D, R>;

/// Everything that a trace holds, to be looked through.
fn batches<Tr: TraceReader<Time = Tick>>(trace: &mut Tr) -> Vec<Tr::Batch> {
    let mut upper = Antichain::new();
    trace.read_upper(&mut upper);
    trace.batches_through(upper.borrow()).expect("a trace ends where it says")
}

/// Gives up what came before `tick`.
fn compact<Tr: TraceReader<Time = Tick>>(trace: &mut Tr, tick: Tick) {
    let tick = Antichain::from_elem(tick);
    trace.set_logical_compaction(tick.borrow());
    trace.set_physical_compaction(tick.borrow());
}

/// Whether an update at `at` counts as of `tick`, or at any time.
fn counts(at: Tick, tick: Option<Tick>) -> bool {
    tick.is_none_or(|tick| at <= tick)
}

/// An arrangement by key.
pub(super) struct Keys<K: ExchangeData, R: ExchangeData + Abelian> {
    pub(super) name: String,
    pub(super) session: Session<K, R>,
    pub(super) trace: TraceAgent<KeySpine<K, Tick, R>>,
    pub(super) ends: Option<fn(&K) -> Millis>,
    pub(super) ours: Box<dyn Fn(&K) -> bool>,
}

impl<K: ExchangeData, R: ExchangeData + Abelian> Keys<K, R> {
    fn each(&mut self, tick: Option<Tick>, give: &mut dyn FnMut(&K, R)) {
        let (mut cursor, storage) = cursor_list(batches(&mut self.trace));
        while let Some(key) = cursor.get_key(&storage) {
            let mut sums = R::zero();
            cursor.map_times(&storage, |at, change| {
                if counts(*at, tick) {
                    sums.plus_equals(change);
                }
            });
            if !sums.is_zero() && (self.ours)(key) {
                give(key, sums);
            }
            cursor.step_key(&storage);
        }
    }
}

impl<K: ExchangeData, R: ExchangeData + Abelian> Cut for Keys<K, R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError> {
        read_chunk(chunk, &mut |(key, sums)| self.session.update(key, sums))
    }

    fn advance_to(&mut self, tick: Tick) {
        self.session.advance_to(tick);
        self.session.flush();
    }

    fn compact(&mut self, tick: Tick) {
        compact(&mut self.trace, tick);
    }

    fn save(&mut self, tick: Tick, give: &mut dyn FnMut(Chunk)) {
        let name = self.name.clone();
        let mut writer = ChunkWriter::new(&name, give);
        self.each(Some(tick), &mut |key, sums| writer.write(&(key, sums)));
        writer.finish();
    }

    fn expire(&mut self, before: Millis, complete: Tick) -> usize {
        let Some(ends) = self.ends else { return 0 };
        let mut dead = Vec::new();
        self.each(complete.checked_sub(1), &mut |key, sums| {
            if ends(key) <= before {
                dead.push((key.clone(), sums));
            }
        });
        let count = dead.len();
        for (key, mut sums) in dead {
            sums.negate();
            self.session.update(key, sums);
        }
        count
    }
}

/// An arrangement by key and value.
pub(super) struct Buckets<K: ExchangeData, V: ExchangeData, R: ExchangeData + Abelian> {
    pub(super) name: String,
    pub(super) session: Session<(K, V), R>,
    pub(super) trace: TraceAgent<ValSpine<K, V, Tick, R>>,
    pub(super) ends: Option<fn(&K) -> Millis>,
}

impl<K: ExchangeData, V: ExchangeData, R: ExchangeData + Abelian> Buckets<K, V, R> {
    fn each(&mut self, tick: Option<Tick>, wanted: impl Fn(&K) -> bool, give: &mut dyn FnMut(&K, &V, R)) {
        let (mut cursor, storage) = cursor_list(batches(&mut self.trace));
        while let Some(key) = cursor.get_key(&storage) {
            while let Some(value) = cursor.get_val(&storage).filter(|_| wanted(key)) {
                let mut sums = R::zero();
                cursor.map_times(&storage, |at, change| {
                    if counts(*at, tick) {
                        sums.plus_equals(change);
                    }
                });
                if !sums.is_zero() {
                    give(key, value, sums);
                }
                cursor.step_val(&storage);
            }
            cursor.step_key(&storage);
        }
    }
}

impl<K: ExchangeData, V: ExchangeData, R: ExchangeData + Abelian> Cut for Buckets<K, V, R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError> {
        read_chunk(chunk, &mut |(bucket, sums)| self.session.update(bucket, sums))
    }

    fn advance_to(&mut self, tick: Tick) {
        self.session.advance_to(tick);
        self.session.flush();
    }

    fn compact(&mut self, tick: Tick) {
        compact(&mut self.trace, tick);
    }

    fn save(&mut self, tick: Tick, give: &mut dyn FnMut(Chunk)) {
        let name = self.name.clone();
        let mut writer = ChunkWriter::new(&name, give);
        self.each(Some(tick), |_| true, &mut |key, value, sums| writer.write(&((key, value), sums)));
        writer.finish();
    }

    fn expire(&mut self, before: Millis, complete: Tick) -> usize {
        let Some(ends) = self.ends else { return 0 };
        let mut dead = Vec::new();
        let give = &mut |key: &K, value: &V, sums: R| dead.push(((key.clone(), value.clone()), sums));
        self.each(complete.checked_sub(1), |key| ends(key) <= before, give);
        let count = dead.len();
        for (bucket, mut sums) in dead {
            sums.negate();
            self.session.update(bucket, sums);
        }
        count
    }
}
