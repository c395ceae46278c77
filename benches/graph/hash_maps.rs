//! The rows of the sales views in plain hash maps, in one thread: nothing is durable, and a number is corrected by knowing
//! what it was made of.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use tillflow_dataflows::measures::{QualityMeasures, SalesMeasures};
use tillflow_dataflows::outputs::{Metric, RankedProduct, RollupKey, RowBody, RowKey, View};
use tillflow_dataflows::records::{Millis, Outcome, Sale, Text};
use tillflow_dataflows::time::{Granularity, LiveRange, Window};

use crate::{EPOCH, SETTINGS};

fn rollups_of(sale: &Sale) -> impl Iterator<Item = RollupKey> {
    let views = [
        (View::SalesTotal, None, &Granularity::ALL[..]),
        (View::SalesByCategory, Some(&sale.category), &Granularity::ALL[..]),
        (View::SalesByStore, Some(&sale.store_id), &Granularity::ALL[..]),
        (View::SalesByPaymentMethod, Some(&sale.payment_method), &Granularity::ALL[..]),
        (View::SalesByProduct, Some(&sale.product_id), &[Granularity::Hour, Granularity::Day][..]),
    ];
    let at = sale.timestamp;
    views.into_iter().flat_map(move |(view, key, granularities)| {
        granularities.iter().map(move |granularity| RollupKey {
            window: Window::of(*granularity, at),
            view,
            key: key.cloned().unwrap_or_default(),
        })
    })
}

/// What the hash-map program holds.
#[derive(Default)]
struct Maps {
    known: HashMap<Text, Sale>,
    clock: Option<Millis>,
    all: SalesMeasures,
    outcomes: BTreeMap<Outcome, i64>,
    rollups: HashMap<RollupKey, SalesMeasures>,
    /// By minute and product.
    products: BTreeMap<Millis, HashMap<Text, SalesMeasures>>,
}

fn add(sums: &mut SalesMeasures, sale: &Sale, times: i64) {
    sums.transactions += times;
    sums.units += times * sale.quantity;
    sums.revenue += i128::from(times) * i128::from(sale.total_amount.0);
}

fn add_all(sums: &mut SalesMeasures, more: &SalesMeasures) {
    sums.transactions += more.transactions;
    sums.units += more.units;
    sums.revenue += more.revenue;
}

impl Maps {
    /// Takes an epoch's records and returns the rows that it changes.
    fn epoch(&mut self, sales: &[Sale]) -> Vec<(RowKey, RowBody)> {
        let mut changed: HashMap<RollupKey, SalesMeasures> = HashMap::new();
        for sale in sales {
            let oldest = self.clock.map(|clock| clock - SETTINGS.correction_window);
            if oldest.is_some_and(|oldest| sale.timestamp < oldest) {
                *self.outcomes.entry(Outcome::Late).or_default() += 1;
                continue;
            }
            let (old, outcome) = match self.known.entry(sale.transaction_id.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(sale.clone());
                    (None, Outcome::Accepted)
                }
                Entry::Occupied(entry) if entry.get() == sale => (None, Outcome::Duplicate),
                Entry::Occupied(mut entry) => (Some(entry.insert(sale.clone())), Outcome::Correction),
            };
            *self.outcomes.entry(outcome).or_default() += 1;
            if outcome == Outcome::Duplicate {
                continue;
            }
            self.clock = self.clock.max(Some(sale.timestamp));
            for (sale, times) in old.iter().map(|old| (old, -1)).chain([(sale, 1)]) {
                add(&mut self.all, sale, times);
                for key in rollups_of(sale) {
                    add(changed.entry(key).or_default(), sale, times);
                }
                let minute = Granularity::Minute.start(sale.timestamp);
                let products = self.products.entry(minute).or_default();
                add(products.entry(sale.product_id.clone()).or_default(), sale, times);
            }
        }
        let mut rows = Vec::with_capacity(changed.len() + 8);
        for (key, change) in changed {
            let sums = self.rollups.entry(key.clone()).or_default();
            add_all(sums, &change);
            rows.push((RowKey::Rollup(key), RowBody::Sales(*sums, false)));
        }
        self.metrics(&mut rows);
        rows
    }

    fn metrics(&mut self, rows: &mut Vec<(RowKey, RowBody)>) {
        let Some(as_of) = self.clock else { return };
        rows.push((RowKey::AsOf, RowBody::Instant(as_of)));
        rows.push((RowKey::Metric(Metric::SalesAll), RowBody::Sales(self.all, false)));
        let mut quality = QualityMeasures::default();
        for (outcome, count) in &self.outcomes {
            quality.outcomes[*outcome as usize] = *count;
        }
        rows.push((RowKey::Metric(Metric::DataQuality), RowBody::Quality(Box::new(quality))));
        self.products = self.products.split_off(&LiveRange::Last24Hours.first(as_of));
        for range in LiveRange::ALL {
            let mut last = SalesMeasures::default();
            for window in range.windows(as_of) {
                let key = RollupKey { window, view: View::SalesTotal, key: Text::default() };
                if let Some(sums) = self.rollups.get(&key) {
                    add_all(&mut last, sums);
                }
            }
            rows.push((RowKey::Metric(Metric::SalesLast(range)), RowBody::Sales(last, false)));
            let mut products: HashMap<&Text, SalesMeasures> = HashMap::new();
            for minute in self.products.range(range.first(as_of)..) {
                for (product, sums) in minute.1 {
                    add_all(products.entry(product).or_default(), sums);
                }
            }
            let mut ranking: Vec<RankedProduct> = products
                .into_iter()
                .map(|(product, sums)| RankedProduct {
                    product_id: product.clone(),
                    revenue: sums.revenue,
                    units: sums.units,
                })
                .collect();
            ranking.sort_by(|a, b| b.revenue.cmp(&a.revenue).then_with(|| a.product_id.cmp(&b.product_id)));
            ranking.truncate(10);
            rows.push((RowKey::Metric(Metric::TopProducts(range)), RowBody::Ranking(ranking)));
        }
    }
}

/// How long it takes for all epochs of these sales.
pub fn hash_maps(sales: &[Sale]) -> Duration {
    let start = Instant::now();
    let mut maps = Maps::default();
    for epoch in sales.chunks(EPOCH) {
        black_box(maps.epoch(epoch));
    }
    start.elapsed()
}
