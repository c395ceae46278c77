//! What the graph holds is a function of keys and windows, never of how long it has run.

mod support;

use std::sync::atomic::AtomicBool;

use support::log::Log;
use support::samples::{SETTINGS, START, activity, graph, level, record, sale};
use support::{Owned, build, finish, hold_sales_back};
use tillflow_dataflows::assembly::parts;
use tillflow_dataflows::feed::Feed;
use tillflow_dataflows::oracle::admission::Given;
use tillflow_dataflows::records::{Millis, Money, Topic};
use tillflow_dataflows::state::{State, expirable};
use tillflow_dataflows::time::{DAY, HOUR, MINUTE, Tick};
use timely::worker::Worker;

const PRODUCTS: i64 = 20;

/// A graph with one partition of each topic, fed by hand.
struct Shop<'a> {
    worker: &'a mut Worker,
    feed: Feed,
    /// By which what is final leaves memory, if it does.
    state: Option<State>,
    sales: Vec<Owned>,
    activities: Owned,
    stock: Owned,
    tick: Tick,
    offset: i64,
}

impl Shop<'_> {
    fn open(worker: &mut Worker, partitions: i32) -> Shop<'_> {
        let mut shop = Shop::open_to_expire(worker, partitions);
        shop.state = None;
        shop
    }

    fn open_to_expire(worker: &mut Worker, partitions: i32) -> Shop<'_> {
        let mut feed = Feed::new(parts(&graph()));
        let mut state = State::new();
        build(worker, &mut feed, &graph(), &mut state, |_row, _tick, _change| {});
        Shop {
            worker,
            feed,
            state: Some(state),
            sales: (0..partitions).map(|number| Owned::new((Topic::Sales, number), SETTINGS)).collect(),
            activities: Owned::new((Topic::UserActivity, 0), SETTINGS),
            stock: Owned::new((Topic::Inventory, 0), SETTINGS),
            tick: 17_000_000_000,
            offset: 0,
        }
    }

    /// A tick in which every product is sold once at `at`, in a partition.
    fn sell(&mut self, partition: usize, at: Millis) {
        self.feed.advance_to(self.tick);
        for product in 0..PRODUCTS {
            let mut sale = sale(&format!("t{}", self.offset), at + product);
            sale.product_id = format!("p{product}").as_str().into();
            sale.total_amount = Money(product * 10_000);
            self.sales[partition].take(&record(Given::Sale(sale), self.offset), &mut self.feed);
            let activity = activity(&format!("u{product}"), at);
            self.activities.take(&record(Given::Activity(activity), self.offset), &mut self.feed);
            let level = level(&format!("p{product}"), at);
            self.stock.take(&record(Given::StockLevel(level), self.offset), &mut self.feed);
            self.offset += 1;
        }
        self.sales.iter_mut().for_each(|partition| partition.tell_clock(&mut self.feed));
        self.activities.tell_clock(&mut self.feed);
        self.stock.tell_clock(&mut self.feed);
        self.tick += 1;
        self.settle();
    }

    /// Lets everything told so far through.
    fn settle(&mut self) {
        self.feed.advance_to(self.tick);
        self.state.iter_mut().for_each(|state| state.advance_to(self.tick));
        for _ in 0..40 {
            self.worker.step();
        }
        self.state.iter_mut().for_each(|state| state.compact(self.tick));
        Log::flush(self.worker);
    }

    /// Lets go of what is final and not live. All clocks are at `at`.
    fn expire(&mut self, at: Millis) {
        let before = expirable([Some(at)], Some(at), SETTINGS.correction_window).expect("clocks have come far");
        let state = self.state.as_mut().expect("a shop that is opened to expire");
        assert!(state.expire(before, self.tick - 2).is_some(), "everything before the open tick is complete");
    }

    fn close(self) {
        drop((self.feed, self.state));
        finish(self.worker, &AtomicBool::new(false));
    }
}

#[test]
fn live_products_and_everything_else_that_slides_stays_as_large_as_its_ranges() {
    timely::execute_directly(|worker| {
        let log = Log::start(worker);
        let mut shop = Shop::open(worker, 1);
        // What the arrangements hold at most while event time goes on by ten days, a quarter of an hour a tick.
        let products = PRODUCTS as isize;
        let sliding = [
            // 4 minutes of the last hour and the 168 hours of the week hold all products.
            ("Live products", (4 + 168) * products),
            ("Top products: sums", (4 + 24) * products),
            ("Live windows", 84),
            ("Sales, last: live rows of sales_total", 84),
            ("Week windows", 168),
            ("Judged hours", 25),
            ("Live categories", 26),
            ("Supply", products),
            // Every sale of two days of a user whose first sale can be taken back; afterwards the first alone.
            ("Customers: users", 48 * 4 * products + 1),
            ("Purchases unmatched: deals", 24 * 4 * products),
        ];
        let mut most = vec![0; sliding.len()];
        let mut at = START;
        while at < START + 10 * DAY {
            shop.sell(0, at);
            at += 15 * MINUTE;
            for (most, (name, _)) in most.iter_mut().zip(sliding) {
                *most = (*most).max(log.borrow().held(name));
            }
        }
        for (most, (name, live)) in most.iter().zip(sliding) {
            // A trace may hold a few times as many updates before its merges let go of the dead ones.
            assert!(*most <= 6 * live, "{name:?} held {most} updates, with at most {live} alive");
        }
        shop.close();
    });
}

#[test]
fn a_partition_that_catches_up_behind_as_of_leaves_nothing_in_live_products() {
    timely::execute_directly(|worker| {
        let log = Log::start(worker);
        let mut shop = Shop::open(worker, 2);
        // One partition has reached today and is quiet; the other goes through the months before.
        shop.sell(0, START + 100 * DAY);
        let mut most = 0;
        for hour in 0..24 * 60 {
            shop.sell(1, START + hour * 60 * MINUTE);
            most = most.max(log.borrow().held("Live products"));
        }
        let live = 2 * PRODUCTS as isize;
        assert!(most <= 30 * live, "held {most} updates, with at most {live} alive");
        shop.close();
    });
}

#[test]
fn what_is_final_and_not_live_leaves_memory() {
    const OF_WINDOWS: [&str; 10] = [
        "Sales rollups",
        "Activity rollups",
        "User rollups",
        "Visit rollups",
        "Customer rollups",
        "Interest rollups",
        "Active users: hours",
        "Active users: days",
        "Visits: moments",
        "Visits",
    ];
    let held = |expires: bool| {
        timely::execute_directly(move |worker| {
            let log = Log::start(worker);
            let mut shop = Shop::open_to_expire(worker, 1);
            for hour in 0..20 * 24 {
                let at = START + hour * HOUR;
                shop.sell(0, at);
                if expires && hour % 24 == 23 {
                    shop.expire(at);
                }
            }
            let held = OF_WINDOWS.map(|name| log.borrow().held(name));
            shop.close();
            held
        })
    };
    let (all, live) = (held(false), held(true));
    for ((name, all), live) in OF_WINDOWS.iter().zip(all).zip(live) {
        // Four days of twenty are live at most; dead updates stay until a merge.
        assert!(live * 2 < all, "{name:?} holds {live} updates, and {all} where nothing leaves");
    }
}

#[test]
fn a_graph_with_nothing_to_do_does_nothing() {
    timely::execute_directly(|worker| {
        let log = Log::start(worker);
        let mut shop = Shop::open(worker, 1);
        for minute in 0..200 {
            shop.sell(0, START + minute * MINUTE);
        }
        let names = ["Publish: sales", "Publish: activity", "Publish: users", "Sweep: live products"];
        let runs = |log: &Log| names.map(|name| log.runs(name));
        let before = runs(&log.borrow());
        shop.settle();
        shop.settle();
        assert_eq!(runs(&log.borrow()), before, "{names:?} ran without cause");
        let waiting: isize = log.borrow().waiting.values().sum();
        assert_eq!(waiting, 0, "updates of complete ticks wait in batchers");
        shop.close();
    });
}

#[test]
fn a_tick_that_stays_open_keeps_no_operator_busy() {
    timely::execute_directly(|worker| {
        let log = Log::start(worker);
        let mut shop = Shop::open(worker, 1);
        shop.sell(0, START);
        // The clocks are complete up to a later tick than the sales: what a slow worker looks like.
        hold_sales_back(&mut shop.feed, &mut shop.sales[0], START + 2 * MINUTE, shop.tick);
        for _ in 0..40 {
            shop.worker.step();
        }
        Log::flush(shop.worker);
        let names = ["Publish: sales", "Sweep: live products"];
        let before = names.map(|name| log.borrow().runs(name));
        for _ in 0..100 {
            shop.worker.step();
        }
        Log::flush(shop.worker);
        let after = names.map(|name| log.borrow().runs(name));
        assert_eq!(after, before, "{names:?} spin");
        shop.tick += 2;
        shop.settle();
        shop.close();
    });
}
