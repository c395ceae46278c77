//! Thousands of products through every level of the rankings.

mod support;

use support::check::{check, expect};
use support::samples::{START, record, sale};
use support::{Pace, Plan, Timed};
use tillflow_dataflows::admission::AdmissionSettings;
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::oracle::admission::Given;
use tillflow_dataflows::records::{Money, Topic};
use tillflow_dataflows::time::{HOUR, MINUTE};

const PRODUCTS: u64 = 6_000;

/// A small generator of its own: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn thousands_of_products_with_equal_revenues_rise_fall_and_slide_out() {
    let mut numbers = Numbers(7);
    let mut records = Vec::new();
    let mut offsets = [0; 2];
    let mut give = |tick, partition: usize, given| {
        records.push(Timed { tick, partition, record: record(given, offsets[partition]) });
        offsets[partition] += 1;
    };
    // Every product once, with few different amounts: the rankings are mostly ties.
    for n in 0..PRODUCTS {
        let mut sale = sale(&format!("t{n}"), START + (n as i64 % 50) * MINUTE);
        sale.product_id = format!("product {n}").as_str().into();
        sale.total_amount = Money(10_000 * (numbers.next(40) as i64 - 5));
        give(1 + n / 2_000, (n % 2) as usize, Given::Sale(sale));
    }
    // Corrections and cancellations at the top.
    for tick in 10..16 {
        for _ in 0..300 {
            let n = numbers.next(PRODUCTS);
            let id = format!("t{n}");
            if numbers.next(4) == 0 {
                give(tick, (n % 2) as usize, Given::Tombstone(Some(id.into_bytes())));
            } else {
                let mut sale = sale(&id, START + numbers.next(50) as i64 * MINUTE);
                sale.product_id = format!("product {}", numbers.next(PRODUCTS)).as_str().into();
                sale.total_amount = Money(10_000 * (numbers.next(60) as i64 - 20));
                give(tick, (n % 2) as usize, Given::Sale(sale));
            }
        }
    }
    // The ranges slide on, until almost nothing is left of the hour and then of the day.
    for (tick, hours) in [(20, 1), (21, 2), (22, 23), (23, 25), (24, 80)] {
        give(tick, 0, Given::Sale(sale(&format!("later {tick}"), START + hours * HOUR + 30 * MINUTE)));
    }
    let settings = AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE };
    let graph = Settings::new(settings.correction_window);
    let plan =
        Plan { settings, graph, partitions: vec![(Topic::Sales, 0), (Topic::Sales, 1)], records, expires: false };
    let expected = expect(&plan);
    for workers in [1, 2] {
        check(&plan, &expected, &Pace::even(workers));
    }
}
