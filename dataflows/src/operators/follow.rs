//! State that follows its inputs tick by tick, for what an arrangement would hold in too much room.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::input::InputSession;
use differential_dataflow::logging::{BatchEvent, DifferentialEventBuilder, DropEvent, Logger};
use differential_dataflow::{AsCollection, Data, ExchangeData, VecCollection};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use crate::records::Millis;
use crate::state::{Chunk, ChunkError, ChunkWriter, Cut, State, read_chunk};
use crate::time::{Diff, Tick};

/// One worker's share of the state: that of the changes which are routed to it.
pub trait Follower: 'static {
    /// What changes.
    type Change: ExchangeData;
    /// What moves for all workers at once: a time, of which at most one is in force at any tick.
    type Instant: ExchangeData;
    /// What the answer is made of.
    type Answer: Data;
    /// How much of it.
    type Measure: Semigroup + 'static;

    /// Where a change belongs: changes that must meet have the same number.
    fn route(change: &Self::Change) -> u64;

    /// Takes the changes of a tick, in no order and not consolidated, and the instant that is in force at it.
    /// Gives how the answer changes; called for each tick in turn at which there is a change or the instant moves.
    fn step(
        &mut self,
        changes: &mut dyn Iterator<Item = (Self::Change, Diff)>,
        instant: Option<&Self::Instant>,
        give: &mut dyn FnMut(Self::Answer, Self::Measure),
    );

    /// How many records it holds.
    fn held(&self) -> usize;

    /// A piece of what it holds, to be saved.
    type Piece: ExchangeData;

    /// Where a piece belongs: where the changes go that it was made of.
    fn route_piece(piece: &Self::Piece) -> u64;

    /// Gives what it holds.
    fn save(&self, give: &mut dyn FnMut(Self::Piece));

    /// Takes in, before the first step, what another one has saved. The answers of then are not given again.
    fn load(&mut self, piece: Self::Piece);

    /// Lets go, without an answer, of what belongs to windows that end at or before `before`, for which nothing comes
    /// any more. Returns how many records.
    fn expire(&mut self, before: Millis) -> usize;
}

/// Tells the worker's log how much a follower holds, in the words of arrangements: both are the state of a view.
struct Account {
    operator: usize,
    told: usize,
    logger: Option<Logger>,
}

impl Account {
    fn tell(&mut self, held: usize) {
        let Account { operator, told, logger } = self;
        let operator = *operator;
        if let Some(logger) = logger {
            if held > *told {
                logger.log(BatchEvent { operator, length: held - *told });
            } else if held < *told {
                logger.log(DropEvent { operator, length: *told - held });
            }
        }
        *told = held;
    }
}

/// What has been told of an incomplete tick.
struct Open<F: Follower> {
    capability: Capability<Tick>,
    /// In the pieces they came in: a tick may have a hundred thousand.
    changes: Vec<Vec<(F::Change, Tick, Diff)>>,
    /// The instant from this tick on, if it moves.
    instant: Option<Option<F::Instant>>,
}

/// The answers of a [`Follower`] on each worker. A tick's appear when it is complete; until then its changes are held.
///
/// With `state` what the follower holds is a cut of that name.
pub fn follow<'scope, F: Follower>(
    changes: VecCollection<'scope, Tick, F::Change, Diff>,
    instants: VecCollection<'scope, Tick, F::Instant, Diff>,
    name: &str,
    follower: F,
    state: Option<&mut State>,
) -> VecCollection<'scope, Tick, F::Answer, F::Measure> {
    let scope = changes.scope();
    let logger = scope.worker().logger_for::<DifferentialEventBuilder>("differential/arrange").map(Into::into);
    let mut session = InputSession::new();
    let restored = session.to_collection(scope);
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let info = builder.operator_info();
    let route = Exchange::new(|(change, _, _): &(F::Change, Tick, Diff)| F::route(change));
    let mut changes = builder.new_input(changes.inner, route);
    let mut instants = builder.new_input(instants.inner.broadcast(), Pipeline);
    let route = Exchange::new(|(piece, _, _): &(F::Piece, Tick, Diff)| F::route_piece(piece));
    let mut restored = builder.new_input(restored.inner, route);
    let (output, answers) = builder.new_output::<Vec<(F::Answer, Tick, F::Measure)>>();
    let mut output = OutputBuilder::from(output);

    let follower = Rc::new(RefCell::new(follower));
    let hold = state.as_ref().map(|state| state.hold_of_followers()).unwrap_or_default();
    if let Some(state) = state {
        let followed = Followed { name: name.to_owned(), session, follower: Rc::clone(&follower) };
        state.keep(followed, scope.activator_for(Rc::clone(&info.address)));
    }
    builder.build(move |_capabilities| {
        let mut account = Account { operator: info.global_id, told: 0, logger };
        let mut open: BTreeMap<Tick, Open<F>> = BTreeMap::new();
        let mut current: Option<F::Instant> = None;
        move |frontiers| {
            let mut follower = follower.borrow_mut();
            restored.for_each(|_capability, data| {
                for (piece, _, _) in data.drain(..) {
                    follower.load(piece);
                }
            });
            changes.for_each(|capability, data| {
                let mut changes = std::mem::take(data);
                while let Some(tick) = changes.first().map(|change| change.1) {
                    let other = changes.iter().position(|change| change.1 != tick).unwrap_or(changes.len());
                    let rest = changes.split_off(other);
                    let open = open.entry(tick).or_insert_with(|| Open {
                        capability: capability.delayed(&tick, 0),
                        changes: Vec::new(),
                        instant: None,
                    });
                    open.changes.push(std::mem::replace(&mut changes, rest));
                }
            });
            instants.for_each(|capability, data| {
                for (instant, tick, difference) in data.drain(..) {
                    let open = open.entry(tick).or_insert_with(|| Open {
                        capability: capability.delayed(&tick, 0),
                        changes: Vec::new(),
                        instant: None,
                    });
                    // The old one goes and the new one comes at the same tick, in any order.
                    if difference > 0 {
                        open.instant = Some(Some(instant));
                    } else {
                        open.instant.get_or_insert(None);
                    }
                }
            });
            let mut output = output.activate();
            while let Some(entry) = open.first_entry() {
                let tick = *entry.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&tick))
                    || hold.get().is_some_and(|held| tick > held)
                {
                    break;
                }
                let Open { capability, changes, instant } = entry.remove();
                if let Some(instant) = instant {
                    current = instant;
                }
                let mut session = output.session(&capability);
                let mut changes = changes.into_iter().flatten().map(|(change, _, difference)| (change, difference));
                follower.step(&mut changes, current.as_ref(), &mut |answer, measure| {
                    if !measure.is_zero() {
                        session.give((answer, tick, measure));
                    }
                });
            }
            account.tell(follower.held());
        }
    });
    answers.as_collection()
}

/// The state of a [`Follower`], as a cut.
struct Followed<F: Follower> {
    name: String,
    session: InputSession<Tick, F::Piece, Diff>,
    follower: Rc<RefCell<F>>,
}

impl<F: Follower> Cut for Followed<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn restore(&mut self, chunk: &Chunk) -> Result<(), ChunkError> {
        read_chunk(chunk, &mut |piece| self.session.update(piece, 1))
    }

    fn advance_to(&mut self, tick: Tick) {
        self.session.advance_to(tick);
        self.session.flush();
    }

    /// Its operator takes no step after `tick` while that is on hold, so it is as of `tick`.
    fn save(&mut self, _tick: Tick, give: &mut dyn FnMut(Chunk)) {
        let mut writer = ChunkWriter::new(&self.name, give);
        self.follower.borrow().save(&mut |piece| writer.write(&piece));
        writer.finish();
    }

    fn expire(&mut self, before: Millis) -> usize {
        self.follower.borrow_mut().expire(before)
    }
}
