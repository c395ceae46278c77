//! `sales_by_store`: what did each store sell?
//!
//! ```sql
//! SELECT window, store_id, count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue,
//!        sum(total_amount) / count(*) AS average_order_value
//! FROM sales GROUP BY window, store_id
//! ```
//!
//! Granularities: minute, hour, day. Key: store_id. Units: pieces and 1/10,000 of the currency.
//! A window without rows has no row here; revenue may be zero or negative where there are returns.
//! State: one entry per row, in the arrangement `sales_rollups`. Bound: windows x keys with sales,
//! until they are final and a day old.

use crate::cells::SalesCells;
use crate::outputs::View;
use crate::views::{Contributions, rollup};

/// What each cell adds to the view's rows.
pub fn sales_by_store<'scope>(cells: SalesCells<'scope>) -> Contributions<'scope, crate::measures::SalesMeasures> {
    cells.map(|cell| rollup(View::SalesByStore, cell.window, cell.store_id))
}
