//! `purchases_unmatched`: which purchases of the last 24 hours have no sale, and which sales no purchase?
//!
//! For each user, product and amount the purchases and the sales are two lists in order of time. Their heads are a
//! pair when they are at most five minutes apart; else the earlier of them has no counterpart. (SQL has no words for
//! a walk whose every step depends on the one before.)
//!
//! Key: none; one row, zero when everything is matched. Units: records. The last 24 hours are the 24 hour buckets that end with
//! the one of `as_of`. State: [`Deals`], 24 bytes for each purchase and each sale of these hours and their
//! user, product and amount. Bound: what was bought in the last 24 hours; older entries are dropped by the hour.

use differential_dataflow::operators::CountTotal;
use differential_dataflow::{Hashable, VecCollection};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::inputs::Dealings;
use crate::intern::{Interner, Symbol};
use crate::measures::UnmatchedMeasures;
use crate::operators::{Follower, follow, with_default};
use crate::outputs::{Metric, RowBody, RowKey, Rows};
use crate::records::{Activity, Millis, Sale, Text};
use crate::state::State;
use crate::time::{Diff, LiveRange, MINUTE, Tick};

/// The longest time between a purchase and its sale.
const APART: Millis = 5 * MINUTE;

/// On which side something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// A purchase that the activity tells of.
    Purchase,
    /// A sale.
    Sale,
}

/// A purchase or a sale, as far as it can be matched. Of two at the same time it does not matter which one is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dealing {
    /// Who bought.
    pub user_id: Text,
    /// What.
    pub product_id: Text,
    /// For how much, in 1/10,000.
    pub amount: i64,
    /// When.
    pub timestamp: Millis,
    /// Who says so.
    pub side: Side,
}

/// A sale as it can be matched.
pub fn deal_of_sale(sale: &Sale<&str>) -> Dealing {
    let (user_id, product_id, amount) = (sale.user_id.into(), sale.product_id.into(), sale.total_amount.0);
    Dealing { user_id, product_id, amount, timestamp: sale.timestamp, side: Side::Sale }
}

/// An activity as it can be matched, if it is a purchase that can be.
pub fn deal_of_purchase(activity: &Activity<&str>) -> Option<Dealing> {
    let (product_id, amount) = (activity.product_id?, activity.amount?.0);
    (activity.activity_type == "purchase").then(|| {
        let (user_id, product_id) = (activity.user_id.into(), product_id.into());
        Dealing { user_id, product_id, amount, timestamp: activity.timestamp, side: Side::Purchase }
    })
}

/// The metric's row.
pub fn purchases_unmatched<'scope>(
    purchases: Dealings<'scope>,
    sales: Dealings<'scope>,
    as_of_hour: VecCollection<'scope, Tick, Millis, Diff>,
    state: &mut State,
) -> Rows<'scope> {
    let row = |measures| (RowKey::Metric(Metric::PurchasesUnmatched), RowBody::Unmatched(measures));
    let deals = Deals::default();
    let sums = follow(purchases.concat(sales), as_of_hour, "Purchases unmatched: deals", deals, Some(&mut *state));
    let name = "Purchases unmatched";
    let sums = state.keys(name, sums, None, |sums| sums.arrange_by_self_named(name)).count_total_core();
    with_default(sums.map(move |((), measures)| row(measures)), row(UnmatchedMeasures::default()))
}

/// What has to be the same of a purchase and its sale.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Deal {
    user_id: Symbol,
    product_id: Symbol,
    amount: i64,
}

/// The purchases and sales of one deal, in order of time: twice the time, and one more for a sale.
type Times = SmallVec<[i64; 2]>;

fn encoded(timestamp: Millis, side: Side) -> i64 {
    timestamp * 2 + side as i64
}

/// The purchases and sales of the last 24 hours.
#[derive(Default)]
pub struct Deals {
    texts: Interner,
    deals: HashMap<Deal, Times>,
    /// The start of the first live hour.
    live_from: Option<Millis>,
    /// How many purchases and sales are held.
    held: usize,
}

/// With more purchases and sales than this, a deal is walked once a tick instead of once a change.
const MANY: usize = 8;

/// What was unmatched, before the tick, of the deals with many purchases and sales.
type Touched = HashMap<Deal, UnmatchedMeasures>;

impl Deals {
    fn add(&mut self, dealing: &Dealing, touched: &mut Touched, sums: &mut UnmatchedMeasures) {
        let (user_id, product_id) = (self.texts.acquire(&dealing.user_id), self.texts.acquire(&dealing.product_id));
        let deal = Deal { user_id, product_id, amount: dealing.amount };
        let times = match self.deals.entry(deal) {
            Entry::Occupied(entry) => {
                self.texts.release(user_id);
                self.texts.release(product_id);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(Times::new()),
        };
        self.held += 1;
        change(deal, times, touched, sums, |times| {
            let time = encoded(dealing.timestamp, dealing.side);
            times.insert(times.partition_point(|known| *known <= time), time);
        });
    }

    fn remove(&mut self, dealing: &Dealing, touched: &mut Touched, sums: &mut UnmatchedMeasures) {
        let held = "what is taken back and live is held";
        let symbol = |text: &Text| self.texts.find(text).expect(held);
        let (user_id, product_id) = (symbol(&dealing.user_id), symbol(&dealing.product_id));
        let deal = Deal { user_id, product_id, amount: dealing.amount };
        let Entry::Occupied(mut entry) = self.deals.entry(deal) else { panic!("{held}") };
        self.held -= 1;
        change(deal, entry.get_mut(), touched, sums, |times| {
            times.remove(times.binary_search(&encoded(dealing.timestamp, dealing.side)).expect(held));
        });
        if entry.get().is_empty() {
            entry.remove();
            self.texts.release(user_id);
            self.texts.release(product_id);
        }
    }

    /// Lets go of what is before `live_from`.
    fn expire(&mut self, live_from: Millis, sums: &mut UnmatchedMeasures) {
        let Deals { texts, deals, held, .. } = self;
        deals.retain(|deal, times| {
            let dead = times.partition_point(|time| *time < live_from * 2);
            if dead > 0 {
                *held -= dead;
                let was = unmatched(times);
                times.drain(..dead);
                replace(sums, was, unmatched(times));
            }
            if times.is_empty() {
                texts.release(deal.user_id);
                texts.release(deal.product_id);
            }
            !times.is_empty()
        });
        if deals.len() < deals.capacity() / 4 {
            deals.shrink_to(deals.len() * 2);
        }
    }
}

/// Changes a deal, and the sums with it, now or at the end of the tick.
fn change(
    deal: Deal,
    times: &mut Times,
    touched: &mut Touched,
    sums: &mut UnmatchedMeasures,
    change: impl FnOnce(&mut Times),
) {
    if times.len() > MANY || touched.contains_key(&deal) {
        touched.entry(deal).or_insert_with(|| unmatched(times));
        change(times);
    } else {
        let was = unmatched(times);
        change(times);
        replace(sums, was, unmatched(times));
    }
}

fn replace(sums: &mut UnmatchedMeasures, was: UnmatchedMeasures, is: UnmatchedMeasures) {
    sums.purchases += is.purchases - was.purchases;
    sums.sales += is.sales - was.sales;
}

impl Follower for Deals {
    type Change = Dealing;
    /// `as_of`, cut to its hour.
    type Instant = Millis;
    type Answer = ();
    type Measure = UnmatchedMeasures;

    fn route(dealing: &Dealing) -> u64 {
        (&dealing.user_id, &dealing.product_id, dealing.amount).hashed()
    }

    fn step(
        &mut self,
        changes: &mut dyn Iterator<Item = (Dealing, Diff)>,
        as_of: Option<&Millis>,
        give: &mut dyn FnMut((), UnmatchedMeasures),
    ) {
        let live_from = as_of.map(|as_of| LiveRange::Last24Hours.first(*as_of));
        let (mut touched, mut sums) = (Touched::new(), UnmatchedMeasures::default());
        if let Some(live_from) = live_from
            && self.live_from != Some(live_from)
        {
            self.live_from = Some(live_from);
            self.expire(live_from, &mut sums);
        }
        let is_live = |dealing: &Dealing| live_from.is_none_or(|from| dealing.timestamp >= from);
        let mut gone = Vec::new();
        for (dealing, difference) in changes {
            match difference {
                _ if !is_live(&dealing) => {}
                1.. => self.add(&dealing, &mut touched, &mut sums),
                _ => gone.push(dealing),
            }
        }
        // A tick may bring what it takes back.
        for dealing in gone {
            self.remove(&dealing, &mut touched, &mut sums);
        }
        for (deal, was) in touched {
            replace(&mut sums, was, self.deals.get(&deal).map(unmatched).unwrap_or_default());
        }
        give((), sums);
    }

    fn held(&self) -> usize {
        self.held
    }

    /// The user, the product, the amount and its times.
    type Piece = (Text, Text, i64, Vec<i64>);

    fn route_piece((user_id, product_id, amount, _): &Self::Piece) -> u64 {
        (user_id, product_id, *amount).hashed()
    }

    fn save(&self, give: &mut dyn FnMut(Self::Piece)) {
        for (Deal { user_id, product_id, amount }, times) in &self.deals {
            let text = |symbol| self.texts.text(symbol).clone();
            give((text(*user_id), text(*product_id), *amount, times.to_vec()));
        }
    }

    fn load(&mut self, (user_id, product_id, amount, times): Self::Piece) {
        let (user_id, product_id) = (self.texts.acquire(&user_id), self.texts.acquire(&product_id));
        self.held += times.len();
        self.deals.insert(Deal { user_id, product_id, amount }, SmallVec::from_vec(times));
    }

    /// What is older than a day leaves by itself.
    fn expire(&mut self, _before: Millis) -> usize {
        0
    }
}

/// Walks both sides of a deal.
fn unmatched(times: &Times) -> UnmatchedMeasures {
    let side = |side: Side| times.iter().filter(move |time| *time % 2 == side as i64).map(|time| time / 2).peekable();
    let (mut purchases, mut sales) = (side(Side::Purchase), side(Side::Sale));
    let mut unmatched = UnmatchedMeasures::default();
    while let (Some(purchase), Some(sale)) = (purchases.peek(), sales.peek()) {
        if purchase.abs_diff(*sale) <= APART.unsigned_abs() {
            purchases.next();
            sales.next();
        } else if purchase < sale {
            purchases.next();
            unmatched.purchases += 1;
        } else {
            sales.next();
            unmatched.sales += 1;
        }
    }
    let count = |rest: usize| i64::try_from(rest).expect("fewer than 2^63 records");
    unmatched.purchases += count(purchases.count());
    unmatched.sales += count(sales.count());
    unmatched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR;

    fn dealing(side: Side, minute: i64) -> Dealing {
        let (user_id, product_id) = ("u".into(), "p".into());
        Dealing { user_id, product_id, amount: 7, timestamp: 100 * HOUR + minute * MINUTE, side }
    }

    /// What is unmatched after the changes.
    fn stepped(
        deals: &mut Deals,
        sums: &mut UnmatchedMeasures,
        changes: &[(Dealing, Diff)],
        as_of: Millis,
    ) -> (i64, i64) {
        deals.step(&mut changes.iter().cloned(), Some(&as_of), &mut |(), change| {
            sums.purchases += change.purchases;
            sums.sales += change.sales;
        });
        (sums.purchases, sums.sales)
    }

    #[test]
    fn heads_are_paired_within_five_minutes() {
        use Side::{Purchase, Sale};
        type Case<'a> = (&'a [(Side, i64)], (i64, i64));
        let cases: [Case<'_>; 6] = [
            (&[(Purchase, 0), (Sale, 5)], (0, 0)),
            (&[(Sale, 0), (Purchase, 5)], (0, 0)),
            (&[(Purchase, 0), (Sale, 6)], (1, 1)),
            // The first two are a pair, although the second purchase is closer to the sale.
            (&[(Purchase, 0), (Purchase, 4), (Sale, 4)], (1, 0)),
            (&[(Purchase, 0), (Sale, 6), (Purchase, 7), (Sale, 20)], (1, 1)),
            (&[(Sale, 0), (Sale, 1), (Purchase, 6), (Purchase, 30)], (1, 1)),
        ];
        for (events, expected) in cases {
            let changes: Vec<_> = events.iter().map(|(side, minute)| (dealing(*side, *minute), 1)).collect();
            let (mut deals, mut sums) = (Deals::default(), UnmatchedMeasures::default());
            assert_eq!(stepped(&mut deals, &mut sums, &changes, 100 * HOUR), expected, "{events:?}");
        }
    }

    #[test]
    fn a_deal_with_many_sales_is_walked_as_one_with_few() {
        let (mut deals, mut sums) = (Deals::default(), UnmatchedMeasures::default());
        let many: Vec<_> = (0..40).map(|turn| (dealing(Side::Sale, turn / 8), 1)).collect();
        let [first, second] = [&many[..25], &many[25..]];
        assert_eq!(stepped(&mut deals, &mut sums, first, 100 * HOUR), (0, 25));
        assert_eq!(stepped(&mut deals, &mut sums, second, 100 * HOUR), (0, 40));
        let purchases: Vec<_> = (0..3).map(|_| (dealing(Side::Purchase, 2), 1)).collect();
        assert_eq!(stepped(&mut deals, &mut sums, &purchases, 100 * HOUR), (0, 37));
        let gone: Vec<_> = many.iter().map(|(dealing, _)| (dealing.clone(), -1)).collect();
        assert_eq!(stepped(&mut deals, &mut sums, &gone[..38], 100 * HOUR), (1, 0));
        assert_eq!(stepped(&mut deals, &mut sums, &gone[38..], 100 * HOUR), (3, 0));
        assert_eq!(deals.held(), 3);
    }

    #[test]
    fn what_leaves_the_range_or_is_taken_back_leaves_nothing() {
        let (mut deals, mut sums) = (Deals::default(), UnmatchedMeasures::default());
        let both = [(dealing(Side::Purchase, 0), 1), (dealing(Side::Sale, 2), 1), (dealing(Side::Sale, 90), 1)];
        assert_eq!(stepped(&mut deals, &mut sums, &both, 101 * HOUR), (0, 1));
        assert_eq!(stepped(&mut deals, &mut sums, &[(dealing(Side::Sale, 2), -1)], 101 * HOUR), (1, 1));
        assert_eq!(stepped(&mut deals, &mut sums, &[(dealing(Side::Sale, 3), 1)], 102 * HOUR), (0, 1));
        // Hour 100 is over; what still comes of it does not count, and cannot be taken back.
        assert_eq!(stepped(&mut deals, &mut sums, &[], 124 * HOUR), (0, 1));
        let late = [(dealing(Side::Sale, 4), 1), (dealing(Side::Purchase, 0), -1)];
        assert_eq!(stepped(&mut deals, &mut sums, &late, 124 * HOUR), (0, 1));
        assert_eq!(deals.held(), 1);
        assert_eq!(stepped(&mut deals, &mut sums, &[], 125 * HOUR), (0, 0));
        assert_eq!((deals.held(), deals.deals.len(), deals.texts.len()), (0, 0, 0));
    }
}
