//! The warehouses: stock that falls with what is sold, rises with what comes back, and is refilled when it is low.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tillflow_dataflows::records::Millis;

use super::catalogue::{Catalogue, PRODUCTS, WAREHOUSES};
use super::dice::Dice;
use super::rows::StockRow;

const MINUTE: Millis = 60_000;

/// How many hours of expected demand the reorder level and a full shelf hold.
const REORDER_HOURS: f64 = 2.0;
const FULL_HOURS: f64 = 12.0;

/// What a sale takes on average, in pieces.
const PIECES_PER_SALE: f64 = 1.4;

const STATUSES: [&str; 3] = ["in_stock", "low_stock", "out_of_stock"];

/// A product in a warehouse.
struct Shelf {
    stock: i64,
    reorder_level: i64,
    full: i64,
    ordered: bool,
    /// Changed since it was last reported.
    changed: bool,
    /// The status that was last reported, or waits in `urgent`.
    status: usize,
    in_urgent: bool,
    in_changed: bool,
}

impl Shelf {
    fn true_status(&self) -> usize {
        match self.stock {
            ..=0 => 2,
            stock if stock <= self.reorder_level => 1,
            _ => 0,
        }
    }
}

/// All shelves, and which of them are to be reported.
///
/// Every queue holds a shelf at most once, so none grows beyond the number of shelves.
pub(super) struct Stock {
    shelves: Vec<Shelf>,
    deliveries: BinaryHeap<Reverse<(Millis, usize)>>,
    /// Shelves whose status changed: reported first.
    urgent: VecDeque<usize>,
    changed: VecDeque<usize>,
    /// The next shelf to report when none has changed.
    round: usize,
}

impl Stock {
    /// Shelves filled for a demand of `sales_per_second`, some of them low, at the instant `now`.
    pub(super) fn new(catalogue: &Catalogue, sales_per_second: f64, now: Millis, dice: &mut Dice) -> Stock {
        let shelves: Vec<Shelf> = (0..PRODUCTS * WAREHOUSES)
            .map(|shelf| {
                let share = catalogue.popularity.share(shelf / WAREHOUSES) / WAREHOUSES as f64;
                let per_hour = sales_per_second * 3_600.0 * share * PIECES_PER_SALE;
                let reorder_level = ((per_hour * REORDER_HOURS) as i64).max(5);
                let full = ((per_hour * FULL_HOURS) as i64).max(30);
                let stock = if dice.percent(3) {
                    dice.between(0, reorder_level)
                } else {
                    dice.between(reorder_level + 1, full)
                };
                Shelf {
                    stock,
                    reorder_level,
                    full,
                    ordered: false,
                    changed: true,
                    status: 0,
                    in_urgent: false,
                    in_changed: true,
                }
            })
            .collect();
        // Everything is reported once at first.
        let changed = (0..shelves.len()).collect();
        let mut stock = Stock { shelves, deliveries: BinaryHeap::new(), urgent: VecDeque::new(), changed, round: 0 };
        for shelf in 0..stock.shelves.len() {
            stock.shelves[shelf].status = stock.shelves[shelf].true_status();
            stock.reorder(shelf, now, dice);
        }
        stock
    }

    pub(super) fn on_hand(&self, product: usize, warehouse: usize) -> i64 {
        self.shelves[product * WAREHOUSES + warehouse].stock
    }

    /// Takes `quantity` pieces away; a negative quantity brings them back.
    pub(super) fn take(&mut self, product: usize, warehouse: usize, quantity: i64, now: Millis, dice: &mut Dice) {
        let shelf = product * WAREHOUSES + warehouse;
        self.shelves[shelf].stock -= quantity;
        self.mark(shelf);
        self.reorder(shelf, now, dice);
    }

    /// Puts what has been delivered by `now` on the shelves.
    pub(super) fn receive(&mut self, now: Millis) {
        while let Some(Reverse((due, shelf))) = self.deliveries.peek().copied()
            && due <= now
        {
            self.deliveries.pop();
            let level = &mut self.shelves[shelf];
            level.stock = level.stock.max(level.full);
            level.ordered = false;
            self.mark(shelf);
        }
    }

    /// The next report: a status that changed, else the shelf that changed first, else the next one in turn.
    pub(super) fn report(&mut self, now: Millis, dice: &mut Dice) -> StockRow {
        let shelf = self.next_changed().unwrap_or_else(|| {
            self.round = (self.round + 1) % self.shelves.len();
            self.round
        });
        let level = &mut self.shelves[shelf];
        level.changed = false;
        level.status = level.true_status();
        let true_status = level.status;
        let mut row = self.peek(shelf / WAREHOUSES, shelf % WAREHOUSES, now);
        match dice.below(1_000) {
            // Not every system reports a status, and some report a wrong one.
            0..30 => row.status = None,
            30..35 => row.status = Some(STATUSES[(true_status + 1) % STATUSES.len()]),
            _ => {}
        }
        row
    }

    /// A true report that does not count as one.
    pub(super) fn peek(&self, product: usize, warehouse: usize, now: Millis) -> StockRow {
        let level = &self.shelves[product * WAREHOUSES + warehouse];
        StockRow {
            product,
            stock: level.stock,
            reorder_level: level.reorder_level,
            timestamp: now,
            warehouse,
            status: Some(STATUSES[level.true_status()]),
        }
    }

    fn next_changed(&mut self) -> Option<usize> {
        while let Some(shelf) = self.urgent.pop_front() {
            self.shelves[shelf].in_urgent = false;
            if self.shelves[shelf].changed {
                return Some(shelf);
            }
        }
        while let Some(shelf) = self.changed.pop_front() {
            self.shelves[shelf].in_changed = false;
            // It may have been reported as urgent since.
            if self.shelves[shelf].changed {
                return Some(shelf);
            }
        }
        None
    }

    fn mark(&mut self, shelf: usize) {
        let level = &mut self.shelves[shelf];
        let status = level.true_status();
        level.changed = true;
        if status != level.status && !level.in_urgent {
            level.in_urgent = true;
            self.urgent.push_back(shelf);
        } else if !level.in_changed {
            level.in_changed = true;
            self.changed.push_back(shelf);
        }
        level.status = status;
    }

    /// Orders a delivery for a shelf that is low and has none on its way.
    fn reorder(&mut self, shelf: usize, now: Millis, dice: &mut Dice) {
        let level = &mut self.shelves[shelf];
        if level.stock <= level.reorder_level && !level.ordered {
            level.ordered = true;
            // Most come within an hour and a half, some take three.
            let minutes = dice.between(20, 180).min(dice.between(20, 180));
            self.deliveries.push(Reverse((now + minutes * MINUTE, shelf)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock() -> (Stock, Dice) {
        let mut dice = Dice::new(1, 1);
        (Stock::new(&Catalogue::new(), 1.0, 0, &mut dice), dice)
    }

    #[test]
    fn a_low_shelf_is_refilled_once_and_later() {
        let (mut stock, mut dice) = stock();
        let taken = stock.on_hand(9, 2);
        stock.take(9, 2, taken, 1_000, &mut dice);
        assert_eq!(stock.on_hand(9, 2), 0);
        stock.take(9, 2, 1, 2_000, &mut dice);
        stock.receive(1_000 + 19 * MINUTE);
        assert_eq!(stock.on_hand(9, 2), -1);
        stock.receive(2_000 + 181 * MINUTE);
        let shelf = &stock.shelves[9 * WAREHOUSES + 2];
        assert_eq!((shelf.stock, shelf.ordered), (shelf.full, false));
    }

    #[test]
    fn every_shelf_is_reported_and_a_change_of_status_first() {
        let (mut stock, mut dice) = stock();
        let rows: std::collections::BTreeSet<_> = (0..PRODUCTS * WAREHOUSES)
            .map(|_| stock.report(5, &mut dice))
            .map(|row| (row.product, row.warehouse))
            .collect();
        assert_eq!(rows.len(), PRODUCTS * WAREHOUSES);
        let full = |stock: &Stock| {
            (10..PRODUCTS).find(|product| stock.shelves[product * WAREHOUSES].true_status() == 0).expect("a full shelf")
        };
        let product = full(&stock);
        stock.take(3, 1, -1, 10, &mut dice);
        let taken = stock.on_hand(product, 0);
        stock.take(product, 0, taken, 10, &mut dice);
        let first = stock.report(20, &mut dice);
        assert_eq!((first.product, first.warehouse, first.stock, first.timestamp), (product, 0, 0, 20));
        let second = stock.report(20, &mut dice);
        assert_eq!((second.product, second.warehouse), (3, 1));
    }

    #[test]
    fn queues_stay_within_their_bounds() {
        let (mut stock, mut dice) = stock();
        for step in 0..200_000 {
            let product = dice.below(PRODUCTS as u32) as usize;
            stock.take(product, step % WAREHOUSES, dice.between(-1, 3), step as Millis * 1_000, &mut dice);
            stock.receive(step as Millis * 1_000);
            if step % 5 == 0 {
                stock.report(step as Millis * 1_000, &mut dice);
            }
        }
        let shelves = PRODUCTS * WAREHOUSES;
        for (name, length) in
            [("deliveries", stock.deliveries.len()), ("changed", stock.changed.len()), ("urgent", stock.urgent.len())]
        {
            assert!(length <= shelves, "{name} holds {length}");
        }
    }
}
