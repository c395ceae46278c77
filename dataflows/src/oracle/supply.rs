//! `supply` and `stock_out_soon`: stock by product, sales of the 168 hour buckets that end with `as_of`'s.

use std::collections::BTreeMap;

use super::{Facts, inventory, times};
use crate::measures::SupplyMeasures;
use crate::outputs::{AlertKind, RowBody, RowKey, Subject};
use crate::records::Text;
use crate::time::{Granularity, HOUR};

pub(super) fn rows(facts: &Facts, give: &mut impl FnMut(RowKey, RowBody)) {
    let mut products: BTreeMap<Text, SupplyMeasures> = BTreeMap::new();
    for level in inventory::current(facts).into_values().map(|row| &row.level) {
        let supply = products.entry(level.product_id.clone()).or_default();
        supply.rows += 1;
        supply.stock += level.current_stock;
        supply.short_rows += i64::from(level.current_stock <= 0 || level.current_stock <= level.reorder_level);
    }
    if let Some(as_of) = times::as_of(facts) {
        let first = times::window(Granularity::Hour, as_of).start - 167 * HOUR;
        for sale in facts.sales.iter().filter(|sale| sale.timestamp >= first) {
            if let Some(supply) = products.get_mut(&sale.product_id) {
                supply.units_sold += sale.quantity;
            }
        }
    }
    for (product, supply) in products {
        let a_week_of_stock = 7 * i128::from(supply.stock);
        if supply.units_sold > 0 && a_week_of_stock < 3 * i128::from(supply.units_sold) && supply.short_rows == 0 {
            let subject = Subject::Product(product.clone());
            give(RowKey::Alert(AlertKind::StockOutSoon, subject), RowBody::Supply(supply));
        }
        give(RowKey::Supply(product), RowBody::Supply(supply));
    }
}
