//! State that leaves the graph and enters it again: the *cut*.
//!
//! A cut is a collection whose contents, together with what admission remembers, give everything else: rollups, the
//! events of sessions, live buckets, what followers hold. Each has a name, and three things can be done with it:
//!
//! - **save**: its contents as of a complete tick, in chunks of bytes, consolidated;
//! - **restore**: the contents of chunks enter before the first tick, on any worker, whatever number of workers saved
//!   them;
//! - **expire**: what belongs to windows before an instant leaves.
//!
//! What is derived from a cut is never saved, and what is made of records *before* a cut holds nothing from one tick to
//! the next. So the contents of all cuts as of one tick, and nothing else, are the state of the graph.
//!
//! Nothing here reads or writes anything: whoever builds the graph gets a [`State`] to do so with.

mod chunk;
mod trace;

use std::cell::Cell;
use std::rc::Rc;

use differential_dataflow::difference::{Abelian, Semigroup};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{KeySpine, ValSpine};
use differential_dataflow::{Data, ExchangeData, VecCollection};
use timely::dataflow::Scope;
use timely::scheduling::Activator;

use crate::records::Millis;
use crate::time::{DAY, Granularity, Tick};

pub use self::chunk::{Chunk, ChunkError, ChunkWriter, SharedBytes, read_chunk};

use self::trace::{Entries, Session};

/// One collection of the cut.
pub(crate) trait Cut {
    /// What its chunks are called.
    fn name(&self) -> &str;

    /// Takes a chunk in, before the first tick.
    fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError>;

    /// Closes every tick before `tick`.
    fn advance_to(&mut self, tick: Tick);

    /// Gives up telling ticks before `tick` apart.
    fn compact(&mut self, _tick: Tick) {}

    /// Gives its contents as of `tick`, which is complete and not given up.
    fn save(&mut self, tick: Tick, give: &mut dyn FnMut(Chunk));

    /// Takes out what belongs to windows that end at or before `before`, at the open tick; everything that ever changes
    /// them is complete. Returns how many entries.
    fn expire(&mut self, before: Millis) -> usize;
}

/// Up to which tick followers go on, while a checkpoint is being made.
pub(crate) type Hold = Rc<Cell<Option<Tick>>>;

/// One worker's share of the cut.
#[derive(Default)]
pub struct State {
    cuts: Vec<Box<dyn Cut>>,
    hold: Hold,
    /// What must be run again when the hold is over.
    waiting: Vec<Activator>,
    /// Up to here everything is complete, and history has been given up.
    compacted: Tick,
    /// The open tick.
    open: Tick,
    /// The tick at which something expired last.
    expired: Option<Tick>,
}

impl State {
    /// Of a graph that is yet to be built.
    pub fn new() -> State {
        State::default()
    }

    /// Takes a chunk in, before the first [`State::advance_to`]. A chunk of a cut that this graph does not have is an
    /// error: it was made by another one.
    pub fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError> {
        match self.cuts.iter_mut().find(|cut| cut.name() == chunk.cut) {
            Some(cut) => cut.restore(chunk),
            None => Err(ChunkError::unknown(chunk)),
        }
    }

    /// Closes every tick before `tick`, as for any other input.
    pub fn advance_to(&mut self, tick: Tick) {
        self.open = tick;
        for cut in &mut self.cuts {
            cut.advance_to(tick);
        }
    }

    /// Gives up telling ticks before `tick` apart, as far as nothing is on hold; everything before `tick` is complete.
    /// To be called often: what is not given up costs memory.
    pub fn compact(&mut self, tick: Tick) {
        let tick = self.hold.get().map_or(tick, |held| tick.min(held));
        if tick > self.compacted {
            self.compacted = tick;
            for cut in &mut self.cuts {
                cut.compact(tick);
            }
        }
    }

    /// Keeps the state as it is at `tick` until [`State::release`]. To be called before this worker closes `tick`.
    pub fn hold(&mut self, tick: Tick) {
        self.hold.set(Some(tick));
    }

    /// What is held, if something is.
    pub fn held(&self) -> Option<Tick> {
        self.hold.get()
    }

    /// How many collections there are.
    pub fn cuts(&self) -> usize {
        self.cuts.len()
    }

    /// Gives the contents of the `index`th collection as of the tick that is on hold, which is complete on all workers.
    pub fn save(&mut self, index: usize, give: &mut dyn FnMut(Chunk)) {
        let tick = self.hold.get().expect("what is saved is on hold");
        self.cuts[index].save(tick, give);
    }

    /// Lets the state go on.
    pub fn release(&mut self) {
        if self.hold.take().is_some() {
            self.waiting.iter().for_each(Activator::activate);
        }
    }

    /// Takes out, at the open tick, what belongs to windows that end at or before `before`: a whole day's start, so
    /// that no window is cut in two. Nothing may come for these windows after the tick `settled`, at which the last of
    /// them is final, and nothing that is live may be made of them: see [`expirable`].
    ///
    /// Returns how many entries; nothing while it has to wait: for a hold, for `settled` to be complete on this worker, or
    /// for the last expiry to be complete, which would be repeated.
    pub fn expire(&mut self, before: Millis, settled: Tick) -> Option<usize> {
        if self.hold.get().is_some() || self.compacted <= settled.max(self.expired.unwrap_or(0)) {
            return None;
        }
        self.expired = Some(self.open);
        Some(self.cuts.iter_mut().map(|cut| cut.expire(before)).sum())
    }

    /// Makes a cut of what is arranged by key alone: `arrange` is given what is to be arranged beside the collection.
    /// `ends` says when the window of a key ends, for what expires.
    pub(crate) fn keys<'scope, K, R>(
        &mut self,
        name: &str,
        collection: VecCollection<'scope, Tick, K, R>,
        ends: Option<fn(&K) -> Millis>,
        arrange: impl FnOnce(VecCollection<'scope, Tick, K, R>) -> Arranged<'scope, TraceAgent<KeySpine<K, Tick, R>>>,
    ) -> Arranged<'scope, TraceAgent<KeySpine<K, Tick, R>>>
    where
        K: ExchangeData,
        R: ExchangeData + Abelian,
    {
        self.keys_of(name, collection, ends, |_| true, arrange)
    }

    /// As [`State::keys`], of those keys alone that are `ours`: the others are derived from something else.
    pub(crate) fn keys_of<'scope, K, R>(
        &mut self,
        name: &str,
        collection: VecCollection<'scope, Tick, K, R>,
        ends: Option<fn(&K) -> Millis>,
        ours: impl Fn(&K) -> bool + 'static,
        arrange: impl FnOnce(VecCollection<'scope, Tick, K, R>) -> Arranged<'scope, TraceAgent<KeySpine<K, Tick, R>>>,
    ) -> Arranged<'scope, TraceAgent<KeySpine<K, Tick, R>>>
    where
        K: ExchangeData,
        R: ExchangeData + Abelian,
    {
        let (session, restored) = session(collection.scope());
        let arranged = arrange(collection.concat(restored));
        let keys = Entries {
            name: name.to_owned(),
            session,
            trace: arranged.trace.clone(),
            entry: |key, ()| key,
            ends,
            ours: Box::new(ours),
        };
        self.cuts.push(Box::new(keys));
        arranged
    }

    /// Makes a cut of what is arranged by key and value.
    pub(crate) fn values<'scope, K, V, R>(
        &mut self,
        name: &str,
        collection: VecCollection<'scope, Tick, (K, V), R>,
        ends: Option<fn(&K) -> Millis>,
        arrange: impl FnOnce(
            VecCollection<'scope, Tick, (K, V), R>,
        ) -> Arranged<'scope, TraceAgent<ValSpine<K, V, Tick, R>>>,
    ) -> Arranged<'scope, TraceAgent<ValSpine<K, V, Tick, R>>>
    where
        K: ExchangeData,
        V: ExchangeData,
        R: ExchangeData + Abelian,
    {
        let (session, restored) = session(collection.scope());
        let arranged = arrange(collection.concat(restored));
        let values = Entries {
            name: name.to_owned(),
            session,
            trace: arranged.trace.clone(),
            entry: |key, value| (key, value),
            ends,
            ours: Box::new(|_| true),
        };
        self.cuts.push(Box::new(values));
        arranged
    }

    /// What a follower has to look at before it takes a step.
    pub(crate) fn hold_of_followers(&self) -> Hold {
        Rc::clone(&self.hold)
    }

    /// Makes a cut of what a follower holds; `activator` makes it run again after a hold.
    pub(crate) fn keep(&mut self, follower: impl Cut + 'static, activator: Activator) {
        self.waiting.push(activator);
        self.cuts.push(Box::new(follower));
    }
}

/// Before which instant windows may leave memory, as they end: they are final, and nothing that is live reaches back to
/// them. A whole day's start. `clocks` are those of the partitions of `sales` and `user_activity` that have given a record;
/// nothing may leave while one of them has none.
pub fn expirable(
    clocks: impl IntoIterator<Item = Option<Millis>>,
    as_of: Option<Millis>,
    correction_window: Millis,
) -> Option<Millis> {
    let least = clocks.into_iter().try_fold(None, |least: Option<Millis>, clock| {
        let clock = clock?;
        Some(Some(least.map_or(clock, |least| least.min(clock))))
    });
    let is_final = least??.checked_sub(correction_window)?;
    // Of the rollups, the metrics of the last 24 hours are made of them.
    let is_past = as_of?.checked_sub(DAY)?;
    Some(Granularity::Day.start(is_final.min(is_past)))
}

/// An input for what is restored and what expires.
fn session<'scope, D: Data, R: Semigroup + 'static>(
    scope: Scope<'scope, Tick>,
) -> (Session<D, R>, VecCollection<'scope, Tick, D, R>) {
    let mut session = Session::new();
    let restored = session.to_collection(scope);
    (session, restored)
}
