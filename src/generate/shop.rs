//! The simulated shop chain: one history of activity, sales and stock that agree with each other.

use std::collections::VecDeque;

use tillflow_dataflows::records::Millis;

use super::catalogue::{self, Catalogue, STORES};
use super::dice::Dice;
use super::rows::{ActivityRow, AnyRow, SaleRow, StockRow};
use super::sessions::{Purchase, Sessions};
use super::stock::Stock;

/// Parts in a hundred of the records that are activity and sales; the rest is inventory.
const ACTIVITY_PERCENT: u32 = 70;
const SALES_PERCENT: u32 = 25;

/// The most purchases that wait for their sale, and the longest that one waits.
///
/// There are about five times as many sales as purchases, so that none waits long; should it ever be otherwise, the
/// oldest is sold at once.
const WAITING_SALES: usize = 10_000;
const LONGEST_WAIT: Millis = 20_000;

/// How many sales are remembered for those that refer to an earlier one (returns, duplicates, corrections,
/// cancellations), and for how long: well within the correction window.
const RECENT_SALES: usize = 4_096;
const RECENT: Millis = 24 * 3_600_000;

/// Users there are at the beginning; each 50th sale brings a new one, up to the limit.
const USERS: u32 = 2_000;
const SALES_PER_NEW_USER: u64 = 50;
const USERS_LIMIT: u32 = 5_000_000;

/// Sales that are known and young, for those that refer to one.
pub(super) struct RecentSales {
    /// With the instant of its record, which corrections of a sale's own time do not move.
    sales: VecDeque<(Millis, SaleRow)>,
}

impl RecentSales {
    fn push(&mut self, now: Millis, sale: SaleRow) {
        if self.sales.len() >= RECENT_SALES {
            self.sales.pop_front();
        }
        self.sales.push_back((now, sale));
    }

    /// The place of any one of them, if there is one.
    pub(super) fn pick(&mut self, now: Millis, dice: &mut Dice) -> Option<usize> {
        while self.sales.front().is_some_and(|(then, _)| *then < now - RECENT) {
            self.sales.pop_front();
        }
        (!self.sales.is_empty()).then(|| dice.below(self.sales.len() as u32) as usize)
    }

    pub(super) fn at(&mut self, place: usize) -> &mut SaleRow {
        &mut self.sales[place].1
    }

    pub(super) fn forget(&mut self, place: usize) {
        self.sales.remove(place);
    }
}

/// The whole chain.
pub(super) struct Shop {
    catalogue: Catalogue,
    sessions: Sessions,
    stock: Stock,
    /// Sales of purchases that were made, each with the instant from which it may be sent.
    waiting: VecDeque<(Millis, SaleRow)>,
    pub(super) recent: RecentSales,
    /// Tells this run's transactions from another run's.
    run: u32,
    sales: u64,
}

impl Shop {
    /// A chain whose stock is made for `records_per_second` of all topics together.
    pub(super) fn new(records_per_second: f64, now: Millis, dice: &mut Dice) -> Shop {
        let catalogue = Catalogue::new();
        let sales_per_second = records_per_second * f64::from(SALES_PERCENT) / 100.0;
        Shop {
            stock: Stock::new(&catalogue, sales_per_second, now, dice),
            catalogue,
            sessions: Sessions::new(),
            waiting: VecDeque::new(),
            recent: RecentSales { sales: VecDeque::with_capacity(RECENT_SALES) },
            run: dice.bits32(),
            sales: 0,
        }
    }

    /// What happens next in the chain; `now` must not go back.
    pub(super) fn next(&mut self, now: Millis, dice: &mut Dice) -> AnyRow {
        self.stock.receive(now);
        match dice.below(100) {
            0..ACTIVITY_PERCENT => AnyRow::Activity(self.activity(now, dice)),
            mark if mark < ACTIVITY_PERCENT + SALES_PERCENT => AnyRow::Sale(self.sale(now, dice)),
            _ => AnyRow::Stock(self.stock.report(now, dice)),
        }
    }

    fn activity(&mut self, now: Millis, dice: &mut Dice) -> ActivityRow {
        let stock = &self.stock;
        let users = users(self.sales);
        let (row, purchase) = self.sessions.act(
            now,
            &self.catalogue,
            dice,
            |dice| draw_user(users, dice),
            |user, product| stock.on_hand(product, catalogue::warehouse_of(home_store(user))) > 0,
        );
        if let Some(purchase) = purchase {
            let sale = self.sale_of(&purchase, dice);
            // The clock may lag behind a session's own time by less than a step of the session.
            let from = now.max(sale.timestamp) + dice.between(0, LONGEST_WAIT);
            self.waiting.push_back((from, sale));
        }
        row
    }

    fn sale(&mut self, now: Millis, dice: &mut Dice) -> SaleRow {
        let sale = match self.waiting.front() {
            Some((from, _)) if *from <= now || self.waiting.len() > WAITING_SALES => self.waiting.pop_front(),
            _ => None,
        };
        let sale = match sale {
            // It may go before its time when too many wait, but never into the future.
            Some((_, sale)) => SaleRow { timestamp: sale.timestamp.min(now), ..sale },
            None if dice.below(1_000) < 15 => {
                self.returned(now, dice).unwrap_or_else(|| self.sale_in_store(now, true, dice))
            }
            None => self.sale_in_store(now, true, dice),
        };
        self.stock.take(sale.product, catalogue::warehouse_of(sale.store), sale.quantity, now, dice);
        self.recent.push(now, sale);
        sale
    }

    /// A sale that is nobody's purchase in the app. It does not move the stock by itself. With `in_stock`, what the
    /// store cannot have is not bought there, unless everything that was wanted is gone: then the shelf goes below 0.
    pub(super) fn sale_in_store(&mut self, now: Millis, in_stock: bool, dice: &mut Dice) -> SaleRow {
        let store = self.catalogue.stores.draw(dice);
        let quantity = match dice.below(100) {
            0..72 => 1,
            72..90 => 2,
            90..97 => 3,
            _ => dice.between(4, 6),
        };
        let mut product = self.catalogue.popularity.draw(dice);
        if in_stock {
            for _ in 0..8 {
                if self.stock.on_hand(product, catalogue::warehouse_of(store)) >= quantity {
                    break;
                }
                product = self.catalogue.popularity.draw(dice);
            }
        }
        let list_price = self.catalogue.price(product);
        // One in ten is on offer.
        let unit_price = if dice.percent(10) { list_price * 9 / 10 } else { list_price };
        let user = draw_user(users(self.sales), dice);
        let timestamp = now - dice.between(0, 1_500);
        let payment_method = self.catalogue.payment_methods.draw(dice);
        self.new_sale(user, product, quantity, unit_price, payment_method, timestamp, store)
    }

    /// A page view that belongs to no session of this history.
    pub(super) fn stray_view(&mut self, timestamp: Millis, dice: &mut Dice) -> ActivityRow {
        ActivityRow {
            user: draw_user(users(self.sales), dice),
            activity_type: "page_view",
            timestamp,
            session: dice.bits64(),
            address: dice.bits32(),
            user_agent: Some(dice.pick(&catalogue::USER_AGENTS)),
            product: Some(self.catalogue.popularity.draw(dice)),
            amount: None,
        }
    }

    /// A report of some shelf that tells the truth but takes none out of the queues.
    pub(super) fn stray_stock(&self, now: Millis, dice: &mut Dice) -> StockRow {
        let product = self.catalogue.popularity.draw(dice);
        let warehouse = dice.below(catalogue::WAREHOUSES as u32) as usize;
        self.stock.peek(product, warehouse, now)
    }

    fn sale_of(&mut self, purchase: &Purchase, dice: &mut Dice) -> SaleRow {
        let payment_method = match self.catalogue.payment_methods.draw(dice) {
            // Nobody pays an app in cash.
            method if catalogue::payment_method_name(method) == "cash" => 0,
            method => method,
        };
        let timestamp = purchase.timestamp + dice.between(0, 4_000);
        self.new_sale(
            purchase.user,
            purchase.product,
            purchase.quantity,
            purchase.unit_price,
            payment_method,
            timestamp,
            home_store(purchase.user),
        )
    }

    /// Some pieces of an earlier sale come back, at the price that was paid.
    fn returned(&mut self, now: Millis, dice: &mut Dice) -> Option<SaleRow> {
        let place = self.recent.pick(now, dice)?;
        let sold = *self.recent.at(place);
        if sold.quantity < 1 {
            return None;
        }
        let quantity = -dice.between(1, sold.quantity);
        let timestamp = now - dice.between(0, 1_500);
        let mut sale = self.new_sale(
            sold.user,
            sold.product,
            quantity,
            sold.unit_price,
            sold.payment_method,
            timestamp,
            sold.store,
        );
        sale.category = sold.category;
        Some(sale)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a row, none of which belong together")]
    fn new_sale(
        &mut self,
        user: u32,
        product: usize,
        quantity: i64,
        unit_price: i64,
        payment_method: usize,
        timestamp: Millis,
        store: usize,
    ) -> SaleRow {
        self.sales += 1;
        SaleRow {
            run: self.run,
            number: self.sales,
            user,
            product,
            quantity,
            unit_price,
            total: quantity * unit_price,
            payment_method,
            timestamp,
            store,
            category: catalogue::category(product),
        }
    }
}

/// The store whose warehouse serves a user's purchases in the app.
pub(super) fn home_store(user: u32) -> usize {
    user as usize * 7 % STORES
}

fn users(sales: u64) -> u32 {
    let grown = u32::try_from(sales / SALES_PER_NEW_USER).unwrap_or(USERS_LIMIT);
    USERS.saturating_add(grown).min(USERS_LIMIT)
}

/// Half of what happens is done by regulars.
fn draw_user(users: u32, dice: &mut Dice) -> u32 {
    let first = dice.below(users);
    1 + if dice.percent(50) { first.min(dice.below(users)) } else { first }
}
