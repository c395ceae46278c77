//! Admission: what becomes of a record, decided from the record and the earlier records of its own partition, so
//! that any replay, any batching and any number of workers decide the same.
//!
//! One [`Partition`] holds a partition's clock and what it must remember. Records are given to it in offset order.
//! It emits facts: what the record adds to, and takes from, the collections that the views are functions of.
//! Reading bytes is not its business; nor is anything of another partition.

mod rows;
mod sales;
mod saved;
mod stock;

use crate::inputs::StockCandidate;
use crate::intern::Symbol;
use crate::records::{Activity, Millis, Outcome, Reason, Sale, StockLevel, Topic};
use crate::time::Diff;

use self::sales::KnownSales;
use self::stock::CurrentLevels;

pub use self::saved::SavedPartition;

/// The windows that admission goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// A sale or an activity older than the partition clock less this is late; a transaction_id is known as long.
    pub correction_window: Millis,
    /// A record dated after its Kafka timestamp by more than this is quarantined.
    pub max_future: Millis,
}

/// A change to the collections of facts, with the record's own texts: what is kept of it makes its own.
#[derive(Clone, Debug)]
pub enum Fact<'a> {
    /// A sale comes into force (1), or goes out of it (-1).
    Sale(PlacedSale<'a>, Diff),
    /// An activity is accepted.
    Activity(Activity<&'a str>),
    /// A stock level becomes this partition's candidate for its product and warehouse (1), or is so no more (-1).
    Stock(StockCandidate, Diff),
}

/// A sale and the partition that gave it: the same transaction_id in two partitions is two sales.
#[derive(Clone, Copy, Debug)]
pub struct PlacedSale<'a> {
    /// What the record said.
    pub sale: Sale<&'a str>,
    /// The partition that gave it.
    pub partition: i32,
    /// What its partition calls some of its texts.
    pub(crate) symbols: Symbols,
}

/// What a partition calls the texts of a sale that it has many of. Until [`Partition::recycle`] a symbol stands for one text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbols {
    pub(crate) product_id: Symbol,
    pub(crate) payment_method: Symbol,
    pub(crate) store_id: Symbol,
    pub(crate) category: Symbol,
}

/// What was read of a record, before admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// A row of `sales`.
    Sale(Sale<&'a str>),
    /// A row of `user_activity`.
    Activity(Activity<&'a str>),
    /// A row of `inventory`.
    StockLevel(StockLevel),
    /// No value. A key of no bytes is no key.
    Tombstone(Option<&'a [u8]>),
    /// A value that cannot be read.
    Unreadable(Reason),
}

impl<'a> From<&'a Sale> for Reading<'a> {
    fn from(sale: &'a Sale) -> Reading<'a> {
        Reading::Sale(sale.borrowed())
    }
}

impl<'a> From<&'a Activity> for Reading<'a> {
    fn from(activity: &'a Activity) -> Reading<'a> {
        Reading::Activity(activity.borrowed())
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its outcome.
    pub outcome: Outcome,
    /// Why it is a dead letter, if it is one.
    pub reason: Option<Reason>,
}

impl Decision {
    const fn of(outcome: Outcome) -> Decision {
        let reason = match outcome {
            Outcome::Late => Some(Reason::Late),
            Outcome::Quarantined => Some(Reason::FutureTimestamp),
            _ => None,
        };
        Decision { outcome, reason }
    }

    const fn rejected(reason: Reason) -> Decision {
        Decision { outcome: Outcome::Rejected, reason: Some(reason) }
    }
}

/// What one partition remembers.
#[derive(Debug)]
enum Memory {
    Sales(KnownSales),
    Activity,
    Inventory(CurrentLevels),
}

/// The admission of one partition.
#[derive(Debug)]
pub struct Partition {
    number: i32,
    settings: AdmissionSettings,
    has_given: bool,
    clock: Option<Millis>,
    memory: Memory,
}

impl Partition {
    /// A partition that has given no record yet.
    pub fn new(topic: Topic, number: i32, settings: AdmissionSettings) -> Partition {
        let memory = match topic {
            Topic::Sales => Memory::Sales(KnownSales::default()),
            Topic::UserActivity => Memory::Activity,
            Topic::Inventory => Memory::Inventory(CurrentLevels::default()),
        };
        Partition { number, settings, has_given: false, clock: None, memory }
    }

    /// Begins where the windows before `late_before` have left memory: what is dated before it is late. To be called
    /// before the first record. Stock levels are never late.
    pub fn begin_at(&mut self, late_before: Millis) {
        if !matches!(self.memory, Memory::Inventory(_)) {
            // The clock of a partition that has given what makes all earlier records late. It moves no `as_of`: what has
            // left memory was final, so every other clock was as far. That of a partition which was gone goes back for
            // nothing.
            self.clock = self.clock.max(Some(late_before.saturating_add(self.settings.correction_window)));
        }
    }

    /// Whether it has given a record since it began, or began again, whatever became of it.
    pub fn has_given(&self) -> bool {
        self.has_given
    }

    /// The greatest event time of an accepted or correcting record so far, or what it began with.
    pub fn clock(&self) -> Option<Millis> {
        self.clock
    }

    /// How many transactions or stock rows it remembers.
    pub fn remembered(&self) -> usize {
        match &self.memory {
            Memory::Sales(known) => known.len(),
            Memory::Activity => 0,
            Memory::Inventory(levels) => levels.len(),
        }
    }

    /// To be called when what its facts add up to has left the feed, tick by tick: see [`crate::feed::Feed`]. Texts that are
    /// remembered no more give their symbols to others.
    pub fn recycle(&mut self) {
        if let Memory::Sales(known) = &mut self.memory {
            known.recycle();
        }
    }

    /// Decides what becomes of the partition's next record. `kafka_timestamp` is absent where Kafka gave none.
    ///
    /// A reading of another topic's type is a bug of the caller and panics.
    pub fn admit(
        &mut self,
        reading: Reading<'_>,
        offset: i64,
        kafka_timestamp: Option<Millis>,
        emit: &mut impl FnMut(Fact<'_>),
    ) -> Decision {
        let partition = self.number;
        self.has_given = true;
        let mut emit_sale = |sale: Sale<&str>, symbols, difference| {
            emit(Fact::Sale(PlacedSale { sale, partition, symbols }, difference));
        };
        let outcome = match (reading, &mut self.memory) {
            (Reading::Unreadable(reason), _) => return Decision::rejected(reason),
            (Reading::Tombstone(None | Some([])), _) | (Reading::Tombstone(_), Memory::Activity) => {
                return Decision::rejected(Reason::NullValue);
            }
            (Reading::Tombstone(Some(key)), Memory::Sales(known)) => {
                let oldest = self.clock.map(|clock| clock - self.settings.correction_window);
                known.cancel(key, oldest, &mut emit_sale);
                return Decision::of(Outcome::Cancelled);
            }
            (Reading::Tombstone(Some(key)), Memory::Inventory(levels)) => {
                levels.cancel(key, self.number, emit);
                return Decision::of(Outcome::Cancelled);
            }
            (Reading::Sale(sale), Memory::Sales(known)) => {
                let oldest = self.clock.map(|clock| clock - self.settings.correction_window);
                let at = sale.timestamp;
                if oldest.is_some_and(|oldest| at < oldest) {
                    Outcome::Late
                } else if is_future(at, kafka_timestamp, self.settings.max_future) {
                    Outcome::Quarantined
                } else {
                    let outcome = known.admit(sale, oldest, &mut emit_sale);
                    if outcome != Outcome::Duplicate {
                        let clock = self.clock.map_or(at, |clock| clock.max(at));
                        self.clock = Some(clock);
                        known.forget_before(clock - self.settings.correction_window, self.settings.correction_window);
                    }
                    outcome
                }
            }
            (Reading::Activity(activity), Memory::Activity) => {
                let oldest = self.clock.map(|clock| clock - self.settings.correction_window);
                let at = activity.timestamp;
                if oldest.is_some_and(|oldest| at < oldest) {
                    Outcome::Late
                } else if is_future(at, kafka_timestamp, self.settings.max_future) {
                    Outcome::Quarantined
                } else {
                    emit(Fact::Activity(activity));
                    self.clock = Some(self.clock.map_or(at, |clock| clock.max(at)));
                    Outcome::Accepted
                }
            }
            (Reading::StockLevel(level), Memory::Inventory(levels)) => {
                let at = level.last_updated;
                if is_future(at, kafka_timestamp, self.settings.max_future) {
                    Outcome::Quarantined
                } else {
                    levels.admit(level, self.number, offset, emit);
                    self.clock = Some(self.clock.map_or(at, |clock| clock.max(at)));
                    Outcome::Accepted
                }
            }
            (reading, memory) => panic!("partition with {memory:?} was given {reading:?}"),
        };
        Decision::of(outcome)
    }
}

fn is_future(event_time: Millis, kafka_timestamp: Option<Millis>, max_future: Millis) -> bool {
    kafka_timestamp.is_some_and(|kafka| event_time > kafka.saturating_add(max_future))
}

#[cfg(test)]
mod tests;
