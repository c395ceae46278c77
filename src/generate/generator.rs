//! The generator: the shop's history, with the share of trouble that was asked for.

use tillflow_dataflows::records::{Millis, Outcome, Reason, Topic};

use super::GenerateError;
use super::catalogue;
use super::corrupt::{Corrupted, corrupt};
use super::dice::Dice;
use super::pace::{Clock, LAST_INSTANT, Pace};
use super::respell::respelled;
use super::rows::{self, AnyRow, Row, SaleRow};
use super::shop::Shop;

const HOUR: Millis = 3_600_000;

/// The earliest start; what is sent late must still be after 1970 began.
const FIRST_START: Millis = 31 * 24 * HOUR;

/// So many records go before the first late one: a record is late only where earlier ones have moved the clock.
const RECORDS_BEFORE_LATE: u64 = 500;

/// How much older than the clock a late record is: more than the correction window of 48 h, by at least an hour
/// because a partition's clock lags behind the newest record of all.
const LATE_HOURS: (i64, i64) = (49, 120);

/// How far back a correction may date a sale, before the clock.
const OLDEST_CORRECTION: Millis = 40 * HOUR;

/// What part of all records, from 0 to 1, is trouble of each kind; the rest is the shop's own history. For each
/// record, one draw decides which it is.
///
/// Duplicates, corrections and cancellations refer to one of the last 4,096 sales, not older than 24 h of event time;
/// where there is none, the record is the next of the shop's history instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// A known sale sent again with the same content, half of them spelled differently (order of fields, `1.5` for
    /// `1.50`, another offset of the same instant, unknown fields).
    pub duplicates: f64,
    /// A known sale sent again with another quantity, price, total, category, store, payment method or time.
    pub corrections: f64,
    /// A known sale's transaction_id as the key of a record without a value. The sale is not referred to again.
    pub cancellations: f64,
    /// A sale or a page view dated 49 to 120 h before the clock, which is more than the default correction window.
    /// None is among the first 500 records.
    pub late: f64,
    /// A record of any topic that cannot be used; [`Kind::Corrupt`] says why.
    pub corrupt: f64,
}

impl Shares {
    /// No trouble at all.
    pub const NONE: Shares = Shares { duplicates: 0.0, corrections: 0.0, cancellations: 0.0, late: 0.0, corrupt: 0.0 };

    fn all(&self) -> [f64; 5] {
        [self.duplicates, self.corrections, self.cancellations, self.late, self.corrupt]
    }

    /// Upper ends of each kind's part of the numbers below 2^32, in the order of [`Shares::all`].
    fn marks(&self) -> Result<[u64; 5], GenerateError> {
        let names = ["duplicates", "corrections", "cancellations", "late", "corrupt"];
        for (name, share) in names.into_iter().zip(self.all()) {
            if !(0.0..=1.0).contains(&share) {
                return Err(GenerateError::Settings(format!("the share of {name} is {share}: it must be from 0 to 1")));
            }
        }
        if self.all().iter().sum::<f64>() > 1.0 + 1e-9 {
            return Err(GenerateError::Settings("the shares of trouble add up to more than 1".to_owned()));
        }
        let mut upto = 0;
        Ok(self.all().map(|share| {
            // Times a power of two: exact.
            upto += (share * 4_294_967_296.0) as u64;
            upto
        }))
    }
}

impl Default for Shares {
    fn default() -> Self {
        Shares { duplicates: 0.005, corrections: 0.01, cancellations: 0.002, late: 0.001, corrupt: 0.001 }
    }
}

/// What a [`Generator`] is to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratorOptions {
    /// Same seed, same start, same pace, same shares: same bytes.
    pub seed: u64,
    /// The instant of the first record.
    pub start: Millis,
    /// How event time passes at first.
    pub pace: Pace,
    /// The records per second that the warehouses are stocked for; absent = what `pace` has in the mean. One that
    /// changes its pace gives the rate of the longest stretch, so that shelves neither empty at once nor stay full.
    pub stocked_for: Option<f64>,
    /// How much trouble there is.
    pub shares: Shares,
}

impl GeneratorOptions {
    /// Options with the default shares.
    pub fn new(seed: u64, start: Millis, pace: Pace) -> GeneratorOptions {
        GeneratorOptions { seed, start, pace, stocked_for: None, shares: Shares::default() }
    }
}

/// What a generated record is, and so what must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A record of the shop's history.
    Plain,
    /// A known sale with the same content.
    Duplicate,
    /// A known sale with other content.
    Correction,
    /// A known sale's tombstone.
    Cancellation,
    /// Dated before the correction window.
    Late,
    /// Not usable, for this reason.
    Corrupt(Reason),
}

impl Kind {
    /// The outcome that the record has, read in the order in which it was made, with the default windows and with
    /// the timestamp that it carries.
    pub const fn outcome(self) -> Outcome {
        match self {
            Kind::Plain => Outcome::Accepted,
            Kind::Duplicate => Outcome::Duplicate,
            Kind::Correction => Outcome::Correction,
            Kind::Cancellation => Outcome::Cancelled,
            Kind::Late => Outcome::Late,
            Kind::Corrupt(Reason::FutureTimestamp) => Outcome::Quarantined,
            Kind::Corrupt(_) => Outcome::Rejected,
        }
    }
}

/// One record, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedRecord {
    /// Where it goes.
    pub topic: Topic,
    /// The Kafka key: the key field's value. Absent in some corrupt records.
    pub key: Option<Vec<u8>>,
    /// The value; absent in a tombstone.
    pub value: Option<Vec<u8>>,
    /// The Kafka timestamp: the clock. The event time is this or up to a few seconds before it, unless the record is
    /// late, corrected or corrupt.
    pub timestamp: Millis,
    /// What it is.
    pub kind: Kind,
}

/// An endless history of a shop chain: about 70 % user activity, 25 % sales and 5 % inventory.
///
/// Pure: what comes out is a function of the options, and of when the pace was changed. It ends only where the
/// clock reaches the end of the year 9999.
pub struct Generator {
    dice: Dice,
    clock: Clock,
    shop: Shop,
    marks: [u64; 5],
    made: u64,
}

impl Generator {
    /// A generator at its start. An error names the option that is out of range.
    pub fn new(options: GeneratorOptions) -> Result<Generator, GenerateError> {
        options.pace.check()?;
        let stocked_for = options.stocked_for.unwrap_or(options.pace.per_second());
        Pace::Steady { per_second: stocked_for }.check()?;
        if !(FIRST_START..LAST_INSTANT).contains(&options.start) {
            return Err(GenerateError::Settings(
                "a start that is not within the years from February 1970 to 9998".to_owned(),
            ));
        }
        let mut dice = Dice::new(options.seed, options.start);
        Ok(Generator {
            shop: Shop::new(stocked_for, options.start, &mut dice),
            clock: Clock::new(options.start, options.pace),
            marks: options.shares.marks()?,
            dice,
            made: 0,
        })
    }

    /// The instant of the next record.
    pub fn clock(&self) -> Millis {
        self.clock.now()
    }

    /// Lets event time pass otherwise from the next record on: a thinned past first, then the present at its own rate.
    pub fn set_pace(&mut self, pace: Pace) -> Result<(), GenerateError> {
        pace.check()?;
        self.clock.set_pace(pace);
        Ok(())
    }

    fn make(&mut self, now: Millis) -> GeneratedRecord {
        let mark = u64::from(self.dice.bits32());
        let made = match self.marks.iter().position(|upto| mark < *upto) {
            Some(0) => self.duplicate(now),
            Some(1) => self.correction(now),
            Some(2) => self.cancellation(now),
            Some(3) => self.late(now),
            Some(_) => Some(self.corrupt(now)),
            None => None,
        };
        made.unwrap_or_else(|| match self.shop.next(now, &mut self.dice) {
            AnyRow::Activity(row) => record(&row, now, Kind::Plain),
            AnyRow::Sale(row) => record(&row, now, Kind::Plain),
            AnyRow::Stock(row) => record(&row, now, Kind::Plain),
        })
    }

    fn duplicate(&mut self, now: Millis) -> Option<GeneratedRecord> {
        let place = self.shop.recent.pick(now, &mut self.dice)?;
        let sale = *self.shop.recent.at(place);
        let mut record = record(&sale, now, Kind::Duplicate);
        if self.dice.percent(50) {
            record.value = Some(respelled(&sale, &mut self.dice));
        }
        Some(record)
    }

    fn correction(&mut self, now: Millis) -> Option<GeneratedRecord> {
        let place = self.shop.recent.pick(now, &mut self.dice)?;
        let sale = self.shop.recent.at(place);
        revise(sale, now, &mut self.dice);
        Some(record(sale, now, Kind::Correction))
    }

    fn cancellation(&mut self, now: Millis) -> Option<GeneratedRecord> {
        let place = self.shop.recent.pick(now, &mut self.dice)?;
        let key = rows::key_bytes(self.shop.recent.at(place));
        self.shop.recent.forget(place);
        Some(GeneratedRecord {
            topic: Topic::Sales,
            key: Some(key),
            value: None,
            timestamp: now,
            kind: Kind::Cancellation,
        })
    }

    fn late(&mut self, now: Millis) -> Option<GeneratedRecord> {
        if self.made < RECORDS_BEFORE_LATE {
            return None;
        }
        let (least, most) = LATE_HOURS;
        let then = now - self.dice.between(least * HOUR, most * HOUR);
        Some(if self.dice.percent(50) {
            record(&self.shop.sale_in_store(then, false, &mut self.dice), now, Kind::Late)
        } else {
            record(&self.shop.stray_view(then, &mut self.dice), now, Kind::Late)
        })
    }

    fn corrupt(&mut self, now: Millis) -> GeneratedRecord {
        let dice = &mut self.dice;
        let (topic, Corrupted { key, value, reason }) = match dice.below(10) {
            0..5 => (Topic::UserActivity, corrupt(&self.shop.stray_view(now, dice), now, dice)),
            5..9 => (Topic::Sales, corrupt(&self.shop.sale_in_store(now, false, dice), now, dice)),
            _ => (Topic::Inventory, corrupt(&self.shop.stray_stock(now, dice), now, dice)),
        };
        GeneratedRecord { topic, key, value, timestamp: now, kind: Kind::Corrupt(reason) }
    }
}

impl Iterator for Generator {
    type Item = GeneratedRecord;

    fn next(&mut self) -> Option<GeneratedRecord> {
        let now = self.clock.now();
        if now >= LAST_INSTANT {
            return None;
        }
        let record = self.make(now);
        self.made += 1;
        self.clock.advance();
        Some(record)
    }
}

fn record<R: Row>(row: &R, now: Millis, kind: Kind) -> GeneratedRecord {
    GeneratedRecord {
        topic: R::TOPIC,
        key: Some(rows::key_bytes(row)),
        value: Some(rows::json(row)),
        timestamp: now,
        kind,
    }
}

/// Changes a sale in one respect at least. The stock stays as it is: the goods went, the paper was wrong.
fn revise(sale: &mut SaleRow, now: Millis, dice: &mut Dice) {
    match dice.below(10) {
        0..4 => {
            let more = dice.between(1, 2);
            sale.quantity += if sale.quantity < 0 { -more } else { more };
            sale.total = sale.quantity * sale.unit_price;
        }
        4..6 => {
            sale.unit_price += dice.between(10, 200);
            sale.total = sale.quantity * sale.unit_price;
        }
        // A discount at the till: the total no longer is quantity times price.
        6 => sale.total -= dice.between(5, 150),
        7 => sale.category = catalogue::other_category(sale.category, dice.below(7) as usize),
        8 => {
            sale.store = (sale.store + 1 + dice.below(10) as usize) % catalogue::STORES;
            sale.payment_method += 1;
        }
        _ => {
            let earlier = sale.timestamp - dice.between(60_000, 90 * 60_000);
            if earlier > now - OLDEST_CORRECTION {
                sale.timestamp = earlier;
            } else {
                sale.payment_method += 1;
            }
        }
    }
}
