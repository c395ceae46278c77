//! What becomes of each record of a partition, and what it adds to and takes from the rows in force.
//!
//! A second reading of the contract's table of outcomes, in the order of its rows. It knows the records of one
//! partition in offset order and nothing else.

use hashbrown::HashMap;
use tillflow_dataflows::records::{Activity, Millis, Outcome, Reason, Sale, StockLevel, Text, Topic};

use super::names::{Name, Names};
use crate::codec::{Record, Rejection};

/// The settings that decide outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionWindows {
    /// `--correction-window`.
    pub correction_window: Millis,
    /// `--max-future`.
    pub max_future: Millis,
}

/// A sale's ten fields but for its transaction_id, short enough to be remembered by the million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SaleRow {
    pub(super) user: Name,
    pub(super) product: Name,
    pub(super) store: Name,
    pub(super) category: Name,
    pub(super) payment_method: Name,
    pub(super) quantity: i32,
    pub(super) unit_price: i64,
    pub(super) total_amount: i64,
    pub(super) at: Millis,
}

impl SaleRow {
    fn of(sale: &Sale, names: &mut Names) -> SaleRow {
        SaleRow {
            user: names.name(&sale.user_id),
            product: names.name(&sale.product_id),
            store: names.name(&sale.store_id),
            category: names.name(&sale.category),
            payment_method: names.name(&sale.payment_method),
            quantity: i32::try_from(sale.quantity).expect("the decoder bounds quantities by 10^9"),
            unit_price: sale.unit_price.0,
            total_amount: sale.total_amount.0,
            at: sale.timestamp,
        }
    }
}

/// Which record of the log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// A change to the rows in force.
#[derive(Debug)]
pub(super) enum Change<'a> {
    /// A sale comes into force (`sign` 1) or goes out of it (-1). The place is that of the record that gave it.
    Sale { row: SaleRow, transaction_id: &'a Text, place: Place, sign: i64 },
    /// An activity counts from now on.
    Activity { activity: &'a Activity, user: Name, place: Place },
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    /// What the record says its time is, if it could be read.
    pub(super) event_time: Option<Millis>,
}

/// A sale that a later record may repeat, correct or cancel.
#[derive(Debug)]
struct Known {
    row: SaleRow,
    offset: i64,
}

/// One partition and what it has to remember.
#[derive(Debug)]
pub(super) struct Partition {
    topic: Topic,
    number: i32,
    windows: AdmissionWindows,
    clock: Option<Millis>,
    has_given: bool,
    known: HashMap<Text, Known>,
    /// The clock when those too old were last forgotten.
    swept: Millis,
    /// By product and warehouse: the record's offset and what it says.
    levels: HashMap<Text, HashMap<Text, (i64, StockLevel)>>,
}

/// Those too old to matter are looked for when the clock has moved by this part of the correction window.
const SWEEPS_PER_WINDOW: Millis = 16;
const SWEEP_AT_LEAST: Millis = 60_000;

impl Partition {
    pub(super) fn new(topic: Topic, number: i32, windows: AdmissionWindows) -> Partition {
        Partition {
            topic,
            number,
            windows,
            clock: None,
            has_given: false,
            known: HashMap::new(),
            swept: Millis::MIN,
            levels: HashMap::new(),
        }
    }

    /// Begins when windows before `late_before` had left the memory of the run that counted its first record: what is
    /// dated before it is late.
    pub(super) fn begin_at(&mut self, late_before: Millis) {
        if self.topic != Topic::Inventory {
            self.clock = Some(late_before.saturating_add(self.windows.correction_window));
        }
    }

    /// The greatest event time of an accepted or correcting record so far, or what it began with.
    pub(super) fn clock(&self) -> Option<Millis> {
        self.clock
    }

    /// Whether there was a record at all, whatever became of it.
    pub(super) fn has_given(&self) -> bool {
        self.has_given
    }

    /// The stock rows that this partition holds, with their offsets.
    pub(super) fn levels(&self) -> impl Iterator<Item = (i64, &StockLevel)> {
        self.levels.values().flat_map(|warehouses| warehouses.values().map(|(offset, level)| (*offset, level)))
    }

    /// Takes the next record: a value as it was read, or a key alone.
    pub(super) fn offer(
        &mut self,
        place: Place,
        kafka_timestamp: Option<Millis>,
        key: Option<&[u8]>,
        read: Option<Result<Record, Rejection>>,
        names: &mut Names,
        change: &mut impl FnMut(Change<'_>, &mut Names),
    ) -> Verdict {
        self.has_given = true;
        let verdict = |outcome, reason, event_time| Verdict { outcome, reason, event_time };
        let record = match read {
            None => return self.cancel(key, names, change),
            Some(Err(rejection)) => return verdict(Outcome::Rejected, Some(rejection.reason), None),
            Some(Ok(record)) => record,
        };
        let at = record.event_time();
        let floor = self.floor();
        if self.topic != Topic::Inventory && floor.is_some_and(|floor| at < floor) {
            return verdict(Outcome::Late, Some(Reason::Late), Some(at));
        }
        if kafka_timestamp.is_some_and(|kafka| at > kafka.saturating_add(self.windows.max_future)) {
            return verdict(Outcome::Quarantined, Some(Reason::FutureTimestamp), Some(at));
        }
        let outcome = match record {
            Record::Sale(sale) => self.sale(sale, place, floor, names, change),
            Record::Activity(activity) => {
                let user = names.name(&activity.user_id);
                change(Change::Activity { activity: &activity, user, place }, names);
                Outcome::Accepted
            }
            Record::StockLevel(level) => {
                self.level(level, place.offset);
                Outcome::Accepted
            }
        };
        if outcome != Outcome::Duplicate {
            self.clock = self.clock.max(Some(at));
            self.forget();
        }
        verdict(outcome, None, Some(at))
    }

    /// Records below are late, and rows below are known no more.
    fn floor(&self) -> Option<Millis> {
        self.clock.map(|clock| clock - self.windows.correction_window)
    }

    fn sale(
        &mut self,
        sale: Sale,
        place: Place,
        floor: Option<Millis>,
        names: &mut Names,
        change: &mut impl FnMut(Change<'_>, &mut Names),
    ) -> Outcome {
        let row = SaleRow::of(&sale, names);
        let transaction_id = sale.transaction_id;
        let known = self.known.get_mut(&transaction_id).filter(|known| floor.is_none_or(|floor| known.row.at >= floor));
        if let Some(known) = known {
            if known.row == row {
                return Outcome::Duplicate;
            }
            let old = Place { offset: known.offset, ..place };
            change(Change::Sale { row: known.row, transaction_id: &transaction_id, place: old, sign: -1 }, names);
            change(Change::Sale { row, transaction_id: &transaction_id, place, sign: 1 }, names);
            *known = Known { row, offset: place.offset };
            return Outcome::Correction;
        }
        change(Change::Sale { row, transaction_id: &transaction_id, place, sign: 1 }, names);
        self.known.insert(transaction_id, Known { row, offset: place.offset });
        Outcome::Accepted
    }

    /// Of a product in a warehouse the record that was updated last counts, the later one of two at the same time.
    fn level(&mut self, level: StockLevel, offset: i64) {
        let warehouses = self.levels.entry_ref(&level.product_id).or_default();
        match warehouses.get_mut(&level.warehouse_id) {
            Some((_, current)) if current.last_updated > level.last_updated => {}
            Some(current) => *current = (offset, level),
            None => {
                warehouses.insert(level.warehouse_id.clone(), (offset, level));
            }
        }
    }

    fn cancel(
        &mut self,
        key: Option<&[u8]>,
        names: &mut Names,
        change: &mut impl FnMut(Change<'_>, &mut Names),
    ) -> Verdict {
        let key = key.filter(|key| !key.is_empty());
        let (Some(key), Topic::Sales | Topic::Inventory) = (key, self.topic) else {
            return Verdict { outcome: Outcome::Rejected, reason: Some(Reason::NullValue), event_time: None };
        };
        // A key that is no text is the name of nothing.
        if let Ok(key) = std::str::from_utf8(key) {
            self.levels.remove(key);
            let floor = self.floor();
            if let Some((transaction_id, known)) = self.known.remove_entry(key)
                && floor.is_none_or(|floor| known.row.at >= floor)
            {
                let place = Place { partition: self.number, offset: known.offset };
                change(Change::Sale { row: known.row, transaction_id: &transaction_id, place, sign: -1 }, names);
            }
        }
        Verdict { outcome: Outcome::Cancelled, reason: None, event_time: None }
    }

    /// Lets go of the transactions that are known no more, now and then: what is left too long does no harm.
    fn forget(&mut self) {
        let (Some(clock), Some(floor)) = (self.clock, self.floor()) else { return };
        let pause = SWEEP_AT_LEAST.max(self.windows.correction_window / SWEEPS_PER_WINDOW);
        if clock.saturating_sub(pause) >= self.swept {
            self.swept = clock;
            self.known.retain(|_, known| known.row.at >= floor);
        }
    }
}
