//! `sales_total`, `sales_by_category`, `sales_by_store`, `sales_by_payment_method`, `sales_by_product`: sums of the
//! sales in force, by window and key. A window without rows has no row.

use std::collections::BTreeMap;

use super::{Facts, times};
use crate::measures::SalesMeasures;
use crate::outputs::{RollupKey, RowBody, RowKey, View};
use crate::records::{Millis, Sale, Text, Topic};
use crate::time::Granularity::{self, Day, Hour, Minute};

/// One more sale in the sums.
pub(super) fn count(sums: &mut SalesMeasures, sale: &Sale) {
    sums.transactions += 1;
    sums.units += sale.quantity;
    sums.revenue += i128::from(sale.total_amount.0);
}

pub(super) fn rows(facts: &Facts, correction_window: Millis, give: &mut impl FnMut(RowKey, RowBody)) {
    let mut sums: BTreeMap<RollupKey, SalesMeasures> = BTreeMap::new();
    for sale in &facts.sales {
        let views: [(View, Text, &[Granularity]); 5] = [
            (View::SalesTotal, Text::default(), &[Minute, Hour, Day]),
            (View::SalesByCategory, sale.category.clone(), &[Minute, Hour, Day]),
            (View::SalesByStore, sale.store_id.clone(), &[Minute, Hour, Day]),
            (View::SalesByPaymentMethod, sale.payment_method.clone(), &[Minute, Hour, Day]),
            (View::SalesByProduct, sale.product_id.clone(), &[Hour, Day]),
        ];
        for (view, key, granularities) in views {
            for granularity in granularities {
                let window = times::window(*granularity, sale.timestamp);
                count(sums.entry(RollupKey { window, view, key: key.clone() }).or_default(), sale);
            }
        }
    }
    for (key, sums) in sums {
        let is_final = times::is_final(facts, Topic::Sales, key.window, correction_window);
        give(RowKey::Rollup(key), RowBody::Sales(sums, is_final));
    }
}
