//! State that follows its inputs tick by tick, for what an arrangement would hold in too much room.

use std::collections::BTreeMap;

use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::logging::{BatchEvent, DifferentialEventBuilder, DropEvent, Logger};
use differential_dataflow::{AsCollection, Data, ExchangeData, VecCollection};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;

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
pub fn follow<'scope, F: Follower>(
    changes: VecCollection<'scope, Tick, F::Change, Diff>,
    instants: VecCollection<'scope, Tick, F::Instant, Diff>,
    name: &str,
    mut follower: F,
) -> VecCollection<'scope, Tick, F::Answer, F::Measure> {
    let logger =
        changes.scope().worker().logger_for::<DifferentialEventBuilder>("differential/arrange").map(Into::into);
    let route = Exchange::new(|(change, _, _): &(F::Change, Tick, Diff)| F::route(change));
    changes
        .inner
        .binary_frontier(instants.inner.broadcast(), route, Pipeline, name, |_capability, info| {
            let mut account = Account { operator: info.global_id, told: 0, logger };
            let mut open: BTreeMap<Tick, Open<F>> = BTreeMap::new();
            let mut current: Option<F::Instant> = None;
            move |(changes, changes_frontier), (instants, instants_frontier), output| {
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
                while let Some(entry) = open.first_entry() {
                    let tick = *entry.key();
                    if changes_frontier.less_equal(&tick) || instants_frontier.less_equal(&tick) {
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
                    account.tell(follower.held());
                }
            }
        })
        .as_collection()
}
