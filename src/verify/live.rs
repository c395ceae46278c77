//! The metrics, and what of the last days they and the alerts are made of.
//!
//! Live ranges end with the bucket that holds `as_of`, which is known for good at the end only. It never goes back, so
//! a bucket that is behind the range now is behind it then: what is kept is what the ranges reach.

use std::collections::{BTreeMap, BTreeSet};

use ethnum::I256;
use hashbrown::{HashMap, HashSet};
use tillflow_dataflows::records::{Activity, Millis, Outcome, Reason, Text};

use super::admission::{Place, SaleRow};
use super::names::{Name, Names};
use super::numbers::{DAY, HOUR, MINUTE, start_of};
use super::windows::{SaleSums, Windows, count, int, money, text};
use crate::document::{Collection, Document, FieldName, Fields, Value};

/// Hours that `units_sold_7d` is made of.
const SUPPLY_HOURS: i64 = 168;
/// Hours before the judged one that `revenue_anomaly` compares it with, and how many of them must not be empty.
const ANOMALY_HOURS: i64 = 24;
const ANOMALY_HOURS_MIN: usize = 12;
/// How far apart a purchase and its sale may be.
const PAIRING: Millis = 5 * MINUTE;

/// The activities of one minute.
#[derive(Debug, Default)]
struct ActivityMinute {
    events: i64,
    users: HashSet<Name>,
    /// Whether something was bought in the session.
    sessions: HashMap<Text, bool>,
}

/// Purchases and sales of one user, product and amount in one hour, in the order in which they are paired.
#[derive(Debug, Default)]
struct Sides {
    purchases: BTreeSet<(Millis, Place)>,
    sales: BTreeSet<(Millis, Place)>,
}

/// How many records had which outcome, and how many dead letters which reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// By [`Outcome::ALL`]'s order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// By [`Reason::ALL`]'s order.
    pub reasons: [u64; Reason::ALL.len()],
}

pub(super) struct Live {
    pub(super) as_of: Option<Millis>,
    all: SaleSums,
    mismatched: i64,
    minutes: Windows<Name, SaleSums>,
    hours: Windows<Name, SaleSums>,
    categories: Windows<Name, SaleSums>,
    activity: Windows<(), ActivityMinute>,
    pairs: Option<Windows<(Name, Name, i64), Sides>>,
}

impl Live {
    pub(super) fn new(maintained: impl Fn(&str) -> bool) -> Live {
        Live {
            as_of: None,
            all: SaleSums::default(),
            mismatched: 0,
            minutes: Windows::of(MINUTE),
            hours: Windows::of(HOUR),
            categories: Windows::of(HOUR),
            activity: Windows::of(MINUTE),
            pairs: maintained("purchases_unmatched").then(|| Windows::of(HOUR)),
        }
    }

    /// The start of the first of so many buckets that end with the one that holds `as_of`. Before the first accepted
    /// record no bucket is live.
    fn since(&self, width: Millis, buckets: i64) -> Millis {
        self.as_of.map_or(Millis::MAX, |as_of| start_of(as_of, width) - (buckets - 1) * width)
    }

    /// Whether the range reaches an instant, as far as is known now.
    fn reaches(&self, at: Millis, width: Millis, buckets: i64) -> bool {
        self.as_of.is_none() || at >= self.since(width, buckets)
    }

    pub(super) fn advance(&mut self, clock: Millis) {
        let before = self.as_of.replace(self.as_of.map_or(clock, |as_of| as_of.max(clock)));
        if before.is_some_and(|before| start_of(before, MINUTE) == start_of(clock.max(before), MINUTE)) {
            return;
        }
        let minute = self.since(MINUTE, 60);
        self.minutes.forget_before(minute);
        self.activity.forget_before(minute);
        self.hours.forget_before(self.since(HOUR, SUPPLY_HOURS));
        self.categories.forget_before(self.since(HOUR, ANOMALY_HOURS + 2));
        let day = self.since(HOUR, 24);
        if let Some(pairs) = &mut self.pairs {
            pairs.forget_before(day);
        }
    }

    pub(super) fn sale(&mut self, row: &SaleRow, place: Place, sign: i64) {
        self.all.add(row.quantity, row.total_amount, sign);
        let exact = i128::from(row.quantity) * i128::from(row.unit_price);
        // 0.01 in units of 1/10,000.
        if (i128::from(row.total_amount) - exact).abs() > 100 {
            self.mismatched += sign;
        }
        // What is out of reach now was so, or was let go, if it is taken back: both ways nothing is left of it.
        if self.reaches(row.at, MINUTE, 60) {
            self.minutes.at(row.at, row.product).add(row.quantity, row.total_amount, sign);
        }
        if self.reaches(row.at, HOUR, SUPPLY_HOURS) {
            self.hours.at(row.at, row.product).add(row.quantity, row.total_amount, sign);
        }
        if self.reaches(row.at, HOUR, ANOMALY_HOURS + 2) {
            self.categories.at(row.at, row.category).add(row.quantity, row.total_amount, sign);
        }
        if self.reaches(row.at, HOUR, 24)
            && let Some(pairs) = &mut self.pairs
        {
            let sales = &mut pairs.at(row.at, (row.user, row.product, row.total_amount)).sales;
            if sign > 0 {
                sales.insert((row.at, place));
            } else {
                sales.remove(&(row.at, place));
            }
        }
    }

    pub(super) fn activity(&mut self, activity: &Activity, user: Name, place: Place, names: &mut Names) {
        let at = activity.timestamp;
        let is_purchase = activity.activity_type == "purchase";
        if self.reaches(at, MINUTE, 60) {
            let minute = self.activity.at(at, ());
            minute.events += 1;
            minute.users.insert(user);
            *minute.sessions.entry_ref(&activity.session_id).or_default() |= is_purchase;
        }
        if let (true, Some(product), Some(amount)) = (is_purchase, &activity.product_id, activity.amount)
            && self.reaches(at, HOUR, 24)
            && let Some(pairs) = &mut self.pairs
        {
            pairs.at(at, (user, names.name(product), amount.0)).purchases.insert((at, place));
        }
    }

    /// Units sold of each product in the 7 days that supply is judged by.
    pub(super) fn units_sold(&self) -> HashMap<Name, i128> {
        let mut units: HashMap<Name, i128> = HashMap::new();
        for (_, products) in self.hours.since(self.since(HOUR, SUPPLY_HOURS)) {
            for (product, sums) in products {
                *units.entry(*product).or_default() += sums.units;
            }
        }
        units
    }

    /// The categories whose last whole hour is unlike the 24 before it: that hour's revenue, and that of the 24.
    pub(super) fn anomalies(&self) -> Vec<(Name, i128, i128)> {
        let Some(as_of) = self.as_of else { return Vec::new() };
        let judged = start_of(as_of, HOUR) - HOUR;
        let mut hours: HashMap<Name, (i128, Vec<i128>)> = HashMap::new();
        for (start, categories) in self.categories.since(judged - ANOMALY_HOURS * HOUR) {
            for (category, sums) in categories.iter().filter(|(_, sums)| sums.rows > 0 && start <= judged) {
                let (last, base) = hours.entry(*category).or_default();
                if start == judged {
                    *last = sums.revenue;
                } else {
                    base.push(sums.revenue);
                }
            }
        }
        hours
            .into_iter()
            .filter(|(_, (last, base))| is_anomalous(*last, base))
            .map(|(category, (last, base))| (category, last, base.iter().sum()))
            .collect()
    }

    fn sums_since(&self, since: Millis, windows: &Windows<Name, SaleSums>) -> HashMap<Name, SaleSums> {
        let mut products: HashMap<Name, SaleSums> = HashMap::new();
        for (_, sums) in windows.since(since) {
            for (product, sums) in sums {
                products.entry(*product).or_default().merge(sums);
            }
        }
        products.retain(|_, sums| sums.rows > 0);
        products
    }

    /// Every metric but the one about stock, which is not known here.
    pub(super) fn close(
        &self,
        quality: &Quality,
        names: &Names,
        maintained: impl Fn(&str) -> bool,
        give: &mut dyn FnMut(Document),
    ) {
        let mut metric = |name: &str, measures: Fields| {
            if maintained(name) {
                give(metric_document(name, measures));
            }
        };
        let hour = self.sums_since(self.since(MINUTE, 60), &self.minutes);
        let day = self.sums_since(self.since(HOUR, 24), &self.hours);
        metric("sales_all", self.all.fields());
        metric("sales_last_hour", total(&hour).fields());
        metric("sales_last_24h", total(&day).fields());
        metric("top_products_last_hour", vec![top(&hour, names)]);
        metric("top_products_last_24h", vec![top(&day, names)]);
        metric("activity_last_hour", self.last_hour());
        metric("arithmetic_mismatch", vec![int("transactions", self.mismatched)]);
        metric("data_quality", quality_fields(quality));
        if let Some(pairs) = &self.pairs {
            metric("purchases_unmatched", unmatched(pairs, self.since(HOUR, 24)));
        }
    }

    fn last_hour(&self) -> Fields {
        let mut events = 0;
        let mut users = HashSet::new();
        let mut sessions: HashMap<(Millis, &Text), bool> = HashMap::new();
        for (start, minute) in self.activity.since(self.since(MINUTE, 60)) {
            let Some(minute) = minute.get(&()) else { continue };
            events += minute.events;
            users.extend(minute.users.iter().copied());
            for (session, bought) in &minute.sessions {
                *sessions.entry((start_of(start, DAY), session)).or_default() |= bought;
            }
        }
        let converted = sessions.values().filter(|bought| **bought).count();
        vec![
            int("events", events),
            length("users", users.len()),
            length("sessions", sessions.len()),
            length("converted", converted),
        ]
    }
}

pub(super) fn length(name: &'static str, length: usize) -> (FieldName, Value) {
    int(name, i64::try_from(length).unwrap_or(i64::MAX))
}

/// A metric's document, without its epoch, as_of and timestamp.
pub(super) fn metric_document(name: &str, measures: Fields) -> Document {
    let mut fields = vec![text("type", "metric"), text("name", name)];
    fields.extend(measures);
    Document { collection: Collection::RealTimeMetrics, id: format!("metric|{name}"), fields }
}

fn total(products: &HashMap<Name, SaleSums>) -> SaleSums {
    let mut total = SaleSums::default();
    products.values().for_each(|sums| total.merge(sums));
    total
}

fn top(products: &HashMap<Name, SaleSums>, names: &Names) -> (FieldName, Value) {
    let mut ranked: Vec<(&str, &SaleSums)> =
        products.iter().map(|(product, sums)| (names.text(*product), sums)).collect();
    ranked.sort_unstable_by_key(|(product, sums)| (std::cmp::Reverse(sums.revenue), *product));
    let products = ranked.into_iter().take(10).zip(1..).map(|((product, sums), rank)| {
        Value::Document(vec![
            int("rank", rank),
            text("product_id", product),
            money("revenue", sums.revenue),
            count("units", sums.units),
        ])
    });
    ("products".into(), Value::List(products.collect()))
}

fn quality_fields(quality: &Quality) -> Fields {
    let counted = |name: &'static str, number: u64| int(name, i64::try_from(number).unwrap_or(i64::MAX));
    let outcomes = Outcome::ALL.iter().zip(quality.outcomes).map(|(outcome, number)| counted(outcome.name(), number));
    let reasons = Reason::ALL.iter().zip(quality.reasons).map(|(reason, number)| counted(reason.name(), number));
    vec![
        ("outcomes".into(), Value::Document(outcomes.collect())),
        ("reasons".into(), Value::Document(reasons.collect())),
    ]
}

/// Walks both sides of each (user, product, amount), pairing the two heads where they are near enough.
fn unmatched(pairs: &Windows<(Name, Name, i64), Sides>, since: Millis) -> Fields {
    let mut groups: BTreeMap<(Name, Name, i64), [Vec<Millis>; 2]> = BTreeMap::new();
    // Hours come in order, and so does each hour's side.
    for (_, hour) in pairs.since(since) {
        for (group, sides) in hour {
            let [purchases, sales] = groups.entry(*group).or_default();
            purchases.extend(sides.purchases.iter().map(|(at, _)| *at));
            sales.extend(sides.sales.iter().map(|(at, _)| *at));
        }
    }
    let (mut lone_purchases, mut lone_sales) = (0, 0);
    for [purchases, sales] in groups.values() {
        let (mut purchase, mut sale) = (0, 0);
        while purchase < purchases.len() && sale < sales.len() {
            let apart = purchases[purchase] - sales[sale];
            if apart.abs() <= PAIRING {
                purchase += 1;
                sale += 1;
            } else if apart < 0 {
                lone_purchases += 1;
                purchase += 1;
            } else {
                lone_sales += 1;
                sale += 1;
            }
        }
        lone_purchases += purchases.len() - purchase;
        lone_sales += sales.len() - sale;
    }
    vec![length("purchases", lone_purchases), length("sales", lone_sales)]
}

/// Whether an hour's revenue x is further than 3 population standard deviations from the mean of 24 hours, those that
/// are not in `base` being 0: |x - S/24| > 3 sqrt(24 Q - S²) / 24, squared, so that nothing is rounded.
fn is_anomalous(last: i128, base: &[i128]) -> bool {
    let hours = I256::from(ANOMALY_HOURS);
    let sum: I256 = base.iter().map(|revenue| I256::from(*revenue)).sum();
    let squares: I256 = base.iter().map(|revenue| I256::from(*revenue) * I256::from(*revenue)).sum();
    let apart = hours * I256::from(last) - sum;
    base.len() >= ANOMALY_HOURS_MIN && apart * apart > I256::from(9) * (hours * squares - sum * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_anomalous_beyond_three_deviations_and_not_at_them() {
        // Twelve hours of 2 and twelve of 0: mean 1, deviation 1.
        let base = [2; 12];
        for (last, anomalous) in [(4, false), (5, true), (-2, false), (-3, true), (1, false)] {
            assert_eq!(is_anomalous(last, &base), anomalous, "{last}");
        }
        assert!(!is_anomalous(1_000, &[2; 11]));
        // Equal hours have no deviation: anything else is unlike them.
        assert!(!is_anomalous(7, &[7; 24]) && is_anomalous(8, &[7; 24]));
    }

    #[test]
    fn sums_of_hostile_size_do_not_overflow() {
        let huge = i128::from(i64::MAX) * 1_000_000;
        assert!(is_anomalous(-huge, &[huge; 24]));
    }

    #[test]
    fn heads_are_paired_within_five_minutes_and_the_earlier_is_dropped_else() {
        let mut names = Names::default();
        let name = names.name(&"a".into());
        let mut pairs: Windows<(Name, Name, i64), Sides> = Windows::of(HOUR);
        let place = |offset| Place { partition: 0, offset };
        let sides = pairs.at(0, (name, name, 1));
        sides.purchases.extend([(0, place(0)), (10 * MINUTE, place(1))]);
        sides.sales.extend([(5 * MINUTE, place(0)), (15 * MINUTE + 1, place(1)), (30 * MINUTE, place(2))]);
        // 0 with 5 min; 10 min is dropped for 15 min and a moment; two sales are left.
        assert_eq!(unmatched(&pairs, 0), vec![length("purchases", 1), length("sales", 2)]);
    }
}
