//! `customers`: who buys for the first time, and who comes back?
//!
//! ```sql
//! WITH firsts AS (SELECT DISTINCT ON (user_id) user_id, timestamp, total_amount
//!                 FROM sales ORDER BY user_id, timestamp, transaction_id, partition)
//! SELECT day, count(firsts.user_id) AS new_customers,
//!        count(DISTINCT sales.user_id) - count(firsts.user_id) AS returning_customers,
//!        sum(firsts.total_amount) AS new_revenue, sum(total_amount) - sum(firsts.total_amount) AS returning_revenue
//! FROM sales LEFT JOIN firsts ON the sale is that user's first GROUP BY day
//! ```
//!
//! Granularity: day. Key: none. Units: users; 1/10,000 of the currency. new + returning revenue is the day's of
//! `sales_total`.
//! State: one entry per user and day (distinct buyers), one entry per row in `customer_rollups`, and [`FirstSales`]:
//! one sale per user, and for users whose first sale can still be taken back every sale they have, because any of
//! them may turn out to be the first.

use std::collections::BTreeMap;

use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::{Hashable, VecCollection};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::cells::ProductCells;
use crate::measures::CustomerMeasures;
use crate::operators::{Follower, combine, follow};
use crate::outputs::{RollupKey, View};
use crate::records::{Millis, Text};
use crate::sales_pass::{Buyers, BuyersSales};
use crate::time::{Diff, Granularity, Tick, Window};
use crate::views::{Contributions, rollup};

/// A sale as far as it matters who bought first. Ordered as first sales are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BuyersSale {
    /// Event time.
    pub timestamp: Millis,
    /// The transaction.
    pub transaction_id: Text,
    /// The partition that gave it.
    pub partition: i32,
    /// Its total, in 1/10,000.
    pub total_amount: i64,
}

/// What each day's sales, buyers and first sales add to the view's rows.
pub fn customers<'scope>(
    buyers: Buyers<'scope>,
    sales: BuyersSales<'scope>,
    product_days: ProductCells<'scope>,
    settled_before: VecCollection<'scope, Tick, SettledBefore, Diff>,
) -> Contributions<'scope, CustomerMeasures> {
    let nothing = CustomerMeasures::default();
    let key = |day: Window| rollup(View::Customers, day, Text::default());
    let buyers = buyers.arrange_by_self_named("Customers: buyers").threshold_total(|buyer, sales: &Diff| {
        assert!(*sales > 0, "{buyer:?} has {sales} sales");
        1
    });
    let buyers = combine(buyers, "Combine: buyers", move |(day, _user): (Window, Text), difference: Diff, give| {
        give(key(day), CustomerMeasures { buyers: difference, ..nothing });
    });
    let revenue = combine(product_days, "Combine: revenue of customers", move |(day, _product), sums, give| {
        give(key(day), CustomerMeasures { revenue: sums.revenue, ..nothing });
    });
    let firsts = follow(sales, settled_before, "Customers: first sales", FirstSales::default());
    buyers.concat(revenue).concat(firsts)
}

/// For each partition of `sales` that has a clock the instant before which none of its sales can be taken back.
pub type SettledBefore = Vec<(i32, Millis)>;

/// The first sale of each user, and what may take its place.
#[derive(Default)]
pub struct FirstSales {
    /// By user, in order; never empty. Only the last one may be known to be settled.
    users: HashMap<Text, Vec<BuyersSale>>,
    /// The users with more than one sale, by the hour in which the first of them may be settled. A user may be in
    /// several, and have one sale by then.
    unsettled: BTreeMap<Millis, Vec<Text>>,
    settled_before: SettledBefore,
    /// How many sales are held.
    held: usize,
}

/// Whether a sale can be taken back no more. Once it is so it stays so: a partition's clock never goes back.
fn is_settled(sale: &BuyersSale, before: &SettledBefore) -> bool {
    let known = before.binary_search_by_key(&sale.partition, |(partition, _)| *partition);
    known.is_ok_and(|index| sale.timestamp < before[index].1)
}

impl FirstSales {
    fn add(&mut self, user: Text, sale: BuyersSale, touched: &mut HashMap<Text, Option<BuyersSale>>) {
        let Some(sales) = self.users.get_mut(&user) else {
            touched.entry(user.clone()).or_insert(None);
            self.users.insert(user, vec![sale]);
            self.held += 1;
            return;
        };
        let place = sales.partition_point(|known| *known < sale);
        if place == sales.len() && is_settled(&sales[place - 1], &self.settled_before) {
            return;
        }
        if place == 0 && !touched.contains_key(&user) {
            touched.insert(user.clone(), Some(sales[0].clone()));
        }
        sales.insert(place, sale);
        self.held += 1;
        if sales.len() == 2 {
            self.unsettled.entry(Granularity::Hour.start(sales[0].timestamp)).or_default().push(user);
        }
    }

    fn remove(&mut self, user: Text, sale: &BuyersSale, touched: &mut HashMap<Text, Option<BuyersSale>>) {
        // One that is not there came after a sale that stays.
        let Some(sales) = self.users.get_mut(&user) else { return };
        let Ok(place) = sales.binary_search(sale) else { return };
        sales.remove(place);
        self.held -= 1;
        if sales.is_empty() {
            self.users.remove(&user);
        }
        if place == 0 {
            touched.entry(user).or_insert_with(|| Some(sale.clone()));
        }
    }

    /// Lets go of what cannot become anybody's first sale: whatever comes after one that stays.
    fn settle(&mut self, before: &SettledBefore) {
        self.settled_before.clone_from(before);
        // Of the hours before this one everything may be settled, of this one something; it waits for its end.
        let Some(hour) = before.iter().map(|(_, before)| Granularity::Hour.start(*before)).max() else { return };
        let later = self.unsettled.split_off(&hour);
        for user in std::mem::replace(&mut self.unsettled, later).into_values().flatten() {
            let Some(sales) = self.users.get_mut(&user) else { continue };
            if let Some(settled) = sales.iter().position(|sale| is_settled(sale, before)) {
                self.held -= sales.len() - (settled + 1);
                sales.truncate(settled + 1);
                sales.shrink_to_fit();
            }
            if sales.len() > 1 {
                // Those of a partition that is behind; they are looked at again in an hour.
                self.unsettled.entry(hour).or_default().push(user);
            }
        }
    }
}

impl Follower for FirstSales {
    type Change = (Text, BuyersSale);
    type Instant = SettledBefore;
    type Answer = RollupKey;
    type Measure = CustomerMeasures;

    fn route((user, _): &(Text, BuyersSale)) -> u64 {
        user.hashed()
    }

    fn step(
        &mut self,
        changes: &mut dyn Iterator<Item = ((Text, BuyersSale), Diff)>,
        settled_before: Option<&SettledBefore>,
        give: &mut dyn FnMut(RollupKey, CustomerMeasures),
    ) {
        // The first sale of the users whose first this tick touches, as it was.
        let mut touched: HashMap<Text, Option<BuyersSale>> = HashMap::new();
        let mut gone = Vec::new();
        for ((user, sale), difference) in changes {
            match difference {
                1.. => self.add(user, sale, &mut touched),
                _ => gone.push((user, sale)),
            }
        }
        // A tick may bring what it takes back.
        for (user, sale) in gone {
            self.remove(user, &sale, &mut touched);
        }
        for (user, was) in touched {
            let is = self.users.get(&user).map(|sales| &sales[0]);
            if was.as_ref() == is {
                continue;
            }
            for (first, sign) in [(was.as_ref(), -1), (is, 1)] {
                let Some(first) = first else { continue };
                let day = Window::of(Granularity::Day, first.timestamp);
                let new_revenue = i128::from(first.total_amount) * i128::from(sign);
                let measures = CustomerMeasures { new_customers: sign, new_revenue, ..CustomerMeasures::default() };
                give(rollup(View::Customers, day, Text::default()), measures);
            }
        }
        if let Some(before) = settled_before
            && *before != self.settled_before
        {
            self.settle(before);
        }
    }

    fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR;

    fn sale(timestamp: Millis, id: &str, partition: i32) -> BuyersSale {
        BuyersSale { timestamp, transaction_id: id.into(), partition, total_amount: timestamp }
    }

    /// The days of new customers after each step, with their number and revenue.
    fn stepped(
        follower: &mut FirstSales,
        changes: &[(&str, BuyersSale, Diff)],
        before: &[(i32, Millis)],
    ) -> Vec<(Millis, i64, i128)> {
        let mut changes = changes.iter().map(|(user, sale, sign)| ((Text::from(*user), sale.clone()), *sign));
        let mut given = Vec::new();
        follower.step(&mut changes, Some(&before.to_vec()), &mut |key, measures| {
            given.push((key.window.start, measures.new_customers, measures.new_revenue));
        });
        given.sort_unstable();
        given
    }

    #[test]
    fn what_may_become_the_first_is_held_and_nothing_else() {
        let mut firsts = FirstSales::default();
        let clock = |at| [(0, at)];
        let three = [("u", sale(30, "c", 0), 1), ("u", sale(20, "b", 0), 1), ("u", sale(10, "a", 0), 1)];
        assert_eq!(stepped(&mut firsts, &three, &clock(0)), [(0, 1, 10)]);
        assert_eq!(firsts.held(), 3);
        assert_eq!(stepped(&mut firsts, &[("u", sale(10, "a", 0), -1)], &clock(0)), [(0, -1, -10), (0, 1, 20)]);
        // After an hour the sale of 20 stays for ever, and no later one matters.
        assert_eq!(stepped(&mut firsts, &[], &clock(HOUR)), []);
        assert_eq!(firsts.held(), 1);
        assert_eq!(stepped(&mut firsts, &[("u", sale(2 * HOUR, "d", 0), 1)], &clock(HOUR)), []);
        assert_eq!(stepped(&mut firsts, &[("u", sale(2 * HOUR, "d", 0), -1)], &clock(HOUR)), []);
        assert_eq!(firsts.held(), 1);
    }

    #[test]
    fn a_partition_that_is_behind_can_bring_and_take_back_an_earlier_one() {
        let mut firsts = FirstSales::default();
        let before = [(0, 1_000)];
        assert_eq!(stepped(&mut firsts, &[("u", sale(500, "a", 0), 1)], &before), [(0, 1, 500)]);
        let before = [(0, 1_000), (1, 50)];
        assert_eq!(stepped(&mut firsts, &[("u", sale(100, "b", 1), 1)], &before), [(0, -1, -500), (0, 1, 100)]);
        assert_eq!(stepped(&mut firsts, &[("u", sale(300, "c", 1), 1)], &before), []);
        assert_eq!(firsts.held(), 3);
        assert_eq!(stepped(&mut firsts, &[("u", sale(100, "b", 1), -1)], &before), [(0, -1, -100), (0, 1, 300)]);
        assert_eq!(stepped(&mut firsts, &[("u", sale(300, "c", 1), -1)], &before), [(0, -1, -300), (0, 1, 500)]);
        assert_eq!(firsts.held(), 1);
    }

    #[test]
    fn a_tick_that_brings_and_takes_back_says_nothing() {
        let mut firsts = FirstSales::default();
        let both = [("u", sale(10, "a", 0), -1), ("u", sale(10, "a", 0), 1)];
        assert_eq!(stepped(&mut firsts, &both, &[(0, 0)]), []);
        assert_eq!(firsts.held(), 0);
    }
}
