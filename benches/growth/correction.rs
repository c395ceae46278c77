//! What it costs to correct one sale of an hour with many.

use std::time::Instant;

use tillflow_dataflows::admission::{Fact, Partition, Reading};
use tillflow_dataflows::assembly::Settings;
use tillflow_dataflows::records::{Money, Sale, Topic};
use tillflow_dataflows::time::HOUR;

use crate::picture::{Curve, Picture};
use crate::support::sales::START;
use crate::support::sessions::Sessions;
use crate::support::{admission, w1};

const CORRECTIONS: usize = 200;
/// Sales of one tick, while the hour is filled.
const TICK: usize = 50_000;

fn sale(number: usize, amount: i64) -> Sale {
    Sale {
        transaction_id: format!("txn-{number:09}").as_str().into(),
        user_id: "user".into(),
        product_id: format!("product-{}", number % 1000).as_str().into(),
        quantity: 1,
        unit_price: Money(amount),
        total_amount: Money(amount),
        payment_method: "card".into(),
        timestamp: START - START % HOUR + (number as i64 * 7) % HOUR,
        store_id: format!("store-{}", number % 20).as_str().into(),
        category: format!("category-{}", number % 5).as_str().into(),
    }
}

/// The median time of a tick with one correction in an hour of `sales`, in microseconds.
fn measure(sales: usize) -> f64 {
    timely::execute_directly(move |worker| {
        let settings = Settings { selection: w1().selection, ..Settings::new(admission().correction_window) };
        let mut sessions = Sessions::build(worker, &settings);
        let mut partition = Partition::new(Topic::Sales, 0, admission());
        sessions.begin();
        let mut offset = 0;
        let mut admit = |sessions: &mut Sessions, sale: Sale| {
            let mut facts = 0;
            let mut give = |fact: Fact| {
                facts += 1;
                sessions.give(fact);
            };
            partition.admit(Reading::from(&sale), offset, None, &mut give);
            offset += 1;
            facts
        };
        for numbers in (0..sales).collect::<Vec<_>>().chunks(TICK) {
            numbers.iter().for_each(|number| assert_eq!(admit(&mut sessions, sale(*number, 10_000)), 1));
            sessions.tell((Topic::Sales, 0), Some(START));
            sessions.end(worker);
        }
        let mut times: Vec<f64> = (0..CORRECTIONS)
            .map(|n| {
                let begun = Instant::now();
                let facts = admit(&mut sessions, sale(n * 7919 % sales, 20_000 + n as i64));
                assert_eq!(facts, 2, "what was is taken back, and what is comes");
                sessions.end(worker);
                begun.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// Against the sales of the hour, up to `most`.
pub fn correction(most: usize) {
    let points = [1_000, 10_000, 100_000, 1_000_000]
        .into_iter()
        .filter(|sales| *sales <= most)
        .map(|sales| (sales as f64, measure(sales)))
        .collect();
    let curve = Curve { name: "one correction, admission and graph, 1 worker".into(), points };
    let title = String::from("A correction, by the size of what it corrects");
    Picture { name: "correction", title, x: "sales in the hour", y: "microseconds", powers: true, curves: vec![curve] }
        .show();
}
