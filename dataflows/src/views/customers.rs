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
//! State: [`Users`], a number per user and day, one sale per user, and for users whose first sale can still be taken
//! back every sale they have, because any of them may turn out to be the first; one entry per row in
//! `customer_rollups`. Bound: users, users x days on which they bought until these are final and a day old, and the
//! sales of a correction window.

use std::collections::BTreeMap;

use differential_dataflow::{Hashable, VecCollection};
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::cells::ProductCells;
use crate::clock::SettledBefore;
use crate::inputs::BuyersSales;
use crate::measures::CustomerMeasures;
use crate::operators::{Follower, combine, follow};
use crate::outputs::{RollupKey, View};
use crate::records::{Millis, Sale, Text};
use crate::state::State;
use crate::time::{DAY, Diff, Granularity, Tick, Window};
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

impl BuyersSale {
    /// A sale that a partition gave.
    pub fn of(sale: &Sale<&str>, partition: i32) -> BuyersSale {
        let (transaction_id, total_amount) = (sale.transaction_id.into(), sale.total_amount.0);
        BuyersSale { timestamp: sale.timestamp, transaction_id, partition, total_amount }
    }
}

/// What each day's sales, buyers and first sales add to the view's rows.
pub fn customers<'scope>(
    sales: BuyersSales<'scope>,
    product_days: ProductCells<'scope>,
    settled_before: VecCollection<'scope, Tick, SettledBefore, Diff>,
    state: &mut State,
) -> Contributions<'scope, CustomerMeasures> {
    let revenue = combine(product_days, "Combine: revenue of customers", |(day, _product), sums, give| {
        give(
            rollup(View::Customers, day, Text::default()),
            CustomerMeasures { revenue: sums.revenue, ..CustomerMeasures::default() },
        );
    });
    follow(sales, settled_before, "Customers: users", Users::default(), Some(state)).concat(revenue)
}

/// What is known of a user.
#[derive(Default)]
struct User {
    /// The first sale, and what may take its place, in order; empty only within a tick. Only the last one may be known to
    /// be settled.
    sales: Sales,
    /// How many sales in force the user has on which day (since 1970), in no order.
    days: Days,
}

/// In the long run one for each user.
type Sales = SmallVec<[BuyersSale; 1]>;

type Days = SmallVec<[(i32, u32); 2]>;

/// The users who ever bought.
#[derive(Default)]
pub struct Users {
    users: HashMap<Text, User>,
    /// The users with more than one sale held, by the hour in which the first of them may be settled. A user may be
    /// in several, and have one sale by then.
    unsettled: BTreeMap<Millis, Vec<Text>>,
    settled_before: SettledBefore,
    /// How many sales are held.
    held: usize,
}

/// What a tick does.
#[derive(Default)]
struct Changes {
    /// The first sale of the users whose first it touches, as it was.
    firsts: HashMap<Text, Option<BuyersSale>>,
    /// By day: buyers more.
    buyers: BTreeMap<i32, i64>,
}

fn day_of(timestamp: Millis) -> i32 {
    i32::try_from(timestamp.div_euclid(DAY)).expect("event times end with the year 9999")
}

/// Whether a sale can be taken back no more. Once it is so it stays so: a partition's clock never goes back.
fn is_settled(sale: &BuyersSale, before: &SettledBefore) -> bool {
    let known = before.binary_search_by_key(&sale.partition, |(partition, _)| *partition);
    known.is_ok_and(|index| sale.timestamp < before[index].1)
}

impl Users {
    fn add(&mut self, name: Text, sale: BuyersSale, changes: &mut Changes) {
        let user = match self.users.entry_ref(&name) {
            EntryRef::Occupied(entry) => entry.into_mut(),
            EntryRef::Vacant(entry) => {
                changes.firsts.entry(name.clone()).or_insert(None);
                entry.insert(User::default())
            }
        };
        let day = day_of(sale.timestamp);
        match user.days.iter_mut().rev().find(|(known, _)| *known == day) {
            Some((_, sales)) => *sales += 1,
            None => {
                user.days.push((day, 1));
                *changes.buyers.entry(day).or_default() += 1;
            }
        }
        // Mostly in order.
        let place = match user.sales.last() {
            Some(last) if *last < sale => user.sales.len(),
            _ => user.sales.partition_point(|known| *known < sale),
        };
        if place == user.sales.len() && user.sales.last().is_some_and(|last| is_settled(last, &self.settled_before)) {
            return;
        }
        if place == 0
            && let Some(first) = user.sales.first()
            && !changes.firsts.contains_key(&name)
        {
            changes.firsts.insert(name.clone(), Some(first.clone()));
        }
        user.sales.insert(place, sale);
        self.held += 1;
        if user.sales.len() == 2 {
            let hour = Granularity::Hour.start(user.sales[0].timestamp);
            self.unsettled.entry(hour).or_default().push(name);
        }
    }

    fn remove(&mut self, name: &Text, sale: &BuyersSale, changes: &mut Changes) {
        let held = "a sale that is taken back was given";
        let user = self.users.get_mut(name).expect(held);
        let day = day_of(sale.timestamp);
        let place = user.days.iter().rposition(|(known, _)| *known == day).expect(held);
        user.days[place].1 -= 1;
        if user.days[place].1 == 0 {
            user.days.swap_remove(place);
            *changes.buyers.entry(day).or_default() -= 1;
        }
        // One that is not held came after a sale that stays.
        let Ok(place) = user.sales.binary_search(sale) else { return };
        user.sales.remove(place);
        self.held -= 1;
        if place == 0 {
            changes.firsts.entry(name.clone()).or_insert_with(|| Some(sale.clone()));
        }
        if user.sales.is_empty() {
            self.users.remove(name);
        }
    }

    /// Lets go of what cannot become anybody's first sale: whatever comes after one that stays.
    fn settle(&mut self, before: &SettledBefore) {
        self.settled_before.clone_from(before);
        // Of the hours before this one everything may be settled, of this one something; it waits for its end.
        let Some(hour) = before.iter().map(|(_, before)| Granularity::Hour.start(*before)).max() else { return };
        let later = self.unsettled.split_off(&hour);
        for name in std::mem::replace(&mut self.unsettled, later).into_values().flatten() {
            let Some(User { sales, .. }) = self.users.get_mut(&name) else { continue };
            if let Some(settled) = sales.iter().position(|sale| is_settled(sale, before)) {
                self.held -= sales.len() - (settled + 1);
                sales.truncate(settled + 1);
                sales.shrink_to_fit();
            }
            if sales.len() > 1 {
                // Those of a partition that is behind; they are looked at again in an hour.
                self.unsettled.entry(hour).or_default().push(name);
            }
        }
    }
}

impl Follower for Users {
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
        let mut told = Changes::default();
        let mut gone = Vec::new();
        for ((user, sale), difference) in changes {
            match difference {
                1.. => self.add(user, sale, &mut told),
                _ => gone.push((user, sale)),
            }
        }
        // A tick may bring what it takes back.
        for (user, sale) in &gone {
            self.remove(user, sale, &mut told);
        }
        let mut days: BTreeMap<i32, CustomerMeasures> = BTreeMap::new();
        for (day, buyers) in told.buyers {
            days.entry(day).or_default().buyers += buyers;
        }
        for (user, was) in told.firsts {
            let is = self.users.get(&user).map(|user| &user.sales[0]);
            if was.as_ref() == is {
                continue;
            }
            for (first, sign) in [(was.as_ref(), -1), (is, 1)] {
                let Some(first) = first else { continue };
                let measures = days.entry(day_of(first.timestamp)).or_default();
                measures.new_customers += sign;
                measures.new_revenue += i128::from(first.total_amount) * i128::from(sign);
            }
        }
        for (day, measures) in days {
            let window = Window { granularity: Granularity::Day, start: i64::from(day) * DAY };
            give(rollup(View::Customers, window, Text::default()), measures);
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

    type Piece = SavedUser;

    fn route_piece((user, ..): &SavedUser) -> u64 {
        user.hashed()
    }

    fn save(&self, give: &mut dyn FnMut(SavedUser)) {
        for (name, User { sales, days }) in &self.users {
            give((name.clone(), sales.clone(), days.clone()));
        }
    }

    fn load(&mut self, (name, sales, days): SavedUser) {
        self.held += sales.len();
        if sales.len() > 1 {
            let hour = Granularity::Hour.start(sales[0].timestamp);
            self.unsettled.entry(hour).or_default().push(name.clone());
        }
        self.users.insert(name, User { sales, days });
    }

    /// A user's days go; the first sale stays.
    fn expire(&mut self, before: Millis) -> usize {
        let before = day_of(before);
        let mut gone = 0;
        for user in self.users.values_mut() {
            let days = user.days.len();
            user.days.retain(|(day, _)| *day >= before);
            gone += days - user.days.len();
        }
        gone
    }
}

/// A user, the sales that are held, and how many sales there are on which day.
type SavedUser = (Text, Sales, Days);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR;

    fn sale(timestamp: Millis, id: &str, partition: i32) -> BuyersSale {
        BuyersSale { timestamp, transaction_id: id.into(), partition, total_amount: timestamp }
    }

    /// What a step adds to new customers and their revenue, and to buyers.
    fn stepped(
        follower: &mut Users,
        changes: &[(&str, BuyersSale, Diff)],
        before: &[(i32, Millis)],
    ) -> (i64, i128, i64) {
        let mut changes = changes.iter().map(|(user, sale, sign)| ((Text::from(*user), sale.clone()), *sign));
        let mut sums = (0, 0, 0);
        follower.step(&mut changes, Some(&before.to_vec()), &mut |key, measures| {
            assert_eq!(key.window, Window::of(Granularity::Day, 0));
            sums.0 += measures.new_customers;
            sums.1 += measures.new_revenue;
            sums.2 += measures.buyers;
        });
        sums
    }

    #[test]
    fn what_may_become_the_first_is_held_and_nothing_else() {
        let mut firsts = Users::default();
        let clock = |at| [(0, at)];
        let three = [("u", sale(30, "c", 0), 1), ("u", sale(20, "b", 0), 1), ("u", sale(10, "a", 0), 1)];
        assert_eq!(stepped(&mut firsts, &three, &clock(0)), (1, 10, 1));
        assert_eq!(firsts.held(), 3);
        assert_eq!(stepped(&mut firsts, &[("u", sale(10, "a", 0), -1)], &clock(0)), (0, 10, 0));
        // After an hour the sale of 20 stays for ever, and no later one matters.
        assert_eq!(stepped(&mut firsts, &[], &clock(HOUR)), (0, 0, 0));
        assert_eq!(firsts.held(), 1);
        assert_eq!(stepped(&mut firsts, &[("u", sale(2 * HOUR, "d", 0), 1)], &clock(HOUR)), (0, 0, 0));
        assert_eq!(stepped(&mut firsts, &[("u", sale(2 * HOUR, "d", 0), -1)], &clock(HOUR)), (0, 0, 0));
        assert_eq!(firsts.held(), 1);
    }

    #[test]
    fn a_partition_that_is_behind_can_bring_and_take_back_an_earlier_one() {
        let mut firsts = Users::default();
        let before = [(0, 1_000)];
        assert_eq!(stepped(&mut firsts, &[("u", sale(500, "a", 0), 1)], &before), (1, 500, 1));
        let before = [(0, 1_000), (1, 50)];
        assert_eq!(stepped(&mut firsts, &[("u", sale(100, "b", 1), 1)], &before), (0, -400, 0));
        assert_eq!(stepped(&mut firsts, &[("u", sale(300, "c", 1), 1)], &before), (0, 0, 0));
        assert_eq!(firsts.held(), 3);
        assert_eq!(stepped(&mut firsts, &[("u", sale(100, "b", 1), -1)], &before), (0, 200, 0));
        assert_eq!(stepped(&mut firsts, &[("u", sale(300, "c", 1), -1)], &before), (0, 200, 0));
        assert_eq!(firsts.held(), 1);
    }

    #[test]
    fn a_tick_that_brings_and_takes_back_says_nothing() {
        let mut firsts = Users::default();
        let both = [("u", sale(10, "a", 0), -1), ("u", sale(10, "a", 0), 1)];
        assert_eq!(stepped(&mut firsts, &both, &[(0, 0)]), (0, 0, 0));
        assert_eq!(firsts.held(), 0);
    }
}
