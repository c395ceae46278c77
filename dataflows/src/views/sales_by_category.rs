//! `sales_by_category`: what was sold in each category?
//!
//! ```sql
//! SELECT window, category, count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue,
//!        sum(total_amount) / count(*) AS average_order_value
//! FROM sales GROUP BY window, category
//! ```
//!
//! Granularities: minute, hour, day. Key: the sale's category. Units: pieces and 1/10,000 of the currency.
//! A window without rows has no row here; revenue may be zero or negative where there are returns.
//! State: one entry per row, in the arrangement `sales_rollups`. Bound: windows x keys with sales,
//! until they are final and a day old.

use crate::cells::SalesCells;
use crate::outputs::View;
use crate::views::{Contributions, rollup};

/// What each cell adds to the view's rows.
pub fn sales_by_category<'scope>(cells: SalesCells<'scope>) -> Contributions<'scope, crate::measures::SalesMeasures> {
    cells.map(|cell| rollup(View::SalesByCategory, cell.window, cell.category))
}
