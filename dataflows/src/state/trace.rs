//! Cuts that are arrangements: their contents are read off the trace.

use differential_dataflow::difference::Abelian;
use differential_dataflow::input::InputSession;
use differential_dataflow::trace::cursor::{BatchCursor, cursor_list};
use differential_dataflow::trace::{Cursor, Navigable, TraceReader};
use differential_dataflow::{Data, ExchangeData};
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

/// An arrangement of keys and values; of keys alone, where the value is `()`.
pub(super) struct Entries<K, V, R, Tr, D>
where
    D: Data,
    R: ExchangeData + Abelian,
{
    pub(super) name: String,
    pub(super) session: Session<D, R>,
    pub(super) trace: Tr,
    /// A key and a value as the collection has them that is arranged.
    pub(super) entry: fn(K, V) -> D,
    pub(super) ends: Option<fn(&K) -> Millis>,
    pub(super) ours: Box<dyn Fn(&K) -> bool>,
}

impl<K, V, R, Tr, D> Entries<K, V, R, Tr, D>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Abelian,
    D: Data,
    Tr: TraceReader<Time = Tick, Batch: Navigable>,
    for<'a> BatchCursor<Tr>: Cursor<Key<'a> = &'a K, Val<'a> = &'a V, TimeGat<'a> = &'a Tick, DiffGat<'a> = &'a R>,
{
    /// Gives the entries of those keys that are wanted, with their sums up to `tick`, or with everything that is there.
    fn each(&mut self, tick: Option<Tick>, wanted: impl Fn(&K) -> bool, give: &mut dyn FnMut(&K, &V, R)) {
        let (mut cursor, storage) = cursor_list(batches(&mut self.trace));
        while let Some(key) = cursor.get_key(&storage) {
            let is_wanted = (self.ours)(key) && wanted(key);
            while let Some(value) = cursor.get_val(&storage).filter(|_| is_wanted) {
                let mut sums = R::zero();
                cursor.map_times(&storage, |at, change| {
                    if tick.is_none_or(|tick| *at <= tick) {
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

impl<K, V, R, Tr, D> Cut for Entries<K, V, R, Tr, D>
where
    K: ExchangeData,
    V: ExchangeData,
    R: ExchangeData + Abelian,
    D: Data,
    Tr: TraceReader<Time = Tick, Batch: Navigable>,
    for<'a> BatchCursor<Tr>: Cursor<Key<'a> = &'a K, Val<'a> = &'a V, TimeGat<'a> = &'a Tick, DiffGat<'a> = &'a R>,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError> {
        read_chunk(chunk, &mut |((key, value), sums)| self.session.update((self.entry)(key, value), sums))
    }

    fn advance_to(&mut self, tick: Tick) {
        self.session.advance_to(tick);
        self.session.flush();
    }

    fn compact(&mut self, tick: Tick) {
        let tick = Antichain::from_elem(tick);
        self.trace.set_logical_compaction(tick.borrow());
        self.trace.set_physical_compaction(tick.borrow());
    }

    fn save(&mut self, tick: Tick, give: &mut dyn FnMut(Chunk)) {
        let name = self.name.clone();
        let mut writer = ChunkWriter::new(&name, give);
        self.each(Some(tick), |_| true, &mut |key, value, sums| writer.write(&((key, value), sums)));
        writer.finish();
    }

    fn expire(&mut self, before: Millis) -> usize {
        let Some(ends) = self.ends else { return 0 };
        let mut dead = Vec::new();
        let give = &mut |key: &K, value: &V, sums: R| dead.push((key.clone(), value.clone(), sums));
        // Nothing of these windows changes any more. A tick that was given up may look like any up to the one that was not,
        // so no tick says what is older.
        self.each(None, |key| ends(key) <= before, give);
        let count = dead.len();
        for (key, value, mut sums) in dead {
            sums.negate();
            self.session.update((self.entry)(key, value), sums);
        }
        count
    }
}
