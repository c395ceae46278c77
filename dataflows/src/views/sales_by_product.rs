//! `sales_by_product`: what was sold of each product?
//!
//! ```sql
//! SELECT window, product_id, count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue,
//!        sum(total_amount) / count(*) AS average_order_value
//! FROM sales GROUP BY window, product_id
//! ```
//!
//! Granularities: hour, day. Key: product_id. Units: pieces and 1/10,000 of the currency.
//! A window without rows has no row here; revenue may be zero or negative where there are returns.
//! State: one entry per row, in the arrangement `sales_rollups`. Bound: windows x keys with sales,
//! until they are final and a day old.

use crate::cells::ProductCells;
use crate::measures::SalesMeasures;
use crate::outputs::View;
use crate::views::{Contributions, rollup};

/// What each product cell of an hour or a day adds to the view's rows.
pub fn sales_by_product<'scope>(
    hours: ProductCells<'scope>,
    days: ProductCells<'scope>,
) -> Contributions<'scope, SalesMeasures> {
    hours.concat(days).map(|(window, product)| rollup(View::SalesByProduct, window, product))
}
