//! `sales_by_payment_method`: how was it paid?
//!
//! ```sql
//! SELECT window, payment_method, count(*) AS transactions, sum(quantity) AS units, sum(total_amount) AS revenue,
//!        sum(total_amount) / count(*) AS average_order_value
//! FROM sales GROUP BY window, payment_method
//! ```
//!
//! Granularities: minute, hour, day. Key: payment_method. Units: pieces and 1/10,000 of the currency.
//! A window without rows has no row here; revenue may be zero or negative where there are returns.
//! State: one entry per row, in the arrangement `sales_rollups`. Bound: windows x keys with sales,
//! until they are final and a day old.

use crate::cells::SalesCells;
use crate::outputs::View;
use crate::views::{Contributions, rollup};

/// What each cell adds to the view's rows.
pub fn sales_by_payment_method<'scope>(
    cells: SalesCells<'scope>,
) -> Contributions<'scope, crate::measures::SalesMeasures> {
    cells.map(|cell| rollup(View::SalesByPaymentMethod, cell.window, cell.payment_method))
}
